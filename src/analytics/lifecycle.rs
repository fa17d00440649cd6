//! Lifecycle: who is new, who stays, who comes back, and who falls asleep.

use std::fmt;

use serde::Serialize;

use super::breakdown::Groups;
use super::calendar::{Interval, Periods};
use super::counter::Counted;
use super::parallel::for_everybody;
use super::presence::Sought;
use super::read::{Members, event, plain_event, question};
use super::table::{Table, amount, heading, start};
use super::timeline::people;
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Result};
use crate::segment::Condition;
use crate::value::{Object, Value};

/// Who is new in a period, who stays, who comes back, and who falls asleep.
///
/// Of those who do the event in a period, *new* are those who never did it before, *returning* those who did it in the
/// period before too, *resurrecting* those who did it before, but not in the period before. *Dormant* are those who did
/// it in the period before and not in this one. That is how [PostHog's lifecycle] sorts people. What was before the
/// range counts, and its first period counts whole.
///
/// [PostHog's lifecycle]: https://posthog.com/docs/product-analytics/lifecycle
///
/// ```
/// use customerdb::{Cdp, Event, Lifecycle, Timestamp, days, did};
///
/// let cdp = Cdp::in_memory()?;
/// let noon: Timestamp = "2024-05-01T12:00:00Z".parse()?;
/// let visit = |user: &str, day| Event::track("Visit").user_id(user).at(noon.after(days(day)));
/// cdp.ingest([visit("ann", 0), visit("ann", 1), visit("bob", 0), visit("bob", 2)])?;
/// let report = cdp.lifecycle(&Lifecycle::of(did("Visit")))?;
/// let told: Vec<_> = report.periods.iter().map(|p| (p.new, p.returning, p.resurrecting, p.dormant)).collect();
/// assert_eq!(told, [(2, 0, 0, 0), (0, 1, 0, 1), (0, 0, 1, 1)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Lifecycle {
    event: Condition,
    interval: Interval,
    scope: Scope,
}

question!(Lifecycle);

impl Lifecycle {
    /// The lifecycle of those who do an event, from day to day.
    pub fn of(event: impl Into<Condition>) -> Self {
        Self { event: event.into(), interval: Interval::Day, scope: Scope::default() }
    }

    /// How long a period is. Default: a day.
    pub fn every(mut self, interval: Interval) -> Self {
        self.interval = interval;
        self
    }

    /// Reads the question from a JSON value: `event`, `interval` (`hour`, `day`, `week`, `month`), `from`, `until`,
    /// `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let mut new = Self::of(members.required("event", event)?);
        new.interval = members.optional("interval", Interval::read)?.unwrap_or(Interval::Day);
        members.finish(new)
    }

    /// The question as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("event".into(), self.event.to_value());
        object.insert("interval".into(), self.interval.as_str().into());
        self.scope.write(&mut object);
        object.into()
    }
}

impl Ask for Lifecycle {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        let condition = plain_event(&self.event, "event")?.clone();
        let is_of_periods = self.scope.by.is_none() && !condition.is_first_only();
        let asked = Sought { kinds: 1, past: true, early: false };
        let counted = is_of_periods.then_some(Counted::Presence(self.interval, asked));
        let conditions = vec![condition];
        Ok(Wanted { conditions, history: true, unsorted: true, counted, ..Wanted::default() })
    }
}

/// What a lifecycle is answered with.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LifecycleReport {
    /// One for each period of the range; of a range without ends from the first event to the last.
    pub periods: Vec<LifecyclePeriod>,
    /// The same for each group, if a breakdown was asked for: by a property, of the events of each value alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<LifecycleGroup>>,
}

/// How many people are what in one period.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LifecyclePeriod {
    /// The first instant of the period.
    pub start: Timestamp,
    /// Those who do it for the first time.
    pub new: u64,
    /// Those who did it in the period before, too.
    pub returning: u64,
    /// Those who did it before, but not in the period before.
    pub resurrecting: u64,
    /// Those who did it in the period before, and do not now.
    pub dormant: u64,
}

/// The lifecycle of one group.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LifecycleGroup {
    /// The value that the people, or their events, share.
    pub value: Value,
    /// Whether these are all smaller groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// One for each period.
    pub periods: Vec<LifecyclePeriod>,
}

/// New, returning, resurrecting, dormant.
type Counts = [u64; 4];

