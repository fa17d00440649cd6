//! Suspicious places: identifiers and joins that much hangs on.

use std::cmp::Reverse;
use std::collections::HashMap;

use petgraph::graph::NodeIndex;
use petgraph::visit::{Bfs, EdgeFiltered, EdgeRef};
use rustc_hash::FxHashMap;
use serde::Serialize;

use super::cuts::{CutEdge, Cuts};
use super::{IdentityGraph, Link};
use crate::id::{Identifier, Namespace};

/// An identifier, and what it holds together that would fall apart without it.
///
/// `Debug` masks the identifier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Hub {
    /// The identifier.
    pub identifier: Identifier,
    /// How many identifiers it is linked with.
    pub degree: usize,
    /// Whether that is far more than identifiers of its namespace usually are linked with: beyond the outer fence
    /// of Tukey (*Exploratory data analysis*, 1977), the third quartile of their degrees in this graph and three
    /// times the distance from the first quartile to it. A distance of 0 counts as 1.
    ///
    /// Quartiles are those of the nearest rank, so fewer than four identifiers of a namespace have no outlier.
    pub outlier: bool,
    /// The sizes of the parts, in identifiers, that its component would be without it, the largest first. If there
    /// are two or more, it is an articulation point.
    pub parts: Vec<usize>,
    /// How many pairs of other identifiers are one person through this one only, which is the sum of the products of
    /// any two parts: by how much the pairwise connectivity of the graph would fall (Arulselvan and others,
    /// *Detecting critical nodes in sparse graphs*, Computers & Operations Research 2009).
    pub pairs: u64,
}

/// A pair of identifiers, linked by the only evidence that two parts of a component are one person.
///
/// `Debug` masks the identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Bridge {
    /// The identifier at the end with the larger part.
    pub a: Identifier,
    /// The identifier at the end with the smaller part.
    pub b: Identifier,
    /// How many identifiers are on the side of `a`, and how many on that of `b`, themselves counted.
    pub sizes: [usize; 2],
    /// The evidence, told from `a` to `b`: a link for each source whose events bore both, the one seen first first.
    pub links: Vec<Link>,
}

