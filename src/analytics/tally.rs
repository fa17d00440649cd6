//! Events counted while they are read: where nothing is wanted but how many there are from period to period, of how many
//! people, or what a number of them adds up to, none has to be kept.

use std::ops::Range;

use super::breakdown::Groups;
use super::calendar::{Interval, Periods, wider};
use super::counter::Batch;
use super::scope::Scope;
use super::wanted::Amount;
use crate::clock::Zone;
use crate::value::{Num, Sum};

/// What is wanted of events from period to period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Count {
    /// How many.
    Events,
    /// Of how many people.
    People,
    /// What their amounts add up to.
    Amounts,
}

/// How many numbers, or words of bits, a core keeps at most, of every value of a breakdown and every period: 32 MiB of them,
/// three times that of amounts, and in debug builds so few that tests have more.
const CELLS: usize = if cfg!(debug_assertions) { 1 << 5 } else { 1 << 22 };

/// What was counted, by the value of a breakdown and the period.
#[derive(Debug)]
pub(crate) struct Tally {
    interval: Interval,
    count: Count,
    /// Those that any event can lie in; once all is counted, those of the answer are some of them.
    periods: Periods,
    answered: Range<usize>,
    events: Vec<u64>,
    /// In millionths; empty unless they are wanted.
    amounts: Vec<i128>,
    /// Of each number a bit for everybody; empty unless they are wanted.
    people: Vec<u64>,
    /// In how many words everybody has a bit.
    words: usize,
    /// The first instant and the last, of hours alone: where clocks go back by less than one, they do not begin alike from
    /// wherever they are reckoned.
    span: Option<(i64, i64)>,
    /// Where the events of a batch are counted; kept for its space.
    cells: Vec<usize>,
}

impl Tally {
    /// Nothing yet, of events between two instants, and of so many people. `None` if they are of more periods than are
    /// kept.
    pub(crate) fn new(
        (interval, count): (Interval, Count),
        scope: &Scope,
        zone: &Zone,
        between: Option<(i64, i64)>,
        people: usize,
    ) -> Option<Self> {
        let periods = Periods::asked(interval, zone, scope, between).ok()?;
        let (answered, words) = (0..periods.len(), people.div_ceil(u64::BITS as usize));
        let each = if count == Count::People { words } else { 1 };
        if periods.len().saturating_mul(each) > CELLS {
            return None;
        }
        Some(Self {
            interval,
            count,
            periods,
            answered,
            events: Vec::new(),
            amounts: Vec::new(),
            people: Vec::new(),
            words,
            span: None,
            cells: Vec::new(),
        })
    }

    /// The same without what was counted.
    pub(crate) fn blank(&self) -> Self {
        Self {
            periods: self.periods.clone(),
            answered: self.answered.clone(),
            events: Vec::new(),
            amounts: Vec::new(),
            people: Vec::new(),
            span: None,
            cells: Vec::new(),
            ..*self
        }
    }

    /// Counts events, and says whether it could: where there are too many values or periods, or an amount is no whole
    /// number of millionths, it cannot.
    #[must_use]
    pub(crate) fn add(&mut self, events: &Batch<'_>) -> bool {
        let most = events.by.iter().fold(0, |most, label| *label.max(&most)) as usize;
        let width = self.periods.len();
        if width == 0 || !self.make_room(most + 1) {
            return events.times.is_empty();
        }
        if self.interval == Interval::Hour {
            let times = || events.times.iter().copied();
            self.span = wider(self.span, times().min().zip(times().max()));
        }
        let Self { periods, events: counts, cells, .. } = self;
        let finder = periods.finder();
        let found = events.times.iter().map(|at| finder.of(*at));
        if self.count == Count::Events {
            let counts = &mut counts[..];
            if events.by.is_empty() {
                found.for_each(|period| counts[period] += 1);
            } else {
                found
                    .zip(events.by)
                    .for_each(|(period, label)| counts[*label as usize * width + period] += 1);
            }
            return true;
        }
        cells.clear();
        cells.extend(found);
        cells.iter_mut().zip(events.by).for_each(|(cell, label)| *cell += *label as usize * width);
        for cell in &*cells {
            counts[*cell] += 1;
        }
        if self.count == Count::People {
            for (cell, who) in cells.iter().zip(events.people) {
                let (word, bit) = (who / u64::BITS, who % u64::BITS);
                self.people[cell * self.words + word as usize] |= 1 << bit;
            }
        }
        let mut are_whole = true;
        for (cell, amount) in cells.iter().zip(events.amounts) {
            match amount {
                Amount::Missing => {}
                Amount::Millionths(millionths) => self.amounts[*cell] += i128::from(*millionths),
                Amount::Other(_) => are_whole = false,
            }
        }
        are_whole
    }

    /// The instants between which it is enough to know how many events there are. Of hours it is not: their first instant and
    /// the last have to be known.
    pub(super) fn edges(&self) -> Option<&[i64]> {
        let is_enough = self.count == Count::Events && self.interval != Interval::Hour;
        is_enough.then(|| self.periods.edges())
    }

