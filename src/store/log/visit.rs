//! Going through the log for a question about everybody: columns of events of one name, on all cores.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::block::{Block, Entry, NOBODY, Part};
use super::cores::{Breath, Pause, cores, on_cores};
use super::values::{Opened, Values, piece_of};
use super::{Asked, Moves, Place};
use crate::clock::Timestamp;
use crate::store::{Db, Result};

/// So many events are not worth another core.
const FEW: usize = if cfg!(debug_assertions) { 1 << 3 } else { 1 << 14 };

/// As many events of a part of a block are handed out at once: so few that what is made of them stays in the cache of a core.
const CHUNK: usize = if cfg!(debug_assertions) { 1 << 2 } else { 1 << 10 };

/// The events of a visit: which, and what of them.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'v> {
    /// From the one instant on, and before the other.
    pub(crate) range: (Option<Timestamp>, Option<Timestamp>),
    /// By the numbers of names, whether events of that name are wanted.
    pub(crate) wanted: &'v [bool],
    /// Whether it is wanted whose events are.
    pub(crate) nodes: bool,
    /// Whether the numbers of events are wanted.
    pub(crate) numbers: bool,
    /// The members that are wanted.
    pub(crate) asked: Option<Asked<'v>>,
}

impl Visit<'_> {
    fn wants(&self, name: u32) -> bool {
        self.wanted.get(name as usize).copied().unwrap_or(false)
    }

    fn wants_numbers(&self) -> bool {
        self.numbers || self.asked.is_some()
    }

    fn times(&self) -> (i64, i64) {
        let (from, until) = self.range;
        (from.map_or(i64::MIN, Timestamp::as_micros), until.map_or(i64::MAX, Timestamp::as_micros))
    }

    /// The numbers of the names that are wanted.
    fn names(&self) -> Vec<u32> {
        (0..).zip(self.wanted).filter(|(_, wanted)| **wanted).map(|(name, _)| name).collect()
    }
}

/// Events of one name that somebody holds, in columns: the first of each column belong to the first event, and so on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'c> {
    pub(crate) name: u32,
    /// Whose they are; may be empty if that was not wanted.
    pub(crate) nodes: &'c [u32],
    /// When they were, in microseconds.
    pub(crate) times: &'c [i64],
    /// Their numbers, if those were wanted, or members.
    pub(crate) events: &'c [u32],
    /// The members that were asked for, by number.
    pub(crate) values: &'c Opened<'c>,
}

/// What one core is given at once.
enum Job {
    Sealed(Arc<Block>, bool),
    Loose(Vec<Entry>),
}

/// A worker with what it reuses from job to job.
struct Worker<W> {
    own: W,
    columns: Buffers,
}

#[derive(Default)]
struct Buffers {
    nodes: Vec<u32>,
    times: Vec<i64>,
    events: Vec<u32>,
}

