//! Filling the timeline that a question about everybody is answered from.
//!
//! The log is gone through once, on all cores. Whose an event is, is asked of the union-find as it stands, and what a
//! question wants of an event is taken from the columns of its members; of events of which nothing is wanted but that they
//! happened no more than who and when is looked at.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};

use super::State;
use super::contents::Wants;
use super::membership::{self, Live};
use super::people::{self, everybody};
use crate::analytics::{
    Amount, Audience, Labels, Legend, Place, Reading, Row, Scope, Source, Timeline, Wanted, Watch,
};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Error, Result};
use crate::identity::{Node, Numbers, strongest};
use crate::profile::{Trait, standing};
use crate::segment::{EventCondition, evaluate, has_trait, trait_value};
use crate::store::{Asked, Chunk, Db, Stand, Visit};
use crate::value::{DottedPath, Members, Object, Value, nfc};

/// The events that a question wants.
///
/// # Errors
///
/// [`Error::Cancelled`], [`Error::UnknownSegment`], a [`DefinitionError`] if a property or a trait that is asked for is
/// borne by none, or what the storage says.
pub(crate) fn timeline(
    db: &Db,
    state: &State,
    (wanted, scope): (&Wanted, &Scope),
    now: Timestamp,
    watch: &Watch<'_>,
) -> Result<Timeline> {
    let names = Names::of(db, wanted)?;
    let audience = audience(db, state, scope, now, watch)?;
    let history = wanted.history || wanted.conditions.iter().any(EventCondition::is_first_only);
    let range = (if history { None } else { scope.from }, scope.until);
    let scan = Scan::new(state, audience, wanted, scope, names, now);
    let members = scan.members.texts();
    let wants: Vec<bool> = scan.names.known.iter().map(|name| name.wanted).collect();
    let asked = (!members.is_empty()).then_some(Asked { members: &members, read: &scan.members });
    let visit = Visit { range, wanted: &wants, numbers: wanted.ordered, asked };
    let mut stopped = Ok(());
    let gathered = db.visit_events(
        visit,
        |seen| go_on(watch.tell(seen), &mut stopped),
        || Gather::new(&scan),
        |gather, chunk| gather.take(&scan, chunk),
    )?;
    stopped?;
    scan.finish(db, gathered, watch)
}

fn go_on(outcome: Result<()>, kept: &mut Result<()>) -> ControlFlow<()> {
    match outcome {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            *kept = Err(error);
            ControlFlow::Break(())
        }
    }
}

/// After how many people, or values, whoever asked is heard.
const OFTEN: usize = 1 << 8;

/// Whom the question is about, by the roots of their sets; `None` for everybody.
fn audience(
    db: &Db,
    state: &State,
    scope: &Scope,
    now: Timestamp,
    watch: &Watch<'_>,
) -> Result<Option<FxHashSet<Node>>> {
    let identities = &state.identities;
    let members = match &scope.audience {
        None => return Ok(None),
        Some(Audience::Segment(name)) => {
            let own = nfc(name);
            let found: Option<&Live> = state.segments.all.iter().find(|live| live.segment.name() == own);
            let live = found.ok_or_else(|| Error::UnknownSegment(name.clone()))?;
            membership::members(db, identities, &state.segments, live, now)?
        }
        Some(Audience::Condition(condition)) => {
            let catalog = &state.segments.catalog;
            let needs = catalog.needs(condition);
            let mut matching = Vec::new();
            let mut looked_at = 0;
            let least = condition.least(now);
            everybody(db, identities, (&needs, &least), catalog, None, |person, mut history| {
                if looked_at % OFTEN == 0 {
                    watch.tell(0)?;
                }
                looked_at += 1;
                catalog.complete(&needs, &mut history, now);
                if evaluate(condition, &history, now).holds {
                    matching.extend(person.nodes.first());
                }
                Ok::<(), Error>(())
            })?;
            matching
        }
    };
    watch.tell(0)?;
    Ok(Some(members.into_iter().filter_map(|node| identities.partition.root(node)).collect()))
}

/// What is wanted of the events of one name.
#[derive(Default)]
struct Name {
    wanted: bool,
    /// Bits of conditions that an event of this name meets as it is.
    plain: u64,
    /// Conditions that it meets if its properties or its time fit, by their places.
    asking: Vec<usize>,
}

/// The names of events by their numbers.
struct Names {
    known: Vec<Name>,
    texts: Vec<String>,
    /// With their numbers, as the store has them.
    all: Vec<(u32, String)>,
}

