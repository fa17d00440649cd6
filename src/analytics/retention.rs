//! Retention: how many of those who started together come back.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

use super::breakdown::Groups;
use super::calendar::{Interval, Periods};
use super::counter::Counted;
use super::figures::share;
use super::parallel::for_everybody;
use super::presence::{Presence, Sought};
use super::read::{Members, event, flag, number, plain_event, question, text, word, word_of};
use super::table::{Table, amount, figure, heading, percent, start};
use super::timeline::{Mask, Part, people};
use super::wanted::Place;
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Result};
use crate::segment::Condition;
use crate::value::{Object, Sum, Value};

/// How many of those who started in the same period come back in later ones.
///
/// A cohort is everyone with a start event in a period of the calendar. Period 0 counts the whole cohort, period n those
/// who did the return event in the n-th period after it. Without [`first_time`](Self::first_time) a person is in the
/// cohort of each period in which they started; with it in that of their very first start only, be it before the range
/// (then in none).
///
/// ```
/// use customerdb::{Cdp, Event, Interval, Retention, Timestamp, days, did};
///
/// let cdp = Cdp::in_memory()?;
/// let monday: Timestamp = "2024-04-29T12:00:00Z".parse()?;
/// cdp.ingest([
///     Event::track("Visit").user_id("ann").at(monday),
///     Event::track("Visit").user_id("bob").at(monday),
///     Event::track("Visit").user_id("ann").at(monday.after(days(7))),
/// ])?;
/// let question = Retention::new(did("Visit"), did("Visit")).every(Interval::Week).periods(1).first_time();
/// let report = cdp.retention(&question)?;
/// assert_eq!(report.cohorts[0].values, [2, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Retention {
    start: Condition,
    back: Condition,
    period: Interval,
    periods: Option<u32>,
    mode: RetentionMode,
    first_time: bool,
    value: Option<String>,
    scope: Scope,
}

/// When coming back counts for a period.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RetentionMode {
    /// In that very period.
    #[default]
    Exact,
    /// In that period or a later one.
    OnOrAfter,
}

const MODES: [(&str, RetentionMode); 2] =
    [("exact", RetentionMode::Exact), ("on_or_after", RetentionMode::OnOrAfter)];

/// How many numbers an answer may have.
const CELLS: usize = 4_000_000;

question!(Retention);

impl Retention {
    /// Who did `start`, and comes back to do `back`.
    pub fn new(start: impl Into<Condition>, back: impl Into<Condition>) -> Self {
        Self {
            start: start.into(),
            back: back.into(),
            period: Interval::Day,
            periods: None,
            mode: RetentionMode::default(),
            first_time: false,
            value: None,
            scope: Scope::default(),
        }
    }

    /// How long a period is: a day (the default), a week or a month.
    pub fn every(mut self, period: Interval) -> Self {
        self.period = period;
        self
    }

    /// How many periods after the first are counted. Default: as many as there are events for.
    pub fn periods(mut self, periods: u32) -> Self {
        self.periods = Some(periods);
        self
    }

    /// When coming back counts. Default: [`RetentionMode::Exact`].
    pub fn mode(mut self, mode: RetentionMode) -> Self {
        self.mode = mode;
        self
    }

    /// Only the first start of a person counts, of all that they ever did.
    pub fn first_time(mut self) -> Self {
        self.first_time = true;
        self
    }

    /// Adds up a property of the return events too: the value of each cohort in each period.
    pub fn value(mut self, property: impl Into<String>) -> Self {
        self.value = Some(property.into());
        self
    }