impl Db {
    /// Calls `work` with all events that are wanted, in any order, on all cores: each with one of the workers that `make`
    /// gives, which are given back. `pause` is called now and then with how many events were looked at, and may end the
    /// visit, as `work` may.
    pub(crate) fn visit_events<W: Send>(
        &self,
        visit: Visit<'_>,
        mut pause: impl FnMut(u64) -> ControlFlow<()>,
        make: impl Fn() -> W,
        work: impl Fn(&mut W, &Chunk<'_>) -> ControlFlow<()> + Sync,
    ) -> Result<Vec<W>> {
        self.catch_up()?;
        let (from, until) = visit.times();
        let places: Vec<Place> = self
            .log
            .borrow()
            .places()
            .filter(|place| place.times.1 >= from && place.times.0 < until)
            .collect();
        let (values, mut seen) = match visit.asked {
            None => (Values::default(), 0),
            Some(asked) => {
                let needed = |pause: &mut Pause<'_>| self.pieces(&places, &visit, pause);
                self.values(asked, &visit.names(), needed, &mut pause)?
            }
        };
        let values = values.open();
        let log = self.log.borrow();
        let tail: Vec<Entry> =
            log.tail.entries().iter().filter(|entry| visit.wants(entry.name)).copied().collect();
        let total = tail.len() + places.iter().map(|place| place.count as usize).sum::<usize>();
        let many = if total <= FEW { 1 } else { cores() };
        let workers = (0..many).map(|_| Worker { own: make(), columns: Buffers::default() }).collect();
        let moves = &log.moves;
        let take = |worker: &mut Worker<W>, job: Job, _: &mut Breath<'_>| {
            let Worker { own, columns } = worker;
            let mut each = |chunk: &Chunk<'_>| work(own, chunk);
            match job {
                Job::Sealed(block, cut) => {
                    let visiting = Visiting { visit: &visit, moves, values: &values, cut };
                    block.parts().try_for_each(|part| visiting.part(&part, columns, &mut each))
                }
                Job::Loose(entries) => {
                    let visiting = Visiting { visit: &visit, moves, values: &values, cut: true };
                    visiting.loose(entries, columns, &mut each)
                }
            }
        };
        let workers = on_cores(workers, &mut pause, take, |give| {
            for place in places {
                let block = self.block(&place)?;
                self.looked_at(block.len())?;
                seen += block.len() as u64;
                let cut = place.times.0 < from || place.times.1 >= until;
                if give(seen, Job::Sealed(block, cut)).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            seen += tail.len() as u64;
            for some in tail.chunks(FEW) {
                if give(seen, Job::Loose(some.to_vec())).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(workers.into_iter().map(|worker| worker.own).collect())
    }

    /// The first and the last instant that an event in a range can have.
    pub(crate) fn span(
        &self,
        (from, until): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<Option<(i64, i64)>> {
        self.catch_up()?;
        let log = self.log.borrow();
        let sealed = log.places().map(|place| place.times);
        let times = sealed.chain(log.tail.entries().iter().map(|entry| (entry.at, entry.at)));
        let from = from.map_or(i64::MIN, Timestamp::as_micros);
        let last = until.map_or(i64::MAX, |until| until.as_micros().saturating_sub(1));
        let inside = times.filter(|times| times.1 >= from && times.0 <= last);
        let inside = inside.map(|times| (times.0.max(from), times.1.min(last)));
        Ok(inside.reduce(|(low, high), (first, last)| (low.min(first), high.max(last))))
    }

    /// Which pieces of the log hold events that are wanted. `None` if `pause` says not to go on.
    fn pieces(
        &self,
        places: &[Place],
        visit: &Visit<'_>,
        pause: &mut Pause<'_>,
    ) -> Result<Option<Vec<bool>>> {
        let (from, until) = visit.times();
        let mut pieces = vec![false; piece_of(self.log.borrow().tail.until()) + 1];
        let mut note = |entry: &Entry| {
            if visit.wants(entry.name) && entry.at >= from && entry.at < until {
                pieces[piece_of(entry.event)] = true;
            }
        };
        for place in places {
            if pause(0).is_break() {
                return Ok(None);
            }
            let block = self.block(place)?;
            self.looked_at(block.len())?;
            let parts = block.parts().filter(|part| part.only_name().is_none_or(|name| visit.wants(name)));
            parts.for_each(|part| (0..part.len()).for_each(|place| note(&part.entry(place))));
        }
        self.log.borrow().tail.entries().iter().for_each(note);
        Ok(Some(pieces))
    }
}

/// What is known while events are handed out.
struct Visiting<'v> {
    visit: &'v Visit<'v>,
    moves: &'v Moves,
    values: &'v Opened<'v>,
    /// Whether some may be outside of the range.
    cut: bool,
}

type Each<'e> = dyn FnMut(&Chunk<'_>) -> ControlFlow<()> + 'e;

impl Visiting<'_> {
    /// Hands out a part of a block.
    fn part(&self, part: &Part<'_>, columns: &mut Buffers, each: &mut Each<'_>) -> ControlFlow<()> {
        let Some(name) = part.only_name() else {
            let entries = (0..part.len()).filter(|place| self.visit.wants(part.name(*place)));
            return self.loose(entries.map(|place| part.entry(place)).collect(), columns, each);
        };
        if !self.visit.wants(name) {
            return ControlFlow::Continue(());
        }
        for start in (0..part.len()).step_by(CHUNK) {
            let places = start..part.len().min(start + CHUNK);
            let Buffers { nodes, times, events } = &mut *columns;
            nodes.clear();
            times.clear();
            events.clear();
            if self.visit.nodes || part.is_any_nobodys() || !self.moves.by_event.is_empty() {
                part.nodes(places.clone(), nodes);
            }
            part.times(places.clone(), times);
            if self.visit.wants_numbers() || !self.moves.by_event.is_empty() {
                part.events(places, events);
            }
            self.hand_out(name, columns, each)?;
        }
        ControlFlow::Continue(())
    }

    /// Hands out events of several names.
    fn loose(&self, mut entries: Vec<Entry>, columns: &mut Buffers, each: &mut Each<'_>) -> ControlFlow<()> {
        entries.sort_by_key(|entry| entry.name);
        for of_name in entries.chunk_by(|a, b| a.name == b.name) {
            columns.nodes.clear();
            columns.times.clear();
            columns.events.clear();
            columns.nodes.extend(of_name.iter().map(|entry| entry.node));
            columns.times.extend(of_name.iter().map(|entry| entry.at));
            columns.events.extend(of_name.iter().map(|entry| entry.event));
            self.hand_out(of_name[0].name, columns, each)?;
        }
        ControlFlow::Continue(())
    }

    /// Hands out events of one name, those that somebody holds and that are in the range.
    fn hand_out(&self, name: u32, columns: &mut Buffers, each: &mut Each<'_>) -> ControlFlow<()> {
        if !self.moves.by_event.is_empty() {
            for (node, event) in columns.nodes.iter_mut().zip(&columns.events) {
                *node = self.moves.owner(*event, *node);
            }
        }
        if self.cut || columns.nodes.contains(&NOBODY) {
            self.narrow(columns);
        }
        let Buffers { nodes, times, events } = columns;
        if times.is_empty() {
            return ControlFlow::Continue(());
        }
        let events = if self.visit.wants_numbers() { &events[..] } else { &[] };
        each(&Chunk { name, nodes, times, events, values: self.values })
    }

    /// Leaves only events that somebody holds and that are in the range.
    fn narrow(&self, columns: &mut Buffers) {
        let (from, until) = self.visit.times();
        let Buffers { nodes, times, events } = columns;
        let mut kept = 0;
        for place in 0..times.len() {
            let node = nodes.get(place).copied();
            if node != Some(NOBODY) && times[place] >= from && times[place] < until {
                times[kept] = times[place];
                if let Some(node) = node {
                    nodes[kept] = node;
                }
                if let Some(event) = events.get(place).copied() {
                    events[kept] = event;
                }
                kept += 1;
            }
        }
        nodes.truncate(kept);
        times.truncate(kept);
        events.truncate(kept);
    }
}
