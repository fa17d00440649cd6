//! Who entered and left segments, as it was committed.

use rusqlite::types::ValueRef;
use rusqlite::{Row, params};
use serde::Serialize;

use super::rows::insert_rows;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::ProfileNo;

/// Why somebody entered or left a segment.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case", tag = "cause")]
#[non_exhaustive]
pub enum ChangeCause {
    /// An event happened, or became theirs.
    Event {
        /// The event's message id; empty if it was erased since.
        message_id: String,
    },
    /// A trait was set or removed.
    Trait {
        /// The trait's name.
        #[serde(rename = "trait")]
        name: String,
        /// The message id of the event that asserted it.
        message_id: String,
    },
    /// Time went by.
    Time,
    /// Two people turned out to be one.
    Merge,
    /// One person was taken apart, or identifiers went to somebody else.
    Split,
    /// They were erased, or somebody with whom they had to do.
    Erasure,
    /// Events were kept as long as they may be.
    Retention,
    /// A segment, a trait or a tag was defined or removed.
    Definition,
    /// Somebody was put on a list or taken off it, or was given a tag by hand.
    Hand,
    /// Consent was granted, denied or withdrawn.
    Consent {
        /// The purpose.
        purpose: String,
    },
}

impl ChangeCause {
    fn columns(&self) -> (&'static str, Option<&str>, Option<&str>) {
        match self {
            Self::Event { message_id } => ("event", Some(message_id), None),
            Self::Trait { name, message_id } => ("trait", Some(message_id), Some(name)),
            Self::Time => ("time", None, None),
            Self::Merge => ("merge", None, None),
            Self::Split => ("split", None, None),
            Self::Erasure => ("erasure", None, None),
            Self::Retention => ("retention", None, None),
            Self::Definition => ("definition", None, None),
            Self::Hand => ("hand", None, None),
            Self::Consent { purpose } => ("consent", None, Some(purpose)),
        }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let message_id = || Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(6)?.unwrap_or_default());
        Ok(match row.get_ref(5)?.as_str()? {
            "event" => Self::Event { message_id: message_id()? },
            "trait" => Self::Trait {
                name: row.get::<_, Option<String>>(7)?.unwrap_or_default(),
                message_id: message_id()?,
            },
            "time" => Self::Time,
            "merge" => Self::Merge,
            "split" => Self::Split,
            "erasure" => Self::Erasure,
            "retention" => Self::Retention,
            "hand" => Self::Hand,
            "consent" => Self::Consent { purpose: row.get::<_, Option<String>>(7)?.unwrap_or_default() },
            _ => Self::Definition,
        })
    }
}

/// A row of the journal of segments.
#[derive(Debug, Clone)]
pub(crate) struct KeptChange {
    pub(crate) cursor: i64,
    pub(crate) segment: String,
    pub(crate) profile: ProfileNo,
    pub(crate) entered: bool,
    pub(crate) at: Timestamp,
    pub(crate) cause: ChangeCause,
}

/// What is to be added to the journal of segments.
#[derive(Debug)]
pub(crate) struct NewChange<'s> {
    pub(crate) profile: ProfileNo,
    pub(crate) segment: &'s str,
    pub(crate) entered: bool,
    pub(crate) cause: ChangeCause,
}

/// The table with the columns of a change.
const CHANGES: &str = "segment_changes (segment, profile, entered, at, cause, message_id, trait)";

fn text(text: Option<&str>) -> ValueRef<'_> {
    text.map_or(ValueRef::Null, ValueRef::from)
}

fn read(row: &Row<'_>) -> rusqlite::Result<KeptChange> {
    Ok(KeptChange {
        cursor: row.get(0)?,
        segment: row.get(1)?,
        profile: ProfileNo(row.get(2)?),
        entered: row.get(3)?,
        at: Timestamp::from_micros(row.get(4)?),
        cause: ChangeCause::read(row)?,
    })
}

impl Db {
    /// Notes whether a profile is a member of a segment, if that is news.
    pub(crate) fn note_member(
        &self,
        (profile, segment): (ProfileNo, &str),
        member: bool,
        at: Timestamp,
        cause: impl FnOnce() -> ChangeCause,
    ) -> Result<()> {
        let mut select = self.conn.prepare_cached(
            "SELECT entered FROM segment_changes WHERE profile = ?1 AND segment = ?2 ORDER BY change DESC LIMIT 1",
        )?;
        let mut rows = select.query((profile.0, segment))?;
        let was = rows.next()?.map_or(Ok(false), |row| row.get(0))?;
        if was != member {
            let cause = cause();
            let (word, message_id, name) = cause.columns();
            let values = params![segment, profile.0, member, at.as_micros(), word, message_id, name];
            let sql = format!("INSERT INTO {CHANGES} VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
            self.conn.prepare_cached(&sql)?.execute(values)?;
        }
        Ok(())
    }

    /// Notes entries and exits that are news.
    pub(crate) fn add_changes(&self, changes: &[NewChange<'_>], at: Timestamp) -> Result<()> {
        let rows = changes.iter().map(|change| {
            let (word, message_id, name) = change.cause.columns();
            [
                change.segment.into(),
                ValueRef::Integer(change.profile.0.into()),
                ValueRef::Integer(change.entered.into()),
                ValueRef::Integer(at.as_micros()),
                word.into(),
                text(message_id),
                text(name),
            ]
        });
        insert_rows(&self.conn, CHANGES, rows)
    }

    /// The segments of which a profile is a member by the journal.
    pub(crate) fn noted_segments(&self, profile: ProfileNo) -> Result<Vec<String>> {
        let mut select = self.conn.prepare_cached(
            "SELECT segment FROM (SELECT segment, entered, max(change) FROM segment_changes WHERE profile = ?1
             GROUP BY segment) WHERE entered = 1 ORDER BY segment",
        )?;
        Ok(select.query_map([profile.0], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// The members of a segment by the journal.
    pub(crate) fn noted_members(&self, segment: &str) -> Result<Vec<ProfileNo>> {
        let mut select = self.conn.prepare_cached(
            "SELECT profile FROM (SELECT profile, entered, max(change) FROM segment_changes WHERE segment = ?1
             GROUP BY profile) WHERE entered = 1 ORDER BY profile",
        )?;
        Ok(select.query_map([segment], |row| row.get(0).map(ProfileNo))?.collect::<rusqlite::Result<_>>()?)
    }

    /// Up to `limit` rows of the journal of segments after a cursor, the earliest first.
    pub(crate) fn segment_changes(&self, after: i64, limit: usize) -> Result<Vec<KeptChange>> {
        let mut select = self.conn.prepare_cached(
            "SELECT change, segment, profile, entered, at, cause, message_id, trait FROM segment_changes
             WHERE change > ?1 ORDER BY change LIMIT ?2",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(select.query_map((after, limit), read)?.collect::<rusqlite::Result<_>>()?)
    }

    /// All rows of the journal of segments about a profile, the earliest first.
    pub(crate) fn segment_changes_of(&self, profile: ProfileNo) -> Result<Vec<KeptChange>> {
        let mut select = self.conn.prepare_cached(
            "SELECT change, segment, profile, entered, at, cause, message_id, trait FROM segment_changes
             WHERE profile = ?1 ORDER BY change",
        )?;
        Ok(select.query_map([profile.0], read)?.collect::<rusqlite::Result<_>>()?)
    }

    /// The cursor of the latest row of the journal of segments.
    pub(crate) fn last_segment_change(&self) -> Result<i64> {
        let sql = "SELECT coalesce(max(change), 0) FROM segment_changes";
        Ok(self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }
}
