//! Going through everybody on all cores, and stopping when asked to.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::timeline::{Part, Timeline};
use crate::error::{Error, Result};

/// So many events are not worth another core.
const FEW: usize = if cfg!(debug_assertions) { 1 << 3 } else { 1 << 14 };

/// How long whoever asked may be left unheard.
const PATIENCE: Duration = Duration::from_millis(10);

/// What whoever asked the question wants to hear, and whether they still want the answer.
pub(crate) struct Watch<'w> {
    ask: Mutex<&'w mut (dyn FnMut(u64) -> ControlFlow<()> + Send)>,
    stopped: AtomicBool,
}

impl fmt::Debug for Watch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("stopped", &self.stopped).finish_non_exhaustive()
    }
}

impl<'w> Watch<'w> {
    pub(crate) fn new(ask: &'w mut (dyn FnMut(u64) -> ControlFlow<()> + Send)) -> Self {
        Self { ask: Mutex::new(ask), stopped: AtomicBool::new(false) }
    }

    /// Tells how many events were looked at.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`] if the answer is not wanted any more.
    pub(crate) fn tell(&self, events: u64) -> Result<()> {
        let answer = (self.ask.lock().unwrap_or_else(PoisonError::into_inner))(events);
        if answer.is_break() {
            self.stopped.store(true, Ordering::Relaxed);
        }
        if self.is_stopped() { Err(Error::Cancelled) } else { Ok(()) }
    }

    /// Whether the answer is not wanted any more.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

/// Into so many pieces everybody is cut: as many answers are put together to one.
const PIECES: usize = 32;

/// Does `count` for everybody: parts of a timeline at a time, on all cores. What it gives comes in the order of the
/// people.
pub(super) fn for_everybody<T: Send>(
    timeline: &Timeline,
    watch: &Watch<'_>,
    count: impl Fn(&[Part]) -> T + Sync,
) -> Result<Vec<T>> {
    let parts = timeline.parts();
    let pieces = parts.chunks(parts.len().div_ceil(PIECES).max(1)).collect();
    in_parallel(pieces, watch, timeline.len(), count)
}

/// Does `work` with all jobs, on all cores. What it gives comes in the order of the jobs. Whoever watches is told that
/// `events` were looked at.
pub(crate) fn in_parallel<J: Send, T: Send>(
    jobs: Vec<J>,
    watch: &Watch<'_>,
    events: usize,
    work: impl Fn(J) -> T + Sync,
) -> Result<Vec<T>> {
    let cores = if events < FEW { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    watch.tell(events as u64)?;
    if cores.min(jobs.len()) <= 1 {
        let one = |job| {
            let done = work(job);
            watch.tell(events as u64).map(|()| done)
        };
        return jobs.into_iter().map(one).collect();
    }
    let mut places: Vec<Option<T>> = jobs.iter().map(|_| None).collect();
    let jobs = Mutex::new(jobs.into_iter().enumerate());
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| -> Result<()> {
        let (working, ended) = mpsc::channel::<()>();
        let run = |working: Sender<()>| {
            let (next, work) = (&next, &work);
            move || {
                let mut done = Vec::new();
                while !watch.is_stopped()
                    && let Some((place, job)) = next()
                {
                    done.push((place, work(job)));
                }
                drop(working);
                done
            }
        };
        let running: Vec<_> = (0..cores).map(|_| scope.spawn(run(working.clone()))).collect();
        drop(working);
        while ended.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            watch.tell(events as u64)?;
        }
        for thread in running {
            let done = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (place, part) in done {
                places[place] = Some(part);
            }
        }
        watch.tell(events as u64)
    })?;
    places.into_iter().collect::<Option<Vec<T>>>().ok_or(Error::Cancelled)
}

/// So many are sorted at once.
const SORTED: usize = if cfg!(debug_assertions) { 1 << 2 } else { 1 << 14 };

/// So many of a sample are taken for each piece that is sorted by itself.
const SAMPLED: usize = 8;

/// The numbers below `count` in the order of their texts, sorted on all cores: texts of a sample cut them into pieces that lie
/// one behind the other, and each of these is sorted by itself (W. D. Frazer, A. C. `McKellar`: Samplesort, Journal of the ACM
/// 17, 1970).
pub(super) fn in_order_of<'t>(
    count: usize,
    text: impl Fn(usize) -> &'t str + Sync,
    watch: &Watch<'_>,
) -> Result<Vec<usize>> {
    let pieces = count / SORTED + 1;
    let mut sample: Vec<&str> = (0..count).step_by(count / (pieces * SAMPLED) + 1).map(&text).collect();
    sample.sort_unstable();
    let bounds: Vec<&str> = sample.chunks_exact(SAMPLED).map(|some| some[SAMPLED - 1]).collect();
    let chunks = (0..count).step_by(SORTED).map(|start| start..count.min(start + SORTED)).collect();
    let parted = in_parallel(chunks, watch, count, |numbers: Range<usize>| {
        let mut parts = vec![Vec::new(); bounds.len() + 1];
        for number in numbers {
            parts[bounds.partition_point(|bound| *bound <= text(number))].push(number);
        }
        parts
    })?;
    let sorted = in_parallel((0..=bounds.len()).collect(), watch, count, |part: usize| {
        let mut own: Vec<usize> = parted.iter().flat_map(|parts| &parts[part]).copied().collect();
        own.sort_unstable_by_key(|number| text(*number));
        own
    })?;
    Ok(sorted.concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_sorted_by_their_texts(texts in prop::collection::vec("[ab]{0,3}", 0..200)) {
            let mut go_on = |_| ControlFlow::Continue(());
            let sorted = in_order_of(texts.len(), |number| &texts[number], &Watch::new(&mut go_on)).unwrap();
            let mut once = sorted.clone();
            once.sort_unstable();
            prop_assert!(once.into_iter().eq(0..texts.len()));
            prop_assert!(sorted.is_sorted_by_key(|number| &texts[*number]));
        }
    }
}
