//! What questions are answered from: the events that a question wants, in columns, sorted by person, by time, and at
//! one instant by message id.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::scope::Scope;
use crate::clock::Timestamp;
use crate::error::DefinitionError;
use crate::segment::EventCondition;
use crate::value::{DottedPath, Members, Num, Sum, Value, nfc, write_canonical};

/// The events that a question wants, and what of them.
#[derive(Debug, Clone, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for on its own")]
pub struct Wanted {
    /// An event bears a bit for each of these that it meets, the first the lowest.
    pub(crate) conditions: Vec<EventCondition>,
    /// Events that meet none are wanted too.
    pub(crate) all_events: bool,
    /// Events before the range are wanted too.
    pub(crate) history: bool,
    /// It matters which of two events of one instant comes first.
    pub(crate) ordered: bool,
    /// The names of events are wanted.
    pub(crate) names: bool,
    /// The names of people are wanted.
    pub(crate) people: bool,
    /// Values of events are wanted that tell them apart.
    pub(crate) labels: Vec<Place>,
    /// A property of events is wanted that is added up.
    pub(crate) amount: Option<Place>,
}

impl Wanted {
    /// The most conditions that a question may have.
    pub(crate) const MOST: usize = u64::BITS as usize;
}

/// Where in an event a value stands, and which member of the question says so.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    path: DottedPath,
    /// Whether it stands in `context`, not in `properties`.
    in_context: bool,
    pub(crate) member: &'static str,
}

impl Place {
    /// `context.…`, or else a path within the properties.
    pub(crate) fn new(text: &str, member: &'static str) -> Self {
        let inner = text.strip_prefix("context.");
        Self { path: DottedPath::new(inner.unwrap_or(text)), in_context: inner.is_some(), member }
    }

    /// The same, if no name between two dots is empty.
    pub(crate) fn checked(text: &str, member: &'static str) -> Result<Self, DefinitionError> {
        Self::new(text, member).check()
    }

    pub(crate) fn check(self) -> Result<Self, DefinitionError> {
        if self.path.is_valid() {
            return Ok(self);
        }
        Err(DefinitionError::new(self.member, "a name between two dots must not be empty"))
    }

    pub(crate) fn in_context(&self) -> bool {
        self.in_context
    }

    pub(crate) fn path(&self) -> &DottedPath {
        &self.path
    }

    /// The first value there that is neither missing nor null.
    pub(crate) fn find<'v>(
        &self,
        properties: &impl Members<'v>,
        context: &impl Members<'v>,
    ) -> Option<&'v Value> {
        let mut found = None;
        let first = |value: Option<&'v Value>| {
            found = value.filter(|value| !value.is_null());
            found.is_some()
        };
        if self.in_context {
            self.path.any_among(context, first)
        } else {
            self.path.any_among(properties, first)
        };
        found
    }

    /// All numbers there, added up.
    pub(crate) fn add_up<'v>(&self, properties: &impl Members<'v>, context: &impl Members<'v>) -> Amount {
        let mut sum = None;
        let add = |value: Option<&'v Value>| {
            if let Some(number) = value.and_then(Value::as_number).and_then(Num::of) {
                sum.get_or_insert_with(Sum::default).add_number(number);
            }
            false
        };
        if self.in_context {
            self.path.any_among(context, add)
        } else {
            self.path.any_among(properties, add)
        };
        sum.map_or(Amount::Missing, |sum| Amount::of(sum.number()))
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", if self.in_context { "context." } else { "" }, self.path)
    }
}

/// A number of an event, in little space.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Amount {
    Missing,
    Millionths(i64),
    /// Whatever is no whole number of millionths, or too large.
    Other(Box<Num>),
}

impl Amount {
    pub(crate) fn of(number: Num) -> Self {
        let millionths = match number {
            Num::Mean { millionths, over: 1 } => i64::try_from(millionths).ok(),
            _ => None,
        };
        millionths.map_or_else(|| Self::Other(Box::new(number)), Self::Millionths)
    }

    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// Adds the number to a sum.
    pub(crate) fn add_to(&self, sum: &mut Sum) {
        match self {
            Self::Missing => {}
            Self::Millionths(millionths) => {
                sum.add_number(Num::Mean { millionths: (*millionths).into(), over: 1 });
            }
            Self::Other(number) => sum.add_number(**number),
        }
    }
}

/// Different values, numbered from 1; 0 is none.
#[derive(Debug, Clone)]
pub(crate) struct Labels {
    values: Vec<Value>,
    numbers: FxHashMap<String, u32>,
    key: String,
}

impl Default for Labels {
    fn default() -> Self {
        Self { values: vec![Value::Null], numbers: FxHashMap::default(), key: String::new() }
    }
}

impl Labels {
    /// How many different values are told apart.
    pub(crate) const MOST: usize = 100_000;

