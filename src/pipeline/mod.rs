//! The way of an event: ingest → identity → profile → segment, in one transaction.
//!
//! This is the one place where rules and storage meet. Everything is worked out beside the state in memory, as a
//! [`Draft`]; the state changes when the commit has returned, and not before.

pub(crate) mod input;
pub(crate) mod membership;
pub(crate) mod people;
mod record;
pub(crate) mod replay;
pub(crate) mod report;

use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};

use self::input::Reading;
use self::membership::Live;
use self::record::Record;
use self::report::{IngestReport, Rejected, Tally};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::event::{Event, EventLimits, Refusal, Source};
use crate::id::{Namespace, ProfileId};
use crate::identity::{Borne, Draft, Identities, NAMESPACES, Node, Occasion, Rules, identifiers};
use crate::store::{Db, NewEvent};
use crate::value::nfc;

/// What is kept in memory of the last commit, beside the file.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) identities: Identities,
    pub(crate) rules: Rules,
    /// The segments, by name.
    pub(crate) segments: Vec<Live>,
    /// Which commit this is, to tell when another process has made a later one.
    pub(crate) version: i64,
}

/// The counter in the file that says which commit of the [`State`] it holds.
pub(crate) const VERSION: &str = "version";

/// What the writer keeps at hand. Forgotten when a transaction is rolled back.
#[derive(Default)]
pub(crate) struct Desk {
    names: FxHashMap<String, u32>,
    sources: FxHashMap<Source, u32>,
    /// Whether the file has any alias that must be told anew if its `previousId` turns out to be anonymous.
    has_assumptions: Option<bool>,
}

impl Desk {
    fn name(&mut self, db: &Db, name: &str) -> Result<u32> {
        if let Some(number) = self.names.get(name) {
            return Ok(*number);
        }
        let number = db.event_name(name)?;
        self.names.insert(name.to_owned(), number);
        Ok(number)
    }

    pub(crate) fn source(&mut self, db: &Db, source: &Source) -> Result<u32> {
        if let Some(number) = self.sources.get(source) {
            return Ok(*number);
        }
        let number = db.source(source)?;
        self.sources.insert(source.clone(), number);
        Ok(number)
    }

    fn has_assumptions(&mut self, db: &Db) -> Result<bool> {
        if let Some(known) = self.has_assumptions {
            return Ok(known);
        }
        let found = db.has_assumptions()?;
        self.has_assumptions = Some(found);
        Ok(found)
    }
}

/// Where events are taken in: the file, what is at hand, and the state before the batch.
pub(crate) struct Counter<'c> {
    pub(crate) db: &'c Db,
    pub(crate) desk: &'c mut Desk,
    pub(crate) state: &'c State,
    pub(crate) limits: EventLimits,
}

/// A batch on its way: what it changes.
pub(crate) struct Intake {
    draft: Draft,
    now: Timestamp,
    /// Owners of new events: the people whose segments are to be settled.
    touched: FxHashSet<Node>,
    /// An alias must be told anew: the value that it names turned out to be an `anonymous_id`.
    retell: bool,
    report: IngestReport,
}

/// What a batch does to the state in memory, once it is committed.
pub(crate) enum Change {
    /// Adds to the identities.
    Grow(Box<Draft>),
    /// Puts others in their place.
    Replace(Box<Identities>),
}

impl Intake {
    /// An empty batch.
    pub(crate) fn new(state: &State, now: Timestamp) -> Self {
        Self {
            draft: Draft::on(&state.identities),
            now,
            touched: FxHashSet::default(),
            retell: false,
            report: IngestReport::default(),
        }
    }

    /// The instant that counts as now for the whole batch.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// What came of the batch so far, but for the counts of profiles.
    pub(crate) fn report(&self) -> &IngestReport {
        &self.report
    }

    /// Takes one event in: keeps it, resolves whose it is, and records what it says; or puts it into quarantine.
    pub(crate) fn take(
        &mut self,
        counter: &mut Counter<'_>,
        source: &Source,
        position: u64,
        reading: &Reading,
    ) -> Result<()> {
        let number = counter.desk.source(counter.db, source)?;
        let (reason, raw) = match reading {
            Ok((event, json)) => match self.keep(counter, (source, number), event, json)? {
                Ok(()) => return Ok(()),
                Err(refusal) => (refusal.to_string(), json.as_bytes()),
            },
            Err((refusal, raw)) => (refusal.to_string(), raw.as_slice()),
        };
        counter.db.add_quarantined(self.now, number, &Sha256::digest(raw), &reason, raw)?;
        self.report.rejected.push(Rejected { position, reason });
        Ok(())
    }

