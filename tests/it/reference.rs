//! A naive model of resolution under all rules and decisions, written from SEMANTICS: sets in a list, and every event
//! in event-time order. And random histories, rules and decisions to hold the crate against.

use std::collections::{BTreeMap, BTreeSet};

use customerdb::{
    Cdp, Decision, DecisionKind, DecisionSubject, Period, Rule, Rules, SharedDevice, Source, Timestamp, Value,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::partition;

/// The namespaces of these histories, strongest first.
const ORDER: [&str; 4] = ["user_id", "email", "device_id", "anonymous_id"];

pub(crate) fn kind(id: &str) -> &str {
    id.split_once(':').unwrap().0
}

fn is_device(id: &str) -> bool {
    ["device_id", "anonymous_id"].contains(&kind(id))
}

/// What identifiers are ordered by: the strongest first.
pub(crate) fn strength(id: &str) -> (usize, String) {
    (ORDER.iter().position(|name| *name == kind(id)).unwrap(), id.to_owned())
}

// ---- histories ----

/// An event.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) message_id: String,
    pub(crate) at: Timestamp,
    pub(crate) source: &'static str,
    /// What it bears, strongest first, but for the `previousId`.
    pub(crate) ids: Vec<String>,
    /// It is an alias.
    pub(crate) previous: Option<&'static str>,
    pub(crate) city: Option<&'static str>,
    pub(crate) account: Option<&'static str>,
}

impl Told {
    pub(crate) fn json(&self) -> Value {
        let mut event = json!({"messageId": self.message_id, "timestamp": self.at});
        let mut external = Vec::new();
        for id in &self.ids {
            let (namespace, value) = id.split_once(':').unwrap();
            match namespace {
                "user_id" => event["userId"] = json!(value),
                "anonymous_id" => event["anonymousId"] = json!(value),
                "device_id" => event["context"]["device"]["id"] = json!(value),
                other => external.push(json!({"type": other, "id": value})),
            }
        }
        event["context"]["externalIds"] = json!(external);
        if let Some(city) = self.city {
            event["context"]["traits"]["city"] = json!(city);
        }
        match (self.previous, self.account) {
            (Some(previous), _) => {
                event["type"] = json!("alias");
                event["previousId"] = json!(previous);
            }
            (None, Some(account)) => {
                event["type"] = json!("group");
                event["groupId"] = json!(account);
                event["traits"] = json!({"by": self.message_id});
            }
            (None, None) => {
                event["type"] = json!("track");
                event["event"] = json!("Look");
            }
        }
        event
    }

    /// All identifiers, strongest first.
    pub(crate) fn bears(&self, anonymous: &BTreeSet<String>) -> Vec<String> {
        let mut ids = self.ids.clone();
        if let Some(previous) = self.previous.filter(|previous| !previous.is_empty()) {
            let as_anonymous = format!("anonymous_id:{previous}");
            let is_anonymous = anonymous.contains(&as_anonymous);
            ids.push(if is_anonymous { as_anonymous } else { format!("user_id:{previous}") });
        }
        ids.sort_by_key(|id| ORDER.iter().position(|name| *name == kind(id)));
        let mut once: Vec<String> = Vec::new();
        for id in ids {
            if !once.contains(&id) {
                once.push(id);
            }
        }
        once
    }
}

/// The values that events of a history bear as `anonymousId`.
pub(crate) fn anonymous(told: &[Told]) -> BTreeSet<String> {
    let ids = told.iter().flat_map(|event| &event.ids);
    ids.filter(|id| kind(id) == "anonymous_id").cloned().collect()
}

/// Instants on both sides of the borders of a day, a week, a month and a year, each some microseconds or hours off.
const INSTANTS: [&str; 12] = [
    "2023-12-31T23:59:59.999999Z",
    "2024-01-01T00:00:00Z",
    "2024-03-31T23:59:59.999999Z",
    "2024-04-01T00:00:00Z",
    "2024-04-21T23:59:59.999999Z",
    "2024-04-22T00:00:00Z",
    "2024-04-28T12:00:00Z",
    "2024-04-29T12:00:00Z",
    "2024-04-30T23:59:59.999999Z",
    "2024-05-01T00:00:00Z",
    "2024-05-01T06:00:00Z",
    "2024-05-01T18:00:00Z",
];

