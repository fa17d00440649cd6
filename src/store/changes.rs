//! Who entered and left segments, as it was committed.

use std::borrow::Cow;
use std::collections::BTreeSet;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::packed::damaged;
use super::rows::insert_rows;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::ProfileNo;
use crate::value::Value;

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
    /// What may stand as a cause.
    const WORDS: [&str; 10] =
        ["event", "trait", "time", "merge", "split", "erasure", "retention", "definition", "hand", "consent"];

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
        let message_id = || Ok::<_, rusqlite::Error>(row.get::<_, Option<String>>(5)?.unwrap_or_default());
        Ok(match row.get_ref(4)?.as_str()? {
            "event" => Self::Event { message_id: message_id()? },
            "trait" => Self::Trait {
                name: row.get::<_, Option<String>>(6)?.unwrap_or_default(),
                message_id: message_id()?,
            },
            "time" => Self::Time,
            "merge" => Self::Merge,
            "split" => Self::Split,
            "erasure" => Self::Erasure,
            "retention" => Self::Retention,
            "hand" => Self::Hand,
            "consent" => Self::Consent { purpose: row.get::<_, Option<String>>(6)?.unwrap_or_default() },
            _ => Self::Definition,
        })
    }
}

/// An entry or an exit, of the journal of segments.
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
    pub(crate) at: Timestamp,
    /// Often one of many.
    pub(crate) cause: Cow<'s, ChangeCause>,
}

impl NewChange<'_> {
    /// Whether it differs in the segment alone.
    fn is_of_row(&self, other: &Self) -> bool {
        let (a, b) = (self, other);
        a.profile == b.profile && a.entered == b.entered && a.at == b.at && a.cause == b.cause
    }
}

/// The columns of a row, whose number is the cursor of its last entry.
const COLUMNS: &str = "change, profile, entered, at, cause, message_id, trait, segments";

fn text(text: Option<&str>) -> ValueRef<'_> {
    text.map_or(ValueRef::Null, ValueRef::from)
}

/// The segments that a row names.
fn names(row: &Row<'_>, column: usize) -> Result<Vec<String>> {
    let text = row.get_ref(column)?.as_str().map_err(rusqlite::Error::from)?;
    serde_json::from_str(text)
        .map_err(|_| damaged("the journal of segments has a row whose segments are no list of names"))
}

