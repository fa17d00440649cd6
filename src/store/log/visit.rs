//! Going through the log for a question about everybody: columns of events of one name, on all cores.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::aligned::align;
use super::block::{Block, Entry, NOBODY, Part, Places};
use super::cores::{Breath, Pause, cores, on_cores};
use super::gauge::{Counts, Gauge};
use super::values::{Key, Of, Opened, Values, piece_of};
use super::{Asked, Moves, Place};
use crate::clock::Timestamp;
use crate::identity::{ByRank, Numbers, Order};
use crate::store::{Db, Result};

/// So many events are not worth another core.
const FEW: usize = if cfg!(debug_assertions) { 1 << 3 } else { 1 << 14 };

/// As many events of a part of a block are handed out at once: so few that what is made of them stays in the cache of a core.
const CHUNK: usize = if cfg!(debug_assertions) { 1 << 2 } else { 1 << 10 };

/// As many blocks are given to a core at once: to wake it costs about as much time as to go through one. But there are jobs
/// enough for all cores to be done at about the same time.
const BLOCKS: usize = if cfg!(debug_assertions) { 2 } else { 8 };
const FAIR: usize = if cfg!(debug_assertions) { 1 } else { 4 };

/// The events of a visit: which, and what of them.
#[derive(Clone, Copy)]
pub(crate) struct Visit<'v> {
    /// From the one instant on, and before the other.
    pub(crate) range: (Option<Timestamp>, Option<Timestamp>),
    /// By the numbers of names, whether events of that name are wanted.
    pub(crate) wanted: &'v [bool],
    /// Whether the times of events are wanted. If nothing is, nothing is handed out.
    pub(crate) times: bool,
    /// Instants that follow each other, from the first of the range to its end: where nothing is wanted of events but their
    /// times, it may be handed out how many there are between these instead. Empty if that is of no use.
    pub(crate) edges: &'v [i64],
    /// The numbers of people, if it is wanted whose events are.
    pub(crate) people: Option<&'v Numbers>,
    /// Whether the numbers of events are wanted.
    pub(crate) numbers: bool,
    /// The members that are wanted.
    pub(crate) asked: Option<Asked<'v>>,
}

impl Visit<'_> {
    fn wants(&self, name: u32) -> bool {
        self.wanted.get(name as usize).copied().unwrap_or(false)
    }

    fn range(&self) -> (i64, i64) {
        let (from, until) = self.range;
        (from.map_or(i64::MIN, Timestamp::as_micros), until.map_or(i64::MAX, Timestamp::as_micros))
    }

    /// What counts events, if they need not be handed out one by one.
    fn gauge(&self) -> Option<Gauge> {
        let are_only_counted = self.people.is_none() && !self.numbers && self.asked.is_none();
        (are_only_counted && !self.edges.is_empty()).then(|| Gauge::new(self.edges, self.range()))
    }

    /// Whether a block lies in the range for the most part, by time.
    fn has_most_of(&self, place: &Place) -> bool {
        let (from, until) = self.range();
        let (first, last) = place.times;
        let inside = i128::from(last.min(until)) - i128::from(first.max(from));
        2 * inside >= i128::from(last) - i128::from(first)
    }

    /// The numbers of the names of whose events members are wanted.
    fn names(&self) -> Vec<u32> {
        let asked = self.asked.map_or(&[][..], |asked| asked.names);
        (0..).zip(asked).filter(|(_, wanted)| **wanted).map(|(name, _)| name).collect()
    }
}

/// Events of one name that somebody holds, in columns: the first of each column belong to the first event, and so on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'c> {
    pub(crate) name: u32,
    /// The numbers of the people whose they are; of no use if that was not wanted.
    pub(crate) people: &'c [u32],
    /// When they were, in microseconds; may be empty if that was not wanted.
    pub(crate) times: &'c [i64],
    /// How many more there are between instants, of which nothing else is handed out; empty if there are none.
    pub(crate) counts: &'c [u32],
    /// Their numbers, if those were wanted.
    pub(crate) events: &'c [u32],
    /// The members that were asked for, and by which keys they are found, if any were.
    pub(crate) keys: &'c [u32],
    pub(crate) values: &'c Opened<'c>,
}

