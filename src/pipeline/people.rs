//! A person, read: the rows of the store put together by the rules of profiles.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use super::contents::{Wants, contents, is_paged};
use crate::clock::Timestamp;
use crate::id::Identifier;
use crate::identity::{Identities, Node, Numbers, Person, Rules, by_strength};
use crate::profile::{
    Account, Consent, ConsentRules, History, KeptConsent, PastEvent, Policies, Policy, Profile, Trait,
    over_time, standing,
};
use crate::segment::{Catalog, Least, Needs, Segment};
use crate::store::{Asked, Chunk, Db, Failure, Result, Seen, Visit};
use crate::value::{Members, Object, nfc};

/// What conditions with these needs have to see of a person, but for what follows from definitions. Events later than
/// `until` are left out, with what they asserted. Message ids are left out where no order depends on them.
pub(crate) fn history(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
) -> Result<History> {
    let mut events = Vec::new();
    if needs.events() {
        for &node in &person.nodes {
            let wanted = |name: &str| needs.wants_event(name);
            let opened = |name: &str| needs.wants_properties(name);
            db.events_of(node, wanted, opened, |seen| {
                if until.is_none_or(|until| seen.at <= until) {
                    events.push(Loose::of(&seen, needs));
                }
            })?;
        }
    }
    let asserted = said_of(db, person, needs, catalog, until)?;
    assembled(db, person, needs, catalog, until, (events, asserted))
}

/// What was asserted of a person's traits that are wanted.
fn said_of(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
) -> Result<Vec<(String, Trait)>> {
    let mut asserted = Vec::new();
    let past = |at: Timestamp| until.is_none_or(|until| at <= until);
    for name in needs.traits() {
        // Of most traits the latest value stands, and what was said before is of no account.
        let latest = until.is_none() && is_latest_alone(name, needs, catalog);
        for &node in &person.nodes {
            asserted.extend(db.trait_of(node, name, latest)?.into_iter().filter(|(_, said)| past(said.at)));
        }
    }
    Ok(asserted)
}

/// Whether the latest of several values of a trait stands, and nothing is asked of the ones before.
fn is_latest_alone(name: &str, needs: &Needs, catalog: &Catalog) -> bool {
    matches!(catalog.policies.get(name), None | Some(Policy::Latest)) && !needs.wants_past(name)
}

/// An event of a history that has yet to be put in order.
struct Loose {
    event: u32,
    past: PastEvent,
}

impl Loose {
    /// With the properties that are needed, if its text was asked for.
    fn of(seen: &Seen<'_>, needs: &Needs) -> Self {
        let mut properties = Object::new();
        if !seen.json.is_empty() {
            let (held, _) = contents(seen.json, is_paged(seen.name), false);
            let needed = |name: &str| Some((name.to_owned(), (&held).member(name)?.clone()));
            properties.extend(needs.property_names().filter_map(needed));
        }
        Self::with(seen, properties)
    }

    fn with(seen: &Seen<'_>, properties: Object) -> Self {
        let (name, message_id) = (seen.name.to_owned(), seen.message_id.to_owned());
        Self { event: seen.event, past: PastEvent { name, at: seen.at, message_id, properties } }
    }
}

/// A history with those events.
fn assembled(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
    (events, asserted): (Vec<Loose>, Vec<(String, Trait)>),
) -> Result<History> {
    let mut history = History { namespaces: person.namespaces.clone(), ..History::default() };
    if needs.profile() {
        history.profile = Some(db.profile_id(person.profile)?);
    }
    history.events = in_order(db, events)?;
    let remembered = asserted.iter().filter(|(name, _)| needs.wants_past(name)).cloned();
    history.past = over_time(remembered.collect::<Vec<_>>(), &catalog.policies);
    history.traits = values(standing(asserted, &catalog.policies));
    by_hand(db, person, needs, catalog, until, &mut history)?;
    if needs.consents().next().is_some() {
        let standing = consents(db, &person.nodes, &catalog.consent, until)?.into_iter();
        history.consents = standing.map(|(purpose, held)| (purpose, held.state)).collect();
    }
    if needs.accounts() {
        history.accounts = accounts(db, person, until)?;
    }
    Ok(history)
}