/// The entries of a row.
fn read(row: &Row<'_>) -> Result<impl Iterator<Item = KeptChange> + use<>> {
    let (last, profile, entered, at): (i64, u32, bool, i64) =
        (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
    let (cause, names) = (ChangeCause::read(row)?, names(row, 7)?);
    let first = last - i64::try_from(names.len()).unwrap_or(0) + 1;
    Ok((first..).zip(names).map(move |(cursor, segment)| KeptChange {
        cursor,
        segment,
        profile: ProfileNo(profile),
        entered,
        at: Timestamp::from_micros(at),
        cause: cause.clone(),
    }))
}

impl Db {
    /// Adds entries and exits to the journal of segments.
    pub(crate) fn add_changes(&self, changes: &[NewChange<'_>]) -> Result<()> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut cursor = self.last_cursor()?;
        let rows = changes.chunk_by(NewChange::is_of_row).map(|row| {
            cursor += i64::try_from(row.len()).unwrap_or(0);
            let names: Vec<Value> = row.iter().map(|change| change.segment.into()).collect();
            (cursor, &row[0], Value::from(names).to_string())
        });
        let rows: Vec<_> = rows.collect();
        let rows = rows.iter().map(|(cursor, change, names)| {
            let (word, message_id, name) = change.cause.columns();
            [
                ValueRef::Integer(*cursor),
                ValueRef::Integer(change.profile.0.into()),
                ValueRef::Integer(change.entered.into()),
                ValueRef::Integer(change.at.as_micros()),
                word.into(),
                text(message_id),
                text(name),
                names.as_str().into(),
            ]
        });
        insert_rows(&self.conn, &format!("segment_changes ({COLUMNS})"), rows)
    }

    /// The cursor of the latest entry that there ever was.
    fn last_cursor(&self) -> Result<i64> {
        Ok(self.counted_cursors()?.max(self.last_segment_change()?))
    }

    /// The same by SQLite's own count.
    fn counted_cursors(&self) -> Result<i64> {
        let sql = "SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'segment_changes'";
        Ok(self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The segments of which a profile is a member by the journal.
    pub(crate) fn noted_segments(&self, profile: ProfileNo) -> Result<BTreeSet<String>> {
        let sql = "SELECT entered, segments FROM segment_changes WHERE profile = ?1 ORDER BY change";
        let mut select = self.conn.prepare_cached(sql)?;
        let mut rows = select.query([profile.0])?;
        let mut noted = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let entered: bool = row.get(0)?;
            for name in names(row, 1)? {
                if entered {
                    noted.insert(name)
                } else {
                    noted.remove(&name)
                };
            }
        }
        Ok(noted)
    }

    /// Up to `limit` entries of the journal of segments after a cursor, the earliest first.
    pub(crate) fn segment_changes(&self, after: i64, limit: usize) -> Result<Vec<KeptChange>> {
        let sql = format!("SELECT {COLUMNS} FROM segment_changes WHERE change > ?1 ORDER BY change");
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut rows = select.query([after])?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(row) = rows.next()?
        {
            found.extend(read(row)?.filter(|change| change.cursor > after));
        }
        found.truncate(limit);
        Ok(found)
    }

    /// All entries of the journal of segments about a profile, the earliest first.
    pub(crate) fn segment_changes_of(&self, profile: ProfileNo) -> Result<Vec<KeptChange>> {
        let sql = format!("SELECT {COLUMNS} FROM segment_changes WHERE profile = ?1 ORDER BY change");
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut rows = select.query([profile.0])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.extend(read(row)?);
        }
        Ok(found)
    }

    /// The cursor of the latest entry that the journal of segments has.
    pub(crate) fn last_segment_change(&self) -> Result<i64> {
        let sql = "SELECT coalesce(max(change), 0) FROM segment_changes";
        Ok(self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// What is wrong with the journal of segments: how many rows there are of each kind.
    pub(super) fn faults_of_changes(&self) -> Result<Vec<(&'static str, String)>> {
        let [mut unread, mut astray, mut nobody, mut untrue] = [0_u64; 4];
        let mut numbers: FxHashMap<String, u32> = FxHashMap::default();
        let mut noted: FxHashSet<(i64, u32)> = FxHashSet::default();
        let mut is_profile = self.conn.prepare("SELECT 1 FROM profiles WHERE profile = ?1")?;
        let sql = "SELECT change, profile, entered, segments, cause FROM segment_changes ORDER BY change";
        let (mut select, mut last) = (self.conn.prepare(sql)?, 0);
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (change, profile, entered): (i64, i64, bool) = (row.get(0)?, row.get(1)?, row.get(2)?);
            nobody += u64::from(!is_profile.exists([profile])?);
            let known =
                ChangeCause::WORDS.contains(&row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?);
            let names = names(row, 3).ok().filter(|names| known && !names.is_empty());
            let Some(names) = names else {
                unread += 1;
                continue;
            };
            let first = i64::try_from(names.len()).map_or(i64::MIN, |count| change.saturating_sub(count));
            astray += u64::from(first < last);
            last = change;
            for name in names {
                let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
                let entry = (profile, *numbers.entry(name).or_insert(next));
                if entered {
                    untrue += u64::from(!noted.insert(entry));
                } else {
                    // Of whoever was erased, it may be all that is left.
                    noted.remove(&entry);
                }
            }
        }
        astray += u64::from(self.counted_cursors()? < last);
        let sql = "SELECT g.name, m.profile FROM members m JOIN segments g USING (segment)";
        let mut select = self.conn.prepare(sql)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let name = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let number = numbers.get(name).copied().unwrap_or(u32::MAX);
            untrue += u64::from(!noted.remove(&(row.get(1)?, number)));
        }
        let faults = [
            ("rows that cannot be read", unread),
            ("rows of profiles that are not there", nobody),
            ("rows whose cursors others have, or may get", astray),
            ("members of live segments of whom the journal says otherwise", untrue + noted.len() as u64),
        ];
        let told = faults.into_iter().filter(|(_, count)| *count > 0);
        Ok(told.map(|(what, count)| ("segment_changes", format!("{what}: {count}"))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::store::{Access, Place, Shared};

    proptest! {
        #[test]
        fn entries_are_read_one_by_one_however_they_came(
            calls in prop::collection::vec(
                prop::collection::vec((0..3_u32, 0..3_usize, any::<bool>(), 0..2_i64, 0..2_usize), 0..8),
                0..4,
            ),
            erased in prop::option::of(0..3_u32),
            after in 0..12_i64,
            limit in 0..9_usize,
        ) {
            let shared = Arc::new(Shared::new(9, 0));
            let db = Db::open(&Place::Memory, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
            db.begin_write().unwrap();
            let causes = [ChangeCause::Time, ChangeCause::Event { message_id: "m1".into() }];
            let mut model: Vec<(i64, u32, &str, bool)> = Vec::new();
            let mut last = 0;
            for (turn, call) in calls.iter().enumerate() {
                let changes = call.iter().map(|(profile, segment, entered, at, cause)| NewChange {
                    profile: ProfileNo(*profile),
                    segment: ["lately", "\"quoted\"", "买家"][*segment],
                    entered: *entered,
                    at: Timestamp::from_micros(*at),
                    cause: Cow::Borrowed(&causes[*cause]),
                });
                let changes: Vec<NewChange<'_>> = changes.collect();
                db.add_changes(&changes).unwrap();
                for change in &changes {
                    last += 1;
                    model.push((last, change.profile.0, change.segment, change.entered));
                }
                // No cursor is given twice, though the last entries are gone.
                if let Some(erased) = erased.filter(|_| turn == 0) {
                    db.scrub_journals(&[ProfileNo(erased)].into_iter().collect(), &FxHashSet::default()).unwrap();
                    model.retain(|(_, profile, ..)| *profile != erased);
                }
            }
            let told = |kept: &KeptChange| (kept.cursor, kept.profile.0, kept.segment.clone(), kept.entered);
            let page: Vec<_> = db.segment_changes(after, limit).unwrap().iter().map(told).collect();
            let expected = model.iter().filter(|(cursor, ..)| *cursor > after).take(limit);
            let expected: Vec<_> =
                expected.map(|(cursor, profile, name, entered)| (*cursor, *profile, (*name).to_owned(), *entered)).collect();
            prop_assert_eq!(page, expected);
            prop_assert_eq!(db.last_segment_change().unwrap(), model.last().map_or(0, |(cursor, ..)| *cursor));
            for profile in 0..3 {
                let own = |name: &str| model.iter().rfind(|(_, of, segment, _)| *of == profile && *segment == name);
                let names = model.iter().filter(|(.., segment, _)| own(segment).is_some_and(|(.., entered)| *entered));
                let noted: BTreeSet<String> = names.map(|(_, _, segment, _)| (*segment).to_owned()).collect();
                let count = model.iter().filter(|(_, of, ..)| *of == profile).count();
                prop_assert_eq!(db.segment_changes_of(ProfileNo(profile)).unwrap().len(), count);
                prop_assert_eq!(db.noted_segments(ProfileNo(profile)).unwrap(), noted);
            }
        }
    }

    #[test]
    fn what_a_profile_enters_at_once_is_one_row() {
        let shared = Arc::new(Shared::new(9, 0));
        let db = Db::open(&Place::Memory, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
        db.begin_write().unwrap();
        let change = |segment| NewChange {
            profile: ProfileNo(3),
            segment,
            entered: true,
            at: Timestamp::EARLIEST,
            cause: Cow::Owned(ChangeCause::Merge),
        };
        db.add_changes(&["a", "b", "c"].map(change)).unwrap();
        let sql = "SELECT change || ' ' || segments FROM segment_changes";
        let rows: String = db.conn.query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(rows, r#"3 ["a","b","c"]"#);
        // A counter that is lost stops nobody from writing, and no cursor is given twice.
        db.conn.execute("DELETE FROM sqlite_sequence", []).unwrap();
        db.add_changes(&[change("d")]).unwrap();
        assert_eq!(db.segment_changes(3, 9).unwrap()[0].cursor, 4);
    }
}
