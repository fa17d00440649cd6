//! Everything that is held of a person, as one document.

use std::collections::{BTreeMap, BTreeSet};

use rustc_hash::FxHashSet;
use serde::Serialize;
use serde_json::value::RawValue;

use super::{State, membership, people};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::{Event, Party};
use crate::id::{Identifier, ProfileId, mask};
use crate::identity::{DecisionKind, Draft, Link, Node, Person, ProfileNo, Rule, by_strength, identifiers};
use crate::profile::{Account, Consent, Tag, Trait};
use crate::store::{ByHand, ChangeCause, Db, JournalEntry, Kept, Of, StoredEvent};
use crate::value::Value;

/// Which edition of the document this is.
const FORMAT: u32 = 1;

/// How many refused events are looked through at once.
const PAGE: usize = 1_000;

/// How long an identifier must be for a text that is no JSON to name its holder.
const TELLING: usize = 6;

/// Everything that is held of a person. The order of its members and of everything in them is fixed.
#[derive(Serialize)]
pub(crate) struct Document {
    format: u32,
    as_of: Timestamp,
    id: Option<ProfileId>,
    /// Ids of profiles that turned out to be the same person.
    former_ids: Vec<ProfileId>,
    pub(crate) identifiers: Vec<Identifier>,
    first_seen: Option<Timestamp>,
    last_seen: Option<Timestamp>,
    traits: BTreeMap<String, Trait>,
    trait_history: BTreeMap<String, Vec<Trait>>,
    computed: BTreeMap<String, Value>,
    tags: Vec<Tag>,
    /// Tags given by hand.
    given_tags: Vec<GivenTag>,
    /// Lists kept by hand.
    lists: Vec<Listed>,
    segments: Vec<String>,
    segment_changes: Vec<Moved>,
    consents: BTreeMap<String, Consent>,
    consent_history: Vec<Consent>,
    accounts: Vec<Account>,
    pub(crate) events: Vec<Happened>,
    links: Vec<Link>,
    refusals: Vec<Refusal>,
    decisions: Vec<Ruled>,
    journal: Vec<JournalEntry>,
    quarantine: Vec<Quarantined>,
}

#[derive(Serialize)]
struct GivenTag {
    identifier: Identifier,
    tag: String,
    at: Timestamp,
    expires: Option<Timestamp>,
    /// When it was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Serialize)]
struct Listed {
    identifier: Identifier,
    list: String,
    at: Timestamp,
    /// When it was taken off.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Serialize)]
struct Moved {
    segment: String,
    profile: ProfileId,
    change: &'static str,
    at: Timestamp,
    #[serde(flatten)]
    cause: ChangeCause,
}

/// An event, to the letter, with what is known of it besides.
#[derive(Serialize)]
pub(crate) struct Happened {
    message_id: String,
    at: Timestamp,
    name: String,
    source: String,
    party: Party,
    event: Box<RawValue>,
}

/// An identifier that was left out of an event. Whose it is that is somebody else's is not told: it is masked.
#[derive(Serialize)]
struct Refusal {
    identifier: String,
    from: String,
    rule: Rule,
    reason: String,
    at: Timestamp,
    message_id: String,
}

/// A decision by hand; an identifier that is somebody else's is masked.
#[derive(Serialize)]
struct Ruled {
    number: i64,
    at: Timestamp,
    kind: DecisionKind,
    a: String,
    b: String,
}

#[derive(Serialize)]
struct Quarantined {
    at: Timestamp,
    source: String,
    reason: String,
    raw: String,
}

/// Whom a document is about.
pub(crate) enum About {
    /// Somebody.
    Person(Person),
    /// An identifier that is nobody's yet.
    Node(Node),
    /// An identifier that is not known, as the rules spell it. What was refused may name it all the same.
    Stranger(Identifier),
}

/// Everything that is held of whom it is about, `None` if that is nothing.
pub(crate) fn document(db: &Db, state: &State, about: &About, now: Timestamp) -> Result<Option<Document>> {
    let writer = Exporter { db, state, now };
    let (person, nodes) = match about {
        About::Person(person) => {
            (Some(person), by_strength(&state.identities, &state.rules, person.nodes.iter().copied()))
        }
        About::Node(node) => (None, vec![*node]),
        About::Stranger(_) => (None, Vec::new()),
    };
    let mut names: Vec<Identifier> =
        nodes.iter().map(|node| state.identities.interner.identifier(*node)).collect();
    if let About::Stranger(identifier) = about {
        names.push(identifier.clone());
    }
    let mut document = writer.of_nodes(&nodes, names)?;
    if let Some(person) = person {
        writer.of_person(person, &mut document)?;
    }
    if matches!(about, About::Stranger(_)) && document.quarantine.is_empty() {
        return Ok(None);
    }
    Ok(Some(document))
}

struct Exporter<'e> {
    db: &'e Db,
    state: &'e State,
    now: Timestamp,
}

impl Exporter<'_> {
    fn identifier(&self, node: Node) -> Identifier {
        self.state.identities.interner.identifier(node)
    }