/// Events by time, and those of one instant by message id.
fn in_order(db: &Db, mut events: Vec<Loose>) -> Result<Vec<PastEvent>> {
    events.sort_by_key(|loose| loose.past.at);
    for tied in events.chunk_by_mut(|a, b| a.past.at == b.past.at) {
        if tied.len() > 1 {
            let numbers: Vec<u32> = tied.iter().map(|loose| loose.event).collect();
            for (loose, id) in tied.iter_mut().zip(db.message_ids(&numbers)?) {
                loose.past.message_id = id;
            }
            tied.sort_by(|a, b| a.past.message_id.cmp(&b.past.message_id));
        }
    }
    Ok(events.into_iter().map(|loose| loose.past).collect())
}

/// As many events of people are held at once while everybody is looked at: in debug builds so few that tests have several
/// portions.
const PORTION: usize = if cfg!(debug_assertions) { 1 << 4 } else { 1 << 19 };

/// Where of so many people one is left, their traits are looked up one by one, instead of gone through.
const FEW: usize = 16;

/// Calls `each` with everybody who has done what is asked at least, and what [`history`] gives of them. The log is gone
/// through from end to end, instead of searched for each.
pub(crate) fn everybody<E: From<Failure>>(
    db: &Db,
    identities: &Identities,
    (needs, least): (&Needs, &[Least]),
    catalog: &Catalog,
    until: Option<Timestamp>,
    mut each: impl FnMut(&Person, History) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let partition = &identities.partition;
    let root_of = |person: &Person| person.nodes.first().and_then(|node| partition.root(*node));
    if !needs.events() && least.is_empty() {
        let mut traits = all_traits(db, identities, needs, catalog, until)?;
        return identities.people().try_for_each(|person| {
            let asserted = root_of(&person).and_then(|root| traits.remove(&root)).unwrap_or_default();
            let history = assembled(db, &person, needs, catalog, until, (Vec::new(), asserted))?;
            each(&person, history)
        });
    }
    let numbers = partition.numbers();
    let names = db.event_names()?;
    let counts = Counts::of(db, &numbers, (needs, least), &names, until)?;
    let is_meant = |person: &usize| counts.are_enough(*person, least);
    let count = (0..numbers.roots().len()).filter(is_meant).count();
    let are_few = !least.is_empty() && count * FEW < partition.sets();
    let mut traits =
        if are_few { FxHashMap::default() } else { all_traits(db, identities, needs, catalog, until)? };
    let gathering = Gathering::new(db, &numbers, needs, &names, until);
    let mut people = (0..numbers.roots().len()).filter(is_meant).peekable();
    while people.peek().is_some() {
        let (mut portion, mut held) = (Vec::new(), 0);
        while let Some(number) = people.next_if(|_| held < PORTION) {
            held += counts.events[number] as usize + 1;
            portion.push(number);
        }
        let mut events = if needs.events() { gathering.of(&portion)? } else { Vec::new() };
        for (place, number) in portion.into_iter().enumerate() {
            let root = numbers.roots()[number];
            let Some(person) = identities.person(root) else { continue };
            let asserted = if are_few {
                said_of(db, &person, needs, catalog, until)?
            } else {
                traits.remove(&root).unwrap_or_default()
            };
            let own = events.get_mut(place).map(std::mem::take).unwrap_or_default();
            let history = assembled(db, &person, needs, catalog, until, (own, asserted))?;
            each(&person, history)?;
        }
    }
    Ok(())
}

/// The first instant after those that are looked at, if not all are.
fn end(until: Option<Timestamp>) -> Option<Timestamp> {
    until.map(|until| Timestamp::from_micros(until.as_micros().saturating_add(1)))
}

