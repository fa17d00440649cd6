//! Group commit: calls that come at the same time share a transaction.
//!
//! A commit costs the same whether it is of one event or of a hundred. The first of those who come leads: it waits for the
//! turn, takes in the events of all who have come by then, in the order in which they came, commits once, and tells each
//! its report. The others only wait to be told. Whoever has come in the meantime is led by the first of them. Should a
//! shared transaction fail, each call is a transaction of its own, so none suffers from another's events.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Cdp;
use super::turn::Turn;
use crate::error::{Error, Result};
use crate::event::Source;
use crate::pipeline::input::{Input, Reading};
use crate::pipeline::report::{IngestReport, Tally};

/// How many events a call may have to share a transaction. Larger ones would keep the others waiting.
const SMALL: usize = 64;

/// How many calls share a transaction at most.
const CALLS: usize = 1_024;

/// How long a leader waits for as many calls as shared the last transaction: those who have just been told that theirs is
/// done are about to come with the next. Less than a disk takes to sync; and who comes alone waits for nobody.
const PATIENCE: Duration = Duration::from_micros(200);

/// The events of one call.
struct Call {
    source: Source,
    readings: Vec<Reading>,
}

/// What became of a call.
enum Fate {
    /// It is in the queue, or on its way.
    Waiting,
    /// It is in the queue, and whoever made it is to lead from now on.
    Leading,
    /// It was committed.
    Done(IngestReport),
    /// The transaction that it shared has failed: it is to be one by itself.
    Alone(Call),
}

/// Where a caller looks for what became of its call.
struct Outcome {
    fate: Mutex<Fate>,
    settled: Condvar,
}

impl Outcome {
    fn settle(&self, fate: Fate) {
        *self.fate.lock().unwrap_or_else(PoisonError::into_inner) = fate;
        self.settled.notify_all();
    }

    /// What became of the call, as far as it is settled.
    fn look(&self) -> Fate {
        mem::replace(&mut *self.fate.lock().unwrap_or_else(PoisonError::into_inner), Fate::Waiting)
    }

    /// What became of the call, once it is settled.
    fn wait(&self) -> Fate {
        let fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = self.settled.wait_while(fate, |fate| matches!(fate, Fate::Waiting));
        mem::replace(&mut *settled.unwrap_or_else(PoisonError::into_inner), Fate::Waiting)
    }
}

/// A call in the queue.
struct Waiting {
    call: Call,
    outcome: Arc<Outcome>,
}

/// The calls that wait to be committed.
pub(super) struct Queue {
    /// How long a leader waits.
    patience: Duration,
    calls: Mutex<Calls>,
    /// Told when as many have come as are expected.
    complete: Condvar,
}

#[derive(Default)]
struct Calls {
    /// In the order in which they came.
    waiting: Vec<Waiting>,
    /// Whether somebody leads.
    led: bool,
    /// How many shared the last transaction.
    expected: usize,
}

impl Queue {
    /// An empty queue. With `syncs` a commit waits for the disk; for one that does not, it is not worth waiting.
    pub(super) fn new(syncs: bool) -> Self {
        let patience = if syncs { PATIENCE } else { Duration::ZERO };
        Self { patience, calls: Mutex::default(), complete: Condvar::new() }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a call. Whether whoever made it is to lead.
    fn push(&self, waiting: Waiting) -> bool {
        let mut calls = self.calls();
        calls.waiting.push(waiting);
        if calls.led && calls.waiting.len() >= calls.expected {
            self.complete.notify_one();
        }
        !mem::replace(&mut calls.led, true)
    }

    /// The calls that share the next transaction.
    fn next_group(&self) -> Group {
        let calls = self.calls();
        let too_few = |calls: &mut Calls| calls.waiting.len() < calls.expected;
        let waited = self.complete.wait_timeout_while(calls, self.patience, too_few);
        let (mut calls, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let many = calls.waiting.len().min(CALLS);
        calls.expected = many;
        Group(calls.waiting.drain(..many).collect())
    }
}

/// The lead, and what becomes of the leader's own call. When it is given up, however that comes about, the first of the
/// others who wait has it.
struct Lead<'q> {
    queue: &'q Queue,
    own: &'q Arc<Outcome>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut calls = self.queue.calls();
        // Nobody is left to be told.
        calls.waiting.retain(|waiting| !Arc::ptr_eq(&waiting.outcome, self.own));
        let next = calls.waiting.first().map(|first| Arc::clone(&first.outcome));
        calls.led = next.is_some();
        drop(calls);
        if let Some(next) = next {
            next.settle(Fate::Leading);
        }
    }
}

