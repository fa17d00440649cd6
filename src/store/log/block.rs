//! Columns of sealed events: who, when, what, and the number under which the log has the rest.
//!
//! The events of a block are grouped by name, and within a name sorted by the rank of their node (see [`arrange`]), by time
//! and by number. So a question about everybody goes through the columns of the names that it asks about and through no
//! others, and a person's events are found by a search in each of the names. Bytes, numbers little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | the way that the rest is written: 1 |
//! | 4 | how many events |
//! | 4 | how many parts |
//! | 8 | by how many microseconds the times are divided: 1, 1,000 or 1,000,000 |
//! | parts | the events of one name each, those with the lowest number first; those of all names that have few are one part, the last |
//!
//! A part:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | how many events |
//! | column | the ranks of the nodes |
//! | column | the times, divided, plus 2^63 |
//! | column | the numbers of the events |
//! | column | the numbers of their names |
//! | column | the numbers of their sources |
//!
//! A column is as [`pack`] describes it. An event that is nobody's has the node 2^32 − 1, and that as its rank.
//!
//! [`arrange`]: super::arrange

#![expect(clippy::cast_possible_truncation, reason = "columns hold what was a u32 before it was packed")]

use std::collections::BTreeMap;
use std::ops::Range;

use super::gauge::{Counts, Gauge};
use super::pack::{self, Column, Numbers};

/// The node of events that are nobody's, and its rank.
pub(super) const NOBODY: u32 = u32::MAX;

const WAY: u8 = 1;

/// What a block begins with.
const HEAD: usize = 17;

/// By how many microseconds times may be divided.
pub(super) const UNITS: [i64; 3] = [1, 1_000, 1_000_000];

/// A name with fewer events than that has no part of its own in a block.
const FEW: usize = if cfg!(test) { 2 } else { 64 };

/// An event, but for its texts. In a block its node is told by its rank.
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
    let mut by_name: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
    for entry in entries {
        by_name.entry(entry.name).or_default().push(*entry);
    }
    let (mut parts, mut rest) = (Vec::new(), Vec::new());
    for own in by_name.into_values() {
        if own.len() < FEW { rest.extend(own) } else { parts.push(own) }
    }
    if !rest.is_empty() {
        rest.sort_unstable();
        parts.push(rest);
    }
    let divides = |unit: &&i64| entries.iter().all(|entry| entry.at % **unit == 0);
    let unit = *UNITS.iter().rev().find(divides).unwrap_or(&1);
    let len = |count: usize| u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes();
    let mut out = vec![WAY];
    out.extend(len(entries.len()));
    out.extend(len(parts.len()));
    out.extend(unit.to_le_bytes());
    for part in parts {
        out.extend(len(part.len()));
        pack::write(part.iter().map(|entry| entry.node.into()), &mut out);
        pack::write(part.iter().map(|entry| (entry.at / unit).cast_unsigned() ^ SIGN), &mut out);
        pack::write(part.iter().map(|entry| entry.event.into()), &mut out);
        pack::write(part.iter().map(|entry| entry.name.into()), &mut out);
        pack::write(part.iter().map(|entry| entry.source.into()), &mut out);
    }
    out
}

/// Makes negative numbers of times the lower ones.
pub(super) const SIGN: u64 = 1 << 63;

/// A block, read.
#[derive(Debug)]
pub(super) struct Block {
    bytes: Vec<u8>,
    count: usize,
    unit: i64,
    parts: Vec<Columns>,
    /// Of each part the only name that its events have: to pass over one costs no look at its columns.
    names: Vec<Option<u32>>,
}

/// Where the columns of a part stand.
#[derive(Debug)]
struct Columns {
    /// The place of the first event among those of the block.
    first: usize,
    count: usize,
    ranks: Column,
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
        let (parts, head) = head.split_first_chunk()?;
        let unit = i64::from_le_bytes(*head.first_chunk()?);
        let (count, many) = (u32::from_le_bytes(*count) as usize, u32::from_le_bytes(*parts));
        if *way != WAY || !UNITS.contains(&unit) {
            return None;
        }
        let (mut rest, mut parts, mut names, mut found) = (HEAD, Vec::new(), Vec::new(), 0_usize);
        for _ in 0..many {
            let part = Columns::read(&bytes, &mut rest, found)?;
            found = found.checked_add(part.count)?;
            names.push(part.names.of(&bytes).only().map(|name| name as u32));
            parts.push(part);
        }
        (rest == bytes.len() && found == count).then_some(Self { bytes, count, unit, parts, names })
    }

    /// How many events it has.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The bytes that it takes in memory.
    pub(super) fn size(&self) -> usize {
        let of_part = size_of::<Columns>() + size_of::<Option<u32>>();
        self.bytes.len() + size_of::<Self>() + self.parts.len() * of_part
    }

    /// The events by name.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        self.parts_with(|_| true)
    }

    /// The parts that may have events with a name of which `is_wanted` is true.
    pub(super) fn parts_with(&self, is_wanted: impl Fn(u32) -> bool) -> impl Iterator<Item = Part<'_>> {
        let those = self.names.iter().zip(&self.parts);
        those.filter(move |(only, _)| only.is_none_or(&is_wanted)).map(|(only, columns)| Part {
            only: *only,
            first: columns.first,
            count: columns.count,
            unit: self.unit,
            ranks: columns.ranks.of(&self.bytes),
            times: columns.times.of(&self.bytes),
            events: columns.events.of(&self.bytes),
            names: columns.names.of(&self.bytes),
            sources: columns.sources.of(&self.bytes),
        })
    }

    /// All events.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.parts().flat_map(|part| (0..part.count).map(move |place| part.entry(place)))
    }

    /// The events of the node of a rank.
    pub(super) fn entries_of(&self, rank: u32) -> impl Iterator<Item = Entry> {
        self.parts().flat_map(move |part| part.places_of(rank).map(move |place| part.entry(place)))
    }
}

