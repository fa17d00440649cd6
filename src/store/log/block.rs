//! Columns of sealed events: who, when, what, and the number under which the log has the rest.
//!
//! The events of a block are sorted by node, by time and by number, so a person's are found by a search among its nodes,
//! and a question about everybody goes through the columns that it needs. Bytes, numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the way that the rest is written: 1 |
//! | 4 | how many events |
//! | 4 | how many different nodes |
//! | 8 | by how many microseconds the times are divided: 1, 1,000 or 1,000,000 |
//! | column | the nodes |
//! | column | of each node the place of its first event |
//! | column | the times, divided, plus 2^63 |
//! | column | the numbers of the events |
//! | column | the numbers of their names |
//! | column | the numbers of their sources |
//!
//! A column is as [`pack`] describes it. An event that is nobody's has the node 2^32 − 1.

#![expect(
    clippy::cast_possible_truncation,
    reason = "columns hold what was a u32 or a place before it was packed"
)]

use std::ops::Range;

use super::pack::{self, Column, Numbers};

/// The node of events that are nobody's.
pub(super) const NOBODY: u32 = u32::MAX;

const WAY: u8 = 1;

/// An event, but for its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) node: u32,
    /// Microseconds.
    pub(super) at: i64,
    pub(super) event: u32,
    pub(super) name: u32,
    pub(super) source: u32,
}

/// Writes events, which must be sorted, as a block.
pub(super) fn write(entries: &[Entry]) -> Vec<u8> {
    let mut out = vec![WAY];
    let len = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
    let starts: Vec<usize> = (0..entries.len())
        .filter(|place| *place == 0 || entries[place - 1].node != entries[*place].node)
        .collect();
    out.extend(len(entries.len()));
    out.extend(len(starts.len()));
    let divides = |unit: &&i64| entries.iter().all(|entry| entry.at % **unit == 0);
    let unit = *[1_000_000, 1_000].iter().find(divides).unwrap_or(&1);
    out.extend(unit.to_le_bytes());
    pack::write(starts.iter().map(|start| entries[*start].node.into()), &mut out);
    pack::write(starts.iter().map(|start| *start as u64), &mut out);
    pack::write(entries.iter().map(|entry| (entry.at / unit).cast_unsigned() ^ SIGN), &mut out);
    pack::write(entries.iter().map(|entry| entry.event.into()), &mut out);
    pack::write(entries.iter().map(|entry| entry.name.into()), &mut out);
    pack::write(entries.iter().map(|entry| entry.source.into()), &mut out);
    out
}

/// Makes negative numbers the lower ones.
const SIGN: u64 = 1 << 63;

/// A block, read.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    count: usize,
    runs: usize,
    unit: i64,
    nodes: Column,
    starts: Column,
    times: Column,
    events: Column,
    names: Column,
    sources: Column,
}

impl Block {
    /// Reads a block. `None` if it is not made so.
    pub(super) fn read(bytes: Vec<u8>) -> Option<Self> {
        let (way, head) = bytes.split_first()?;
        let (count, head) = head.split_first_chunk()?;
        let (runs, head) = head.split_first_chunk()?;
        let unit = i64::from_le_bytes(*head.first_chunk()?);
        let (count, runs) = (u32::from_le_bytes(*count) as usize, u32::from_le_bytes(*runs) as usize);
        if *way != WAY || ![1, 1_000, 1_000_000].contains(&unit) {
            return None;
        }
        let mut rest = 17;
        let mut column = |count| Column::read(&bytes, &mut rest, count);
        let (nodes, starts) = (column(runs)?, column(runs)?);
        let (times, events, names, sources) =
            (column(count)?, column(count)?, column(count)?, column(count)?);
        // No two events have one number. So a few bytes cannot stand for as many events as one could not go through.
        if rest != bytes.len() || !events.can_tell_apart(count) {
            return None;
        }
        let block = Self { bytes, count, runs, unit, nodes, starts, times, events, names, sources };
        block.is_sound().then_some(block)
    }

    /// Whether nodes and where they begin are in order, as every search takes for granted.
    fn is_sound(&self) -> bool {
        let (nodes, starts) = (self.nodes.of(&self.bytes), self.starts.of(&self.bytes));
        let rising = |numbers: Numbers<'_>| (1..self.runs).all(|run| numbers.get(run - 1) < numbers.get(run));
        let begins = if self.count == 0 { self.runs == 0 } else { self.runs > 0 && starts.get(0) == 0 };
        begins
            && rising(nodes)
            && rising(starts)
            && (self.runs == 0
                || starts.get(self.runs - 1) < self.count as u64
                    && nodes.get(self.runs - 1) <= u64::from(NOBODY))
    }

