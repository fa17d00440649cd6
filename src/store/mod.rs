//! What is kept, in one SQLite file. This module knows SQL and no rules.

mod asserted;
mod audit;
mod backup;
mod changes;
mod check;
mod checkpoint;
mod cipher;
mod consents;
mod decisions;
mod definitions;
mod devices;
mod erasure;
mod events;
mod file;
mod fresh;
mod graph;
mod identities;
mod journal;
mod links;
mod log;
mod merges;
mod packed;
mod people;
mod pins;
mod quarantine;
mod refusals;
mod replay;
mod room;
mod rows;
mod segments;
mod standings;
mod suppression;
mod trait_columns;
mod traits;
mod upkeep;
mod varint;
mod version;
mod watch;

pub use audit::AuditEntry;
pub(crate) use backup::Unfinished;
pub use changes::ChangeCause;
pub(crate) use changes::{KeptChange, NewChange};
pub use check::{Problem, Stats};
pub(crate) use cipher::Cipher;
pub(crate) use consents::NewConsent;
pub(crate) use decisions::{Decided, Of};
pub(crate) use definitions::ByHand;
pub(crate) use events::StoredEvent;
pub(crate) use file::{Access, FileLock, Place, create, find};
pub use journal::{Cause, Change, JournalEntry};
pub(crate) use log::{
    Asked, COLUMN_BYTES, Chunk, Learned, Look, MessageId, NewEvent, ReadMembers, SEAL_EVERY, Seen, Shared,
    Stand, Visit,
};
pub(crate) use quarantine::Quarantined;
pub(crate) use refusals::Kept;
pub(crate) use segments::KeptSegment;
pub(crate) use standings::{Restandings, Standing, Standings};
pub(crate) use trait_columns::TraitColumn;
pub(crate) use traits::Assertion;
pub(crate) use version::Version;
pub(crate) use watch::Watcher;

use std::cell::{Cell, RefCell};

use rusqlite::Connection;

use crate::error::Error;

/// A failure of a statement. Public items see it as an [`Error`].
#[derive(Debug)]
pub(crate) struct Failure(rusqlite::Error);

impl Failure {
    /// Whether bytes that were read contradict what is said of them. A file that SQLite itself finds damaged is another matter: that may
    /// come to light when half of something is written.
    pub(crate) fn is_contradiction(&self) -> bool {
        matches!(self.0, rusqlite::Error::FromSqlConversionFailure(..))
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::from_sqlite(failure.0)
    }
}

/// What a statement gives.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// One connection to the file: the writer's, or one of the readers'.
#[derive(Debug)]
pub(crate) struct Db {
    /// Who brings the write-ahead log home, where this one writes it.
    checkpoints: Option<checkpoint::Checkpoints>,
    conn: Connection,
    /// What the transaction has changed in rows of which packed copies are kept.
    changes: RefCell<packed::Changes>,
    /// What is known of the log of events.
    log: RefCell<log::Log>,
    /// What is known of the evidence that is not in its place yet, and of assertions that are not.
    fresh_links: RefCell<fresh::Fresh>,
    fresh_traits: RefCell<fresh::Fresh>,
    unindexed: Cell<Option<asserted::Unindexed>>,
    /// What is known of who was absorbed by whom.
    merges: RefCell<merges::Merges>,
    /// Who was never said anything of: kept by the writer alone, whose rows nobody else changes.
    silent: Option<RefCell<traits::Silent>>,
    /// Whether somebody watches the call that uses it now.
    watched: RefCell<Option<watch::Watched>>,
}

impl Db {
    /// Begins the writer's transaction.
    pub(crate) fn begin_write(&self) -> Result<()> {
        self.run("BEGIN IMMEDIATE")?;
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.begun();
        }
        Ok(())
    }

    /// Begins a reader's transaction: what it reads is one snapshot.
    pub(crate) fn begin_read(&self) -> Result<()> {
        self.log.borrow_mut().look_again();
        self.fresh_links.borrow_mut().look_again();
        self.fresh_traits.borrow_mut().look_again();
        self.run("BEGIN DEFERRED")
    }

    /// Commits the transaction.
    pub(crate) fn commit(&self) -> Result<()> {
        self.write_groups()?;
        self.pack()?;
        self.run("COMMIT")?;
        self.log.borrow_mut().committed();
        self.fresh_links.borrow_mut().committed();
        self.fresh_traits.borrow_mut().committed();
        self.merges.borrow_mut().committed();
        Ok(())
    }

    /// Ends the transaction, if one is under way, without keeping what it wrote.
    pub(crate) fn rollback(&self) {
        self.forget_changes();
        self.log.borrow_mut().rolled_back();
        self.fresh_links.borrow_mut().rolled_back();
        if self.fresh_traits.borrow_mut().rolled_back() {
            self.unindexed.set(None);
        }
        self.merges.borrow_mut().rolled_back();
        self.forget_silent();
        // A failed statement may have rolled back already; and there is nothing to be done if this fails.
        if self.is_writing() {
            let _ = self.run("ROLLBACK");
        }
    }

    /// Whether a transaction is under way.
    pub(crate) fn is_writing(&self) -> bool {
        !self.conn.is_autocommit()
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.conn.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    /// A number of the settings, 0 if it was never set.
    pub(crate) fn counter(&self, name: &str) -> Result<i64> {
        let mut statement = self.conn.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
        let mut rows = statement.query([name])?;
        Ok(rows.next()?.map_or(Ok(0), |row| row.get(0))?)
    }

    /// A text of the settings.
    pub(crate) fn setting(&self, name: &str) -> Result<Option<String>> {
        let mut statement = self.conn.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
        let mut rows = statement.query([name])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    /// Sets a text or a number of the settings.
    pub(crate) fn set(&self, name: &str, value: impl rusqlite::ToSql) -> Result<()> {
        let sql = "INSERT INTO settings VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
        self.conn.prepare_cached(sql)?.execute((name, value))?;
        Ok(())
    }
}