/// By the numbers of names, whether `wanted` is true of them.
fn by_number(names: &[(u32, String)], wanted: impl Fn(&str) -> bool) -> Vec<bool> {
    let most = names.iter().map(|(number, _)| *number as usize + 1).max().unwrap_or(0);
    let mut flags = vec![false; most];
    for (number, name) in names {
        flags[*number as usize] = wanted(name);
    }
    flags
}

/// How often everybody has done what conditions look at, and what is asked at least, by the numbers of people.
struct Counts {
    events: Vec<u32>,
    done: Vec<Vec<u32>>,
}

impl Counts {
    fn of(
        db: &Db,
        numbers: &Numbers,
        (needs, least): (&Needs, &[Least]),
        names: &[(u32, String)],
        until: Option<Timestamp>,
    ) -> Result<Self> {
        let needed = by_number(names, |name| needs.wants_event(name));
        let meant: Vec<Vec<bool>> =
            least.iter().map(|least| by_number(names, |name| least.wants(name))).collect();
        let is_wanted = |name: usize| needed[name] || meant.iter().any(|meant| meant[name]);
        let wanted: Vec<bool> = (0..needed.len()).map(is_wanted).collect();
        let visit = Visit { range: (None, end(until)), wanted: &wanted, numbers: false, asked: None };
        let people = numbers.roots().len();
        let make = || Self { events: vec![0; people], done: vec![vec![0; people]; least.len()] };
        let count = |counts: &mut Self, chunk: &Chunk<'_>| {
            let name = chunk.name as usize;
            if needed[name] {
                for node in chunk.nodes {
                    if let Some(count) = counts.events.get_mut(numbers.person(*node) as usize) {
                        *count += 1;
                    }
                }
            }
            for ((done, least), meant) in counts.done.iter_mut().zip(least).zip(&meant) {
                if meant[name] {
                    let inside = least.inside();
                    for (node, at) in chunk.nodes.iter().zip(chunk.times) {
                        if inside.contains(at)
                            && let Some(count) = done.get_mut(numbers.person(*node) as usize)
                        {
                            *count += 1;
                        }
                    }
                }
            }
            ControlFlow::Continue(())
        };
        let mut all = db.visit_events(visit, |_| ControlFlow::Continue(()), make, count)?.into_iter();
        let mut whole = all.next().unwrap_or_else(make);
        let add = |own: &mut [u32], other: &[u32]| {
            own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
        };
        for other in all {
            add(&mut whole.events, &other.events);
            whole.done.iter_mut().zip(&other.done).for_each(|(own, other)| add(own, other));
        }
        Ok(whole)
    }

    fn are_enough(&self, person: usize, least: &[Least]) -> bool {
        self.done.iter().zip(least).all(|(done, least)| u64::from(done[person]) >= least.count)
    }
}

/// How the events of some people are gathered.
struct Gathering<'g> {
    db: &'g Db,
    numbers: &'g Numbers,
    names: FxHashMap<u32, &'g str>,
    wanted: Vec<bool>,
    /// The properties that are wanted, and what the store knows them by.
    wants: Wants,
    members: Vec<String>,
    until: Option<Timestamp>,
}

impl<'g> Gathering<'g> {
    fn new(
        db: &'g Db,
        numbers: &'g Numbers,
        needs: &Needs,
        names: &'g [(u32, String)],
        until: Option<Timestamp>,
    ) -> Self {
        let properties = needs.property_names().map(str::to_owned).collect();
        let wants = Wants::new(properties, Vec::new(), names);
        let members = wants.texts();
        let wanted = by_number(names, |name| needs.wants_event(name));
        let names = names.iter().map(|(number, name)| (*number, name.as_str())).collect();
        Self { db, numbers, names, wanted, wants, members, until }
    }

