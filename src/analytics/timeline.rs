//! What questions are answered from: the events that a question wants, in columns, sorted by person, by time, and at
//! one instant by message id.

use std::ops::Range;

use super::calendar::wider;
use super::counter::Counter;
use super::parallel::{Watch, for_everybody, in_parallel};
use super::presence::Presence;
use super::scope::Scope;
use super::tally::Tally;
use super::trails::Trails;
use super::wanted::{Amount, Labels, Wanted};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::segment::EventCondition;

/// The conditions that an event meets, the first as the lowest bit.
pub(crate) type Mask = u32;

/// An event, in as little room as there can be: what takes time is to move them about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) at: i64,
    pub(crate) mask: Mask,
    /// The number of the person, as long as events are in no order; then where in the columns beside it they stand.
    pub(crate) who: u32,
}

/// Events as they were read, in any order, and what else is wanted of each.
#[derive(Debug, Default)]
pub(crate) struct Share {
    pub(crate) rows: Vec<Row>,
    /// Their numbers; empty if the order at one instant does not matter.
    pub(crate) events: Vec<u32>,
    /// Empty unless names are wanted, and so on.
    pub(crate) name: Vec<u32>,
    pub(crate) by: Vec<u32>,
    pub(crate) labels: Vec<Vec<u32>>,
    pub(crate) amounts: Vec<Amount>,
}

impl Share {
    /// No events, of which so many labels are wanted.
    pub(crate) fn new(labels: usize) -> Self {
        Self { labels: vec![Vec::new(); labels], ..Self::default() }
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.events.clear();
        self.name.clear();
        self.by.clear();
        self.labels.iter_mut().for_each(Vec::clear);
        self.amounts.clear();
    }

    /// Adds what another has beside its events.
    fn append_columns(&mut self, other: &mut Self) {
        self.events.append(&mut other.events);
        self.name.append(&mut other.name);
        self.by.append(&mut other.by);
        self.labels.resize_with(other.labels.len(), Vec::new);
        self.labels.iter_mut().zip(&mut other.labels).for_each(|(own, other)| own.append(other));
        self.amounts.append(&mut other.amounts);
    }
}

/// How many people a part has at least, if there are that many, as a power of two: few enough that what is known of them
/// fits into the cache of a core.
const PEOPLE: u32 = if cfg!(any(test, debug_assertions)) { 1 } else { 12 };

/// As many parts there are at most.
const PARTS: usize = 1 << 8;

/// How many of so many people a part has, as a power of two.
pub(super) fn usual_part(people: usize) -> u32 {
    let mut shift = PEOPLE;
    while people >> shift >= PARTS {
        shift += 1;
    }
    shift
}

/// What one reader has read, by people: those of a part have their numbers in a row.
#[derive(Debug)]
pub(crate) struct Reading {
    shift: u32,
    shares: Vec<Share>,
}

impl Reading {
    /// Of so many people and so many labels nothing yet.
    pub(crate) fn new(people: usize, labels: usize) -> Self {
        let shift = usual_part(people);
        Self { shift, shares: (0..=people.saturating_sub(1) >> shift).map(|_| Share::new(labels)).collect() }
    }

    /// Notes events. Those of people whose numbers are close come together most of the time.
    pub(crate) fn add(&mut self, events: &mut Share) {
        let Share { rows, events, name, by, labels, amounts } = events;
        let mut start = 0;
        while let Some(first) = rows.get(start) {
            let part = first.who >> self.shift;
            let count = rows[start..].iter().take_while(|row| row.who >> self.shift == part).count();
            let (run, share) = (start..start + count, &mut self.shares[part as usize]);
            share.rows.extend_from_slice(&rows[run.clone()]);
            let columns = [(&mut share.events, &*events), (&mut share.name, &*name), (&mut share.by, &*by)];
            for (own, column) in columns.into_iter().chain(share.labels.iter_mut().zip(&*labels)) {
                own.extend_from_slice(column.get(run.clone()).unwrap_or_default());
            }
            let own = amounts.get_mut(run).unwrap_or_default().iter_mut();
            share.amounts.extend(own.map(|amount| std::mem::replace(amount, Amount::Missing)));
            start += count;
        }
    }

    /// How many events were read.
    pub(crate) fn len(&self) -> usize {
        self.shares.iter().map(|share| share.rows.len()).sum()
    }

    /// The people of whom anything was read, by their numbers.
    pub(crate) fn people(&self) -> impl Iterator<Item = u32> + '_ {
        self.shares.iter().flat_map(|share| share.rows.iter().map(|row| row.who))
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
    /// What was counted as it was read; then there are no parts.
    pub(crate) counted: Option<Counter>,
    pub(crate) legend: Legend,
}

