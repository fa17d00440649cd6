//! Filling the timeline that a question about everybody is answered from.
//!
//! The log is gone through once, on all cores. Whose an event is, is asked of the union-find as it stands, and what a
//! question wants of an event is taken from the columns of its members; of events of which nothing is wanted but that they
//! happened no more than who and when is looked at.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustc_hash::{FxHashMap, FxHashSet};

use super::State;
use super::alike::{Alike, are_alike};
use super::contents::Wants;
use super::everybody::OFTEN;
use super::gather::Gather;
use super::membership::{self, Live};
use super::people;
use crate::analytics::{
    Audience, CHANNEL, Counter, Labels, Legend, Mask, Place, Reading, Scope, Source, Timeline, Turn, Wanted,
    Watch, in_parallel,
};
use crate::clock::{Timestamp, Zone};
use crate::error::{DefinitionError, Error, Result};
use crate::identity::{Node, Numbers, strongest};
use crate::profile::{Trait, standing};
use crate::segment::{EventCondition, has_trait, trait_value};
use crate::store::{Asked, Db, Visit};
use crate::value::{DottedPath, Object, Value, nfc};

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
    (now, zone): (Timestamp, &Zone),
    watch: &Watch<'_>,
) -> Result<Timeline> {
    let all = db.event_names()?;
    let names = Names::of(&all, wanted);
    let audience = audience(db, state, scope, now, watch)?;
    let history = wanted.history || wanted.has_first_only();
    let range = (if history { None } else { scope.from }, scope.until);
    let members = members(wanted, scope);
    let scan = Scan::new(state, audience, (wanted, members), scope, names, now, watch)?;
    // To read what is not sealed takes a while the first time.
    let mut stopped = Ok(());
    let times = db.span(range, || go_on(watch.tell(0), &mut stopped))?;
    stopped?;
    let texts = scan.members.texts();
    let wants: Vec<bool> = scan.names.known.iter().map(|name| name.wanted).collect();
    // Whatever turn it is, all that any needs is read at once.
    let looked_into: Vec<bool> = scan.names.known.iter().map(|name| scan.wants_members_of(name)).collect();
    let asked =
        Asked { members: &texts, added_up: scan.added_up(), names: &looked_into, read: &scan.members };
    let are_all_wanted =
        scan.is_everyone_meant() && scan.names.known.iter().all(|name| name.asking.is_empty());
    let seen_before = Cell::new(0);
    let gather = |counter: Option<&Counter>, wants: &[bool]| -> Result<Vec<Gather>> {
        if !wants.contains(&true) {
            return Ok(Vec::new());
        }
        let are_people_wanted = !are_all_wanted || counter.is_none_or(Counter::is_of_people);
        let people = are_people_wanted.then_some(&*scan.numbers);
        let is_asked =
            !texts.is_empty() && wants.iter().zip(&looked_into).any(|(wanted, into)| *wanted && *into);
        let asked = is_asked.then_some(asked);
        let edges = counter.filter(|_| are_all_wanted && !is_asked).and_then(Counter::edges);
        let edges = edges.unwrap_or_default();
        let (mut stopped, before) = (Ok(()), seen_before.get());
        let gathered = db.visit_events(
            Visit { range, wanted: wants, times: true, edges, people, numbers: wanted.is_ordered(), asked },
            |seen| {
                seen_before.set(before + seen);
                go_on(watch.tell(before + seen), &mut stopped)
            },
            || Gather::new(&scan, counter),
            |gather, chunk| gather.take(&scan, chunk),
        )?;
        stopped.map(|()| gathered)
    };
    if let Some(asked) = wanted.counted
        && let Some(counter) = Counter::new(asked, scope, zone, times, scan.numbers.roots().len())
    {
        let (mut counter, mut gathered) = (counter, Vec::new());
        while let Some(turn) = counter.turn() {
            let wants: Vec<bool> = scan.names.known.iter().map(|name| name.is_in(turn)).collect();
            let mut found = gather(Some(&counter), &wants)?;
            let next = counter.next(found.iter().filter_map(|own| own.counted.as_ref()));
            gathered.append(&mut found);
            match next {
                Some(next) => counter = next,
                None => break,
            }
        }
        if let Some(counted) = scan.count(gathered, counter, zone)? {
            return Ok(counted);
        }
    }
    let gathered = gather(None, &wants)?;
    scan.finish(db, gathered, watch)
}

