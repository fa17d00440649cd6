//! Members of events that questions have asked for, as columns in memory.
//!
//! The log is read for them once; from then on they lie beside the columns of the file, as long as there is room. They are
//! kept by pieces of the log, sixteen thousand numbers of events each: where the value of an event stands follows from its
//! number, wherever its columns have gone.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;
use serde_json::Value;

use super::block::Entry;
use super::cores::{Breath, Pause, cores, on_cores};
use super::pack;
use super::press::Press;
use super::{Log, Shared, read};
use crate::store::{Db, Result};
use crate::value::Sum;

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
    pub(crate) read: &'a dyn ReadMembers,
}

/// How the members of an event are found.
pub(crate) trait ReadMembers: Sync {
    /// Puts the JSON of their values in the JSON of an event, whose name has that number, into their places.
    fn read<'j>(&self, json: &'j str, name: u32, out: &mut [Option<Cow<'j, str>>]);
}

/// Which column it is: of which piece, up to which number, of which member, in the log after how many edits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    piece: u32,
    until: u32,
    member: String,
    edits: i64,
    rollbacks: u64,
}

/// The values of one member of events in a piece.
#[derive(Debug)]
pub(crate) struct Column {
    /// Of events of which names: by their numbers, in order.
    names: Arc<[u32]>,
    /// Of each number of the piece the place of its value in the dictionary plus one, or 0, packed.
    bytes: Vec<u8>,
    labels: pack::Column,
    dictionary: Dictionary,
}

/// The different values of a column. They are kept as JSON, and as what they are once somebody asks for them.
#[derive(Debug)]
struct Dictionary {
    texts: Box<str>,
    /// Where each text ends.
    ends: Box<[u32]>,
    values: OnceLock<Box<[Value]>>,
    /// In whole millionths, [`NO_NUMBER`] where there is no number or no whole number of them.
    millionths: OnceLock<Box<[i64]>>,
}

const NO_NUMBER: i64 = i64::MIN;

impl Dictionary {
    fn new(texts: String, ends: Vec<u32>) -> Self {
        let (texts, ends) = (texts.into(), ends.into());
        Self { texts, ends, values: OnceLock::new(), millionths: OnceLock::new() }
    }

    /// The bytes that it takes by now.
    fn size(&self) -> usize {
        let values = self.values.get().map_or(0, |all| all.len() * size_of::<Value>() + self.texts.len());
        let millionths = self.millionths.get().map_or(0, |all| all.len() * size_of::<i64>());
        self.texts.len() + self.ends.len() * size_of::<u32>() + values + millionths
    }

    fn parsed(&self) -> impl Iterator<Item = Value> + '_ {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let texts = starts.zip(&self.ends).map(|(start, end)| &self.texts[start as usize..*end as usize]);
        texts.map(|text| serde_json::from_str(text).unwrap_or_default())
    }

    fn value(&self, place: usize) -> Option<&Value> {
        self.values.get_or_init(|| self.parsed().collect()).get(place)
    }

    fn millionths(&self, place: usize) -> Option<i64> {
        let whole = |value: Value| {
            let mut sum = Sum::default();
            let is_number = sum.add(&value);
            let whole = sum.millionths().filter(|_| is_number).and_then(|whole| i64::try_from(whole).ok());
            whole.unwrap_or(NO_NUMBER)
        };
        let all = self.millionths.get_or_init(|| self.parsed().map(whole).collect());
        all.get(place).copied().filter(|whole| *whole != NO_NUMBER)
    }
}

impl Column {
    /// The column of labels by number of the event, and of what the labels mean.
    fn new(names: Arc<[u32]>, labels: &[u32], dictionary: Dictionary) -> Option<Self> {
        let mut bytes = Vec::new();
        pack::write(labels.iter().map(|label| u64::from(*label)), &mut bytes);
        let labels = pack::Column::read(&bytes, &mut 0, labels.len())?;
        Some(Self { names, bytes, labels, dictionary })
    }