    /// How many events it has.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The bytes that it takes in memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    /// The places of a node's events.
    pub(super) fn places_of(&self, node: u32) -> Range<usize> {
        let nodes = self.nodes.of(&self.bytes);
        let (mut low, mut high) = (0, self.runs);
        while low < high {
            let middle = usize::midpoint(low, high);
            if nodes.get(middle) < u64::from(node) { low = middle + 1 } else { high = middle }
        }
        if low < self.runs && nodes.get(low) == u64::from(node) { self.run(low) } else { 0..0 }
    }

    /// The places of the events of the node that stands `run`th.
    fn run(&self, run: usize) -> Range<usize> {
        let starts = self.starts.of(&self.bytes);
        let end = if run + 1 < self.runs { starts.get(run + 1) as usize } else { self.count };
        starts.get(run) as usize..end
    }

    /// The nodes, each with the places of its events.
    pub(super) fn runs(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let nodes = self.nodes.of(&self.bytes);
        (0..self.runs).map(move |run| (nodes.get(run) as u32, self.run(run)))
    }

    /// What stands in the columns, by place.
    pub(super) fn columns(&self) -> Columns<'_> {
        Columns {
            unit: self.unit,
            times: self.times.of(&self.bytes),
            events: self.events.of(&self.bytes),
            names: self.names.of(&self.bytes),
            sources: self.sources.of(&self.bytes),
        }
    }

    /// All events, sorted.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let columns = self.columns();
        self.runs().flat_map(move |(node, places)| places.map(move |place| columns.entry(node, place)))
    }
}

/// The columns of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Columns<'b> {
    unit: i64,
    times: Numbers<'b>,
    events: Numbers<'b>,
    names: Numbers<'b>,
    sources: Numbers<'b>,
}

impl Columns<'_> {
    #[inline]
    pub(super) fn at(&self, place: usize) -> i64 {
        (self.times.get(place) ^ SIGN).cast_signed().wrapping_mul(self.unit)
    }

    #[inline]
    pub(super) fn event(&self, place: usize) -> u32 {
        self.events.get(place) as u32
    }

    #[inline]
    pub(super) fn name(&self, place: usize) -> u32 {
        self.names.get(place) as u32
    }

    /// The name of all events, if they have the same.
    pub(super) fn only_name(&self) -> Option<u32> {
        self.names.only().map(|name| name as u32)
    }

    pub(super) fn entry(&self, node: u32, place: usize) -> Entry {
        let (at, event, name) = (self.at(place), self.event(place), self.name(place));
        Entry { node, at, event, name, source: self.sources.get(place) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let unit = prop::sample::select(vec![1, 1_000, 1_000_000]);
        let entry =
            (prop_oneof![0..9_u32, any::<u32>()], -9_i64..4_000_000_000, any::<u32>(), 0..5_u32, 0..2_u32);
        (unit, prop::collection::vec(entry, 0..80)).prop_map(|(unit, entries)| {
            let of = |(node, at, event, name, source)| Entry { node, at: at * unit, event, name, source };
            let mut entries: Vec<Entry> = entries.into_iter().map(of).collect();
            entries.sort_unstable_by_key(|entry| entry.event);
            entries.dedup_by_key(|entry| entry.event);
            entries.sort_unstable();
            entries
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(entries in entries()) {
            let block = Block::read(write(&entries)).unwrap();
            prop_assert_eq!(block.len(), entries.len());
            prop_assert_eq!(block.entries().collect::<Vec<_>>(), entries.clone());
            for node in entries.iter().map(|entry| entry.node).chain([3, NOBODY]) {
                let columns = block.columns();
                let found: Vec<Entry> = block.places_of(node).map(|place| columns.entry(node, place)).collect();
                let own: Vec<Entry> = entries.iter().filter(|entry| entry.node == node).copied().collect();
                prop_assert_eq!(found, own);
            }
        }

        #[test]
        fn bytes_that_are_no_block_are_told_or_read_as_some_events(
            entries in entries(),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = write(&entries);
            let mut flipped = whole.clone();
            flipped[at.index(whole.len())] ^= flip;
            if let Some(block) = Block::read(flipped) {
                prop_assert_eq!(block.entries().count(), block.len());
                block.places_of(3);
            }
            prop_assert!(Block::read(whole[..cut.index(whole.len())].to_vec()).is_none());
        }
    }
}