fn event(index: usize, dice: [u8; 9], aliases: bool) -> Told {
    let pick = |die: usize, pool: &[&'static str]| pool[usize::from(dice[die]) % pool.len()];
    let mut ids = Vec::new();
    if dice[0].is_multiple_of(2) {
        ids.push(format!("user_id:{}", pick(1, &["u1", "u2", "u3"])));
    }
    let emails = ["e1@x.io", "e2@x.io", "e3@x.io", "e4@x.io"];
    for (die, one_in) in [(2, 2), (3, 5)] {
        let id = format!("email:{}", pick(die, &emails));
        if dice[die].is_multiple_of(one_in) && !ids.contains(&id) {
            ids.push(id);
        }
    }
    if dice[4].is_multiple_of(3) {
        ids.push(format!("device_id:{}", pick(5, &["d1", "d2"])));
    }
    if dice[4].is_multiple_of(2) || ids.is_empty() {
        ids.push(format!("anonymous_id:{}", pick(6, &["a1", "a2", "a3", "a4", "x1"])));
    }
    let previous = (aliases && dice[7].is_multiple_of(12)).then(|| pick(8, &["x1", "x2", "u1", "u2"]));
    Told {
        message_id: format!("m{}-{index:02}", dice[8] % 3),
        at: pick(7, &INSTANTS).parse().unwrap(),
        source: if dice[1].is_multiple_of(5) { "crm" } else { "default" },
        ids,
        previous,
        city: dice[5].is_multiple_of(3).then(|| pick(6, &["Wuhan", "Lima", "Rome"])),
        account: (previous.is_none() && dice[3].is_multiple_of(7)).then(|| pick(2, &["acme", "zeta"])),
    }
}

pub(crate) fn history(most: usize, aliases: bool) -> impl Strategy<Value = Vec<Told>> {
    prop::collection::vec(any::<[u8; 9]>(), 1..most).prop_map(move |dice| {
        dice.into_iter().enumerate().map(|(index, dice)| event(index, dice, aliases)).collect()
    })
}

/// Takes events in, each from its source, in one batch for each run of events from one source.
pub(crate) fn ingest(cdp: &Cdp, told: &[Told]) {
    for run in told.chunk_by(|a, b| a.source == b.source) {
        let report = cdp
            .ingest_from(&Source::new(run[0].source), run.iter().map(|event| event.json().to_string()))
            .unwrap();
        assert_eq!((report.accepted, report.rejected.len()), (run.len() as u64, 0), "{:?}", report.rejected);
    }
}

// ---- rules ----

/// Rules, as the model has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    pub(crate) limits: Vec<(&'static str, u32, Period)>,
    pub(crate) pairs: Vec<(&'static str, &'static str, u32)>,
    pub(crate) total: Option<u32>,
    pub(crate) device: SharedDevice,
}

impl Book {
    pub(crate) fn rules(&self) -> Rules {
        let mut rules = Rules::unlimited().total(self.total).shared_device(self.device);
        for &(namespace, max, per) in &self.limits {
            rules = rules.limit_per(namespace, max, per);
        }
        for &(from, to, max) in &self.pairs {
            rules = rules.pair(from, to, Some(max));
        }
        rules
    }
}

const PERIODS: [Period; 5] = [Period::Ever, Period::Day, Period::Week, Period::Month, Period::Year];
const POLICIES: [SharedDevice; 3] = [SharedDevice::First, SharedDevice::Last, SharedDevice::None];

