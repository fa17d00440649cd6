//! Definitions of segments.

use rusqlite::{OptionalExtension, params};

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::ProfileNo;

/// A segment's definition as it is kept.
#[derive(Debug)]
pub(crate) struct KeptSegment {
    pub(crate) number: i64,
    pub(crate) name: String,
    /// JSON; `None` of a list.
    pub(crate) condition: Option<String>,
    pub(crate) live: bool,
}

impl Db {
    /// Stores a definition under its name, in place of one of that name, and gives its number. Of a list there is no
    /// condition, and nobody is on it yet. How people stood to a former definition stays.
    pub(crate) fn put_segment(
        &self,
        name: &str,
        condition: Option<&str>,
        live: bool,
        now: Timestamp,
    ) -> Result<i64> {
        let known = self.segment_number(name)?;
        let sql = "INSERT INTO segments (name, condition, live, defined_at) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (name) DO UPDATE SET condition = excluded.condition, live = excluded.live,
                   defined_at = excluded.defined_at";
        self.conn.execute(sql, params![name, condition, live, now.as_micros()])?;
        if let Some(number) = known {
            self.clear_list(number, now)?;
            return Ok(number);
        }
        Ok(self.conn.last_insert_rowid())
    }

    fn segment_number(&self, name: &str) -> Result<Option<i64>> {
        let mut select = self.conn.prepare_cached("SELECT segment FROM segments WHERE name = ?1")?;
        Ok(select.query_row([name], |row| row.get(0)).optional()?)
    }

    /// Removes a definition, of which nobody is a member.
    pub(crate) fn remove_segment(&self, name: &str) -> Result<()> {
        self.conn.execute("DELETE FROM segments WHERE name = ?1", [name])?;
        Ok(())
    }

    /// All definitions, by name.
    pub(crate) fn segments(&self) -> Result<Vec<KeptSegment>> {
        let mut select =
            self.conn.prepare_cached("SELECT segment, name, condition, live FROM segments ORDER BY name")?;
        let rows = select.query_map([], |row| {
            Ok(KeptSegment {
                number: row.get(0)?,
                name: row.get(1)?,
                condition: row.get(2)?,
                live: row.get(3)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// An identifier of a profile.
    pub(crate) fn founder_of(&self, profile: ProfileNo) -> Result<u32> {
        let mut select = self.conn.prepare_cached("SELECT founder FROM profiles WHERE profile = ?1")?;
        Ok(select.query_row([profile.0], |row| row.get(0))?)
    }
}
