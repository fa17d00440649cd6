//! Members of events that questions have asked for, as columns in memory.
//!
//! The log is read for them once; from then on they lie beside the columns of the file, as long as there is room. They are
//! kept by pieces of the log, sixteen thousand numbers of events each: where the value of an event stands follows from its
//! number, wherever its columns have gone. Of these, columns in the order of a block are made ([`aligned`](super::aligned)),
//! which are read from the first event to the last.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::Value;

use super::block::Entry;
use super::column::{Column, Draft};
use super::cores::{Breath, Pause, cores, on_cores};
use super::pack;
use super::press::Press;
use super::{Log, Shared, read};
use crate::store::{Db, Result};

/// How many numbers a piece covers, as a power of two: so few that reading one can be interrupted soon, and in debug builds
/// so few that tests have several pieces.
const PIECE: u32 = if cfg!(debug_assertions) { 3 } else { 14 };

/// After how many rows of the log whoever waits is heard.
const OFTEN: usize = 1 << 6;

/// The members of events that a question asks for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// What each is called, in whatever way: under the same name the same is found.
    pub(crate) members: &'a [String],
    /// The one of which nobody wants to know more than what number it is.
    pub(crate) added_up: Option<usize>,
    /// By the numbers of names, whether members are wanted of events of that name.
    pub(crate) names: &'a [bool],
    pub(crate) read: &'a dyn ReadMembers,
}

/// How the members of an event are found.
pub(crate) trait ReadMembers: Sync {
    /// Puts the JSON of their values in the JSON of an event into their places.
    fn read<'j>(&self, json: &'j str, out: &mut [Option<Cow<'j, str>>]);
}

/// Which column it is: of which events and member, in the log after how many edits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) of: Of,
    pub(super) member: String,
    edits: i64,
    rollbacks: u64,
}

/// The events that a column has.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Of {
    /// Those of a piece of the log, up to a number.
    Piece { piece: u32, until: u32 },
    /// Those of a block that have one of some names, in its order; only as numbers, if they are nothing but added up.
    Block { block: i64, names: Arc<[u32]>, added_up: bool },
}

const MASK: u32 = (1 << PIECE) - 1;

/// A block is one piece, whose keys are places in the order of its events.
const OF_BLOCK: u32 = u32::BITS - 1;

/// The values that a question asks for, of all events by their numbers, or of those of a block by their places.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// By member, and by piece; of a block there is one.
    pub(super) members: Vec<Vec<Option<Arc<Column>>>>,
}

/// The same at hand for going through many events. An event has a key: its number, or its place in the block.
#[derive(Debug, Default)]
pub(crate) struct Opened<'v> {
    values: &'v [Vec<Option<Arc<Column>>>],
    labels: Vec<Vec<pack::Numbers<'v>>>,
    /// The number of the first piece, and how many keys each has, as a power of two.
    first: u32,
    shift: u32,
}

/// Where a value stands: in which piece, and there under which label. The same place has the same value, and the label 0
/// means that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) piece: u32,
    pub(crate) label: u32,
}

impl Values {
    /// By the numbers of events.
    pub(super) fn open(&self) -> Opened<'_> {
        self.opened(0, PIECE)
    }

    /// By the places in a block, which is known as a piece of that number.
    pub(super) fn open_block(&self, piece: u32) -> Opened<'_> {
        self.opened(piece, OF_BLOCK)
    }

    fn opened(&self, first: u32, shift: u32) -> Opened<'_> {
        let columns = self.members.iter().map(|columns| columns.iter().map(Option::as_deref));
        let labels = columns.map(|columns| columns.map(|own| own.map_or(NONE, Column::labels)).collect());
        Opened { values: &self.members, labels: labels.collect(), first, shift }
    }

    /// Whether there are columns of all members.
    pub(super) fn is_kept(&self) -> bool {
        self.members.iter().flatten().all(|column| column.as_ref().is_some_and(|column| column.is_kept()))
    }

    /// Keeps the columns of a block as long as there is room.
    pub(super) fn keep(&self, shared: &Shared, keys: Vec<Key>) {
        for (key, column) in keys.into_iter().zip(self.members.iter().flatten().flatten()) {
            shared.keep_values(key, column);
        }
    }

    /// How many pieces there are.
    pub(super) fn pieces(&self) -> usize {
        self.members.first().map_or(0, Vec::len)
    }
}

/// The labels of events without values.
const NONE: pack::Numbers<'static> = pack::Numbers::ZEROS;

impl<'v> Opened<'v> {
    /// Where the value stands that an event has of a member.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "labels are u32 before they are packed")]
    pub(crate) fn stand(&self, member: usize, key: u32) -> Stand {
        let piece = key >> self.shift;
        let labels = self.labels[member].get(piece as usize).unwrap_or(&NONE);
        let place = key & ((1 << self.shift) - 1);
        Stand { piece: self.first + piece, label: labels.get(place as usize) as u32 }
    }

