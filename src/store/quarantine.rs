//! Refused events, kept with their raw text.

use rusqlite::params;

use super::{Db, Result};
use crate::clock::Timestamp;

/// One refused event as it is kept.
#[derive(Debug, Clone)]
pub(crate) struct Quarantined {
    pub(crate) entry: i64,
    pub(crate) at: Timestamp,
    pub(crate) source: u32,
    pub(crate) reason: String,
    pub(crate) raw: Vec<u8>,
}

impl Db {
    /// Keeps a refused event, unless the same text from the same source is kept already.
    pub(crate) fn add_quarantined(
        &self,
        at: Timestamp,
        source: u32,
        digest: &[u8],
        reason: &str,
        raw: &[u8],
    ) -> Result<()> {
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO quarantine (at, source, digest, reason, raw) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO UPDATE SET reason = excluded.reason",
        )?;
        insert.execute(params![at.as_micros(), source, digest, reason, raw])?;
        Ok(())
    }

    /// Up to `limit` refused events after the entry `after`, the oldest first.
    pub(crate) fn quarantined(&self, after: i64, limit: usize) -> Result<Vec<Quarantined>> {
        let mut select = self.conn.prepare_cached(
            "SELECT entry, at, source, reason, raw FROM quarantine WHERE entry > ?1 ORDER BY entry LIMIT ?2",
        )?;
        let rows = select.query_map((after, i64::try_from(limit).unwrap_or(i64::MAX)), |row| {
            Ok(Quarantined {
                entry: row.get(0)?,
                at: Timestamp::from_micros(row.get(1)?),
                source: row.get(2)?,
                reason: row.get(3)?,
                raw: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Lets go of one refused event.
    pub(crate) fn remove_quarantined(&self, entry: i64) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM quarantine WHERE entry = ?1")?.execute([entry])?;
        Ok(())
    }

    /// Lets go of a refused event of that digest from a source, if there is one.
    pub(crate) fn remove_quarantined_text(&self, source: u32, digest: &[u8]) -> Result<()> {
        let mut delete =
            self.conn.prepare_cached("DELETE FROM quarantine WHERE digest = ?1 AND source = ?2")?;
        delete.execute((digest, source))?;
        Ok(())
    }

    /// Lets go of all refused events, and says how many there were.
    pub(crate) fn purge_quarantine(&self) -> Result<usize> {
        Ok(self.conn.execute("DELETE FROM quarantine", [])?)
    }
}
