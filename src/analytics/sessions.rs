//! Sessions: what people do in one go.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::breakdown::Groups;
use super::figures::{median_and_p90_seconds, share};
use super::parallel::{Watch, for_everybody};
use super::read::{Members, event, longer_than_zero, plain_event, question, span};
use super::table::{Table, amount, heading, length};
use super::timeline::{Part, people};
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::{Span, minutes};
use crate::error::{DefinitionError, Result};
use crate::segment::{Condition, did};
use crate::value::{Object, Value};

/// What people do in one go: how often, how long, where they come in and where they leave.
///
/// A session ends where a person is not heard of for longer than the gap. A gap of just that length ends none.
///
/// ```
/// use customerdb::{Cdp, Event, Sessions, Timestamp, minutes};
///
/// let cdp = Cdp::in_memory()?;
/// let noon: Timestamp = "2024-05-01T12:00:00Z".parse()?;
/// let event = |name: &str, minute| Event::track(name).user_id("ann").at(noon.after(minutes(minute)));
/// cdp.ingest([event("Search", 0), event("View", 30), event("Buy", 61)])?;
/// let report = cdp.sessions(&Sessions::default())?;
/// assert_eq!((report.sessions, report.median_seconds), (2, Some(900.0)));
/// assert_eq!((report.entries["Search"], report.exits["Buy"]), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Sessions {
    event: Condition,
    gap: Span,
    scope: Scope,
}

question!(Sessions);

impl Default for Sessions {
    fn default() -> Self {
        Self { event: did("*"), gap: minutes(30), scope: Scope::default() }
    }
}

impl Sessions {
    /// How long the longest pause is within a session. Default: 30 minutes.
    pub fn gap(mut self, gap: Span) -> Self {
        self.gap = gap;
        self
    }

    /// Which events are looked at. Default: all.
    pub fn of(mut self, event: impl Into<Condition>) -> Self {
        self.event = event.into();
        self
    }

    /// Reads the question from a JSON value: `gap`, `event`, `from`, `until`, `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let mut new = Self::default();
        new.gap = members.optional("gap", span)?.unwrap_or(new.gap);
        new.event = members.optional("event", event)?.unwrap_or(new.event);
        members.finish(new)
    }

    /// The question as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("gap".into(), self.gap.to_string().into());
        object.insert("event".into(), self.event.to_value());
        self.scope.write(&mut object);
        object.into()
    }
}

impl Ask for Sessions {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        longer_than_zero(self.gap, "gap")?;
        let conditions = vec![plain_event(&self.event, "event")?.clone()];
        Ok(Wanted { conditions, ordered: true, names: true, ..Wanted::default() })
    }
}

/// What sessions are answered with.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SessionsReport {
    /// How many there are.
    pub sessions: u64,
    /// How many people had any.
    pub people: u64,
    /// How many events they have together.
    pub events: u64,
    /// The median time from the first event to the last, in seconds; `None` of no sessions.
    pub median_seconds: Option<f64>,
    /// The time from the first event to the last that nine of ten stay below, in seconds.
    pub p90_seconds: Option<f64>,
    /// The mean time from the first event to the last, in seconds.
    pub mean_seconds: Option<f64>,
    /// The mean number of events, 0 of no sessions.
    pub events_per_session: f64,
    /// How many begin with which event.
    pub entries: BTreeMap<String, u64>,
    /// How many end with which event.
    pub exits: BTreeMap<String, u64>,
    /// The same for each group, if a breakdown was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<SessionsGroup>>,
}

/// The sessions of one group.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionsGroup {
    /// The value that the people, or the first events of their sessions, share.
    pub value: Value,
    /// Whether these are all smaller groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// The sessions.
    #[serde(flatten)]
    pub report: SessionsReport,
}

/// The sessions of some people.
#[derive(Clone)]
struct Tally {
    people: u64,
    events: u64,
    lengths: Vec<i64>,
    /// By the number of an event's name.
    entries: Vec<u64>,
    exits: Vec<u64>,
}

impl Tally {
    fn new(names: usize) -> Self {
        Self { people: 0, events: 0, lengths: Vec::new(), entries: vec![0; names], exits: vec![0; names] }
    }

