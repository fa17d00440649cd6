//! What several modules of tests need: a clock, a file, and what there is to see of everybody.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use customerdb::{
    Cdp, CdpBuilder, ChangeCause, Condition, Durability, ManualClock, ProfileId, Rules, Segment, SegmentMove,
    Timestamp, Value, all, any, has_trait, not,
};
use proptest::prelude::{Strategy, prop, prop_oneof};
use proptest::test_runner::Config as ProptestConfig;
use tempfile::TempDir;

/// The instant that tests call now: noon of the first of May 2024.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_714_564_800_000);

/// A database that seals events by the handful, so that few of them make many blocks.
pub(crate) fn builder(clock: &ManualClock) -> CdpBuilder {
    Cdp::builder().clock(clock.clone()).durability(Durability::Normal).seal_every(7)
}

/// A database in memory whose clock stands still.
pub(crate) fn memory(rules: Rules) -> Cdp {
    builder(&ManualClock::at(NOW)).rules(rules).in_memory().unwrap()
}

/// A folder that goes when it is dropped, and a path in it.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("customers.db");
    (folder, path)
}

/// What there is to see of one person, without the profile's id, which depends on the order of arrival.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seen {
    pub(crate) identifiers: BTreeSet<String>,
    /// Message ids of all events, the newest first.
    pub(crate) events: Vec<String>,
    /// Of each trait the value, as JSON, and the message id of the event that asserted it.
    pub(crate) traits: BTreeMap<String, (String, String)>,
    pub(crate) accounts: BTreeMap<String, BTreeMap<String, String>>,
    pub(crate) segments: BTreeSet<String>,
}

/// Everybody, in a fixed order. Everything that can be asked in several ways is, and the answers must agree.
pub(crate) fn everybody(cdp: &Cdp) -> Vec<Seen> {
    let mut members: BTreeMap<String, BTreeSet<ProfileId>> = BTreeMap::new();
    for found in cdp.segments().unwrap() {
        let name = found.segment.name();
        let listed = cdp.members(name).unwrap();
        assert_eq!((found.members, cdp.count(name).unwrap()), (listed.len(), listed.len()), "size of {name}");
        assert_eq!(cdp.preview_count(found.segment.condition().clone()).unwrap(), listed.len());
        assert_eq!(listed, cdp.preview(found.segment.condition().clone()).unwrap(), "preview of {name}");
        members.insert(name.to_owned(), listed.into_iter().map(|person| person.id).collect());
    }
    let mut everybody = Vec::new();
    let mut traits: BTreeMap<String, BTreeMap<String, BTreeSet<ProfileId>>> = BTreeMap::new();
    let people = cdp.profiles().unwrap();
    assert!(people.is_sorted_by_key(|person| person.name.to_string()), "profiles are sorted by name");
    for person in people {
        let profile = cdp.profile(person.id).unwrap().expect("a listed profile");
        assert_eq!((profile.id, &profile.name), (person.id, &person.name));
        assert_eq!(profile.identifiers, person.identifiers);
        for identifier in &person.identifiers {
            assert_eq!(cdp.profile(identifier).unwrap().map(|found| found.id), Some(person.id));
        }
        let records = cdp.events(person.id, usize::MAX).unwrap();
        assert_eq!(profile.events, records.len() as u64);
        assert_eq!(profile.first_seen, records.last().map(|record| record.at));
        assert_eq!(profile.last_seen, records.first().map(|record| record.at));
        let segments: BTreeSet<String> = profile.segments.iter().cloned().collect();
        let listed = members.iter().filter(|(_, ids)| ids.contains(&person.id)).map(|(name, _)| name.clone());
        assert_eq!(segments, listed.collect(), "segments of {}", person.name);
        let text = |value: &Value| value.to_string();
        for (name, held) in &profile.traits {
            let own = traits.entry(name.clone()).or_default();
            own.entry(text(&held.value)).or_default().insert(person.id);
        }
        everybody.push(Seen {
            identifiers: person.identifiers.iter().map(ToString::to_string).collect(),
            events: records.into_iter().map(|record| record.message_id).collect(),
            traits: profile
                .traits
                .iter()
                .map(|(name, held)| (name.clone(), (text(&held.value), held.message_id.clone())))
                .collect(),
            accounts: profile
                .accounts
                .iter()
                .map(|account| {
                    let traits = account.traits.iter().map(|(name, held)| (name.clone(), text(&held.value)));
                    (account.id.clone(), traits.collect())
                })
                .collect(),
            segments,
        });
    }
    for computed in cdp.computed_traits() {
        traits.remove(computed.name());
    }
    for (name, values) in traits.iter().filter(|(name, _)| !name.contains('.')).take(SOME) {
        let found = |condition: Condition| -> BTreeSet<ProfileId> {
            cdp.preview(condition).unwrap().into_iter().map(|person| person.id).collect()
        };
        let all = values.values().flatten().copied().collect();
        assert_eq!(found(has_trait(name).exists()), all, "who has a {name}");
        // Of what holds several values each is one.
        if values.keys().any(|value| value.starts_with(['[', '{'])) {
            continue;
        }
        for (value, held) in values.iter().take(SOME) {
            let value: Value = serde_json::from_str(value).unwrap();
            assert_eq!(&found(has_trait(name).eq(value.clone())), held, "whose {name} is {value}");
        }
    }
    everybody.sort();
    everybody
}

