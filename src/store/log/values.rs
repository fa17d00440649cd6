//! Members of events that questions have asked for, as columns in memory.
//!
//! The log is read for them once; from then on they lie beside the columns of the file, as long as there is room. They are
//! kept by pieces of the log (numbers of events, sixteen thousand of them each) and by the name of the events.

use std::num::NonZero;
use std::sync::Arc;
use std::thread;

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::Value;

use super::block::Entry;
use super::press::Press;
use super::{Shared, read};
use crate::store::{Db, Result};

/// How many numbers a piece covers, as a power of two: so few that reading one can be interrupted soon, and in debug builds
/// so few that tests have several pieces.
const PIECE: u32 = if cfg!(debug_assertions) { 3 } else { 14 };

/// The members of events that a question asks for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// What each is called, in whatever way: under the same name the same is found.
    pub(crate) members: &'a [String],
    /// Their values in the JSON of an event whose name has that number, in the same order.
    pub(crate) read: &'a (dyn Fn(&str, u32) -> Vec<Option<Value>> + Sync),
}

/// Which column it is: of which piece, up to which number, of events of which name, of which member, in the log after how
/// many edits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    piece: u32,
    until: u32,
    name: u32,
    member: String,
    edits: i64,
    rollbacks: u64,
}

/// The values of one member of all events of a name in a piece.
#[derive(Debug)]
pub(super) struct Column {
    /// Which events, from the first number of the piece on.
    rows: Arc<[u16]>,
    /// Of each the place of its value in the dictionary plus one, or 0.
    labels: Vec<u32>,
    dictionary: Vec<Value>,
    size: usize,
}

