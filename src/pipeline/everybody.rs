//! Everybody who has done what a condition asks at least, with what it has to see of them.

use std::iter::repeat;
use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use super::contents::{Wants, by_number};
use super::people::{Loose, assembled, is_latest_alone, said_of};
use super::scan::go_on;
use crate::clock::Timestamp;
use crate::identity::{Identities, Node, Numbers, Person};
use crate::profile::{History, Trait};
use crate::segment::{Catalog, Least, Needs};
use crate::store::{Asked, Chunk, Db, Failure, Seen, Visit};

/// As many events of people are held at once while everybody is looked at: in debug builds so few that tests have several
/// portions.
const PORTION: usize = if cfg!(debug_assertions) { 1 << 4 } else { 1 << 19 };

/// Where of so many people one is left, their traits are looked up one by one, instead of gone through.
pub(super) const FEW: usize = 16;

/// What is called now and then, and may end the work by an error.
pub(crate) type Pause<'p, E> = dyn FnMut() -> Result<(), E> + 'p;

/// After how many people, or rows or values of traits, it is called.
pub(super) const OFTEN: usize = 1 << 8;

/// Visits events, as long as nothing is said against it.
fn visited<W: Send, E: From<Failure>>(
    db: &Db,
    visit: Visit<'_>,
    pause: &mut Pause<'_, E>,
    make: impl Fn() -> W,
    work: impl Fn(&mut W, &Chunk<'_>) -> ControlFlow<()> + Sync,
) -> Result<Vec<W>, E> {
    let mut stopped = Ok(());
    let found = db.visit_events(visit, |_| go_on(pause(), &mut stopped), make, work)?;
    stopped.map(|()| found)
}

/// The roots of those who have done what is asked at least.
pub(super) fn those_who_did<E: From<Failure>>(
    db: &Db,
    identities: &Identities,
    least: &[Least],
    until: Option<Timestamp>,
    pause: &mut Pause<'_, E>,
) -> Result<Vec<Node>, E> {
    let numbers = identities.partition.numbers(pause)?;
    let people = enough(db, &numbers, least, until, pause)?;
    Ok(people.into_iter().map(|person| numbers.roots()[person as usize]).collect())
}

/// The numbers of those who have done what is asked at least.
pub(super) fn enough<E: From<Failure>>(
    db: &Db,
    numbers: &Numbers,
    least: &[Least],
    until: Option<Timestamp>,
    pause: &mut Pause<'_, E>,
) -> Result<Vec<u32>, E> {
    if least.is_empty() {
        return Ok(numbers.people().collect());
    }
    let counts = Counts::of(db, numbers, (&Needs::default(), least), &db.event_names()?, until, pause)?;
    Ok(counts.those_with_enough(numbers, least))
}

/// Calls `each` with everybody who has done what is asked at least, and what [`history`] gives of them. The log is gone
/// through from end to end, instead of searched for each; `pause` is called now and then.
pub(crate) fn everybody<E: From<Failure>>(
    db: &Db,
    identities: &Identities,
    (needs, least): (&Needs, &[Least]),
    catalog: &Catalog,
    until: Option<Timestamp>,
    pause: &mut Pause<'_, E>,
    mut each: impl FnMut(&Person, History) -> Result<(), E>,
) -> Result<(), E> {
    let partition = &identities.partition;
    let root_of = |person: &Person| person.nodes.first().and_then(|node| partition.root(*node));
    if !needs.events() && least.is_empty() {
        let mut traits = all_traits(db, identities, needs, catalog, until, pause)?;
        return identities.people().enumerate().try_for_each(|(place, person)| {
            if place % OFTEN == 0 {
                pause()?;
            }
            let asserted = root_of(&person).and_then(|root| traits.remove(&root)).unwrap_or_default();
            let history = assembled(db, &person, needs, catalog, until, (Vec::new(), asserted))?;
            each(&person, history)
        });
    }
    let numbers = partition.numbers(pause)?;
    let names = db.event_names()?;
    let counts = Counts::of(db, &numbers, (needs, least), &names, until, pause)?;
    let meant = counts.those_with_enough(&numbers, least);
    let are_few = !least.is_empty() && meant.len() * FEW < partition.sets();
    let mut traits = if are_few {
        FxHashMap::default()
    } else {
        all_traits(db, identities, needs, catalog, until, pause)?
    };
    let gathering = Gathering::new(db, &numbers, needs, &names, until);
    let mut people = meant.into_iter().map(|person| person as usize).peekable();
    while people.peek().is_some() {
        let (mut portion, mut held) = (Vec::new(), 0);
        while let Some(number) = people.next_if(|_| held < PORTION) {
            held += counts.events.get(number).map_or(0, |count| *count as usize) + 1;
            portion.push(number);
        }
        let mut events = if needs.events() { gathering.of(&portion, pause)? } else { Vec::new() };
        for (place, number) in portion.into_iter().enumerate() {
            if place % OFTEN == 0 {
                pause()?;
            }
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

/// How often everybody has done what is asked at least, by the numbers of people: in as little room as that needs, so that
/// it stays in the cache of a core.
enum Done {
    /// Up to 255 times; who has done it more often has done it as often.
    Few(Vec<u8>),
    Many(Vec<u32>),
}

impl Done {
    fn new(least: &Least, people: usize) -> Self {
        if least.count <= u8::MAX.into() { Self::Few(vec![0; people]) } else { Self::Many(vec![0; people]) }
    }

    /// Counts events of some people.
    fn add(&mut self, people: impl Iterator<Item = u32>) {
        let people = people.map(|person| person as usize);
        match self {
            Self::Few(done) => people.for_each(|person| {
                if let Some(count) = done.get_mut(person) {
                    *count = count.saturating_add(1);
                }
            }),
            Self::Many(done) => people.for_each(|person| {
                if let Some(count) = done.get_mut(person) {
                    *count += 1;
                }
            }),
        }
    }

    fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Few(own), Self::Few(other)) => {
                own.iter_mut().zip(other).for_each(|(own, other)| *own = own.saturating_add(*other));
            }
            (Self::Many(own), Self::Many(other)) => {
                own.iter_mut().zip(other).for_each(|(own, other)| *own += other);
            }
            _ => {}
        }
    }

    fn count(&self, person: u32) -> u64 {
        match self {
            Self::Few(done) => done[person as usize].into(),
            Self::Many(done) => done[person as usize].into(),
        }
    }

    /// The numbers of those who have done it so often.
    fn those(&self, least: u64) -> Vec<u32> {
        match self {
            Self::Few(done) => u8::try_from(least).map_or_else(|_| Vec::new(), |least| at_least(done, least)),
            Self::Many(done) => {
                let enough = (0..).zip(done).filter(|(_, count)| u64::from(**count) >= least);
                enough.map(|(person, _)| person).collect()
            }
        }
    }
}

/// As many words of eight bytes are looked through at once.
const PAGE: usize = if cfg!(debug_assertions) { 1 << 1 } else { 1 << 9 };

/// The places of the bytes that are so high or higher. Most are not, as a rule: eight are compared at once, and which words
/// have any is noted first, so that a core need not guess.
fn at_least(bytes: &[u8], least: u8) -> Vec<u32> {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGHEST: u64 = ONES << 7;
    // What is added to the lower seven bits of a byte sets the highest one if they are as high as those of `least`.
    let add = ONES * u64::from(0x80 - (least & 0x7F));
    let enough = |word: &[u8; 8]| {
        let word = u64::from_le_bytes(*word);
        let lower = (word & !HIGHEST) + add;
        HIGHEST & if least < 0x80 { word | lower } else { word & lower }
    };
    let (words, rest) = bytes.as_chunks::<8>();
    let (mut places, mut found) = (Vec::new(), [0_u32; PAGE]);
    for (first, page) in (0_u32..).step_by(PAGE).zip(words.chunks(PAGE)) {
        let mut many = 0;
        for (place, word) in (first..).zip(page) {
            found[many] = place;
            many += usize::from(enough(word) != 0);
        }
        for place in &found[..many] {
            let mut enough = enough(&words[*place as usize]);
            while enough != 0 {
                places.push(8 * place + enough.trailing_zeros() / 8);
                enough &= enough - 1;
            }
        }
    }
    let first = u32::try_from(bytes.len() - rest.len()).unwrap_or(u32::MAX);
    places.extend((first..).zip(rest).filter(|(_, byte)| **byte >= least).map(|(place, _)| place));
    places
}

/// How often everybody has done what conditions look at, and what is asked at least, by the numbers of people.
struct Counts {
    /// Empty if they look at no events.
    events: Vec<u32>,
    done: Vec<Done>,
}

impl Counts {
    fn of<E: From<Failure>>(
        db: &Db,
        numbers: &Numbers,
        (needs, least): (&Needs, &[Least]),
        names: &[(u32, String)],
        until: Option<Timestamp>,
        pause: &mut Pause<'_, E>,
    ) -> Result<Self, E> {
        let needed = by_number(names, |name| needs.wants_event(name));
        let meant: Vec<Vec<bool>> =
            least.iter().map(|least| by_number(names, |name| least.wants(name))).collect();
        let is_wanted = |name: usize| needed[name] || meant.iter().any(|meant| meant[name]);
        let wanted: Vec<bool> = (0..needed.len()).map(is_wanted).collect();
        // Where nothing is looked at but what is counted, what comes before all that counts, or after it, need not be read;
        // and if all that is read counts, nor when it was.
        let all = (i64::MIN, until.map_or(i64::MAX, Timestamp::as_micros));
        let counting = |least: &Least| (*least.inside().start(), (*least.inside().end()).min(all.1));
        let bounds = least.iter().map(counting).reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)));
        let bounds = bounds.filter(|_| !needs.events()).unwrap_or(all);
        let times = least.iter().any(|least| counting(least) != bounds);
        let from = (bounds.0 > i64::MIN).then(|| Timestamp::from_micros(bounds.0));
        let range = (from, end((bounds.1 < i64::MAX).then(|| Timestamp::from_micros(bounds.1))));
        let visit = Visit {
            range,
            wanted: &wanted,
            times,
            edges: &[],
            people: Some(numbers),
            numbers: false,
            asked: None,
        };
        let people = numbers.roots().len();
        let make = || Self {
            events: vec![0; if needs.events() { people } else { 0 }],
            done: least.iter().map(|least| Done::new(least, people)).collect(),
        };
        let count = |counts: &mut Self, chunk: &Chunk<'_>| {
            let name = chunk.name as usize;
            if needed[name] {
                for person in chunk.people {
                    if let Some(count) = counts.events.get_mut(*person as usize) {
                        *count += 1;
                    }
                }
            }
            for ((done, least), meant) in counts.done.iter_mut().zip(least).zip(&meant) {
                if meant[name] {
                    let inside = least.inside();
                    let own = chunk.people.iter().zip(chunk.times).filter(|(_, at)| inside.contains(at));
                    if times {
                        done.add(own.map(|(person, _)| *person));
                    } else {
                        done.add(chunk.people.iter().copied());
                    }
                }
            }
            ControlFlow::Continue(())
        };
        let mut all = visited(db, visit, pause, make, count)?.into_iter();
        let mut whole = all.next().unwrap_or_else(make);
        for other in all {
            whole.events.iter_mut().zip(&other.events).for_each(|(own, other)| *own += other);
            whole.done.iter_mut().zip(&other.done).for_each(|(own, other)| own.merge(other));
        }
        Ok(whole)
    }

    /// The numbers of those who have done all that is asked at least; everybody, if nothing is.
    fn those_with_enough(&self, numbers: &Numbers, least: &[Least]) -> Vec<u32> {
        let mut all = self.done.iter().zip(least);
        let mut those = match all.next() {
            Some((done, least)) => done.those(least.count),
            None => numbers.people().collect(),
        };
        all.for_each(|(done, least)| those.retain(|person| done.count(*person) >= least.count));
        those
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
        let wants = Wants { properties, context: Vec::new() };
        let members = wants.texts();
        let wanted = by_number(names, |name| needs.wants_event(name));
        let names = names.iter().map(|(number, name)| (*number, name.as_str())).collect();
        Self { db, numbers, names, wanted, wants, members, until }
    }

    /// The events of people, in the order of the people; those of each in none.
    fn of<E: From<Failure>>(&self, people: &[usize], pause: &mut Pause<'_, E>) -> Result<Vec<Vec<Loose>>, E> {
        let mut places = vec![u32::MAX; self.numbers.roots().len()];
        for (place, person) in (0..).zip(people) {
            places[*person] = place;
        }
        let Self { numbers, names, wanted, wants, members, until, .. } = self;
        let asked =
            (!members.is_empty()).then_some(Asked { members, added_up: None, names: wanted, read: wants });
        let (range, whose) = ((None, end(*until)), Some(*numbers));
        let visit = Visit { range, wanted, times: true, edges: &[], people: whose, numbers: true, asked };
        let take = |found: &mut Vec<(u32, Loose)>, chunk: &Chunk<'_>| {
            let name = names.get(&chunk.name).copied().unwrap_or_default();
            let keys = chunk.keys.iter().copied().chain(repeat(0));
            let own = chunk.people.iter().zip(chunk.times).zip(chunk.events);
            for (((person, at), event), key) in own.zip(keys) {
                let Some(place) = places.get(*person as usize).copied().filter(|place| *place != u32::MAX)
                else {
                    continue;
                };
                let held = wants.properties.iter().zip(chunk.values.of(key));
                let properties =
                    held.filter_map(|(name, value)| Some((name.clone(), value?.clone()))).collect();
                let at = Timestamp::from_micros(*at);
                let seen = Seen { event: *event, at, name, message_id: "", json: "", is_known: false };
                found.push((place, Loose::with(&seen, properties)));
            }
            ControlFlow::Continue(())
        };
        let found = visited(self.db, visit, pause, Vec::new, take)?;
        let mut all: Vec<Vec<Loose>> = people.iter().map(|_| Vec::new()).collect();
        for (place, loose) in found.into_iter().flatten() {
            all[place as usize].push(loose);
        }
        Ok(all)
    }
}

