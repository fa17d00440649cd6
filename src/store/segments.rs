//! Definitions of segments, and how profiles stand to them.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, Row, params};

use super::rows::insert_rows;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::ProfileNo;

/// How a profile stands to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) member: bool,
    /// Before when time alone does not change it.
    pub(crate) wake: Option<Timestamp>,
}

impl Standing {
    /// That of whoever is no member, and will not be by time alone: it has no row.
    pub(crate) const NONE: Self = Self { member: false, wake: None };

    /// Whether it does in place of another one: it says the same of membership, and wakes as early.
    pub(crate) fn covers(self, other: Self) -> bool {
        let wakes_before = |wake: Timestamp| other.wake.is_none_or(|other| wake <= other);
        self.member == other.member && (self.wake == other.wake || self.wake.is_some_and(wakes_before))
    }
}

/// A segment's definition as it is kept.
#[derive(Debug)]
pub(crate) struct KeptSegment {
    pub(crate) number: i64,
    pub(crate) name: String,
    /// JSON; `None` of a list.
    pub(crate) condition: Option<String>,
    pub(crate) live: bool,
}

fn standing(row: &Row<'_>) -> rusqlite::Result<(i64, Standing)> {
    let wake = row.get::<_, Option<i64>>(2)?.map(Timestamp::from_micros);
    Ok((row.get(0)?, Standing { member: row.get(1)?, wake }))
}

impl Db {
    /// Stores a definition under its name, in place of one of that name, and gives its number. Of a list there is no
    /// condition, and nobody is on it yet.
    pub(crate) fn put_segment(
        &self,
        name: &str,
        condition: Option<&str>,
        live: bool,
        now: Timestamp,
    ) -> Result<i64> {
        let sql = "INSERT INTO segments (name, condition, live, defined_at) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (name) DO UPDATE SET condition = excluded.condition, live = excluded.live,
                   defined_at = excluded.defined_at";
        self.conn.execute(sql, params![name, condition, live, now.as_micros()])?;
        let mut select = self.conn.prepare_cached("SELECT segment FROM segments WHERE name = ?1")?;
        let number = select.query_row([name], |row| row.get(0))?;
        for sql in ["DELETE FROM list_members WHERE segment = ?1", "DELETE FROM standings WHERE segment = ?1"]
        {
            self.conn.prepare_cached(sql)?.execute([number])?;
        }
        Ok(number)
    }

    /// Removes a definition. False if there is none of that name.
    pub(crate) fn remove_segment(&self, name: &str) -> Result<bool> {
        let sql = "DELETE FROM standings WHERE segment = (SELECT segment FROM segments WHERE name = ?1)";
        self.conn.execute(sql, [name])?;
        Ok(self.conn.execute("DELETE FROM segments WHERE name = ?1", [name])? > 0)
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

    /// Records how a profile stands to a segment.
    pub(crate) fn put_standing(&self, profile: ProfileNo, segment: i64, standing: Standing) -> Result<()> {
        if standing == Standing::NONE {
            let sql = "DELETE FROM standings WHERE profile = ?1 AND segment = ?2";
            self.conn.prepare_cached(sql)?.execute((profile.0, segment))?;
        } else {
            let sql = "INSERT INTO standings (profile, segment, member, wake) VALUES (?1, ?2, ?3, ?4)
                       ON CONFLICT DO UPDATE SET member = excluded.member, wake = excluded.wake";
            let wake = standing.wake.map(Timestamp::as_micros);
            self.conn.prepare_cached(sql)?.execute((profile.0, segment, standing.member, wake))?;
        }
        Ok(())
    }

    /// Records how profiles stand to segments to which they did not stand before.
    pub(crate) fn add_standings(&self, standings: &[(ProfileNo, i64, Standing)]) -> Result<()> {
        let row = |(profile, segment, standing): &(ProfileNo, i64, Standing)| {
            let wake = standing.wake.map_or(ValueRef::Null, |wake| ValueRef::Integer(wake.as_micros()));
            [
                ValueRef::Integer(profile.0.into()),
                ValueRef::Integer(*segment),
                ValueRef::Integer(standing.member.into()),
                wake,
            ]
        };
        insert_rows(&self.conn, "standings (profile, segment, member, wake)", standings.iter().map(row))
    }

    /// How a profile stands to a segment, `None` if it does not.
    pub(crate) fn standing_to(&self, profile: ProfileNo, segment: i64) -> Result<Option<Standing>> {
        let sql = "SELECT segment, member, wake FROM standings WHERE profile = ?1 AND segment = ?2";
        let found = self.conn.prepare_cached(sql)?.query_row((profile.0, segment), standing).optional()?;
        Ok(found.map(|(_, standing)| standing))
    }

    /// How a profile stands to segments, each by its number.
    pub(crate) fn standings_of(&self, profile: ProfileNo) -> Result<Vec<(i64, Standing)>> {
        let sql = "SELECT segment, member, wake FROM standings WHERE profile = ?1";
        let mut select = self.conn.prepare_cached(sql)?;
        Ok(select.query_map([profile.0], standing)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets how everyone stands to every segment.
    pub(crate) fn clear_standings(&self) -> Result<()> {
        self.conn.execute("DELETE FROM standings", [])?;
        Ok(())
    }

    /// Whose standing time may have changed by `now`: (profile, segment, since when).
    pub(crate) fn woken(&self, now: Timestamp) -> Result<Vec<(ProfileNo, i64, Timestamp)>> {
        let mut select =
            self.conn.prepare_cached("SELECT profile, segment, wake FROM standings WHERE wake <= ?1")?;
        let rows = select.query_map([now.as_micros()], |row| {
            Ok((ProfileNo(row.get(0)?), row.get(1)?, Timestamp::from_micros(row.get(2)?)))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether time may have changed anybody's standing by `now`.
    pub(crate) fn has_woken(&self, now: Timestamp) -> Result<bool> {
        let mut select = self.conn.prepare_cached("SELECT 1 FROM standings WHERE wake <= ?1 LIMIT 1")?;
        Ok(select.exists([now.as_micros()])?)
    }

    /// An identifier of each member of a segment.
    pub(crate) fn member_founders(&self, segment: i64) -> Result<Vec<u32>> {
        let mut select = self.conn.prepare_cached(
            "SELECT p.founder FROM standings s JOIN profiles p USING (profile) WHERE s.segment = ?1 AND s.member = 1",
        )?;
        Ok(select.query_map([segment], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// How many members a segment has.
    pub(crate) fn count_members(&self, segment: i64) -> Result<usize> {
        let sql = "SELECT count(*) FROM standings WHERE segment = ?1 AND member = 1";
        Ok(self.conn.prepare_cached(sql)?.query_row([segment], |row| row.get(0))?)
    }

    /// The names of the segments that a profile is a member of, sorted.
    pub(crate) fn segments_of(&self, profile: ProfileNo) -> Result<Vec<String>> {
        let mut select = self.conn.prepare_cached(
            "SELECT g.name FROM standings s JOIN segments g USING (segment)
             WHERE s.profile = ?1 AND s.member = 1 ORDER BY g.name",
        )?;
        Ok(select.query_map([profile.0], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// An identifier of a profile.
    pub(crate) fn founder_of(&self, profile: ProfileNo) -> Result<u32> {
        let mut select = self.conn.prepare_cached("SELECT founder FROM profiles WHERE profile = ?1")?;
        Ok(select.query_row([profile.0], |row| row.get(0))?)
    }
}