    fn merge(&mut self, mut other: Self) {
        self.people += other.people;
        self.events += other.events;
        self.lengths.append(&mut other.lengths);
        for (own, other) in [(&mut self.entries, other.entries), (&mut self.exits, other.exits)] {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "lengths and their number are below 2^53")]
    fn report(mut self, names: &[String], watch: &Watch<'_>) -> Result<SessionsReport> {
        let sessions = self.lengths.len() as u64;
        let total: i128 = self.lengths.iter().map(|length| i128::from(*length)).sum();
        let by_name = |counts: Vec<u64>| {
            let counts = counts.into_iter().zip(names).filter(|(count, _)| *count > 0);
            counts.map(|(count, name)| (name.clone(), count)).collect()
        };
        watch.tell(0)?;
        let (median_seconds, p90_seconds) = median_and_p90_seconds(&mut self.lengths);
        watch.tell(0)?;
        Ok(SessionsReport {
            sessions,
            people: self.people,
            events: self.events,
            median_seconds,
            p90_seconds,
            mean_seconds: (sessions > 0).then(|| total as f64 / sessions as f64 / 1e6),
            events_per_session: share(self.events, sessions),
            entries: by_name(self.entries),
            exits: by_name(self.exits),
            groups: None,
        })
    }
}

/// The places of a person's events, cut where a pause is longer than `gap`.
pub(super) fn cut(part: &Part, person: usize, gap: i64) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
    let events = part.events(person);
    let mut next = events.start;
    std::iter::from_fn(move || {
        let first = next;
        if first == events.end {
            return None;
        }
        next += 1;
        while next < events.end && part.rows[next].at - part.rows[next - 1].at <= gap {
            next += 1;
        }
        Some(first..next)
    })
}

impl Question for Sessions {
    type Report = SessionsReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<SessionsReport> {
        let timeline = ground.timeline;
        let names = &timeline.legend.names;
        let count = |groups: &Groups| -> Result<Vec<SessionsReport>> {
            let parts = for_everybody(timeline, ground.watch, |parts| {
                let mut tallies = vec![Tally::new(names.len()); groups.len()];
                let mut last = vec![usize::MAX; groups.len()];
                for (part, person) in people(parts) {
                    for session in cut(part, person, self.gap.as_micros()) {
                        let (first, end) = (session.start, session.end - 1);
                        let Some(group) = groups.get(part, person, first) else { continue };
                        let tally = &mut tallies[group];
                        tally.people += u64::from(std::mem::replace(&mut last[group], person) != person);
                        tally.events += session.len() as u64;
                        tally.lengths.push(part.rows[end].at - part.rows[first].at);
                        tally.entries[part.name[first] as usize] += 1;
                        tally.exits[part.name[end] as usize] += 1;
                    }
                }
                tallies
            })?;
            let mut whole = vec![Tally::new(names.len()); groups.len()];
            for part in parts {
                ground.watch.tell(0)?;
                whole.iter_mut().zip(part).for_each(|(own, part)| own.merge(part));
            }
            whole.into_iter().map(|tally| tally.report(names, ground.watch)).collect()
        };
        let tell = |(value, other), report| SessionsGroup { value, other, report };
        let (report, groups) = ground.answers(&self.scope, 1, count, tell)?;
        Ok(SessionsReport { groups, ..report })
    }
}

/// How many events are listed of those that sessions begin or end with.
const LISTED: usize = 10;

impl fmt::Display for SessionsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(1);
        table.push(["sessions".to_owned(), amount(self.sessions)]);
        table.push(["people".to_owned(), amount(self.people)]);
        table.push(["median length".to_owned(), length(self.median_seconds)]);
        table.push(["p90 length".to_owned(), length(self.p90_seconds)]);
        table.push(["events a session".to_owned(), format!("{:.2}", self.events_per_session)]);
        write!(f, "{table}")?;
        for (what, names) in [("begin with", &self.entries), ("end with", &self.exits)] {
            let mut names: Vec<_> = names.iter().collect();
            names.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
            let mut table = Table::new(1).indented("  ");
            names
                .iter()
                .take(LISTED)
                .for_each(|(name, count)| table.push([(*name).clone(), amount(**count)]));
            write!(f, "{what}\n{table}")?;
        }
        for group in self.groups.iter().flatten() {
            heading(f, &group.value, group.other)?;
            group.report.fmt(f)?;
        }
        Ok(())
    }
}
