//! An order of nodes in which those of a person stand together: so that what is kept in it of a person lies in one place.

use std::ops::Range;

use super::numbers::Numbers;

/// An order of the first nodes. The *rank* of a node is its place in it; that of a later one is its number. Who was let go of
/// has none: their places are holes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// The node of each rank, or [`HOLE`]; and the rank of each node, or [`HOLE`].
    nodes: Vec<u32>,
    ranks: Vec<u32>,
}

/// No node, and no rank. Nothing belongs to a node that has none.
const HOLE: u32 = u32::MAX;

impl Order {
    /// The order in which nodes have these ranks; `None` stands for a hole. `None` if any node is there twice, or is not one of
    /// the first.
    pub(crate) fn new(by_rank: impl ExactSizeIterator<Item = Option<u32>>) -> Option<Self> {
        let mut ranks = vec![HOLE; by_rank.len()];
        let mut nodes = Vec::with_capacity(by_rank.len());
        for (rank, node) in (0..).zip(by_rank) {
            if let Some(node) = node {
                let own = ranks.get_mut(node as usize).filter(|own| **own == HOLE)?;
                *own = rank;
            }
            nodes.push(node.unwrap_or(HOLE));
        }
        Some(Self { nodes, ranks })
    }

    /// Takes nodes out of the order to whom nothing belongs any more, and gives their ranks.
    pub(crate) fn forget(&mut self, nodes: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut holes = Vec::new();
        for node in nodes {
            if let Some(rank) = self.ranks.get_mut(node as usize).filter(|rank| **rank != HOLE) {
                self.nodes[*rank as usize] = HOLE;
                holes.push(std::mem::replace(rank, HOLE));
            }
        }
        holes
    }

    /// All nodes by person: in the order of the first node that each person has. Those that are nobody's are the last.
    pub(crate) fn by_person(numbers: &Numbers) -> Self {
        let people = numbers.roots().len();
        let place = |person: u32| (person as usize).min(people);
        let mut ends = vec![0_u32; people + 1];
        numbers.of_nodes().iter().for_each(|person| ends[place(*person)] += 1);
        let mut end = 0;
        for count in &mut ends {
            end += std::mem::replace(count, end);
        }
        let mut nodes = vec![0; numbers.of_nodes().len()];
        let mut ranks = Vec::with_capacity(nodes.len());
        for (node, person) in (0..).zip(numbers.of_nodes()) {
            let rank = &mut ends[place(*person)];
            nodes[*rank as usize] = node;
            ranks.push(*rank);
            *rank += 1;
        }
        Self { nodes, ranks }
    }

    /// How many ranks there are.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The nodes of some ranks; `None` of holes.
    pub(crate) fn nodes(&self, ranks: Range<usize>) -> impl ExactSizeIterator<Item = Option<u32>> + Clone {
        self.nodes[ranks].iter().map(|node| Some(*node).filter(|node| *node != HOLE))
    }

    /// The node of a rank, of a hole that of nobody.
    #[inline]
    pub(crate) fn node(&self, rank: u32) -> u32 {
        self.nodes.get(rank as usize).copied().unwrap_or(rank)
    }

    /// The rank of a node; `None` if it was let go of.
    pub(crate) fn rank(&self, node: u32) -> Option<u32> {
        self.ranks.get(node as usize).map_or(Some(node), |rank| Some(*rank).filter(|rank| *rank != HOLE))
    }

