//! Shortest paths by number, over a graph that is asked for its edges as the search needs them.

use rustc_hash::FxHashMap;

use super::interner::Node;

/// How far the search has come from one end.
struct Side {
    /// The nodes that were reached, each with the one that it was reached from; the end itself from itself.
    reached: FxHashMap<Node, Node>,
    /// Those that are farthest from the end, and whose neighbours were not asked for yet.
    frontier: Vec<Node>,
}

impl Side {
    fn from(end: Node) -> Self {
        Self { reached: FxHashMap::from_iter([(end, end)]), frontier: vec![end] }
    }

    /// How much there is to do on this side: a node that others were reached through may have many neighbours.
    fn waiting(&self) -> (usize, usize) {
        (self.frontier.len(), self.reached.len())
    }

    /// The way from a node back to this side's end, both counted.
    fn way(&self, node: Node) -> impl Iterator<Item = Node> {
        let before = |node: &Node| self.reached.get(node).copied().filter(|before| before != node);
        std::iter::successors(Some(node), before)
    }
}

/// A shortest path between two nodes, both counted; `None` if nothing connects them. `neighbours` appends those of a
/// node, in any order and also more than once.
///
/// Searches breadth-first from both ends, always from where fewer nodes wait, until the two meet: most nodes of a
/// large component are never asked for their neighbours (Pohl, *Bi-directional search*, Machine Intelligence 6, 1971).
pub(crate) fn shortest_path<E>(
    from: Node,
    to: Node,
    mut neighbours: impl FnMut(Node, &mut Vec<Node>) -> Result<(), E>,
) -> Result<Option<Vec<Node>>, E> {
    if from == to {
        return Ok(Some(vec![from]));
    }
    let (mut start, mut goal) = (Side::from(from), Side::from(to));
    let mut found = Vec::new();
    while !start.frontier.is_empty() && !goal.frontier.is_empty() {
        let forward = start.waiting() <= goal.waiting();
        let (near, far) = if forward { (&mut start, &goal) } else { (&mut goal, &start) };
        for node in std::mem::take(&mut near.frontier) {
            found.clear();
            neighbours(node, &mut found)?;
            for &next in &found {
                if near.reached.contains_key(&next) {
                    continue;
                }
                near.reached.insert(next, node);
                // Levels are searched one after the other, so the first meeting is on a shortest path.
                if far.reached.contains_key(&next) {
                    let mut path: Vec<Node> = start.way(next).collect();
                    path.reverse();
                    path.extend(goal.way(next).skip(1));
                    return Ok(Some(path));
                }
                near.frontier.push(next);
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use petgraph::algo::astar;
    use petgraph::graph::UnGraph;
    use proptest::prelude::*;

    use super::*;

    type Edges = [(u32, u32)];

    /// The shortest path, and the nodes that were asked for their neighbours.
    fn search(edges: &Edges, from: u32, to: u32) -> (Option<Vec<u32>>, Vec<u32>) {
        let mut asked = Vec::new();
        let path = shortest_path(Node(from), Node(to), |node, found| {
            asked.push(node.0);
            for (a, b) in edges {
                found.extend((*a == node.0).then_some(Node(*b)));
                found.extend((*b == node.0).then_some(Node(*a)));
            }
            Ok::<_, Infallible>(())
        });
        (path.unwrap().map(|path| path.into_iter().map(|node| node.0).collect()), asked)
    }

    proptest! {
        #[test]
        fn no_path_is_shorter_than_that_of_petgraph(
            edges in prop::collection::vec((0_u32..24, 0_u32..24), 0..40),
            from in 0_u32..24,
            to in 0_u32..24,
        ) {
            let mut graph = UnGraph::<(), ()>::from_edges(&edges);
            while graph.node_count() < 24 {
                graph.add_node(());
            }
            let expected = astar(&graph, from.into(), |node| node == to.into(), |_| 1, |_| 0).map(|(cost, _)| cost);
            let (path, _) = search(&edges, from, to);
            prop_assert_eq!(path.as_ref().map(|path| path.len() - 1), expected);
            if let Some(path) = path {
                prop_assert_eq!((path.first(), path.last()), (Some(&from), Some(&to)));
                for pair in path.windows(2) {
                    prop_assert!(graph.contains_edge(pair[0].into(), pair[1].into()));
                }
            }
        }
    }

    #[test]
    fn two_rays_of_a_star_meet_without_a_look_at_the_others() {
        let star: Vec<(u32, u32)> = (1..1_000).map(|ray| (0, ray)).collect();
        assert_eq!(search(&star, 3, 700), (Some(vec![3, 0, 700]), vec![3, 700]));
        assert_eq!(search(&star, 5, 5), (Some(vec![5]), vec![]));
        assert_eq!(search(&star, 5, 1_000).0, None);
    }
}