    /// The events of people, in the order of the people; those of each in none.
    fn of(&self, people: &[usize]) -> Result<Vec<Vec<Loose>>> {
        let mut places = vec![u32::MAX; self.numbers.roots().len()];
        for (place, person) in (0..).zip(people) {
            places[*person] = place;
        }
        let Self { numbers, names, wanted, wants, members, until, .. } = self;
        let asked = (!members.is_empty()).then_some(Asked { members, read: wants });
        let visit = Visit { range: (None, end(*until)), wanted, numbers: true, asked };
        let take = |found: &mut Vec<(u32, Loose)>, chunk: &Chunk<'_>| {
            let name = names.get(&chunk.name).copied().unwrap_or_default();
            for ((node, at), event) in chunk.nodes.iter().zip(chunk.times).zip(chunk.events) {
                let person = numbers.person(*node) as usize;
                let Some(place) = places.get(person).copied().filter(|place| *place != u32::MAX) else {
                    continue;
                };
                let held = wants.properties.iter().zip(chunk.values.of(*event));
                let properties =
                    held.filter_map(|(name, value)| Some((name.clone(), value?.clone()))).collect();
                let at = Timestamp::from_micros(*at);
                let seen = Seen { event: *event, at, name, message_id: "", json: "" };
                found.push((place, Loose::with(&seen, properties)));
            }
            ControlFlow::Continue(())
        };
        let found = self.db.visit_events(visit, |_| ControlFlow::Continue(()), Vec::new, take)?;
        let mut all: Vec<Vec<Loose>> = people.iter().map(|_| Vec::new()).collect();
        for (place, loose) in found.into_iter().flatten() {
            all[place as usize].push(loose);
        }
        Ok(all)
    }
}

/// What was asserted of everybody's traits that are wanted, by the roots of their sets. Where the latest of several values
/// stands, and nothing is asked of the ones before, only that is kept.
fn all_traits(
    db: &Db,
    identities: &Identities,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
) -> Result<FxHashMap<Node, Vec<(String, Trait)>>> {
    let mut all: FxHashMap<Node, Vec<(String, Trait)>> = FxHashMap::default();
    for name in needs.traits() {
        let replaces = is_latest_alone(name, needs, catalog);
        db.visit_trait(name, |node, said| {
            let root = identities.partition.root(node).filter(|_| until.is_none_or(|until| said.at <= until));
            if let Some(root) = root {
                let own = all.entry(root).or_default();
                let same = |(other, kept): &&mut (String, Trait)| other == name && !kept.pinned;
                match own.iter_mut().find(same).filter(|_| replaces && !said.pinned) {
                    Some((_, kept)) if (kept.at, &kept.message_id) < (said.at, &said.message_id) => {
                        *kept = said;
                    }
                    Some(_) => {}
                    None => own.push((name.to_owned(), said)),
                }
            }
            ControlFlow::Continue(())
        })?;
    }
    Ok(all)
}

/// The decisions on consent of whoever holds these nodes that stand, by purpose; of those up to `until`.
pub(crate) fn consents(
    db: &Db,
    nodes: &[Node],
    rules: &ConsentRules,
    until: Option<Timestamp>,
) -> Result<BTreeMap<String, KeptConsent>> {
    let mut decisions = Vec::new();
    for &node in nodes {
        let of_node = db.consents_of(node)?.into_iter();
        decisions.extend(of_node.filter(|decision| until.is_none_or(|until| decision.at <= until)));
    }
    Ok(rules.standing(decisions))
}

/// The traits of a person that stand, of those whose names are wanted.
pub(crate) fn traits(
    db: &Db,
    person: &Person,
    policies: &Policies,
    wanted: impl Fn(&str) -> bool,
) -> Result<Object> {
    let mut asserted = Vec::new();
    for &node in &person.nodes {
        asserted.extend(db.traits_of(node)?.into_iter().filter(|(name, _)| wanted(&nfc(name))));
    }
    Ok(values(standing(asserted, policies)))
}

fn values(standing: BTreeMap<String, Trait>) -> Object {
    standing.into_iter().map(|(name, held)| (name, held.value)).collect()
}