/// The events of people whose numbers are in a row.
#[derive(Debug, Default)]
pub(crate) struct Part {
    /// The first of the people.
    first: usize,
    /// Where each person's events begin, and where the last one's end.
    starts: Vec<usize>,
    pub(crate) rows: Vec<Row>,
    pub(crate) name: Vec<u32>,
    by: Vec<u32>,
    by_people: Option<Vec<u32>>,
    pub(crate) labels: Vec<Vec<u32>>,
    pub(crate) amounts: Vec<Amount>,
}

/// Events of one instant of one person, by their places: which comes first, their message ids say.
type Tie = Range<usize>;

/// In which order a person's events are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// By person.
    Any,
    Time,
    /// By time, and at one instant by message id.
    Exact,
}

/// A part whose events are in order, but for those of one instant.
struct Sorted {
    first: usize,
    starts: Vec<usize>,
    rows: Vec<Row>,
    /// What is known beside the events, as it was read.
    beside: Share,
    ties: Vec<Tie>,
}

/// What is to be made of what was read.
struct Making<'m> {
    wanted: &'m Wanted,
    scope: &'m Scope,
    now: Timestamp,
    first_only: Vec<(Mask, &'m EventCondition)>,
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
        let order = match wanted {
            _ if wanted.is_ordered() => Order::Exact,
            Wanted { unsorted: true, .. } => Order::Any,
            _ => Order::Time,
        };
        let shares = shares.into_iter().enumerate().map(|(place, shares)| {
            let first = place << shift;
            (first..legend.count.min(first + (1 << shift)), shares)
        });
        // A part without ties is made at once, while it is at hand.
        let made = in_parallel(shares.collect(), watch, noted, |(people, shares)| {
            let sorted = Sorted::of(people, shares, order);
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
        Ok(Self { parts, legend, ..Self::default() })
    }

    /// What is known where events were counted as they were read.
    pub(crate) fn counted(counted: Counter, legend: Legend) -> Self {
        Self { counted: Some(counted), legend, ..Self::default() }
    }

    /// What was counted from period to period, if it was.
    pub(super) fn tally(&self) -> Option<&Tally> {
        match &self.counted {
            Some(Counter::Tally(tally)) => Some(tally),
            _ => None,
        }
    }

    /// In which periods people did what is asked, if that was noted.
    pub(super) fn presence(&self) -> Option<&Presence> {
        match &self.counted {
            Some(Counter::Presence(presence)) => Some(presence),
            _ => None,
        }
    }

    /// Who did what when, if that was noted.
    pub(super) fn trails(&self) -> Option<&Trails> {
        match &self.counted {
            Some(Counter::Trails(trails)) => Some(trails),
            _ => None,
        }
    }

    /// How many events there are.
    pub(crate) fn len(&self) -> usize {
        self.parts.iter().map(|part| part.rows.len()).sum()
    }

    /// The events of all people, those without any among them.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The earliest and the latest instant of events that meet one of the conditions of `mask`, in the range.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn span(&self, mask: Mask, scope: &Scope, watch: &Watch<'_>) -> Result<Option<(i64, i64)>> {
        let of_parts = |parts: &[Part]| parts.iter().map(|part| part.span(mask, scope)).fold(None, wider);
        Ok(for_everybody(self, watch, of_parts)?.into_iter().fold(None, wider))
    }
}

impl Sorted {
    /// Sorts what several readers have read of some people, by person and time.
    fn of(people: Range<usize>, mut shares: Vec<Share>, order: Order) -> Self {
        let first = people.start;
        let mut starts = vec![0; people.len() + 1];
        for row in shares.iter().flat_map(|share| &share.rows) {
            starts[row.who as usize - first + 1] += 1;
        }
        for person in 1..starts.len() {
            starts[person] += starts[person - 1];
        }
        let mut next = starts.clone();
        let mut rows = vec![Row { at: 0, mask: 0, who: 0 }; starts[people.len()]];
        let mut beside = Share::default();
        let mut number = 0_u32;
        for share in &mut shares {
            for row in std::mem::take(&mut share.rows) {
                let place = &mut next[row.who as usize - first];
                rows[*place] = Row { who: number, ..row };
                *place += 1;
                number += 1;
            }
            beside.append_columns(share);
        }
        let mut ties = Vec::new();
        let sorted = if order == Order::Any { &[][..] } else { &starts[..] };
        for person in sorted.windows(2) {
            let own = &mut rows[person[0]..person[1]];
            // What is numbered alike whoever reads it when is in the same order every time.
            let number = |row: &Row| beside.events.get(row.who as usize);
            own.sort_unstable_by(|a, b| a.at.cmp(&b.at).then_with(|| number(a).cmp(&number(b))));
            if order == Order::Exact {
                let mut start = person[0];
                for tied in own.chunk_by(|a, b| a.at == b.at) {
                    if tied.len() > 1 {
                        ties.push(start..start + tied.len());
                    }
                    start += tied.len();
                }
            }
        }
        Self { first, starts, rows, beside, ties }
    }

