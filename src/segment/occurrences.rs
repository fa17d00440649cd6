//! What is asked of events: how often, what they add up to, in how many periods.

use std::ops::Range;

use super::aggregate::Tally;
use super::calendar::{period_of, start_of_period};
use super::condition::{EventCondition, Periods, Window};
use super::evaluate::earliest;
use crate::clock::{Span, Timestamp, Zone};
use crate::profile::{PastEvent, Verdict};
use crate::value::Value;

/// The events of one person, as one condition looks at them.
pub(super) struct Occurrences<'a> {
    pub(super) condition: &'a EventCondition,
    /// By time and message id.
    pub(super) events: &'a [PastEvent],
    pub(super) now: Timestamp,
    /// In which days and weeks begin.
    pub(super) zone: &'a Zone,
}

impl<'a> Occurrences<'a> {
    pub(super) fn verdict(&self) -> Verdict {
        let condition = self.condition;
        if let Some(periods) = &condition.periods {
            return self.in_periods(periods);
        }
        if !condition.first_time && condition.aggregate.is_none() {
            let threshold = match condition.count[..] {
                [] => Some((1, true)),
                [test] => test.threshold(),
                _ => None,
            };
            match threshold {
                Some((0, enough)) => return Verdict::always(enough),
                Some((n, enough)) => return self.at_least(n, enough),
                None => {}
            }
        }
        Verdict::until(self.decide(self.places()), self.until())
    }

    /// Until when the same events count.
    pub(super) fn until(&self) -> Option<Timestamp> {
        let window = self.moving()?;
        if self.condition.first_time {
            let first = self.find(0..self.events.len())?;
            return self.changes(window, self.events[first].at);
        }
        let inside = self.inside();
        let leaves = self.find(inside.clone()).map(|index| self.events[index].at.after(window.span));
        earliest(leaves, self.next_entry(window, inside.end))
    }

    /// The events that count.
    pub(super) fn counted(&self) -> impl Iterator<Item = &'a PastEvent> {
        self.events[self.places()].iter().filter(|event| self.fits(event))
    }

    /// `enough` if the window holds n events that fit. From its end backwards, since the n-th latest is the one whose
    /// leaving makes the answer change.
    fn at_least(&self, n: u64, enough: bool) -> Verdict {
        let inside = self.inside();
        let mut missing = n;
        for event in self.events[inside.clone()].iter().rev() {
            if self.fits(event) {
                missing -= 1;
                if missing == 0 {
                    let until = self.moving().map(|window| event.at.after(window.span));
                    return Verdict::until(enough, until);
                }
            }
        }
        let until = self.moving().and_then(|window| self.next_entry(window, inside.end));
        Verdict::until(!enough, until)
    }

    /// Whether the events at those places that fit give the answer that is asked for.
    fn decide(&self, places: Range<usize>) -> bool {
        let (count, tally) = self.count(places);
        match (&self.condition.count[..], tally) {
            ([], None) => count > 0,
            (tests, tally) => tests.iter().all(|test| test.fits(count)) && tally.is_none_or(Tally::fits),
        }
    }

    /// How many events at those places fit, and what they add up to.
    fn count(&self, places: Range<usize>) -> (u64, Option<Tally<'a>>) {
        let mut tally = self.condition.aggregate.as_ref().map(Tally::new);
        let mut count: u64 = 0;
        for event in self.events.get(places).unwrap_or_default().iter().filter(|event| self.fits(event)) {
            count += 1;
            if let Some(tally) = &mut tally {
                tally.add(event);
            }
        }
        (count, tally)
    }

    /// The places of the events that count, or may: those in the window, of which only the first that fits at all counts
    /// if that is what is asked for.
    pub(super) fn places(&self) -> Range<usize> {
        let inside = self.inside();
        if self.condition.first_time { only(self.find(0..self.events.len()), inside) } else { inside }
    }

    /// What there is to see: the number of periods, or of events, and the aggregate unless it is missing.
    pub(super) fn seen(&self) -> (u64, Option<Value>) {
        if let Some(periods) = &self.condition.periods {
            return (self.whole_periods(periods).0, None);
        }
        let (count, tally) = self.count(self.places());
        (count, tally.and_then(Tally::result).map(|result| result.to_value()))
    }

    fn in_periods(&self, periods: &Periods) -> Verdict {
        let (count, next) = self.whole_periods(periods);
        Verdict::until(periods.tests.iter().all(|test| test.fits(count)), next)
    }

    /// In how many of the last whole periods there are events that fit, and when that may change.
    fn whole_periods(&self, periods: &Periods) -> (u64, Option<Timestamp>) {
        let current = period_of(self.now, periods.every, self.zone);
        let of = i64::try_from(periods.of).unwrap_or(i64::MAX);
        let (mut count, mut last, mut open) = (0, None, false);
        for event in self.events.iter().filter(|event| self.fits(event)) {
            let period = period_of(event.at, periods.every, self.zone);
            if period >= current {
                open = true;
            } else if period >= current.saturating_sub(of) && last != Some(period) {
                count += 1;
                last = Some(period);
            }
        }
        let next = || start_of_period(current.saturating_add(1), periods.every, self.zone);
        (count, (count > 0 || open).then(next))
    }

    fn fits(&self, event: &PastEvent) -> bool {
        self.condition.fits(event)
    }

    /// The first of those places with an event that fits.
    fn find(&self, mut places: Range<usize>) -> Option<usize> {
        places.find(|index| self.fits(&self.events[*index]))
    }

    /// The places of the events whose time is in the window.
    fn inside(&self) -> Range<usize> {
        let first = |later: &dyn Fn(Timestamp) -> bool| self.events.partition_point(|event| !later(event.at));
        let (start, end) = match self.condition.window {
            Window::Ever => (0, self.events.len()),
            Window::Within { span, ending } => {
                let (start, end) = (self.now.before(span), self.now.before(ending.unwrap_or(NONE)));
                (first(&|at| at > start), first(&|at| at > end))
            }
            Window::Fixed { from, until } => (
                from.map_or(0, |from| first(&|at| at >= from)),
                until.map_or(self.events.len(), |until| first(&|at| at >= until)),
            ),
        };
        start..end.max(start)
    }

    /// The window, if it moves with now.
    fn moving(&self) -> Option<Moving> {
        match self.condition.window {
            Window::Within { span, ending } => Some(Moving { span, ending: ending.unwrap_or(NONE) }),
            Window::Ever | Window::Fixed { .. } => None,
        }
    }

    /// When the next event enters the window, `end` being the place of the first that has not.
    fn next_entry(&self, window: Moving, end: usize) -> Option<Timestamp> {
        self.find(end..self.events.len()).map(|index| self.events[index].at.after(window.ending))
    }

    /// When an event of that time next enters or leaves the window.
    fn changes(&self, window: Moving, at: Timestamp) -> Option<Timestamp> {
        [at.after(window.ending), at.after(window.span)].into_iter().find(|change| *change > self.now)
    }
}

/// How long before now a window ends that does not say.
const NONE: Span = Span::from_micros(0);

/// (now − span, now − ending].
#[derive(Clone, Copy)]
struct Moving {
    span: Span,
    ending: Span,
}

/// The one place, if it is inside.
fn only(place: Option<usize>, inside: Range<usize>) -> Range<usize> {
    place.filter(|place| inside.contains(place)).map_or(0..0, |place| place..place + 1)
}
