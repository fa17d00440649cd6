//! Paths: what people do next.

use std::cmp::Reverse;
use std::fmt;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::breakdown::Groups;
use super::parallel::for_everybody;
use super::read::{Members, event, longer_than_zero, number, plain_event, question, span};
use super::sessions::cut;
use super::table::{Table, amount, heading};
use super::timeline::people;
use super::{Ask, Ground, Question, Scope, Wanted};
use crate::clock::Span;
use crate::error::{DefinitionError, Result};
use crate::segment::{Condition, did};
use crate::value::{Object, Value};

/// What people do next, and after that: the most frequent transitions between the steps of their paths.
///
/// A path begins with a person's first event that is meant, and goes on with whatever they do next, one transition from
/// each event to the next. With [`gap`](Self::gap) it ends where the person pauses for longer, and each session has a
/// path of its own.
///
/// ```
/// use customerdb::{Cdp, Event, Paths, Timestamp, did, minutes};
///
/// let cdp = Cdp::in_memory()?;
/// let noon: Timestamp = "2024-05-01T12:00:00Z".parse()?;
/// let event = |user: &str, name: &str, minute| Event::track(name).user_id(user).at(noon.after(minutes(minute)));
/// cdp.ingest([
///     event("ann", "Search", 0),
///     event("ann", "View", 1),
///     event("ann", "Buy", 2),
///     event("bob", "Home", 0),
///     event("bob", "Search", 1),
///     event("bob", "View", 2),
/// ])?;
/// let report = cdp.paths(&Paths::from_event(did("Search")).depth(2))?;
/// let told: Vec<String> =
///     report.transitions.iter().map(|t| format!("{} {}>{} {}", t.step, t.from, t.to, t.count)).collect();
/// assert_eq!(told, ["1 Search>View 2", "2 View>Buy 1"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
#[derive(Debug, Clone, PartialEq)]
pub struct Paths {
    from_event: Condition,
    depth: u32,
    top: u32,
    gap: Option<Span>,
    scope: Scope,
}

question!(Paths);

impl Default for Paths {
    fn default() -> Self {
        Self::from_event(did("*"))
    }
}

impl Paths {
    /// How many transitions a path may have at most.
    pub const DEEPEST: u32 = 100;
    /// How many transitions are listed at most.
    pub const MOST: u32 = 10_000;

    /// The paths that begin with an event.
    pub fn from_event(event: impl Into<Condition>) -> Self {
        Self { from_event: event.into(), depth: 5, top: 50, gap: None, scope: Scope::default() }
    }

    /// How many transitions of a path are looked at. Default: 5.
    pub fn depth(mut self, transitions: u32) -> Self {
        self.depth = transitions;
        self
    }

    /// How many transitions are listed, the most frequent. Default: 50.
    pub fn top(mut self, transitions: u32) -> Self {
        self.top = transitions;
        self
    }

    /// Cuts paths where a person pauses for longer. Default: not at all.
    pub fn gap(mut self, gap: Span) -> Self {
        self.gap = Some(gap);
        self
    }

    /// Reads the question from a JSON value: `from_event`, `depth`, `top`, `gap`, `from`, `until`, `segment`, `by`.
    ///
    /// # Errors
    ///
    /// Those of [`from_json`](Self::from_json).
    pub fn from_value(value: &Value) -> Result<Self, DefinitionError> {
        let mut members = Members::of(value)?;
        let mut new = Self::default();
        new.from_event = members.optional("from_event", event)?.unwrap_or(new.from_event);
        new.depth = members.optional("depth", number)?.unwrap_or(new.depth);
        new.top = members.optional("top", number)?.unwrap_or(new.top);
        new.gap = members.optional("gap", span)?;
        members.finish(new)
    }

    /// The question as JSON, from which it can be read again.
    pub fn to_value(&self) -> Value {
        let mut object = Object::new();
        object.insert("from_event".into(), self.from_event.to_value());
        object.insert("depth".into(), self.depth.into());
        object.insert("top".into(), self.top.into());
        if let Some(gap) = self.gap {
            object.insert("gap".into(), gap.to_string().into());
        }
        self.scope.write(&mut object);
        object.into()
    }
}