impl Columns {
    /// Reads the part at the beginning of `rest`, which is moved behind it; its first event has that place in the block.
    fn read(bytes: &[u8], rest: &mut usize, first: usize) -> Option<Self> {
        let count = u32::from_le_bytes(*bytes.get(*rest..)?.first_chunk()?) as usize;
        *rest += 4;
        let mut column = || Column::read(bytes, rest, count);
        let (ranks, times, events) = (column()?, column()?, column()?);
        let (names, sources) = (column()?, column()?);
        // No two events have one number. So a few bytes cannot stand for as many events as one could not go through.
        if count == 0 || !events.can_tell_apart(count) {
            return None;
        }
        // Every search takes for granted that ranks are in order.
        let own = ranks.of(bytes);
        let sorted = (1..count).all(|place| own.get(place - 1) <= own.get(place));
        (sorted && own.get(count - 1) <= u64::from(NOBODY)).then_some(Self {
            first,
            count,
            ranks,
            times,
            events,
            names,
            sources,
        })
    }
}

/// The events of one name in a block, or of several that have few.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part<'b> {
    only: Option<u32>,
    first: usize,
    count: usize,
    unit: i64,
    ranks: Numbers<'b>,
    times: Numbers<'b>,
    events: Numbers<'b>,
    names: Numbers<'b>,
    sources: Numbers<'b>,
}

impl Part<'_> {
    /// How many events it has.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The place of its first event among those of the block.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// The name of all events, if they have the same.
    pub(super) fn only_name(&self) -> Option<u32> {
        self.only
    }

    /// Whether any event is nobody's: that would be the last, for it has the highest rank.
    pub(super) fn is_any_nobodys(&self) -> bool {
        self.ranks.get(self.count - 1) == u64::from(NOBODY)
    }

    pub(super) fn name(&self, place: usize) -> u32 {
        self.names.get(place) as u32
    }

    /// What `map` makes of the ranks of some events, behind what `out` holds already; and so on.
    pub(super) fn ranks(&self, places: &Places<'_>, out: &mut Vec<u32>, map: impl Fn(u32) -> u32) {
        places.read(&self.ranks, out, |rank| map(rank as u32));
    }

    pub(super) fn times(&self, places: &Places<'_>, out: &mut Vec<i64>) {
        places.read(&self.times, out, |time| self.instant(time));
    }

    /// The places of the events among some that lie in a range, instead of what `out` held.
    pub(super) fn inside(&self, places: Range<usize>, (from, until): (i64, i64), out: &mut Vec<u32>) {
        // Up to the first number that means the instant, or a later one.
        let ceil = |at: i64| at.div_euclid(self.unit) + i64::from(at.rem_euclid(self.unit) > 0);
        let Some(last) = ceil(until).checked_sub(1) else { return out.clear() };
        let number = |time: i64| time.cast_unsigned() ^ SIGN;
        self.times.inside(places, number(ceil(from))..=number(last), out);
    }

    /// How many events that are somebody's there are between the instants of a gauge, if it can tell.
    pub(super) fn count<'c>(&self, gauge: &Gauge, counts: &'c mut Counts) -> Option<&'c [u32]> {
        let held = if self.is_any_nobodys() { self.places_of(NOBODY).start } else { self.count };
        Some(gauge.scale(self.unit)?.count(&self.times, held, counts))
    }

    pub(super) fn events(&self, places: &Places<'_>, out: &mut Vec<u32>) {
        places.read(&self.events, out, |event| event as u32);
    }

    #[inline]
    fn at(&self, place: usize) -> i64 {
        self.instant(self.times.get(place))
    }

    /// The microsecond that a number of the column of times means.
    #[inline]
    fn instant(&self, time: u64) -> i64 {
        (time ^ SIGN).cast_signed().wrapping_mul(self.unit)
    }

    pub(super) fn entry(&self, place: usize) -> Entry {
        Entry {
            node: self.ranks.get(place) as u32,
            at: self.at(place),
            event: self.events.get(place) as u32,
            name: self.name(place),
            source: self.sources.get(place) as u32,
        }
    }

    /// The places of the events of the node of a rank.
    fn places_of(&self, rank: u32) -> Range<usize> {
        let first = |is_before: &dyn Fn(u64) -> bool| {
            let (mut low, mut high) = (0, self.count);
            while low < high {
                let middle = usize::midpoint(low, high);
                if is_before(self.ranks.get(middle)) { low = middle + 1 } else { high = middle }
            }
            low
        };
        first(&|other| other < u64::from(rank))..first(&|other| other <= u64::from(rank))
    }
}

