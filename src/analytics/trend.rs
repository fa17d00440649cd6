//! Trends: how much happens, from period to period.

use std::fmt;

use serde::Serialize;
use serde_json::json;

use super::breakdown::Groups;
use super::calendar::{Interval, Periods};
use super::counter::Counted;
use super::parallel::for_everybody;
use super::read::{Members, event, path, plain_event, question};
use super::table::{Table, clean, figure, start, value};
use super::tally::Count;
use super::timeline::people;
use super::wanted::Place;
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Result};
use crate::segment::Condition;
use crate::value::{Object, Sum, Value};

/// How often something happens, how many people do it, or what a property of it adds up to, from period to period.
///
/// Every period of the range has a point; of a range without ends, every period from the first event to the last.
///
/// ```
/// use customerdb::{Cdp, Event, Measure, Timestamp, Trend, days, did};
///
/// let cdp = Cdp::in_memory()?;
/// let noon: Timestamp = "2024-05-01T12:00:00Z".parse()?;
/// cdp.ingest([
///     Event::track("Order").user_id("ann").at(noon).property("revenue", 0.1),
///     Event::track("Order").user_id("bob").at(noon).property("revenue", 0.2),
///     Event::track("Order").user_id("bob").at(noon.after(days(2))),
/// ])?;
/// let report = cdp.trend(&Trend::of(did("Order")).measure(Measure::Sum("revenue".into())))?;
/// let values: Vec<String> = report.series.iter().map(|point| point.value.to_string()).collect();
/// assert_eq!(values, ["0.3", "0", "0"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Trend {
    event: Condition,
    interval: Interval,
    measure: Measure,
    scope: Scope,
}

/// What a trend is of.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Measure {
    /// How many events.
    #[default]
    Total,
    /// How many people, each once a period.
    Unique,
    /// What that property of the events adds up to.
    Sum(String),
}

question!(Trend);

impl Trend {
    /// The trend of an event, from day to day.
    pub fn of(event: impl Into<Condition>) -> Self {
        Self {
            event: event.into(),
            interval: Interval::Day,
            measure: Measure::default(),
            scope: Scope::default(),
        }
    }

    /// How long a period is. Default: a day.
    pub fn every(mut self, interval: Interval) -> Self {
        self.interval = interval;
        self
    }

    /// What is counted. Default: [`Measure::Total`].
    pub fn measure(mut self, measure: Measure) -> Self {
        self.measure = measure;
        self
    }

    /// Reads a trend from a JSON value: `event`, `interval` (`hour`, `day`, `week`, `month`), `measure` (`total`,
    /// `unique`, `{"sum": …}`), `from`, `until`, `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let mut new = Self::of(members.required("event", event)?);
        new.interval = members.optional("interval", Interval::read)?.unwrap_or(Interval::Day);
        new.measure = members.optional("measure", measure)?.unwrap_or_default();
        members.finish(new)
    }

    /// The trend as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("event".into(), self.event.to_value());
        object.insert("interval".into(), self.interval.as_str().into());
        let measure = match &self.measure {
            Measure::Total => "total".into(),
            Measure::Unique => "unique".into(),
            Measure::Sum(property) => json!({"sum": property}),
        };
        object.insert("measure".into(), measure);
        self.scope.write(&mut object);
        object.into()
    }
}

fn measure(value: &Value, at: &str) -> Result<Measure, DefinitionError> {
    match value {
        Value::String(word) if word == "total" => Ok(Measure::Total),
        Value::String(word) if word == "unique" => Ok(Measure::Unique),
        Value::Object(object) if object.len() == 1 && object.contains_key("sum") => {
            path(&object["sum"], "measure.sum").map(|path| Measure::Sum(path.to_string()))
        }
        _ => Err(DefinitionError::new(at, "expected \"total\", \"unique\" or {\"sum\": a property}")),
    }
}

impl Ask for Trend {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        let amount = match &self.measure {
            Measure::Sum(path) => Some(Place::checked(path, "measure.sum")?),
            Measure::Total | Measure::Unique => None,
        };
        let condition = plain_event(&self.event, "event")?.clone();
        let count = match self.measure {
            Measure::Total => Count::Events,
            Measure::Unique => Count::People,
            Measure::Sum(_) => Count::Amounts,
        };
        let by_people = self.scope.by.as_ref().is_some_and(|by| by.place().is_none());
        let counted =
            (!by_people && !condition.is_first_only()).then_some(Counted::Tally(self.interval, count));
        let (conditions, unsorted) = (vec![condition], amount.is_none());
        Ok(Wanted { conditions, unsorted, counted, amount, ..Wanted::default() })
    }
}

