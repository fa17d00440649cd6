//! Identifiers as nodes and evidence as edges: what explains a profile.

mod cuts;
mod dot;
mod hubs;

use std::cmp::Reverse;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use petgraph::algo::astar;
use petgraph::graph::{NodeIndex, UnGraph};
use petgraph::unionfind::UnionFind;
use serde::Serialize;

pub use self::dot::Dot;
pub use self::hubs::{Bridge, Hub};
use crate::clock::Timestamp;
use crate::id::Identifier;

/// One piece of evidence that two identifiers are one person: that events of one source bore both.
///
/// `Debug` masks the identifiers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Link {
    /// The identifier at one end.
    pub a: Identifier,
    /// The identifier at the other end.
    pub b: Identifier,
    /// The message id of the earliest event that bore both, by event time.
    pub message_id: String,
    /// The name of the source that the events came from.
    pub source: String,
    /// The time of the earliest event that bore both.
    pub first_seen: Timestamp,
    /// The time of the latest event that bore both.
    pub last_seen: Timestamp,
    /// How many events bore both.
    pub count: u64,
}

impl Link {
    /// The same evidence, told from the end that `identifier` is at.
    pub(crate) fn told_from(self, identifier: &Identifier) -> Self {
        if self.a == *identifier { self } else { Self { a: self.b, b: self.a, ..self } }
    }

    /// What links between two identifiers are ordered by: the one seen first tells.
    pub(crate) fn seen(&self) -> (Timestamp, &str) {
        (self.first_seen, &self.message_id)
    }
}

/// The graph of identifiers and the evidence between them: of one person, or of everyone.
///
/// Its connected components are the profiles. It is a copy, loaded when asked for; changing the database does
/// not change it. Lists of identifiers begin with the strongest, by the rules in force when it was loaded.
///
/// ```
/// use customerdb::{Cdp, Event};
///
/// let cdp = Cdp::in_memory()?;
/// cdp.ingest([
///     Event::track("Search").anonymous_id("device-7"),
///     Event::identify().anonymous_id("device-7").user_id("xiaoming").with_trait("email", "x@example.com"),
/// ])?;
/// let graph = cdp.graph()?;
/// assert_eq!((graph.len(), graph.links().len(), graph.components().len()), (3, 2, 1));
/// assert_eq!(graph.degree(&"user_id:xiaoming".parse()?), 2);
///
/// let path = graph.path(&"anonymous_id:device-7".parse()?, &"email:x@example.com".parse()?).unwrap();
/// assert_eq!(path.len(), 2);
/// assert_eq!(path[0].b.to_string(), "user_id:xiaoming");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Who glues people together that perhaps are several is told by [`hubs`](Self::hubs), which single joins hold much
/// together by [`bridges`](Self::bridges); [`to_dot`](Self::to_dot) draws the whole.
#[derive(Default, Clone)]
pub struct IdentityGraph {
    /// The nodes stand in the order in which they were given, the strongest first.
    graph: UnGraph<Identifier, Link>,
    /// Finds the node of an identifier by its hash, which is keyed: values are chosen by strangers.
    places: HashTable<NodeIndex>,
    hasher: RandomState,
}

impl IdentityGraph {
    /// The graph of these identifiers, the strongest first and each once, and of links between them. The ends of a
    /// link are told by their places among the identifiers.
    pub(crate) fn new(
        identifiers: impl IntoIterator<Item = Identifier>,
        links: impl IntoIterator<Item = ([usize; 2], Link)>,
    ) -> Self {
        let (mut graph, mut places, hasher) = (UnGraph::default(), HashTable::new(), RandomState::new());
        for identifier in identifiers {
            let hash = hasher.hash_one(&identifier);
            let node = graph.add_node(identifier);
            places.insert_unique(hash, node, |node| hasher.hash_one(&graph[*node]));
        }
        for ([a, b], link) in links {
            graph.add_edge(NodeIndex::new(a), NodeIndex::new(b), link);
        }
        Self { graph, places, hasher }
    }

    fn place(&self, identifier: &Identifier) -> Option<NodeIndex> {
        self.places.find(self.hasher.hash_one(identifier), |node| self.graph[*node] == *identifier).copied()
    }

    /// How many identifiers there are.
    pub fn len(&self) -> usize {
        self.graph.node_count()
    }

    /// Whether there is no identifier.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the identifier, as it is spelled here, is one of the graph's.
    pub fn contains(&self, identifier: &Identifier) -> bool {
        self.place(identifier).is_some()
    }

