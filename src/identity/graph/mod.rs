//! Identifiers as nodes and evidence as edges: what explains a profile.

use std::collections::HashMap;
use std::fmt;

use petgraph::algo::astar;
use petgraph::graph::NodeIndex;
use petgraph::stable_graph::StableUnGraph;
use petgraph::unionfind::UnionFind;
use petgraph::visit::{EdgeRef, IntoEdgeReferences, NodeIndexable};
use serde::Serialize;

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
    /// The same evidence, told from the other end.
    fn turned(&self) -> Self {
        Self { a: self.b.clone(), b: self.a.clone(), ..self.clone() }
    }
}

/// The graph of identifiers and the evidence between them: of one person, or of everyone.
///
/// Its connected components are the profiles. It is a copy, loaded when asked for; changing the database does
/// not change it.
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
/// assert_eq!((graph.identifiers().count(), graph.components()), (3, 1));
///
/// let path = graph.path(&"anonymous_id:device-7".parse()?, &"email:x@example.com".parse()?).unwrap();
/// assert_eq!(path.len(), 2);
/// assert_eq!(path[0].b.to_string(), "user_id:xiaoming");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default, Clone)]
pub struct IdentityGraph {
    graph: StableUnGraph<Identifier, Link>,
    places: HashMap<Identifier, NodeIndex>,
}

impl IdentityGraph {
    /// The graph of these identifiers and links. The ends of every link are identifiers of the graph.
    pub(crate) fn new(
        identifiers: impl IntoIterator<Item = Identifier>,
        links: impl IntoIterator<Item = Link>,
    ) -> Self {
        let mut graph = Self::default();
        for identifier in identifiers {
            graph.place(&identifier);
        }
        for link in links {
            let (a, b) = (graph.place(&link.a), graph.place(&link.b));
            graph.graph.add_edge(a, b, link);
        }
        graph
    }

    fn place(&mut self, identifier: &Identifier) -> NodeIndex {
        if let Some(place) = self.places.get(identifier) {
            return *place;
        }
        let place = self.graph.add_node(identifier.clone());
        self.places.insert(identifier.clone(), place);
        place
    }

    /// The identifiers, in no particular order.
    pub fn identifiers(&self) -> impl Iterator<Item = &Identifier> {
        self.graph.node_weights()
    }

    /// The links, in no particular order. Two identifiers have one for each source whose events bore both.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        self.graph.edge_weights()
    }

    /// How many connected components there are: profiles, if the graph is everyone's.
    pub fn components(&self) -> usize {
        let mut sets = UnionFind::new(self.graph.node_bound());
        let joins = self
            .graph
            .edge_references()
            .filter(|edge| sets.union(edge.source().index(), edge.target().index()));
        self.graph.node_count() - joins.count()
    }

    /// A shortest chain of evidence from `a` to `b`, each link told in the direction of the walk. Empty if both
    /// are the same identifier, `None` if nothing connects them or one is not of this graph.
    ///
    /// Of several links between two neighbours, the one seen first tells.
    pub fn path(&self, a: &Identifier, b: &Identifier) -> Option<Vec<Link>> {
        let (start, goal) = (*self.places.get(a)?, *self.places.get(b)?);
        let (_, walk) = astar(&self.graph, start, |node| node == goal, |_| 1_u32, |_| 0)?;
        let between = |pair: &[NodeIndex]| {
            let links = self.graph.edges_connecting(pair[0], pair[1]).map(|edge| edge.weight());
            let first = links.min_by_key(|link| (link.first_seen, &link.message_id))?;
            Some(if self.graph[pair[0]] == first.a { first.clone() } else { first.turned() })
        };
        walk.windows(2).map(between).collect()
    }
}

impl fmt::Debug for IdentityGraph {
    /// Counts only: identifiers are personal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityGraph")
            .field("identifiers", &self.graph.node_count())
            .field("links", &self.graph.edge_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(a: &str, b: &str, message_id: &str, at: i64) -> Link {
        Link {
            a: Identifier::new("user_id", a),
            b: Identifier::new("user_id", b),
            message_id: message_id.into(),
            source: "default".into(),
            first_seen: Timestamp::from_millis(at),
            last_seen: Timestamp::from_millis(at),
            count: 1,
        }
    }

    #[test]
    fn a_path_is_a_shortest_one_told_in_its_direction() {
        let links = [
            link("a", "b", "m1", 1),
            link("b", "c", "m2", 2),
            link("d", "c", "m3", 3),
            link("d", "a", "m4", 4),
        ];
        let graph = IdentityGraph::new([Identifier::new("user_id", "alone")], links);
        let id = |value: &str| Identifier::new("user_id", value);
        let path = graph.path(&id("c"), &id("a")).unwrap();
        assert_eq!(path.len(), 2);
        assert_eq!((&path[0].a, &path[1].b), (&id("c"), &id("a")));
        assert_eq!(path[0].b, path[1].a);
        assert_eq!(graph.path(&id("a"), &id("a")), Some(Vec::new()));
        assert_eq!(graph.path(&id("a"), &id("alone")), None);
        assert_eq!(graph.path(&id("a"), &id("nobody")), None);
        assert_eq!(graph.components(), 2);
    }

    #[test]
    fn of_parallel_links_the_one_seen_first_tells() {
        let graph = IdentityGraph::new([], [link("a", "b", "late", 9), link("b", "a", "early", 1)]);
        let path = graph.path(&Identifier::new("user_id", "a"), &Identifier::new("user_id", "b")).unwrap();
        assert_eq!(path[0].message_id, "early");
        assert_eq!(path[0].a.value(), "a");
    }

    #[test]
    fn debug_shows_no_identifier() {
        let graph = IdentityGraph::new([Identifier::new("email", "x@example.com")], []);
        assert_eq!(format!("{graph:?}"), "IdentityGraph { identifiers: 1, links: 0, .. }");
    }
}