    /// What is held of identifiers, whoever holds them.
    fn of_nodes(&self, nodes: &[Node], names: Vec<Identifier>) -> Result<Document> {
        let (db, rules) = (self.db, &self.state.segments.catalog.consent);
        let consents = people::told(&self.state.identities, people::consents(db, nodes, rules, None)?);
        let (mut lists, mut given_tags, mut consent_history) = (Vec::new(), Vec::new(), Vec::new());
        let mut trait_history: BTreeMap<String, Vec<Trait>> = BTreeMap::new();
        for &node in nodes {
            let identifier = self.identifier(node);
            let listed = |ByHand { name: list, at, until, .. }| Listed {
                identifier: identifier.clone(),
                list,
                at,
                until,
            };
            lists.extend(db.lists_of(node)?.into_iter().map(listed));
            let given = |ByHand { name: tag, at, expires, until }| GivenTag {
                identifier: identifier.clone(),
                tag,
                at,
                expires,
                until,
            };
            given_tags.extend(db.tags_of(node)?.into_iter().map(given));
            consent_history.append(&mut db.consents_of(node)?);
            for (name, said) in db.traits_of(node)? {
                trait_history.entry(name).or_default().push(said);
            }
        }
        lists.sort_by(|a, b| (&a.list, a.at).cmp(&(&b.list, b.at)));
        for said in trait_history.values_mut() {
            said.sort_by(|a, b| a.order().cmp(&b.order()));
        }
        consent_history.sort_by_key(|held| (held.at, held.number));
        let consent_history = consent_history.into_iter().map(|held| {
            let node = held.node;
            held.told(self.identifier(node))
        });
        let mut links = db.graph_of(&self.state.identities, nodes)?.links().cloned().collect::<Vec<Link>>();
        links.sort_by(|a, b| (&a.a, &a.b, &a.source).cmp(&(&b.a, &b.b, &b.source)));
        let own: FxHashSet<Node> = nodes.iter().copied().collect();
        Ok(Document {
            format: FORMAT,
            as_of: self.now,
            id: None,
            former_ids: Vec::new(),
            first_seen: None,
            last_seen: None,
            traits: BTreeMap::new(),
            trait_history,
            computed: BTreeMap::new(),
            tags: Vec::new(),
            given_tags,
            lists,
            segments: Vec::new(),
            segment_changes: Vec::new(),
            consents,
            consent_history: consent_history.collect(),
            accounts: Vec::new(),
            events: self.events(nodes)?,
            links,
            refusals: self.refusals(nodes, &own)?,
            decisions: self.decisions(&own)?,
            journal: Vec::new(),
            quarantine: self.quarantine(&names)?,
            identifiers: names,
        })
    }

