//! Noting what a question wants of the events that are handed out, on one of the cores.

use std::iter::repeat;
use std::ops::ControlFlow;
use std::sync::Mutex;

use super::contents::Wants;
use super::scan::{Scan, go_on, label, lock};
use crate::analytics::{Amount, Batch, Counter, Labels, Mask, Place, Reading, Row, Share};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::segment::EventCondition;
use crate::store::{Chunk, Stand};
use crate::value::{Members, Value};

/// What was found out of the values in columns, by where they stand: the same place has the same value.
struct Memo<T> {
    pieces: Vec<Vec<Option<T>>>,
}

impl<T: Copy> Memo<T> {
    fn new() -> Self {
        Self { pieces: Vec::new() }
    }

    #[inline]
    fn get(&self, stand: Stand) -> Option<T> {
        *self.pieces.get(stand.piece as usize)?.get(stand.label as usize)?
    }

    fn put(&mut self, stand: Stand, found: T) {
        let label = stand.label as usize;
        let labels = self.of(stand.piece);
        if labels.len() <= label {
            labels.resize(label + 1, None);
        }
        labels[label] = Some(found);
    }

    /// What was found in a piece, by labels.
    fn of(&mut self, piece: u32) -> &mut Vec<Option<T>> {
        let piece = piece as usize;
        if self.pieces.len() <= piece {
            self.pieces.resize_with(piece + 1, Vec::new);
        }
        &mut self.pieces[piece]
    }
}

/// A thing that is asked of the values of events, which hangs on one member only if `member` says so.
struct Found<T> {
    member: Option<usize>,
    known: Memo<T>,
    /// The labels of a chunk; kept for its space.
    labels: Vec<u32>,
}

impl<T: Copy> Found<T> {
    fn new(member: Option<usize>) -> Self {
        Self { member, known: Memo::new(), labels: Vec::new() }
    }

    /// What is found of an event of a chunk.
    fn of(&mut self, chunk: &Chunk<'_>, key: u32, find: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(member) = self.member else { return find() };
        let stand = chunk.values.stand(member, key);
        if let Some(known) = self.known.get(stand) {
            return Ok(known);
        }
        let found = find()?;
        self.known.put(stand, found);
        Ok(found)
    }

    /// What is found of all events of a chunk that have some keys.
    fn all(
        &mut self,
        chunk: &Chunk<'_>,
        keys: &[u32],
        out: &mut Vec<T>,
        find: impl Fn(u32) -> Result<T>,
    ) -> Result<()> {
        self.labels.clear();
        let piece = self.member.and_then(|member| chunk.values.run(member, keys, &mut self.labels));
        out.reserve(keys.len());
        let Some(piece) = piece else {
            for key in keys {
                out.push(self.of(chunk, *key, || find(*key))?);
            }
            return Ok(());
        };
        let most = self.labels.iter().fold(0, |most, label| *label.max(&most)) as usize;
        let known = self.known.of(piece);
        if known.len() <= most {
            known.resize(most + 1, None);
        }
        for (key, label) in keys.iter().zip(&self.labels) {
            let known = &mut known[*label as usize];
            let found = match *known {
                Some(found) => found,
                None => *known.insert(find(*key)?),
            };
            out.push(found);
        }
        Ok(())
    }
}

/// What one reader has noted.
pub(super) struct Gather {
    pub(super) reading: Reading,
    /// What was counted, if nothing else is wanted, and whether something could not be.
    pub(super) counted: Option<Counter>,
    pub(super) is_uncounted: bool,
    /// The events of a chunk; kept for its space, as are the others.
    events: Share,
    times: Vec<i64>,
    people: Vec<u32>,
    masks: Vec<Mask>,
    keys: Vec<u32>,
    kept: Vec<bool>,
    /// What of the values of events was found out: by the conditions, the breakdown and the labels.
    fits: Vec<Found<bool>>,
    by: Found<u32>,
    labels: Vec<Found<u32>>,
    amount: Option<usize>,
    /// Whether any event bore the number that is added up.
    pub(super) any_amount: bool,
    /// Whether any event met a condition that its label is asked of: one that is not the first, if there are several.
    pub(super) any_labelled: bool,
    pub(super) failed: Result<()>,
}

