//! An order of nodes in which those of a person stand together: so that what is kept in it of a person lies in one place.

use super::partition::Numbers;

/// An order of the first nodes. The *rank* of a node is its place in it; that of a later one is its number.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Order {
    /// The node of each rank, and the rank of each node.
    nodes: Vec<u32>,
    ranks: Vec<u32>,
}

impl Order {
    /// The order in which nodes have these ranks. `None` if any node is missing, or there twice.
    pub(crate) fn new(nodes: Vec<u32>) -> Option<Self> {
        const NONE: u32 = u32::MAX;
        let mut ranks = vec![NONE; nodes.len()];
        for (rank, node) in (0..).zip(&nodes) {
            let own = ranks.get_mut(*node as usize).filter(|own| **own == NONE)?;
            *own = rank;
        }
        Some(Self { nodes, ranks })
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

    /// The nodes, by rank.
    pub(crate) fn nodes(&self) -> &[u32] {
        &self.nodes
    }

    pub(crate) fn node(&self, rank: u32) -> u32 {
        self.nodes.get(rank as usize).copied().unwrap_or(rank)
    }

    pub(crate) fn rank(&self, node: u32) -> u32 {
        self.ranks.get(node as usize).copied().unwrap_or(node)
    }

    /// How many places people have in this order beyond one each.
    pub(crate) fn scattered(&self, numbers: &Numbers) -> usize {
        let many = u32::try_from(self.nodes.len().max(numbers.of_nodes().len())).unwrap_or(u32::MAX);
        let (mut places, mut last) = (0, Numbers::NOBODY);
        for rank in 0..many {
            let person = numbers.person(self.node(rank));
            places += usize::from(person != last && person != Numbers::NOBODY);
            last = person;
        }
        places - numbers.roots().len().min(places)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::ops::ControlFlow;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::partition::{Partition, ProfileNo};
    use super::*;

    fn numbers(profiles: &[Option<u32>]) -> Arc<Numbers> {
        let partition = Partition::of(profiles.iter().map(|profile| profile.map(ProfileNo)));
        partition.numbers(&mut || Ok::<_, Infallible>(())).unwrap()
    }

    proptest! {
        /// In the order of some people, whoever they are by then.
        #[test]
        fn those_of_a_person_stand_together(
            former in prop::collection::vec(prop::option::of(0..6_u32), 0..20),
            profiles in prop::collection::vec(prop::option::of(0..9_u32), 0..30),
        ) {
            let order = Order::by_person(&numbers(&former));
            let again = Order::new(order.nodes().to_vec()).unwrap();
            prop_assert_eq!(&again, &order);
            prop_assert_eq!(order.scattered(&numbers(&former)), 0);
            let numbers = numbers(&profiles);
            let own: Vec<Option<u32>> = (0..40)
                .map(|rank| profiles.get(order.node(rank) as usize).copied().flatten())
                .collect();
            for rank in 0..40 {
                prop_assert_eq!(order.rank(order.node(rank)), rank);
            }
            let mut runs = own.clone();
            runs.dedup();
            let mut people: Vec<u32> = own.iter().flatten().copied().collect();
            people.sort_unstable();
            people.dedup();
            prop_assert_eq!(order.scattered(&numbers), runs.iter().flatten().count() - people.len());
            let order = Arc::new(order);
            for _ in 0..2 {
                let by_rank = numbers.by_rank(&order, &mut || ControlFlow::Continue(())).unwrap();
                for rank in 0..40 {
                    let person = by_rank.get(rank as usize).copied().unwrap_or(Numbers::NOBODY);
                    prop_assert_eq!(person, numbers.person(order.node(rank)));
                }
            }
            let again = Arc::new(Order::by_person(&numbers));
            let by_rank = numbers.by_rank(&again, &mut || ControlFlow::Continue(())).unwrap();
            prop_assert!(by_rank.is_sorted());
        }

        #[test]
        fn what_is_no_order_is_told(
            count in 1..20_u32,
            at in any::<(prop::sample::Index, prop::sample::Index)>(),
        ) {
            let mut nodes: Vec<u32> = (0..count).rev().collect();
            prop_assert!(Order::new(nodes.clone()).is_some());
            let (from, to) = (at.0.index(nodes.len()), at.1.index(nodes.len()));
            nodes[to] = nodes[from];
            prop_assert_eq!(Order::new(nodes.clone()).is_some(), from == to);
            nodes[to] = count;
            prop_assert!(Order::new(nodes).is_none());
        }
    }
}
