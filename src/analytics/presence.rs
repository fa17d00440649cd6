//! In which periods people did something, noted while events are read: where a question asks no more of events, a bit for each
//! person and period is all that has to be kept.

use std::ops::Range;

use super::calendar::{Interval, Periods, wider};
use super::counter::Batch;
use super::parallel::{Watch, in_parallel};
use super::scope::Scope;
use crate::clock::{Timestamp, Zone};
use crate::error::Result;

/// What a question asks of the periods in which people did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sought {
    /// How many conditions are told apart: the first ones.
    pub(crate) kinds: usize,
    /// What happened before the range counts for the periods in which it did.
    pub(crate) past: bool,
    /// Who met the first condition before the range is to be known.
    pub(crate) early: bool,
}

/// How many bytes of bits a core keeps at most: 32 MiB, and in debug builds so few that tests have more. All that any event
/// of the log can lie in are kept, so one of long ago may take too many.
const BYTES: usize = if cfg!(debug_assertions) { 1 << 7 } else { 1 << 25 };

/// Rows of so many bytes are counted by what they are, before it is looked at what that is.
const FEW: usize = 2;

/// That is done for people who are this part of all such rows, or more; in debug builds always.
const PART: usize = if cfg!(debug_assertions) { usize::MAX } else { 16 };

/// Bits in rows.
#[derive(Debug, Clone)]
pub(super) struct Bits {
    /// How many bytes a row has.
    width: usize,
    bytes: Vec<u8>,
}

impl Bits {
    /// None set. `None` if there are more than are kept.
    pub(super) fn new(rows: usize, bits: usize) -> Option<Self> {
        let width = bits.div_ceil(8).max(1);
        let bytes = rows.checked_mul(width).filter(|bytes| *bytes <= BYTES)?;
        Some(Self { width, bytes: vec![0; bytes] })
    }

    /// The same without what was set.
    pub(super) fn blank(&self) -> Self {
        Self { width: self.width, bytes: vec![0; self.bytes.len()] }
    }

    #[inline]
    pub(super) fn set(&mut self, row: usize, bit: usize) {
        self.bytes[row * self.width + bit / 8] |= 1 << (bit % 8);
    }

    /// Sets what is set in another.
    pub(super) fn merge(&mut self, other: &Self) {
        self.bytes.iter_mut().zip(&other.bytes).for_each(|(own, other)| *own |= other);
    }
}

/// The bits that are set in a row, the lowest first.
#[inline]
fn bits(row: &[u8]) -> impl Iterator<Item = usize> + '_ {
    row.chunks(8).enumerate().flat_map(|(place, bytes)| {
        let mut word = [0; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        let mut left = u64::from_le_bytes(word);
        std::iter::from_fn(move || {
            let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(place * 64 + bit)
        })
    })
}

/// The periods of an answer in which somebody met conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Periodic<'p> {
    row: &'p [u8],
    kinds: usize,
    first: usize,
}

impl<'p> Periodic<'p> {
    fn kind(self, kind: usize) -> &'p [u8] {
        let width = self.row.len() / self.kinds;
        &self.row[kind * width..(kind + 1) * width]
    }

    /// Those of one of the conditions, the first ones first.
    #[inline]
    pub(super) fn of(self, kind: usize) -> impl Iterator<Item = usize> + 'p {
        bits(self.kind(kind)).map(move |period| period - self.first)
    }

    /// The last of them.
    pub(super) fn last(self, kind: usize) -> Option<usize> {
        let row = self.kind(kind);
        let place = row.iter().rposition(|byte| *byte != 0)?;
        Some(place * 8 + row[place].ilog2() as usize - self.first)
    }
}

/// In which periods people met conditions. See the module.
#[derive(Debug)]
pub(crate) struct Presence {
    interval: Interval,
    asked: Sought,
    /// Those that any event can lie in; once all is noted, those of the answer are some of them.
    periods: Periods,
    answered: Range<usize>,
    /// A row for each condition of each person.
    bits: Bits,
    /// Who met the first condition before the range begins; empty if that is not asked.
    early: Vec<bool>,
    /// The first instant of the range, where what is before it is none of its periods.
    from: i64,
    events: usize,
    span: Option<(i64, i64)>,
    /// The periods of the events of a batch; kept for its space.
    found: Vec<usize>,
}

impl Presence {
    /// Nothing yet, of events between two instants, and of so many people. `None` if there are more periods of people than
    /// are kept.
    pub(crate) fn new(
        interval: Interval,
        asked: Sought,
        scope: &Scope,
        zone: &Zone,
        between: Option<(i64, i64)>,
        people: usize,
    ) -> Option<Self> {
        let from = scope.from.filter(|_| !asked.past).map_or(i64::MIN, Timestamp::as_micros);
        let periods = Self::asked_of(interval, asked, scope, zone, between)?;
        let bits = Bits::new(people.checked_mul(asked.kinds)?, periods.len())?;
        let early = vec![false; if asked.early && scope.from.is_some() { people } else { 0 }];
        let answered = 0..periods.len();
        Some(Self {
            interval,
            asked,
            periods,
            answered,
            bits,
            early,
            from,
            events: 0,
            span: None,
            found: Vec::new(),
        })
    }

    /// The periods of events between two instants; where the past counts, those of the range too.
    fn asked_of(
        interval: Interval,
        asked: Sought,
        scope: &Scope,
        zone: &Zone,
        between: Option<(i64, i64)>,
    ) -> Option<Periods> {
        if !asked.past {
            let inside = |(first, last): (i64, i64)| {
                (first.max(scope.from.map_or(i64::MIN, Timestamp::as_micros)), last)
            };
            return Periods::covering(interval, zone, between.map(inside), "period").ok();
        }
        let first = scope.from.into_iter().chain(between.map(|(first, _)| Timestamp::from_micros(first)));
        let scope = Scope { from: first.min(), until: scope.until, ..Scope::default() };
        Periods::asked(interval, zone, &scope, between).ok()
    }

