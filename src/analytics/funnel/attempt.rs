//! How far one person gets through the steps of a funnel.
//!
//! An attempt begins at each event that is a first step, takes for every further step the earliest event that can be
//! it, and ends with the window. What counts is the attempt that gets furthest, and of several the earliest. As the
//! window begins with the attempt, the earliest event for each step is never a worse choice than a later one, so the
//! number of steps is that of the function [`windowFunnel`] of `ClickHouse`.
//!
//! [`windowFunnel`]: https://clickhouse.com/docs/sql-reference/aggregate-functions/parametric-functions#windowfunnel

use super::FunnelMode;

/// The steps of a funnel, as bits of events: the first step is the lowest bit, exclusions come after the last.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) steps: usize,
    /// Of several steps that ask the same, in `any_order` each takes an event of its own.
    pub(super) mode: FunnelMode,
    /// The longest time from the first step to the last, in microseconds.
    pub(super) within: Option<i64>,
    /// Whether each step is later than the one before, or may be of the same instant.
    pub(super) strictly_increasing: bool,
    /// Between which steps (counted from 1) each exclusion holds.
    pub(super) exclude: Vec<(usize, usize)>,
}

/// The events of one person, in order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Events<'e> {
    pub(super) at: &'e [i64],
    pub(super) mask: &'e [u64],
}

/// The attempt that gets furthest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    /// The place of the event that it begins with.
    pub(super) first: usize,
    /// When each step was reached.
    pub(super) times: Vec<i64>,
}

const NONE: u32 = u32::MAX;

/// What one look through a person's events finds out for all attempts. Kept from person to person for its space.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// Of each bit and each place: the place of the next event from there on that bears the bit.
    next: Vec<u32>,
    /// Of each place: the place of the next event that is later.
    later: Vec<u32>,
    /// Of each place: the place of the first event of the same instant.
    same: Vec<u32>,
}

impl Rules {
    /// The attempt of a person that gets furthest; `None` if they never did the first step.
    pub(super) fn best(&self, events: Events<'_>, finder: &mut Finder) -> Option<Attempt> {
        match self.mode {
            FunnelMode::AnyOrder => super::any_order::best(self, events),
            FunnelMode::Strict => self.furthest(events, |first| self.strict(events, first)),
            FunnelMode::Ordered => {
                if events.mask.iter().all(|mask| mask & 1 == 0) {
                    return None;
                }
                finder.look(events, self.steps + self.exclude.len());
                self.furthest(events, |first| self.ordered(events, finder, first))
            }
        }
    }

    fn furthest(&self, events: Events<'_>, attempt: impl Fn(usize) -> Vec<i64>) -> Option<Attempt> {
        let mut best: Option<Attempt> = None;
        for first in (0..events.mask.len()).filter(|first| events.mask[*first] & 1 != 0) {
            let times = attempt(first);
            if best.as_ref().is_none_or(|best| times.len() > best.times.len()) {
                let all = times.len() == self.steps;
                best = Some(Attempt { first, times });
                if all {
                    break;
                }
            }
        }
        best
    }

    fn is_inside(&self, first: i64, at: i64) -> bool {
        self.within.is_none_or(|within| at - first <= within)
    }

    fn ordered(&self, events: Events<'_>, finder: &Finder, first: usize) -> Vec<i64> {
        let Events { at, .. } = events;
        let mut times = vec![at[first]];
        let mut place = first;
        while times.len() < self.steps {
            let reached = times.len();
            let from = if self.strictly_increasing { finder.later[place] as usize } else { place + 1 };
            let Some(found) = finder.next(events, reached, from) else { break };
            if !self.is_inside(at[first], at[found])
                || self.is_excluded(events, finder, reached, place, found)
            {
                break;
            }
            times.push(at[found]);
            place = found;
        }
        times
    }

    /// Whether an excluded event lies between the event of the step that was reached and that of the next.
    fn is_excluded(
        &self,
        events: Events<'_>,
        finder: &Finder,
        reached: usize,
        place: usize,
        found: usize,
    ) -> bool {
        let mut rules = self.exclude.iter().enumerate();
        rules.any(|(number, (after, before))| {
            if !(*after <= reached && reached < *before) {
                return false;
            }
            let bit = self.steps + number;
            // Strictly between the two steps that it names: an instant of a step between those counts.
            let from = match (self.strictly_increasing, *after == reached) {
                (true, true) => finder.later[place],
                (true, false) => finder.same[place],
                (false, _) => u32::try_from(place).map_or(NONE, |place| place + 1),
            };
            let mut at = finder.next(events, bit, from as usize);
            if at == Some(place) {
                at = finder.next(events, bit, place + 1);
            }
            at.is_some_and(|at| {
                if self.strictly_increasing { events.at[at] < events.at[found] } else { at < found }
            })
        })
    }

    /// Each step is the very next event of the person.
    fn strict(&self, events: Events<'_>, first: usize) -> Vec<i64> {
        let Events { at, mask } = events;
        let mut times = vec![at[first]];
        for (step, place) in (1..self.steps).zip(first + 1..at.len()) {
            let later = at[place] > at[place - 1] || !self.strictly_increasing;
            if mask[place] & (1 << step) == 0 || !later || !self.is_inside(at[first], at[place]) {
                break;
            }
            times.push(at[place]);
        }
        times
    }
}

impl Finder {
    #[expect(clippy::cast_possible_truncation, reason = "a person has fewer than 2^32 events")]
    fn look(&mut self, events: Events<'_>, bits: usize) {
        let Events { at, mask } = events;
        let count = at.len();
        self.next.clear();
        self.next.resize(bits * (count + 1), NONE);
        self.later.clear();
        self.later.resize(count, count as u32);
        self.same.clear();
        self.same.resize(count, 0);
        for place in (0..count).rev() {
            for bit in 0..bits {
                let row = bit * (count + 1);
                let here = mask[place] & (1 << bit) != 0;
                self.next[row + place] = if here { place as u32 } else { self.next[row + place + 1] };
            }
            if place + 1 < count {
                let alike = at[place + 1] == at[place];
                self.later[place] = if alike { self.later[place + 1] } else { place as u32 + 1 };
            }
        }
        for place in 1..count {
            let alike = at[place - 1] == at[place];
            self.same[place] = if alike { self.same[place - 1] } else { place as u32 };
        }
    }

    /// The place of the next event from a place on that bears a bit.
    fn next(&self, events: Events<'_>, bit: usize, from: usize) -> Option<usize> {
        let row = bit * (events.at.len() + 1);
        let found = *self.next.get(row + from)?;
        (found != NONE).then_some(found as usize)
    }
}