pub(crate) fn book() -> impl Strategy<Value = Book> {
    any::<[u8; 8]>().prop_map(|dice| {
        let mut book = Book { device: POLICIES[usize::from(dice[0] % 3)], ..Book::default() };
        for (die, namespace, most) in [(1, "user_id", 1), (2, "email", 2), (3, "anonymous_id", 2)] {
            if !dice[die].is_multiple_of(3) {
                let per = PERIODS[usize::from(dice[die] / 3) % 5];
                book.limits.push((namespace, 1 + u32::from(dice[die] / 16) % most, per));
            }
        }
        let pairs = [("email", "user_id", 1), ("user_id", "email", 1), ("device_id", "user_id", 1)];
        if dice[4].is_multiple_of(2) {
            book.pairs.push(pairs[usize::from(dice[4] / 2) % 3]);
        }
        book.total = dice[5].is_multiple_of(3).then(|| 3 + u32::from(dice[5] % 5));
        book
    })
}

/// Books of limits that are for ever.
pub(crate) fn timeless_book() -> impl Strategy<Value = Book> {
    book().prop_map(|mut book| {
        book.limits.iter_mut().for_each(|limit| limit.2 = Period::Ever);
        book
    })
}

/// Books without limits, under every rule on shared devices.
pub(crate) fn open_book() -> impl Strategy<Value = Book> {
    (0..3_usize).prop_map(|policy| Book { device: POLICIES[policy], ..Book::default() })
}

// ---- decisions ----

/// Something that a hand does.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Link(&'static str, &'static str),
    Force(&'static str, &'static str),
    Never(&'static str, &'static str),
    Unlink(&'static str, &'static str),
    Split(&'static str),
    SplitSource,
    /// One of the decisions that stand, by its place.
    TakeBack(usize),
}

/// What hands decide of; some that no event bears.
pub(crate) const NAMES: [&str; 14] = [
    "user_id:u1",
    "user_id:u2",
    "user_id:u3",
    "user_id:u9",
    "email:e1@x.io",
    "email:e2@x.io",
    "email:e3@x.io",
    "email:e9@x.io",
    "device_id:d1",
    "device_id:d2",
    "anonymous_id:a1",
    "anonymous_id:a2",
    "anonymous_id:a3",
    "anonymous_id:a9",
];

fn pair() -> impl Strategy<Value = (&'static str, &'static str)> {
    (0..NAMES.len(), 1..NAMES.len()).prop_map(|(a, by)| (NAMES[a], NAMES[(a + by) % NAMES.len()]))
}

/// Decisions that mean the same whatever has happened by the time they are taken, as long as their order stays.
pub(crate) fn steady_deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        3 => pair().prop_map(|(a, b)| Deed::Link(a, b)),
        1 => pair().prop_map(|(a, b)| Deed::Force(a, b)),
        2 => pair().prop_map(|(a, b)| Deed::Never(a, b)),
    ]
}

pub(crate) fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        5 => steady_deed(),
        3 => pair().prop_map(|(a, b)| Deed::Unlink(a, b)),
        2 => (0..NAMES.len()).prop_map(|name| Deed::Split(NAMES[name])),
        1 => Just(Deed::SplitSource),
        2 => (0..8_usize).prop_map(Deed::TakeBack),
    ]
}

pub(crate) fn decide(cdp: &Cdp, deed: &Deed) {
    match deed {
        Deed::Link(a, b) => drop(cdp.link(a, b).unwrap()),
        Deed::Force(a, b) => drop(cdp.force_link(a, b).unwrap()),
        Deed::Never(a, b) => {
            assert_eq!(cdp.never(a, b).unwrap().refused, None);
            assert!(!cdp.explain(a, b).unwrap().same, "{a} and {b} are never one person");
        }
        Deed::Unlink(a, b) => drop(cdp.unlink(a, b).unwrap()),
        Deed::Split(id) => drop(cdp.split(id).unwrap()),
        Deed::SplitSource => drop(cdp.split_source("crm").unwrap()),
        Deed::TakeBack(place) => {
            let standing = cdp.decisions().unwrap();
            if let Some(decision) = standing.get(*place) {
                cdp.take_back(decision.number).unwrap();
                assert!(cdp.decisions().unwrap().iter().all(|left| left.number != decision.number));
            }
        }
    }
}

// ---- the model ----