    /// The number of a value; `None` if there are too many.
    pub(crate) fn number(&mut self, value: &Value) -> Option<u32> {
        let normal = match value {
            Value::String(text) if !text.is_ascii() => Some(Value::String(nfc(text).into_owned())),
            _ => None,
        };
        let value = normal.as_ref().unwrap_or(value);
        self.key.clear();
        write_canonical(value, &mut self.key);
        if let Some(number) = self.numbers.get(&self.key) {
            return Some(*number);
        }
        if self.values.len() > Self::MOST {
            return None;
        }
        let number = u32::try_from(self.values.len()).ok()?;
        self.numbers.insert(self.key.clone(), number);
        self.values.push(value.clone());
        Some(number)
    }

    /// The values by their numbers, null for 0.
    pub(crate) fn values(&self) -> &[Value] {
        &self.values
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.len() == 1
    }
}

/// Events as they were read, in any order.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) person: Vec<u32>,
    pub(crate) at: Vec<i64>,
    pub(crate) mask: Vec<u64>,
    /// Empty unless names are wanted, and so on.
    pub(crate) name: Vec<u32>,
    pub(crate) by: Vec<u32>,
    pub(crate) labels: Vec<Vec<u32>>,
    pub(crate) amounts: Vec<Amount>,
    /// The numbers of the events, if their order at one instant matters.
    pub(crate) event: Vec<u32>,
}

/// What is known beside the events themselves.
#[derive(Debug, Default)]
pub(crate) struct Legend {
    /// How many people there are, and if wanted their names.
    pub(crate) count: usize,
    pub(crate) people: Vec<String>,
    /// The names of events by their numbers.
    pub(crate) names: Vec<String>,
    /// Of a breakdown the values, and where it is by trait that of each person.
    pub(crate) by: Labels,
    pub(crate) by_people: Option<Vec<u32>>,
    pub(crate) labels: Vec<Labels>,
}

/// The events that a question wants. See the module.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// Where each person's events begin, and where the last one's end.
    starts: Vec<usize>,
    pub(crate) at: Vec<i64>,
    pub(crate) mask: Vec<u64>,
    pub(crate) name: Vec<u32>,
    by: Vec<u32>,
    pub(crate) labels: Vec<Vec<u32>>,
    pub(crate) amounts: Vec<Amount>,
    pub(crate) legend: Legend,
}

impl Timeline {
    /// Sorts what was read, and lets go of what is not wanted after all. `ids` gives the message ids of some events by
    /// their numbers, `pause` is called now and then; either stops the work by an error.
    pub(crate) fn new<E>(
        mut reading: Reading,
        legend: Legend,
        wanted: &Wanted,
        scope: &Scope,
        now: Timestamp,
        mut ids: impl FnMut(&[u32]) -> Result<Vec<String>, E>,
        mut pause: impl FnMut() -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut starts = vec![0; legend.count + 1];
        for person in &reading.person {
            starts[*person as usize + 1] += 1;
        }
        for person in 1..starts.len() {
            starts[person] += starts[person - 1];
        }
        let mut places = starts.clone();
        let mut order = vec![0; reading.at.len()];
        for (event, person) in reading.person.iter().enumerate() {
            let place = &mut places[*person as usize];
            order[*place] = event;
            *place += 1;
        }
        pause()?;
        let first_only: Vec<(u64, &EventCondition)> =
            bits(wanted).filter(|(_, condition)| condition.is_first_only()).collect();
        let mut kept = Vec::with_capacity(order.len());
        let mut sorted = 0;
        for person in 0..legend.count {
            let events = &mut order[starts[person]..starts[person + 1]];
            if !events.is_sorted_by_key(|event| reading.at[*event]) {
                events.sort_by_key(|event| reading.at[*event]);
            }
            if !reading.event.is_empty() {
                for tied in events.chunk_by_mut(|a, b| reading.at[*a] == reading.at[*b]) {
                    if tied.len() > 1 {
                        let numbers: Vec<u32> = tied.iter().map(|event| reading.event[*event]).collect();
                        let mut by_id: Vec<(String, usize)> =
                            ids(&numbers)?.into_iter().zip(tied.iter().copied()).collect();
                        by_id.sort_unstable();
                        tied.iter_mut().zip(by_id).for_each(|(place, (_, event))| *place = event);
                    }
                }
            }
            for (bit, condition) in &first_only {
                let mut met = false;
                for event in events.iter() {
                    let inside = !met && condition.fits_time(Timestamp::from_micros(reading.at[*event]), now);
                    let mask = &mut reading.mask[*event];
                    met |= *mask & bit != 0;
                    if !inside {
                        *mask &= !bit;
                    }
                }
            }
            let from = kept.len();
            kept.extend(events.iter().copied().filter(|event| {
                (wanted.history || scope.contains(reading.at[*event]))
                    && (wanted.all_events || reading.mask[*event] != 0)
            }));
            sorted += events.len();
            starts[person] = from;
            if sorted > 1 << 16 {
                sorted = 0;
                pause()?;
            }
        }
        starts[legend.count] = kept.len();
        let Reading { at, mask, name, by, labels, mut amounts, .. } = reading;
        pause()?;
        Ok(Self {
            starts,
            at: arranged(&at, &kept),
            mask: arranged(&mask, &kept),
            name: arranged(&name, &kept),
            by: arranged(&by, &kept),
            labels: labels.iter().map(|column| arranged(column, &kept)).collect(),
            amounts: if amounts.is_empty() {
                Vec::new()
            } else {
                kept.iter().map(|event| std::mem::replace(&mut amounts[*event], Amount::Missing)).collect()
            },
            legend,
        })
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.at.len()
    }

