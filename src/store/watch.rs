//! Long calls: how far they are, and whether they are still wanted.

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::ffi::{Error as Code, SQLITE_INTERRUPT};

use super::{Db, Failure, Result};

/// After as many events somebody who watches is told.
const OFTEN: u64 = 1 << 10;

/// Who is told how many events a call has looked at, and may end it.
pub(crate) type Watcher = Arc<Mutex<dyn FnMut(u64) -> ControlFlow<()> + Send>>;

/// A call that is watched.
pub(super) struct Watched {
    watcher: Watcher,
    looked_at: u64,
    told: u64,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("looked_at", &self.looked_at).finish_non_exhaustive()
    }
}

impl Db {
    /// A call begins that somebody watches, or that nobody does.
    pub(crate) fn watch(&self, watcher: Option<&Watcher>) {
        let begin = |by: &Watcher| Watched { watcher: Arc::clone(by), looked_at: 0, told: 0 };
        *self.watched.borrow_mut() = watcher.map(begin);
    }

    /// Notes that the call has looked at so many events more. A failure if it is not wanted any more.
    pub(super) fn looked_at(&self, events: usize) -> Result<()> {
        let mut watched = self.watched.borrow_mut();
        let Some(watched) = watched.as_mut() else { return Ok(()) };
        watched.looked_at += events as u64;
        if watched.looked_at - watched.told < OFTEN {
            return Ok(());
        }
        watched.told = watched.looked_at;
        let answer = (watched.watcher.lock().unwrap_or_else(PoisonError::into_inner))(watched.looked_at);
        match answer {
            ControlFlow::Continue(()) => Ok(()),
            // SQLite's own word for it.
            ControlFlow::Break(()) => {
                Err(Failure(rusqlite::Error::SqliteFailure(Code::new(SQLITE_INTERRUPT), None)))
            }
        }
    }
}