impl Gather {
    /// Nothing yet, which is counted if a counter says how.
    pub(super) fn new(scan: &Scan<'_>, counter: Option<&Counter>) -> Self {
        let member = |place: &Place| scan.only_member(place.path(), place.in_context());
        let of_condition = |condition: &EventCondition| {
            let mut members = condition.paths().map(|path| scan.only_member(path, false));
            let first = members.next().flatten()?;
            members.all(|member| member == Some(first)).then_some(first)
        };
        Self {
            events: Share::new(scan.wanted.labels.len()),
            times: Vec::new(),
            people: Vec::new(),
            masks: Vec::new(),
            keys: Vec::new(),
            kept: Vec::new(),
            counted: counter.map(Counter::blank),
            is_uncounted: false,
            reading: Reading::new(scan.numbers.roots().len(), scan.wanted.labels.len()),
            fits: scan
                .wanted
                .conditions
                .iter()
                .map(|condition| Found::new(of_condition(condition)))
                .collect(),
            by: Found::new(scan.by_place().and_then(member)),
            labels: scan.wanted.labels.iter().map(|place| Found::new(member(place))).collect(),
            amount: scan.wanted.amount.as_ref().and_then(member),
            any_amount: false,
            any_labelled: false,
            failed: Ok(()),
        }
    }

    /// Notes the events of a chunk that are wanted.
    pub(super) fn take(&mut self, scan: &Scan<'_>, chunk: &Chunk<'_>) -> ControlFlow<()> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let noted = match self.counted.take() {
            Some(mut counter) => {
                let could = self.count(scan, chunk, &mut events, &mut counter);
                self.counted = Some(counter);
                self.is_uncounted |= matches!(could, Ok(false));
                could.map(drop)
            }
            None => self.note(scan, chunk, &mut events).map(|()| self.reading.add(&mut events)),
        };
        self.events = events;
        go_on(noted, &mut self.failed)?;
        if self.is_uncounted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Counts the events of a chunk that are wanted, and says whether it could.
    fn count(
        &mut self,
        scan: &Scan<'_>,
        chunk: &Chunk<'_>,
        events: &mut Share,
        counter: &mut Counter,
    ) -> Result<bool> {
        let name = &scan.names.known[chunk.name as usize];
        let are_all_wanted = name.asking.is_empty() && scan.is_everyone_meant();
        self.people.clear();
        self.masks.clear();
        if !chunk.counts.is_empty() {
            return Ok(counter.add_counts(chunk.counts));
        }
        if are_all_wanted {
            self.values(scan, chunk, chunk.keys, events)?;
            if counter.is_of_people() {
                self.masks.resize(chunk.people.len(), name.plain);
            }
            let (people, masks) = (chunk.people, &self.masks);
            let Share { by, amounts, .. } = events;
            return Ok(counter.add(&Batch { times: chunk.times, people, masks, by, amounts }));
        }
        self.note(scan, chunk, events)?;
        self.people.extend(events.rows.iter().map(|row| row.who));
        self.masks.extend(events.rows.iter().map(|row| row.mask));
        self.times.clear();
        self.times.extend(events.rows.iter().map(|row| row.at));
        let Share { by, amounts, .. } = events;
        let Self { times, people, masks, .. } = self;
        Ok(counter.add(&Batch { times, people, masks, by, amounts }))
    }

    /// The same, one column after the other: so a core need not wait for what is far in memory.
    fn note(&mut self, scan: &Scan<'_>, chunk: &Chunk<'_>, events: &mut Share) -> Result<()> {
        let (wanted, name) = (scan.wanted, &scan.names.known[chunk.name as usize]);
        let Share { rows, events: numbers, name: names, .. } = &mut *events;
        debug_assert_eq!(chunk.people.len(), chunk.times.len(), "whose they are was not asked for");
        let own = chunk.people.iter().zip(chunk.times);
        rows.extend(own.map(|(who, at)| Row { at: *at, mask: name.plain, who: *who }));
        numbers.extend(chunk.events);
        let mut keys = std::mem::take(&mut self.keys);
        keys.clear();
        keys.extend(chunk.keys);
        if scan.audience.is_some() {
            narrow(rows, [numbers, &mut keys], &mut self.kept, |row| scan.is_meant(row.who));
        }
        for place in &name.asking {
            let condition = &wanted.conditions[*place];
            let any_time = condition.is_first_only() || !condition.asks_time();
            for (row, key) in rows.iter_mut().zip(keys.iter().copied().chain(repeat(0))) {
                if !any_time && !condition.fits_time(Timestamp::from_micros(row.at), scan.now) {
                    continue;
                }
                let fits = || Ok(condition.fits_properties(&Sight::of(scan, chunk, key).properties()));
                if self.fits[*place].of(chunk, key, fits)? {
                    row.mask |= 1 << place;
                }
            }
        }
        if !name.asking.is_empty() && !wanted.all_events {
            narrow(rows, [numbers, &mut keys], &mut self.kept, |row| row.mask != 0);
        }
        self.any_labelled |= rows.iter().any(|row| row.mask > 1);
        if wanted.names {
            names.resize(rows.len(), chunk.name);
        }
        let found = self.values(scan, chunk, &keys, events);
        self.keys = keys;
        found
    }

