//! Funnels: how many people get how far through a series of steps.

mod any_order;
mod attempt;

use std::fmt;

use serde::Serialize;
use serde_json::json;

use self::attempt::{Finder, Rules};
use super::breakdown::Groups;
use super::counter::Counted;
use super::figures::{median_and_p90_seconds, median_seconds, share};
use super::parallel::for_everybody;
use super::read::{
    Members, event, events, flag, longer_than_zero, number, plain_event, question, span, word, word_of,
};
use super::table::{Table, amount, heading, length, percent};
use super::timeline::{Mask, Row, people};
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::Span;
use crate::error::{DefinitionError, Result};
use crate::segment::{Condition, EventCondition};
use crate::value::{Object, Value};

/// How many people get how far through a series of steps.
///
/// Per person it is the largest number of steps reached in order, over all attempts: one begins at each event that is a
/// first step, and ends with the window, its last instant included. Each step is strictly later than the one before,
/// unless [`same_instant`](Self::same_instant) allows the same instant; one event fills one step only. That is the
/// function [`windowFunnel`] of `ClickHouse`.
///
/// ```
/// use customerdb::{Cdp, Event, Funnel, Timestamp, did, hours};
///
/// let cdp = Cdp::in_memory()?;
/// let at = |minute: i64| Timestamp::from_millis(1_714_564_800_000 + minute * 60_000);
/// cdp.ingest([
///     Event::track("View").user_id("ann").at(at(0)),
///     Event::track("Buy").user_id("ann").at(at(30)),
///     Event::track("View").user_id("bob").at(at(0)),
///     Event::track("Buy").user_id("bob").at(at(90)),
/// ])?;
/// let report = cdp.funnel(&Funnel::new([did("View"), did("Buy")]).within(hours(1)))?;
/// assert_eq!((report.steps[0].count, report.steps[1].count), (2, 1));
/// assert_eq!(report.steps[1].median_seconds, Some(1800.0));
/// # Ok::<(), customerdb::Error>(())
/// ```
///
/// The times are those of the attempt that gets furthest, and of several of the earliest of them. A funnel has at most 32
/// steps and exclusions.
///
/// [`windowFunnel`]: https://clickhouse.com/docs/sql-reference/aggregate-functions/parametric-functions#windowfunnel
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Funnel {
    steps: Vec<Condition>,
    within: Option<Span>,
    mode: FunnelMode,
    strictly_increasing: bool,
    exclude: Vec<Exclusion>,
    scope: Scope,
}

/// Events that end an attempt, and between which steps.
#[derive(Debug, Clone, PartialEq)]
struct Exclusion {
    event: Condition,
    after: Option<u32>,
    before: Option<u32>,
}

/// In which order steps count.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FunnelMode {
    /// One after the other, whatever else happens between.
    #[default]
    Ordered,
    /// In any order: step n counts who did any n of the steps within the window.
    AnyOrder,
    /// One after the other, and no other event of the person between two steps.
    Strict,
}

const MODES: [(&str, FunnelMode); 3] =
    [("ordered", FunnelMode::Ordered), ("any_order", FunnelMode::AnyOrder), ("strict", FunnelMode::Strict)];

question!(Funnel);

impl Funnel {
    /// The funnel of these steps, two at least, each an event: [`did`](crate::did).
    pub fn new(steps: impl IntoIterator<Item = impl Into<Condition>>) -> Self {
        Self {
            steps: steps.into_iter().map(Into::into).collect(),
            within: None,
            mode: FunnelMode::default(),
            strictly_increasing: true,
            exclude: Vec::new(),
            scope: Scope::default(),
        }
    }

    /// The longest time from the first step to the last, itself included. Default: any.
    pub fn within(mut self, span: Span) -> Self {
        self.within = Some(span);
        self
    }

    /// In which order steps count. Default: [`FunnelMode::Ordered`].
    pub fn mode(mut self, mode: FunnelMode) -> Self {
        self.mode = mode;
        self
    }

    /// Lets a step be of the same instant as the one before, if it comes after it by its message id.
    pub fn same_instant(mut self) -> Self {
        self.strictly_increasing = false;
        self
    }

    /// Such an event strictly between the first step and the last ends an attempt at the step reached.
    pub fn exclude(mut self, event: impl Into<Condition>) -> Self {
        self.exclude.push(Exclusion { event: event.into(), after: None, before: None });
        self
    }

    /// Such an event strictly between two steps, by their numbers from 1, ends an attempt at the step reached.
    pub fn exclude_between(mut self, event: impl Into<Condition>, after: u32, before: u32) -> Self {
        self.exclude.push(Exclusion { event: event.into(), after: Some(after), before: Some(before) });
        self
    }

