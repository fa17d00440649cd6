//! Filling the timeline that a question about everybody is answered from.
//!
//! The log is read once. Whose an event is, is asked of the union-find as it stands, and what a question wants of an
//! event is taken out of its JSON; an event of which nothing is wanted but that it happened is not parsed at all.

use std::ops::ControlFlow;

use rustc_hash::{FxHashMap, FxHashSet};

use super::State;
use super::contents::{contents, is_paged};
use super::membership::{self, Live};
use super::people::{self, everybody};
use crate::analytics::{Audience, Labels, Legend, Place, Reading, Scope, Source, Timeline, Wanted, Watch};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Error, Result};
use crate::identity::{Node, strongest};
use crate::profile::{Trait, standing};
use crate::segment::{EventCondition, evaluate, has_trait, trait_value};
use crate::store::{Asked, Db, Visited};
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
    let mut scan = Scan::new(state, audience, wanted, scope, names, now);
    let mut stopped = Ok(());
    let mut failed = Ok(());
    let wants: Vec<bool> = scan.names.known.iter().map(|name| name.wanted).collect();
    let members = scan.members.texts();
    let paged: Vec<bool> = scan.names.known.iter().map(|name| name.paged).collect();
    let (wants_context, own) = (scan.members.wants_context(), scan.members.clone());
    let read = move |json: &str, name: u32| {
        let paged = paged.get(name as usize).copied().unwrap_or(false);
        own.values(&contents(json, paged, wants_context))
    };
    let asked = Asked { members: &members, read: &read };
    let asked = (!members.is_empty()).then_some(asked);
    db.visit_events(
        range,
        asked,
        |name| wants.get(name as usize).copied().unwrap_or(false),
        |seen| go_on(watch.tell(seen), &mut stopped),
        |visited| go_on(scan.take(visited), &mut failed),
    )?;
    stopped.and(failed)?;
    scan.finish(db, watch)
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
    /// Whether it is the name of pages or of screens, whose own `name` and `category` are properties too.
    paged: bool,
}

/// The names of events by their numbers.
struct Names {
    known: Vec<Name>,
    texts: Vec<String>,
}

impl Names {
    fn of(db: &Db, wanted: &Wanted) -> Result<Self> {
        let (mut known, mut texts): (Vec<Name>, Vec<String>) = (Vec::new(), Vec::new());
        for (number, text) in db.event_names()? {
            let mut name = Name { paged: is_paged(&text), ..Name::default() };
            for (place, condition) in wanted.conditions.iter().enumerate() {
                if condition.fits_name(&text) {
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
            known.resize_with(number as usize, Name::default);
            texts.resize_with(number as usize, String::new);
            known.push(name);
            texts.push(text);
        }
        Ok(Self { known, texts })
    }
}

/// Marks nodes of whom it is not known yet which person they are, and such as are not asked about.
const UNKNOWN: u32 = u32::MAX;
const NOBODY: u32 = u32::MAX - 1;

/// The work under way.
struct Scan<'s> {
    state: &'s State,
    audience: Option<FxHashSet<Node>>,
    wanted: &'s Wanted,
    scope: &'s Scope,
    names: Names,
    now: Timestamp,
    /// The members of events that are wanted.
    members: Wants,
    reading: Reading,
    /// Of each node the number of its person, and of each person the root.
    people: Vec<u32>,
    roots: Vec<Node>,
    by: Labels,
    labels: Vec<Labels>,
    /// Whether any event bore the number that is added up.
    any_amount: bool,
    /// Whether any event met a condition that its label is asked of: one that is not the first, if there are several.
    any_labelled: bool,
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
        Self {
            state,
            audience,
            wanted,
            scope,
            names,
            now,
            members: Wants::of(&places, &wanted.conditions),
            reading: Reading { labels: vec![Vec::new(); wanted.labels.len()], ..Reading::default() },
            people: vec![UNKNOWN; state.identities.interner.len()],
            roots: Vec::new(),
            by: Labels::default(),
            labels: vec![Labels::default(); wanted.labels.len()],
            any_amount: false,
            any_labelled: false,
        }
    }

