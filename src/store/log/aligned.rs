//! Members of events in the order of a block, beside its own columns.
//!
//! By the numbers of events, the values of a block lie far apart: its events are by person. So what is found of them by
//! number the first time is kept in the order in which blocks are gone through. Where fewer than four events share a value on
//! average, and where of a member that is added up some value is no plain number, events are found by number.

use std::sync::Arc;

use super::block::{Block, Places};
use super::column::{Column, Draft};
use super::values::{Opened, Values};
use crate::value::Value;

/// So many different values are worth a dictionary of their own however few events there are.
const FEW: usize = if cfg!(debug_assertions) { 1 } else { 1 << 6 };

/// A dictionary is worth it where so many events share a value on average.
const SHARED: usize = 4;

/// The members of the events of a block that have one of some names, from what is known of them by number. `added_up` says
/// which is wanted as a number alone. If one cannot be kept so, none is.
pub(super) fn align(
    block: &Block,
    names: &Arc<[u32]>,
    by_number: &Opened<'_>,
    added_up: Option<usize>,
) -> Option<Values> {
    let column = |member: usize| {
        if added_up == Some(member) {
            numbers(block, names, by_number, member)
        } else {
            labels(block, names, by_number, member)
        }
    };
    let all = (0..by_number.len()).map(column).collect::<Option<Vec<Column>>>();
    let nothing = || (0..by_number.len()).map(|_| Column::nothing(Arc::clone(names))).collect();
    let all: Vec<Column> = all.or_else(nothing)?;
    Some(Values { members: all.into_iter().map(|column| vec![Some(Arc::new(column))]).collect() })
}

/// Calls `each` with the places and the numbers of the events that have one of some names.
fn visit(block: &Block, names: &[u32], mut each: impl FnMut(usize, u32)) {
    let mut events = Vec::new();
    let is_wanted = |name: u32| names.binary_search(&name).is_ok();
    for part in block.parts_with(is_wanted) {
        events.clear();
        part.events(&Places::All(0..part.len()), &mut events);
        for (place, event) in events.iter().enumerate() {
            if part.only_name().is_some() || is_wanted(part.name(place)) {
                each(part.first() + place, *event);
            }
        }
    }
}

/// One member's values, if many events share theirs.
fn labels(block: &Block, names: &Arc<[u32]>, by_number: &Opened<'_>, member: usize) -> Option<Column> {
    let (mut draft, mut count) = (Draft::new(block.len()), 0);
    let most = FEW.max(block.len() / SHARED);
    visit(block, names, |place, event| {
        count += 1;
        if draft.different() <= most {
            draft.put(place, by_number.text(member, by_number.stand(member, event)));
        }
    });
    (draft.different() <= FEW.max(count / SHARED)).then(|| draft.column(Arc::clone(names)))?
}

/// One member's numbers, if all that are there are whole millionths and close enough to each other.
fn numbers(block: &Block, names: &Arc<[u32]>, by_number: &Opened<'_>, member: usize) -> Option<Column> {
    let (mut found, mut are_plain): (Vec<(usize, i64)>, bool) = (Vec::new(), true);
    visit(block, names, |place, event| {
        let stand = by_number.stand(member, event);
        match by_number.millionths(member, stand) {
            Some(number) => found.push((place, number)),
            // What is no number, and has none in it, adds nothing.
            None => {
                are_plain &= matches!(
                    by_number.value(member, stand),
                    None | Some(Value::Null | Value::Bool(_) | Value::String(_))
                );
            }
        }
    });
    let numbers = || found.iter().map(|(_, number)| *number);
    let (least, most) = (numbers().min().unwrap_or(0), numbers().max().unwrap_or(0));
    let divides = |unit: &i64| numbers().all(|number| number.wrapping_sub(least) % unit == 0);
    let unit = [1_000_000, 10_000].into_iter().find(divides).unwrap_or(1);
    let most = most.checked_sub(least)? / unit;
    if !are_plain || most >= i64::from(u32::MAX) {
        return None;
    }
    let mut labels = vec![0; block.len()];
    for (place, number) in found {
        labels[place] = u32::try_from((number - least) / unit + 1).ok()?;
    }
    Column::of_millionths(Arc::clone(names), &labels, (least, unit))
}
