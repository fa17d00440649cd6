//! Group commit: calls that wait for their turn at the same time share a transaction.
//!
//! A commit costs the same whether it is of one event or of a hundred. Whoever gets the turn takes in the events of all
//! who wait, in the order in which they came, and commits once; the others find their report when their turn comes. Should
//! a shared transaction fail, each call is a transaction of its own, so none suffers from another's events.

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

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

/// The events of one call.
struct Call {
    source: Source,
    readings: Vec<Reading>,
}

/// What became of a call.
enum Fate {
    /// It is in the queue, or on its way.
    Waiting,
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

    /// What became of the call, which another thread has taken along.
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

/// The calls that wait for their turn, in the order in which they came.
#[derive(Default)]
pub(super) struct Queue(Mutex<Vec<Waiting>>);

impl Queue {
    fn calls(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls that share a transaction. Whatever becomes of it, those that were not told that they are committed are told to
/// do it alone.
struct Group(Vec<Waiting>);

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
        self.inner.queue.calls().push(Waiting { call, outcome: Arc::clone(&outcome) });
        loop {
            let turn = self.next_turn();
            let mut queue = self.inner.queue.calls();
            let Some(own) = queue.iter().position(|waiting| Arc::ptr_eq(&waiting.outcome, &outcome)) else {
                // Another thread has taken it along, and may still be about to tell.
                drop(queue);
                drop(turn);
                return self.settled(outcome.wait());
            };
            let turn = match turn {
                Ok(turn) => turn,
                Err(error) => {
                    queue.remove(own);
                    return Err(error);
                }
            };
            // Whoever is before this call goes first, with it or without.
            let many = queue.len().min(CALLS);
            let group = Group(queue.drain(..many).collect());
            drop(queue);
            self.share(turn, group);
            match outcome.look() {
                Fate::Waiting => {}
                fate => return self.settled(fate),
            }
        }
    }

    /// The report of a call that another thread may have taken along, or that is to be a transaction of its own.
    fn settled(&self, fate: Fate) -> Result<IngestReport> {
        match fate {
            Fate::Done(report) => Ok(report),
            Fate::Alone(call) => {
                let mut batch = self.begin()?;
                batch.take_all(&call.source, &call.readings)?;
                batch.commit()
            }
            Fate::Waiting => Err(Error::Abandoned),
        }
    }

    /// Takes in the events of several calls as one transaction, and tells each what became of it.
    fn share(&self, turn: Turn<'_>, mut group: Group) {
        // An error comes again, to whom it concerns, when each call is a transaction by itself.
        if let Ok(reports) = self.commit_together(turn, &group.0) {
            for (waiting, report) in group.0.drain(..).zip(reports) {
                waiting.outcome.settle(Fate::Done(report));
            }
        }
    }

    fn commit_together(&self, turn: Turn<'_>, calls: &[Waiting]) -> Result<Vec<IngestReport>> {
        let mut batch = self.begin_in(turn, Tally::default())?;
        if let [Waiting { call, .. }] = calls {
            batch.take_all(&call.source, &call.readings)?;
            return Ok(vec![batch.commit()?]);
        }
        let mut reports = Vec::with_capacity(calls.len());
        for Waiting { call, .. } in calls {
            batch.take_all(&call.source, &call.readings)?;
            reports.push(batch.end_call()?);
        }
        batch.commit()?;
        Ok(reports)
    }
}