    /// Reads the question from a JSON value: `start`, `return`, `period` (`day`, `week`, `month`), `periods`, `mode`
    /// (`exact`, `on_or_after`), `first_time`, `value`, `from`, `until`, `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let mut new = Self::new(members.required("start", event)?, members.required("return", event)?);
        new.period = members.optional("period", Interval::read_days)?.unwrap_or(Interval::Day);
        new.periods = members.optional("periods", number)?;
        new.mode = members.optional("mode", |value, at| word(value, at, &MODES))?.unwrap_or_default();
        new.first_time = members.optional("first_time", flag)?.unwrap_or(false);
        new.value = members.optional("value", text)?.map(str::to_owned);
        members.finish(new)
    }

    /// The question as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("start".into(), self.start.to_value());
        object.insert("return".into(), self.back.to_value());
        object.insert("period".into(), self.period.as_str().into());
        if let Some(periods) = self.periods {
            object.insert("periods".into(), periods.into());
        }
        if self.mode != RetentionMode::Exact {
            object.insert("mode".into(), word_of(&self.mode, &MODES).into());
        }
        if self.first_time {
            object.insert("first_time".into(), true.into());
        }
        if let Some(value) = &self.value {
            object.insert("value".into(), value.as_str().into());
        }
        self.scope.write(&mut object);
        object.into()
    }
}

/// The bit of the events that start.
const START: Mask = 1;

impl Retention {
    /// How many conditions events are told apart by: those who come back may do what they started with.
    fn kinds(&self) -> usize {
        if self.start == self.back { 1 } else { 2 }
    }

    /// The bit of the events that bring somebody back.
    fn back_bit(&self) -> Mask {
        1 << (self.kinds() - 1)
    }
}

impl Ask for Retention {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        if self.periods == Some(0) {
            return Err(DefinitionError::new("periods", "must be at least 1"));
        }
        if self.period == Interval::Hour {
            return Err(DefinitionError::new("period", "expected a day, a week or a month"));
        }
        let (start, back) = (plain_event(&self.start, "start")?, plain_event(&self.back, "return")?);
        let mut conditions = vec![start.clone(), back.clone()];
        conditions.truncate(self.kinds());
        let amount = self.value.as_deref().map(|path| Place::checked(path, "value")).transpose()?;
        let ordered = self.scope.by.is_some();
        let is_of_periods = amount.is_none() && !ordered && !start.is_first_only() && !back.is_first_only();
        let asked = Sought { kinds: conditions.len(), past: false, early: self.first_time };
        let counted = is_of_periods.then_some(Counted::Presence(self.period, asked));
        Ok(Wanted { conditions, history: self.first_time, ordered, counted, amount, ..Wanted::default() })
    }
}

/// What retention is answered with.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetentionReport {
    /// The cohorts that anybody is in, the earliest first.
    pub cohorts: Vec<Cohort>,
    /// The same for each group, if a breakdown was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<RetentionGroup>>,
}

/// Those who started in one period.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cohort {
    /// The first instant of the period.
    pub start: Timestamp,
    /// How many they are.
    pub size: u64,
    /// How many of them came back, by period: `values[0]` is all of them, `values[n]` those of the n-th period after.
    pub values: Vec<u64>,
    /// What the property of their return events adds up to in each period, if that was asked for; in period 0 of events
    /// from the start event on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub amounts: Vec<Value>,
    /// How many of the periods begin before the range, or all that is known, ends: the rest is 0 because it is not yet.
    #[serde(skip)]
    pub known: usize,
}

/// The cohorts of one group of people.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RetentionGroup {
    /// The value that they share.
    pub value: Value,
    /// Whether these are the people of all smaller groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// The cohorts that anybody is in, the earliest first.
    pub cohorts: Vec<Cohort>,
}

/// The counts of all cohorts of one group.
#[derive(Clone)]
struct Triangle {
    width: usize,
    counts: Vec<u64>,
    sums: Vec<Sum>,
}

impl Triangle {
    fn new(cohorts: usize, width: usize, sums: bool) -> Self {
        let cells = cohorts * width;
        let sums = if sums { vec![Sum::default(); cells] } else { Vec::new() };
        Self { width, counts: vec![0; cells], sums }
    }

    /// Counts people of a cohort in the periods after the first, up to the last in which they came back.
    fn count_until(&mut self, cohort: usize, last: Option<usize>, many: u64) {
        let (row, after) = (cohort * self.width, last.map_or(0, |last| last.saturating_sub(cohort)));
        let after = &mut self.counts[row + 1..row + 1 + after.min(self.width - 1)];
        for count in after {
            *count += many;
        }
    }

    fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(own, other)| *own += other);
        self.sums.iter_mut().zip(&other.sums).for_each(|(own, other)| own.merge(other));
    }

    fn cohorts(&self, periods: &Periods) -> Vec<Cohort> {
        let rows = self.counts.chunks(self.width.max(1)).enumerate().filter(|(_, values)| values[0] > 0);
        let cohort = |(place, values): (usize, &[u64])| {
            let sums = self.sums.get(place * self.width..(place + 1) * self.width).unwrap_or_default();
            Cohort {
                start: periods.start(place),
                size: values[0],
                values: values.to_vec(),
                amounts: sums.iter().map(Sum::to_value).collect(),
                known: self.width.min(periods.len() - place),
            }
        };
        rows.map(cohort).collect()
    }
}

/// The starts and the returns of one person, by period and event, in order; kept for their space.
#[derive(Default)]
struct Own {
    /// The first start of each period, which is the one that counts.
    starts: Vec<(usize, usize)>,
    backs: Vec<(usize, usize)>,
    /// The periods of the returns, each once.
    returned: Vec<usize>,
}

impl Own {
    /// Those of a person.
    fn find(&mut self, retention: &Retention, part: &Part, periods: &Periods, person: usize) {
        self.starts.clear();
        self.backs.clear();
        self.returned.clear();
        let mut is_first = true;
        for event in part.events(person) {
            let row = part.rows[event];
            let starts = row.mask & START != 0 && (is_first || !retention.first_time);
            is_first &= row.mask & START == 0;
            if !retention.scope.contains(row.at) {
                continue;
            }
            let period = periods.of(row.at);
            if starts && self.starts.last().is_none_or(|(last, _)| *last != period) {
                self.starts.push((period, event));
            }
            if row.mask & retention.back_bit() != 0 {
                self.backs.push((period, event));
                if self.returned.last() != Some(&period) {
                    self.returned.push(period);
                }
            }
        }
    }
}

impl Retention {
    /// Adds one person to the triangles of the groups.
    fn count(
        &self,
        part: &Part,
        periods: &Periods,
        groups: &Groups,
        person: usize,
        (own, triangles): (&mut Own, &mut [Triangle]),
    ) {
        own.find(self, part, periods, person);
        let Own { starts, backs, returned } = own;
        for (cohort, start) in starts.iter().copied() {
            let Some(group) = groups.get(part, person, start) else { continue };
            let triangle = &mut triangles[group];
            let width = triangle.width;
            let row = cohort * width;
            triangle.counts[row] += 1;
            match self.mode {
                RetentionMode::Exact => {
                    let after =
                        returned.iter().filter(|period| **period > cohort && **period - cohort < width);
                    after.for_each(|period| triangle.counts[row + period - cohort] += 1);
                }
                RetentionMode::OnOrAfter => triangle.count_until(cohort, returned.last().copied(), 1),
            }
            if !triangle.sums.is_empty() {
                let inside = |period: &usize| *period >= cohort && *period - cohort < width;
                for (period, event) in backs.iter().filter(|(period, _)| inside(period)) {
                    if part.rows[*event].at >= part.rows[start].at {
                        part.amounts[*event].add_to(&mut triangle.sums[row + period - cohort]);
                    }
                }
            }
        }
    }
}

impl Retention {
    /// Adds people to a triangle, by the periods in which they did what is asked.
    fn count_periods(&self, presence: &Presence, people: Range<usize>, triangle: &mut Triangle) {
        let (width, back) = (triangle.width, self.kinds() - 1);
        let starts = if self.first_time { 1 } else { usize::MAX };
        presence.each(people, |periods, many| {
            for cohort in periods.of(0).take(starts) {
                let row = cohort * width;
                triangle.counts[row] += many;
                match self.mode {
                    RetentionMode::Exact => {
                        let after = periods.of(back).filter(|period| *period > cohort);
                        let after = after.map(|period| period - cohort).take_while(|after| *after < width);
                        after.for_each(|after| triangle.counts[row + after] += many);
                    }
                    RetentionMode::OnOrAfter => triangle.count_until(cohort, periods.last(back), many),
                }
            }
        });
    }
}