    /// Notes the values that are wanted of events of a chunk, by their keys.
    fn values(&mut self, scan: &Scan<'_>, chunk: &Chunk<'_>, keys: &[u32], events: &mut Share) -> Result<()> {
        let wanted = scan.wanted;
        let Share { by, labels: columns, amounts, .. } = events;
        let number = |labels: &Mutex<Labels>, place: &Place, key: u32| {
            let sight = Sight::of(scan, chunk, key);
            let value = place.find(&sight.properties(), &sight.context());
            label(&mut lock(labels), value, place.member)
        };
        if let Some(place) = scan.by_place() {
            self.by.all(chunk, keys, by, |key| number(&scan.by, place, key))?;
        }
        for (column, (labels, place)) in scan.labels.iter().zip(&wanted.labels).enumerate() {
            self.labels[column].all(chunk, keys, &mut columns[column], |key| number(labels, place, key))?;
        }
        if let Some(place) = &wanted.amount {
            let before = amounts.len();
            self.amounts(scan, chunk, place, keys, amounts);
            self.any_amount |= amounts[before..].iter().any(|amount| !amount.is_missing());
        }
        Ok(())
    }

    /// Notes the numbers that are added up.
    fn amounts(
        &mut self,
        scan: &Scan<'_>,
        chunk: &Chunk<'_>,
        place: &Place,
        keys: &[u32],
        amounts: &mut Vec<Amount>,
    ) {
        let of_event = |key: u32| {
            let sight = Sight::of(scan, chunk, key);
            place.add_up(&sight.properties(), &sight.context())
        };
        let Some(member) = self.amount else {
            return amounts.extend(keys.iter().map(|key| of_event(*key)));
        };
        let quick = |stand: Stand| match stand.label {
            0 => Some(Amount::Missing),
            _ => chunk.values.millionths(member, stand).map(Amount::Millionths),
        };
        let own =
            keys.iter().map(|key| quick(chunk.values.stand(member, *key)).unwrap_or_else(|| of_event(*key)));
        amounts.extend(own);
    }
}

/// Leaves the rows that are wanted, with what of them is known beside. First it is found out which those are, and then they
/// are moved: so a core need not wait for what is far in memory, nor guess.
fn narrow(
    rows: &mut Vec<Row>,
    beside: [&mut Vec<u32>; 2],
    kept: &mut Vec<bool>,
    wanted: impl Fn(&Row) -> bool,
) {
    kept.clear();
    kept.extend(rows.iter().map(wanted));
    move_up(rows, kept);
    for column in beside {
        move_up(column, kept);
    }
}

/// Leaves those that are kept.
fn move_up<T: Copy>(all: &mut Vec<T>, kept: &[bool]) {
    let mut many = 0;
    for (place, is_kept) in (0..all.len()).zip(kept) {
        all[many] = all[place];
        many += usize::from(*is_kept);
    }
    all.truncate(many);
}

/// The members of an event, to be found by their names.
struct Sight<'f> {
    wants: &'f Wants,
    values: Vec<Option<&'f Value>>,
}

impl<'f> Sight<'f> {
    fn of(scan: &'f Scan<'_>, chunk: &Chunk<'f>, key: u32) -> Self {
        Self { wants: &scan.members, values: chunk.values.of(key) }
    }

    fn properties(&self) -> Seen<'_, 'f> {
        Seen { names: &self.wants.properties, values: &self.values }
    }

    fn context(&self) -> Seen<'_, 'f> {
        let values = self.values.get(self.wants.properties.len()..).unwrap_or_default();
        Seen { names: &self.wants.context, values }
    }
}

/// Values by the names of the members.
struct Seen<'s, 'f> {
    names: &'s [String],
    values: &'s [Option<&'f Value>],
}

impl<'f> Members<'f> for Seen<'_, 'f> {
    fn member(&self, name: &str) -> Option<&'f Value> {
        let place = self.names.iter().position(|other| other == name)?;
        self.values.get(place).copied().flatten()
    }
}
