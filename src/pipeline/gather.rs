//! Noting what a question wants of the events that are handed out, on one of the cores.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::contents::Wants;
use super::scan::{Name, Scan, go_on, label};
use crate::analytics::{Amount, Labels, Place, Reading, Row};
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
        let (piece, label) = (stand.piece as usize, stand.label as usize);
        if self.pieces.len() <= piece {
            self.pieces.resize_with(piece + 1, Vec::new);
        }
        let labels = &mut self.pieces[piece];
        if labels.len() <= label {
            labels.resize(label + 1, None);
        }
        labels[label] = Some(found);
    }
}

/// A thing that is asked of the values of events, which hangs on one member only if `member` says so.
struct Found<T> {
    member: Option<usize>,
    known: Memo<T>,
}

impl<T: Copy> Found<T> {
    fn new(member: Option<usize>) -> Self {
        Self { member, known: Memo::new() }
    }

    /// What is found of an event of a chunk.
    fn of(&mut self, chunk: &Chunk<'_>, event: u32, find: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(member) = self.member else { return find() };
        let stand = chunk.values.stand(member, event);
        if let Some(known) = self.known.get(stand) {
            return Ok(known);
        }
        let found = find()?;
        self.known.put(stand, found);
        Ok(found)
    }
}

/// What one reader has noted.
pub(super) struct Gather {
    pub(super) reading: Reading,
    /// Those of a chunk; kept for its space.
    rows: Vec<Row>,
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
    pub(super) fn new(scan: &Scan<'_>) -> Self {
        let member = |place: &Place| scan.only_member(place.path(), place.in_context());
        let of_condition = |condition: &EventCondition| {
            let mut members = condition.paths().map(|path| scan.only_member(path, false));
            let first = members.next().flatten()?;
            members.all(|member| member == Some(first)).then_some(first)
        };
        Self {
            rows: Vec::new(),
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
        let noted = self.note(scan, chunk, &scan.names.known[chunk.name as usize]);
        go_on(noted, &mut self.failed)
    }

    /// The same, one column after the other: so a core need not wait for what is far in memory.
    fn note(&mut self, scan: &Scan<'_>, chunk: &Chunk<'_>, name: &Name) -> Result<()> {
        let wanted = scan.wanted;
        let mut rows = std::mem::take(&mut self.rows);
        rows.clear();
        for (place, (node, at)) in chunk.nodes.iter().zip(chunk.times).enumerate() {
            if let Some(who) = scan.person(*node) {
                let event = chunk.events.get(place).copied().unwrap_or_default();
                rows.push(Row { at: *at, mask: name.plain, event, who });
            }
        }
        for place in &name.asking {
            let condition = &wanted.conditions[*place];
            let any_time = condition.is_first_only() || !condition.asks_time();
            for row in &mut rows {
                if !any_time && !condition.fits_time(Timestamp::from_micros(row.at), scan.now) {
                    continue;
                }
                let fits = || Ok(condition.fits_properties(&Sight::of(scan, chunk, row.event).properties()));
                if self.fits[*place].of(chunk, row.event, fits)? {
                    row.mask |= 1 << place;
                }
            }
        }
        if !name.asking.is_empty() && !wanted.all_events {
            rows.retain(|row| row.mask != 0);
        }
        self.any_labelled |= rows.iter().any(|row| row.mask > 1);
        for row in &rows {
            self.reading.share(row.who).rows.push(*row);
        }
        if wanted.names {
            for row in &rows {
                self.reading.share(row.who).name.push(chunk.name);
            }
        }
        let number = |labels: &Mutex<Labels>, place: &Place, event: u32| {
            let sight = Sight::of(scan, chunk, event);
            let value = place.find(&sight.properties(), &sight.context());
            label(&mut lock(labels), value, place.member)
        };
        if let Some(place) = scan.by_place() {
            for row in &rows {
                let label = self.by.of(chunk, row.event, || number(&scan.by, place, row.event))?;
                self.reading.share(row.who).by.push(label);
            }
        }
        for (column, (labels, place)) in scan.labels.iter().zip(&wanted.labels).enumerate() {
            for row in &rows {
                let find = || number(labels, place, row.event);
                let label = self.labels[column].of(chunk, row.event, find)?;
                self.reading.share(row.who).labels[column].push(label);
            }
        }
        if let Some(place) = &wanted.amount {
            for row in &rows {
                let amount = self.amount(scan, chunk, place, row.event);
                self.any_amount |= !amount.is_missing();
                self.reading.share(row.who).amounts.push(amount);
            }
        }
        self.rows = rows;
        Ok(())
    }

    fn amount(&self, scan: &Scan<'_>, chunk: &Chunk<'_>, place: &Place, event: u32) -> Amount {
        let quick = self.amount.and_then(|member| {
            let stand = chunk.values.stand(member, event);
            if stand.label == 0 {
                return Some(Amount::Missing);
            }
            chunk.values.millionths(member, stand).map(Amount::Millionths)
        });
        quick.unwrap_or_else(|| {
            let sight = Sight::of(scan, chunk, event);
            place.add_up(&sight.properties(), &sight.context())
        })
    }
}

fn lock(labels: &Mutex<Labels>) -> MutexGuard<'_, Labels> {
    labels.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The members of an event, to be found by their names.
struct Sight<'f> {
    wants: &'f Wants,
    values: Vec<Option<&'f Value>>,
}

impl<'f> Sight<'f> {
    fn of(scan: &'f Scan<'_>, chunk: &Chunk<'f>, event: u32) -> Self {
        Self { wants: &scan.members, values: chunk.values.of(event) }
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
