//! The log of events: appended in order of arrival, and sealed into columns.
//!
//! ```text
//! add_event ─▶ Draft ─▶ log (groups of events: every text, to the letter) ─gather─▶ fewer and larger ones
//!                  └──▶ Tail (columns in memory) ──seal──▶ blocks (columns by node), message_ids (hashes)
//!                                                  ├─merge─▶ fewer and larger ones
//!                                                  └─arrange─▶ columns by person
//! ```
//!
//! The table `log` is the truth. What the seals hold (whose an event is, when it was, what it is called, and which message
//! id it has) is taken from it, so that a person's history and a question about everybody need not go through all of it.
//! Seals are of a range of the log each; eight of a size are merged into one of the next. An event that came to belong to
//! somebody else after it was written stands in `moved`, which every way in asks.

mod aligned;
mod arrange;
mod block;
mod check;
mod column;
mod cores;
mod cut;
mod dictionary;
mod edit;
mod find;
mod gather;
mod gauge;
mod group;
mod ids;
mod pack;
mod press;
mod read;
mod room;
mod seal;
mod tail;
#[cfg(test)]
mod tests;
mod unlearn;
mod values;
mod visit;

use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::OptionalExtension;
use rustc_hash::FxHashMap;

use self::arrange::RANKS;
use self::block::{Entry, NOBODY};
use self::dictionary::Training;
use self::group::{Draft, Group};
use self::ids::Bloom;
pub(crate) use self::ids::MessageId;
pub(super) use self::press::may_unpack_to;
use self::press::{Press, Presses};
pub(crate) use self::read::{Look, Seen};
pub(crate) use self::room::Shared;
use self::tail::Tail;
pub(crate) use self::unlearn::Learned;
pub(crate) use self::values::{Asked, ReadMembers, Stand};
pub(crate) use self::visit::{Chunk, Visit};
use super::packed::damaged;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::{Node, Order};

/// The counters in the file that say that seals, or `moved`, have changed.
const LAYOUT: &str = "layout";
const MOVES: &str = "moves";

/// After how many rows of the log whoever waits is heard.
const OFTEN: usize = if cfg!(debug_assertions) { 1 } else { 1 << 8 };

/// How many events wait before they are sealed, unless the application says otherwise.
pub(crate) const SEAL_EVERY: usize = 1 << 16;

/// How many bytes of sealed columns stay in memory, unless the application says otherwise.
pub(crate) const COLUMN_BYTES: usize = 256 << 20;

/// A range of the log whose columns are sealed.
#[derive(Debug)]
struct Seal {
    number: i64,
    /// How often it was merged.
    level: u32,
    first: u32,
    until: u32,
    /// How many buckets of message ids it has.
    buckets: u64,
    /// By rank.
    blocks: Vec<Place>,
    /// Read when it is first asked for.
    bloom: Option<Bloom>,
}

/// A block, and what it has.
#[derive(Debug, Clone, Copy)]
struct Place {
    block: i64,
    /// The ranks of the first and the last node.
    ranks: (u32, u32),
    times: (i64, i64),
    count: u32,
}

/// An event that belongs to somebody else than it did when it was written.
#[derive(Debug, Clone, Copy)]
struct Moved {
    /// As it was written.
    entry: Entry,
    node: u32,
}

/// All events that have moved.
#[derive(Debug, Default)]
struct Moves {
    by_event: FxHashMap<u32, Moved>,
    by_node: FxHashMap<u32, Vec<u32>>,
}

impl Moves {
    fn put(&mut self, moved: Moved) {
        self.forget(moved.entry.event);
        self.by_node.entry(moved.node).or_default().push(moved.entry.event);
        self.by_event.insert(moved.entry.event, moved);
    }

    fn forget(&mut self, event: u32) {
        if let Some(former) = self.by_event.remove(&event)
            && let Some(events) = self.by_node.get_mut(&former.node)
        {
            events.retain(|moved| *moved != event);
        }
    }