    /// Takes in an event that could be read, unless there is another reason to refuse it.
    fn keep(
        &mut self,
        counter: &mut Counter<'_>,
        (source, source_number): (&Source, u32),
        event: &Event,
        json: &str,
    ) -> Result<Result<(), Refusal>> {
        let (db, base, rules) = (counter.db, &counter.state.identities, &counter.state.rules);
        let message_id =
            event.ids().message_id.map_or_else(|| event.content_id(&source.name), |id| nfc(id).into_owned());
        if let Some(kept) = db.json_of(&message_id)? {
            self.report.duplicates += 1;
            self.report.conflicts += u64::from(differs(event, json, &kept));
            return Ok(Ok(()));
        }
        // After the question for duplicates: what is kept stays known, wherever the clock is set.
        if let Err(refusal) = event.check_time(self.now, &counter.limits) {
            return Ok(Err(refusal));
        }
        let draft = &self.draft;
        let borne = identifiers(event, rules, |id| draft.find(base, &Namespace::ANONYMOUS_ID, id).is_some());
        if borne.identifiers.is_empty() {
            return Ok(Err(borne.refusal()));
        }
        self.retell |= self.betrays_alias(counter, &borne)?;
        let at = event.time(self.now);
        let occasion = Occasion { at, message_id: &message_id, source: source_number };
        let Some(resolution) = self.draft.resolve(base, rules, &borne, occasion) else {
            // It has identifiers, so there was no room for their namespaces.
            let reason = format!("a database holds at most {NAMESPACES} namespaces");
            return Ok(Err(Refusal::new("context.externalIds", reason)));
        };
        let number = db.add_event(NewEvent {
            node: resolution.owner,
            at,
            name: counter.desk.name(db, event.name())?,
            source: source_number,
            message_id: &message_id,
            json,
        })?;
        let record =
            Record { event, owner: resolution.owner, at, message_id: &message_id, source: source_number };
        record.write(db, &borne, &resolution.refused)?;
        if let Some(value) = &borne.assumed_user_id {
            db.assume_user_id(value, number)?;
            counter.desk.has_assumptions = Some(true);
        }
        self.report.refusals += resolution.refused.len() as u64;
        self.report.accepted += 1;
        self.touched.insert(resolution.owner);
        Ok(Ok(()))
    }

    /// Whether an event shows for the first time as `anonymous_id` what an earlier alias took for a `user_id`.
    fn betrays_alias(&self, counter: &mut Counter<'_>, borne: &Borne<'_>) -> Result<bool> {
        let Some(id) = &borne.anonymous_id else { return Ok(false) };
        Ok(counter.desk.has_assumptions(counter.db)?
            && self.draft.find(&counter.state.identities, &Namespace::ANONYMOUS_ID, id).is_none()
            && counter.db.is_assumed_user_id(id)?)
    }

    /// Writes what the batch changes in people and segments, ready to be committed.
    pub(crate) fn settle(
        self,
        db: &Db,
        state: &State,
        tally: &mut Tally,
        mut id: impl FnMut() -> ProfileId,
    ) -> Result<(Change, IngestReport)> {
        let Self { draft, now, touched, retell, mut report } = self;
        let base = &state.identities;
        db.write_draft(base, &draft, now, &mut id)?;
        let change = if retell {
            let mut before = base.clone();
            before.apply(&draft);
            let (after, _) = replay::replay(db, &before, &state.rules, now, id)?;
            tally.count_replayed(base, &after);
            membership::settle_afresh(db, &after, &state.segments, now)?;
            Change::Replace(Box::new(after))
        } else {
            tally.count(draft.founded(base), draft.absorbed.iter().map(|absorbed| absorbed.profile.0));
            let roots: FxHashSet<Node> = touched.into_iter().map(|owner| draft.root(base, owner)).collect();
            if !state.segments.is_empty() {
                for person in roots.into_iter().filter_map(|root| draft.person(base, root)) {
                    membership::settle(db, &person, &state.segments, now)?;
                }
            }
            Change::Grow(Box::new(draft))
        };
        tally.report(&mut report);
        Ok((change, report))
    }
}

impl State {
    /// Does to the state in memory what was committed to the file.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Grow(draft) => self.identities.apply(&draft),
            Change::Replace(identities) => self.identities = *identities,
        }
    }
}

/// Whether a re-sent event says something else than the one that is kept.
fn differs(event: &Event, json: &str, kept: &str) -> bool {
    json != kept && Event::from_json(kept).map_or(true, |kept| !event.same_content(&kept))
}