/// Adds the lists that a person is on, and the tags that they were given.
pub(crate) fn by_hand(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
    history: &mut History,
) -> Result<()> {
    let past = |at: Timestamp| until.is_none_or(|until| at <= until);
    let wants_lists = needs.segments().any(|name| catalog.segments.get(name).is_some_and(Segment::is_list));
    let wants_tags = needs.given_tags() || needs.tags().next().is_some();
    for &node in &person.nodes {
        if wants_lists {
            let lists = db.lists_of(node)?.into_iter().filter(|(_, at)| past(*at));
            history.lists.extend(lists.map(|(name, _)| name));
        }
        if wants_tags {
            let tags = db.tags_of(node)?.into_iter().filter(|(_, at, _)| past(*at));
            history.given.extend(tags.map(|(name, _, expires)| (name, expires)));
        }
    }
    Ok(())
}

/// What conditions see of a person's accounts.
pub(crate) fn accounts(db: &Db, person: &Person, until: Option<Timestamp>) -> Result<Vec<History>> {
    let past = |at: Timestamp| until.is_none_or(|until| at <= until);
    let mut numbers = Vec::new();
    for &node in &person.nodes {
        let joined = db.joined_accounts(node)?.into_iter().filter(|(_, at)| past(*at));
        numbers.extend(joined.map(|(number, _)| number));
    }
    numbers.sort_unstable();
    numbers.dedup();
    let account = |number| {
        let said: Vec<_> =
            db.traits_of_account(number)?.into_iter().filter(|(_, said)| past(said.at)).collect();
        let past = over_time(said.clone(), &Policies::new());
        Ok(History { past, traits: values(standing(said, &Policies::new())), ..History::default() })
    };
    numbers.into_iter().map(account).collect()
}

/// Decisions on consent as they are told.
pub(crate) fn told(
    identities: &Identities,
    standing: BTreeMap<String, KeptConsent>,
) -> BTreeMap<String, Consent> {
    let told = |held: KeptConsent| {
        let identifier = identities.interner.identifier(held.node);
        held.told(identifier)
    };
    standing.into_iter().map(|(purpose, held)| (purpose, told(held))).collect()
}

/// The profile of a person. What follows from definitions is the caller's to fill in.
pub(crate) fn profile(
    db: &Db,
    identities: &Identities,
    rules: &Rules,
    catalog: &Catalog,
    person: &Person,
) -> Result<Profile> {
    let nodes = by_strength(identities, rules, person.nodes.iter().copied());
    let mut asserted = Vec::new();
    let mut accounts = Vec::new();
    let (mut first_seen, mut last_seen, mut events) = (None, None, 0);
    for &node in &nodes {
        asserted.append(&mut db.traits_of(node)?);
        accounts.append(&mut db.accounts_of(node)?);
        if let Some((first, last, count)) = db.span_of(node)? {
            first_seen = Some(first_seen.map_or(first, |seen: Timestamp| seen.min(first)));
            last_seen = last_seen.max(Some(last));
            events += count;
        }
    }
    accounts.sort_by(|a, b| a.1.cmp(&b.1));
    accounts.dedup();
    let account =
        |(number, id)| Ok(Account { id, traits: standing(db.traits_of_account(number)?, &Policies::new()) });
    let identifiers: Vec<Identifier> =
        nodes.into_iter().map(|node| identities.interner.identifier(node)).collect();
    Ok(Profile {
        id: db.profile_id(person.profile)?,
        name: identifiers[0].clone(),
        identifiers,
        traits: standing(asserted, &catalog.policies),
        computed: BTreeMap::new(),
        tags: Vec::new(),
        segments: Vec::new(),
        consents: told(identities, consents(db, &person.nodes, &catalog.consent, None)?),
        accounts: accounts.into_iter().map(account).collect::<Result<_>>()?,
        first_seen,
        last_seen,
        events,
    })
}