    /// Whose an event is by now, as it was that node's.
    fn owner(&self, event: u32, node: u32) -> u32 {
        if self.by_event.is_empty() {
            return node;
        }
        self.by_event.get(&event).map_or(node, |moved| moved.node)
    }

    /// Whether any event came to be somebody's that is nobody's in its columns, or the other way round. What was written as that of
    /// a node that was let go of may be either there: it is nobody's in columns that were written since.
    fn change_who_is_held(&self, order: &Order) -> bool {
        let is_changed = |Moved { entry, node }: &Moved| {
            (*node == NOBODY) != (entry.node == NOBODY) || order.rank(entry.node).is_none()
        };
        self.by_event.values().any(is_changed)
    }

    /// The events that came to be a node's.
    fn to(&self, node: u32) -> impl Iterator<Item = Entry> {
        let events = self.by_node.get(&node).into_iter().flatten();
        events
            .filter_map(move |event| self.by_event.get(event))
            .map(move |moved| Entry { node, ..moved.entry })
    }
}

/// Groups that were read last.
#[derive(Debug, Default)]
struct Groups {
    by_first: BTreeMap<u32, (Arc<Group>, u32)>,
    order: VecDeque<u32>,
}

impl Groups {
    /// As many are kept: about 40 MB, of eight events of 600 bytes each.
    const MOST: usize = 1 << 13;

    fn keep(&mut self, first: u32, span: u32, group: Arc<Group>) {
        if self.by_first.insert(first, (group, span)).is_none() {
            self.order.push_back(first);
        }
        if self.order.len() > Self::MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_first.remove(&oldest);
        }
    }

    fn clear(&mut self) {
        self.by_first.clear();
        self.order.clear();
    }
}

/// What a connection knows of the log.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) shared: Arc<Shared>,
    /// Whether what is known is what the transaction under way sees.
    current: bool,
    /// Whether the transaction under way has changed anything, so that what is known is worth nothing if it is taken back.
    changed: bool,
    layout: Option<i64>,
    /// How often events of the log were edited, which the counter of the layout has above 32 bits.
    edits: i64,
    moved: Option<i64>,
    /// The order that sealed events are in, by nodes, and its number.
    order: Arc<Order>,
    arranged: Option<i64>,
    seals: Vec<Seal>,
    moves: Moves,
    tail: Tail,
    /// Events that are in no group yet, and groups that are not written yet.
    draft: Draft,
    presses: Presses,
    press: Press,
    groups: Groups,
    /// How long the tail is to be when a dictionary is next tried.
    learn_at: usize,
    training: Option<Training>,
    /// The texts of names by number.
    names: Vec<String>,
    /// Whether the transaction under way has appended events.
    appended: bool,
    /// The first block that the transaction under way has written: who shares blocks must not meet those.
    fresh: Option<i64>,
}

impl Log {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            current: false,
            changed: false,
            layout: None,
            edits: 0,
            moved: None,
            order: Arc::default(),
            arranged: None,
            seals: Vec::new(),
            moves: Moves::default(),
            tail: Tail::default(),
            draft: Draft::default(),
            presses: Presses::default(),
            press: Press::default(),
            groups: Groups::default(),
            learn_at: dictionary::SAMPLES,
            training: None,
            names: Vec::new(),
            appended: false,
            fresh: None,
        }
    }

    /// Where the log ends with what the transaction under way has appended to it, if it has.
    pub(super) fn appended(&self) -> Option<i64> {
        self.appended.then(|| self.tail.until().into())
    }

    /// A transaction begins, or ends: another may have written in between.
    pub(super) fn look_again(&mut self) {
        self.current = false;
    }

    /// The transaction is committed. Nobody else writes, so what is known of the log stays what it says.
    pub(super) fn committed(&mut self) {
        if self.changed
            && let Some(number) = self.arranged
        {
            self.shared.keep_order(number, &self.order);
        }
        self.changed = false;
        self.appended = false;
        self.fresh = None;
    }

    /// The transaction is taken back, if it was not only reading.
    pub(super) fn rolled_back(&mut self) {
        self.look_again();
        if self.changed {
            self.shared.note_rollback();
            *self = Self::new(Arc::clone(&self.shared));
        }
    }
}

