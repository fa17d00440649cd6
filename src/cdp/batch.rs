//! Several calls as one transaction.

use std::fmt;

use super::Cdp;
use super::turn::Turn;
use crate::error::{Error, Result};
use crate::event::Source;
use crate::pipeline::input::{Input, Reading};
use crate::pipeline::prepare::TOGETHER;
use crate::pipeline::report::{IngestReport, Tally};
use crate::pipeline::{Counter, Intake, membership};
use crate::store::Db;

/// Several calls that are committed together, or not at all.
///
/// Until [`commit`](Self::commit) nobody sees what they did; a batch that is dropped leaves nothing behind. Other
/// writers wait meanwhile, so keep it short; reading calls go on, but for those of a database in memory: they wait
/// too, and fail with [`Error::Busy`] in the thread that has the batch.
///
/// ```
/// use customerdb::{Cdp, Event, Source};
///
/// let cdp = Cdp::in_memory()?;
/// let mut batch = cdp.begin()?;
/// batch.ingest([Event::track("Search").user_id("u1")])?;
/// batch.ingest_from(&Source::new("crm"), [Event::identify().user_id("u1").with_trait("plan", "gold")])?;
/// assert_eq!(batch.commit()?.accepted, 2);
/// assert!(cdp.profile("user_id:u1")?.is_some());
///
/// let mut batch = cdp.begin()?;
/// batch.ingest([Event::track("Search").user_id("u2")])?;
/// drop(batch);
/// assert!(cdp.profile("user_id:u2")?.is_none());
/// # Ok::<(), customerdb::Error>(())
/// ```
#[must_use = "a batch that is dropped leaves nothing behind"]
pub struct Batch<'c> {
    cdp: &'c Cdp,
    turn: Turn<'c>,
    /// `None` once a call has failed, and everything was rolled back.
    intake: Option<Intake>,
    tally: Tally,
    position: u64,
}

impl Cdp {
    /// Begins a batch of calls that are committed together.
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`], or what the storage says.
    pub fn begin(&self) -> Result<Batch<'_>> {
        self.begin_counting(Tally::default())
    }

    /// Begins a batch that counts profiles together with others of the same call.
    pub(super) fn begin_counting(&self, tally: Tally) -> Result<Batch<'_>> {
        self.begin_in(self.next_turn()?, tally)
    }

    /// Begins a batch in a turn that has no transaction yet.
    pub(super) fn begin_in<'c>(&'c self, mut turn: Turn<'c>, tally: Tally) -> Result<Batch<'c>> {
        turn.begin()?;
        let intake = {
            let (state, now) = (self.state(), self.now());
            // Before anything comes in, so that what time has changed is told as such.
            membership::settle_time(turn.db(), &state.identities, &state.segments, now)?;
            Some(Intake::new(&state, now))
        };
        Ok(Batch { cdp: self, turn, intake, tally, position: 0 })
    }
}

impl Batch<'_> {
    /// Takes events in from the source named `default`. Bad ones are refused and kept in quarantine; a position in
    /// the report counts all events of the batch, from 0.
    ///
    /// # Errors
    ///
    /// What the storage says, [`Error::Full`] among it. The whole batch is taken back then.
    pub fn ingest(&mut self, events: impl IntoIterator<Item = impl Into<Input>>) -> Result<()> {
        self.ingest_from(&Source::default(), events)
    }

    /// Takes events in from a source.
    ///
    /// # Errors
    ///
    /// Those of [`ingest`](Self::ingest).
    pub fn ingest_from(
        &mut self,
        source: &Source,
        events: impl IntoIterator<Item = impl Into<Input>>,
    ) -> Result<()> {
        let max_bytes = self.cdp.inner.limits.max_bytes;
        let mut events = events.into_iter().map(|event| event.into().read(max_bytes));
        loop {
            let readings: Vec<Reading> = events.by_ref().take(TOGETHER).collect();
            if readings.is_empty() {
                return Ok(());
            }
            self.take_all(source, &readings)?;
        }
    }

    /// Takes events in that are read already.
    pub(super) fn take_all(&mut self, source: &Source, readings: &[Reading]) -> Result<()> {
        let readings: Vec<(u64, &Reading)> = (self.position..).zip(readings).collect();
        self.position += readings.len() as u64;
        self.take(source, &readings)
    }

    /// Ends one of several calls that the batch is made of: gives what came of it, counted by itself. An error if that
    /// cannot be told apart from the others.
    pub(super) fn end_call(&mut self) -> Result<IngestReport> {
        let intake = self.intake.as_mut().ok_or(Error::Abandoned)?;
        self.position = 0;
        intake.end_call().ok_or(Error::Abandoned)
    }

    /// Takes events in, each with its position.
    pub(super) fn take(&mut self, source: &Source, readings: &[(u64, &Reading)]) -> Result<()> {
        let intake = self.intake.as_mut().ok_or(Error::Abandoned)?;
        let (db, desk) = self.turn.parts();
        let state = self.cdp.state();
        let mut counter = Counter { db, desk, state: &state, limits: self.cdp.inner.limits };
        let taken = intake.take(&mut counter, source, readings);
        drop(state);
        if taken.is_err() {
            self.intake = None;
            self.turn.abandon();
        }
        taken
    }

    /// What came of the batch so far, but for the counts of profiles, which are known when it is committed.
    ///
    /// # Errors
    ///
    /// [`Error::Abandoned`] if a call has failed before.
    pub fn report(&self) -> Result<&IngestReport> {
        self.intake.as_ref().map(Intake::report).ok_or(Error::Abandoned)
    }

    /// The connection that the batch writes with.
    pub(super) fn db(&self) -> &Db {
        self.turn.db()
    }

    /// Commits the batch. When this returns, it is on the disk as far as the configured durability says, and every
    /// segment's members are right.
    ///
    /// # Errors
    ///
    /// [`Error::Abandoned`] if a call has failed before, or what the storage says; nothing of the batch is kept
    /// then.
    pub fn commit(self) -> Result<IngestReport> {
        self.commit_counting().map(|(report, _)| report)
    }

    pub(super) fn commit_counting(self) -> Result<(IngestReport, Tally)> {
        let cdp = self.cdp;
        let committed = self.commit_untold()?;
        cdp.tell();
        Ok(committed)
    }

    /// Commits the batch for whoever tells subscribers later.
    pub(super) fn commit_untold(mut self) -> Result<(IngestReport, Tally)> {
        let intake = self.intake.take().ok_or(Error::Abandoned)?;
        let Self { cdp, mut turn, mut tally, .. } = self;
        let (change, report) = {
            let state = cdp.state();
            intake.settle(turn.parts(), &state, &mut tally, || cdp.new_profile_id())?
        };
        turn.publish_untold(|state| state.apply(change))?;
        Ok((report, tally))
    }

    /// Takes everything back. Dropping the batch does the same.
    pub fn rollback(self) {}
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("report", &self.report().ok()).finish_non_exhaustive()
    }
}
