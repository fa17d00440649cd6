//! What holds a component together: its articulation points and bridges.

use petgraph::graph::{NodeIndex, UnGraph};

/// What each node and each edge of a graph holds together that would fall apart without it.
///
/// One depth-first search finds all of it, in time linear in nodes and edges (Hopcroft and Tarjan, *Algorithm 447:
/// efficient algorithms for graph manipulation*, CACM 1973). Its stack is on the heap, so the longest chain does not
/// overflow. Parallel edges count as one.
pub(super) struct Cuts {
    /// How many nodes each node's component has.
    components: Vec<usize>,
    /// The sizes of the parts that come off without a node: (node, size), sorted. What is left over is a part too.
    severed: Vec<(NodeIndex, usize)>,
    bridges: Vec<CutEdge>,
}

/// A bridge, and how many nodes are on the side of each of its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CutEdge {
    pub(super) ends: [NodeIndex; 2],
    pub(super) sizes: [usize; 2],
}

/// The order of nodes that the search has not come to yet.
const UNSEEN: usize = usize::MAX;

/// What the search knows of a node.
#[derive(Clone, Copy)]
struct Visit {
    /// When the node was come to.
    order: usize,
    /// The earliest order that an edge leads back to from the node or from below it.
    low: usize,
    /// How many nodes are below it, itself counted.
    size: usize,
    /// The node that its tree grew from.
    root: NodeIndex,
}

impl Cuts {
    pub(super) fn of<N, E>(graph: &UnGraph<N, E>) -> Self {
        let unseen = Visit { order: UNSEEN, low: UNSEEN, size: 1, root: NodeIndex::end() };
        let mut visits = vec![unseen; graph.node_count()];
        let (mut severed, mut bridges, mut order) = (Vec::new(), Vec::new(), 0);
        let mut stack = Vec::new();
        for root in graph.node_indices() {
            if visits[root.index()].order != UNSEEN {
                continue;
            }
            visits[root.index()] = Visit { order, low: order, root, ..unseen };
            order += 1;
            stack.push((root, root, graph.neighbors(root)));
            while let Some((node, parent, neighbours)) = stack.last_mut() {
                let (node, parent) = (*node, *parent);
                if let Some(next) = neighbours.next() {
                    let seen = visits[next.index()].order;
                    if seen == UNSEEN {
                        visits[next.index()] = Visit { order, low: order, root, ..unseen };
                        order += 1;
                        stack.push((next, node, graph.neighbors(next)));
                    } else if next != parent {
                        let visit = &mut visits[node.index()];
                        visit.low = visit.low.min(seen);
                    }
                    continue;
                }
                stack.pop();
                if node == parent {
                    continue;
                }
                let Visit { low, size, .. } = visits[node.index()];
                let above = &mut visits[parent.index()];
                above.low = above.low.min(low);
                above.size += size;
                if low >= above.order {
                    severed.push((parent, size));
                }
                if low > above.order {
                    bridges.push((parent, node, size));
                }
            }
        }
        severed.sort_unstable();
        let components: Vec<usize> = visits.iter().map(|visit| visits[visit.root.index()].size).collect();
        let bridges = bridges.into_iter().map(|(parent, node, size)| CutEdge {
            ends: [parent, node],
            sizes: [components[node.index()] - size, size],
        });
        Self { bridges: bridges.collect(), components, severed }
    }

    /// The sizes of the parts that a node's component would be without it, the largest first.
    pub(super) fn parts(&self, node: NodeIndex) -> Vec<usize> {
        let start = self.severed.partition_point(|(other, _)| *other < node);
        let own = self.severed[start..].iter().take_while(|(other, _)| *other == node);
        let mut parts: Vec<usize> = own.map(|(_, size)| *size).collect();
        let rest = self.components[node.index()] - 1 - parts.iter().sum::<usize>();
        if rest > 0 {
            parts.push(rest);
        }
        parts.sort_unstable_by(|one, other| other.cmp(one));
        parts
    }

    /// Of each node, how many pairs of others are connected through it only.
    pub(super) fn pairs(&self) -> Vec<u64> {
        // Σ sᵢ·sⱼ over i < j is (n² − Σ sᵢ²) / 2, where the sᵢ add up to n. Nodes are numbered by 32 bits.
        let mut severed = vec![(0_u64, 0_u64); self.components.len()];
        for (node, size) in &self.severed {
            let (sum, squares) = &mut severed[node.index()];
            *sum += *size as u64;
            *squares += (*size as u64).pow(2);
        }
        let pairs = |(component, (sum, squares)): (&usize, (u64, u64))| {
            let others = *component as u64 - 1;
            (others.pow(2) - squares - (others - sum).pow(2)) / 2
        };
        self.components.iter().zip(severed).map(pairs).collect()
    }