/// An event to be appended to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEvent<'e> {
    pub(crate) node: Node,
    pub(crate) at: Timestamp,
    pub(crate) name: u32,
    pub(crate) source: u32,
    pub(crate) message_id: &'e MessageId<'e>,
    pub(crate) json: &'e str,
}

/// The number of an event as the rest of the log knows it.
fn number(event: i64) -> Result<u32> {
    u32::try_from(event).map_err(|_| damaged(format!("an event with the number {event}")))
}

fn node(number: u32) -> Option<Node> {
    (number != NOBODY).then_some(Node(number))
}

impl Db {
    /// Learns what the log is by now, once in a transaction.
    fn catch_up(&self) -> Result<()> {
        self.catch_up_while(&mut || ControlFlow::Continue(())).map(drop)
    }

    /// The same, as long as `pause` does not say otherwise, which is called now and then: whether all is known.
    fn catch_up_while(&self, pause: &mut dyn FnMut() -> ControlFlow<()>) -> Result<bool> {
        let mut log = self.log.borrow_mut();
        if log.current {
            return Ok(true);
        }
        let (layout, moved) = (self.counter(LAYOUT)?, self.counter(MOVES)?);
        if log.layout != Some(layout) {
            let arranged = self.counter(RANKS)?;
            drop(log);
            let order = self.order(arranged)?;
            if pause().is_break() {
                return Ok(false);
            }
            let seals = self.seals()?;
            log = self.log.borrow_mut();
            (log.order, log.arranged, log.seals) = (order, Some(arranged), seals);
            let sealed = log.seals.last().map_or(0, |seal| seal.until);
            log.tail = Tail::new(sealed);
            log.groups.clear();
            log.press = Press::new(self.dictionary()?);
            log.presses.rest();
            log.layout = Some(layout);
            log.edits = layout >> 32;
        }
        if log.moved != Some(moved) {
            log.moves = self.moves()?;
            log.moved = Some(moved);
        }
        let log = &mut *log;
        let mut select = self
            .conn
            .prepare_cached("SELECT first, span, crc, bytes FROM log WHERE first >= ?1 ORDER BY first")?;
        let mut rows = select.query([log.tail.until()])?;
        let mut read = 0_usize;
        while let Some(row) = rows.next()? {
            let (first, span, group) = read::group(row, &mut log.press)?;
            for text in group.iter() {
                log.tail.push(text.entry, ids::hash(text.id));
            }
            log.tail.cover(first.saturating_add(span));
            read += 1;
            if read.is_multiple_of(OFTEN) && pause().is_break() {
                // What is not read yet is next time.
                return Ok(false);
            }
        }
        log.current = self.is_writing();
        Ok(true)
    }

    /// Appends an event to the log, and gives its number.
    pub(crate) fn add_event(&self, event: NewEvent<'_>) -> Result<i64> {
        self.catch_up()?;
        let mut log = self.log.borrow_mut();
        let number = log.tail.until();
        if number == u32::MAX {
            return Err(damaged("4,294,967,295 events are the most that a file holds"));
        }
        let NewEvent { node, at, name, source, message_id, json } = event;
        let entry = Entry { node: node.0, at: at.as_micros(), event: number, name, source };
        (log.changed, log.appended) = (true, true);
        log.tail.push(entry, message_id.hash());
        log.draft.push(entry, message_id.as_str(), json);
        let (full, seal) = (log.draft.is_full(&log.press), log.tail.len() >= log.shared.seal_every);
        let train = log.press.dictionary().is_none() && log.tail.len() >= log.learn_at;
        let training = log.training.is_some();
        drop(log);
        if full {
            self.press_group()?;
        }
        if training {
            self.learn()?;
        } else if train {
            self.train()?;
        }
        if seal {
            self.seal()?;
        }
        Ok(number.into())
    }