    /// Puts events of one instant in order.
    fn settle(&mut self, tie: Tie, ids: &mut impl FnMut(&[u32]) -> Result<Vec<String>>) -> Result<()> {
        let tied = &mut self.rows[tie];
        let numbers: Vec<u32> = tied.iter().map(|row| self.beside.events[row.who as usize]).collect();
        let mut by_id: Vec<(String, Row)> = ids(&numbers)?.into_iter().zip(tied.iter().copied()).collect();
        by_id.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        tied.iter_mut().zip(by_id).for_each(|(place, (_, row))| *place = row);
        Ok(())
    }
}

impl Making<'_> {
    fn part(&self, sorted: Sorted) -> Part {
        let Sorted { first, mut starts, mut rows, mut beside, .. } = sorted;
        let people = starts.len() - 1;
        if !self.first_only.is_empty() {
            self.narrow(&mut rows, &mut starts);
        }
        let amounts = match &mut beside.amounts[..] {
            [] => Vec::new(),
            all => {
                let taken = |row: &Row| std::mem::replace(&mut all[row.who as usize], Amount::Missing);
                rows.iter().map(taken).collect()
            }
        };
        Part {
            first,
            starts,
            name: arranged(&beside.name, &rows),
            by: arranged(&beside.by, &rows),
            by_people: self.by_people.map(|all| all[first..first + people].to_vec()),
            labels: beside.labels.iter().map(|column| arranged(column, &rows)).collect(),
            amounts,
            rows,
        }
    }

    /// Leaves the events that are wanted after all, when it is known which of a person's come first.
    fn narrow(&self, rows: &mut Vec<Row>, starts: &mut [usize]) {
        let (mut kept, mut start) = (0, starts[0]);
        for place in starts.iter_mut().skip(1) {
            let end = *place;
            for (bit, condition) in &self.first_only {
                let mut met = false;
                for row in &mut rows[start..end] {
                    let inside = !met && condition.fits_time(Timestamp::from_micros(row.at), self.now);
                    met |= row.mask & bit != 0;
                    if !inside {
                        row.mask &= !bit;
                    }
                }
            }
            for event in start..end {
                let row = rows[event];
                if (self.wanted.history || self.scope.contains(row.at))
                    && (self.wanted.all_events || row.mask != 0)
                {
                    rows[kept] = row;
                    kept += 1;
                }
            }
            (*place, start) = (kept, end);
        }
        rows.truncate(kept);
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

    fn span(&self, mask: Mask, scope: &Scope) -> Option<(i64, i64)> {
        let fits = |row: &&Row| row.mask & mask != 0 && scope.contains(row.at);
        let mut times = self.rows.iter().filter(fits).map(|row| row.at);
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
fn bits(wanted: &Wanted) -> impl Iterator<Item = (Mask, &EventCondition)> {
    wanted.conditions.iter().enumerate().map(|(place, condition)| (1 << place, condition))
}

/// What stands beside events, in their order; an empty column stays empty.
fn arranged(column: &[u32], rows: &[Row]) -> Vec<u32> {
    if column.is_empty() { Vec::new() } else { rows.iter().map(|row| column[row.who as usize]).collect() }
}

#[cfg(test)]
pub(super) mod tests {
    use std::ops::ControlFlow;

    use super::*;

    /// A timeline of (person, time, mask), for tests of what is computed from it.
    pub(in crate::analytics) fn timeline(events: &[(u32, i64, Mask)]) -> Timeline {
        let count = events.iter().map(|(person, ..)| *person as usize + 1).max().unwrap_or(0);
        let mut readings = [Reading::new(count, 0), Reading::new(count, 0)];
        for (place, (person, at, mask)) in (0_u32..).zip(events) {
            let mut share = Share::new(0);
            share.rows.push(Row { who: *person, at: *at, mask: *mask });
            share.events.push(place);
            share.name.push(place % 7);
            readings[place as usize % 2].add(&mut share);
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
        let [one, other] = timeline.parts() else { panic!("two people are a part in tests") };
        assert_eq!((one.people(), other.people()), (0..2, 2..4));
        assert_eq!(
            (one.events(0), one.events(1), other.events(2), other.events(3)),
            (0..1, 1..4, 0..0, 0..1)
        );
        let masks = |part: &Part| part.rows.iter().map(|row| row.mask).collect::<Vec<_>>();
        assert_eq!((masks(one), masks(other)), (vec![2, 8, 1, 4], vec![16]));
        let mut go_on = |_| ControlFlow::Continue(());
        let span = timeline.span(1 | 8, &Scope::default(), &Watch::new(&mut go_on));
        assert_eq!(span.unwrap(), Some((3, 5)));
    }
}
