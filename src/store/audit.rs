//! The audit log: what was done that one may have to account for, each entry chained to the one before.

use std::fmt;

use rusqlite::{Row, params};
use serde::Serialize;

use super::check::Problem;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::privacy::{Hash, NO_HASH, chained, hex};
use crate::value::{Object, Value};

/// The setting under which the last hash of the audit log is kept once more, so that entries cut off at its end are missed.
const HEAD: &str = "audit_head";

/// An entry of the audit log. It holds no personal value: in `details`, people are `about`, a list of keyed hashes of
/// their identifiers, which `Cdp::audit_name` gives.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AuditEntry {
    /// Where it stands, counted from 1: pass it on to read what came after it.
    pub cursor: i64,
    /// When it was committed.
    pub at: Timestamp,
    /// What was done: `consent`, `export`, `rectify`, `rules`, `define`, `link` and the like.
    pub action: String,
    /// What it was done to, and how.
    pub details: Value,
    /// The entry's SHA-256 in hexadecimal digits, made of it and of the hash before: who keeps the last one elsewhere can
    /// tell whether anything up to there was changed.
    pub hash: String,
}

impl fmt::Debug for AuditEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} at {}", self.cursor, self.action, self.at)
    }
}

fn entry(row: &Row<'_>) -> rusqlite::Result<(AuditEntry, String, Hash)> {
    let (details, hash): (String, Hash) = (row.get(3)?, row.get(4)?);
    let entry = AuditEntry {
        cursor: row.get(0)?,
        at: Timestamp::from_micros(row.get(1)?),
        action: row.get(2)?,
        // Damaged details are told of by the check, and are no reason to hide the rest.
        details: serde_json::from_str(&details).unwrap_or_default(),
        hash: hex(&hash),
    };
    Ok((entry, details, hash))
}

impl Db {
    /// Adds an entry to the audit log: what was done, and what there is to say of it, which holds no personal value.
    pub(crate) fn audit(&self, at: Timestamp, action: &str, details: Object) -> Result<()> {
        let details = Value::Object(details).to_string();
        let (last, before) = self.audit_end()?;
        let hash = chained(&before, last + 1, at, action, &details);
        let sql = "INSERT INTO audit (entry, at, action, details, hash) VALUES (?1, ?2, ?3, ?4, ?5)";
        self.conn.prepare_cached(sql)?.execute(params![last + 1, at.as_micros(), action, details, hash])?;
        self.set(HEAD, hex(&hash))
    }

    /// The number and the hash of the last entry.
    fn audit_end(&self) -> Result<(i64, Hash)> {
        let mut select =
            self.conn.prepare_cached("SELECT entry, hash FROM audit ORDER BY entry DESC LIMIT 1")?;
        let mut rows = select.query([])?;
        Ok(rows
            .next()?
            .map_or(Ok((0, NO_HASH)), |row| Ok::<_, rusqlite::Error>((row.get(0)?, row.get(1)?)))?)
    }

    /// Up to `limit` entries of the audit log after a number, the earliest first.
    pub(crate) fn audited(&self, after: i64, limit: usize) -> Result<Vec<AuditEntry>> {
        let mut select = self.conn.prepare_cached(
            "SELECT entry, at, action, details, hash FROM audit WHERE entry > ?1 ORDER BY entry LIMIT ?2",
        )?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = select.query_map((after, limit), |row| entry(row).map(|(entry, ..)| entry))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// What is wrong with the chain of the audit log.
    pub(super) fn audit_problems(&self) -> Result<Vec<Problem>> {
        let mut problems = Vec::new();
        let mut problem = |what: String| problems.push(Problem { table: "audit".into(), what });
        let mut select =
            self.conn.prepare("SELECT entry, at, action, details, hash FROM audit ORDER BY entry")?;
        let mut rows = select.query([])?;
        let (mut last, mut before) = (0, NO_HASH);
        while let Some(row) = rows.next()? {
            let (AuditEntry { cursor, at, action, .. }, details, hash) = entry(row)?;
            if cursor != last + 1 {
                problem(format!("entries are missing before entry {cursor}"));
            } else if hash != chained(&before, cursor, at, &action, &details) {
                problem(format!("entry {cursor} is not the one that was chained to the entries before it"));
            }
            (last, before) = (cursor, hash);
        }
        let head = self.setting(HEAD)?;
        if head.unwrap_or_else(|| hex(&NO_HASH)) != hex(&before) {
            problem(format!("entries are missing after entry {last}"));
        }
        Ok(problems)
    }

    /// Whether the audit log has any entry.
    pub(super) fn has_audited(&self) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM audit LIMIT 1")?.exists([])?)
    }
}