/// Who is whom, whose the events are, and what was refused.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The identifiers of each person, sorted.
    pub(crate) people: Vec<Vec<String>>,
    /// For each person the message ids of the events.
    pub(crate) events: BTreeMap<Vec<String>, BTreeSet<String>>,
    /// What was left out: the message id, the identifier (of a link by hand both), and the rules that speak against it,
    /// any of which may be named.
    pub(crate) refusals: BTreeMap<(String, String), Vec<&'static str>>,
    /// Whether a rule or a ban kept anything out, and not only cuts of direct evidence.
    pub(crate) binds: bool,
}

/// What speaks against a join, and whether an identifier that is kept out by it stands for somebody else.
struct No {
    rules: Vec<&'static str>,
    apart: bool,
}

struct World<'w> {
    book: &'w Book,
    decisions: &'w [Decision],
    shared: &'w BTreeSet<String>,
    people: Vec<BTreeSet<String>>,
    /// The earliest event that bears an identifier, of those told so far.
    born: BTreeMap<String, Timestamp>,
}

fn of_pair(decision: &Decision) -> Option<(String, String)> {
    match &decision.subject {
        DecisionSubject::Pair { a, b } => Some((a.to_string(), b.to_string())),
        DecisionSubject::Source { .. } => None,
    }
}

impl World<'_> {
    /// Whoever holds an identifier; it alone, if nobody does.
    fn set(&self, id: &str) -> BTreeSet<String> {
        let found = self.people.iter().find(|set| set.contains(id));
        found.cloned().unwrap_or_else(|| BTreeSet::from([id.to_owned()]))
    }

    fn hold(&mut self, id: &str) {
        if !self.people.iter().any(|set| set.contains(id)) {
            self.people.push(BTreeSet::from([id.to_owned()]));
        }
    }

    fn join(&mut self, a: &str, b: &str) {
        let mut joined = self.set(a);
        joined.extend(self.set(b));
        self.people.retain(|set| set.is_disjoint(&joined));
        self.people.push(joined);
    }

    fn decided(&self, kinds: &[DecisionKind], of: impl Fn(&str, &str) -> bool) -> bool {
        let mut pairs = self.decisions.iter().filter(|d| kinds.contains(&d.kind)).filter_map(of_pair);
        pairs.any(|(a, b)| of(&a, &b) || of(&b, &a))
    }

    fn cut(&self, a: &str, b: &str) -> bool {
        self.decided(&[DecisionKind::Cut], |x, y| (x, y) == (a, b))
    }

    fn period(&self, id: &str, per: Period) -> String {
        if per == Period::Ever {
            return String::new();
        }
        let Some(at) = self.born.get(id) else { return "never".into() };
        let text = at.to_string();
        match per {
            Period::Ever => unreachable!(),
            Period::Day => text[..10].into(),
            // Monday the 29th of December 1969 was the first day of a week.
            Period::Week => ((at.as_micros().div_euclid(86_400_000_000) + 3).div_euclid(7)).to_string(),
            Period::Month => text[..7].into(),
            Period::Year => text[..4].into(),
        }
    }

    /// Whether what is counted is more than allowed, and more than either side had.
    fn broken_limits(&self, a: &BTreeSet<String>, b: &BTreeSet<String>) -> Vec<&'static str> {
        let joined: BTreeSet<String> = a.union(b).cloned().collect();
        let over = |max: u32, count: &dyn Fn(&BTreeSet<String>) -> usize| {
            count(&joined) > max as usize && count(&joined) > count(a) && count(&joined) > count(b)
        };
        let of = |set: &BTreeSet<String>, name: &str| set.iter().filter(|id| kind(id) == name).count();
        let mut broken = Vec::new();
        if self.book.total.is_some_and(|max| over(max, &BTreeSet::len)) {
            broken.push("total");
        }
        for &(name, max, per) in &self.book.limits {
            let periods: BTreeSet<String> = joined.iter().map(|id| self.period(id, per)).collect();
            if periods.iter().any(|period| {
                let within = |id: &&String| kind(id) == name && self.period(id, per) == *period;
                over(max, &|set| set.iter().filter(within).count())
            }) {
                broken.push("limit");
            }
        }
        for &(from, to, max) in &self.book.pairs {
            if of(&joined, from) > 0 && over(max, &|set| of(set, to)) {
                broken.push("pair");
            }
        }
        broken
    }

    /// What speaks against one person for both, if evidence or a hand says so.
    fn against(&self, a: &str, b: &str, forced: bool) -> Option<No> {
        let (ours, theirs) = (self.set(a), self.set(b));
        if ours == theirs {
            return None;
        }
        let crossing = |x: &str, y: &str| ours.contains(x) && theirs.contains(y);
        let mut rules = Vec::new();
        if self.decided(&[DecisionKind::Never], crossing) {
            rules.push("never");
        } else if self.decided(&[DecisionKind::Apart], crossing) {
            rules.push("cut");
        }
        if !forced && self.shared.contains(a) != self.shared.contains(b) {
            rules.push("shared_device");
        }
        let apart = !rules.is_empty();
        if !forced && !apart {
            rules = self.broken_limits(&ours, &theirs);
        }
        (!rules.is_empty()).then_some(No { rules, apart })
    }
}