    /// The bytes that it takes by now: more, once its values were asked for.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len() + self.dictionary.size()
    }

    /// Whether it has the values of events of all these names.
    fn covers(&self, names: &[u32]) -> bool {
        names.iter().all(|name| self.names.binary_search(name).is_ok())
    }

    /// The labels of the events of the piece.
    fn labels(&self) -> pack::Numbers<'_> {
        self.labels.of(&self.bytes)
    }

    fn value(&self, label: u32) -> Option<&Value> {
        self.dictionary.value((label as usize).checked_sub(1)?)
    }

    fn millionths(&self, label: u32) -> Option<i64> {
        self.dictionary.millionths((label as usize).checked_sub(1)?)
    }
}

const MASK: u32 = (1 << PIECE) - 1;

/// The values that a question asks for.
#[derive(Debug, Default)]
pub(crate) struct Values {
    /// By member, and by piece.
    members: Vec<Vec<Option<Arc<Column>>>>,
}

/// The same at hand for going through many events.
#[derive(Debug, Default)]
pub(crate) struct Opened<'v> {
    values: &'v [Vec<Option<Arc<Column>>>],
    labels: Vec<Vec<pack::Numbers<'v>>>,
}

/// Where a value stands: in which piece, and there under which label. The same place has the same value, and the label 0
/// means that there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stand {
    pub(crate) piece: u32,
    pub(crate) label: u32,
}

impl Values {
    pub(super) fn open(&self) -> Opened<'_> {
        let columns = self.members.iter().map(|columns| columns.iter().map(Option::as_deref));
        let labels = columns.map(|columns| columns.map(|own| own.map_or(NONE, Column::labels)).collect());
        Opened { values: &self.members, labels: labels.collect() }
    }
}

/// The labels of events without values.
const NONE: pack::Numbers<'static> = pack::Numbers::ZEROS;