    /// The labels of events that follow one upon the other in a block, put behind what `out` holds already, and the piece
    /// that all of them stand in. `None` if they are no such events.
    #[expect(clippy::cast_possible_truncation, reason = "labels are u32 before they are packed")]
    pub(crate) fn run(&self, member: usize, keys: &[u32], out: &mut Vec<u32>) -> Option<u32> {
        let (first, last) = (*keys.first()?, *keys.last()?);
        if self.shift != OF_BLOCK || (last - first) as usize != keys.len() - 1 {
            return None;
        }
        let labels = self.labels[member].first()?;
        labels.read(first as usize..last as usize + 1, out, |label| label as u32);
        Some(self.first)
    }

    /// The value that stands there.
    pub(crate) fn value(&self, member: usize, stand: Stand) -> Option<&'v Value> {
        self.column(member, stand)?.value(stand.label)
    }

    /// Its JSON.
    pub(super) fn text(&self, member: usize, stand: Stand) -> Option<&'v str> {
        self.column(member, stand)?.text(stand.label)
    }

    /// That value in millionths, if it is a number and a whole number of them.
    pub(crate) fn millionths(&self, member: usize, stand: Stand) -> Option<i64> {
        self.column(member, stand)?.millionths(stand.label)
    }

    /// How many members there are.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The values that an event has of all members, but of one that is only added up.
    pub(crate) fn of(&self, key: u32) -> Vec<Option<&'v Value>> {
        (0..self.values.len()).map(|member| self.value(member, self.stand(member, key))).collect()
    }

    fn column(&self, member: usize, stand: Stand) -> Option<&'v Column> {
        self.values.get(member)?.get((stand.piece - self.first) as usize)?.as_deref()
    }
}

/// The rows of the log that hold a piece, as they are written.
type Raw = Vec<(u32, u32, u32, Vec<u8>)>;

/// A piece that has to be read, for events of some names.
struct Job {
    piece: u32,
    names: Arc<[u32]>,
    raw: Raw,
}

/// Who reads pieces, and what was read.
struct Reader {
    press: Press,
    read: Result<Vec<(u32, Vec<Column>)>>,
}

