//! Joins and splits of profiles, as they were committed.

use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde::Serialize;
use uuid::Uuid;

use super::rows::insert_rows;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::id::ProfileId;
use crate::identity::ProfileNo;

/// What happened to a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// It absorbed the other, whose id redirects to it from then on.
    Joined,
    /// The other took identifiers over that were its own: as a new profile, or as one that was there.
    Split,
}

/// Why profiles were joined or split.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum Cause {
    /// An event bore identifiers of both.
    Event {
        /// The event's message id; empty if it was erased since.
        message_id: String,
    },
    /// An event showed that an earlier alias had meant an `anonymous_id`, or that a device is shared.
    Evidence,
    /// A link by hand.
    Link,
    /// A ban by hand.
    Never,
    /// Evidence between two identifiers was taken away by hand.
    Unlink,
    /// An identifier, or the evidence of a source, was cut off by hand.
    Split,
    /// A decision by hand was taken back.
    TakenBack,
    /// The rules changed.
    Rules,
    /// Everything was stitched anew.
    Restitch,
    /// Somebody was erased.
    Erasure,
    /// Events were kept as long as they may be.
    Retention,
}

impl Cause {
    fn columns(&self) -> (&'static str, Option<&str>) {
        match self {
            Self::Event { message_id } => ("event", Some(message_id)),
            Self::Evidence => ("evidence", None),
            Self::Link => ("link", None),
            Self::Never => ("never", None),
            Self::Unlink => ("unlink", None),
            Self::Split => ("split", None),
            Self::TakenBack => ("taken_back", None),
            Self::Rules => ("rules", None),
            Self::Restitch => ("restitch", None),
            Self::Erasure => ("erasure", None),
            Self::Retention => ("retention", None),
        }
    }

    fn read(word: &str, message_id: Option<String>) -> Self {
        match word {
            "event" => Self::Event { message_id: message_id.unwrap_or_default() },
            "link" => Self::Link,
            "never" => Self::Never,
            "unlink" => Self::Unlink,
            "split" => Self::Split,
            "taken_back" => Self::TakenBack,
            "rules" => Self::Rules,
            "restitch" => Self::Restitch,
            "erasure" => Self::Erasure,
            "retention" => Self::Retention,
            _ => Self::Evidence,
        }
    }
}

/// One entry of the journal of profiles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct JournalEntry {
    /// Where it stands: pass it on to read what came after it.
    pub cursor: i64,
    /// When it was committed.
    pub at: Timestamp,
    /// What happened.
    pub change: Change,
    /// The profile that absorbed the other, or that lost identifiers to it.
    pub profile: ProfileId,
    /// The other.
    pub other: ProfileId,
    /// Why.
    pub cause: Cause,
}

fn entry(row: &Row<'_>) -> rusqlite::Result<JournalEntry> {
    let id =
        |column: usize| row.get::<_, [u8; 16]>(column).map(|id| ProfileId::from_uuid(Uuid::from_bytes(id)));
    let change = if row.get_ref(2)?.as_str()? == "joined" { Change::Joined } else { Change::Split };
    Ok(JournalEntry {
        cursor: row.get(0)?,
        at: Timestamp::from_micros(row.get(1)?),
        change,
        profile: id(3)?,
        other: id(4)?,
        cause: Cause::read(row.get_ref(5)?.as_str()?, row.get(6)?),
    })
}

impl Db {
    /// Adds entries of one kind to the journal of profiles: each with the profile, the other, and why.
    pub(crate) fn journalise<'c>(
        &self,
        at: Timestamp,
        change: Change,
        entries: impl Iterator<Item = (ProfileNo, ProfileNo, &'c Cause)>,
    ) -> Result<()> {
        let change = match change {
            Change::Joined => "joined",
            Change::Split => "split",
        };
        let number = |profile: ProfileNo| ValueRef::Integer(profile.0.into());
        let rows = entries.map(|(profile, other, cause)| {
            let (cause, message_id) = cause.columns();
            let message_id = message_id.map_or(ValueRef::Null, ValueRef::from);
            let at = ValueRef::Integer(at.as_micros());
            [at, change.into(), number(profile), number(other), cause.into(), message_id]
        });
        insert_rows(&self.conn, "journal (at, change, profile, other, cause, message_id)", rows)
    }

    /// Up to `limit` entries of the journal after a cursor, the earliest first.
    pub(crate) fn journal(&self, after: i64, limit: usize) -> Result<Vec<JournalEntry>> {
        let mut select = self.conn.prepare_cached(
            "SELECT j.entry, j.at, j.change, p.id, o.id, j.cause, j.message_id FROM journal j
             JOIN profiles p ON p.profile = j.profile JOIN profiles o ON o.profile = j.other
             WHERE j.entry > ?1 ORDER BY j.entry LIMIT ?2",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        Ok(select.query_map((after, limit), entry)?.collect::<rusqlite::Result<_>>()?)
    }
}