/// What was asserted of everybody's traits that are wanted, by the roots of their sets. Where the latest of several values
/// stands, and nothing is asked of the ones before, only that is kept.
fn all_traits<E: From<Failure>>(
    db: &Db,
    identities: &Identities,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
    pause: &mut Pause<'_, E>,
) -> Result<FxHashMap<Node, Vec<(String, Trait)>>, E> {
    let mut all: FxHashMap<Node, Vec<(String, Trait)>> = FxHashMap::default();
    let (mut seen, mut stopped) = (0_usize, Ok(()));
    for name in needs.traits() {
        let replaces = is_latest_alone(name, needs, catalog);
        db.visit_trait(name, |node, said| {
            let said = said.filter(|said| until.is_none_or(|until| said.at <= until));
            if let Some((said, root)) = said.zip(identities.partition.root(node)) {
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
            seen += 1;
            if seen % OFTEN == 0 { go_on(pause(), &mut stopped) } else { ControlFlow::Continue(()) }
        })?;
    }
    stopped.map(|()| all)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_are_compared_one_by_one(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0..4_u8, 126..130_u8], 0..40),
            least in prop_oneof![any::<u8>(), 0..4_u8, 126..130_u8],
        ) {
            let expected = (0..).zip(&bytes).filter(|(_, byte)| **byte >= least).map(|(place, _)| place);
            prop_assert_eq!(at_least(&bytes, least), expected.collect::<Vec<u32>>());
        }
    }
}
