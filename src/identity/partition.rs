//! Who is whom: union-find over nodes, with the members of each set and the profile it belongs to.

use std::sync::{Arc, OnceLock};

use super::numbers::{AT_ONCE, Numbers};

/// An identifier's number: dense, given in order of arrival, and never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Node(pub(crate) u32);

impl Node {
    /// The number as an index.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// The node of an index.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "a file holds fewer than 2^31 identifiers: they would not fit into the memory of any machine"
    )]
    pub(crate) fn at(index: usize) -> Self {
        Self(index as u32)
    }
}

/// A profile's number in this file, in order of creation, so the smaller of two is the older.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ProfileNo(pub(crate) u32);

/// Marks a root. The other bits are then the size of its set, otherwise the parent.
const ROOT: u32 = 1 << 31;

/// Marks a node that is known but in no profile: its every occurrence was refused, or a later rule blocks it.
const DORMANT: u32 = u32::MAX;

/// What is kept of a node.
#[derive(Clone, Copy)]
struct Slot {
    /// The parent; of a root [`ROOT`] and the size of its set; or [`DORMANT`].
    parent: u32,
    /// The next member of the set. The last one leads back to the first.
    next: u32,
    /// Whose the set is. Of roots only.
    profile: ProfileNo,
}

/// Disjoint sets of nodes, each with the number of its profile.
///
/// Union by size with path halving (Tarjan and van Leeuwen, *Worst-case analysis of set union algorithms*, JACM 1984).
/// The members of each set form a ring, so joining two sets is swapping two links, and listing one costs its size. The
/// root depends on the order of unions and is nobody's name: the profile's number is.
///
/// Finding a root jumps about in memory, and waits for it: so everything of a node lies together, and a root's size is
/// where its parent would be. A node takes 12 bytes.
#[derive(Clone, Default)]
pub(crate) struct Partition {
    slots: Vec<Slot>,
    sets: usize,
    held: usize,
    /// Made when a question about everybody is asked, and let go of at the next change.
    numbers: OnceLock<Arc<Numbers>>,
}

impl Partition {
    /// A partition of `nodes` nodes that are all dormant.
    pub(crate) fn dormant(nodes: usize) -> Self {
        let mut partition = Self::default();
        partition.grow(nodes);
        partition
    }

    /// The partition in which the nodes, in order of their numbers, belong to these profiles or to none.
    pub(crate) fn of(profiles: impl ExactSizeIterator<Item = Option<ProfileNo>>) -> Self {
        let mut partition = Self::default();
        partition.slots.reserve_exact(profiles.len());
        // The first node of each profile, which is its set's root.
        let mut first: Vec<u32> = Vec::new();
        for (index, profile) in profiles.enumerate() {
            let node = Node::at(index).0;
            let Some(profile) = profile else {
                partition.grow(index + 1);
                continue;
            };
            let place = profile.0 as usize;
            if place >= first.len() {
                first.resize(place + 1, DORMANT);
            }
            partition.held += 1;
            let root = first[place];
            if root == DORMANT {
                first[place] = node;
                partition.sets += 1;
                partition.slots.push(Slot { parent: ROOT + 1, next: node, profile });
            } else {
                let set = &mut partition.slots[root as usize];
                set.parent += 1;
                let next = std::mem::replace(&mut set.next, node);
                partition.slots.push(Slot { parent: root, next, profile });
            }
        }
        partition
    }

    /// Makes room for nodes up to `nodes`, dormant at first.
    pub(crate) fn grow(&mut self, nodes: usize) {
        let Some(more) = nodes.checked_sub(self.slots.len()).filter(|more| *more > 0) else { return };
        self.numbers.take();
        if self.slots.capacity() < nodes {
            // Doubling would take up to twice the memory that is needed.
            self.slots.reserve_exact(more.max(self.slots.len() / 16));
        }
        self.slots.resize(nodes, Slot { parent: DORMANT, next: DORMANT, profile: ProfileNo(0) });
    }

