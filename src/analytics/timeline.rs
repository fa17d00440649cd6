//! What questions are answered from: the events that a question wants, in columns, sorted by person, by time, and at
//! one instant by message id.

use std::ops::Range;

use rustc_hash::FxHashMap;

use super::parallel::{Watch, in_parallel};
use super::scope::Scope;
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Result};
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
    pub(crate) fn checked(text: &str, member: &'static str) -> std::result::Result<Self, DefinitionError> {
        Self::new(text, member).check()
    }

    pub(crate) fn check(self) -> std::result::Result<Self, DefinitionError> {
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

/// An event as it was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) person: u32,
    /// Its number, if the order at one instant matters.
    pub(crate) event: u32,
    pub(crate) at: i64,
    pub(crate) mask: u64,
}

/// Events as they were read, in any order, and what else is wanted of each.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) rows: Vec<Row>,
    /// Empty unless names are wanted, and so on.
    pub(crate) name: Vec<u32>,
    pub(crate) by: Vec<u32>,
    pub(crate) labels: Vec<Vec<u32>>,
    pub(crate) amounts: Vec<Amount>,
}

impl Share {
    fn append(&mut self, mut other: Self) {
        self.rows.append(&mut other.rows);
        self.name.append(&mut other.name);
        self.by.append(&mut other.by);
        self.labels.iter_mut().zip(&mut other.labels).for_each(|(own, other)| own.append(other));
        self.amounts.append(&mut other.amounts);
    }
}

/// How many people a part has at least, if there are that many, as a power of two: few enough that what is known of them
/// fits into the cache of a core.
const PEOPLE: u32 = if cfg!(debug_assertions) { 1 } else { 12 };

/// As many parts there are at most.
const PARTS: usize = 1 << 8;

/// What one reader has read, by people: those of a part have their numbers in a row.
#[derive(Debug)]
pub(crate) struct Reading {
    shift: u32,
    shares: Vec<Share>,
}

impl Reading {
    /// Of so many people and so many labels nothing yet.
    pub(crate) fn new(people: usize, labels: usize) -> Self {
        let mut shift = PEOPLE;
        while people >> shift >= PARTS {
            shift += 1;
        }
        let share = || Share { labels: vec![Vec::new(); labels], ..Share::default() };
        Self { shift, shares: (0..=people.saturating_sub(1) >> shift).map(|_| share()).collect() }
    }

    /// Where what is read of a person goes.
    #[inline]
    pub(crate) fn share(&mut self, person: u32) -> &mut Share {
        &mut self.shares[person as usize >> self.shift]
    }

    /// How many events were read.
    pub(crate) fn len(&self) -> usize {
        self.shares.iter().map(|share| share.rows.len()).sum()
    }

    /// The people of whom anything was read, by their numbers.
    pub(crate) fn people(&self) -> impl Iterator<Item = u32> + '_ {
        self.shares.iter().flat_map(|share| share.rows.iter().map(|row| row.person))
    }
}

/// What is known beside the events themselves.
#[derive(Debug, Default)]
pub(crate) struct Legend {
    /// How many people there are, and if wanted the names of those of whom there is an event.
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
    parts: Vec<Part>,
    pub(crate) legend: Legend,
}

/// The events of people whose numbers are in a row.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The first of the people.
    first: usize,
    /// Where each person's events begin, and where the last one's end.
    starts: Vec<usize>,
    pub(crate) at: Vec<i64>,
    pub(crate) mask: Vec<u64>,
    pub(crate) name: Vec<u32>,
    by: Vec<u32>,
    by_people: Option<Vec<u32>>,
    pub(crate) labels: Vec<Vec<u32>>,
    pub(crate) amounts: Vec<Amount>,
}

/// Events of one instant of one person, by their places: which comes first, their message ids say.
type Tie = Range<usize>;

/// A part whose events are in order, but for those of one instant.
struct Sorted {
    first: usize,
    share: Share,
    /// By place, which event.
    order: Vec<usize>,
    starts: Vec<usize>,
    ties: Vec<Tie>,
}

/// What is to be made of what was read.
struct Making<'m> {
    wanted: &'m Wanted,
    scope: &'m Scope,
    now: Timestamp,
    first_only: Vec<(u64, &'m EventCondition)>,
    by_people: Option<&'m [u32]>,
}