/// Goes on as long as nothing is said against it, and keeps what is.
pub(super) fn go_on<E>(
    outcome: std::result::Result<(), E>,
    kept: &mut std::result::Result<(), E>,
) -> ControlFlow<()> {
    match outcome {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            *kept = Err(error);
            ControlFlow::Break(())
        }
    }
}

/// So many people are named at once.
const NAMED: usize = 1 << 12;

/// Whom the question is about, by the roots of their sets; `None` for everybody.
fn audience(
    db: &Db,
    state: &State,
    scope: &Scope,
    now: Timestamp,
    watch: &Watch<'_>,
) -> Result<Option<FxHashSet<Node>>> {
    let identities = &state.identities;
    let pause = &mut || watch.tell(0);
    let members = match &scope.audience {
        None => return Ok(None),
        Some(Audience::Segment(name)) => {
            let own = nfc(name);
            let found: Option<&Live> = state.segments.all.iter().find(|live| live.segment.name() == own);
            let live = found.ok_or_else(|| Error::UnknownSegment(name.clone()))?;
            membership::members(db, identities, &state.segments, live, now, pause)?
        }
        Some(Audience::Condition(condition)) => {
            membership::matching(db, identities, &state.segments.catalog, condition, now, None, pause)?
        }
    };
    watch.tell(0)?;
    Ok(Some(members.into_iter().filter_map(|node| identities.partition.root(node)).collect()))
}

/// What is wanted of the events of one name.
#[derive(Default)]
pub(super) struct Name {
    pub(super) wanted: bool,
    /// Bits of conditions that an event of this name meets as it is.
    pub(super) plain: Mask,
    /// Conditions that it meets if its properties or its time fit, by their places.
    pub(super) asking: Vec<usize>,
}

impl Name {
    /// Whether events of that name are wanted in a turn.
    fn is_in(&self, turn: Turn) -> bool {
        let is_first = || self.plain & 1 != 0 || self.asking.contains(&0);
        let is_now = match turn {
            Turn::All => true,
            Turn::Beginnings => is_first(),
            Turn::Others => !is_first(),
        };
        self.wanted && is_now
    }
}

/// The names of events by their numbers.
pub(super) struct Names {
    pub(super) known: Vec<Name>,
    pub(super) texts: Vec<String>,
}

impl Names {
    fn of(all: &[(u32, String)], wanted: &Wanted) -> Self {
        let (mut known, mut texts): (Vec<Name>, Vec<String>) = (Vec::new(), Vec::new());
        for (number, text) in all {
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
        Self { known, texts }
    }
}

/// What a question asks, and what its readers share.
pub(super) struct Scan<'s> {
    state: &'s State,
    pub(super) numbers: Arc<Numbers>,
    /// By the numbers of people, who is asked about; `None` for everybody.
    pub(super) audience: Option<Vec<bool>>,
    pub(super) wanted: &'s Wanted,
    scope: &'s Scope,
    pub(super) names: Names,
    pub(super) now: Timestamp,
    /// The members of events that are wanted.
    pub(super) members: Wants,
    /// The values that tell groups apart, and labels.
    pub(super) by: Mutex<Labels>,
    pub(super) labels: Vec<Mutex<Labels>>,
}