    /// Everybody by number. `pause` is called now and then, and may end it by an error.
    pub(crate) fn numbers<E>(&self, pause: &mut dyn FnMut() -> Result<(), E>) -> Result<Arc<Numbers>, E> {
        if let Some(numbers) = self.numbers.get() {
            return Ok(Arc::clone(numbers));
        }
        let (mut roots, mut of_roots) =
            (Vec::with_capacity(self.sets), vec![Numbers::NOBODY; self.slots.len()]);
        let mut of_nodes = Vec::with_capacity(self.slots.len());
        while of_nodes.len() < self.slots.len() {
            pause()?;
            for index in of_nodes.len()..self.slots.len().min(of_nodes.len() + AT_ONCE) {
                let Some(root) = self.root(Node::at(index)) else {
                    of_nodes.push(Numbers::NOBODY);
                    continue;
                };
                let own = &mut of_roots[root.index()];
                if *own == Numbers::NOBODY {
                    *own = Node::at(roots.len()).0;
                    roots.push(root);
                }
                of_nodes.push(*own);
            }
        }
        Ok(Arc::clone(self.numbers.get_or_init(|| Arc::new(Numbers::new(of_nodes, roots)))))
    }

    /// How many sets there are.
    pub(crate) fn sets(&self) -> usize {
        self.sets
    }

    /// How many nodes are in a set.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The root of a node's set, `None` for a dormant or unknown node.
    ///
    /// Does not compress, so that readers can share it; union by size keeps paths below log₂ of the set's size.
    pub(crate) fn root(&self, node: Node) -> Option<Node> {
        let mut at = node.0;
        loop {
            let parent = self.slots.get(at as usize)?.parent;
            if parent & ROOT != 0 {
                return (parent != DORMANT).then_some(Node(at));
            }
            at = parent;
        }
    }

    /// The profile of a node's set.
    pub(crate) fn profile(&self, node: Node) -> Option<ProfileNo> {
        self.root(node).map(|root| self.slots[root.index()].profile)
    }

    /// How many nodes the set of a root has.
    #[cfg(test)]
    pub(crate) fn size(&self, root: Node) -> u32 {
        self.slots[root.index()].parent & !ROOT
    }

    /// The members of a node's set, the node first; none for a dormant node.
    pub(crate) fn members(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        let mut next = self.root(node).map(|_| node);
        std::iter::from_fn(move || {
            let current = next?;
            let after = Node(self.slots[current.index()].next);
            next = (after != node).then_some(after);
            Some(current)
        })
    }