/// Some places of a part.
pub(super) enum Places<'p> {
    All(Range<usize>),
    /// These, in order.
    Some(&'p [u32]),
}

impl Places<'_> {
    fn read<T: Copy>(&self, numbers: &Numbers<'_>, out: &mut Vec<T>, map: impl Fn(u64) -> T) {
        match self {
            Self::All(places) => numbers.read(places.clone(), out, map),
            Self::Some(places) => numbers.pick(places, out, map),
        }
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
            let sorted = |read: &mut dyn Iterator<Item = Entry>| {
                let mut all: Vec<Entry> = read.collect();
                all.sort_unstable();
                all
            };
            prop_assert_eq!(sorted(&mut block.entries()), entries.clone());
            for node in entries.iter().map(|entry| entry.node).chain([3, NOBODY]) {
                let found = sorted(&mut block.entries_of(node));
                let own: Vec<Entry> = entries.iter().filter(|entry| entry.node == node).copied().collect();
                prop_assert_eq!(found, own);
            }
        }

        #[test]
        fn what_is_many_of_a_name_is_a_part_and_what_is_few_another(entries in entries()) {
            let block = Block::read(write(&entries)).unwrap();
            let of = |name: u32| entries.iter().filter(|entry| entry.name == name).count();
            let names: std::collections::BTreeSet<u32> = entries.iter().map(|entry| entry.name).collect();
            let (many, few): (Vec<u32>, Vec<u32>) = names.into_iter().partition(|name| of(*name) >= FEW);
            let parts: Vec<Part<'_>> = block.parts().collect();
            prop_assert_eq!(parts.len(), many.len() + usize::from(!few.is_empty()));
            for (part, name) in parts.iter().zip(&many) {
                prop_assert_eq!((part.only_name(), part.len()), (Some(*name), of(*name)));
            }
            for part in parts {
                let nobodys = (0..part.len()).filter(|place| part.entry(*place).node == NOBODY).count();
                prop_assert_eq!(part.is_any_nobodys(), nobodys > 0);
                let (mut nodes, mut times, mut events) = (Vec::new(), Vec::new(), Vec::new());
                let all = Places::All(0..part.len());
                for from in [i64::MIN, -1, 0, 999, 1_000, 1_999_999_999, i64::MAX] {
                    for until in [i64::MIN, -1, 0, 1, 1_000, 2_000_000_001, i64::MAX] {
                        let mut inside = vec![7];
                        part.inside(0..part.len(), (from, until), &mut inside);
                        let fits = |place: &u32| (from..until).contains(&part.entry(*place as usize).at);
                        let expected: Vec<u32> = (0..part.len() as u32).filter(fits).collect();
                        prop_assert_eq!(inside, expected);
                    }
                }
                let edges = [-9, 1_000_000_000, 2_000_000_001, 5_000_000_000];
                let gauge = Gauge::new(&edges, (0, i64::MAX));
                let held = || (0..part.len()).map(|place| part.entry(place)).filter(|entry| entry.node != NOBODY);
                let count = |between: &[i64]| {
                    let range = between[0].max(0)..between[1];
                    held().filter(|entry| range.contains(&entry.at)).count() as u32
                };
                let expected: Vec<u32> = edges.windows(2).map(count).collect();
                let mut counts = Counts::default();
                prop_assert_eq!(part.count(&gauge, &mut counts), Some(&expected[..]));
                part.ranks(&all, &mut nodes, |rank| rank);
                part.times(&all, &mut times);
                part.events(&all, &mut events);
                for place in 0..part.len() {
                    let Entry { node, at, event, .. } = part.entry(place);
                    prop_assert_eq!((nodes[place], times[place], events[place]), (node, at, event));
                }
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
                block.entries_of(3).for_each(drop);
            }
            prop_assert!(Block::read(whole[..cut.index(whole.len())].to_vec()).is_none());
        }
    }
}
