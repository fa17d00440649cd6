//! Which events can matter to an attempt at a funnel, found out while they are read, so that fewer have to be kept.
//!
//! Time is cut into a few stretches, and of each person a bit for each says whether an attempt may be under way in it. Events
//! are read in two turns: first those of names that an attempt can begin with, all of which count; and then all others, of
//! which those count that lie in such a stretch. Of very many people all events count, in one turn.

use std::sync::Arc;

use super::counter::{Batch, Turn};
use crate::clock::Span;

/// A bit for each stretch of time: so few that those of a million people lie close to a core.
type Stretches = u16;

/// Of so many people at most it is kept, by each core: 16 MiB; in tests so few that they have more.
const MOST: usize = if cfg!(any(test, debug_assertions)) { 1 << 5 } else { 1 << 23 };

/// What is known of people by their numbers.
#[derive(Debug)]
pub(super) struct Sieve {
    time: Time,
    people: usize,
    stage: Stage,
}

/// When attempts may be under way.
#[derive(Debug)]
enum Stage {
    All,
    /// This was found out; empty as long as nothing was read.
    Beginnings(Vec<Stretches>),
    Others(Arc<[Stretches]>),
    Done,
}

/// The stretches of time.
#[derive(Debug, Clone, Copy)]
struct Time {
    first: i64,
    /// How long the last instant is after the first, and how long an attempt lasts at most: in microseconds.
    span: u64,
    within: u64,
    /// So many bits of an instant are left out, and so much of the 2^32 that the others may say is a stretch.
    rough: u32,
    each: u64,
}

impl Time {
    fn new((first, last): (i64, i64), within: Option<Span>) -> Self {
        let span = last.abs_diff(first);
        let rough = (u64::BITS - span.leading_zeros()).saturating_sub(u32::BITS);
        let each = (u64::from(Stretches::BITS) << u32::BITS) / ((span >> rough) + 1);
        let within = within.map_or(u64::MAX, |within| within.as_micros().unsigned_abs());
        Self { first, span, within, rough, each }
    }

    /// Which stretch an instant lies in; a later one lies in no earlier stretch.
    #[inline]
    fn stretch(&self, since: u64) -> u64 {
        ((since.min(self.span) >> self.rough) * self.each) >> u32::BITS
    }

    /// Those in which an attempt may be under way that begins then.
    #[inline]
    fn behind(&self, at: i64) -> Stretches {
        let since = at.abs_diff(self.first);
        let (from, to) = (self.stretch(since), self.stretch(since.saturating_add(self.within)));
        let behind: Stretches = 2 << to;
        behind.wrapping_sub(1 << from)
    }

    /// Whether an instant lies in one of some.
    #[inline]
    fn is_in(&self, stretches: Stretches, at: i64) -> bool {
        stretches >> self.stretch(at.abs_diff(self.first)) & 1 != 0
    }
}

impl Sieve {
    /// Nothing is known yet of so many people, of events between two instants, and of attempts that last no longer than it
    /// says.
    pub(super) fn new(between: (i64, i64), within: Option<Span>, people: usize) -> Self {
        let stage = if people > MOST { Stage::All } else { Stage::Beginnings(Vec::new()) };
        Self { time: Time::new(between, within), people, stage }
    }

    /// The same without what was found out in this turn.
    pub(super) fn blank(&self) -> Self {
        let stage = match &self.stage {
            Stage::All => Stage::All,
            Stage::Beginnings(_) => Stage::Beginnings(Vec::new()),
            Stage::Others(under_way) => Stage::Others(Arc::clone(under_way)),
            Stage::Done => Stage::Done,
        };
        Self { stage, ..*self }
    }

    /// Which events are to be read now; none if all were.
    pub(super) fn turn(&self) -> Option<Turn> {
        match self.stage {
            Stage::All => Some(Turn::All),
            Stage::Beginnings(_) => Some(Turn::Beginnings),
            Stage::Others(_) => Some(Turn::Others),
            Stage::Done => None,
        }
    }

