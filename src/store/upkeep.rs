//! The file itself: that nothing lies in it that is nobody's, and that it is no larger than it must be.

use std::time::Duration;

use super::file::page_size;
use super::{Db, Result};

/// How many erasures are not complete: what was deleted may still lie in unused parts of pages, or in the write-ahead log.
pub(super) const WAITING: &str = "erasures_waiting";

/// How long to wait for somebody who reads what was there before.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);

/// Up to what size the file is rewritten by way of memory, and not of a temporary file.
const IN_MEMORY: u64 = 64 << 20;

impl Db {
    /// How many erasures are not complete.
    pub(crate) fn erasures_waiting(&self) -> Result<u64> {
        Ok(u64::try_from(self.counter(WAITING)?).unwrap_or(0))
    }

    /// Sets how many erasures are not complete.
    pub(crate) fn set_erasures_waiting(&self, waiting: u64) -> Result<()> {
        self.set(WAITING, i64::try_from(waiting).unwrap_or(i64::MAX))
    }

    /// Brings the write-ahead log home, and empties it. False if somebody still reads what was there before.
    pub(crate) fn truncate_wal(&self) -> Result<bool> {
        if let Some(checkpoints) = &self.checkpoints {
            checkpoints.wait();
        }
        let patience: i64 = self.conn.pragma_query_value(None, "busy_timeout", |row| row.get(0))?;
        self.conn.busy_timeout(PATIENCE)?;
        let busy = self.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        let patience = u64::try_from(patience).map_or(PATIENCE, Duration::from_millis);
        self.conn.busy_timeout(patience)?;
        Ok(busy? == 0)
    }

    /// Writes the file anew, so that its pages hold what is there, and nothing else.
    ///
    /// `secure_delete` overwrites what is deleted where it lies. But where a page is rebuilt, copies of rows that went to
    /// another page can stay in the part of it that is unused (`rebuildPage` in SQLite's `btree.c`); a deletion does not
    /// find those.
    pub(crate) fn rewrite(&self) -> Result<()> {
        // A temporary file would not be encrypted.
        let in_memory = cfg!(feature = "sqlcipher") || self.bytes_and_free()?.0 <= IN_MEMORY;
        self.conn.pragma_update(None, "temp_store", if in_memory { "memory" } else { "file" })?;
        let done = self.conn.execute_batch("VACUUM");
        self.conn.pragma_update(None, "temp_store", "memory")?;
        Ok(done?)
    }

    /// How large the file is in bytes, and how many of them lie in free pages.
    pub(crate) fn bytes_and_free(&self) -> Result<(u64, u64)> {
        let number = |name: &str| self.conn.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
        let page = self.page_size()?;
        Ok((number("page_count")? * page, number("freelist_count")? * page))
    }

    /// The number of bytes in a page.
    pub(crate) fn page_size(&self) -> Result<u64> {
        Ok(page_size(&self.conn)?)
    }
}