    /// All roots.
    pub(crate) fn roots(&self) -> impl Iterator<Item = Node> + '_ {
        let is_root = |parent: u32| parent & ROOT != 0 && parent != DORMANT;
        let nodes = self.slots.iter().enumerate();
        nodes.filter(move |(_, slot)| is_root(slot.parent)).map(|(index, _)| Node::at(index))
    }

    /// Makes a dormant node a set of its own, of the profile `profile`.
    pub(crate) fn found(&mut self, node: Node, profile: ProfileNo) {
        self.numbers.take();
        self.grow(node.index() + 1);
        debug_assert!(self.root(node).is_none(), "only a dormant node can found a set");
        self.slots[node.index()] = Slot { parent: ROOT + 1, next: node.0, profile };
        self.sets += 1;
        self.held += 1;
    }

    /// Joins the sets of two nodes; the older profile's number survives. Dormant nodes join nothing.
    pub(crate) fn union(&mut self, a: Node, b: Node) {
        self.numbers.take();
        // Memory is asked for both before either is waited for.
        let parents = [a, b].map(|node| self.slots.get(node.index()).map_or(DORMANT, |slot| slot.parent));
        let (Some(a), Some(b)) = (self.halve(a.0, parents[0]), self.halve(b.0, parents[1])) else { return };
        if a == b {
            return;
        }
        let (one, other) = (self.slots[a as usize], self.slots[b as usize]);
        let (large, small) = if one.parent >= other.parent { (a, b) } else { (b, a) };
        let size = one.parent + (other.parent & !ROOT);
        let profile = one.profile.min(other.profile);
        let (next, others) = if large == a { (other.next, one.next) } else { (one.next, other.next) };
        self.slots[large as usize] = Slot { parent: size, next, profile };
        self.slots[small as usize] = Slot { parent: large, next: others, profile };
        self.sets -= 1;
    }

    /// Makes nodes dormant that are whole sets together.
    pub(crate) fn release(&mut self, nodes: &[Node]) {
        self.numbers.take();
        for &node in nodes {
            let Some(slot) = self.slots.get_mut(node.index()).filter(|slot| slot.parent != DORMANT) else {
                continue;
            };
            self.sets -= usize::from(slot.parent & ROOT != 0);
            self.held -= 1;
            slot.parent = DORMANT;
        }
    }

    /// Gives the set of a node to another profile.
    pub(crate) fn assign(&mut self, node: Node, profile: ProfileNo) {
        if let Some(root) = self.root(node) {
            self.slots[root.index()].profile = profile;
        }
    }

    /// The root of a node that has this parent, with every second node on the way hung to its grandparent.
    fn halve(&mut self, mut at: u32, mut parent: u32) -> Option<u32> {
        while parent & ROOT == 0 {
            let grandparent = self.slots[parent as usize].parent;
            if grandparent & ROOT != 0 {
                return Some(parent);
            }
            self.slots[at as usize].parent = grandparent;
            at = grandparent;
            parent = self.slots[at as usize].parent;
        }
        (parent != DORMANT).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use petgraph::unionfind::UnionFind;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn sets_are_those_of_petgraph(unions in prop::collection::vec((0_u32..40, 0_u32..40), 0..80)) {
            let mut partition = Partition::default();
            let mut reference = UnionFind::<u32>::new(40);
            for node in 0..40 {
                partition.found(Node(node), ProfileNo(node));
            }
            for (a, b) in unions {
                partition.union(Node(a), Node(b));
                reference.union(a, b);
            }
            let labels = reference.into_labeling();
            for a in 0..40_u32 {
                let mut members: Vec<u32> = partition.members(Node(a)).map(|node| node.0).collect();
                members.sort_unstable();
                let expected: Vec<u32> = (0..40).filter(|b| labels[*b as usize] == labels[a as usize]).collect();
                prop_assert_eq!(partition.size(partition.root(Node(a)).unwrap()) as usize, members.len());
                prop_assert_eq!(partition.profile(Node(a)), Some(ProfileNo(expected[0])));
                prop_assert_eq!(members, expected);
            }
            prop_assert_eq!(partition.roots().count(), partition.sets());
            let numbers = partition.numbers(&mut || Ok::<_, Infallible>(())).unwrap();
            prop_assert_eq!(numbers.roots().len(), partition.sets());
            let mut first: Vec<u32> = numbers.of_nodes().to_vec();
            let mut seen = std::collections::BTreeSet::new();
            first.retain(|person| seen.insert(*person));
            prop_assert!(first.is_sorted(), "{:?}", numbers.of_nodes());
            for node in 0..40_u32 {
                let root = numbers.roots()[numbers.person(node) as usize];
                prop_assert_eq!(Some(root), partition.root(Node(node)));
            }
            let again = Partition::of((0..40).map(|node| partition.profile(Node(node))));
            prop_assert_eq!((again.sets(), again.held()), (partition.sets(), partition.held()));
            for node in (0..40).map(Node) {
                prop_assert_eq!(again.profile(node), partition.profile(node));
                let sorted = |of: &Partition| of.members(node).collect::<std::collections::BTreeSet<_>>();
                prop_assert_eq!(sorted(&again), sorted(&partition));
                prop_assert_eq!(again.size(again.root(node).unwrap()) as usize, again.members(node).count());
            }
        }
    }

    #[test]
    fn dormant_nodes_are_in_no_set_and_join_none() {
        let mut partition = Partition::dormant(3);
        partition.found(Node(1), ProfileNo(7));
        partition.union(Node(0), Node(1));
        assert_eq!(partition.profile(Node(1)), Some(ProfileNo(7)));
        assert_eq!(partition.root(Node(0)), None);
        assert_eq!(partition.root(Node(9)), None);
        assert_eq!(partition.members(Node(0)).count(), 0);
        assert_eq!((partition.sets(), partition.held()), (1, 1));
        let go_on = &mut || Ok::<_, Infallible>(());
        let numbers = partition.numbers(go_on).unwrap();
        assert_eq!(
            (numbers.person(0), numbers.person(1), numbers.person(9)),
            (Numbers::NOBODY, 0, Numbers::NOBODY)
        );
        partition.release(&[Node(1)]);
        assert!(partition.numbers(go_on).unwrap().roots().is_empty());
        partition.found(Node(2), ProfileNo(7));
        assert_eq!(partition.numbers(&mut || Err(())).err(), Some(()), "whoever waits may say so");
        partition.release(&[Node(2)]);
        partition.found(Node(1), ProfileNo(7));
        let again = Partition::of((0..3).map(|node| partition.profile(Node(node))));
        assert_eq!(
            (again.root(Node(0)), again.root(Node(1)), again.root(Node(2))),
            (None, Some(Node(1)), None)
        );
        assert_eq!((again.sets(), again.held()), (1, 1));
    }
}