/// Calls that share a transaction. Whatever becomes of it, those that were not told that they are committed are told to
/// do it alone.
struct Group(Vec<Waiting>);

impl Group {
    fn has(&self, own: &Arc<Outcome>) -> bool {
        self.0.iter().any(|waiting| Arc::ptr_eq(&waiting.outcome, own))
    }

    /// Tells each call its report, if they are committed.
    fn tell(mut self, reports: Option<Vec<IngestReport>>) {
        let Some(reports) = reports else { return };
        for (waiting, report) in self.0.drain(..).zip(reports) {
            waiting.outcome.settle(Fate::Done(report));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for Waiting { call, outcome } in self.0.drain(..) {
            outcome.settle(Fate::Alone(call));
        }
    }
}

impl Cdp {
    /// Takes in the events of one call, as one transaction or as a part of one.
    pub(super) fn take_in(
        &self,
        source: &Source,
        events: impl IntoIterator<Item = impl Into<Input>>,
    ) -> Result<IngestReport> {
        let max_bytes = self.inner.limits.max_bytes;
        let mut events = events.into_iter();
        let read = |event: _| Into::<Input>::into(event).read(max_bytes);
        let readings: Vec<Reading> = events.by_ref().take(SMALL).map(read).collect();
        if readings.len() == SMALL {
            let mut batch = self.begin()?;
            batch.take_all(source, &readings)?;
            batch.ingest_from(source, events)?;
            return batch.commit();
        }
        if self.has_turn() {
            return Err(Error::Busy);
        }
        let outcome = Arc::new(Outcome { fate: Mutex::new(Fate::Waiting), settled: Condvar::new() });
        let call = Call { source: source.clone(), readings };
        let leads = self.inner.queue.push(Waiting { call, outcome: Arc::clone(&outcome) });
        match if leads { Fate::Leading } else { outcome.wait() } {
            Fate::Leading => self.lead(&outcome),
            fate => self.settled(fate),
        }
    }

    /// Takes in the events of everybody who waits, until the leader's own call is settled.
    fn lead(&self, own: &Arc<Outcome>) -> Result<IngestReport> {
        let queue = &self.inner.queue;
        let lead = Lead { queue, own };
        loop {
            let turn = self.next_turn()?;
            let group = queue.next_group();
            // An error comes again, to whom it concerns, when each call is a transaction by itself.
            let reports = self.commit_together(turn, &group.0).ok();
            if group.has(own) {
                // The first of those who are told leads when it comes again. And subscribers may do what they like, and wait
                // for calls of other threads too.
                drop(lead);
                group.tell(reports);
                break;
            }
            // So many came before the leader's own call.
            group.tell(reports);
        }
        self.tell();
        self.settled(own.look())
    }

    /// The report of a call that is settled, or that is to be a transaction of its own.
    fn settled(&self, fate: Fate) -> Result<IngestReport> {
        match fate {
            Fate::Done(report) => Ok(report),
            Fate::Alone(call) => {
                let mut batch = self.begin()?;
                batch.take_all(&call.source, &call.readings)?;
                batch.commit()
            }
            Fate::Waiting | Fate::Leading => Err(Error::Abandoned),
        }
    }

    /// Commits the events of several calls. Subscribers are yet to be told.
    fn commit_together(&self, turn: Turn<'_>, calls: &[Waiting]) -> Result<Vec<IngestReport>> {
        let mut batch = self.begin_in(turn, Tally::default())?;
        if let [Waiting { call, .. }] = calls {
            batch.take_all(&call.source, &call.readings)?;
            let (report, _) = batch.commit_untold()?;
            return Ok(vec![report]);
        }
        let mut reports = Vec::with_capacity(calls.len());
        for Waiting { call, .. } in calls {
            batch.take_all(&call.source, &call.readings)?;
            reports.push(batch.end_call()?);
        }
        batch.commit_untold()?;
        Ok(reports)
    }
}
