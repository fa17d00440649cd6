//! Why two identifiers are not one person: the evidence that would have made them one, and the rule that stopped it.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::State;
use crate::error::Result;
use crate::identity::Node;
use crate::store::{Db, Kept};

/// How many refusals of two identifiers are told.
const REFUSALS: usize = 100;

/// Where identifiers were left out of the resolution of events that would have joined two nodes: along a chain of
/// evidence with as few refusals as there can be. Empty if no evidence connects the two.
///
/// A breadth-first search of weight 0 for accepted and 1 for refused evidence (0-1 BFS).
pub(crate) fn refused_between(db: &Db, state: &State, a: Node, b: Node) -> Result<Vec<Kept>> {
    let base = &state.identities;
    // By how many refusals a node is away, and over which refused pair (owner, node) one came to its set last.
    let mut away: FxHashMap<Node, usize> = FxHashMap::from_iter([(a, 0)]);
    let mut came: FxHashMap<Node, Node> = FxHashMap::default();
    let mut queue = VecDeque::from([(a, 0)]);
    while let Some((node, distance)) = queue.pop_front() {
        if node == b {
            break;
        }
        if away.get(&node).is_some_and(|known| *known < distance) {
            continue;
        }
        for other in db.linked_with(node)? {
            if away.get(&other).is_none_or(|known| *known > distance) {
                away.insert(other, distance);
                came.insert(other, node);
                queue.push_front((other, distance));
            }
        }
        for other in db.refused_with(node)? {
            if away.get(&other).is_none_or(|known| *known > distance + 1) {
                away.insert(other, distance + 1);
                came.insert(other, node);
                queue.push_back((other, distance + 1));
            }
        }
    }
    let mut hops = Vec::new();
    let mut at = b;
    while let Some(&from) = came.get(&at) {
        if away[&from] < away[&at] {
            hops.push((from, at));
        }
        at = from;
    }
    let mut told = Vec::new();
    for (from, to) in hops.into_iter().rev() {
        for (owner, node) in [(from, to), (to, from)] {
            told.extend(db.refusals_between(base, owner, node, REFUSALS)?);
        }
    }
    Ok(told)
}