    /// Begins to make a dictionary for the file, which has enough events to learn from. Whoever wrote before was gone before
    /// theirs was made if it had enough already: then this one is made before anything else.
    fn train(&self) -> Result<()> {
        let is_late = self.log.borrow().tail.len() > self.log.borrow().learn_at;
        let numbers: Vec<(u32, u32)> = {
            let mut log = self.log.borrow_mut();
            log.learn_at *= 2;
            let latest = log.tail.entries().iter().rev().take(dictionary::SAMPLES);
            latest.map(|entry| (entry.node, entry.event)).collect()
        };
        if !dictionary::are_of_many(numbers.iter().map(|(node, _)| *node)) {
            return Ok(());
        }
        self.write_groups()?;
        let mut samples = Vec::with_capacity(numbers.len());
        for (node, event) in numbers {
            samples.push((node, self.with_text(event, |text| text.cut())?));
        }
        self.log.borrow_mut().training = Some(Training::begin(samples, is_late));
        self.learn()
    }

    /// Gives the file the dictionary that is being made, if it is done.
    fn learn(&self) -> Result<()> {
        let made = self.log.borrow().training.as_ref().map(Training::made);
        let Some(ControlFlow::Break(made)) = made else { return Ok(()) };
        self.log.borrow_mut().training = None;
        let Some(bytes) = made else { return Ok(()) };
        self.write_groups()?;
        let mut insert = self.conn.prepare_cached("INSERT INTO dictionaries VALUES (1, ?1, ?2)")?;
        insert.execute((read::checksum(&[&bytes]), &bytes))?;
        {
            let mut log = self.log.borrow_mut();
            log.press = Press::new(Some(bytes.into()));
            log.presses.rest();
        }
        self.note_layout()
    }

    /// The dictionary of the file, if it has one.
    fn dictionary(&self) -> Result<Option<Arc<[u8]>>> {
        let mut select = self.conn.prepare_cached("SELECT crc, bytes FROM dictionaries")?;
        let mut rows = select.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (crc, bytes): (u32, Vec<u8>) = (row.get(0)?, row.get(1)?);
        if crc == read::checksum(&[&bytes]) {
            return Ok(Some(bytes.into()));
        }
        Err(damaged("the dictionary of the log contradicts its checksum"))
    }

    /// Makes a group of the events that are in none yet, and has it compressed.
    fn press_group(&self) -> Result<()> {
        let mut log = self.log.borrow_mut();
        let log = &mut *log;
        log.presses.push(&mut log.draft, &log.press);
        while log.presses.is_ready()
            && let Some((first, span, bytes)) = log.presses.pop(&mut log.press)
        {
            self.put_group(first, span, &bytes)?;
            log.presses.reuse(bytes);
        }
        Ok(())
    }

    /// Writes the events that are not written yet.
    pub(super) fn write_groups(&self) -> Result<()> {
        let mut log = self.log.borrow_mut();
        let log = &mut *log;
        while let Some((first, span, bytes)) = log.presses.pop(&mut log.press) {
            self.put_group(first, span, &bytes)?;
            log.presses.reuse(bytes);
        }
        let Some(first) = log.draft.first() else { return Ok(()) };
        let (span, bytes) = (log.draft.len(), log.draft.write(first, &mut log.press));
        log.draft.clear();
        self.put_group(first, span, &bytes)
    }

