//! Whose turn it is to write.

use std::sync::{MutexGuard, PoisonError};
use std::thread;

use super::{Cdp, Writer};
use crate::error::{Error, Result};
use crate::pipeline::{Desk, State};
use crate::store::{Db, Place};

/// The right to write, and once it is begun a transaction. What is not published when it is dropped, however that comes
/// about, is taken back.
pub(super) struct Turn<'c> {
    cdp: &'c Cdp,
    writer: MutexGuard<'c, Writer>,
    /// Whether the transaction has still to be published or taken back. SQLite's own answer will not do: it takes one
    /// back by itself where the disk is full, and what is at hand would outlive it.
    open: bool,
}

impl Cdp {
    /// Waits for the right to write, and begins a transaction. A thread that has its turn already, a batch of its own,
    /// would wait for ever, and is told so.
    pub(super) fn turn(&self) -> Result<Turn<'_>> {
        let mut turn = self.next_turn()?;
        turn.begin()?;
        Ok(turn)
    }

    /// Waits for the right to write. No transaction is begun.
    pub(super) fn next_turn(&self) -> Result<Turn<'_>> {
        if self.has_turn() {
            return Err(Error::Busy);
        }
        let writer = self.writer()?;
        writer.db.watch(self.watcher.as_ref());
        *self.holder() = Some(thread::current().id());
        Ok(Turn { cdp: self, writer, open: false })
    }

    /// Waits until nobody writes, and lends the writer's connection to a reader: a database in memory has but one.
    /// A thread that has its turn itself is told so here, too.
    pub(super) fn between_turns(&self) -> Result<Option<MutexGuard<'_, Writer>>> {
        match self.inner.place {
            Place::File(..) => Ok(None),
            Place::Memory if self.has_turn() => Err(Error::Busy),
            Place::Memory => self.writer().map(Some),
        }
    }

    /// Whether it is this thread's turn.
    pub(super) fn has_turn(&self) -> bool {
        *self.holder() == Some(thread::current().id())
    }

    /// The thread whose turn it is, if any.
    fn holder(&self) -> MutexGuard<'_, Option<thread::ThreadId>> {
        self.inner.holder.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Begins the transaction.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.writer.db.begin_write()?;
        self.open = true;
        Ok(())
    }

    /// The connection to write with.
    pub(super) fn db(&self) -> &Db {
        &self.writer.db
    }

    /// The connection, and what the writer keeps at hand.
    pub(super) fn parts(&mut self) -> (&Db, &mut Desk) {
        let Writer { db, desk, .. } = &mut *self.writer;
        (db, desk)
    }

    /// Forgets what the writer keeps at hand of the file, which has changed beneath it.
    pub(super) fn clear_desk(&mut self) {
        self.writer.desk = Desk::default();
    }

    /// Commits the transaction, and lets the state in memory follow: not before the commit has returned. Then the turn is
    /// over, and subscribers are told.
    pub(super) fn publish(self, follow: impl FnOnce(&mut State)) -> Result<()> {
        let cdp = self.cdp;
        self.publish_untold(follow)?;
        cdp.tell();
        Ok(())
    }

    /// The same, for whoever tells subscribers later, when it has given up what they may wait for.
    pub(super) fn publish_untold(mut self, follow: impl FnOnce(&mut State)) -> Result<()> {
        let before = self.cdp.state().version;
        let version = self.db().next_version(before)?;
        let mut state = self.cdp.inner.state.write().unwrap_or_else(PoisonError::into_inner);
        self.db().commit()?;
        self.open = false;
        follow(&mut state);
        state.version = version;
        Ok(())
    }

    /// Takes back what the transaction has done, and forgets what it has learned.
    pub(super) fn abandon(&mut self) {
        if self.open {
            self.open = false;
            self.writer.db.rollback();
            self.writer.desk = Desk::default();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.abandon();
        self.writer.db.watch(None);
        *self.cdp.holder() = None;
    }
}