impl Names {
    fn of(db: &Db, wanted: &Wanted) -> Result<Self> {
        let (mut known, mut texts): (Vec<Name>, Vec<String>) = (Vec::new(), Vec::new());
        let all = db.event_names()?;
        for (number, text) in &all {
            let mut name = Name::default();
            for (place, condition) in wanted.conditions.iter().enumerate() {
                if condition.fits_name(text) {
                    name.asking.push(place);
                }
            }
            name.wanted = wanted.all_events || !name.asking.is_empty();
            let simple = |place: &usize| {
                let condition = &wanted.conditions[*place];
                !condition.asks_properties() && (condition.is_first_only() || !condition.asks_time())
            };
            name.plain = name.asking.iter().filter(|place| simple(place)).map(|place| 1 << place).sum();
            name.asking.retain(|place| !simple(place));
            known.resize_with(*number as usize, Name::default);
            texts.resize_with(*number as usize, String::new);
            known.push(name);
            texts.push(text.clone());
        }
        Ok(Self { known, texts, all })
    }
}

/// What a question asks, and what its readers share.
struct Scan<'s> {
    state: &'s State,
    numbers: Arc<Numbers>,
    /// By the numbers of people, who is asked about; `None` for everybody.
    audience: Option<Vec<bool>>,
    wanted: &'s Wanted,
    scope: &'s Scope,
    names: Names,
    now: Timestamp,
    /// The members of events that are wanted.
    members: Wants,
    /// The values that tell groups apart, and labels.
    by: Mutex<Labels>,
    labels: Vec<Mutex<Labels>>,
}

impl<'s> Scan<'s> {
    fn new(
        state: &'s State,
        audience: Option<FxHashSet<Node>>,
        wanted: &'s Wanted,
        scope: &'s Scope,
        names: Names,
        now: Timestamp,
    ) -> Self {
        let by = scope.by.as_ref().and_then(|by| by.place());
        let places: Vec<_> = wanted.labels.iter().chain(&wanted.amount).chain(by).collect();
        let numbers = state.identities.partition.numbers();
        let audience =
            audience.map(|audience| numbers.roots().iter().map(|root| audience.contains(root)).collect());
        Self {
            state,
            numbers,
            audience,
            wanted,
            scope,
            now,
            members: wants(&places, &wanted.conditions, &names.all),
            by: Mutex::default(),
            labels: wanted.labels.iter().map(|_| Mutex::default()).collect(),
            names,
        }
    }