/// What one core is given at once.
enum Job {
    Sealed(Vec<Sealed>),
    Loose(Vec<Entry>),
}

/// A block to be gone through.
struct Sealed {
    block: Arc<Block>,
    /// Its place among those of the visit.
    place: u32,
    found: Found,
    /// Whether some events may be outside of the range.
    cut: bool,
}

/// How the values of a block's events are found.
enum Found {
    ByNumber,
    InOrder(Values),
    /// By number, to be kept in its order under these keys.
    ToAlign(Vec<Key>),
}

/// How the values of each block are found, and of events of which names: by their numbers, in order.
struct Plan {
    found: Vec<Found>,
    names: Arc<[u32]>,
}

impl Plan {
    /// Whether any block's values are found by number.
    fn is_by_number(&self) -> bool {
        self.found.iter().any(|found| !matches!(found, Found::InOrder(_)))
    }
}

/// A worker with what it reuses from job to job.
struct Worker<W> {
    own: W,
    columns: Buffers,
}

#[derive(Default)]
struct Buffers {
    people: Vec<u32>,
    times: Vec<i64>,
    events: Vec<u32>,
    keys: Vec<u32>,
    counts: Counts,
    /// The places of those that are left; kept for its space.
    left: Vec<u32>,
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
        if !self.catch_up_while(&mut || pause(0))? {
            return Ok(Vec::new());
        }
        let (from, until) = visit.range();
        let places: Vec<Place> = self
            .log
            .borrow()
            .places()
            .filter(|place| place.times.1 >= from && place.times.0 < until)
            .collect();
        let mut plan = self.plan(&places, &visit);
        let found = match visit.asked {
            None => Some((Values::default(), 0)),
            Some(asked) => {
                let sealed = self.log.borrow().seals.last().map_or(0, |seal| seal.until);
                let from = if plan.is_by_number() { 0 } else { piece_of(sealed) };
                let needed = |pause: &mut Pause<'_>| self.pieces(&places, &plan, &visit, pause);
                self.values(asked, &plan.names, from, needed, &mut pause)?
            }
        };
        let Some((values, mut seen)) = found else { return Ok(Vec::new()) };
        let order = Arc::clone(&self.log.borrow().order);
        let by_rank = match visit.people.map(|numbers| numbers.by_rank(&order, &mut || pause(seen))) {
            Some(None) => return Ok(Vec::new()),
            by_rank => by_rank.flatten(),
        };
        let pieces = u32::try_from(values.pieces()).unwrap_or(u32::MAX);
        let (shared, names) = (Arc::clone(&self.log.borrow().shared), Arc::clone(&plan.names));
        let values = values.open();
        let log = self.log.borrow();
        let tail: Vec<Entry> =
            log.tail.entries().iter().filter(|entry| visit.wants(entry.name)).copied().collect();
        let total = tail.len() + places.iter().map(|place| place.count as usize).sum::<usize>();
        let many = if total <= FEW { 1 } else { cores() };
        let workers = (0..many).map(|_| Worker { own: make(), columns: Buffers::default() }).collect();
        let whose = Whose::new(&log.moves, &order, visit.people, by_rank.as_deref());
        let gauge = visit.gauge();
        let gauge = gauge.as_ref();
        let all = Visiting { visit: &visit, whose, values: &values, gauge, is_in_order: false, cut: true };
        let sealed = |worker: &mut Worker<W>, sealed: Sealed| {
            let Sealed { block, place, found, cut } = sealed;
            let own = match found {
                Found::ByNumber => None,
                Found::InOrder(own) => Some(own),
                Found::ToAlign(keys) => {
                    let added_up = visit.asked.and_then(|asked| asked.added_up);
                    let own = align(&block, &names, &values, added_up);
                    if let Some(own) = &own {
                        own.keep(&shared, keys);
                    }
                    own.filter(Values::is_kept)
                }
            };
            let own = own.as_ref().map(|own| own.open_block(pieces.saturating_add(place)));
            let visiting = match &own {
                Some(own) => Visiting { values: own, is_in_order: true, cut, ..all },
                None => Visiting { cut, ..all },
            };
            let Worker { own, columns } = worker;
            visiting.block(&block, columns, &mut |chunk| work(own, chunk))
        };
        let take = |worker: &mut Worker<W>, job: Job, breath: &mut Breath<'_>| match job {
            Job::Sealed(all) => all.into_iter().try_for_each(|one| {
                breath()?;
                sealed(worker, one)
            }),
            Job::Loose(entries) => {
                let Worker { own, columns } = worker;
                let keyed = entries.into_iter().map(|entry| (entry, entry.event)).collect();
                all.loose(keyed, columns, &mut |chunk| work(own, chunk))
            }
        };
        let workers = on_cores(workers, &mut pause, take, |give| {
            let at_once = (places.len() / (FAIR * many)).clamp(1, BLOCKS);
            let mut waiting = Vec::new();
            for (number, (place, found)) in (0..).zip(places.iter().zip(plan.found.drain(..))) {
                let block = self.block(place)?;
                self.looked_at(block.len())?;
                seen += block.len() as u64;
                let cut = place.times.0 < from || place.times.1 >= until;
                waiting.push(Sealed { block, place: number, found, cut });
                if waiting.len() == at_once
                    && give(seen, Job::Sealed(std::mem::take(&mut waiting))).is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
            }
            if give(seen, Job::Sealed(waiting)).is_break() {
                return Ok(ControlFlow::Break(()));
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

    /// The first and the last instant that an event in a range can have. `pause` is called now and then, and may end it: then
    /// there is none.
    pub(crate) fn span(
        &self,
        (from, until): (Option<Timestamp>, Option<Timestamp>),
        mut pause: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Option<(i64, i64)>> {
        if !self.catch_up_while(&mut pause)? {
            return Ok(None);
        }
        let log = self.log.borrow();
        let sealed = log.places().map(|place| place.times);
        let times = sealed.chain(log.tail.entries().iter().map(|entry| (entry.at, entry.at)));
        let from = from.map_or(i64::MIN, Timestamp::as_micros);
        let last = until.map_or(i64::MAX, |until| until.as_micros().saturating_sub(1));
        let inside = times.filter(|times| times.1 >= from && times.0 <= last);
        let inside = inside.map(|times| (times.0.max(from), times.1.min(last)));
        Ok(inside.reduce(|(low, high), (first, last)| (low.min(first), high.max(last))))
    }

    /// How the values that are asked for are found: of a block that lies in the range for the most part, in its order.
    fn plan(&self, places: &[Place], visit: &Visit<'_>) -> Plan {
        let names: Arc<[u32]> = visit.names().into();
        let Some(asked) = visit.asked else {
            return Plan { found: places.iter().map(|_| Found::ByNumber).collect(), names };
        };
        let log = self.log.borrow();
        let find = |place: &Place| {
            let key = |(member, text): (usize, &String)| {
                let (names, added_up) = (Arc::clone(&names), asked.added_up == Some(member));
                log.key(Of::Block { block: place.block, names, added_up }, text)
            };
            let keys: Vec<Key> = asked.members.iter().enumerate().map(key).collect();
            let columns: Vec<_> = keys.iter().map(|key| log.shared.values(key)).collect();
            if columns.iter().all(Option::is_some) {
                let own = Values { members: columns.into_iter().map(|column| vec![column]).collect() };
                return if own.is_kept() { Found::InOrder(own) } else { Found::ByNumber };
            }
            if visit.has_most_of(place) { Found::ToAlign(keys) } else { Found::ByNumber }
        };
        let found = places.iter().map(find).collect();
        Plan { found, names }
    }

    /// Which pieces of the log hold events whose values are found by number. `None` if `pause` says not to go on.
    fn pieces(
        &self,
        places: &[Place],
        plan: &Plan,
        visit: &Visit<'_>,
        pause: &mut Pause<'_>,
    ) -> Result<Option<Vec<bool>>> {
        let (from, until) = visit.range();
        let mut pieces = vec![false; piece_of(self.log.borrow().tail.until()) as usize + 1];
        let is_named = |name| plan.names.binary_search(&name).is_ok();
        let mut note = |entry: &Entry, are_all: bool| {
            if is_named(entry.name) && (are_all || entry.at >= from && entry.at < until) {
                pieces[piece_of(entry.event) as usize] = true;
            }
        };
        for (place, found) in places.iter().zip(&plan.found) {
            if pause(0).is_break() {
                return Ok(None);
            }
            let are_all = match found {
                Found::InOrder(_) => continue,
                Found::ByNumber => false,
                Found::ToAlign(_) => true,
            };
            let block = self.block(place)?;
            self.looked_at(block.len())?;
            let entries =
                |part: Part<'_>| (0..part.len()).for_each(|place| note(&part.entry(place), are_all));
            block.parts_with(is_named).for_each(entries);
        }
        self.log.borrow().tail.entries().iter().for_each(|entry| note(entry, false));
        Ok(Some(pieces))
    }
}

/// What is known while events are handed out.
#[derive(Clone, Copy)]
struct Visiting<'v> {
    visit: &'v Visit<'v>,
    whose: Whose<'v>,
    values: &'v Opened<'v>,
    gauge: Option<&'v Gauge>,
    /// Whether values are found by the places of events in their block, and not by their numbers.
    is_in_order: bool,
    /// Whether some may be outside of the range.
    cut: bool,
}

/// How it is found whose an event is.
#[derive(Clone, Copy)]
struct Whose<'v> {
    moves: &'v Moves,
    order: &'v Order,
    numbers: Option<&'v Numbers>,
    by_rank: Option<&'v ByRank>,
    /// Whether events have moved, so that it is asked of each by its number whose it is.
    are_any_moved: bool,
}

impl<'v> Whose<'v> {
    fn new(
        moves: &'v Moves,
        order: &'v Order,
        numbers: Option<&'v Numbers>,
        by_rank: Option<&'v ByRank>,
    ) -> Self {
        // Where it does not matter whose an event is, it does whether it is anybody's.
        let are_any_moved =
            if numbers.is_some() { !moves.by_event.is_empty() } else { moves.change_who_is_held(order) };
        Self { moves, order, numbers, by_rank, are_any_moved }
    }

    /// The number of the person whose an event is that was written as a node's; where none is wanted, that of the node.
    fn person(&self, event: u32, node: u32) -> u32 {
        let node = self.moves.owner(event, node);
        self.numbers.map_or(node, |numbers| numbers.person(node))
    }

    /// The same of some events of a part that are of ranks, of which none has moved.
    fn people(&self, part: &Part<'_>, places: &Places<'_>, people: &mut Vec<u32>) {
        match self.by_rank {
            Some(ByRank::All(all)) => {
                part.ranks(places, people, |rank| all.get(rank as usize).copied().unwrap_or(NOBODY));
            }
            Some(ByRank::Near(near)) => part.ranks(places, people, |rank| near.person(rank)),
            None => part.ranks(places, people, |rank| rank),
        }
    }
}

type Each<'e> = dyn FnMut(&Chunk<'_>) -> ControlFlow<()> + 'e;

