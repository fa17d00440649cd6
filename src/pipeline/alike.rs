//! People of whom conditions see the same: where only traits are looked at whose latest value stands, whoever has the same
//! values is asked once, all together.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::everybody::{Pause, enough};
use super::people::is_latest_alone;
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
    pause: &mut Pause<'_, E>,
    mut holds: impl FnMut(&mut History) -> bool,
) -> Result<Vec<Node>, E> {
    let numbers = identities.partition.numbers();
    let people = enough(db, &numbers, least, None, pause)?;
    let names: Vec<&str> = needs.traits().collect();
    let groups = Groups::of(db, &numbers, &names, &people, pause)?;
    let held: Vec<bool> =
        groups.traits().map(|traits| holds(&mut History { traits, ..History::default() })).collect();
    let own = people.into_iter().zip(&groups.of_people).filter(|(_, group)| held[**group as usize]);
    Ok(own.map(|(person, _)| numbers.roots()[person as usize]).collect())
}

/// People in groups that have the same traits.
pub(super) struct Groups<'n> {
    names: &'n [&'n str],
    columns: Vec<Arc<TraitColumn>>,
    /// The group of each of the people, in their order.
    pub(super) of_people: Vec<u32>,
    /// Of each group, trait by trait, the place of the value in the column, plus one.
    values: Vec<Vec<u32>>,
}

impl<'n> Groups<'n> {
    /// Some people, by number, by the latest values of some traits.
    pub(super) fn of<E: From<Failure>>(
        db: &Db,
        numbers: &Numbers,
        names: &'n [&'n str],
        people: &[u32],
        pause: &mut Pause<'_, E>,
    ) -> Result<Self, E> {
        let (mut of_people, mut values, mut columns) = (vec![0; people.len()], vec![Vec::new()], Vec::new());
        for name in names {
            let mut stopped = Ok(());
            let column = db.trait_column(name, || go_on(pause(), &mut stopped))?;
            stopped?;
            let column = column.unwrap_or_default();
            let standing = standing(&column, numbers);
            pause()?;
            let mut groups: FxHashMap<(u32, u32), u32> = FxHashMap::default();
            let mut next: Vec<Vec<u32>> = Vec::new();
            for (person, group) in people.iter().zip(&mut of_people) {
                let value = standing[*person as usize];
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
            held.collect::<BTreeMap<_, _>>().into_iter().collect()
        })
    }
}

/// Of everybody, by number, the place of the value that stands, plus one; 0 of none.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn standing(column: &TraitColumn, numbers: &Numbers) -> Vec<u32> {
    // The rank above the value: so the highest of a person is the one that stands.
    let mut standing = vec![0; numbers.roots().len()];
    for said in &column.rows {
        if let Some(highest) = standing.get_mut(numbers.person(said.node) as usize) {
            *highest = u64::max(*highest, u64::from(said.rank) << 32 | (u64::from(said.value) + 1));
        }
    }
    standing.into_iter().map(|highest| highest as u32).collect()
}
