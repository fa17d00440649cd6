//! Who is whom: union-find over nodes, with the members of each set and the profile it belongs to.

use super::interner::Node;

/// A profile's number in this file, in order of creation, so the smaller of two is the older.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ProfileNo(pub(crate) u32);

/// Marks a node that is known but in no profile: its every occurrence was refused, or a later rule blocks it.
const DORMANT: u32 = u32::MAX;

/// Disjoint sets of nodes, each with the number of its profile.
///
/// Union by size with path compression (Tarjan, *Efficiency of a good but not linear set union algorithm*, JACM
/// 1975). The members of each set form a ring, so joining two sets is swapping two links, and listing one costs
/// its size. The root depends on the order of unions and is nobody's name: the profile's number is.
#[derive(Clone, Default)]
pub(crate) struct Partition {
    parent: Vec<u32>,
    ring: Vec<u32>,
    /// Of roots only: how many nodes the set has, and whose it is.
    size: Vec<u32>,
    profile: Vec<ProfileNo>,
    sets: usize,
    held: usize,
}

impl Partition {
    /// A partition of `nodes` nodes that are all dormant.
    pub(crate) fn dormant(nodes: usize) -> Self {
        let mut partition = Self::default();
        partition.grow(nodes);
        partition
    }

    /// Makes room for nodes up to `nodes`, dormant at first.
    pub(crate) fn grow(&mut self, nodes: usize) {
        if nodes > self.parent.len() {
            self.parent.resize(nodes, DORMANT);
            self.ring.resize(nodes, DORMANT);
            self.size.resize(nodes, 0);
            self.profile.resize(nodes, ProfileNo(0));
        }
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
            match *self.parent.get(at as usize)? {
                DORMANT => return None,
                parent if parent == at => return Some(Node(at)),
                parent => at = parent,
            }
        }
    }

    /// The profile of a node's set.
    pub(crate) fn profile(&self, node: Node) -> Option<ProfileNo> {
        self.root(node).map(|root| self.profile[root.index()])
    }

    /// How many nodes the set of a root has.
    pub(crate) fn size(&self, root: Node) -> u32 {
        self.size[root.index()]
    }

    /// The members of a node's set, the node first; none for a dormant node.
    pub(crate) fn members(&self, node: Node) -> impl Iterator<Item = Node> + '_ {
        let mut next = self.root(node).map(|_| node);
        std::iter::from_fn(move || {
            let current = next?;
            let after = Node(self.ring[current.index()]);
            next = (after != node).then_some(after);
            Some(current)
        })
    }

    /// All roots.
    pub(crate) fn roots(&self) -> impl Iterator<Item = Node> + '_ {
        self.parent
            .iter()
            .enumerate()
            .filter(|(node, parent)| **parent == Node::at(*node).0)
            .map(|(n, _)| Node::at(n))
    }

    /// Makes a dormant node a set of its own, of the profile `profile`.
    pub(crate) fn found(&mut self, node: Node, profile: ProfileNo) {
        self.grow(node.index() + 1);
        debug_assert!(self.root(node).is_none(), "only a dormant node can found a set");
        self.parent[node.index()] = node.0;
        self.ring[node.index()] = node.0;
        self.size[node.index()] = 1;
        self.profile[node.index()] = profile;
        self.sets += 1;
        self.held += 1;
    }

    /// Joins the sets of two nodes; the older profile's number survives. Dormant nodes join nothing.
    pub(crate) fn union(&mut self, a: Node, b: Node) {
        let (Some(a), Some(b)) = (self.compress(a), self.compress(b)) else { return };
        if a == b {
            return;
        }
        let (large, small) = if self.size(a) >= self.size(b) { (a, b) } else { (b, a) };
        self.parent[small.index()] = large.0;
        self.size[large.index()] += self.size[small.index()];
        self.profile[large.index()] = self.profile[large.index()].min(self.profile[small.index()]);
        self.ring.swap(large.index(), small.index());
        self.sets -= 1;
    }

    /// Makes nodes dormant that are whole sets together.
    pub(crate) fn release(&mut self, nodes: &[Node]) {
        for &node in nodes {
            let Some(parent) = self.parent.get_mut(node.index()).filter(|parent| **parent != DORMANT) else {
                continue;
            };
            self.sets -= usize::from(*parent == node.0);
            self.held -= 1;
            *parent = DORMANT;
        }
    }

    /// Gives the set of a node to another profile.
    pub(crate) fn assign(&mut self, node: Node, profile: ProfileNo) {
        if let Some(root) = self.root(node) {
            self.profile[root.index()] = profile;
        }
    }

    /// The root, with every second node on the way hung to its grandparent (path halving).
    fn compress(&mut self, node: Node) -> Option<Node> {
        let mut at = node.0;
        if *self.parent.get(at as usize)? == DORMANT {
            return None;
        }
        while self.parent[at as usize] != at {
            let grandparent = self.parent[self.parent[at as usize] as usize];
            self.parent[at as usize] = grandparent;
            at = grandparent;
        }
        Some(Node(at))
    }
}

#[cfg(test)]
mod tests {
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
    }
}
