//! Questions.

use super::{Cdp, EventRecord, Explanation, Person, QuarantineEntry, RefusedIdentifier, SegmentSize};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{Identifier, ProfileId, mask};
use crate::identity::{IdentityGraph, Node, Rules, by_strength, strongest};
use crate::pipeline::membership::{self, Live};
use crate::pipeline::{State, people};
use crate::profile::{Profile, Trait};
use crate::segment::Condition;
use crate::store::{Db, Place, Problem, Stats};
use crate::value::nfc;

/// How many refusals of each identifier an explanation gives at most.
const REFUSALS: usize = 100;

/// What a text stands for: a profile, or an identifier that may be nobody's.
enum Named {
    Profile(ProfileId),
    Identifier(Identifier),
}

impl Named {
    fn read(text: &str) -> Result<Self> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Profile(id));
        }
        text.parse().map(Self::Identifier).map_err(|_| Error::NotAnId(mask(text)))
    }

    /// A node of whoever is named.
    fn node(&self, db: &Db, state: &State) -> Result<Option<Node>> {
        Ok(match self {
            Self::Profile(id) => db.founder(*id)?,
            Self::Identifier(identifier) => state.identities.find(&state.rules, identifier),
        })
    }
}

/// One end of an explanation.
struct End {
    identifier: Identifier,
    /// The root of whoever holds it.
    root: Option<Node>,
}

impl End {
    /// A profile id stands for the profile's name, and an identifier in any spelling for the one that is kept.
    fn of(named: Named, db: &Db, state: &State) -> Result<Self> {
        let identities = &state.identities;
        let node = named.node(db, state)?;
        let root = node.and_then(|node| identities.partition.root(node));
        let (shown, given) = match named {
            Named::Identifier(given) => (node, given),
            Named::Profile(id) => {
                let members = root.into_iter().flat_map(|root| identities.partition.members(root));
                (strongest(identities, &state.rules, members), Identifier::new("profile", id.to_string()))
            }
        };
        Ok(Self { identifier: shown.map_or(given, |node| identities.interner.identifier(node)), root })
    }
}