    /// The place of the property that a breakdown goes by.
    fn by_place(&self) -> Option<&'s Place> {
        self.scope.by.as_ref().and_then(|by| by.place())
    }

    /// The one member that the value at a place hangs on, if it is one.
    fn only_member(&self, path: &DottedPath, in_context: bool) -> Option<usize> {
        let mut roots = path.roots();
        let (root, None) = (roots.next()?, roots.next()) else { return None };
        if in_context {
            let place = self.members.context.iter().position(|name| name == root)?;
            Some(self.members.properties.len() + place)
        } else {
            self.members.properties.iter().position(|name| name == root)
        }
    }

    /// The number of the person who holds a node, if anybody does and they are asked about.
    #[inline]
    fn person(&self, node: u32) -> Option<u32> {
        let person = self.numbers.person(node);
        let is_meant = person != Numbers::NOBODY
            && self.audience.as_ref().is_none_or(|audience| audience[person as usize]);
        is_meant.then_some(person)
    }

    /// The timeline of what was noted.
    fn finish(mut self, db: &Db, gathered: Vec<Gather>, watch: &Watch<'_>) -> Result<Timeline> {
        let (mut any_amount, mut any_labelled) = (false, false);
        let mut readings = Vec::with_capacity(gathered.len());
        for gather in gathered {
            gather.failed?;
            any_amount |= gather.any_amount;
            any_labelled |= gather.any_labelled;
            readings.push(gather.reading);
        }
        let noted: usize = readings.iter().map(Reading::len).sum();
        let by = std::mem::take(&mut self.by).into_inner().unwrap_or_else(PoisonError::into_inner);
        let labels = std::mem::take(&mut self.labels).into_iter();
        let labels =
            labels.map(|labels| labels.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        let mut legend = Legend { count: self.numbers.roots().len(), by, labels, ..Legend::default() };
        if noted > 0 && !self.scope.is_narrowed() {
            self.check_properties(&legend, any_amount, any_labelled)?;
        }
        let by_trait = self.scope.by.as_ref().and_then(|by| match &by.source {
            Source::Trait(path) => Some(path),
            Source::Property(_) => None,
        });
        if by_trait.is_some() || self.wanted.people {
            let mut present = vec![false; legend.count];
            readings.iter().flat_map(Reading::people).for_each(|person| present[person as usize] = true);
            if let Some(path) = by_trait {
                legend.by_people = Some(self.traits(db, path, &present, &mut legend.by, watch)?);
            }
            if self.wanted.people {
                legend.people = self.named(&present, noted, watch)?;
            }
        }
        watch.tell(noted as u64)?;
        legend.names = self.names.texts;
        let ids = |events: &[u32]| Ok(db.message_ids(events)?);
        Timeline::new(readings, legend, (self.wanted, self.scope), self.now, ids, watch)
    }

    /// Refuses what no event has: a slip of the pen. In a range or a segment it may well be that none has it.
    fn check_properties(&self, legend: &Legend, any_amount: bool, any_labelled: bool) -> Result<()> {
        let missing = |member: &str, place: &dyn std::fmt::Display| {
            let reason = format!("none of the events that this is about has {:?}", place.to_string());
            Err(DefinitionError::new(member, reason).into())
        };
        if let Some(place) = self.by_place().filter(|_| legend.by.is_empty()) {
            return missing(place.member, place);
        }
        for (labels, place) in legend.labels.iter().zip(&self.wanted.labels) {
            if labels.is_empty() && any_labelled {
                return missing(place.member, place);
            }
        }
        match &self.wanted.amount {
            Some(place) if !any_amount => missing(place.member, place),
            _ => Ok(()),
        }
    }

    /// Of each person of whom there is an event the number of the value that a trait has.
    fn traits(
        &self,
        db: &Db,
        path: &DottedPath,
        present: &[bool],
        by: &mut Labels,
        watch: &Watch<'_>,
    ) -> Result<Vec<u32>> {
        let catalog = &self.state.segments.catalog;
        let mut numbers = vec![0; present.len()];
        if path.roots().any(|name| catalog.traits.contains_key(name)) {
            let needs = catalog.needs(&has_trait(&path.to_string()).exists());
            let people = numbers.iter_mut().zip(self.numbers.roots()).zip(present);
            let people = people.filter(|(_, present)| **present).map(|(person, _)| person);
            for (place, (number, root)) in people.enumerate() {
                if place % OFTEN == 0 {
                    watch.tell(0)?;
                }
                let Some(person) = self.state.identities.person(*root) else { continue };
                let mut history = people::history(db, &person, &needs, catalog, None)?;
                catalog.complete(&needs, &mut history, self.now);
                *number = label(by, trait_value(path, &history), "by.trait")?;
            }
        }
        let mut said: FxHashMap<u32, Vec<(String, Trait)>> = FxHashMap::default();
        let (mut seen, mut stopped) = (0_usize, Ok(()));
        for name in path.roots().filter(|name| !catalog.traits.contains_key(*name)) {
            db.visit_trait(name, |node, value| {
                let person = self.numbers.person(node.0);
                if present.get(person as usize).copied().unwrap_or(false) {
                    said.entry(person).or_default().push((name.to_owned(), value));
                }
                seen += 1;
                if seen % OFTEN == 0 { go_on(watch.tell(0), &mut stopped) } else { ControlFlow::Continue(()) }
            })?;
        }
        stopped?;
        for (person, said) in said {
            if numbers[person as usize] != 0 {
                continue;
            }
            let held = standing(said, &catalog.policies);
            let held: Object = held.into_iter().map(|(name, held)| (name, held.value)).collect();
            let mut found = None;
            path.any(&held, |value| {
                found = value.filter(|value| !value.is_null());
                found.is_some()
            });
            numbers[person as usize] = label(by, found, "by.trait")?;
        }
        if by.is_empty() && present.contains(&true) && !self.scope.is_narrowed() {
            let reason = format!("none of the people that this is about has {:?}", path.to_string());
            return Err(DefinitionError::new("by.trait", reason).into());
        }
        Ok(numbers)
    }

    /// The name of each person of whom there is an event: the strongest identifier.
    fn named(&self, present: &[bool], noted: usize, watch: &Watch<'_>) -> Result<Vec<String>> {
        let State { identities, rules, .. } = self.state;
        let name = |(place, (root, present)): (usize, (&Node, &bool))| {
            if place % OFTEN == 0 {
                watch.tell(noted as u64)?;
            }
            if !present {
                return Ok(String::new());
            }
            let strongest = strongest(identities, rules, identities.partition.members(*root));
            Ok(strongest.map(|node| identities.interner.identifier(node).to_string()).unwrap_or_default())
        };
        self.numbers.roots().iter().zip(present).enumerate().map(name).collect()
    }
}

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
struct Gather {
    reading: Reading,
    /// What of the values of events was found out: by the conditions, the breakdown and the labels.
    fits: Vec<Found<bool>>,
    by: Found<u32>,
    labels: Vec<Found<u32>>,
    amount: Option<usize>,
    /// Whether any event bore the number that is added up.
    any_amount: bool,
    /// Whether any event met a condition that its label is asked of: one that is not the first, if there are several.
    any_labelled: bool,
    failed: Result<()>,
}