    /// The same without what was noted.
    pub(crate) fn blank(&self) -> Self {
        Self {
            periods: self.periods.clone(),
            answered: self.answered.clone(),
            bits: self.bits.blank(),
            early: vec![false; self.early.len()],
            events: 0,
            span: None,
            found: Vec::new(),
            ..*self
        }
    }

    /// Notes events.
    pub(crate) fn add(&mut self, events: &Batch<'_>) {
        let Self { asked, periods, bits, early, found, .. } = self;
        self.events += events.times.len();
        let times = || events.times.iter().copied().filter(|at| *at >= self.from);
        self.span = wider(self.span, times().min().zip(times().max()));
        // One after the other: so a core need not wait for what is far in memory.
        found.clear();
        let finder = periods.finder();
        found.extend(events.times.iter().map(|at| finder.of(*at)));
        let events = events.times.iter().zip(events.people).zip(events.masks).zip(found);
        for (((at, who), mask), period) in events {
            let who = *who as usize;
            if *at < self.from {
                if let Some(early) = early.get_mut(who) {
                    *early |= mask & 1 != 0;
                }
                continue;
            }
            for kind in 0..asked.kinds {
                if mask & 1 << kind != 0 {
                    bits.set(who * asked.kinds + kind, *period);
                }
            }
        }
    }

    /// Adds what another has noted of other events.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.bits.merge(&other.bits);
        self.early.iter_mut().zip(&other.early).for_each(|(own, other)| *own |= other);
        self.events += other.events;
        self.span = wider(self.span, other.span);
    }

    /// What was noted in the periods of the answer, now that it is known which those are. `None` if they are none of those in
    /// which it was noted.
    pub(crate) fn settled(self, scope: &Scope, zone: &Zone) -> Option<Self> {
        let periods = Self::asked_of(self.interval, self.asked, scope, zone, self.span)?;
        let answered = self.periods.find(&periods)?;
        Some(Self { answered, ..self })
    }

    /// How many events were looked at.
    pub(crate) fn len(&self) -> usize {
        self.events
    }

    /// The first and the last instant of events that were noted.
    pub(super) fn span(&self) -> Option<(i64, i64)> {
        self.span
    }

    /// The periods of the answer.
    pub(super) fn periods(&self) -> Periods {
        self.periods.some(self.answered.clone())
    }

    /// Calls `each` with the periods of the answer in which people met conditions, but for those who met the first one before
    /// the range began; and with how many they are who met them in these periods.
    pub(super) fn each(&self, people: Range<usize>, mut each: impl FnMut(Periodic<'_>, u64)) {
        let kinds = self.asked.kinds;
        let first = self.answered.start;
        let width = self.bits.width * kinds;
        let is_meant = |person: &usize| !self.early.get(*person).copied().unwrap_or(false);
        let patterns = 1_usize << (8 * width.min(FEW));
        let are_many = width <= FEW && people.len() >= patterns / PART;
        let rows =
            people.filter(is_meant).map(|person| &self.bits.bytes[person * width..(person + 1) * width]);
        if !are_many {
            return rows.for_each(|row| each(Periodic { row, kinds, first }, 1));
        }
        let mut counts = vec![0_u64; patterns];
        for row in rows {
            counts[row.iter().rev().fold(0, |all, byte| all << 8 | usize::from(*byte))] += 1;
        }
        for (pattern, many) in counts.into_iter().enumerate().filter(|(_, many)| *many > 0) {
            each(Periodic { row: &pattern.to_le_bytes()[..width], kinds, first }, many);
        }
    }

    /// Does `count` for everybody, some people at a time, on all cores.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn for_everybody<T: Send>(
        &self,
        watch: &Watch<'_>,
        count: impl Fn(Range<usize>) -> T + Sync,
    ) -> Result<Vec<T>> {
        let people = self.bits.bytes.len() / (self.bits.width * self.asked.kinds);
        let each = people.div_ceil(PIECES).max(1);
        let pieces = (0..people).step_by(each).map(|first| first..people.min(first + each));
        in_parallel(pieces.collect(), watch, self.events, count)
    }
}

/// Into so many pieces everybody is cut.
const PIECES: usize = 16;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_are_what_was_set_in_any_half(
            width in 1_usize..100,
            set in prop::collection::vec((0_usize..3, any::<prop::sample::Index>(), any::<bool>()), 0..60),
        ) {
            let Some(mut all) = Bits::new(3, width) else { return Err(TestCaseError::reject("too many")) };
            let mut other = all.blank();
            let mut expected = vec![BTreeSet::new(); 3];
            for (row, bit, is_first) in set {
                let bit = bit.index(width);
                if is_first { all.set(row, bit) } else { other.set(row, bit) }
                expected[row].insert(bit);
            }
            all.merge(&other);
            for (row, expected) in all.bytes.chunks(all.width).zip(expected) {
                prop_assert!(bits(row).eq(expected.iter().copied()));
                let periodic = Periodic { row, kinds: 1, first: 0 };
                prop_assert_eq!(periodic.last(0), expected.last().copied());
            }
        }
    }

    #[test]
    fn more_than_is_kept_is_not_begun() {
        assert!(Bits::new(BYTES, 8).is_some());
        assert!(Bits::new(BYTES, 9).is_none());
        assert!(Bits::new(usize::MAX, 16).is_none());
    }
}
