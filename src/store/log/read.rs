//! Ways into the log by number, by person, and in order.

use std::cmp::Reverse;
use std::sync::Arc;

use rusqlite::Row;

use super::block::{Block, Entry, NOBODY};
use super::group::{Group, Text};
use super::press::Press;
use super::{Log, Place, node, number};
use crate::clock::Timestamp;
use crate::identity::Node;
use crate::store::packed::damaged;
use crate::store::{Db, Result, StoredEvent};

/// The checksum of a piece of bytes with what belongs to it.
pub(super) fn checksum(parts: &[&[u8]]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for part in parts {
        crc.update(part);
    }
    crc.finalize()
}

/// A group of a row, its first number, and how many numbers it covers.
pub(super) fn group(row: &Row<'_>, press: &mut Press) -> Result<(u32, u32, Group)> {
    let (first, span): (u32, u32) = (row.get(0)?, row.get(1)?);
    let crc: u32 = row.get(2)?;
    let bytes = row.get_ref(3)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok((first, span, sound_group(first, span, crc, bytes, press)?))
}

/// A group, if it says what its checksum does.
pub(super) fn sound_group(first: u32, span: u32, crc: u32, bytes: &[u8], press: &mut Press) -> Result<Group> {
    let sound = crc == checksum(&[&first.to_le_bytes(), &span.to_le_bytes(), bytes]);
    let group = if sound { Group::read(first, bytes, press) } else { None };
    let within = |group: &Group| group.iter().all(|text| text.entry.event - first < span);
    let group = group.filter(within);
    group.ok_or_else(|| {
        damaged(format!("the group of the log from event {first} on contradicts its checksum"))
    })
}

/// An event of a node, as long as it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'r> {
    pub(crate) event: u32,
    pub(crate) at: Timestamp,
    pub(crate) name: &'r str,
    /// Empty if it was not asked for, and the same below.
    pub(crate) message_id: &'r str,
    pub(crate) json: &'r str,
    /// Whether its text would have been asked for, if it were not known.
    pub(crate) is_known: bool,
}

/// Which events of somebody are looked at, by name, and into which.
pub(crate) struct Look<'l> {
    pub(crate) wanted: &'l dyn Fn(&str) -> bool,
    pub(crate) opened: &'l dyn Fn(&str) -> bool,
    /// By number, whose texts are not needed all the same.
    pub(crate) known: &'l dyn Fn(u32) -> bool,
}