impl Timeline {
    /// Sorts what was read, and lets go of what is not wanted after all. `ids` gives the message ids of some events by
    /// their numbers.
    ///
    /// # Errors
    ///
    /// What `ids` says, or [`Error::Cancelled`](crate::Error::Cancelled).
    pub(crate) fn new(
        readings: Vec<Reading>,
        legend: Legend,
        (wanted, scope): (&Wanted, &Scope),
        now: Timestamp,
        mut ids: impl FnMut(&[u32]) -> Result<Vec<String>>,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        let noted: usize = readings.iter().map(Reading::len).sum();
        let shift = readings.first().map_or(PEOPLE, |reading| reading.shift);
        let mut shares: Vec<Vec<Share>> = Vec::new();
        for reading in readings {
            shares.resize_with(reading.shares.len(), Vec::new);
            shares.iter_mut().zip(reading.shares).for_each(|(all, share)| all.push(share));
        }
        let making = Making {
            wanted,
            scope,
            now,
            first_only: bits(wanted).filter(|(_, condition)| condition.is_first_only()).collect(),
            by_people: legend.by_people.as_deref(),
        };
        let shares = shares.into_iter().enumerate().map(|(place, shares)| {
            let first = place << shift;
            (first..legend.count.min(first + (1 << shift)), shares)
        });
        // A part without ties is made at once, while it is at hand.
        let made = in_parallel(shares.collect(), watch, noted, |(people, shares)| {
            let sorted = Sorted::of(people, shares, wanted.ordered);
            if sorted.ties.is_empty() { Ok(making.part(sorted)) } else { Err(Box::new(sorted)) }
        })?;
        let mut parts = Vec::with_capacity(made.len());
        let mut tied = Vec::new();
        for (place, made) in made.into_iter().enumerate() {
            match made {
                Ok(part) => parts.push(part),
                Err(mut sorted) => {
                    for tie in std::mem::take(&mut sorted.ties) {
                        watch.tell(noted as u64)?;
                        sorted.settle(tie, &mut ids)?;
                    }
                    parts.push(Part::default());
                    tied.push((place, sorted));
                }
            }
        }
        for (place, part) in in_parallel(tied, watch, noted, |(place, sorted)| (place, making.part(*sorted)))?
        {
            parts[place] = part;
        }
        Ok(Self { parts, legend })
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.at.len()).sum()
    }

    /// The events of all people, those without any among them.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The earliest and the latest instant of events that meet one of the conditions of `mask`, in the range.
    pub(crate) fn span(&self, mask: u64, scope: &Scope) -> Option<(i64, i64)> {
        let spans = self.parts.iter().filter_map(|part| part.span(mask, scope));
        spans.reduce(|(low, high), (first, last)| (low.min(first), high.max(last)))
    }
}

impl Sorted {
    /// Sorts what several readers have read of some people, by person and time.
    fn of(people: Range<usize>, shares: Vec<Share>, ordered: bool) -> Self {
        let mut shares = shares.into_iter();
        let mut share = shares.next().unwrap_or_default();
        shares.for_each(|other| share.append(other));
        let first = people.start;
        let mut starts = vec![0; people.len() + 1];
        for row in &share.rows {
            starts[row.person as usize - first + 1] += 1;
        }
        for person in 1..starts.len() {
            starts[person] += starts[person - 1];
        }
        let mut next = starts.clone();
        let mut keyed = vec![(0_i64, 0_usize); share.rows.len()];
        for (event, row) in share.rows.iter().enumerate() {
            let place = &mut next[row.person as usize - first];
            keyed[*place] = (row.at, event);
            *place += 1;
        }
        let mut ties = Vec::new();
        for person in starts.windows(2) {
            let own = &mut keyed[person[0]..person[1]];
            own.sort_unstable();
            if ordered {
                let mut start = person[0];
                for tied in own.chunk_by(|a, b| a.0 == b.0) {
                    if tied.len() > 1 {
                        ties.push(start..start + tied.len());
                    }
                    start += tied.len();
                }
            }
        }
        let order = keyed.into_iter().map(|(_, event)| event).collect();
        Self { first, share, order, starts, ties }
    }

    /// Puts events of one instant in order.
    fn settle(&mut self, tie: Tie, ids: &mut impl FnMut(&[u32]) -> Result<Vec<String>>) -> Result<()> {
        let tied = &mut self.order[tie];
        let numbers: Vec<u32> = tied.iter().map(|event| self.share.rows[*event].event).collect();
        let mut by_id: Vec<(String, usize)> = ids(&numbers)?.into_iter().zip(tied.iter().copied()).collect();
        by_id.sort_unstable();
        tied.iter_mut().zip(by_id).for_each(|(place, (_, event))| *place = event);
        Ok(())
    }
}

