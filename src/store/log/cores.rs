//! Work on all cores, handed out by the one thread that may ask SQLite.

use std::num::NonZero;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TrySendError, channel, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::store::Result;

/// How many jobs wait for each core: so few that they take little memory, so many that no core waits for the next.
const WAITING: usize = 4;

/// How many cores there are. To ask the system takes as long as to go through some blocks: it is asked once.
pub(super) fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| thread::available_parallelism().map_or(1, NonZero::get))
}

/// How long whoever feeds may be left unheard while others are at work.
const PATIENCE: Duration = Duration::from_millis(10);

/// Hears whoever waits: told how much was looked at, it says whether to go on.
pub(super) type Pause<'p> = dyn FnMut(u64) -> ControlFlow<()> + 'p;

/// Called in the midst of a job, it says whether that is to go on.
pub(super) type Breath<'b> = dyn FnMut() -> ControlFlow<()> + 'b;

/// Takes a job, with how much was looked at before.
pub(super) type Give<'g, J> = dyn FnMut(u64, J) -> ControlFlow<()> + 'g;

/// Calls `work` with every job that `feed` gives, each by one of the workers, which run beside each other and are given
/// back. Whoever feeds works too when the others have enough to do. A worker that breaks off ends the work of all, and so does
/// whoever feeds, and `pause`, which is called now and then by whoever feeds: what waits is not done any more.
pub(super) fn on_cores<J: Send, W: Send>(
    mut workers: Vec<W>,
    pause: &mut Pause<'_>,
    work: impl Fn(&mut W, J, &mut Breath<'_>) -> ControlFlow<()> + Sync,
    feed: impl FnOnce(&mut Give<'_, J>) -> Result<ControlFlow<()>>,
) -> Result<Vec<W>> {
    let Some(mut own) = workers.pop() else { return Ok(workers) };
    let stopped = AtomicBool::new(false);
    let others = workers.len();
    let (give, jobs) = sync_channel(WAITING * others);
    let jobs = Mutex::new(jobs);
    let go_on =
        || if stopped.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let stop_if = |is_enough: bool| {
        if is_enough {
            stopped.store(true, Ordering::Relaxed);
        }
        go_on()
    };
    // Jobs are taken to the end, so that whoever feeds need not wait.
    let take = |worker: &mut W, job: J, breath: &mut Breath<'_>| {
        if go_on().is_continue() {
            _ = stop_if(work(worker, job, breath).is_break());
        }
    };
    thread::scope(|scope| {
        let (working, ended) = channel::<()>();
        let (jobs, take, go_on) = (&jobs, &take, &go_on);
        let run = |mut worker: W| {
            let working = working.clone();
            move || {
                while let Some(job) = next(jobs) {
                    take(&mut worker, job, &mut || go_on());
                }
                drop(working);
                worker
            }
        };
        let running: Vec<_> = workers.into_iter().map(|worker| scope.spawn(run(worker))).collect();
        drop(working);
        let mut seen = 0;
        let outcome = feed(&mut |looked_at, job| {
            seen = looked_at;
            stop_if(pause(seen).is_break())?;
            let left = if others > 0 { give.try_send(job) } else { Err(TrySendError::Full(job)) };
            if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) = left {
                take(&mut own, job, &mut || stop_if(pause(seen).is_break()));
            }
            go_on()
        });
        drop(give);
        _ = stop_if(!matches!(outcome, Ok(ControlFlow::Continue(()))));
        while let Some(job) = next(jobs) {
            take(&mut own, job, &mut || stop_if(pause(seen).is_break()));
        }
        while ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            _ = stop_if(go_on().is_continue() && pause(seen).is_break());
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

    fn unwatched(_: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn every_job_is_done_once_by_however_many() {
        for workers in 1..5 {
            let sums = on_cores(
                vec![0_u64; workers],
                &mut unwatched,
                |sum, job, _| {
                    *sum += job;
                    ControlFlow::Continue(())
                },
                |give| {
                    (1..=1_000).for_each(|job| assert!(give(job, job).is_continue()));
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
                &mut unwatched,
                |done, job, _| {
                    *done += 1;
                    if job == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                },
                |give| {
                    while give(0, given).is_continue() {
                        given += 1;
                    }
                    Ok(ControlFlow::Continue(()))
                },
            );
            assert!((4..=given + 1).contains(&done.unwrap().into_iter().sum::<u32>()));
        }
    }

    /// Whoever works asks now and then whether to go on, and whoever feeds is heard meanwhile: jobs that would never end by
    /// themselves do.
    #[test]
    fn whoever_waits_is_heard_in_the_midst_of_jobs() {
        for workers in 1..4 {
            let mut heard = 0_u64;
            let mut pause = |_| {
                heard += 1;
                if heard > 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            let endless = |breaths: &mut u64, (), breath: &mut Breath<'_>| {
                while breath().is_continue() {
                    *breaths += 1;
                    thread::yield_now();
                }
                ControlFlow::Continue(())
            };
            let done = on_cores(vec![0_u64; workers], &mut pause, endless, |give| {
                for _ in 0..workers {
                    if give(7, ()).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                Ok(ControlFlow::Continue(()))
            });
            assert!(done.unwrap().into_iter().sum::<u64>() > 0);
            assert_eq!(heard, 21);
        }
    }
}