impl Question for Retention {
    type Report = RetentionReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<RetentionReport> {
        let timeline = ground.timeline;
        let periods = if let Some(presence) = timeline.presence() {
            presence.periods()
        } else {
            let span = timeline.span(START | self.back_bit(), &self.scope, ground.watch)?;
            Periods::covering(self.period, ground.zone, span, "period")?
        };
        let width = self.periods.map_or(periods.len(), |periods| periods as usize + 1).max(1);
        let fits = |groups: usize| match periods
            .len()
            .checked_mul(width)
            .and_then(|cells| cells.checked_mul(groups))
        {
            Some(cells) if cells <= CELLS => Ok(()),
            _ => {
                let reason = format!(
                    "{} cohorts of {width} periods in {groups} groups are too many numbers for an answer, \
                         take fewer or longer ones",
                    periods.len()
                );
                Err(DefinitionError::new("periods", reason))
            }
        };
        let count = |groups: &Groups| -> Result<Vec<Vec<Cohort>>> {
            fits(groups.len())?;
            let blank = Triangle::new(periods.len(), width, self.value.is_some());
            let parts = match timeline.presence() {
                Some(presence) => presence.for_everybody(ground.watch, |people| {
                    let mut triangle = blank.clone();
                    self.count_periods(presence, people, &mut triangle);
                    vec![triangle]
                })?,
                None => for_everybody(timeline, ground.watch, |parts| {
                    let (mut triangles, mut own) = (vec![blank.clone(); groups.len()], Own::default());
                    people(parts).for_each(|(part, person)| {
                        self.count(part, &periods, groups, person, (&mut own, &mut triangles));
                    });
                    triangles
                })?,
            };
            let mut whole = vec![blank.clone(); groups.len()];
            for part in parts {
                whole.iter_mut().zip(&part).for_each(|(own, part)| own.merge(part));
            }
            Ok(whole.iter().map(|triangle| triangle.cohorts(&periods)).collect())
        };
        let tell = |(value, other), cohorts| RetentionGroup { value, other, cohorts };
        let (cohorts, groups) = ground.answers(&self.scope, START, count, tell)?;
        Ok(RetentionReport { cohorts, groups })
    }
}

impl fmt::Display for RetentionReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print(f, &self.cohorts)?;
        for group in self.groups.iter().flatten() {
            heading(f, &group.value, group.other)?;
            print(f, &group.cohorts)?;
        }
        Ok(())
    }
}

/// A triangle of shares, and one of amounts if there are any.
fn print(f: &mut fmt::Formatter<'_>, cohorts: &[Cohort]) -> fmt::Result {
    if cohorts.is_empty() {
        return f.write_str("nobody\n");
    }
    let width = cohorts.iter().map(|cohort| cohort.known).max().unwrap_or(0);
    let head = || ["from", "people"].map(str::to_owned).into_iter().chain((0..width).map(|n| n.to_string()));
    let lead = |cohort: &Cohort| [start(cohort.start), amount(cohort.size)].into_iter();
    let mut table = Table::new(1);
    table.push(head());
    for cohort in cohorts {
        let shares = cohort.values.iter().take(cohort.known);
        table.push(lead(cohort).chain(shares.map(|count| percent(share(*count, cohort.size)))));
    }
    write!(f, "{table}")?;
    if cohorts.iter().any(|cohort| !cohort.amounts.is_empty()) {
        let mut table = Table::new(1);
        table.push(head());
        for cohort in cohorts {
            table.push(lead(cohort).chain(cohort.amounts.iter().take(cohort.known).map(figure)));
        }
        writeln!(f)?;
        write!(f, "{table}")?;
    }
    Ok(())
}
