//! People of whom conditions see the same: where only traits are looked at whose latest value stands, whoever has the same
//! values is asked once, all together.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::everybody::{FEW, OFTEN, Pause, enough};
use super::people::{assembled, is_latest_alone, said_of};
use super::scan::go_on;
use crate::identity::{Identities, Node, Numbers};
use crate::profile::History;
use crate::segment::{Catalog, Least, Needs};
use crate::store::{Db, Failure, TraitColumn};
use crate::value::Object;

/// Whether nothing is looked at but traits whose latest value stands.
pub(super) fn are_alike(needs: &Needs, catalog: &Catalog) -> bool {
    let stands = |name| is_latest_alone(name, needs, catalog) && !catalog.traits.contains_key(name);
    needs.are_of_traits() && needs.traits().all(stands)
}

/// The roots of those who have done what is asked at least, and of whom `holds` is true, which is asked once of all who have
/// the same traits.
pub(super) fn those_alike<E: From<Failure>>(
    db: &Db,
    identities: &Identities,
    (needs, least): (&Needs, &[Least]),
    catalog: &Catalog,
    pause: &mut Pause<'_, E>,
    mut holds: impl FnMut(&mut History) -> bool,
) -> Result<Vec<Node>, E> {
    let numbers = identities.partition.numbers(pause)?;
    let people = enough(db, &numbers, least, None, pause)?;
    let names: Vec<&str> = needs.traits().collect();
    if !least.is_empty() && people.len() * FEW < numbers.roots().len() {
        let mut are_asked_again = true;
        for name in &names {
            are_asked_again &= db.is_trait_asked_again(name)?;
        }
        if !are_asked_again {
            let roots = people.into_iter().map(|person| numbers.roots()[person as usize]);
            return those_one_by_one(db, identities, needs, catalog, roots, pause, holds);
        }
    }
    let groups = Alike::of(db, &numbers, &names, &people, pause)?;
    let mut held = Vec::new();
    for traits in groups.traits() {
        if held.len() % OFTEN == 0 {
            pause()?;
        }
        held.push(holds(&mut History { traits, ..History::default() }));
    }
    let own = people.into_iter().zip(&groups.of_people).filter(|(_, group)| held[**group as usize]);
    Ok(own.map(|(person, _)| numbers.roots()[person as usize]).collect())
}

/// Those of some people of whom `holds` is true, each looked up and asked alone.
fn those_one_by_one<E: From<Failure>>(
    db: &Db,
    identities: &Identities,
    needs: &Needs,
    catalog: &Catalog,
    roots: impl Iterator<Item = Node>,
    pause: &mut Pause<'_, E>,
    mut holds: impl FnMut(&mut History) -> bool,
) -> Result<Vec<Node>, E> {
    let mut those = Vec::new();
    for (place, root) in roots.enumerate() {
        if place % OFTEN == 0 {
            pause()?;
        }
        let Some(person) = identities.person(root) else { continue };
        let said = said_of(db, &person, needs, catalog, None)?;
        if holds(&mut assembled(db, &person, needs, catalog, None, (Vec::new(), said))?) {
            those.push(root);
        }
    }
    Ok(those)
}

/// People in groups that have the same traits.
pub(super) struct Alike<'n> {
    names: &'n [&'n str],
    columns: Vec<Arc<TraitColumn>>,
    /// The group of each of the people, in their order.
    pub(super) of_people: Vec<u32>,
    /// Of each group, trait by trait, the place of the value in the column, plus one.
    values: Vec<Vec<u32>>,
}

impl<'n> Alike<'n> {
    /// Some people, by number and in order, by the latest values of some traits.
    pub(super) fn of<E: From<Failure>>(
        db: &Db,
        numbers: &Numbers,
        names: &'n [&'n str],
        people: &[u32],
        pause: &mut Pause<'_, E>,
    ) -> Result<Self, E> {
        let (mut of_people, mut values, mut columns) = (vec![0; people.len()], vec![Vec::new()], Vec::new());
        let ranks = Ranks::of(people, numbers.roots().len());
        for name in names {
            let mut stopped = Ok(());
            let column = db.trait_column(name, || go_on(pause(), &mut stopped))?;
            stopped?;
            let column = column.unwrap_or_default();
            let standing = standing(&column, numbers, &ranks, people.len());
            let mut groups: FxHashMap<(u32, u32), u32> = FxHashMap::default();
            let mut next: Vec<Vec<u32>> = Vec::new();
            for (place, (value, group)) in standing.into_iter().zip(&mut of_people).enumerate() {
                if place % OFTEN == 0 {
                    pause()?;
                }
                *group = *groups.entry((*group, value)).or_insert_with(|| {
                    next.push(values[*group as usize].iter().copied().chain([value]).collect());
                    u32::try_from(next.len() - 1).unwrap_or(u32::MAX)
                });
            }
            values = next;
            columns.push(column);
        }
        Ok(Self { names, columns, of_people, values })
    }

    /// The traits of each group.
    pub(super) fn traits(&self) -> impl Iterator<Item = Object> + '_ {
        self.values.iter().map(|values| {
            let named = self.names.iter().zip(&self.columns).zip(values);
            let held = named.filter_map(|((name, column), value)| {
                let value = column.values.get((*value as usize).checked_sub(1)?)?;
                (!value.is_null()).then(|| ((*name).to_owned(), value.clone()))
            });
            held.collect()
        })
    }
}

/// Of some people, in their order, the place of the value that stands, plus one; 0 of none.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn standing(column: &TraitColumn, numbers: &Numbers, ranks: &Ranks, people: usize) -> Vec<u32> {
    // The rank above the value: so the highest of a person is the one that stands.
    let mut standing = vec![0; people];
    for said in &column.rows {
        if let Some(place) = ranks.place(numbers.person(said.node)) {
            let highest = &mut standing[place];
            *highest = u64::max(*highest, u64::from(said.rank) << 32 | (u64::from(said.value) + 1));
        }
    }
    standing.into_iter().map(|highest| highest as u32).collect()
}

/// Where in a list of people, in order of their numbers, each is: a bit for everybody, and for each word of them how many of
/// the list come before.
struct Ranks(Vec<(u64, u32)>);

impl Ranks {
    fn of(people: &[u32], everybody: usize) -> Self {
        let mut words = vec![(0, 0); everybody.div_ceil(u64::BITS as usize)];
        for person in people {
            words[(person / u64::BITS) as usize].0 |= 1 << (person % u64::BITS);
        }
        let mut before = 0;
        for (bits, rank) in &mut words {
            *rank = before;
            before += u64::count_ones(*bits);
        }
        Self(words)
    }

    /// The place of a person, if they are in the list.
    fn place(&self, person: u32) -> Option<usize> {
        let (bits, before) = self.0.get((person / u64::BITS) as usize)?;
        let bit = 1 << (person % u64::BITS);
        (bits & bit != 0).then(|| (before + (bits & (bit - 1)).count_ones()) as usize)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn everyone_is_found_where_they_stand(people in prop::collection::btree_set(0..300_u32, 0..90)) {
            let people: Vec<u32> = people.into_iter().collect();
            let ranks = Ranks::of(&people, 300);
            for person in (0..300).chain([Numbers::NOBODY]) {
                prop_assert_eq!(ranks.place(person), people.binary_search(&person).ok());
            }
        }
    }
}
