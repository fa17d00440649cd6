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

/// That a group has no number yet.
const NEW: u32 = u32::MAX;

/// The numbers of groups, by the number of the group before and the value that its people have: looked up in a table where
/// that is small.
enum Groups {
    Table { values: usize, numbers: Vec<u32> },
    Map(FxHashMap<(u32, u32), u32>),
}

impl Groups {
    /// A table has at most as many numbers as there are people, or so few.
    const SMALL: usize = if cfg!(debug_assertions) { 1 << 2 } else { 1 << 12 };

    fn new(groups: usize, values: usize, people: usize) -> Self {
        match groups.checked_mul(values).filter(|size| *size <= people.max(Self::SMALL)) {
            Some(size) => Self::Table { values, numbers: vec![NEW; size] },
            None => Self::Map(FxHashMap::default()),
        }
    }

    fn of(&mut self, group: u32, value: u32) -> &mut u32 {
        match self {
            Self::Table { values, numbers } => &mut numbers[group as usize * *values + value as usize],
            Self::Map(numbers) => numbers.entry((group, value)).or_insert(NEW),
        }
    }
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
        numbers: &Arc<Numbers>,
        names: &'n [&'n str],
        people: &[u32],
        pause: &mut Pause<'_, E>,
    ) -> Result<Self, E> {
        let (mut of_people, mut values, mut columns) = (vec![0; people.len()], vec![Vec::new()], Vec::new());
        for name in names {
            let mut stopped = Ok(());
            let found = db.trait_of_everybody(name, numbers, || go_on(pause(), &mut stopped))?;
            stopped?;
            let Some((column, standing)) = found else { break };
            let mut groups = Groups::new(values.len(), column.values.len() + 1, people.len());
            let mut next: Vec<Vec<u32>> = Vec::new();
            for (place, (person, group)) in people.iter().zip(&mut of_people).enumerate() {
                let value = standing[*person as usize];
                if place % OFTEN == 0 {
                    pause()?;
                }
                let found = groups.of(*group, value);
                if *found == NEW {
                    *found = u32::try_from(next.len()).unwrap_or(u32::MAX);
                    next.push(values[*group as usize].iter().copied().chain([value]).collect());
                }
                *group = *found;
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
