//! A clock that runs until it is set.

use std::sync::{Arc, Mutex, PoisonError};

use customerdb::{Clock, SystemClock, Timestamp};

/// The system's time until it is set, from then on the time it was set to. Clones show the same time.
#[derive(Debug, Clone, Default)]
pub(crate) struct SettableClock(Arc<Mutex<Option<Timestamp>>>);

impl SettableClock {
    /// Stops the clock at `now`.
    pub(crate) fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

impl Clock for SettableClock {
    fn now(&self) -> Timestamp {
        let set = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        set.unwrap_or_else(|| SystemClock.now())
    }
}