/// What a history means. Told again as long as that shows devices on which a second user has shown, if those are
/// nobody's.
pub(crate) fn answer(told: &[Told], book: &Book, decisions: &[Decision]) -> Answer {
    let mut shared = BTreeSet::new();
    loop {
        let (answer, found) = tell(told, book, decisions, &shared);
        if book.device != SharedDevice::None || found.is_subset(&shared) {
            return answer;
        }
        shared.extend(found);
    }
}

fn tell(
    told: &[Told],
    book: &Book,
    decisions: &[Decision],
    shared: &BTreeSet<String>,
) -> (Answer, BTreeSet<String>) {
    let mut told: Vec<&Told> = told.iter().collect();
    told.sort_by_key(|event| (event.at, &event.message_id));
    let anonymous = anonymous(&told.iter().map(|event| (*event).clone()).collect::<Vec<Told>>());
    let cut_sources: Vec<&String> = decisions
        .iter()
        .filter_map(|d| match &d.subject {
            DecisionSubject::Source { source } => Some(source),
            DecisionSubject::Pair { .. } => None,
        })
        .collect();
    let mut world = World { book, decisions, shared, people: Vec::new(), born: BTreeMap::new() };
    let mut answer = Answer::default();
    let mut found = BTreeSet::new();
    let link = |world: &mut World<'_>, answer: &mut Answer, decision: &Decision| {
        let (a, b) = of_pair(decision).unwrap();
        let forced = decision.kind == DecisionKind::Force;
        let same = world.set(&a) == world.set(&b);
        let cut = !forced && !same && world.cut(&a, &b);
        let no = world.against(&a, &b, forced);
        if !cut && no.is_none() {
            world.join(&a, &b);
            return;
        }
        world.hold(&a);
        world.hold(&b);
        let mut both = [a, b];
        both.sort();
        answer.binds |= !cut;
        let rules = cut.then_some("cut").into_iter().chain(no.into_iter().flat_map(|no| no.rules));
        answer.refusals.insert((format!("link:{}", decision.number), both.join(" ")), rules.collect());
    };
    for decision in decisions.iter().filter(|d| d.kind == DecisionKind::Force) {
        link(&mut world, &mut answer, decision);
    }
    let mut links: Vec<&Decision> = decisions.iter().filter(|d| d.kind == DecisionKind::Link).collect();
    // (device, time, message id) of each known user who was seen on it, and whom the event belongs to.
    let mut sightings: Vec<(String, Timestamp, String, String)> = Vec::new();
    let mut owners: Vec<(String, String)> = Vec::new();
    for event in told {
        while links.first().is_some_and(|decision| decision.at < event.at) {
            let decision = links.remove(0);
            link(&mut world, &mut answer, decision);
        }
        let ids = event.bears(&anonymous);
        for id in &ids {
            let born = world.born.entry(id.clone()).or_insert(event.at);
            *born = event.at.min(*born);
        }
        let strongest = &ids[0];
        let known = !is_device(strongest);
        let mut devices: Vec<&String> = (!known).then_some(strongest).into_iter().collect();
        world.hold(strongest);
        for id in &ids[1..] {
            let voided = cut_sources.iter().any(|source| *source == event.source) || world.cut(strongest, id);
            let no = world.against(strongest, id, false);
            answer.binds |= !voided && no.is_some();
            let (rules, apart) = match (voided, no) {
                (true, _) => (vec!["cut"], true),
                (false, Some(no)) => (no.rules, no.apart),
                (false, None) => {
                    world.join(strongest, id);
                    devices.extend(is_device(id).then_some(id));
                    continue;
                }
            };
            let parted = |x: &str, y: &str| (x, y) == (strongest, id) || (y, x) == (strongest, id);
            let cut = voided || world.decided(&[DecisionKind::Apart], parted);
            if is_device(id) && !cut {
                devices.push(id);
                if known && !shared.contains(id) && world.set(id).iter().any(|other| !is_device(other)) {
                    found.insert(id.clone());
                }
            }
            if apart {
                world.hold(id);
            }
            answer.refusals.insert((event.message_id.clone(), id.clone()), rules);
        }
        let mut owner = strongest.clone();
        if known {
            let seen =
                |device: &&String| ((*device).clone(), event.at, event.message_id.clone(), owner.clone());
            sightings.extend(devices.iter().map(seen));
        } else if book.device == SharedDevice::Last {
            let here = sightings.iter().filter(|seen| devices.contains(&&seen.0));
            if let Some(last) = here.max_by_key(|seen| (seen.1, &seen.2)) {
                owner.clone_from(&last.3);
            }
        }
        owners.push((event.message_id.clone(), owner));
    }
    for decision in links {
        link(&mut world, &mut answer, decision);
    }
    answer.people = world.people.iter().map(|set| set.iter().cloned().collect()).collect();
    answer.people.sort();
    for person in &answer.people {
        let own = owners.iter().filter(|(_, owner)| person.contains(owner)).map(|(id, _)| id.clone());
        answer.events.insert(person.clone(), own.collect());
    }
    (answer, found)
}