/// Adds the periods in which somebody was active, each once and in order, to what people are in each period, as often as
/// there are such people.
fn classify(active: impl Iterator<Item = usize>, counts: &mut [Counts], many: u64) {
    let mut active = active.peekable();
    let mut before = None;
    while let Some(period) = active.next() {
        let kind = match before {
            None => 0,
            Some(before) if before + 1 == period => 1,
            Some(_) => 2,
        };
        counts[period][kind] += many;
        if active.peek() != Some(&(period + 1))
            && let Some(next) = counts.get_mut(period + 1)
        {
            next[3] += many;
        }
        before = Some(period);
    }
}

impl Question for Lifecycle {
    type Report = LifecycleReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<LifecycleReport> {
        let timeline = ground.timeline;
        let past = Scope { from: None, until: self.scope.until, ..Scope::default() };
        let all = match timeline.presence() {
            Some(presence) => presence.span(),
            None => timeline.span(1, &past, ground.watch)?,
        };
        let shown = Periods::asked(self.interval, ground.zone, &self.scope, all)?;
        // All periods since the first event, or since the range begins, if that is earlier.
        let begin =
            self.scope.from.map(Timestamp::as_micros).into_iter().chain(all.map(|(first, _)| first)).min();
        let known = Scope { from: begin.map(Timestamp::from_micros), ..past };
        let periods = match timeline.presence() {
            Some(presence) => presence.periods(),
            None => Periods::asked(self.interval, ground.zone, &known, all)?,
        };
        let skipped = if shown.len() == 0 { periods.len() } else { periods.len() - shown.len() };
        let count = |groups: &Groups| -> Result<Vec<Vec<LifecyclePeriod>>> {
            let blank = vec![vec![Counts::default(); periods.len()]; groups.len()];
            let parts = match timeline.presence() {
                Some(presence) => presence.for_everybody(ground.watch, |people| {
                    let mut counts = blank.clone();
                    presence.each(people, |periods, many| classify(periods.of(0), &mut counts[0], many));
                    counts
                })?,
                None => for_everybody(timeline, ground.watch, |parts| {
                    let mut counts = blank.clone();
                    let mut active: Vec<(usize, usize)> = Vec::new();
                    for (part, person) in people(parts) {
                        active.clear();
                        for event in part.events(person).filter(|event| part.rows[*event].mask & 1 != 0) {
                            if let Some(group) = groups.get(part, person, event) {
                                active.push((group, periods.of(part.rows[event].at)));
                            }
                        }
                        active.sort_unstable();
                        active.dedup();
                        for part in active.chunk_by(|a, b| a.0 == b.0) {
                            classify(part.iter().map(|(_, period)| *period), &mut counts[part[0].0], 1);
                        }
                    }
                    counts
                })?,
            };
            let mut whole = blank.clone();
            for (own, part) in parts.iter().flat_map(|part| part.iter().enumerate()) {
                for (own, counts) in whole[own].iter_mut().zip(part) {
                    own.iter_mut().zip(counts).for_each(|(own, count)| *own += count);
                }
            }
            Ok(whole.iter().map(|counts| told(counts, &periods, skipped)).collect())
        };
        let tell = |(value, other), periods| LifecycleGroup { value, other, periods };
        let (periods, groups) = ground.answers(&self.scope, 1, count, tell)?;
        Ok(LifecycleReport { periods, groups })
    }
}

fn told(counts: &[Counts], periods: &Periods, skipped: usize) -> Vec<LifecyclePeriod> {
    let shown = counts.iter().enumerate().skip(skipped);
    let period = |(period, [new, returning, resurrecting, dormant]): (usize, &Counts)| LifecyclePeriod {
        start: periods.start(period),
        new: *new,
        returning: *returning,
        resurrecting: *resurrecting,
        dormant: *dormant,
    };
    shown.map(period).collect()
}

impl fmt::Display for LifecycleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, &self.periods)?;
        for group in self.groups.iter().flatten() {
            heading(f, &group.value, group.other)?;
            print(f, &group.periods)?;
        }
        Ok(())
    }
}

fn print(f: &mut fmt::Formatter<'_>, periods: &[LifecyclePeriod]) -> fmt::Result {
    let mut table = Table::new(1);
    table.push(["from", "new", "returning", "resurrecting", "dormant"].map(str::to_owned));
    for period in periods {
        let counts = [period.new, period.returning, period.resurrecting, period.dormant].map(amount);
        table.push([start(period.start)].into_iter().chain(counts));
    }
    write!(f, "{table}")
}