/// What a trend is answered with.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrendReport {
    /// One point for each period.
    pub series: Vec<TrendPoint>,
    /// The same for each group, if a breakdown was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<TrendGroup>>,
}

/// One period of a trend.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrendPoint {
    /// The first instant of the period.
    pub start: Timestamp,
    /// The number of it: a sum is exact, a count whole.
    pub value: Value,
}

/// The trend of one group.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrendGroup {
    /// The value that the events, or the people, share.
    pub value: Value,
    /// Whether these are all smaller groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// One point for each period.
    pub series: Vec<TrendPoint>,
}

/// What is counted in each group and period.
#[derive(Clone)]
enum Counts {
    Numbers(Vec<u64>),
    Sums(Vec<Sum>),
}

impl Counts {
    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Numbers(own), Self::Numbers(other)) => {
                own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
            }
            (Self::Sums(own), Self::Sums(other)) => {
                own.iter_mut().zip(other).for_each(|(own, other)| own.merge(other));
            }
            _ => {}
        }
    }

    fn value(&self, place: usize) -> Value {
        match self {
            Self::Numbers(numbers) => numbers[place].into(),
            Self::Sums(sums) => sums[place].to_value(),
        }
    }
}

/// How many numbers an answer may have.
const CELLS: usize = 4_000_000;

impl Question for Trend {
    type Report = TrendReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<TrendReport> {
        let timeline = ground.timeline;
        let span = || timeline.span(1, &self.scope, ground.watch);
        let periods = match timeline.tally() {
            Some(tally) => tally.periods(),
            None => Periods::asked(self.interval, ground.zone, &self.scope, span()?)?,
        };
        let width = periods.len();
        let count = |groups: &Groups| -> Result<Vec<Vec<TrendPoint>>> {
            let cells = groups.len() * width;
            if cells > CELLS {
                let reason =
                    format!("{width} periods in {} groups are too many numbers for an answer", groups.len());
                return Err(DefinitionError::new("interval", reason).into());
            }
            let point = |counts: &Counts, group: usize, period: usize| {
                let value = counts.value(group * width + period);
                TrendPoint { start: periods.start(period), value }
            };
            let told = |counts: &Counts| {
                let series = |group| (0..width).map(|period| point(counts, group, period)).collect();
                (0..groups.len()).map(series).collect()
            };
            if let Some(tally) = timeline.tally() {
                return Ok(told(&match self.measure {
                    Measure::Total => Counts::Numbers(tally.events(groups)),
                    Measure::Unique => Counts::Numbers(tally.people(groups)),
                    Measure::Sum(_) => Counts::Sums(tally.amounts(groups)),
                }));
            }
            let blank = match self.measure {
                Measure::Sum(_) => Counts::Sums(vec![Sum::default(); cells]),
                Measure::Total | Measure::Unique => Counts::Numbers(vec![0; cells]),
            };
            let parts = for_everybody(timeline, ground.watch, |parts| {
                let mut counts = blank.clone();
                // Who was last counted in each group and period, for each is to be counted once.
                let mut last = vec![usize::MAX; if self.measure == Measure::Unique { cells } else { 0 }];
                for (part, person) in people(parts) {
                    for event in part.events(person).filter(|event| part.rows[*event].mask & 1 != 0) {
                        let Some(group) = groups.get(part, person, event) else { continue };
                        let place = group * width + periods.of(part.rows[event].at);
                        match &mut counts {
                            Counts::Sums(sums) => part.amounts[event].add_to(&mut sums[place]),
                            Counts::Numbers(numbers) => {
                                let seen = last.get_mut(place).map(|last| std::mem::replace(last, person));
                                numbers[place] += u64::from(seen != Some(person));
                            }
                        }
                    }
                }
                counts
            })?;
            let mut whole = blank.clone();
            for part in &parts {
                whole.merge(part);
            }
            Ok(told(&whole))
        };
        let tell = |(value, other), series| TrendGroup { value, other, series };
        let (series, groups) = ground.answers(&self.scope, 1, count, tell)?;
        Ok(TrendReport { series, groups })
    }
}

impl fmt::Display for TrendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.series.is_empty() {
            return f.write_str("nothing happened\n");
        }
        let groups = self.groups.as_deref().unwrap_or_default();
        let mut table = Table::new(1);
        let name =
            |group: &TrendGroup| if group.other { "(other)".to_owned() } else { clean(&value(&group.value)) };
        table.push(["from", "all"].map(str::to_owned).into_iter().chain(groups.iter().map(name)));
        for (period, point) in self.series.iter().enumerate() {
            let cells = groups.iter().map(|group| figure(&group.series[period].value));
            table.push([start(point.start), figure(&point.value)].into_iter().chain(cells));
        }
        write!(f, "{table}")
    }
}