    /// The number of the person who holds a node; `None` if nobody does, or if they are not asked about.
    fn person(&mut self, node: Node) -> Option<u32> {
        let partition = &self.state.identities.partition;
        match *self.people.get(node.index())? {
            UNKNOWN => {}
            NOBODY => return None,
            person => return Some(person),
        }
        let root = partition
            .root(node)
            .filter(|root| self.audience.as_ref().is_none_or(|audience| audience.contains(root)));
        let person = match root {
            None => NOBODY,
            Some(root) if self.people[root.index()] == UNKNOWN => {
                self.roots.push(root);
                let person = u32::try_from(self.roots.len() - 1).unwrap_or(NOBODY);
                self.people[root.index()] = person;
                person
            }
            Some(root) => self.people[root.index()],
        };
        self.people[node.index()] = person;
        (person != NOBODY).then_some(person)
    }

    /// Notes one event, if it is wanted.
    fn take(&mut self, visited: Visited<'_>) -> Result<()> {
        let Some(person) = self.person(visited.node) else { return Ok(()) };
        let name = &self.names.known[visited.name as usize];
        let mut mask = name.plain;
        let conditions = &self.wanted.conditions;
        let (properties, context) = self.members.found(visited.values);
        for place in &name.asking {
            let condition = &conditions[*place];
            let in_time = condition.is_first_only() || condition.fits_time(visited.at, self.now);
            if in_time && condition.fits_properties(&properties) {
                mask |= 1 << place;
            }
        }
        if mask == 0 && !self.wanted.all_events {
            return Ok(());
        }
        let reading = &mut self.reading;
        reading.person.push(person);
        reading.at.push(visited.at.as_micros());
        reading.mask.push(mask);
        if self.wanted.names {
            reading.name.push(visited.name);
        }
        if self.wanted.ordered {
            reading.event.push(visited.event);
        }
        if let Some(place) = self.scope.by.as_ref().and_then(|by| by.place()) {
            let value = place.find(&properties, &context);
            reading.by.push(label(&mut self.by, value, place.member)?);
        }
        self.any_labelled |= mask > 1;
        for ((column, labels), place) in
            reading.labels.iter_mut().zip(&mut self.labels).zip(&self.wanted.labels)
        {
            column.push(label(labels, place.find(&properties, &context), place.member)?);
        }
        if let Some(place) = &self.wanted.amount {
            let amount = place.add_up(&properties, &context);
            self.any_amount |= !amount.is_missing();
            reading.amounts.push(amount);
        }
        Ok(())
    }

    /// The timeline of what was noted.
    fn finish(mut self, db: &Db, watch: &Watch<'_>) -> Result<Timeline> {
        let noted = self.reading.at.len();
        if noted > 0 && !self.scope.is_narrowed() {
            self.check_properties()?;
        }
        let by_people = match self.scope.by.as_ref().map(|by| &by.source) {
            Some(Source::Trait(path)) => Some(self.traits(db, path, watch)?),
            _ => None,
        };
        let people = if self.wanted.people { self.named(watch)? } else { Vec::new() };
        watch.tell(noted as u64)?;
        let legend = Legend {
            count: self.roots.len(),
            people,
            names: self.names.texts,
            by: self.by,
            by_people,
            labels: self.labels,
        };
        let ids = |events: &[u32]| Ok(db.message_ids(events)?);
        let pause = || watch.tell(noted as u64);
        Timeline::new(self.reading, legend, self.wanted, self.scope, self.now, ids, pause)
    }

    /// Refuses what no event has: a slip of the pen. In a range or a segment it may well be that none has it.
    fn check_properties(&self) -> Result<()> {
        let missing = |member: &str, place: &dyn std::fmt::Display| {
            let reason = format!("none of the events that this is about has {:?}", place.to_string());
            Err(DefinitionError::new(member, reason).into())
        };
        if let Some(place) = self.scope.by.as_ref().and_then(|by| by.place())
            && self.by.is_empty()
        {
            return missing(place.member, place);
        }
        for (labels, place) in self.labels.iter().zip(&self.wanted.labels) {
            if labels.is_empty() && self.any_labelled {
                return missing(place.member, place);
            }
        }
        match &self.wanted.amount {
            Some(place) if !self.any_amount => missing(place.member, place),
            _ => Ok(()),
        }
    }