impl Column {
    fn new(rows: Arc<[u16]>, values: impl Iterator<Item = Option<Value>>) -> Self {
        let (mut labels, mut dictionary) = (Vec::with_capacity(rows.len()), Vec::new());
        let mut known: FxHashMap<String, u32> = FxHashMap::default();
        let mut texts = 0;
        for value in values {
            let Some(value) = value else {
                labels.push(0);
                continue;
            };
            let text = value.to_string();
            texts += text.len();
            let label = *known.entry(text).or_insert_with(|| {
                dictionary.push(value);
                u32::try_from(dictionary.len()).unwrap_or(u32::MAX)
            });
            labels.push(label);
        }
        let size = size_of::<Self>() + rows.len() * 6 + dictionary.len() * size_of::<Value>() + texts;
        Self { rows, labels, dictionary, size }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    fn value(&self, row: usize) -> Option<&Value> {
        let label = *self.labels.get(row)?;
        self.dictionary.get((label as usize).checked_sub(1)?)
    }
}

/// The columns of the events of one name in one piece, in the order in which they were asked for.
type Columns = Vec<Arc<Column>>;

/// The rows of the log that hold a piece, as they are written.
type Raw = Vec<(u32, u32, u32, Vec<u8>)>;

impl Db {
    /// Calls `each` with events and the values that they have, in no order. `pause` is called now and then.
    pub(super) fn with_values<B>(
        &self,
        mut events: Vec<Entry>,
        asked: Asked<'_>,
        mut pause: impl FnMut(u64) -> std::ops::ControlFlow<B>,
        mut each: impl FnMut(Entry, &[Option<&Value>]) -> std::ops::ControlFlow<B>,
    ) -> Result<()> {
        self.write_groups()?;
        events.sort_unstable_by_key(|entry| (entry.event >> PIECE, entry.name, entry.event));
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let pieces: Vec<&[Entry]> = events.chunk_by(|a, b| a.event >> PIECE == b.event >> PIECE).collect();
        let mut looked_at = 0;
        for some in pieces.chunks(threads) {
            self.looked_at(some.iter().map(|entries| entries.len()).sum())?;
            let known = self.columns_of(some, asked)?;
            for (entries, columns) in some.iter().zip(known) {
                for (of_name, columns) in entries.chunk_by(|a, b| a.name == b.name).zip(columns) {
                    looked_at += of_name.len() as u64;
                    if hand_out(of_name, &columns, &mut each).is_break() {
                        return Ok(());
                    }
                }
                if pause(looked_at).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The columns for some pieces: of each piece for each name. What is not at hand is read, a piece by each thread.
    fn columns_of(&self, pieces: &[&[Entry]], asked: Asked<'_>) -> Result<Vec<Vec<Columns>>> {
        let mut found: Vec<Vec<Option<Columns>>> = Vec::new();
        let mut jobs: Vec<(usize, FxHashSet<u32>, Raw)> = Vec::new();
        let (shared, dictionary) = {
            let log = self.log.borrow();
            (Arc::clone(&log.shared), log.press.dictionary().cloned())
        };
        for (place, entries) in pieces.iter().enumerate() {
            let names = entries.chunk_by(|a, b| a.name == b.name).map(|of_name| of_name[0].name);
            let piece = entries[0].event >> PIECE;
            let columns: Vec<Option<Columns>> = names
                .clone()
                .map(|name| {
                    asked.members.iter().map(|member| shared.values(&self.key(piece, name, member))).collect()
                })
                .collect();
            let missing: FxHashSet<u32> =
                names.zip(&columns).filter(|(_, known)| known.is_none()).map(|(name, _)| name).collect();
            if !missing.is_empty() {
                jobs.push((place, missing, self.raw(piece)?));
            }
            found.push(columns);
        }
        let read_all = |(place, names, raw): &(usize, FxHashSet<u32>, Raw)| {
            (*place, parse(pieces[*place][0].event >> PIECE, names, raw, asked, dictionary.as_ref()))
        };
        let read: Vec<_> = if let [job] = &jobs[..] {
            vec![read_all(job)]
        } else {
            thread::scope(|scope| {
                let running: Vec<_> = jobs.iter().map(|job| scope.spawn(|| read_all(job))).collect();
                let joined = running
                    .into_iter()
                    .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
                joined.collect()
            })
        };
        for (place, columns) in read {
            let mut columns = columns?;
            let piece = pieces[place][0].event >> PIECE;
            let names = pieces[place].chunk_by(|a, b| a.name == b.name).map(|of_name| of_name[0].name);
            for (name, slot) in names.zip(&mut found[place]) {
                if slot.is_none() {
                    let read = columns.remove(&name).unwrap_or_default();
                    for (member, column) in asked.members.iter().zip(&read) {
                        shared.keep_values(self.key(piece, name, member), column);
                    }
                    *slot = Some(read);
                }
            }
        }
        Ok(found
            .into_iter()
            .map(|columns| columns.into_iter().map(Option::unwrap_or_default).collect())
            .collect())
    }

    fn key(&self, piece: u32, name: u32, member: &str) -> Key {
        let log = self.log.borrow();
        let end = piece.saturating_add(1).checked_shl(PIECE).filter(|end| *end > 0).unwrap_or(u32::MAX);
        Key {
            piece,
            until: end.min(log.tail.until()),
            name,
            member: member.to_owned(),
            edits: log.edits,
            rollbacks: log.shared.rollbacks(),
        }
    }

    /// The rows of the log that hold a piece.
    fn raw(&self, piece: u32) -> Result<Raw> {
        let (from, until) = (i64::from(piece) << PIECE, (i64::from(piece) + 1) << PIECE);
        let mut select = self.conn.prepare_cached(
            "SELECT first, span, crc, bytes FROM log
             WHERE first >= coalesce((SELECT max(first) FROM log WHERE first <= ?1), 0) AND first < ?2",
        )?;
        let rows = select
            .query_map((from, until), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// Which events of a name there are in a piece, and of each member their values.
type Rows = (Vec<u16>, Vec<Vec<Option<Value>>>);

/// Reads the members of all events of some names in a piece.
fn parse(
    piece: u32,
    names: &FxHashSet<u32>,
    raw: &Raw,
    asked: Asked<'_>,
    dictionary: Option<&Arc<[u8]>>,
) -> Result<FxHashMap<u32, Columns>> {
    let mut press = Press::new(dictionary.cloned());
    let mut found: FxHashMap<u32, Rows> = FxHashMap::default();
    for (first, span, crc, bytes) in raw {
        let group = read::sound_group(*first, *span, *crc, bytes, &mut press)?;
        for text in group.iter() {
            let Entry { event, name, .. } = text.entry;
            if event >> PIECE == piece && names.contains(&name) {
                let (rows, columns) =
                    found.entry(name).or_insert_with(|| (Vec::new(), vec![Vec::new(); asked.members.len()]));
                rows.push((event & ((1 << PIECE) - 1)) as u16);
                for (column, value) in columns.iter_mut().zip((asked.read)(text.json, name)) {
                    column.push(value);
                }
            }
        }
    }
    let columns = |(name, (rows, columns)): (u32, Rows)| {
        let rows: Arc<[u16]> = rows.into();
        let columns =
            columns.into_iter().map(|values| Arc::new(Column::new(Arc::clone(&rows), values.into_iter())));
        (name, columns.collect())
    };
    Ok(found.into_iter().map(columns).collect())
}

/// Gives events of one name in one piece their values.
fn hand_out<B>(
    entries: &[Entry],
    columns: &Columns,
    each: &mut impl FnMut(Entry, &[Option<&Value>]) -> std::ops::ControlFlow<B>,
) -> std::ops::ControlFlow<B> {
    let mut values = vec![None; columns.len()];
    let rows: &[u16] = columns.first().map_or(&[], |column| &column.rows);
    let mut row = 0;
    for entry in entries {
        let own = (entry.event & ((1 << PIECE) - 1)) as u16;
        row += rows[row..].partition_point(|other| *other < own);
        let there = rows.get(row) == Some(&own);
        for (value, column) in values.iter_mut().zip(columns) {
            *value = if there { column.value(row) } else { None };
        }
        each(*entry, &values)?;
    }
    std::ops::ControlFlow::Continue(())
}

impl Shared {
    fn values(&self, key: &Key) -> Option<Arc<Column>> {
        self.room().values(key)
    }

    fn keep_values(&self, key: Key, column: &Arc<Column>) {
        self.room().keep_values(key, column);
    }
}