    fn put_group(&self, first: u32, span: u32, bytes: &[u8]) -> Result<()> {
        let mut insert = self.conn.prepare_cached("INSERT OR REPLACE INTO log VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute((
            first,
            span,
            read::checksum(&[&first.to_le_bytes(), &span.to_le_bytes(), bytes]),
            bytes,
        ))?;
        Ok(())
    }

    /// Gives an event to another identifier, or to none.
    pub(crate) fn give_event(&self, event: i64, owner: Option<Node>) -> Result<()> {
        self.catch_up()?;
        let event = number(event)?;
        let owner = owner.map_or(NOBODY, |owner| owner.0);
        {
            let mut log = self.log.borrow_mut();
            log.changed = true;
            if let Some(entry) = log.draft.entry_mut(event) {
                entry.node = owner;
                log.tail.give(event, owner);
                return Ok(());
            }
        }
        let known = self.log.borrow().tail.get(event);
        let entry = match known {
            Some(entry) => entry,
            None => self.with_text(event, |text| text.entry)?,
        };
        let mut log = self.log.borrow_mut();
        if entry.node == owner {
            self.conn.prepare_cached("DELETE FROM moved WHERE event = ?1")?.execute([event])?;
            log.moves.forget(event);
        } else {
            let sql = "INSERT OR REPLACE INTO moved VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (node, was) = (node(owner), node(entry.node));
            let (node, was) = (node.map(|node| node.0), was.map(|node| node.0));
            let row = (event, node, was, entry.at, entry.name, entry.source);
            self.conn.prepare_cached(sql)?.execute(row)?;
            log.moves.put(Moved { entry, node: owner });
        }
        drop(log);
        self.note_moves()
    }

    /// Tells every connection that other events have moved.
    fn note_moves(&self) -> Result<()> {
        let mut log = self.log.borrow_mut();
        let moved = log.moved.unwrap_or(0) + 1;
        log.moved = Some(moved);
        log.changed = true;
        drop(log);
        self.set(MOVES, moved)
    }

    /// All seals, by range.
    fn seals(&self) -> Result<Vec<Seal>> {
        let mut select = self.conn.prepare_cached(
            "SELECT block, first_rank, last_rank, first_at, last_at, count FROM blocks WHERE seal = ?1
             ORDER BY first_rank, last_rank, first_at, last_at, count, block",
        )?;
        let mut seals = self
            .conn
            .prepare_cached("SELECT seal, level, first, until, buckets FROM seals ORDER BY first")?;
        let rows = seals.query_map([], |row| {
            Ok(Seal {
                number: row.get(0)?,
                level: row.get(1)?,
                first: row.get(2)?,
                until: row.get(3)?,
                buckets: row.get(4)?,
                blocks: Vec::new(),
                bloom: None,
            })
        })?;
        let mut seals: Vec<Seal> = rows.collect::<rusqlite::Result<_>>()?;
        for seal in &mut seals {
            // As many as it has ids at most: a number that is damaged must not be counted through.
            if seal.buckets > ids::buckets(seal.until.saturating_sub(seal.first) as usize) {
                return Err(damaged(format!("the seal {} has {} buckets", seal.number, seal.buckets)));
            }
            let places = select.query_map([seal.number], |row| {
                Ok(Place {
                    block: row.get(0)?,
                    ranks: (row.get(1)?, row.get(2)?),
                    times: (row.get(3)?, row.get(4)?),
                    count: row.get(5)?,
                })
            })?;
            seal.blocks = places.collect::<rusqlite::Result<_>>()?;
        }
        Ok(seals)
    }

    /// All events that have moved.
    fn moves(&self) -> Result<Moves> {
        let mut moves = Moves::default();
        let mut select = self.conn.prepare_cached("SELECT event, node, was, at, name, source FROM moved")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let node = |place| row.get::<_, Option<u32>>(place).map(|node| node.unwrap_or(NOBODY));
            let entry = Entry {
                node: node(2)?,
                at: row.get(3)?,
                event: row.get(0)?,
                name: row.get(4)?,
                source: row.get(5)?,
            };
            moves.put(Moved { entry, node: node(1)? });
        }
        Ok(moves)
    }

    /// The text of a name.
    fn name_of(&self, name: u32) -> Result<String> {
        let place = name as usize;
        if let Some(text) = self.log.borrow().names.get(place).filter(|text| !text.is_empty()) {
            return Ok(text.clone());
        }
        let mut select = self.conn.prepare_cached("SELECT text FROM event_names WHERE name = ?1")?;
        let text: Option<String> = select.query_row([name], |row| row.get(0)).optional()?;
        let text = text.ok_or_else(|| damaged(format!("an event with the name {name}, which is missing")))?;
        let mut log = self.log.borrow_mut();
        if log.names.len() <= place {
            log.names.resize(place + 1, String::new());
        }
        log.names[place].clone_from(&text);
        Ok(text)
    }
}