    /// Reads a funnel from a JSON value: `steps`, `within`, `mode` (`ordered`, `any_order`, `strict`), `exclude` (event
    /// conditions, each with `after` and `before`), `strictly_increasing`, `from`, `until`, `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let mut funnel = Self::new(members.required("steps", events)?);
        funnel.within = members.optional("within", span)?;
        funnel.mode = members.optional("mode", |value, at| word(value, at, &MODES))?.unwrap_or_default();
        funnel.strictly_increasing = members.optional("strictly_increasing", flag)?.unwrap_or(true);
        funnel.exclude = members.optional("exclude", exclusions)?.unwrap_or_default();
        members.finish(funnel)
    }

    /// The funnel as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("steps".into(), self.steps.iter().map(Condition::to_value).collect());
        if let Some(within) = self.within {
            object.insert("within".into(), within.to_string().into());
        }
        if self.mode != FunnelMode::Ordered {
            object.insert("mode".into(), word_of(&self.mode, &MODES).into());
        }
        if !self.strictly_increasing {
            object.insert("strictly_increasing".into(), false.into());
        }
        if !self.exclude.is_empty() {
            object.insert("exclude".into(), self.exclude.iter().map(Exclusion::to_value).collect());
        }
        self.scope.write(&mut object);
        object.into()
    }

    fn rules(&self) -> Rules {
        let steps = self.steps.len();
        let between = |exclusion: &Exclusion| {
            let step = |step: Option<u32>, default| step.map_or(default, |step| step as usize);
            (step(exclusion.after, 1), step(exclusion.before, steps))
        };
        Rules {
            steps,
            mode: self.mode,
            within: self.within.map(Span::as_micros),
            strictly_increasing: self.strictly_increasing,
            exclude: self.exclude.iter().map(between).collect(),
        }
    }
}

fn exclusions(value: &Value, path: &str) -> Result<Vec<Exclusion>, DefinitionError> {
    let Some(items) = value.as_array() else {
        return Err(DefinitionError::new(path, "expected an array of event conditions"));
    };
    let read = |(index, item): (usize, &Value)| {
        let path = format!("{path}[{index}]");
        let mut item = item.clone();
        let mut step = |name: &str| {
            let found = item.as_object_mut().and_then(|object| object.remove(name));
            found.map(|value| number(&value, &format!("{path}.{name}"))).transpose()
        };
        let (after, before) = (step("after")?, step("before")?);
        Ok(Exclusion { event: event(&item, &path)?, after, before })
    };
    items.iter().enumerate().map(read).collect()
}

impl Exclusion {
    fn to_value(&self) -> Value {
        let mut value = self.event.to_value();
        for (name, step) in [("after", self.after), ("before", self.before)] {
            if let (Some(step), Some(object)) = (step, value.as_object_mut()) {
                object.insert(name.into(), json!(step));
            }
        }
        value
    }
}

impl Ask for Funnel {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        let steps = self.steps.len();
        if steps < 2 {
            return Err(DefinitionError::new(
                "steps",
                format!("a funnel has at least two steps, found {steps}"),
            ));
        }
        if steps + self.exclude.len() > Wanted::MOST {
            let reason = format!("at most {} steps and exclusions", Wanted::MOST);
            return Err(DefinitionError::new("steps", reason));
        }
        if let Some(within) = self.within {
            longer_than_zero(within, "within")?;
        }
        let mut conditions = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            conditions.push(plain_event(step, &format!("steps[{index}]"))?.clone());
        }
        for (index, exclusion) in self.exclude.iter().enumerate() {
            let path = format!("exclude[{index}]");
            conditions.push(plain_event(&exclusion.event, &path)?.clone());
            let (after, before) = self.rules().exclude[index];
            if after == 0 || after >= before || before > steps {
                let reason = format!("expected steps from 1 to {steps}, \"after\" before \"before\"");
                return Err(DefinitionError::new(path, reason));
            }
            if self.mode == FunnelMode::AnyOrder {
                return Err(DefinitionError::new(path, "has no meaning where steps are in any order"));
            }
        }
        let strict = self.mode == FunnelMode::Strict;
        // Which of two events of one instant comes first matters to what is excluded, too.
        let ordered =
            strict || !self.strictly_increasing || self.scope.by.is_some() || !self.exclude.is_empty();
        let is_plain = self.mode == FunnelMode::Ordered && !ordered;
        let counted = (is_plain && !conditions.iter().any(EventCondition::is_first_only))
            .then_some(Counted::Trails(conditions.len(), self.within));
        Ok(Wanted { conditions, all_events: strict, ordered, counted, ..Wanted::default() })
    }
}

/// What a funnel is answered with.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunnelReport {
    /// One for each step.
    pub steps: Vec<FunnelStep>,
    /// The same for each group, if a breakdown was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<FunnelGroup>>,
}

/// One step of a funnel.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunnelStep {
    /// How many people reached it.
    pub count: u64,
    /// That number over those of the first step, 0 if there are none.
    pub conversion: f64,
    /// The median time from the step before, in seconds; `None` of the first step, and if nobody came here.
    pub median_seconds: Option<f64>,
    /// The time from the step before that nine of ten stay below, in seconds.
    pub p90_seconds: Option<f64>,
    /// The median time from the first step, in seconds.
    pub median_total_seconds: Option<f64>,
}