    /// What is held of a person besides.
    fn of_person(&self, person: &Person, document: &mut Document) -> Result<()> {
        let Self { db, state, now } = *self;
        let catalog = &state.segments.catalog;
        let profile = people::profile(db, &state.identities, &state.rules, catalog, person)?;
        let known = membership::known(db, person, &state.segments, now)?;
        let absorbed = db.absorbed_by(person.profile)?;
        let ids = absorbed.iter().map(|gone| Ok(db.profile_id(*gone)?));
        document.former_ids = ids.collect::<Result<_>>()?;
        document.id = Some(profile.id);
        (document.first_seen, document.last_seen) = (profile.first_seen, profile.last_seen);
        (document.traits, document.accounts) = (profile.traits, profile.accounts);
        (document.computed, document.tags, document.segments) = (known.computed, known.tags, known.segments);
        let own: Vec<ProfileNo> = std::iter::once(person.profile).chain(absorbed).collect();
        let mut changes = Vec::new();
        for profile in &own {
            changes.append(&mut db.segment_changes_of(*profile)?);
        }
        changes.sort_by_key(|change| change.cursor);
        let moved = |kept: crate::store::KeptChange| {
            Ok(Moved {
                segment: kept.segment,
                profile: db.profile_id(kept.profile)?,
                change: if kept.entered { "entered" } else { "exited" },
                at: kept.at,
                cause: kept.cause,
            })
        };
        document.segment_changes = changes.into_iter().map(moved).collect::<Result<_>>()?;
        let ids: BTreeSet<ProfileId> =
            std::iter::once(profile.id).chain(document.former_ids.clone()).collect();
        let mut after = 0;
        loop {
            let page = db.journal(after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.cursor;
            let concerned = |entry: &JournalEntry| ids.contains(&entry.profile) || ids.contains(&entry.other);
            document.journal.extend(page.into_iter().filter(concerned));
        }
        Ok(())
    }

    fn events(&self, nodes: &[Node]) -> Result<Vec<Happened>> {
        let sources = self.db.sources()?;
        let stored = self.db.latest_events_of(nodes, usize::MAX)?;
        let happened = |stored: StoredEvent| {
            let source = sources.get(&stored.source).cloned().unwrap_or_default();
            let damaged = |error| Error::Damaged(format!("event {}: {error}", stored.message_id));
            Ok(Happened {
                event: RawValue::from_string(stored.json).map_err(damaged)?,
                message_id: stored.message_id,
                at: stored.at,
                name: stored.name,
                source: source.name,
                party: source.party,
            })
        };
        stored.into_iter().rev().map(happened).collect()
    }

    fn refusals(&self, nodes: &[Node], own: &FxHashSet<Node>) -> Result<Vec<Refusal>> {
        let (db, identities) = (self.db, &self.state.identities);
        let mut kept: BTreeMap<i64, Kept> = BTreeMap::new();
        for &node in nodes {
            let all = db.refusals_by(identities, node)?.into_iter();
            let all = all.chain(db.refusals_of(identities, node, usize::MAX)?);
            kept.extend(all.map(|kept| (kept.number, kept)));
        }
        let refusal = |kept: Kept| Refusal {
            identifier: kept.identifier.to_string(),
            from: self.told(kept.owner, own),
            rule: kept.rule,
            reason: kept.reason,
            at: kept.at,
            message_id: kept.message_id,
        };
        Ok(kept.into_values().map(refusal).collect())
    }

    fn decisions(&self, own: &FxHashSet<Node>) -> Result<Vec<Ruled>> {
        let mut ruled = Vec::new();
        for decided in self.db.decisions()? {
            if let Of::Pair(a, b) = decided.of
                && (own.contains(&a) || own.contains(&b))
            {
                let (a, b) = (self.told(a, own), self.told(b, own));
                ruled.push(Ruled { number: decided.number, at: decided.at, kind: decided.kind, a, b });
            }
        }
        Ok(ruled)
    }

    /// An identifier as it is told, masked if it is somebody else's.
    fn told(&self, node: Node, own: &FxHashSet<Node>) -> String {
        let identifier = self.identifier(node);
        if own.contains(&node) {
            return identifier.to_string();
        }
        format!("{}:{}", identifier.namespace(), mask(identifier.value()))
    }

    /// The refused events that name the holder of some identifiers.
    fn quarantine(&self, names: &[Identifier]) -> Result<Vec<Quarantined>> {
        let sources = self.db.sources()?;
        let (mut found, mut after) = (Vec::new(), 0);
        loop {
            let page = self.db.quarantined(after, PAGE)?;
            let Some(last) = page.last() else { return Ok(found) };
            after = last.entry;
            for kept in page {
                if self.is_named(&kept.raw, names) {
                    found.push(Quarantined {
                        at: kept.at,
                        source: sources
                            .get(&kept.source)
                            .map(|source| source.name.clone())
                            .unwrap_or_default(),
                        reason: kept.reason,
                        raw: String::from_utf8_lossy(&kept.raw).into_owned(),
                    });
                }
            }
        }
    }

    /// Whether a refused text bears one of some identifiers: where events bear them, if it is a JSON object; else
    /// anywhere, as a word of its own that is not too short to mean something.
    fn is_named(&self, raw: &[u8], names: &[Identifier]) -> bool {
        let State { identities, rules, .. } = self.state;
        let Some(event) = Event::salvage(raw) else {
            let text = String::from_utf8_lossy(raw);
            return names.iter().any(|name| mentions(&text, name.value()));
        };
        let draft = Draft::on(identities);
        let borne = identifiers(&event, rules, |id| draft.is_anonymous_id(identities, id));
        let is = |name: &Identifier| {
            borne
                .identifiers
                .iter()
                .any(|found| found.namespace == *name.namespace() && found.value == name.value())
        };
        names.iter().any(is)
    }
}

/// Whether a text has a word in it.
fn mentions(text: &str, word: &str) -> bool {
    let outside = |letter: Option<char>| letter.is_none_or(|letter| !letter.is_alphanumeric());
    word.chars().count() >= TELLING
        && text.match_indices(word).any(|(place, _)| {
            outside(text[..place].chars().next_back()) && outside(text[place + word.len()..].chars().next())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_mentioned_where_it_stands_by_itself() {
        assert!(mentions("\"id\":\"device-7\",", "device-7") && mentions("device-7", "device-7"));
        assert!(!mentions("device-77 mydevice-7", "device-7"), "a part of another word");
        assert!(mentions("device-77, device-7", "device-7"), "the second place counts");
        assert!(!mentions("u1 u1", "u1"), "too short to mean anybody");
        assert!(mentions("“张三丰张三丰”", "张三丰张三丰"));
    }
}
