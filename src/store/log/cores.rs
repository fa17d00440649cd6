//! Work on all cores, handed out by the one thread that may ask SQLite.

use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::store::Result;

/// How many jobs wait for each core: so few that they take little memory, so many that no core waits for the next.
const WAITING: usize = 4;

/// How many cores there are.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Calls `work` with every job that `feed` gives, each by one of the workers, which run beside each other and are given
/// back. Whoever feeds works too when the others have enough to do. A worker that breaks off ends the work of all, and so does
/// whoever feeds: what waits is not done any more.
pub(super) fn on_cores<J: Send, W: Send>(
    mut workers: Vec<W>,
    work: impl Fn(&mut W, J) -> ControlFlow<()> + Sync,
    feed: impl FnOnce(&mut dyn FnMut(J) -> ControlFlow<()>) -> Result<ControlFlow<()>>,
) -> Result<Vec<W>> {
    let Some(mut own) = workers.pop() else { return Ok(workers) };
    let stopped = AtomicBool::new(false);
    let others = workers.len();
    let (give, jobs) = sync_channel(WAITING * others);
    let jobs = Mutex::new(jobs);
    // Jobs are taken to the end, so that whoever feeds need not wait.
    let take = |worker: &mut W, job: J| {
        if !stopped.load(Ordering::Relaxed) && work(worker, job).is_break() {
            stopped.store(true, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        let (jobs, take) = (&jobs, &take);
        let run = |mut worker: W| {
            move || {
                while let Some(job) = next(jobs) {
                    take(&mut worker, job);
                }
                worker
            }
        };
        let running: Vec<_> = workers.into_iter().map(|worker| scope.spawn(run(worker))).collect();
        let outcome = feed(&mut |job| {
            let left = if others > 0 { give.try_send(job) } else { Err(TrySendError::Full(job)) };
            if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = left {
                take(&mut own, job);
            }
            if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        drop(give);
        if !matches!(outcome, Ok(ControlFlow::Continue(()))) {
            stopped.store(true, Ordering::Relaxed);
        }
        while let Some(job) = next(jobs) {
            take(&mut own, job);
        }
        let joined = running
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let mut workers: Vec<W> = joined.collect();
        workers.push(own);
        outcome.map(|_| workers)
    })
}

fn next<J>(jobs: &Mutex<Receiver<J>>) -> Option<J> {
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_is_done_once_by_however_many() {
        for workers in 1..5 {
            let sums = on_cores(
                vec![0_u64; workers],
                |sum, job| {
                    *sum += job;
                    ControlFlow::Continue(())
                },
                |give| {
                    (1..=1_000).for_each(|job| assert!(give(job).is_continue()));
                    Ok(ControlFlow::Continue(()))
                },
            );
            assert_eq!(sums.unwrap().into_iter().sum::<u64>(), 500_500);
        }
    }

    #[test]
    fn whoever_breaks_off_ends_the_work_of_all() {
        for workers in 1..4 {
            let mut given = 0_u32;
            let done = on_cores(
                vec![0_u32; workers],
                |done, job| {
                    *done += 1;
                    if job == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                },
                |give| {
                    while give(given).is_continue() {
                        given += 1;
                    }
                    Ok(ControlFlow::Continue(()))
                },
            );
            assert!((4..=given + 1).contains(&done.unwrap().into_iter().sum::<u32>()));
        }
    }
}
