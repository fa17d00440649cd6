//! How far one person gets through the steps of a funnel.
//!
//! An attempt begins at each event that is a first step, takes for every further step the earliest event that can be
//! it, and ends with the window. What counts is the attempt that gets furthest, and of several the earliest. As the
//! window begins with the attempt, the earliest event for each step is never a worse choice than a later one, so the
//! number of steps is that of the function [`windowFunnel`] of `ClickHouse`.
//!
//! [`windowFunnel`]: https://clickhouse.com/docs/sql-reference/aggregate-functions/parametric-functions#windowfunnel

use super::{FunnelMode, Mask, Row};

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

const NONE: u32 = u32::MAX;

/// A person with no more events than that is looked through step by step, one with more is looked through once before.
const FEW: usize = 64;

/// What is found out about the attempts of a person. Kept from person to person for its space.
#[derive(Debug, Default)]
pub(super) struct Finder {
    /// When each step was reached in the attempt that got furthest, and in the one under way.
    best: Vec<i64>,
    under_way: Vec<i64>,
    /// Of each bit and each place: the place of the next event from there on that bears the bit. Empty if there are few
    /// events, and so are the others.
    next: Vec<u32>,
    /// Of each place: the place of the next event that is later.
    later: Vec<u32>,
    /// Of each place: the place of the first event of the same instant.
    same: Vec<u32>,
}

impl Rules {
    /// The place of the event with which the attempt of a person begins that gets furthest; when each step was reached
    /// say the finder's [`times`](Finder::times). `None` if they never did the first step.
    pub(super) fn best(&self, events: &[Row], finder: &mut Finder) -> Option<usize> {
        match self.mode {
            FunnelMode::AnyOrder => super::any_order::best(self, events, &mut finder.best),
            FunnelMode::Strict => {
                furthest(events, finder, self.steps, |finder, first| self.strict(events, finder, first))
            }
            FunnelMode::Ordered => {
                let most = self.most(events.iter().fold(0, |all, row| all | row.mask));
                if most == 0 {
                    return None;
                }
                if most > 1 {
                    finder.look(events, self.steps + self.exclude.len());
                }
                furthest(events, finder, most, |finder, first| self.ordered(events, finder, first, most))
            }
        }
    }

    /// How many steps can be reached in order with events that meet these conditions: nobody gets past one that none meets.
    pub(super) fn most(&self, met: Mask) -> usize {
        self.steps.min(met.trailing_ones() as usize)
    }

    fn ordered(&self, events: &[Row], finder: &mut Finder, first: usize, most: usize) -> i64 {
        finder.under_way.push(events[first].at);
        let mut place = first;
        while finder.under_way.len() < most {
            let reached = finder.under_way.len();
            let from = if self.strictly_increasing { finder.later(events, place) } else { place + 1 };
            // An attempt that begins later comes to no step earlier.
            let Some(found) = finder.next(events, reached, from) else { return i64::MAX };
            if let Some(within) = self.within
                && events[found].at - events[first].at > within
            {
                return events[found].at - within;
            }
            if self.is_excluded(events, finder, reached, place, found) {
                break;
            }
            finder.under_way.push(events[found].at);
            place = found;
        }
        i64::MIN
    }

    /// Whether an excluded event lies between the event of the step that was reached and that of the next.
    fn is_excluded(
        &self,
        events: &[Row],
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
                (true, true) => finder.later(events, place),
                (true, false) => finder.same(events, place),
                (false, _) => place + 1,
            };
            let mut at = finder.next(events, bit, from);
            if at == Some(place) {
                at = finder.next(events, bit, place + 1);
            }
            at.is_some_and(|at| {
                if self.strictly_increasing { events[at].at < events[found].at } else { at < found }
            })
        })
    }

    /// Each step is the very next event of the person.
    fn strict(&self, events: &[Row], finder: &mut Finder, first: usize) -> i64 {
        finder.under_way.push(events[first].at);
        for (step, place) in (1..self.steps).zip(first + 1..events.len()) {
            let (before, row) = (&events[place - 1], &events[place]);
            let later = row.at > before.at || !self.strictly_increasing;
            let inside = self.within.is_none_or(|within| row.at - events[first].at <= within);
            if row.mask & (1 << step) == 0 || !later || !inside {
                break;
            }
            finder.under_way.push(row.at);
        }
        i64::MIN
    }
}

/// Makes every attempt, the earliest first, until one reaches the last step that can be reached. Each says from which
/// instant on another has to begin to get further.
fn furthest(
    events: &[Row],
    finder: &mut Finder,
    most: usize,
    attempt: impl Fn(&mut Finder, usize) -> i64,
) -> Option<usize> {
    let (mut best, mut from) = (None, i64::MIN);
    for (first, row) in events.iter().enumerate() {
        if row.mask & 1 == 0 || row.at < from {
            continue;
        }
        finder.under_way.clear();
        from = attempt(finder, first);
        if best.is_none() || finder.under_way.len() > finder.best.len() {
            std::mem::swap(&mut finder.best, &mut finder.under_way);
            best = Some(first);
            if finder.best.len() == most {
                break;
            }
        }
    }
    best
}

impl Finder {
    /// When each step was reached in the attempt that got furthest.
    pub(super) fn times(&self) -> &[i64] {
        &self.best
    }

    #[expect(clippy::cast_possible_truncation, reason = "a person has fewer than 2^32 events")]
    fn look(&mut self, events: &[Row], bits: usize) {
        let count = events.len();
        self.next.clear();
        if count <= FEW {
            return;
        }
        self.next.resize(bits * (count + 1), NONE);
        self.later.clear();
        self.later.resize(count, count as u32);
        self.same.clear();
        self.same.resize(count, 0);
        for place in (0..count).rev() {
            for bit in 0..bits {
                let row = bit * (count + 1);
                let here = events[place].mask & (1 << bit) != 0;
                self.next[row + place] = if here { place as u32 } else { self.next[row + place + 1] };
            }
            if place + 1 < count {
                let alike = events[place + 1].at == events[place].at;
                self.later[place] = if alike { self.later[place + 1] } else { place as u32 + 1 };
            }
        }
        for place in 1..count {
            let alike = events[place - 1].at == events[place].at;
            self.same[place] = if alike { self.same[place - 1] } else { place as u32 };
        }
    }

    /// The place of the next event from a place on that bears a bit.
    fn next(&self, events: &[Row], bit: usize, from: usize) -> Option<usize> {
        if self.next.is_empty() {
            let rest = events.get(from..)?;
            return rest.iter().position(|row| row.mask & (1 << bit) != 0).map(|place| from + place);
        }
        let row = bit * (events.len() + 1);
        let found = *self.next.get(row + from)?;
        (found != NONE).then_some(found as usize)
    }

    /// The place of the next event that is later than that at a place.
    fn later(&self, events: &[Row], place: usize) -> usize {
        if self.next.is_empty() {
            let alike = events[place..].iter().take_while(|row| row.at == events[place].at);
            return place + alike.count();
        }
        self.later[place] as usize
    }

    /// The place of the first event of the same instant as that at a place.
    fn same(&self, events: &[Row], place: usize) -> usize {
        if self.next.is_empty() {
            let alike = events[..=place].iter().rev().take_while(|row| row.at == events[place].at);
            return place + 1 - alike.count();
        }
        self.same[place] as usize
    }
}