/// Of so many traits, and so many values of each, it is asked who has them.
const SOME: usize = 3;

/// The profile id under which each identifier is found.
pub(crate) fn ids(cdp: &Cdp) -> BTreeMap<String, ProfileId> {
    let people = cdp.profiles().unwrap().into_iter();
    people
        .flat_map(|p| p.identifiers.into_iter().map(move |identifier| (identifier.to_string(), p.id)))
        .collect()
}

/// The identifiers of each person, sorted.
pub(crate) fn partition(cdp: &Cdp) -> Vec<Vec<String>> {
    let people = cdp.profiles().unwrap().into_iter();
    let mut sets: Vec<Vec<String>> = people
        .map(|person| {
            let mut set: Vec<String> = person.identifiers.iter().map(ToString::to_string).collect();
            set.sort();
            set
        })
        .collect();
    sets.sort();
    sets
}

/// The names of the members of a segment.
pub(crate) fn names(cdp: &Cdp, segment: &str) -> Vec<String> {
    cdp.members(segment).unwrap().into_iter().map(|person| person.name.to_string()).collect()
}

/// As many random cases, unless `PROPTEST_CASES` asks for another number.
pub(crate) fn cases(cases: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { cases };
    ProptestConfig { cases, failure_persistence: None, ..asked }
}

pub(crate) fn sound(cdp: &Cdp) {
    assert_eq!(cdp.check().unwrap(), []);
}

pub(crate) fn define(cdp: &Cdp, segments: &[Segment]) {
    for segment in segments {
        cdp.define(segment.clone()).unwrap();
    }
}

/// Letters in which no compression finds a pattern.
pub(crate) fn incompressible(seed: usize, len: usize) -> String {
    let mut state = seed as u64 + 1;
    let letter = |_| {
        // Knuth's linear congruential generator, of which the highest bits are taken.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'0' + (state >> 58) as u8)
    };
    (0..len).map(letter).collect()
}

/// Each entry and exit: segment, member, whether it is an entry, and why.
pub(crate) fn told(cdp: &Cdp) -> Vec<(String, String, bool, ChangeCause)> {
    let changes = cdp.changes(0, usize::MAX).unwrap().into_iter();
    changes
        .map(|change| {
            let entered = change.change == SegmentMove::Entered;
            (change.segment, change.member.to_string(), entered, change.cause)
        })
        .collect()
}

/// Conditions made of some, a few deep.
pub(crate) fn nested(leaf: impl Strategy<Value = Condition> + 'static) -> impl Strategy<Value = Condition> {
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(all),
            prop::collection::vec(inner.clone(), 1..3).prop_map(any),
            inner.prop_map(not),
        ]
    })
}