    /// The identifiers, the strongest first.
    pub fn identifiers(&self) -> impl ExactSizeIterator<Item = &Identifier> {
        self.graph.raw_nodes().iter().map(|node| &node.weight)
    }

    /// The links, in no particular order. Two identifiers have one for each source whose events bore both.
    pub fn links(&self) -> impl ExactSizeIterator<Item = &Link> {
        self.graph.raw_edges().iter().map(|edge| &edge.weight)
    }

    /// The links between two identifiers, told from `a` to `b`, the one seen first first.
    ///
    /// None if they are not linked, or one is not of this graph.
    pub fn links_between(&self, a: &Identifier, b: &Identifier) -> Vec<Link> {
        let (Some(from), Some(to)) = (self.place(a), self.place(b)) else { return Vec::new() };
        self.between(from, to)
    }

    fn between(&self, from: NodeIndex, to: NodeIndex) -> Vec<Link> {
        let links = self.graph.edges_connecting(from, to).map(|edge| edge.weight().clone());
        let mut links: Vec<Link> = links.map(|link| link.told_from(&self.graph[from])).collect();
        links.sort_by(|one, other| one.seen().cmp(&other.seen()));
        links
    }

    /// The identifiers that this one is linked with, each once, the strongest first. None if it is not of this
    /// graph.
    pub fn neighbours(&self, identifier: &Identifier) -> impl ExactSizeIterator<Item = &Identifier> {
        let mut nodes: Vec<NodeIndex> =
            self.place(identifier).into_iter().flat_map(|node| self.graph.neighbors(node)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.into_iter().map(|node| &self.graph[node])
    }

    /// How many identifiers this one is linked with, 0 if it is not of this graph. Links of several sources to the
    /// same identifier count once.
    pub fn degree(&self, identifier: &Identifier) -> usize {
        self.neighbours(identifier).len()
    }

    /// The connected components, the largest first, each as its identifiers: profiles, if the graph is everyone's.
    ///
    /// Among components of one size, the one with the strongest identifier is first.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::page().user_id("u1"), Event::page().user_id("u2").anonymous_id("device-7")])?;
    /// let graph = cdp.graph()?;
    /// assert_eq!(graph.component_sizes(), [2, 1]);
    /// for person in graph.components() {
    ///     println!("{} identifiers, of which the first is {:?}", person.len(), person.collect::<Vec<_>>()[0]);
    /// }
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn components(&self) -> impl ExactSizeIterator<Item = impl ExactSizeIterator<Item = &Identifier>> {
        let components = self.grouped().into_iter();
        components.map(|nodes| nodes.into_iter().map(|node| &self.graph[node]))
    }

    /// The numbers of identifiers of the components, the largest first.
    pub fn component_sizes(&self) -> Vec<usize> {
        self.grouped().iter().map(Vec::len).collect()
    }

    /// The nodes of each component.
    fn grouped(&self) -> Vec<Vec<NodeIndex>> {
        let mut sets = UnionFind::<NodeIndex>::new(self.len());
        for edge in self.graph.raw_edges() {
            sets.union(edge.source(), edge.target());
        }
        let mut components: Vec<Vec<NodeIndex>> = Vec::new();
        let mut numbers: Vec<Option<usize>> = vec![None; self.len()];
        for node in self.graph.node_indices() {
            let number = *numbers[sets.find_mut(node).index()].get_or_insert_with(|| {
                components.push(Vec::new());
                components.len() - 1
            });
            components[number].push(node);
        }
        components.sort_by_key(|nodes| Reverse(nodes.len()));
        components
    }

    /// A shortest chain of evidence from `a` to `b`, each link told in the direction of the walk. Empty if both
    /// are the same identifier, `None` if nothing connects them or one is not of this graph.
    ///
    /// Of several links between two neighbours, the one seen first tells.
    pub fn path(&self, a: &Identifier, b: &Identifier) -> Option<Vec<Link>> {
        let (start, goal) = (self.place(a)?, self.place(b)?);
        let (_, walk) = astar(&self.graph, start, |node| node == goal, |_| 1_u32, |_| 0)?;
        walk.windows(2).map(|pair| self.between(pair[0], pair[1]).into_iter().next()).collect()
    }
}

impl fmt::Debug for IdentityGraph {
    /// Counts only: identifiers are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityGraph")
            .field("identifiers", &self.len())
            .field("links", &self.links().len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