impl Visiting<'_> {
    /// Hands out a block.
    fn block(&self, block: &Block, columns: &mut Buffers, each: &mut Each<'_>) -> ControlFlow<()> {
        block.parts_with(|name| self.visit.wants(name)).try_for_each(|part| self.part(&part, columns, each))
    }

    /// Hands out a part of a block that may have events that are wanted.
    fn part(&self, part: &Part<'_>, columns: &mut Buffers, each: &mut Each<'_>) -> ControlFlow<()> {
        let key = |place: usize| u32::try_from(part.first() + place).unwrap_or(u32::MAX);
        let Some(name) = part.only_name() else {
            let places = (0..part.len()).filter(|place| self.visit.wants(part.name(*place)));
            let keyed = places.map(|place| {
                let entry = part.entry(place);
                let entry = Entry { node: self.whose.order.node(entry.node), ..entry };
                (entry, if self.is_in_order { key(place) } else { entry.event })
            });
            return self.loose(keyed.collect(), columns, each);
        };
        let (is_asked, are_any_moved) = (self.visit.asked.is_some(), self.whose.are_any_moved);
        if let Some(gauge) = self.gauge.filter(|_| !are_any_moved)
            && let Some(counts) = part.count(gauge, &mut columns.counts)
        {
            let (people, times, events, keys) = (&[], &[], &[], &[]);
            return each(&Chunk { name, people, times, counts, events, keys, values: self.values });
        }
        let are_numbers_needed = self.visit.numbers || is_asked && !self.is_in_order || are_any_moved;
        for start in (0..part.len()).step_by(CHUNK) {
            columns.clear();
            let Buffers { people, times, events, keys, left, .. } = &mut *columns;
            let all = start..part.len().min(start + CHUNK);
            let places = if self.cut {
                part.inside(all, self.visit.range(), left);
                Places::Some(left)
            } else {
                Places::All(all)
            };
            if self.visit.times {
                part.times(&places, times);
            }
            if are_numbers_needed {
                part.events(&places, events);
            }
            if are_any_moved {
                part.ranks(&places, people, |rank| self.whose.order.node(rank));
                let nodes = people.iter_mut().zip(&*events);
                nodes.for_each(|(node, event)| *node = self.whose.person(*event, *node));
            } else if self.whose.numbers.is_some() || part.is_any_nobodys() {
                self.whose.people(part, &places, people);
            }
            match places {
                _ if !is_asked => {}
                _ if !self.is_in_order => keys.extend_from_slice(events),
                Places::All(places) => keys.extend(key(places.start)..key(places.end)),
                Places::Some(places) => keys.extend(places.iter().map(|place| key(*place as usize))),
            }
            self.hand_out(name, columns, each)?;
        }
        ControlFlow::Continue(())
    }

    /// Hands out events of several names, with their keys.
    fn loose(
        &self,
        mut keyed: Vec<(Entry, u32)>,
        columns: &mut Buffers,
        each: &mut Each<'_>,
    ) -> ControlFlow<()> {
        if self.cut {
            let (from, until) = self.visit.range();
            keyed.retain(|(entry, _)| (from..until).contains(&entry.at));
        }
        keyed.sort_by_key(|(entry, _)| entry.name);
        for of_name in keyed.chunk_by(|(a, _), (b, _)| a.name == b.name) {
            columns.clear();
            let person = |(entry, _): &(Entry, u32)| self.whose.person(entry.event, entry.node);
            columns.people.extend(of_name.iter().map(person));
            columns.times.extend(of_name.iter().map(|(entry, _)| entry.at));
            columns.events.extend(of_name.iter().map(|(entry, _)| entry.event));
            columns.keys.extend(of_name.iter().map(|(_, key)| *key));
            self.hand_out(of_name[0].0.name, columns, each)?;
        }
        ControlFlow::Continue(())
    }

    /// Hands out events of one name, those that somebody holds and that are in the range.
    fn hand_out(&self, name: u32, columns: &mut Buffers, each: &mut Each<'_>) -> ControlFlow<()> {
        if columns.people.contains(&NOBODY) {
            columns.leave_held();
        }
        let Buffers { people, times, events, keys, .. } = columns;
        if times.is_empty() && people.is_empty() {
            return ControlFlow::Continue(());
        }
        let events = if self.visit.numbers { &events[..] } else { &[] };
        let keys = if self.visit.asked.is_some() { &keys[..] } else { &[] };
        each(&Chunk { name, people, times, counts: &[], events, keys, values: self.values })
    }
}

impl Buffers {
    fn clear(&mut self) {
        self.people.clear();
        self.times.clear();
        self.events.clear();
        self.keys.clear();
    }

    /// Leaves only events that somebody holds.
    fn leave_held(&mut self) {
        let Self { people, times, events, keys, left, .. } = self;
        left.clear();
        left.extend((0..).zip(&*people).filter(|(_, person)| **person != NOBODY).map(|(place, _)| place));
        leave(times, left);
        for column in [people, events, keys] {
            leave(column, left);
        }
    }
}

/// Leaves what stands at these places, which are in order, if anything does.
fn leave<T: Copy>(column: &mut Vec<T>, places: &[u32]) {
    if !column.is_empty() {
        for (kept, place) in places.iter().enumerate() {
            column[kept] = column[*place as usize];
        }
        column.truncate(places.len());
    }
}