/// What a database says, to be compared with the model by [`agree`].
pub(crate) fn refusals(cdp: &Cdp) -> BTreeMap<(String, String), &'static str> {
    let mut found = BTreeMap::new();
    for refused in cdp.refusals(0, usize::MAX).unwrap() {
        let mut names = vec![refused.identifier.to_string()];
        if refused.message_id.starts_with("link:") {
            names.push(refused.from.to_string());
            names.sort();
        }
        let before = found.insert((refused.message_id, names.join(" ")), refused.rule.as_str());
        assert_eq!(before, None, "an event refuses an identifier once");
    }
    found
}

/// Whether any rule or ban kept out what evidence or a hand would have joined, apart from the cuts of direct evidence.
pub(crate) fn binds(cdp: &Cdp) -> bool {
    let direct = ["evidence between the two does not count", "evidence of this source does not count"];
    cdp.refusals(0, usize::MAX).unwrap().iter().any(|refused| {
        refused.rule != Rule::Cut || !direct.iter().any(|reason| refused.reason.starts_with(reason))
    })
}

/// A database says what the model says: the people, their events, the refusals.
pub(crate) fn agree(cdp: &Cdp, expected: &Answer) {
    assert_eq!(partition(cdp), expected.people, "partition");
    for (person, own) in &expected.events {
        let records = cdp.events(&person[0], usize::MAX).unwrap();
        let found: BTreeSet<String> = records.into_iter().map(|record| record.message_id).collect();
        assert_eq!(found, *own, "events of {person:?}");
    }
    let found = refusals(cdp);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.refusals.keys().collect::<Vec<_>>(), "refusals");
    for (key, rule) in found {
        assert!(expected.refusals[&key].contains(&rule), "{key:?}: {rule}, {:?}", expected.refusals[&key]);
    }
}