    /// How many people there are, those without events among them.
    pub(crate) fn people(&self) -> usize {
        self.legend.count
    }

    /// The places of a person's events.
    pub(crate) fn events(&self, person: usize) -> Range<usize> {
        self.starts[person]..self.starts[person + 1]
    }

    /// People in blocks of about that many events.
    pub(crate) fn blocks(&self, events: usize) -> Vec<Range<usize>> {
        let (mut blocks, mut first) = (Vec::new(), 0);
        for person in 0..self.people() {
            if self.starts[person + 1] - self.starts[first] >= events || person + 1 == self.people() {
                blocks.push(first..person + 1);
                first = person + 1;
            }
        }
        blocks
    }

    /// The earliest and the latest instant of events that meet one of the conditions of `mask`, in the range.
    pub(crate) fn span(&self, mask: u64, scope: &Scope) -> Option<(i64, i64)> {
        let times = self.at.iter().zip(&self.mask);
        let mut times =
            times.filter(|(at, bits)| **bits & mask != 0 && scope.contains(**at)).map(|(at, _)| *at);
        let first = times.next()?;
        Some(times.fold((first, first), |(low, high), at| (low.min(at), high.max(at))))
    }

    /// The number of the value that a breakdown goes by.
    pub(crate) fn label(&self, person: usize, event: usize) -> u32 {
        match &self.legend.by_people {
            Some(people) => people[person],
            None => self.by.get(event).copied().unwrap_or(0),
        }
    }
}

/// The conditions with their bits.
fn bits(wanted: &Wanted) -> impl Iterator<Item = (u64, &EventCondition)> {
    wanted.conditions.iter().enumerate().map(|(place, condition)| (1 << place, condition))
}

/// A column in another order; an empty one stays empty.
fn arranged<T: Copy>(column: &[T], order: &[usize]) -> Vec<T> {
    if column.is_empty() { Vec::new() } else { order.iter().map(|event| column[*event]).collect() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A timeline of (person, time, mask), for tests of what is computed from it.
    pub(in crate::analytics) fn timeline(events: &[(u32, i64, u64)]) -> Timeline {
        let mut reading = Reading::default();
        for (place, (person, at, mask)) in events.iter().enumerate() {
            reading.person.push(*person);
            reading.at.push(*at);
            reading.mask.push(*mask);
            reading.name.push(u32::try_from(place % 7).unwrap());
            reading.event.push(u32::try_from(place).unwrap());
        }
        let count = events.iter().map(|(person, ..)| *person as usize + 1).max().unwrap_or(0);
        let names = (0..7).map(|name| format!("n{name}")).collect();
        let legend = Legend { count, names, ..Legend::default() };
        let wanted = Wanted { all_events: true, ..Wanted::default() };
        let ids = |events: &[u32]| Ok(events.iter().map(|event| format!("{event:08}")).collect());
        let pause = || Ok::<(), ()>(());
        Timeline::new(reading, legend, &wanted, &Scope::default(), Timestamp::EARLIEST, ids, pause).unwrap()
    }

    #[test]
    fn events_are_sorted_by_person_time_and_message_id() {
        let timeline = timeline(&[(1, 5, 1), (0, 9, 2), (1, 5, 4), (1, 3, 8)]);
        assert_eq!((timeline.events(0), timeline.events(1)), (0..1, 1..4));
        assert_eq!(timeline.mask, [2, 8, 1, 4]);
        assert_eq!(timeline.blocks(1), [0..1, 1..2]);
        assert_eq!(timeline.span(1 | 8, &Scope::default()), Some((3, 5)));
    }

    #[test]
    fn labels_are_told_apart_by_value_and_normal_form() {
        let mut labels = Labels::default();
        for (value, number) in [
            (Value::from("é"), 1),
            (Value::from("e\u{301}"), 1),
            (Value::from(1), 2),
            (Value::from(1.0), 2),
            (Value::from("1"), 3),
        ] {
            assert_eq!(labels.number(&value), Some(number), "{value}");
        }
        assert_eq!(labels.values()[2], 1);
    }
}