impl Db {
    /// The block at a place.
    pub(super) fn block(&self, place: &Place) -> Result<Arc<Block>> {
        let log = self.log.borrow();
        if let Some(block) = log.shared.room().block(place.block) {
            return Ok(block);
        }
        let mut select = self.conn.prepare_cached("SELECT crc, bytes FROM blocks WHERE block = ?1")?;
        let (crc, bytes): (u32, Vec<u8>) =
            select.query_row([place.block], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let block = if crc == block_checksum(place, &bytes) { Block::read(bytes) } else { None };
        let block = block.filter(|block| block.len() == place.count as usize);
        let block = block.ok_or_else(|| {
            damaged(format!("the block {} of columns contradicts its checksum", place.block))
        })?;
        let block = Arc::new(block);
        if log.fresh.is_none_or(|fresh| place.block < fresh) {
            log.shared.room().keep_block(place.block, &block);
        }
        Ok(block)
    }

    /// The message ids of events, one after the other.
    pub(crate) fn message_ids(&self, events: &[u32]) -> Result<Vec<String>> {
        self.catch_up()?;
        events.iter().map(|event| self.with_text(*event, |text| text.id.to_owned())).collect()
    }

    /// Looks at an event with its texts.
    pub(super) fn with_text<T>(&self, event: u32, look: impl FnOnce(Text<'_>) -> T) -> Result<T> {
        self.find_text(event, look)?
            .ok_or_else(|| damaged(format!("the event {event} is missing in the log")))
    }

    /// The same, if it has not been taken out of the log.
    fn find_text<T>(&self, event: u32, look: impl FnOnce(Text<'_>) -> T) -> Result<Option<T>> {
        self.looked_at(1)?;
        {
            let log = self.log.borrow();
            if let Some(text) = log.draft.get(event).or_else(|| log.presses.get(event)) {
                return Ok(Some(look(text)));
            }
        }
        Ok(self.group_of(event)?.get(event).map(look))
    }

    /// The group that covers a number.
    fn group_of(&self, event: u32) -> Result<Arc<Group>> {
        let mut log = self.log.borrow_mut();
        let log = &mut *log;
        let known = log.groups.near(event);
        if let Some(group) = known {
            return Ok(group);
        }
        let mut select = self.conn.prepare_cached(
            "SELECT first, span, crc, bytes FROM log WHERE first <= ?1 ORDER BY first DESC LIMIT 1",
        )?;
        let mut rows = select.query([event])?;
        let row = rows.next()?.ok_or_else(|| damaged(format!("the event {event} is missing in the log")))?;
        let (first, span, group) = group(row, &mut log.press)?;
        let group = Arc::new(group);
        log.groups.keep(first, span, Arc::clone(&group));
        Ok(group)
    }

    fn stored(&self, entry: Entry) -> Result<StoredEvent> {
        let name = self.name_of(entry.name)?;
        self.with_text(entry.event, |text| StoredEvent {
            node: node(entry.node),
            at: Timestamp::from_micros(entry.at),
            name,
            source: entry.source,
            message_id: text.id.to_owned(),
            json: text.json.to_owned(),
        })
    }

    /// One event of the log.
    pub(crate) fn event(&self, event: i64) -> Result<StoredEvent> {
        self.catch_up()?;
        let event = number(event)?;
        let entry = self.with_text(event, |text| text.entry)?;
        self.stored(Entry { node: self.owner(&entry), ..entry })
    }

    /// Whose an event is by now.
    fn owner(&self, entry: &Entry) -> u32 {
        self.log.borrow().moves.owner(entry.event, entry.node)
    }

    /// All events of a node, in no order.
    pub(super) fn entries_of(&self, node: u32) -> Result<Vec<Entry>> {
        self.catch_up()?;
        let places = self.log.borrow().places_of(node);
        let mut found = Vec::new();
        for place in places {
            let block = self.block(&place)?;
            let rank = self.log.borrow().order.rank(node);
            let own = rank.into_iter().flat_map(|rank| block.entries_of(rank));
            found.extend(own.map(|entry| Entry { node, ..entry }));
        }
        let log = self.log.borrow();
        found.extend(log.tail.of(node));
        if !log.moves.by_event.is_empty() {
            // Columns may hold as nobody's what was given to nobody: all that moved comes from one place.
            found.retain(|entry| !log.moves.by_event.contains_key(&entry.event));
            found.extend(log.moves.to(node));
        }
        drop(log);
        self.looked_at(found.len())?;
        Ok(found)
    }

    /// How often events of the log were edited, or given to others for good, as far as is known.
    pub(crate) fn edits(&self) -> i64 {
        self.log.borrow().edits
    }

    /// Calls `each` with every event of some nodes whose name is wanted, in no order. Texts are empty unless they are asked
    /// for.
    pub(crate) fn events_of(
        &self,
        nodes: &[Node],
        look: &Look<'_>,
        mut each: impl FnMut(Seen<'_>),
    ) -> Result<()> {
        let mut names: Vec<(u32, Option<(String, bool)>)> = Vec::new();
        for node in nodes {
            for entry in self.entries_of(node.0)? {
                if !names.iter().any(|(name, _)| *name == entry.name) {
                    let text = self.name_of(entry.name)?;
                    let contents = (look.opened)(&text);
                    names.push((entry.name, (look.wanted)(&text).then_some((text, contents))));
                }
                let known = names.iter().find(|(name, _)| *name == entry.name);
                let Some((name, contents)) = known.and_then(|(_, text)| text.as_ref()) else { continue };
                let (event, at) = (entry.event, Timestamp::from_micros(entry.at));
                let is_known = *contents && (look.known)(event);
                if *contents && !is_known {
                    self.with_text(event, |text| {
                        each(Seen { event, at, name, message_id: text.id, json: text.json, is_known });
                    })?;
                } else {
                    each(Seen { event, at, name, message_id: "", json: "", is_known });
                }
            }
        }
        Ok(())
    }

    /// Up to `limit` of the events of some nodes, the newest first: by time, then by message id.
    pub(crate) fn latest_events_of(&self, nodes: &[Node], limit: usize) -> Result<Vec<StoredEvent>> {
        let mut entries = Vec::new();
        for node in nodes {
            entries.append(&mut self.entries_of(node.0)?);
        }
        entries.sort_unstable_by_key(|entry| Reverse((entry.at, entry.event)));
        // Of the last instant, all: their message ids say which of them are in.
        if let Some(last) = limit.checked_sub(1).and_then(|last| entries.get(last)).map(|entry| entry.at) {
            entries.retain(|entry| entry.at >= last);
        } else if limit == 0 {
            entries.clear();
        }
        let mut events: Vec<StoredEvent> =
            entries.into_iter().map(|entry| self.stored(entry)).collect::<Result<_>>()?;
        events.sort_by(|a, b| (b.at, &b.message_id).cmp(&(a.at, &a.message_id)));
        events.truncate(limit);
        Ok(events)
    }

    /// When a node's first and last events happened, and how many it has.
    pub(crate) fn span_of(&self, node: Node) -> Result<Option<(Timestamp, Timestamp, u64)>> {
        let entries = self.entries_of(node.0)?;
        let times = || entries.iter().map(|entry| Timestamp::from_micros(entry.at));
        Ok(times().min().zip(times().max()).map(|(first, last)| (first, last, entries.len() as u64)))
    }

    /// The numbers and times of all events, by time and then by message id.
    pub(crate) fn log(&self) -> Result<Vec<(Timestamp, i64)>> {
        let mut entries = Vec::new();
        self.each_entry(|entry| entries.push((entry.at, entry.event)))?;
        self.in_order(entries)
    }

    /// The numbers and times of the events of some nodes, and of some that are nobody's, by time and then by message id.
    pub(crate) fn log_of(&self, nodes: &[Node], orphans: &[i64]) -> Result<Vec<(Timestamp, i64)>> {
        self.catch_up()?;
        let mut found = Vec::new();
        for node in nodes {
            found.extend(self.entries_of(node.0)?.into_iter().map(|entry| (entry.at, entry.event)));
        }
        for orphan in orphans {
            let event = number(*orphan)?;
            let entry = self.find_text(event, |text| text.entry)?;
            if let Some(entry) = entry.filter(|entry| self.owner(entry) == NOBODY) {
                found.push((entry.at, event));
            }
        }
        self.in_order(found)
    }

    /// Sorts events by time, and those of one instant by message id.
    fn in_order(&self, mut events: Vec<(i64, u32)>) -> Result<Vec<(Timestamp, i64)>> {
        events.sort_unstable();
        events.dedup();
        let mut start = 0;
        while start < events.len() {
            let at = events[start].0;
            let end = start + events[start..].iter().take_while(|event| event.0 == at).count();
            if end - start > 1 {
                let id = |event: &(i64, u32)| self.with_text(event.1, |text| (text.id.to_owned(), event.1));
                let mut ids: Vec<(String, u32)> = events[start..end].iter().map(id).collect::<Result<_>>()?;
                ids.sort_unstable();
                events[start..end].iter_mut().zip(ids).for_each(|(event, (_, number))| event.1 = number);
            }
            start = end;
        }
        Ok(events.into_iter().map(|(at, event)| (Timestamp::from_micros(at), event.into())).collect())
    }

    /// Calls `each` with every event of the log, whoever has it by now, in no order.
    pub(super) fn each_entry(&self, mut each: impl FnMut(Entry)) -> Result<()> {
        self.catch_up()?;
        let places: Vec<Place> = self.log.borrow().places().collect();
        let owned =
            |log: &Log, entry: Entry| Entry { node: log.moves.owner(entry.event, entry.node), ..entry };
        for place in places {
            let block = self.block(&place)?;
            self.looked_at(block.len())?;
            let log = self.log.borrow();
            block.entries().for_each(|entry| each(owned(&log, log.unranked(entry))));
        }
        let log = self.log.borrow();
        log.tail.entries().iter().for_each(|entry| each(owned(&log, *entry)));
        Ok(())
    }

    /// Calls `each` with the number, the time, the owner, the name and the source of every event that had happened by an
    /// instant.
    pub(crate) fn visit_old(
        &self,
        until: Timestamp,
        mut each: impl FnMut(i64, Timestamp, Option<Node>, u32, u32),
    ) -> Result<()> {
        self.each_entry(|entry| {
            if entry.at <= until.as_micros() {
                let at = Timestamp::from_micros(entry.at);
                each(entry.event.into(), at, node(entry.node), entry.name, entry.source);
            }
        })
    }

    /// How many events the log has, and how many of them are nobody's.
    pub(crate) fn count_events(&self) -> Result<(u64, u64)> {
        self.catch_up()?;
        let orphans = self.entries_of(NOBODY)?.len() as u64;
        let log = self.log.borrow();
        let sealed: u64 = log.places().map(|place| u64::from(place.count)).sum();
        Ok((sealed + log.tail.len() as u64, orphans))
    }

    /// How many blocks of columns there are, and how many events are in none yet.
    pub(crate) fn count_blocks(&self) -> Result<(u64, u64)> {
        self.catch_up()?;
        let log = self.log.borrow();
        Ok((log.places().count() as u64, log.tail.len() as u64))
    }
}

impl Log {
    /// All blocks.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        self.seals.iter().flat_map(|seal| seal.blocks.iter().copied())
    }

    /// The blocks that may have events of a node.
    fn places_of(&self, node: u32) -> Vec<Place> {
        let (Some(rank), mut found) = (self.order.rank(node), Vec::new()) else { return Vec::new() };
        for seal in &self.seals {
            let start = seal.blocks.partition_point(|place| place.ranks.1 < rank);
            found.extend(seal.blocks[start..].iter().take_while(|place| place.ranks.0 <= rank));
        }
        found
    }
}

impl super::Groups {
    /// The group that covers a number, if it is at hand.
    fn near(&self, event: u32) -> Option<Arc<Group>> {
        let (first, (group, span)) = self.by_first.range(..=event).next_back()?;
        (event - first < *span).then(|| Arc::clone(group))
    }
}

/// The checksum of a block with what is said of it.
pub(super) fn block_checksum(place: &Place, bytes: &[u8]) -> u32 {
    let Place { block: _, ranks, times, count } = place;
    let (ranks, times) = ([ranks.0, ranks.1, *count], [times.0, times.1]);
    let ranks: Vec<u8> = ranks.iter().flat_map(|number| number.to_le_bytes()).collect();
    let times: Vec<u8> = times.iter().flat_map(|number| number.to_le_bytes()).collect();
    checksum(&[&ranks, &times, bytes])
}