impl Db {
    /// The values of members of the events of some names, whose numbers are in order, by the pieces of the log from one on.
    /// `needed` says which pieces hold any, if it has to be known; `pause` is called now and then with how many events were
    /// looked at, which are given too. `None` if it was not to go on.
    pub(super) fn values(
        &self,
        asked: Asked<'_>,
        names: &[u32],
        from: u32,
        needed: impl FnOnce(&mut Pause<'_>) -> Result<Option<Vec<bool>>>,
        mut pause: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<Option<(Values, u64)>> {
        self.write_groups()?;
        let (shared, dictionary, until) = {
            let log = self.log.borrow();
            (Arc::clone(&log.shared), log.press.dictionary().cloned(), log.tail.until())
        };
        let pieces = until.div_ceil(1 << PIECE);
        let key = |piece: u32, member: &String| self.log.borrow().key_of_piece(piece, member);
        let mut members: Vec<Vec<Option<Arc<Column>>>> = asked
            .members
            .iter()
            .map(|member| {
                let known = |piece| if piece < from { None } else { shared.values(&key(piece, member)) };
                (0..pieces).map(known).collect()
            })
            .collect();
        let is_known =
            |column: &Option<Arc<Column>>| column.as_ref().is_some_and(|column| column.covers(names));
        let is_complete = |piece: u32| members.iter().all(|columns| is_known(&columns[piece as usize]));
        let mut missing: Vec<u32> = (from..pieces).filter(|piece| !is_complete(*piece)).collect();
        if missing.is_empty() {
            return Ok(Some((Values { members }, 0)));
        }
        let Some(needed) = needed(&mut pause)? else { return Ok(None) };
        missing.retain(|piece| needed.get(*piece as usize).copied().unwrap_or(false));
        // What was known of other names stays known.
        let names_of = |piece: u32| {
            let known = members.iter().filter_map(|columns| columns[piece as usize].as_ref());
            let mut all: Vec<u32> = known.flat_map(|column| column.names.iter().copied()).collect();
            all.extend(names);
            all.sort_unstable();
            all.dedup();
            all.into()
        };
        let jobs: Vec<(u32, Arc<[u32]>)> =
            missing.into_iter().map(|piece| (piece, names_of(piece))).collect();
        let reader = |_| Reader { press: Press::new(dictionary.clone()), read: Ok(Vec::new()) };
        let readers = (0..cores().min(jobs.len()).max(1)).map(reader).collect();
        let read = |reader: &mut Reader, job: Job, breath: &mut Breath<'_>| {
            let columns = columns(&job, asked, &mut reader.press, breath);
            match (&mut reader.read, columns) {
                (Ok(_), Ok(None)) => return ControlFlow::Break(()),
                (Ok(read), Ok(Some(columns))) => read.push((job.piece, columns)),
                (read, Err(failure)) => *read = Err(failure),
                (Err(_), _) => {}
            }
            if reader.read.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        };
        let (mut seen, mut left) = (0, jobs.len());
        let readers = on_cores(readers, &mut pause, read, |give| {
            for (piece, names) in jobs {
                self.looked_at(1 << PIECE)?;
                seen += 1 << PIECE;
                let raw = self.raw(piece)?;
                if give(seen, Job { piece, names, raw }).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        for reader in readers {
            for (piece, columns) in reader.read? {
                left -= 1;
                for (own, (member, column)) in members.iter_mut().zip(asked.members.iter().zip(columns)) {
                    let column = Arc::new(column);
                    shared.keep_values(key(piece, member), &column);
                    own[piece as usize] = Some(column);
                }
            }
        }
        // What breaks off before the end knows too little to make anything of it.
        Ok((left == 0).then_some((Values { members }, seen)))
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

/// Which piece an event is in.
pub(super) fn piece_of(event: u32) -> u32 {
    event >> PIECE
}

impl Log {
    fn key_of_piece(&self, piece: u32, member: &str) -> Key {
        let end = piece.saturating_add(1).checked_shl(PIECE).filter(|end| *end > 0).unwrap_or(u32::MAX);
        self.key(Of::Piece { piece, until: end.min(self.tail.until()) }, member)
    }

    pub(super) fn key(&self, of: Of, member: &str) -> Key {
        Key { of, member: member.to_owned(), edits: self.edits, rollbacks: self.shared.rollbacks() }
    }
}

/// Reads the members of the events of a piece. `None` if `breath` says not to go on.
fn columns(
    job: &Job,
    asked: Asked<'_>,
    press: &mut Press,
    breath: &mut Breath<'_>,
) -> Result<Option<Vec<Column>>> {
    let mut drafts: Vec<Draft> = asked.members.iter().map(|_| Draft::new(1 << PIECE)).collect();
    for (place, (first, span, crc, bytes)) in job.raw.iter().enumerate() {
        if place % OFTEN == 0 && breath().is_break() {
            return Ok(None);
        }
        let group = read::sound_group(*first, *span, *crc, bytes, press)?;
        for text in group.iter() {
            let Entry { event, name, .. } = text.entry;
            if event >> PIECE == job.piece && job.names.binary_search(&name).is_ok() {
                let mut found = vec![None; drafts.len()];
                asked.read.read(text.json, &mut found);
                for (draft, value) in drafts.iter_mut().zip(found) {
                    draft.put((event & MASK) as usize, value.as_deref());
                }
            }
        }
    }
    let packed = drafts.into_iter().map(|draft| {
        let column = draft.column(Arc::clone(&job.names));
        column.ok_or_else(|| super::damaged("a column cannot be packed".to_owned()))
    });
    packed.collect::<Result<_>>().map(Some)
}

impl Shared {
    pub(super) fn values(&self, key: &Key) -> Option<Arc<Column>> {
        self.room().values(key)
    }

    pub(super) fn keep_values(&self, key: Key, column: &Arc<Column>) {
        self.room().keep_values(key, column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: impl Iterator<Item = String>) -> Column {
        let mut draft = Draft::new(1 << PIECE);
        values.enumerate().for_each(|(place, json)| draft.put(place, Some(&json)));
        draft.column([0].into()).unwrap()
    }

    fn key(piece: u32) -> Key {
        Key { of: Of::Piece { piece, until: 0 }, member: "price".to_owned(), edits: 0, rollbacks: 0 }
    }

    #[test]
    fn a_value_is_told_as_what_it_is() {
        let column = column(["1.5", "\"a\"", "[1,2]", "1e300", "null"].map(str::to_owned).into_iter());
        let values = Values { members: vec![vec![Some(Arc::new(column))]] };
        let opened = values.open();
        let stands = (0..6).map(|event| opened.stand(0, event));
        let told: Vec<_> =
            stands.map(|stand| (opened.value(0, stand).cloned(), opened.millionths(0, stand))).collect();
        let value = |json: &str| Some(serde_json::from_str(json).unwrap());
        let expected = [
            (value("1.5"), Some(1_500_000)),
            (value("\"a\""), None),
            (value("[1,2]"), None),
            (value("1e300"), None),
            (value("null"), None),
            (None, None),
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn what_columns_come_to_take_once_they_are_asked_counts_too() {
        let columns: Vec<Arc<Column>> = (0..4)
            .map(|piece| Arc::new(column((0..1 << PIECE).map(|place| format!("{}", place * 7 + piece)))))
            .collect();
        let most = columns.iter().map(|column| column.size()).sum::<usize>();
        let shared = Shared::new(1, most);
        for (piece, column) in (0..).zip(&columns) {
            shared.keep_values(key(piece), column);
        }
        let held = |shared: &Shared| (0..4).filter(|piece| shared.values(&key(*piece)).is_some()).count();
        assert_eq!(held(&shared), 4, "there is just room for them");
        let before = columns[0].size();
        assert!(columns[0].value(1).is_some() && columns[0].millionths(1).is_some());
        assert!(columns[0].size() > before);
        assert!(held(&shared) < 4, "some had to be let go of");
    }
}
