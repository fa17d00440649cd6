//! Questions.

use super::named::Named;
use super::{Cdp, EventRecord, Person, QuarantineEntry, SegmentSize};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::Identifier;
use crate::identity::{Node, by_strength};
use crate::pipeline::as_of::profile_at;
use crate::pipeline::membership::{self, Live};
use crate::pipeline::{State, people};
use crate::profile::{Profile, Trait};
use crate::segment::Condition;
use crate::store::{Db, Place, Problem, Stats};
use crate::value::nfc;

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
            let catalog = &state.segments.catalog;
            let mut profile = people::profile(db, &state.identities, &state.rules, catalog, &person)?;
            let known = membership::known(db, &person, &state.segments, self.now())?;
            (profile.computed, profile.tags, profile.segments) = (known.computed, known.tags, known.segments);
            Ok(Some(profile))
        })
    }

    /// Everything known of a person at an instant: stitched from the events up to it, with the traits, accounts and
    /// segments as they were. `None` if nobody had that id yet.
    ///
    /// Rules, bans and cuts hold for the past too; a link by hand holds from its own time on. The id is the one under
    /// which the person is found today.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Timestamp};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// let (monday, friday): (Timestamp, Timestamp) = ("2024-04-29T12:00:00Z".parse()?, "2024-05-03T12:00:00Z".parse()?);
    /// cdp.ingest([
    ///     Event::track("Search").anonymous_id("device-7").at(monday),
    ///     Event::identify().anonymous_id("device-7").user_id("xiaoming").at(friday),
    /// ])?;
    /// let then = cdp.profile_at("anonymous_id:device-7", monday)?.unwrap();
    /// assert_eq!((then.name.to_string(), then.events), ("anonymous_id:device-7".to_owned(), 1));
    /// assert!(cdp.profile_at("user_id:xiaoming", monday)?.is_none());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`] if the text is neither an identifier nor a profile id, or what the storage says.
    pub fn profile_at(&self, id: impl ToString, at: Timestamp) -> Result<Option<Profile>> {
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| match named.node(db, state)? {
            Some(node) => profile_at(db, state, node, at),
            None => Ok(None),
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
            let Some(node) = named.node(db, state)? else { return Ok(Vec::new()) };
            let nodes: Vec<Node> = state.identities.partition.members(node).collect();
            let events = db.latest_events_of(&nodes, limit)?;
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
            values.sort_by(|a, b| a.order().cmp(&b.order()));
            Ok(values)
        })
    }

    /// All segments by name, each with the number of its members now.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn segments(&self) -> Result<Vec<SegmentSize>> {
        self.read(|db, state| {
            let size = |live: &Live| {
                let members = membership::count(db, &state.identities, &state.segments, live, self.now())?;
                Ok(SegmentSize { segment: live.segment.clone(), members })
            };
            state.segments.all.iter().map(size).collect()
        })
    }

    /// The members of a segment now, by name.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSegment`], or what the storage says.
    pub fn members(&self, segment: &str) -> Result<Vec<Person>> {
        self.read(|db, state| {
            let (definitions, live) = (&state.segments, live(state, segment)?);
            let members =
                membership::members(db, &state.identities, definitions, live, self.now(), &mut || Ok(()))?;
            list(db, state, members)
        })
    }

    /// How many members a segment has now, without listing them. Where time has changed nobody's answer since the last
    /// commit they are only counted; of one that is not live everybody is asked.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Segment, did};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::track("Search").user_id("u1"), Event::track("Order").user_id("u2")])?;
    /// cdp.define(Segment::new("searchers", did("Search")))?;
    /// assert_eq!(cdp.count("searchers")?, 1);
    /// assert_eq!(cdp.preview_count(did("Order").at_least(2))?, 0);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`members`](Self::members).
    pub fn count(&self, segment: &str) -> Result<usize> {
        self.read(|db, state| {
            let live = live(state, segment)?;
            membership::count(db, &state.identities, &state.segments, live, self.now())
        })
    }

    /// Who was a member of a segment at an instant, from the events up to it, of the people as they are stitched
    /// today. Of a list it is those who were on it then, and of a tag by hand whoever carried it.
    ///
    /// An event counts from its own time on: one that is ahead of the clock counts for [`members`](Self::members) as soon as
    /// it is taken in, where its window does not say otherwise, and as of now it has not happened.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownSegment`], or what the storage says.
    pub fn members_at(&self, segment: &str, at: Timestamp) -> Result<Vec<Person>> {
        self.read(|db, state| {
            let condition = live(state, segment)?.segment.condition();
            matching(db, state, condition, at, Some(at))
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
        self.read(|db, state| matching(db, state, &condition, self.now(), None))
    }

    /// How many would be members of a segment of this condition now, without naming them.
    ///
    /// # Errors
    ///
    /// Those of [`preview`](Self::preview).
    pub fn preview_count(&self, condition: impl Into<Condition>) -> Result<usize> {
        let condition = condition.into();
        condition.check()?;
        self.read(|db, state| {
            let catalog = &state.segments.catalog;
            catalog.check(&condition)?;
            let members = membership::matching(
                db,
                &state.identities,
                catalog,
                &condition,
                self.now(),
                None,
                &mut || Ok(()),
            )?;
            Ok(members.len())
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
        self.read(|db, state| matching(db, state, &condition, at, Some(at)))
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
            problems.extend(db.differences(&state.identities, &state.hand, &state.refusing)?);
            Ok(problems)
        })
    }

    /// What the database holds, in numbers.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn stats(&self) -> Result<Stats> {
        let wal_bytes = self.wal_bytes();
        self.read(|db, state| Ok(db.stats(&state.identities, wal_bytes)?))
    }
}

impl Cdp {
    /// The size of the write-ahead log in bytes, 0 if there is none.
    pub(super) fn wal_bytes(&self) -> u64 {
        match &self.inner.place {
            Place::File(path, _) => {
                let mut wal = path.clone().into_os_string();
                wal.push("-wal");
                std::fs::metadata(wal).map_or(0, |found| found.len())
            }
            Place::Memory => 0,
        }
    }
}

/// Who meets a condition, by name.
fn matching(
    db: &Db,
    state: &State,
    condition: &Condition,
    now: Timestamp,
    until: Option<Timestamp>,
) -> Result<Vec<Person>> {
    let catalog = &state.segments.catalog;
    catalog.check(condition)?;
    list(
        db,
        state,
        membership::matching(db, &state.identities, catalog, condition, now, until, &mut || Ok(()))?,
    )
}

pub(super) fn live<'s>(state: &'s State, name: &str) -> Result<&'s Live> {
    let own = nfc(name);
    let found = state.segments.all.iter().find(|live| live.segment.name() == own);
    found.ok_or_else(|| Error::UnknownSegment(name.to_owned()))
}

/// The people who hold these nodes (one of each), by name.
pub(super) fn list(db: &Db, state: &State, nodes: impl IntoIterator<Item = Node>) -> Result<Vec<Person>> {
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
