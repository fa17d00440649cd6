//! Everybody by number: for columns of what is known of people.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use rustc_hash::FxHashMap;

use super::order::Order;
use super::partition::Node;

/// After how many nodes whoever waits for numbers is asked whether to go on.
pub(super) const AT_ONCE: usize = if cfg!(debug_assertions) { 1 << 3 } else { 1 << 16 };

/// Everybody, numbered from 0 without gaps, in the order of the first node of each.
#[derive(Debug)]
pub(crate) struct Numbers {
    /// Of each node the number of its person, or [`NOBODY`](Self::NOBODY).
    of_nodes: Arc<[u32]>,
    /// Of each person the root.
    roots: Vec<Node>,
    /// Whether every node is somebody's.
    are_all_held: bool,
    /// In the order that was last asked for.
    by_rank: Mutex<Option<(Arc<Order>, Arc<ByRank>)>>,
}

impl Numbers {
    /// The number of nodes that are nobody's.
    pub(crate) const NOBODY: u32 = u32::MAX;

    pub(super) fn new(of_nodes: Vec<u32>, roots: Vec<Node>) -> Self {
        let are_all_held = !of_nodes.contains(&Self::NOBODY);
        Self { of_nodes: of_nodes.into(), roots, are_all_held, by_rank: Mutex::default() }
    }

    /// The number of the person who holds a node, or [`NOBODY`](Self::NOBODY).
    #[inline]
    pub(crate) fn person(&self, node: u32) -> u32 {
        self.of_nodes.get(node as usize).copied().unwrap_or(Self::NOBODY)
    }

    /// By the numbers of nodes, those of people.
    pub(crate) fn of_nodes(&self) -> &[u32] {
        &self.of_nodes
    }

    /// The numbers of people by the ranks of nodes in an order. `None` if `pause` says not to go on.
    pub(crate) fn by_rank(
        &self,
        order: &Arc<Order>,
        pause: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Option<Arc<ByRank>> {
        let made = || self.by_rank.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = made().as_ref().filter(|(known, _)| Arc::ptr_eq(order, known)) {
            return Some(Arc::clone(known));
        }
        let people = if order.len() == 0 {
            ByRank::All(Arc::clone(&self.of_nodes))
        } else {
            let mut people = Vec::with_capacity(order.len().max(self.of_nodes.len()));
            for start in (0..order.len()).step_by(AT_ONCE) {
                if pause().is_break() {
                    return None;
                }
                let some = order.nodes(start..order.len().min(start + AT_ONCE));
                people.extend(some.map(|node| node.map_or(Self::NOBODY, |node| self.person(node))));
            }
            people.extend(self.of_nodes.iter().skip(people.len()));
            Near::new(&people).map_or_else(|| ByRank::All(people.into()), ByRank::Near)
        };
        let people = Arc::new(people);
        *made() = Some((Arc::clone(order), Arc::clone(&people)));
        Some(people)
    }

    /// Whether every node is somebody's.
    pub(crate) fn are_all_held(&self) -> bool {
        self.are_all_held
    }

    /// The numbers of all people.
    pub(crate) fn people(&self) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.roots).map(|(person, _)| person)
    }

    /// By the numbers of people, the roots of their sets.
    pub(crate) fn roots(&self) -> &[Node] {
        &self.roots
    }
}

/// The numbers of people by the ranks of nodes; of a rank beyond the last it is nobody's.
#[derive(Debug)]
pub(crate) enum ByRank {
    All(Arc<[u32]>),
    Near(Near),
}

/// The same in a quarter of the room, so that more of it stays in the cache of a core: in the order of people the numbers of
/// neighbours are close to each other.
#[derive(Debug)]
pub(crate) struct Near {
    /// Of each run of ranks the number that others are told by.
    bases: Vec<u32>,
    /// How far above it each number is, or [`FAR`].
    above: Vec<u8>,
    /// Those that are elsewhere, by rank.
    far: FxHashMap<u32, u32>,
}

/// So many ranks are told by one number.
const RUN: usize = 1 << 7;

/// That a number is not near the one that others are told by.
const FAR: u8 = u8::MAX;

/// If as many are far, as a share of all, nothing is gained.
const MANY: usize = 16;

impl Near {
    /// `None` if too many are far from those beside them.
    fn new(people: &[u32]) -> Option<Self> {
        let (mut bases, mut above) = (Vec::with_capacity(people.len().div_ceil(RUN)), Vec::new());
        let mut far = FxHashMap::default();
        above.reserve_exact(people.len());
        for run in people.chunks(RUN) {
            // Whoever was joined to somebody else since has a number far below.
            let mut some = [run[0], run[run.len() / 2], run[run.len() - 1]];
            some.sort_unstable();
            let base = some[1].saturating_sub(u32::from(FAR / 2));
            for person in run {
                let near = person.checked_sub(base).and_then(|above| u8::try_from(above).ok());
                let near = near.unwrap_or(FAR);
                if near == FAR {
                    far.insert(u32::try_from(above.len()).ok()?, *person);
                }
                above.push(near);
            }
            bases.push(base);
            if far.len() * MANY > people.len() {
                return None;
            }
        }
        Some(Self { bases, above, far })
    }

    #[inline]
    pub(crate) fn person(&self, rank: u32) -> u32 {
        let rank = rank as usize;
        match (self.above.get(rank), self.bases.get(rank / RUN)) {
            (Some(above), Some(base)) if *above != FAR => base + u32::from(*above),
            _ => self.far(rank),
        }
    }

    #[cold]
    fn far(&self, rank: usize) -> u32 {
        let far = u32::try_from(rank).ok().and_then(|rank| self.far.get(&rank));
        far.copied().unwrap_or(Numbers::NOBODY)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Neighbours' numbers, of whom some were joined to others since, or are nobody's.
    fn people() -> impl Strategy<Value = Vec<u32>> {
        let step =
            prop_oneof![90 => Just(None), 1 => any::<u32>().prop_map(Some), 1 => Just(Some(Numbers::NOBODY))];
        let steps = prop::collection::vec((0..3_u32, step), 1..1_000);
        (any::<u32>(), steps).prop_map(|(first, steps)| {
            let numbers = steps.into_iter().scan(first, |last, (step, other)| {
                *last = last.saturating_add(step);
                Some(other.unwrap_or(*last))
            });
            numbers.collect()
        })
    }

    proptest! {
        #[test]
        fn in_less_room_people_are_the_same(people in people(), beyond in 0..1_000_u32) {
            if let Some(near) = Near::new(&people) {
                for (rank, person) in (0..).zip(&people) {
                    prop_assert_eq!(near.person(rank), *person);
                }
                let many = u32::try_from(people.len()).unwrap();
                prop_assert_eq!(near.person(many + beyond), Numbers::NOBODY);
                prop_assert!(near.far.len() * MANY <= people.len());
            }
        }
    }

    #[test]
    fn neighbours_take_less_room_and_strangers_do_not() {
        let people: Vec<u32> =
            (0..10_000).map(|rank| if rank % 50 == 7 { rank / 1_000 } else { rank / 2 }).collect();
        let near = Near::new(&people).unwrap();
        assert!(near.far.len() <= 200);
        let strangers: Vec<u32> = (0..10_000).map(|rank: u32| rank.wrapping_mul(2_654_435_761)).collect();
        assert!(Near::new(&strangers).is_none());
    }
}