impl IdentityGraph {
    /// Up to `limit` identifiers, those first that glue most together: by the number of pairs of others that are one
    /// person through them only, then by degree, then by strength.
    ///
    /// An address that several families share stands before all others; a device of one person stands at the end.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Rules};
    ///
    /// let cdp = Cdp::builder().rules(Rules::unlimited()).in_memory()?;
    /// cdp.ingest((1..=3).map(|n| {
    ///     Event::identify().user_id(format!("u{n}")).with_trait("email", "info@example.com")
    /// }))?;
    /// cdp.ingest([Event::page().user_id("u1").anonymous_id("device-7")])?;
    /// let hub = &cdp.graph()?.hubs(10)[0];
    /// assert_eq!(hub.identifier.to_string(), "email:info@example.com");
    /// assert_eq!((hub.degree, hub.parts.as_slice()), (3, [2, 1, 1].as_slice()));
    /// assert_eq!(hub.pairs, 2 * 1 + 2 * 1 + 1 * 1);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn hubs(&self, limit: usize) -> Vec<Hub> {
        let cuts = Cuts::of(&self.graph);
        let (pairs, degrees) = (cuts.pairs(), self.degrees());
        let fences = self.fences(&degrees);
        let mut nodes: Vec<NodeIndex> = self.graph.node_indices().collect();
        let glue = |node: &NodeIndex| (Reverse(pairs[node.index()]), Reverse(degrees[node.index()]), *node);
        first_by_key(&mut nodes, limit, glue);
        let hub = |node: NodeIndex| {
            let (identifier, degree) = (self.graph[node].clone(), degrees[node.index()]);
            let outlier = fences.get(identifier.namespace()).is_some_and(|fence| degree > *fence);
            Hub { identifier, degree, outlier, parts: cuts.parts(node), pairs: pairs[node.index()] }
        };
        nodes.into_iter().map(hub).collect()
    }

    /// Up to `limit` joins without which a component would be two, those first that hold most together: by the size
    /// of the smaller side, then of the larger, then by strength. Of two sides of one size, `a` is on that of the
    /// stronger end.
    ///
    /// Several links between the same two identifiers are one join, since taking the evidence between two identifiers
    /// away takes all of them.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([
    ///     Event::page().user_id("u1").anonymous_id("phone-1"),
    ///     Event::page().anonymous_id("phone-1").external_id("crm", "7").message_id("m7"),
    ///     Event::page().anonymous_id("tablet-7").external_id("crm", "7"),
    /// ])?;
    /// let graph = cdp.graph()?;
    /// let bridge = &graph.bridges(10)[0];
    /// assert_eq!((bridge.a.to_string(), bridge.b.value()), ("external:crm:7".into(), "phone-1"));
    /// assert_eq!((bridge.sizes, bridge.links[0].message_id.as_str()), ([2, 2], "m7"));
    /// let [_, cut_off] = graph.sides(&bridge.a, &bridge.b).unwrap();
    /// assert_eq!(cut_off[0].to_string(), "user_id:u1");
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn bridges(&self, limit: usize) -> Vec<Bridge> {
        let cuts = Cuts::of(&self.graph);
        let turned = |cut: &CutEdge| match *cut {
            CutEdge { ends: [a, b], sizes: [one, other] } if (other, a) > (one, b) => {
                CutEdge { ends: [b, a], sizes: [other, one] }
            }
            cut => cut,
        };
        let mut found: Vec<CutEdge> = cuts.bridges().iter().map(turned).collect();
        let held = |cut: &CutEdge| (Reverse(cut.sizes[1]), Reverse(cut.sizes[0]), cut.ends);
        first_by_key(&mut found, limit, held);
        let bridge = |CutEdge { ends: [a, b], sizes }: &CutEdge| {
            let (a, b) = (self.graph[*a].clone(), self.graph[*b].clone());
            Bridge { a, b, sizes: *sizes, links: Vec::new() }
        };
        let mut bridges: Vec<Bridge> = found.iter().map(bridge).collect();
        // One look at all links: to ask each end for its own would be to ask the hub of a star again for each ray.
        let numbered = found.iter().enumerate();
        let places: FxHashMap<_, _> = numbered.map(|(place, cut)| (either_way(cut.ends), place)).collect();
        for edge in self.graph.raw_edges() {
            if let Some(place) = places.get(&either_way([edge.source(), edge.target()])) {
                let Bridge { a, links, .. } = &mut bridges[*place];
                links.push(edge.weight.clone().told_from(a));
            }
        }
        for bridge in &mut bridges {
            bridge.links.sort_by(|one, other| one.seen().cmp(&other.seen()));
        }
        bridges
    }

    /// The identifiers that would be on the side of `a` and on that of `b` if the evidence between the two were taken
    /// away, the strongest first. `None` if they would be one person still, or are not linked.
    pub fn sides(&self, a: &Identifier, b: &Identifier) -> Option<[Vec<&Identifier>; 2]> {
        let (a, b) = (self.place(a)?, self.place(b)?);
        self.graph.find_edge(a, b)?;
        let left = EdgeFiltered::from_fn(&self.graph, |edge| {
            either_way([edge.source(), edge.target()]) != either_way([a, b])
        });
        let side = |start: NodeIndex| {
            let (mut search, mut nodes) = (Bfs::new(&left, start), Vec::new());
            while let Some(node) = search.next(&left) {
                nodes.push(node);
            }
            nodes.sort_unstable();
            nodes
        };
        let one = side(a);
        if one.binary_search(&b).is_ok() {
            return None;
        }
        Some([one, side(b)].map(|nodes| nodes.into_iter().map(|node| &self.graph[node]).collect()))
    }

    /// Of each node, how many others it is linked with.
    fn degrees(&self) -> Vec<usize> {
        let mut counted_for = vec![NodeIndex::end(); self.len()];
        let mut is_new = |node, other: NodeIndex| {
            let before = std::mem::replace(&mut counted_for[other.index()], node);
            before != node && other != node
        };
        let degree = |node| self.graph.neighbors(node).filter(|other| is_new(node, *other)).count();
        self.graph.node_indices().map(degree).collect()
    }

    /// The degree of each namespace above which an identifier is an outlier.
    fn fences(&self, degrees: &[usize]) -> HashMap<&Namespace, usize> {
        let mut of_each: HashMap<&Namespace, Vec<usize>> = HashMap::new();
        for (identifier, degree) in self.identifiers().zip(degrees) {
            of_each.entry(identifier.namespace()).or_default().push(*degree);
        }
        let fence = |mut degrees: Vec<usize>| {
            degrees.sort_unstable();
            // The nearest rank: the least value that so many quarters of all values do not exceed.
            let quartile = |nth: usize| degrees[(degrees.len() * nth).div_ceil(4) - 1];
            let (first, third) = (quartile(1), quartile(3));
            third + 3 * (third - first).max(1)
        };
        of_each.into_iter().map(|(namespace, degrees)| (namespace, fence(degrees))).collect()
    }
}

/// Two ends, whichever is told first.
fn either_way([a, b]: [NodeIndex; 2]) -> (NodeIndex, NodeIndex) {
    (a.min(b), a.max(b))
}

/// Leaves the first `limit` of some things in place, sorted.
fn first_by_key<T, K: Ord>(things: &mut Vec<T>, limit: usize, key: impl Fn(&T) -> K) {
    if limit < things.len() {
        things.select_nth_unstable_by_key(limit, &key);
        things.truncate(limit);
    }
    things.sort_unstable_by_key(key);
}