impl Making<'_> {
    fn part(&self, sorted: Sorted) -> Part {
        let Sorted { first, mut share, order, mut starts, .. } = sorted;
        let people = starts.len() - 1;
        let is_cut = !self.wanted.history && self.scope.is_ranged() || !self.first_only.is_empty();
        let kept = if is_cut { self.kept(&mut share, &order, &mut starts) } else { order };
        let amounts = match &mut share.amounts[..] {
            [] => Vec::new(),
            all => {
                let taken = |event: &usize| std::mem::replace(&mut all[*event], Amount::Missing);
                kept.iter().map(taken).collect()
            }
        };
        Part {
            first,
            starts,
            at: kept.iter().map(|event| share.rows[*event].at).collect(),
            mask: kept.iter().map(|event| share.rows[*event].mask).collect(),
            name: arranged(&share.name, &kept),
            by: arranged(&share.by, &kept),
            by_people: self.by_people.map(|all| all[first..first + people].to_vec()),
            labels: share.labels.iter().map(|column| arranged(column, &kept)).collect(),
            amounts,
        }
    }

    /// The events that are wanted after all, in order, when it is known which of a person's come first.
    fn kept(&self, share: &mut Share, order: &[usize], starts: &mut [usize]) -> Vec<usize> {
        let mut kept = Vec::with_capacity(order.len());
        let mut end = starts[0];
        for person in 0..starts.len() - 1 {
            let events = &order[end..starts[person + 1]];
            end = starts[person + 1];
            for (bit, condition) in &self.first_only {
                let mut met = false;
                for event in events {
                    let row = &mut share.rows[*event];
                    let inside = !met && condition.fits_time(Timestamp::from_micros(row.at), self.now);
                    met |= row.mask & bit != 0;
                    if !inside {
                        row.mask &= !bit;
                    }
                }
            }
            starts[person] = kept.len();
            kept.extend(events.iter().copied().filter(|event| {
                let row = &share.rows[*event];
                (self.wanted.history || self.scope.contains(row.at))
                    && (self.wanted.all_events || row.mask != 0)
            }));
        }
        if let Some(last) = starts.last_mut() {
            *last = kept.len();
        }
        kept
    }
}

impl Part {
    /// The people, by number.
    pub(crate) fn people(&self) -> Range<usize> {
        self.first..self.first + self.starts.len().saturating_sub(1)
    }

    /// The places of a person's events.
    pub(crate) fn events(&self, person: usize) -> Range<usize> {
        self.starts[person - self.first]..self.starts[person - self.first + 1]
    }

    fn span(&self, mask: u64, scope: &Scope) -> Option<(i64, i64)> {
        let times = self.at.iter().zip(&self.mask);
        let mut times =
            times.filter(|(at, bits)| **bits & mask != 0 && scope.contains(**at)).map(|(at, _)| *at);
        let first = times.next()?;
        Some(times.fold((first, first), |(low, high), at| (low.min(at), high.max(at))))
    }

    /// The number of the value that a breakdown goes by.
    pub(crate) fn label(&self, person: usize, event: usize) -> u32 {
        match &self.by_people {
            Some(people) => people[person - self.first],
            None => self.by.get(event).copied().unwrap_or(0),
        }
    }

    /// Whether a breakdown goes by what people are, not by what they did.
    pub(crate) fn is_by_people(&self) -> bool {
        self.by_people.is_some()
    }
}

/// The people of parts, each with the part.
pub(crate) fn people(parts: &[Part]) -> impl Iterator<Item = (&Part, usize)> {
    parts.iter().flat_map(|part| part.people().map(move |person| (part, person)))
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
    use std::ops::ControlFlow;

    use super::*;

    /// A timeline of (person, time, mask), for tests of what is computed from it.
    pub(in crate::analytics) fn timeline(events: &[(u32, i64, u64)]) -> Timeline {
        let count = events.iter().map(|(person, ..)| *person as usize + 1).max().unwrap_or(0);
        let mut readings = [Reading::new(count, 0), Reading::new(count, 0)];
        for (place, (person, at, mask)) in (0_u32..).zip(events) {
            let share = readings[place as usize % 2].share(*person);
            share.rows.push(Row { person: *person, event: place, at: *at, mask: *mask });
            share.name.push(place % 7);
        }
        let names = (0..7).map(|name| format!("n{name}")).collect();
        let legend = Legend { count, names, ..Legend::default() };
        let wanted = Wanted { all_events: true, ordered: true, ..Wanted::default() };
        let ids = |events: &[u32]| Ok(events.iter().map(|event| format!("{event:08}")).collect());
        let mut go_on = |_| ControlFlow::Continue(());
        let asked = (&wanted, &Scope::default());
        Timeline::new(readings.into(), legend, asked, Timestamp::EARLIEST, ids, &Watch::new(&mut go_on))
            .unwrap()
    }

    #[test]
    fn events_are_sorted_by_person_time_and_message_id() {
        let timeline = timeline(&[(1, 5, 1), (0, 9, 2), (1, 5, 4), (1, 3, 8), (3, 4, 16)]);
        let [one, other] = timeline.parts() else { panic!("two people are a part in debug builds") };
        assert_eq!((one.people(), other.people()), (0..2, 2..4));
        assert_eq!(
            (one.events(0), one.events(1), other.events(2), other.events(3)),
            (0..1, 1..4, 0..0, 0..1)
        );
        assert_eq!((&one.mask[..], &other.mask[..]), (&[2, 8, 1, 4][..], &[16][..]));
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