    /// Of each person the number of the value that a trait has.
    fn traits(&mut self, db: &Db, path: &DottedPath, watch: &Watch<'_>) -> Result<Vec<u32>> {
        let catalog = &self.state.segments.catalog;
        let mut numbers = vec![0; self.roots.len()];
        if path.roots().any(|name| catalog.traits.contains_key(name)) {
            let needs = catalog.needs(&has_trait(&path.to_string()).exists());
            for (place, (number, root)) in numbers.iter_mut().zip(&self.roots).enumerate() {
                if place % OFTEN == 0 {
                    watch.tell(0)?;
                }
                let Some(person) = self.state.identities.person(*root) else { continue };
                let mut history = people::history(db, &person, &needs, catalog, None)?;
                catalog.complete(&needs, &mut history, self.now);
                *number = label(&mut self.by, trait_value(path, &history), "by.trait")?;
            }
        }
        let mut said: FxHashMap<u32, Vec<(String, Trait)>> = FxHashMap::default();
        let partition = &self.state.identities.partition;
        let (mut seen, mut stopped) = (0_usize, Ok(()));
        for name in path.roots().filter(|name| !catalog.traits.contains_key(*name)) {
            db.visit_trait(name, |node, value| {
                let person = partition.root(node).and_then(|root| self.people.get(root.index()).copied());
                if let Some(person) = person.filter(|person| *person < NOBODY) {
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
            numbers[person as usize] = label(&mut self.by, found, "by.trait")?;
        }
        if self.by.is_empty() && !self.roots.is_empty() && !self.scope.is_narrowed() {
            let reason = format!("none of the people that this is about has {:?}", path.to_string());
            return Err(DefinitionError::new("by.trait", reason).into());
        }
        Ok(numbers)
    }

    /// The name of each person: the strongest identifier.
    fn named(&self, watch: &Watch<'_>) -> Result<Vec<String>> {
        let State { identities, rules, .. } = self.state;
        let name = |(place, root): (usize, &Node)| {
            if place % OFTEN == 0 {
                watch.tell(self.reading.at.len() as u64)?;
            }
            let strongest = strongest(identities, rules, identities.partition.members(*root));
            Ok(strongest.map(|node| identities.interner.identifier(node).to_string()).unwrap_or_default())
        };
        self.roots.iter().enumerate().map(name).collect()
    }
}

/// The members of events that a question looks into: of the properties, and of the context.
#[derive(Debug, Clone, Default)]
struct Wants {
    properties: Vec<String>,
    context: Vec<String>,
}

impl Wants {
    fn of(places: &[&Place], conditions: &[EventCondition]) -> Self {
        let mut wants = Self::default();
        for place in places {
            let own = if place.in_context() { &mut wants.context } else { &mut wants.properties };
            own.extend(place.path().roots().map(str::to_owned));
        }
        for path in conditions.iter().flat_map(EventCondition::paths) {
            wants.properties.extend(path.roots().map(str::to_owned));
        }
        for names in [&mut wants.properties, &mut wants.context] {
            names.sort_unstable();
            names.dedup();
        }
        wants
    }

    fn wants_context(&self) -> bool {
        !self.context.is_empty()
    }

    /// What the store knows the members by.
    fn texts(&self) -> Vec<String> {
        let properties = self.properties.iter().map(|name| format!("properties.{name}"));
        properties.chain(self.context.iter().map(|name| format!("context.{name}"))).collect()
    }

    /// Their values in the contents of an event.
    fn values(&self, (properties, context): &(Object, Object)) -> Vec<Option<Value>> {
        let own = self.properties.iter().map(|name| (&properties).member(name));
        own.chain(self.context.iter().map(|name| (&context).member(name)))
            .map(Option::<&Value>::cloned)
            .collect()
    }

    /// The same values, to be found by their names.
    fn found<'f>(&'f self, values: &'f [Option<&'f Value>]) -> (Found<'f>, Found<'f>) {
        let (properties, context) = values.split_at(self.properties.len().min(values.len()));
        let found = |names, values| Found { names, values };
        (found(&self.properties, properties), found(&self.context, context))
    }
}

/// Members of an event.
struct Found<'f> {
    names: &'f [String],
    values: &'f [Option<&'f Value>],
}

impl<'f> Members<'f> for Found<'f> {
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