impl Opened<'_> {
    /// Where the value stands that an event has of a member.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "labels are u32 before they are packed")]
    pub(crate) fn stand(&self, member: usize, event: u32) -> Stand {
        let piece = event >> PIECE;
        let labels = self.labels[member].get(piece as usize).unwrap_or(&NONE);
        Stand { piece, label: labels.get((event & MASK) as usize) as u32 }
    }

    /// The value that stands there.
    pub(crate) fn value(&self, member: usize, stand: Stand) -> Option<&Value> {
        self.column(member, stand.piece)?.value(stand.label)
    }

    /// That value in millionths, if it is a number and a whole number of them.
    pub(crate) fn millionths(&self, member: usize, stand: Stand) -> Option<i64> {
        self.column(member, stand.piece)?.millionths(stand.label)
    }

    /// The values that an event has of all members.
    pub(crate) fn of(&self, event: u32) -> Vec<Option<&Value>> {
        (0..self.values.len()).map(|member| self.value(member, self.stand(member, event))).collect()
    }

    fn column(&self, member: usize, piece: u32) -> Option<&Column> {
        self.values.get(member)?.get(piece as usize)?.as_deref()
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
    /// The values of members of the events of some names, whose numbers are in order. `needed` says which pieces hold any,
    /// if it has to be known, or nothing if it was not to go on; `pause` is called now and then with how many events were looked at, which are given too.
    pub(super) fn values(
        &self,
        asked: Asked<'_>,
        names: &[u32],
        needed: impl FnOnce(&mut Pause<'_>) -> Result<Option<Vec<bool>>>,
        mut pause: impl FnMut(u64) -> ControlFlow<()>,
    ) -> Result<(Values, u64)> {
        self.write_groups()?;
        let (shared, dictionary, until) = {
            let log = self.log.borrow();
            (Arc::clone(&log.shared), log.press.dictionary().cloned(), log.tail.until())
        };
        let pieces = until.div_ceil(1 << PIECE);
        let key = |piece: u32, member: &String| self.log.borrow().key(piece, member);
        let mut members: Vec<Vec<Option<Arc<Column>>>> = asked
            .members
            .iter()
            .map(|member| (0..pieces).map(|piece| shared.values(&key(piece, member))).collect())
            .collect();
        let is_known =
            |column: &Option<Arc<Column>>| column.as_ref().is_some_and(|column| column.covers(names));
        let is_complete = |piece: u32| members.iter().all(|columns| is_known(&columns[piece as usize]));
        let mut missing: Vec<u32> = (0..pieces).filter(|piece| !is_complete(*piece)).collect();
        if missing.is_empty() {
            return Ok((Values { members }, 0));
        }
        let Some(needed) = needed(&mut pause)? else { return Ok((Values { members }, 0)) };
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
        let mut seen = 0;
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
                for (own, (member, column)) in members.iter_mut().zip(asked.members.iter().zip(columns)) {
                    let column = Arc::new(column);
                    shared.keep_values(key(piece, member), &column);
                    own[piece as usize] = Some(column);
                }
            }
        }
        Ok((Values { members }, seen))
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
pub(super) fn piece_of(event: u32) -> usize {
    (event >> PIECE) as usize
}

impl Log {
    fn key(&self, piece: u32, member: &str) -> Key {
        let end = piece.saturating_add(1).checked_shl(PIECE).filter(|end| *end > 0).unwrap_or(u32::MAX);
        Key {
            piece,
            until: end.min(self.tail.until()),
            member: member.to_owned(),
            edits: self.edits,
            rollbacks: self.shared.rollbacks(),
        }
    }
}

/// Reads the members of the events of a piece. `None` if `breath` says not to go on.
fn columns(
    job: &Job,
    asked: Asked<'_>,
    press: &mut Press,
    breath: &mut Breath<'_>,
) -> Result<Option<Vec<Column>>> {
    let mut drafts: Vec<Draft> = asked.members.iter().map(|_| Draft::new()).collect();
    for (place, (first, span, crc, bytes)) in job.raw.iter().enumerate() {
        if place % OFTEN == 0 && breath().is_break() {
            return Ok(None);
        }
        let group = read::sound_group(*first, *span, *crc, bytes, press)?;
        for text in group.iter() {
            let Entry { event, name, .. } = text.entry;
            if event >> PIECE == job.piece && job.names.binary_search(&name).is_ok() {
                let mut found = vec![None; drafts.len()];
                asked.read.read(text.json, name, &mut found);
                for (draft, value) in drafts.iter_mut().zip(found) {
                    draft.put((event & MASK) as usize, value.as_deref());
                }
            }
        }
    }
    let column = |draft: Draft| {
        let Draft { labels, texts, ends, .. } = draft;
        Column::new(Arc::clone(&job.names), &labels, Dictionary::new(texts, ends))
    };
    let packed = drafts
        .into_iter()
        .map(|draft| column(draft).ok_or_else(|| super::damaged("a column cannot be packed".to_owned())));
    packed.collect::<Result<_>>().map(Some)
}

/// A column under way.
struct Draft {
    labels: Vec<u32>,
    texts: String,
    ends: Vec<u32>,
    known: FxHashMap<String, u32>,
}

impl Draft {
    fn new() -> Self {
        Self {
            labels: vec![0; 1 << PIECE],
            texts: String::new(),
            ends: Vec::new(),
            known: FxHashMap::default(),
        }
    }

    /// Notes the value of an event by its JSON.
    fn put(&mut self, place: usize, json: Option<&str>) {
        let Some(json) = json else { return };
        if let Some(label) = self.known.get(json) {
            self.labels[place] = *label;
            return;
        }
        self.texts.push_str(json);
        let (Ok(end), Ok(label)) = (u32::try_from(self.texts.len()), u32::try_from(self.ends.len() + 1))
        else {
            return;
        };
        self.ends.push(end);
        self.known.insert(json.to_owned(), label);
        self.labels[place] = label;
    }
}

impl Shared {
    fn values(&self, key: &Key) -> Option<Arc<Column>> {
        self.room().values(key)
    }

    fn keep_values(&self, key: Key, column: &Arc<Column>) {
        self.room().keep_values(key, column);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(values: impl Iterator<Item = String>) -> Column {
        let mut draft = Draft::new();
        values.enumerate().for_each(|(place, json)| draft.put(place, Some(&json)));
        Column::new([0].into(), &draft.labels, Dictionary::new(draft.texts, draft.ends)).unwrap()
    }

    fn key(piece: u32) -> Key {
        Key { piece, until: 0, member: "price".to_owned(), edits: 0, rollbacks: 0 }
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
