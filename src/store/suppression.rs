//! Keyed hashes: of identifiers under which nothing comes in, and of events that were dropped.

use super::{Db, Result};
use crate::clock::Timestamp;

/// The names in the settings of the key, and of what is kept of one that the application has.
const KEY: &str = "hash_key";
const MARK: &str = "hash_key_mark";

impl Db {
    /// The key of the keyed hashes, if it is in the file.
    pub(crate) fn hash_key(&self) -> Result<Option<Vec<u8>>> {
        self.bytes(KEY)
    }

    /// What the file keeps of a key that is not in it.
    pub(crate) fn hash_key_mark(&self) -> Result<Option<Vec<u8>>> {
        self.bytes(MARK)
    }

    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut select = self.conn.prepare_cached("SELECT value FROM settings WHERE name = ?1")?;
        let mut rows = select.query([name])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    /// Lets go of the key, in favour of one that the application has, of which a mark is kept.
    pub(crate) fn give_key_away(&self, mark: &[u8]) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM settings WHERE name = ?1")?.execute([KEY])?;
        self.set(MARK, mark)
    }

    /// Whether anything was ever hashed with the key.
    pub(crate) fn has_hashes(&self) -> Result<bool> {
        Ok(self.has_suppressed()? || self.has_dropped()? || self.has_audited()?)
    }

    /// Puts a hash on the suppression list.
    pub(crate) fn suppress(&self, hash: &[u8], at: Timestamp) -> Result<()> {
        let mut insert = self.conn.prepare_cached("INSERT OR IGNORE INTO suppressed VALUES (?1, ?2)")?;
        insert.execute((hash, at.as_micros()))?;
        Ok(())
    }

    /// Takes a hash off the suppression list. False if it was not on it.
    pub(crate) fn lift_suppression(&self, hash: &[u8]) -> Result<bool> {
        Ok(self.conn.prepare_cached("DELETE FROM suppressed WHERE hash = ?1")?.execute([hash])? > 0)
    }

    /// Whether a hash is on the suppression list.
    pub(crate) fn is_suppressed(&self, hash: &[u8]) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM suppressed WHERE hash = ?1")?.exists([hash])?)
    }

    /// Whether there is anything on the suppression list.
    pub(crate) fn has_suppressed(&self) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM suppressed LIMIT 1")?.exists([])?)
    }

    /// Remembers an event that was dropped by the hash of its message id.
    pub(crate) fn remember_dropped(&self, hash: &[u8]) -> Result<()> {
        self.conn.prepare_cached("INSERT OR IGNORE INTO dropped_ids VALUES (?1)")?.execute([hash])?;
        Ok(())
    }

    /// Whether an event whose message id has this hash was dropped.
    pub(crate) fn was_dropped(&self, hash: &[u8]) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM dropped_ids WHERE hash = ?1")?.exists([hash])?)
    }

    /// Whether any event was ever dropped.
    pub(crate) fn has_dropped(&self) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM dropped_ids LIMIT 1")?.exists([])?)
    }
}