impl Ask for Paths {
    fn wanted(&self) -> Result<Wanted, DefinitionError> {
        for (name, number, most) in [("depth", self.depth, Self::DEEPEST), ("top", self.top, Self::MOST)] {
            if !(1..=most).contains(&number) {
                return Err(DefinitionError::new(name, format!("expected 1 to {most}, found {number}")));
            }
        }
        if let Some(gap) = self.gap {
            longer_than_zero(gap, "gap")?;
        }
        let conditions = vec![plain_event(&self.from_event, "from_event")?.clone()];
        Ok(Wanted { conditions, all_events: true, ordered: true, names: true, ..Wanted::default() })
    }
}

/// What paths are answered with.
#[non_exhaustive]
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct PathsReport {
    /// How many paths there are.
    pub paths: u64,
    /// The most frequent transitions; of as frequent ones those of earlier steps first.
    pub transitions: Vec<Transition>,
    /// The same for each group, if a breakdown was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<PathsGroup>>,
}

/// One step of paths, from one event to the next.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// Which step of the path it is, from 1.
    pub step: u32,
    /// The name of the event before it.
    pub from: String,
    /// The name of the event after it.
    pub to: String,
    /// How many paths take it.
    pub count: u64,
}

/// The paths of one group.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PathsGroup {
    /// The value that the people, or the first events of their paths, share.
    pub value: Value,
    /// Whether these are all smaller groups together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub other: bool,
    /// The paths.
    #[serde(flatten)]
    pub report: PathsReport,
}

/// Step, from and to, the names by their numbers.
type Key = (u32, u32, u32);

#[derive(Clone, Default)]
struct Tally {
    paths: u64,
    counts: FxHashMap<Key, u64>,
}

impl Tally {
    fn report(self, names: &[String], top: u32) -> PathsReport {
        let mut counts: Vec<(Key, u64)> = self.counts.into_iter().collect();
        let name = |number: u32| &names[number as usize];
        counts.sort_unstable_by_key(|((step, from, to), count)| {
            (Reverse(*count), *step, name(*from), name(*to))
        });
        counts.truncate(top as usize);
        let transition = |((step, from, to), count)| Transition {
            step,
            from: name(from).clone(),
            to: name(to).clone(),
            count,
        };
        PathsReport {
            paths: self.paths,
            transitions: counts.into_iter().map(transition).collect(),
            groups: None,
        }
    }
}

impl Question for Paths {
    type Report = PathsReport;

    fn answer(&self, ground: &Ground<'_>) -> Result<PathsReport> {
        let timeline = ground.timeline;
        let gap = self.gap.map_or(i64::MAX, Span::as_micros);
        let count = |groups: &Groups| -> Result<Vec<PathsReport>> {
            let parts = for_everybody(timeline, ground.watch, |parts| {
                let mut tallies = vec![Tally::default(); groups.len()];
                for (part, person) in people(parts) {
                    for mut path in cut(part, person, gap) {
                        let Some(first) = path.find(|event| part.rows[*event].mask & 1 != 0) else {
                            continue;
                        };
                        let Some(group) = groups.get(part, person, first) else { continue };
                        tallies[group].paths += 1;
                        let names = &part.name[first..path.end];
                        for (step, pair) in (1..=self.depth).zip(names.windows(2)) {
                            *tallies[group].counts.entry((step, pair[0], pair[1])).or_default() += 1;
                        }
                    }
                }
                tallies
            })?;
            let mut whole = vec![Tally::default(); groups.len()];
            for (group, part) in parts.into_iter().flat_map(|part| part.into_iter().enumerate()) {
                whole[group].paths += part.paths;
                part.counts
                    .into_iter()
                    .for_each(|(key, n)| *whole[group].counts.entry(key).or_default() += n);
            }
            Ok(whole.into_iter().map(|tally| tally.report(&timeline.legend.names, self.top)).collect())
        };
        let tell = |(value, other), report| PathsGroup { value, other, report };
        let (report, groups) = ground.answers(&self.scope, 1, count, tell)?;
        Ok(PathsReport { groups, ..report })
    }
}

impl fmt::Display for PathsReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", amount(self.paths), if self.paths == 1 { "path" } else { "paths" })?;
        let mut table = Table::new(3);
        table.push(["step", "from", "to", "paths"].map(str::to_owned));
        for Transition { step, from, to, count } in &self.transitions {
            table.push([step.to_string(), from.clone(), to.clone(), amount(*count)]);
        }
        write!(f, "{table}")?;
        for group in self.groups.iter().flatten() {
            heading(f, &group.value, group.other)?;
            group.report.fmt(f)?;
        }
        Ok(())
    }
}