    /// How many places people have in this order beyond one each, if only ranks count of which `counts` says so.
    pub(crate) fn scattered(&self, numbers: &Numbers, counts: impl Fn(u32) -> bool) -> usize {
        let many = u32::try_from(self.nodes.len().max(numbers.of_nodes().len())).unwrap_or(u32::MAX);
        let (mut places, mut people, mut last) = (0, 0, Numbers::NOBODY);
        let mut seen = vec![false; numbers.roots().len()];
        for rank in (0..many).filter(|rank| counts(*rank)) {
            let person = numbers.person(self.node(rank));
            if let Some(seen) = seen.get_mut(person as usize).filter(|_| person != last) {
                places += 1;
                people += usize::from(!std::mem::replace(seen, true));
            }
            last = person;
        }
        places - people
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::numbers::{AT_ONCE, ByRank};
    use super::super::partition::{Partition, ProfileNo};
    use super::*;

    fn of_ranks(by_rank: &ByRank, rank: u32) -> u32 {
        match by_rank {
            ByRank::All(all) => all.get(rank as usize).copied().unwrap_or(Numbers::NOBODY),
            ByRank::Near(near) => near.person(rank),
        }
    }

    fn numbers(profiles: &[Option<u32>]) -> Arc<Numbers> {
        let partition = Partition::of(profiles.iter().map(|profile| profile.map(ProfileNo)));
        partition.numbers(&mut || Ok::<_, Infallible>(())).unwrap()
    }

    proptest! {
        /// In the order of some people, whoever they are by then, and without some of them.
        #[test]
        fn those_of_a_person_stand_together(
            former in prop::collection::vec(prop::option::of(0..6_u32), 0..20),
            profiles in prop::collection::vec(prop::option::of(0..9_u32), 0..30),
            gone in prop::collection::btree_set(0..40_u32, 0..5),
            held in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut order = Order::by_person(&numbers(&former));
            prop_assert_eq!(order.scattered(&numbers(&former), |_| true), 0);
            let whole: Vec<u32> = (0..40).filter_map(|node| order.rank(node)).collect();
            prop_assert_eq!(whole.len(), 40);
            let mut holes = order.forget(gone.iter().copied());
            holes.sort_unstable();
            let own = |node: &&u32| (**node as usize) < former.len();
            let mut expected: Vec<u32> = gone.iter().filter(own).map(|node| whole[*node as usize]).collect();
            expected.sort_unstable();
            prop_assert_eq!(&holes, &expected);
            prop_assert_eq!(order.forget(gone.iter().copied()), Vec::<u32>::new());
            let again = Order::new(order.nodes(0..order.len())).unwrap();
            prop_assert_eq!(&again, &order);
            for node in 0..40 {
                let is_gone = gone.contains(&node) && own(&&node);
                prop_assert_eq!(order.rank(node), Some(whole[node as usize]).filter(|_| !is_gone));
                prop_assert!(order.rank(node).is_none_or(|rank| order.node(rank) == node));
            }
            for rank in holes {
                prop_assert_eq!(order.node(rank), Numbers::NOBODY);
            }
            let numbers = numbers(&profiles);
            let of_rank = |rank: &u32| profiles.get(order.node(*rank) as usize).copied().flatten();
            let counted: Vec<Option<u32>> =
                (0..40).filter(|rank| held[*rank as usize]).map(|rank| of_rank(&rank)).collect();
            let mut runs = counted.clone();
            runs.dedup();
            let people: std::collections::BTreeSet<u32> = counted.iter().flatten().copied().collect();
            let scattered = order.scattered(&numbers, |rank| held[rank as usize]);
            prop_assert_eq!(scattered, runs.iter().flatten().count() - people.len());
            let order = Arc::new(order);
            for _ in 0..2 {
                let by_rank = numbers.by_rank(&order, &mut || ControlFlow::Continue(())).unwrap();
                for rank in 0..40 {
                    prop_assert_eq!(of_ranks(&by_rank, rank), numbers.person(order.node(rank)));
                }
            }
            let again = Arc::new(Order::by_person(&numbers));
            let mut asked = 0;
            let by_rank = numbers.by_rank(&again, &mut || {
                asked += 1;
                if asked > 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            prop_assert_eq!(by_rank.is_none(), profiles.len() > AT_ONCE, "whoever waits may say so");
            let by_rank = numbers.by_rank(&again, &mut || ControlFlow::Continue(())).unwrap();
            prop_assert!((0..40).is_sorted_by_key(|rank| of_ranks(&by_rank, rank)));
        }

        #[test]
        fn what_is_no_order_is_told(
            count in 1..20_u32,
            at in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let mut nodes: Vec<Option<u32>> = (0..count).rev().map(Some).collect();
            prop_assert!(Order::new(nodes.clone().into_iter()).is_some());
            let (from, to) = (at.0.index(nodes.len()), at.1.index(nodes.len()));
            nodes[to] = nodes[from];
            prop_assert_eq!(Order::new(nodes.clone().into_iter()).is_some(), from == to);
            nodes[to] = Some(count);
            prop_assert!(Order::new(nodes.into_iter()).is_none());
        }
    }
}