    /// What comes after this turn, of which these know what was found out.
    pub(super) fn next<'s>(&self, read: impl Iterator<Item = &'s Self>) -> Self {
        let Stage::Beginnings(_) = self.stage else { return Self { stage: Stage::Done, ..*self } };
        let mut all: Arc<[Stretches]> = vec![0; self.people].into();
        let whole = Arc::make_mut(&mut all);
        for one in read {
            if let Stage::Beginnings(found) = &one.stage {
                whole.iter_mut().zip(found).for_each(|(whole, found)| *whole |= found);
            }
        }
        Self { stage: Stage::Others(all), ..*self }
    }

    /// The places of the events that count.
    pub(super) fn sift(&mut self, events: &Batch<'_>, kept: &mut Vec<u32>) {
        kept.clear();
        let Self { time, people, stage } = self;
        let all = (0..).zip(events.times).map(|(place, _)| place);
        match stage {
            Stage::All => kept.extend(all),
            Stage::Beginnings(found) => {
                found.resize(*people, 0);
                for ((at, who), mask) in events.times.iter().zip(events.people).zip(events.masks) {
                    if mask & 1 != 0 {
                        found[*who as usize] |= time.behind(*at);
                    }
                }
                kept.extend(all);
            }
            Stage::Others(under_way) => {
                // All are written, and those that count are left: so a core need not guess.
                kept.resize(events.times.len(), 0);
                let mut many = 0;
                for (place, (at, who)) in (0..).zip(events.times.iter().zip(events.people)) {
                    kept[many] = place;
                    many += usize::from(time.is_in(under_way[*who as usize], *at));
                }
                kept.truncate(many);
            }
            Stage::Done => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::analytics::timeline::Mask;

    proptest! {
        /// Whatever an attempt can reach counts, and what comes before or long after does not.
        #[test]
        fn what_an_attempt_can_reach_counts(
            first in prop_oneof![Just(i64::MIN), -50_i64..50],
            span in prop_oneof![1_i64..40, 1_000_000_i64..4_000_000_000, 10_000_000_000_i64..1_000_000_000_000_000_000],
            begins in prop::collection::vec((0_u32..3, 0.0..1.0), 0..6),
            others in prop::collection::vec((0_u32..3, 0.0..1.0), 0..40),
            within in prop::option::of(0.001..0.3),
        ) {
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "small numbers")]
            let after = |share: f64| (span as f64 * share) as i64;
            let within = within.map(|share| after(share).max(1));
            let length = within.map(Span::from_micros);
            let events = |all: &[(u32, f64)]| -> (Vec<i64>, Vec<u32>, Vec<Mask>) {
                let times = all.iter().map(|(_, share)| first + after(*share)).collect();
                (times, all.iter().map(|(who, _)| *who).collect(), vec![1; all.len()])
            };
            let sieve = Sieve::new((first, first + span), length, 3);
            let (mut one, mut other, mut kept) = (sieve.blank(), sieve.blank(), Vec::new());
            prop_assert_eq!(sieve.turn(), Some(Turn::Beginnings));
            for (place, begin) in begins.iter().enumerate() {
                let (times, people, masks) = events(&[*begin]);
                let own = if place % 2 == 0 { &mut one } else { &mut other };
                own.sift(&Batch { times: &times, people: &people, masks: &masks, by: &[], amounts: &[] }, &mut kept);
                prop_assert_eq!(&kept, &[0]);
            }
            let mut sieve = sieve.next([&one, &other].into_iter());
            prop_assert_eq!(sieve.turn(), Some(Turn::Others));
            let (times, people, masks) = events(&others);
            sieve.sift(&Batch { times: &times, people: &people, masks: &masks, by: &[], amounts: &[] }, &mut kept);
            // As `each` is a whole number of 16 at least, a stretch may be longer than a sixteenth by a sixteenth of it.
            let stretch = span / i64::from(Stretches::BITS - 1) + 1 + (span >> 30);
            for (place, (who, at)) in (0..).zip(people.iter().zip(&times)) {
                let begun = begins.iter().filter(|(other, _)| other == who);
                let mut since = begun.map(|(_, share)| at.wrapping_sub(first) - after(*share));
                let near = |slack: i64| {
                    move |since: i64| since >= -slack && within.is_none_or(|within| since <= within + slack)
                };
                let counts = kept.contains(&place);
                if since.clone().any(near(0)) {
                    prop_assert!(counts, "{at} of {who}");
                }
                prop_assert!(!counts || since.any(near(stretch)), "{at} of {who} in vain");
            }
            prop_assert_eq!(sieve.next([&one].into_iter()).turn(), None);
        }
    }
}