    /// All bridges.
    pub(super) fn bridges(&self) -> &[CutEdge] {
        &self.bridges
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use petgraph::algo::articulation_points::articulation_points;
    use petgraph::algo::{bridges, connected_components};
    use petgraph::graph::NodeIndex;
    use petgraph::unionfind::UnionFind;
    use proptest::prelude::*;

    use super::*;

    type Edges = Vec<(u32, u32)>;

    const NODES: u32 = 14;

    fn graph(nodes: u32, edges: impl IntoIterator<Item = (u32, u32)>) -> UnGraph<(), ()> {
        let mut graph = UnGraph::default();
        (0..nodes).for_each(|_| {
            graph.add_node(());
        });
        edges.into_iter().for_each(|(a, b)| {
            graph.add_edge(a.into(), b.into(), ());
        });
        graph
    }

    /// The sizes of the components of some nodes by some edges, the largest first.
    fn sizes(nodes: impl Iterator<Item = u32>, edges: impl Iterator<Item = (u32, u32)>) -> Vec<usize> {
        let mut sets = UnionFind::<u32>::new(NODES as usize);
        edges.for_each(|(a, b)| {
            sets.union(a, b);
        });
        let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
        nodes.for_each(|node| *sizes.entry(sets.find(node)).or_default() += 1);
        let mut sizes: Vec<usize> = sizes.into_values().collect();
        sizes.sort_unstable_by(|one, other| other.cmp(one));
        sizes
    }

    /// The sum of the products of any two sizes.
    fn products(sizes: &[usize]) -> u64 {
        let of_one = |(place, size)| sizes[..place].iter().map(|other| other * size).sum::<usize>() as u64;
        sizes.iter().enumerate().map(of_one).sum()
    }

    /// The nodes that are connected with `start`.
    fn reached(start: u32, edges: &Edges) -> BTreeSet<u32> {
        let mut sets = UnionFind::<u32>::new(NODES as usize);
        for (a, b) in edges {
            sets.union(*a, *b);
        }
        (0..NODES).filter(|node| sets.equiv(start, *node)).collect()
    }

    /// A bridge with its lesser end first.
    fn in_order(bridge: &CutEdge) -> ((u32, u32), [usize; 2]) {
        let [a, b] = bridge.ends.map(|end| u32::try_from(end.index()).unwrap());
        let [one, other] = bridge.sizes;
        if a < b { ((a, b), [one, other]) } else { ((b, a), [other, one]) }
    }

    fn edges() -> impl Strategy<Value = Edges> {
        // Sparse, or there is nothing to cut.
        prop::collection::vec((0..NODES, 0..NODES), 0..22)
            .prop_map(|edges| edges.into_iter().filter(|(a, b)| a != b).collect())
    }

    proptest! {
        #[test]
        fn the_parts_are_those_that_are_left_when_a_node_is_removed(edges in edges()) {
            let cuts = Cuts::of(&graph(NODES, edges.clone()));
            let pairs = cuts.pairs();
            for node in 0..NODES {
                let others = reached(node, &edges).into_iter().filter(|other| *other != node);
                let left = edges.iter().copied().filter(|(a, b)| *a != node && *b != node);
                let expected = sizes(others, left);
                prop_assert_eq!(pairs[node as usize], products(&expected));
                prop_assert_eq!(cuts.parts(node.into()), expected);
            }
        }

        #[test]
        fn bridges_are_the_edges_whose_removal_parts_a_component(edges in edges()) {
            let mut expected = BTreeMap::new();
            for &(a, b) in &edges {
                let ends = (a.min(b), a.max(b));
                let left: Edges =
                    edges.iter().copied().filter(|(a, b)| (*a.min(b), *a.max(b)) != ends).collect();
                let (one, other) = (reached(ends.0, &left), reached(ends.1, &left));
                if !one.contains(&ends.1) {
                    expected.insert(ends, [one.len(), other.len()]);
                }
            }
            let cuts = Cuts::of(&graph(NODES, edges));
            let found: BTreeMap<_, _> = cuts.bridges().iter().map(in_order).collect();
            prop_assert_eq!(found.len(), cuts.bridges().len(), "each once");
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn petgraph_finds_the_same_in_a_simple_graph(edges in edges()) {
            let simple: BTreeSet<(u32, u32)> = edges.iter().map(|(a, b)| (*a.min(b), *a.max(b))).collect();
            let graph = graph(NODES, simple);
            let cuts = Cuts::of(&graph);
            let points: BTreeSet<NodeIndex> = articulation_points(&graph).into_iter().collect();
            let found = graph.node_indices().filter(|node| cuts.parts(*node).len() > 1);
            prop_assert_eq!(found.collect::<BTreeSet<_>>(), points);
            prop_assert_eq!(cuts.bridges().len(), bridges::bridges(&graph).count());
        }
    }

    #[test]
    fn parallel_edges_are_one() {
        let cuts = Cuts::of(&graph(3, [(0, 1), (1, 0), (0, 1), (1, 2)]));
        let sizes: BTreeSet<[usize; 2]> = cuts.bridges().iter().map(|bridge| bridge.sizes).collect();
        assert_eq!(sizes, BTreeSet::from([[1, 2], [2, 1]]));
        assert_eq!((cuts.parts(1.into()), cuts.pairs()), (vec![1, 1], vec![0, 1, 0]));
    }

    #[test]
    fn a_chain_and_a_star_of_a_hundred_thousand_are_no_trouble() {
        let n = 100_000_u32;
        let chain = graph(n, (1..n).map(|node| (node - 1, node)));
        assert_eq!(connected_components(&chain), 1);
        let cuts = Cuts::of(&chain);
        assert_eq!((cuts.bridges().len(), cuts.parts(0.into())), (99_999, vec![99_999]));
        assert_eq!(
            (cuts.parts(40_000.into()), cuts.pairs()[40_000]),
            (vec![59_999, 40_000], 59_999 * 40_000)
        );
        let cuts = Cuts::of(&graph(n, (1..n).map(|node| (0, node))));
        assert_eq!((cuts.bridges().len(), cuts.parts(0.into())), (99_999, vec![1; 99_999]));
        assert_eq!(cuts.pairs()[..2], [99_999 * 99_998 / 2, 0]);
    }
}
