//! Being told of entries and exits as they are committed.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use super::{Cdp, Inner, SegmentChange};
use crate::error::Result;

/// How many changes a subscriber is told at once, at most.
const PAGE: usize = 1_000;

type Callback = Arc<dyn Fn(&[SegmentChange]) + Send + Sync>;

/// Who wants to be told, and how far everybody has been.
#[derive(Default)]
pub(super) struct Subscribers {
    list: Vec<(u64, Callback)>,
    next: u64,
    /// The cursor of the last change that was told.
    told: i64,
    /// Whether a thread is telling now; it goes on with what is committed meanwhile, which is said by `again`.
    telling: bool,
    again: bool,
}

/// Keeps a callback subscribed until it is dropped.
#[must_use = "the callback is called no more once this is dropped"]
pub struct Subscription {
    number: u64,
    inner: Weak<Inner>,
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.upgrade() {
            lock(&inner.subscribers).list.retain(|(number, _)| *number != self.number);
        }
    }
}

fn lock(subscribers: &Mutex<Subscribers>) -> MutexGuard<'_, Subscribers> {
    subscribers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Says that nobody is telling any more, also if a callback panics.
struct Telling<'s> {
    subscribers: &'s Mutex<Subscribers>,
    /// Whether that is said already, and somebody else may be telling by now.
    said: bool,
}

impl Telling<'_> {
    /// Ends it, unless there is more to tell.
    fn end(&mut self) -> bool {
        let mut subscribers = lock(self.subscribers);
        self.said = !std::mem::take(&mut subscribers.again);
        subscribers.telling = !self.said;
        self.said
    }
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        if !self.said {
            lock(self.subscribers).telling = false;
        }
    }
}

impl Cdp {
    /// Calls `callback` with the entries and exits of live segments after each commit of this handle, or of a clone of it,
    /// that has any: in order, each once, up to 1,000 at a time, and never while anything is locked, so it may ask and
    /// change what it likes. It is called by a thread that commits; what other threads commit meanwhile, and what the
    /// callback itself does, is told by that same thread afterwards: a call may return before what it did is told.
    ///
    /// Nobody is told twice, nor what was committed before, nor what happens while the process is down: whoever must
    /// not miss anything keeps a cursor and reads [`changes`](Self::changes).
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use customerdb::{Cdp, Event, Segment, did};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.define(Segment::new("buyers", did("Order")))?;
    /// let seen = Arc::new(Mutex::new(Vec::new()));
    /// let log = Arc::clone(&seen);
    /// let subscription = cdp.subscribe(move |changes| {
    ///     log.lock().unwrap().extend(changes.iter().map(|change| change.member.to_string()));
    /// })?;
    /// cdp.ingest([Event::track("Order").user_id("u1")])?;
    /// assert_eq!(*seen.lock().unwrap(), ["user_id:u1"]);
    /// drop(subscription);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::ReadOnly`](crate::Error::ReadOnly), or what the storage says.
    pub fn subscribe(
        &self,
        callback: impl Fn(&[SegmentChange]) + Send + Sync + 'static,
    ) -> Result<Subscription> {
        // Between two commits, so that what comes next is the first to be told.
        let turn = self.turn()?;
        let last = turn.db().last_segment_change()?;
        let mut subscribers = lock(&self.inner.subscribers);
        if subscribers.list.is_empty() {
            subscribers.told = last;
        }
        let number = subscribers.next;
        subscribers.next += 1;
        subscribers.list.push((number, Arc::new(callback)));
        drop(subscribers);
        drop(turn);
        Ok(Subscription { number, inner: Arc::downgrade(&self.inner) })
    }

    /// Tells subscribers what was committed. Called when a commit has returned and nothing is locked.
    pub(super) fn tell(&self) {
        {
            let mut subscribers = lock(&self.inner.subscribers);
            if subscribers.list.is_empty() {
                return;
            }
            if subscribers.telling {
                subscribers.again = true;
                return;
            }
            subscribers.telling = true;
        }
        let mut telling = Telling { subscribers: &self.inner.subscribers, said: false };
        loop {
            let (told, callbacks) = {
                let subscribers = lock(&self.inner.subscribers);
                let callbacks: Vec<Callback> =
                    subscribers.list.iter().map(|(_, callback)| Arc::clone(callback)).collect();
                (subscribers.told, callbacks)
            };
            // What cannot be read now is told after the next commit.
            let Ok(changes) = self.changes_committed(told, PAGE) else { return };
            let Some(last) = changes.last() else {
                // Whoever has committed since has left it to this thread to tell.
                if telling.end() {
                    return;
                }
                continue;
            };
            lock(&self.inner.subscribers).told = last.cursor;
            for callback in callbacks {
                callback(&changes);
            }
        }
    }
}