/// The steps of one group of people.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunnelGroup {
    /// The value that they share.
    pub value: Value,
    /// Whether these are the people of all smaller groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// One for each step.
    pub steps: Vec<FunnelStep>,
}

/// How long people took: for each step from the one before, and from the first.
#[derive(Debug, Clone, Default)]
struct Tally {
    counts: Vec<u64>,
    from_previous: Vec<Vec<i64>>,
    from_first: Vec<Vec<i64>>,
}

impl Tally {
    fn new(steps: usize) -> Self {
        Self {
            counts: vec![0; steps],
            from_previous: vec![Vec::new(); steps],
            from_first: vec![Vec::new(); steps],
        }
    }

    fn add(&mut self, times: &[i64]) {
        for (step, at) in times.iter().enumerate() {
            self.counts[step] += 1;
            if step > 0 {
                self.from_previous[step].push(at - times[step - 1]);
                self.from_first[step].push(at - times[0]);
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (own, count) in self.counts.iter_mut().zip(other.counts) {
            *own += count;
        }
        let add = |own: &mut Vec<Vec<i64>>, other: Vec<Vec<i64>>| {
            own.iter_mut().zip(other).for_each(|(own, mut other)| own.append(&mut other));
        };
        add(&mut self.from_previous, other.from_previous);
        add(&mut self.from_first, other.from_first);
    }

    fn steps(mut self) -> Vec<FunnelStep> {
        let first = self.counts.first().copied().unwrap_or(0);
        let mut steps = Vec::new();
        for (place, count) in self.counts.iter().enumerate() {
            let (previous, total) = (&mut self.from_previous[place], &mut self.from_first[place]);
            let (median, p90_seconds) = median_and_p90_seconds(previous);
            steps.push(FunnelStep {
                count: *count,
                conversion: share(*count, first),
                median_seconds: median,
                p90_seconds,
                median_total_seconds: median_seconds(total),
            });
        }
        steps
    }
}

impl Question for Funnel {
    type Report = FunnelReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<FunnelReport> {
        let rules = self.rules();
        let count = |groups: &Groups| -> Result<Vec<Vec<FunnelStep>>> {
            let timeline = ground.timeline;
            if let Some(trails) = timeline.trails() {
                let blank = || (Tally::new(rules.steps), Finder::default());
                // Nothing more is told of those who only begin.
                let is_wanted = |(tally, _): &mut (Tally, _), met| {
                    let most = rules.most(met);
                    tally.counts[0] += u64::from(most == 1);
                    most > 1
                };
                let parts =
                    trails.for_everybody(ground.watch, blank, is_wanted, |(tally, finder), trail| {
                        rules.best(trail.in_order(), finder);
                        tally.add(finder.times());
                    })?;
                let mut whole = Tally::new(rules.steps);
                for (part, _) in parts {
                    whole.merge(part);
                }
                return Ok(vec![whole.steps()]);
            }
            let parts = for_everybody(timeline, ground.watch, |parts| {
                let mut tallies = vec![Tally::new(rules.steps); groups.len()];
                let mut finder = Finder::default();
                for (part, person) in people(parts) {
                    let places = part.events(person);
                    if let Some(first) = rules.best(&part.rows[places.clone()], &mut finder)
                        && let Some(group) = groups.get(part, person, places.start + first)
                    {
                        tallies[group].add(finder.times());
                    }
                }
                tallies
            })?;
            let mut whole = vec![Tally::new(rules.steps); groups.len()];
            for part in parts {
                whole.iter_mut().zip(part).for_each(|(own, part)| own.merge(part));
            }
            Ok(whole.into_iter().map(Tally::steps).collect())
        };
        let counted = if self.mode == FunnelMode::AnyOrder { Mask::MAX } else { 1 };
        let tell = |(value, other), steps| FunnelGroup { value, other, steps };
        let (steps, groups) = ground.answers(&self.scope, counted, count, tell)?;
        Ok(FunnelReport { steps, groups })
    }
}

impl fmt::Display for FunnelReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, &self.steps)?;
        for group in self.groups.iter().flatten() {
            heading(f, &group.value, group.other)?;
            print(f, &group.steps)?;
        }
        Ok(())
    }
}

fn print(f: &mut fmt::Formatter<'_>, steps: &[FunnelStep]) -> fmt::Result {
    let mut table = Table::new(1);
    table.push(["step", "people", "of the first", "median", "p90", "since the first"].map(str::to_owned));
    for (number, step) in steps.iter().enumerate() {
        table.push([
            (number + 1).to_string(),
            amount(step.count),
            percent(step.conversion),
            length(step.median_seconds),
            length(step.p90_seconds),
            length(step.median_total_seconds),
        ]);
    }
    write!(f, "{table}")
}

#[cfg(test)]
mod tests;