impl Gather {
    fn new(scan: &Scan<'_>) -> Self {
        let member = |place: &Place| scan.only_member(place.path(), place.in_context());
        let of_condition = |condition: &EventCondition| {
            let mut members = condition.paths().map(|path| scan.only_member(path, false));
            let first = members.next().flatten()?;
            members.all(|member| member == Some(first)).then_some(first)
        };
        Self {
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
    fn take(&mut self, scan: &Scan<'_>, chunk: &Chunk<'_>) -> ControlFlow<()> {
        let name = &scan.names.known[chunk.name as usize];
        let wanted = scan.wanted;
        let is_plain = name.asking.is_empty()
            && !wanted.names
            && wanted.amount.is_none()
            && wanted.labels.is_empty()
            && scan.by_place().is_none();
        if !is_plain {
            let noted = (0..chunk.nodes.len()).try_for_each(|place| self.note(scan, chunk, name, place));
            return go_on(noted, &mut self.failed);
        }
        let mask = name.plain;
        self.any_labelled |= mask > 1;
        for (place, (node, at)) in chunk.nodes.iter().zip(chunk.times).enumerate() {
            if let Some(person) = scan.person(*node) {
                let event = chunk.events.get(place).copied().unwrap_or_default();
                self.reading.share(person).rows.push(Row { person, event, at: *at, mask });
            }
        }
        ControlFlow::Continue(())
    }

    /// Notes one event, if it is wanted.
    fn note(&mut self, scan: &Scan<'_>, chunk: &Chunk<'_>, name: &Name, place: usize) -> Result<()> {
        let Some(person) = scan.person(chunk.nodes[place]) else { return Ok(()) };
        let (at, event) = (chunk.times[place], chunk.events.get(place).copied().unwrap_or_default());
        let wanted = scan.wanted;
        let mut mask = name.plain;
        for place in &name.asking {
            let condition = &wanted.conditions[*place];
            let at = Timestamp::from_micros(at);
            if !condition.is_first_only() && !condition.fits_time(at, scan.now) {
                continue;
            }
            let fits = || Ok(condition.fits_properties(&Sight::of(scan, chunk, event).properties()));
            if self.fits[*place].of(chunk, event, fits)? {
                mask |= 1 << place;
            }
        }
        if mask == 0 && !wanted.all_events {
            return Ok(());
        }
        self.any_labelled |= mask > 1;
        let share = self.reading.share(person);
        share.rows.push(Row { person, event, at, mask });
        if wanted.names {
            share.name.push(chunk.name);
        }
        let number = |labels: &Mutex<Labels>, place: &Place| {
            let sight = Sight::of(scan, chunk, event);
            let value = place.find(&sight.properties(), &sight.context());
            label(&mut lock(labels), value, place.member)
        };
        if let Some(place) = scan.by_place() {
            share.by.push(self.by.of(chunk, event, || number(&scan.by, place))?);
        }
        let labels = self.labels.iter_mut().zip(&scan.labels).zip(&wanted.labels);
        for (column, ((found, labels), place)) in share.labels.iter_mut().zip(labels) {
            column.push(found.of(chunk, event, || number(labels, place))?);
        }
        if let Some(place) = &wanted.amount {
            let quick = self.amount.and_then(|member| {
                let stand = chunk.values.stand(member, event);
                if stand.label == 0 {
                    return Some(Amount::Missing);
                }
                chunk.values.millionths(member, stand).map(Amount::Millionths)
            });
            let amount = quick.unwrap_or_else(|| {
                let sight = Sight::of(scan, chunk, event);
                place.add_up(&sight.properties(), &sight.context())
            });
            self.any_amount |= !amount.is_missing();
            share.amounts.push(amount);
        }
        Ok(())
    }
}

fn lock(labels: &Mutex<Labels>) -> MutexGuard<'_, Labels> {
    labels.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The members of events that places and conditions look into.
fn wants(places: &[&Place], conditions: &[EventCondition], names: &[(u32, String)]) -> Wants {
    let (mut properties, mut context) = (Vec::new(), Vec::new());
    for place in places {
        let own = if place.in_context() { &mut context } else { &mut properties };
        own.extend(place.path().roots().map(str::to_owned));
    }
    for path in conditions.iter().flat_map(EventCondition::paths) {
        properties.extend(path.roots().map(str::to_owned));
    }
    for members in [&mut properties, &mut context] {
        members.sort_unstable();
        members.dedup();
    }
    Wants::new(properties, context, names)
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

/// The number of a value, 0 of none.
fn label(labels: &mut Labels, value: Option<&Value>, member: &str) -> Result<u32> {
    let number = value.map_or(Some(0), |value| labels.number(value));
    number.ok_or_else(|| {
        let reason = format!("more than {} different values", Labels::MOST);
        DefinitionError::new(member, reason).into()
    })
}