impl Cdp {
    /// Everything known of a person, `None` if nobody has that id. An id is an identifier (`user_id:u1`, in any
    /// spelling) or a profile id, also one that redirects.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`] if the text is neither, or what the storage says.
    pub fn profile(&self, id: impl ToString) -> Result<Option<Profile>> {
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| {
            let Some(person) = named.node(db, state)?.and_then(|node| state.identities.person(node)) else {
                return Ok(None);
            };
            let mut profile = people::profile(db, &state.identities, &state.rules, &person)?;
            profile.segments = membership::segments_of(db, &person, &state.segments, self.now())?;
            Ok(Some(profile))
        })
    }

    /// Everyone, by name.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn profiles(&self) -> Result<Vec<Person>> {
        self.read(|db, state| list(db, state, state.identities.partition.roots()))
    }

    /// Up to `limit` events of a person, the newest first (ties: by message id). None if nobody has that id.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`] if the text is neither an identifier nor a profile id, or what the storage says.
    pub fn events(&self, id: impl ToString, limit: usize) -> Result<Vec<EventRecord>> {
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| {
            let mut events = Vec::new();
            if let Some(node) = named.node(db, state)? {
                for member in state.identities.partition.members(node) {
                    events.append(&mut db.latest_events_of(member, limit)?);
                }
            }
            events.sort_by(|a, b| (b.at, &b.message_id).cmp(&(a.at, &a.message_id)));
            events.truncate(limit);
            let record = |event: crate::store::StoredEvent| EventRecord {
                message_id: event.message_id,
                at: event.at,
                name: event.name,
                json: event.json,
            };
            Ok(events.into_iter().map(record).collect())
        })
    }

    /// Everything that was ever asserted of one trait of a person, the oldest first. A null says that the trait was
    /// removed then.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`] if the text is neither an identifier nor a profile id, or what the storage says.
    pub fn trait_history(&self, id: impl ToString, name: &str) -> Result<Vec<Trait>> {
        let name = nfc(name);
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| {
            let mut values = Vec::new();
            if let Some(node) = named.node(db, state)? {
                for member in state.identities.partition.members(node) {
                    let said = db.traits_of(member)?.into_iter();
                    values.extend(said.filter(|(said, _)| *said == name).map(|(_, said)| said));
                }
            }
            values.sort_by(|a, b| (a.at, &a.message_id).cmp(&(b.at, &b.message_id)));
            Ok(values)
        })
    }

    /// Why two identifiers are one person: a shortest chain of evidence. Or, if they are not, where a limit kept
    /// them apart.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([
    ///     Event::identify().user_id("u1").with_trait("email", "shared@example.com"),
    ///     Event::identify().user_id("u2").with_trait("email", "shared@example.com").message_id("m2"),
    /// ])?;
    /// let why = cdp.explain("user_id:u2", "email:shared@example.com")?;
    /// assert!(!why.same);
    /// assert_eq!(why.refused[0].reason, "at most 1 user_id in a profile, 2 if joined");
    /// assert_eq!(why.refused[0].message_id, "m2");
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`] if a text is neither an identifier nor a profile id, or what the storage says.
    pub fn explain(&self, a: impl ToString, b: impl ToString) -> Result<Explanation> {
        let named = [Named::read(&a.to_string())?, Named::read(&b.to_string())?];
        self.read(|db, state| {
            let [a, b] = named.map(|named| End::of(named, db, state));
            let (a, b) = (a?, b?);
            if let Some(root) = a.root
                && a.root == b.root
            {
                let nodes: Vec<Node> = state.identities.partition.members(root).collect();
                let graph = db.graph_of(&state.identities, &nodes)?;
                let path = graph.path(&a.identifier, &b.identifier).unwrap_or_default();
                return Ok(Explanation { same: true, path, refused: Vec::new() });
            }
            let mut refused = Vec::new();
            for identifier in [a.identifier, b.identifier] {
                for (reason, message_id) in db.refusals(&identifier, REFUSALS)? {
                    refused.push(RefusedIdentifier { identifier: identifier.clone(), reason, message_id });
                }
            }
            Ok(Explanation { same: false, path: Vec::new(), refused })
        })
    }

    /// The graph of all identifiers and the evidence between them.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn graph(&self) -> Result<IdentityGraph> {
        self.read(|db, state| Ok(db.graph(&state.identities)?))
    }

    /// The graph of one person's identifiers, empty if nobody has that id.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`] if the text is neither an identifier nor a profile id, or what the storage says.
    pub fn graph_of(&self, id: impl ToString) -> Result<IdentityGraph> {
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| {
            let node = named.node(db, state)?.into_iter();
            let nodes: Vec<Node> = node.flat_map(|node| state.identities.partition.members(node)).collect();
            Ok(db.graph_of(&state.identities, &nodes)?)
        })
    }

    /// The rules of identity in force.
    pub fn rules(&self) -> Rules {
        self.state().rules.clone()
    }

    /// All segments by name, each with the number of its members now.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn segments(&self) -> Result<Vec<SegmentSize>> {
        self.read(|db, state| {
            let size = |live: &Live| {
                let members = membership::members(db, &state.identities, live, self.now())?.len();
                Ok(SegmentSize { segment: live.segment.clone(), members })
            };
            state.segments.iter().map(size).collect()
        })
    }

    /// The members of a segment now, by name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSegment`], or what the storage says.
    pub fn members(&self, segment: &str) -> Result<Vec<Person>> {
        self.read(|db, state| {
            let members = membership::members(db, &state.identities, live(state, segment)?, self.now())?;
            list(db, state, members)
        })
    }

    /// Who was a member of a segment at an instant, from the events up to it, of the people as they are stitched
    /// today.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSegment`], or what the storage says.
    pub fn members_at(&self, segment: &str, at: Timestamp) -> Result<Vec<Person>> {
        self.read(|db, state| {
            let condition = live(state, segment)?.segment.condition();
            list(db, state, membership::matching(db, &state.identities, condition, at, Some(at))?)
        })
    }

    /// Who would be a member of a segment of this condition now, by name.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`] if the condition makes no sense, or what the storage says.
    pub fn preview(&self, condition: impl Into<Condition>) -> Result<Vec<Person>> {
        let condition = condition.into();
        condition.check()?;
        self.read(|db, state| {
            list(db, state, membership::matching(db, &state.identities, &condition, self.now(), None)?)
        })
    }

    /// Who would have been a member of a segment of this condition at an instant, from the events up to it, of the
    /// people as they are stitched today.
    ///
    /// # Errors
    ///
    /// Those of [`preview`](Self::preview).
    pub fn preview_at(&self, condition: impl Into<Condition>, at: Timestamp) -> Result<Vec<Person>> {
        let condition = condition.into();
        condition.check()?;
        self.read(|db, state| {
            list(db, state, membership::matching(db, &state.identities, &condition, at, Some(at))?)
        })
    }

    /// Up to `limit` refused events, those kept longest first.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn quarantine(&self, limit: usize) -> Result<Vec<QuarantineEntry>> {
        self.read(|db, _| {
            let sources = db.sources()?;
            let entry = |kept: crate::store::Quarantined| QuarantineEntry {
                reason: kept.reason,
                raw: String::from_utf8_lossy(&kept.raw).into_owned(),
                source: sources.get(&kept.source).map(|source| source.name.clone()).unwrap_or_default(),
                at: kept.at,
            };
            Ok(db.quarantined(0, limit)?.into_iter().map(entry).collect())
        })
    }

    /// Everything that is wrong with the file: what SQLite's own checks find, and broken invariants of ours. Empty
    /// if it is sound.
    ///
    /// # Errors
    ///
    /// What the storage says, if it is so damaged that it cannot be checked.
    pub fn check(&self) -> Result<Vec<Problem>> {
        self.read(|db, state| {
            let mut problems = db.problems()?;
            problems.extend(db.differences(&state.identities)?);
            Ok(problems)
        })
    }

    /// What the database holds, in numbers.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn stats(&self) -> Result<Stats> {
        let wal_bytes = match &self.inner.place {
            Place::File(path) => {
                let mut wal = path.clone().into_os_string();
                wal.push("-wal");
                std::fs::metadata(wal).map_or(0, |found| found.len())
            }
            Place::Memory => 0,
        };
        self.read(|db, state| Ok(db.stats(&state.identities, wal_bytes)?))
    }
}

fn live<'s>(state: &'s State, name: &str) -> Result<&'s Live> {
    let own = nfc(name);
    let found = state.segments.iter().find(|live| live.segment.name() == own);
    found.ok_or_else(|| Error::UnknownSegment(name.to_owned()))
}

/// The people who hold these nodes (one of each), by name.
fn list(db: &Db, state: &State, nodes: impl IntoIterator<Item = Node>) -> Result<Vec<Person>> {
    let State { identities, rules, .. } = state;
    let mut people = Vec::new();
    for person in nodes.into_iter().filter_map(|node| identities.person(node)) {
        let sorted = by_strength(identities, rules, person.nodes).into_iter();
        let identifiers: Vec<Identifier> = sorted.map(|node| identities.interner.identifier(node)).collect();
        people.push(Person { id: db.profile_id(person.profile)?, name: identifiers[0].clone(), identifiers });
    }
    people.sort_by_cached_key(|person| person.name.to_string());
    Ok(people)
}