    /// Counts events without a breakdown of which no more is known than how many there are between those instants, and says
    /// whether it could.
    #[must_use]
    pub(super) fn add_counts(&mut self, counts: &[u32]) -> bool {
        let could = self.make_room(1);
        self.events.iter_mut().zip(counts).for_each(|(own, count)| *own += u64::from(*count));
        could
    }

    /// Makes room for so many values, if there is.
    fn make_room(&mut self, labels: usize) -> bool {
        let cells = labels * self.periods.len();
        if cells <= self.events.len() {
            return true;
        }
        let each = if self.count == Count::People { self.words } else { 1 };
        if cells.checked_mul(each).is_none_or(|words| words > CELLS) {
            return false;
        }
        self.events.resize(cells, 0);
        match self.count {
            Count::Events => {}
            Count::People => self.people.resize(cells * self.words, 0),
            Count::Amounts => self.amounts.resize(cells, 0),
        }
        true
    }

    /// Adds what another has counted of other events, if there is room for it.
    #[must_use]
    pub(crate) fn merge(&mut self, other: &Self) -> bool {
        if !self.make_room(other.events.len() / other.periods.len().max(1)) {
            return false;
        }
        self.events.iter_mut().zip(&other.events).for_each(|(own, other)| *own += other);
        self.amounts.iter_mut().zip(&other.amounts).for_each(|(own, other)| *own += other);
        self.people.iter_mut().zip(&other.people).for_each(|(own, other)| *own |= other);
        self.span = wider(self.span, other.span);
        true
    }

    /// What was counted in the periods of the answer, now that it is known which those are. `None` if they are none of
    /// those in which it was counted.
    pub(crate) fn settled(self, scope: &Scope, zone: &Zone) -> Option<Self> {
        let periods = Periods::asked(self.interval, zone, scope, self.span()).ok()?;
        let answered = self.periods.find(&periods)?;
        Some(Self { answered, ..self })
    }

    /// The first instant and the last of what was counted; of whole days and longer ones those of their periods, which begin
    /// and end alike from wherever they are reckoned.
    fn span(&self) -> Option<(i64, i64)> {
        if self.interval == Interval::Hour {
            return self.span;
        }
        let width = self.periods.len().max(1);
        let counted =
            |period: &usize| self.events.iter().skip(*period).step_by(width).any(|count| *count > 0);
        let mut periods = (0..self.periods.len()).filter(counted);
        let first = periods.next()?;
        let last = periods.next_back().unwrap_or(first);
        Some((self.periods.start(first).as_micros(), self.periods.start(last + 1).as_micros() - 1))
    }

    /// Whether people are counted.
    pub(crate) fn is_of_people(&self) -> bool {
        self.count == Count::People
    }

    /// How many events were counted.
    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.events.iter().sum::<u64>()).unwrap_or(usize::MAX)
    }

    /// The periods of the answer.
    pub(super) fn periods(&self) -> Periods {
        self.periods.some(self.answered.clone())
    }

    /// How many events have each value of the breakdown.
    pub(super) fn sizes(&self) -> impl Iterator<Item = u64> + '_ {
        self.events.chunks(self.periods.len().max(1)).map(|events| events.iter().sum())
    }

    /// How many events there are in each period of each group.
    pub(super) fn events(&self, groups: &Groups) -> Vec<u64> {
        let mut all = vec![0; groups.len() * self.answered.len()];
        self.each(groups, |place, cell| all[place] += self.events[cell]);
        all
    }

    /// What their amounts add up to.
    pub(super) fn amounts(&self, groups: &Groups) -> Vec<Sum> {
        let mut all = vec![Sum::default(); groups.len() * self.answered.len()];
        let amount = |cell: usize| Num::Mean { millionths: self.amounts[cell], over: 1 };
        self.each(groups, |place, cell| all[place].add_number(amount(cell)));
        all
    }

    /// Of how many people they are.
    pub(super) fn people(&self, groups: &Groups) -> Vec<u64> {
        if self.people.is_empty() {
            return vec![0; groups.len() * self.answered.len()];
        }
        let mut all = vec![0; groups.len() * self.answered.len() * self.words];
        self.each(groups, |place, cell| {
            let own = &mut all[place * self.words..(place + 1) * self.words];
            let counted = &self.people[cell * self.words..(cell + 1) * self.words];
            own.iter_mut().zip(counted).for_each(|(own, counted)| *own |= counted);
        });
        all.chunks(self.words.max(1))
            .map(|bits| bits.iter().map(|word| u64::from(word.count_ones())).sum())
            .collect()
    }

    /// Calls `add` for everything that was counted, with where it belongs in an answer, group by group.
    fn each(&self, groups: &Groups, mut add: impl FnMut(usize, usize)) {
        let width = self.periods.len().max(1);
        for label in 0..self.events.len() / width {
            let Some(group) = groups.of_value(u32::try_from(label).unwrap_or(u32::MAX)) else { continue };
            for (place, period) in self.answered.clone().enumerate() {
                add(group * self.answered.len() + place, label * width + period);
            }
        }
    }
}