impl<'s> Scan<'s> {
    fn new(
        state: &'s State,
        audience: Option<FxHashSet<Node>>,
        (wanted, members): (&'s Wanted, Wants),
        scope: &'s Scope,
        names: Names,
        now: Timestamp,
        watch: &Watch<'_>,
    ) -> Result<Self> {
        // It takes a while the first time.
        let numbers = state.identities.partition.numbers(&mut || watch.tell(0))?;
        let audience =
            audience.map(|audience| numbers.roots().iter().map(|root| audience.contains(root)).collect());
        Ok(Self {
            state,
            numbers,
            audience,
            wanted,
            scope,
            names,
            now,
            members,
            by: Mutex::default(),
            labels: wanted.labels.iter().map(|_| Mutex::default()).collect(),
        })
    }

    /// The place of the property that a breakdown goes by.
    pub(super) fn by_place(&self) -> Option<&'s Place> {
        self.scope.by.as_ref().and_then(|by| by.place())
    }

    /// The one member that the value at a place hangs on, if it is one.
    pub(super) fn only_member(&self, path: &DottedPath, in_context: bool) -> Option<usize> {
        let mut roots = path.roots();
        let (root, None) = (roots.next()?, roots.next()) else { return None };
        if in_context {
            let place = self.members.context.iter().position(|name| name == root)?;
            Some(self.members.properties.len() + place)
        } else {
            self.members.properties.iter().position(|name| name == root)
        }
    }

    /// Whether a question looks into events of that name.
    fn wants_members_of(&self, name: &Name) -> bool {
        let conditions = || name.asking.iter().map(|place| &self.wanted.conditions[*place]);
        let into_all =
            self.by_place().is_some() || self.wanted.amount.is_some() || !self.wanted.labels.is_empty();
        name.wanted && (into_all || conditions().any(EventCondition::asks_properties))
    }

    /// The member that is added up, if nobody looks at it for anything else.
    fn added_up(&self) -> Option<usize> {
        let amount = self.wanted.amount.as_ref()?;
        let (own, in_context) = (self.only_member(amount.path(), amount.in_context())?, amount.in_context());
        let name = amount.path().roots().next()?;
        let places = self.wanted.labels.iter().chain(self.by_place());
        let elsewhere = places.filter(|place| place.in_context() == in_context).map(Place::path);
        let conditions = self.wanted.conditions.iter().flat_map(EventCondition::paths);
        let mut elsewhere = elsewhere.chain(conditions.filter(|_| !in_context));
        (!elsewhere.any(|path| path.roots().any(|root| root == name))).then_some(own)
    }

    /// Whether the question is about everybody, and every event is somebody's.
    pub(super) fn is_everyone_meant(&self) -> bool {
        self.audience.is_none() && self.numbers.are_all_held()
    }

    /// Whether the number is that of somebody who is asked about.
    pub(super) fn is_meant(&self, person: u32) -> bool {
        self.audience.as_ref().is_none_or(|audience| audience[person as usize])
    }

    /// The timeline of what was counted, if all could be.
    fn count(&self, gathered: Vec<Gather>, mut all: Counter, zone: &Zone) -> Result<Option<Timeline>> {
        let mut any_amount = false;
        for gather in gathered {
            gather.failed?;
            any_amount |= gather.any_amount;
            let counted = gather.counted.filter(|_| !gather.is_uncounted);
            if !counted.is_some_and(|counted| all.merge(counted)) {
                return Ok(None);
            }
        }
        let Some(all) = all.settled(self.scope, zone) else { return Ok(None) };
        let legend = self.legend();
        if all.len() > 0 && !self.scope.is_narrowed() {
            self.check_properties(&legend, any_amount, false)?;
        }
        Ok(Some(Timeline::counted(all, legend)))
    }

    /// What the events stand for that were noted.
    fn legend(&self) -> Legend {
        let taken = |labels: &Mutex<Labels>| std::mem::take(&mut *lock(labels));
        Legend {
            count: self.numbers.roots().len(),
            by: taken(&self.by),
            labels: self.labels.iter().map(taken).collect(),
            ..Legend::default()
        }
    }

