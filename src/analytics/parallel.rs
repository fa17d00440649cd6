//! Going through everybody on all cores, and stopping when asked to.

use std::fmt;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::timeline::Timeline;
use crate::error::{Error, Result};

/// How many events a core takes at once.
const BLOCK: usize = 1 << 16;

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

/// Does `count` for everybody: people in blocks, blocks on all cores. The parts come back in the order of the people.
pub(super) fn in_parallel<T: Send>(
    timeline: &Timeline,
    watch: &Watch<'_>,
    count: impl Fn(Range<usize>) -> T + Sync,
) -> Result<Vec<T>> {
    let blocks = timeline.blocks(BLOCK);
    let cores = thread::available_parallelism().map_or(1, usize::from).min(blocks.len());
    watch.tell(timeline.len() as u64)?;
    if cores <= 1 {
        let one = |block: &Range<usize>| {
            let part = count(block.clone());
            watch.tell(timeline.len() as u64).map(|()| part)
        };
        return blocks.iter().map(one).collect();
    }
    let next = AtomicUsize::new(0);
    let mut parts: Vec<Option<T>> = blocks.iter().map(|_| None).collect();
    thread::scope(|scope| -> Result<()> {
        let (hand, handed) = mpsc::channel();
        for _ in 0..cores {
            let hand = hand.clone();
            let (next, blocks, count) = (&next, &blocks, &count);
            scope.spawn(move || {
                while !watch.is_stopped() {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(block) = blocks.get(place) else { return };
                    if hand.send((place, count(block.clone()))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(hand);
        loop {
            match handed.recv_timeout(PATIENCE) {
                Ok((place, part)) => parts[place] = Some(part),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            watch.tell(timeline.len() as u64)?;
        }
        Ok(())
    })?;
    parts.into_iter().collect::<Option<Vec<T>>>().ok_or(Error::Cancelled)
}
