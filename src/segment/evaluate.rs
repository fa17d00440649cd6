//! The meaning of conditions: a person's history and an instant in, an answer out.

use std::ops::Range;

use super::aggregate::Tally;
use super::condition::{
    Condition, EventCondition, PropertyTest, TraitCondition, TraitTest, ValueTest, Window,
};
use crate::clock::{Span, Timestamp};
use crate::profile::{History, PastEvent};
use crate::value::{Comparable, Object};

/// The answer to a condition for one person at one instant.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the condition holds.
    pub holds: bool,
    /// An instant after now before which the answer stays what it is as long as nothing new is known of the person.
    /// `None` if time alone never changes it. At that instant it may change, or be the same still.
    pub until: Option<Timestamp>,
}

impl Verdict {
    const fn always(holds: bool) -> Self {
        Self { holds, until: None }
    }
}

/// Whether `person` meets `condition` at `now`, and how long that is sure to stay so.
///
/// This is what conditions mean; whatever answers faster has to give the same answers. It takes time linear in the
/// events of the person, less where a window or the first few events decide.
///
/// ```
/// use customerdb::{History, Timestamp, days, did, evaluate};
///
/// let now = Timestamp::from_millis(1_714_564_800_000);
/// let verdict = evaluate(&did("Search").within(days(30)), &History::default(), now);
/// assert!(!verdict.holds && verdict.until.is_none());
/// ```
pub fn evaluate(condition: &Condition, person: &History, now: Timestamp) -> Verdict {
    match condition {
        Condition::All(parts) => decided_by(false, parts, person, now),
        Condition::Any(parts) => decided_by(true, parts, person, now),
        Condition::Not(part) => {
            let verdict = evaluate(part, person, now);
            Verdict { holds: !verdict.holds, ..verdict }
        }
        Condition::Trait(condition) => trait_fits(condition, &person.traits, now),
        Condition::Event(condition) => Occurrences { condition, events: &person.events, now }.verdict(),
        Condition::Identifier(namespace) => Verdict::always(person.namespaces.contains(namespace)),
        Condition::Known(known) => {
            Verdict::always(person.namespaces.iter().any(|namespace| !namespace.is_anonymous()) == *known)
        }
        Condition::Misbuilt(_) => Verdict::always(false),
    }
}

/// `all` is decided by one part that is false, `any` by one that is true. The answer stays at least as long as one of
/// the parts that decide it, or else as long as all of the parts that do not.
fn decided_by(decisive: bool, parts: &[Condition], person: &History, now: Timestamp) -> Verdict {
    let mut decided = None;
    let mut open = None;
    for part in parts {
        let verdict = evaluate(part, person, now);
        match (verdict.holds == decisive, verdict.until) {
            (true, None) => return verdict,
            (true, until) => decided = decided.max(until),
            (false, until) => open = earliest(open, until),
        }
    }
    match decided {
        Some(_) => Verdict { holds: decisive, until: decided },
        None => Verdict { holds: !decisive, until: open },
    }
}

fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn trait_fits(condition: &TraitCondition, traits: &Object, now: Timestamp) -> Verdict {
    let mut until = None;
    let (span, recent) = match &condition.test {
        TraitTest::Compare(comparison) => {
            return Verdict::always(condition.path.any(traits, |value| comparison.fits_value(value)));
        }
        TraitTest::Within(span) => (*span, true),
        TraitTest::OlderThan(span) => (*span, false),
    };
    let mut holds = false;
    condition.path.any(traits, |value| {
        if let Some(Comparable::Time(time, _)) = value.and_then(|value| Comparable::of(value, false)) {
            let old = time <= now.before(span);
            holds |= if recent { time <= now && !old } else { old };
            let changes = [time, time.after(span)];
            until = earliest(until, changes.into_iter().filter(|change| *change > now).min());
        }
        false
    });
    Verdict { holds, until }
}

/// The events of one person, as one condition looks at them.
struct Occurrences<'a> {
    condition: &'a EventCondition,
    /// By time and message id.
    events: &'a [PastEvent],
    now: Timestamp,
}

impl Occurrences<'_> {
    fn verdict(&self) -> Verdict {
        let condition = self.condition;
        if condition.first_time {
            let first = self.find(0..self.events.len());
            let alone = first.map_or(0..0, |index| index..index + 1);
            let inside = self.inside();
            let until = first.and_then(|index| {
                let window = self.moving()?;
                self.changes(window, self.events[index].at)
            });
            let counted = alone.start.max(inside.start)..alone.end.min(inside.end);
            return Verdict { holds: self.decide(counted), until };
        }
        if condition.aggregate.is_none() {
            match condition.count.map_or(Some((1, true)), super::condition::CountTest::threshold) {
                Some((0, enough)) => return Verdict::always(enough),
                Some((n, enough)) => return self.at_least(n, enough),
                None => {}
            }
        }
        let inside = self.inside();
        let until = self.moving().and_then(|window| {
            let leaves = self.find(inside.clone()).map(|index| self.events[index].at.after(window.span));
            earliest(leaves, self.next_entry(window, inside.end))
        });
        Verdict { holds: self.decide(inside), until }
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
                    return Verdict { holds: enough, until };
                }
            }
        }
        let until = self.moving().and_then(|window| self.next_entry(window, inside.end));
        Verdict { holds: !enough, until }
    }

    /// Whether the events at those places that fit give the answer that is asked for.
    fn decide(&self, places: Range<usize>) -> bool {
        let mut tally = self.condition.aggregate.as_ref().map(Tally::new);
        let mut count: u64 = 0;
        for event in self.events.get(places).unwrap_or_default().iter().filter(|event| self.fits(event)) {
            count += 1;
            if let Some(tally) = &mut tally {
                tally.add(event);
            }
        }
        match (self.condition.count, tally) {
            (None, None) => count > 0,
            (test, tally) => test.is_none_or(|test| test.fits(count)) && tally.is_none_or(Tally::fits),
        }
    }

    fn fits(&self, event: &PastEvent) -> bool {
        self.condition.name.fits(&event.name) && all_fit(&self.condition.filters, &event.properties)
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

pub(super) fn all_fit(tests: &[PropertyTest], properties: &Object) -> bool {
    tests.iter().all(|PropertyTest { path, test }| {
        path.any(properties, |value| match test {
            ValueTest::Compare(comparison) => comparison.fits_value(value),
            ValueTest::Element(tests) => value.and_then(|value| value.as_array()).is_some_and(|items| {
                items.iter().any(|item| item.as_object().is_some_and(|item| all_fit(tests, item)))
            }),
        })
    })
}