    /// The timeline of what was noted.
    fn finish(self, db: &Db, gathered: Vec<Gather>, watch: &Watch<'_>) -> Result<Timeline> {
        let (mut any_amount, mut any_labelled) = (false, false);
        let mut readings = Vec::with_capacity(gathered.len());
        for gather in gathered {
            gather.failed?;
            any_amount |= gather.any_amount;
            any_labelled |= gather.any_labelled;
            readings.push(gather.reading);
        }
        let noted: usize = readings.iter().map(Reading::len).sum();
        let mut legend = self.legend();
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
            if labels.is_empty() && any_labelled && place.to_string() != CHANNEL {
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
        let needs = catalog.needs(&has_trait(&path.to_string()).exists());
        let is_computed = path.roots().any(|name| catalog.traits.contains_key(name));
        let are_alike = are_alike(&needs, catalog);
        if are_alike {
            let people: Vec<u32> =
                (0..).zip(present).filter(|(_, is)| **is).map(|(person, _)| person).collect();
            let names: Vec<&str> = needs.traits().collect();
            let groups = Alike::of(db, &self.numbers, &names, &people, &mut || watch.tell(0))?;
            let mut of_groups = Vec::new();
            for traits in groups.traits() {
                if of_groups.len() % OFTEN == 0 {
                    watch.tell(0)?;
                }
                of_groups.push(label(by, path.first(&&traits), "by.trait")?);
            }
            for (person, group) in people.iter().zip(&groups.of_people) {
                numbers[*person as usize] = of_groups[*group as usize];
            }
        }
        if is_computed {
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
        let read = path.roots().filter(|name| !are_alike && !catalog.traits.contains_key(*name));
        for name in read {
            db.visit_trait(name, |node, value| {
                let person = self.numbers.person(node.0);
                let is_present = present.get(person as usize).copied().unwrap_or(false);
                if let Some(value) = value.filter(|_| is_present) {
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
            numbers[person as usize] = label(by, path.first(&&held), "by.trait")?;
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
        let name = |(root, present): (&Node, &bool)| {
            if !present {
                return String::new();
            }
            let strongest = strongest(identities, rules, identities.partition.members(*root));
            strongest.map(|node| identities.interner.identifier(node).to_string()).unwrap_or_default()
        };
        let pieces = self.numbers.roots().chunks(NAMED).zip(present.chunks(NAMED)).collect();
        let named = in_parallel(pieces, watch, noted, |(roots, present): (&[Node], &[bool])| {
            roots.iter().zip(present).map(name).collect::<Vec<_>>()
        })?;
        Ok(named.into_iter().flatten().collect())
    }
}

/// The members of events that places and conditions look into.
fn members(wanted: &Wanted, scope: &Scope) -> Wants {
    let (mut properties, mut context) = (Vec::new(), Vec::new());
    let by = scope.by.as_ref().and_then(|by| by.place());
    for place in wanted.labels.iter().chain(&wanted.amount).chain(by) {
        let own = if place.in_context() { &mut context } else { &mut properties };
        own.extend(place.path().roots().map(str::to_owned));
    }
    for path in wanted.conditions.iter().flat_map(EventCondition::paths) {
        properties.extend(path.roots().map(str::to_owned));
    }
    for members in [&mut properties, &mut context] {
        members.sort_unstable();
        members.dedup();
    }
    Wants { properties, context }
}

pub(super) fn lock(labels: &Mutex<Labels>) -> MutexGuard<'_, Labels> {
    labels.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of a value, 0 of none.
pub(super) fn label(labels: &mut Labels, value: Option<&Value>, member: &str) -> Result<u32> {
    let number = value.map_or(Some(0), |value| labels.number(value));
    number.ok_or_else(|| {
        let reason = format!("more than {} different values", Labels::MOST);
        DefinitionError::new(member, reason).into()
    })
}
