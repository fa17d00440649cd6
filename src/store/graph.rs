//! The evidence between identifiers, read: as a graph, and as a chain.

use rustc_hash::FxHashMap;

use super::{Db, Result};
use crate::event::Source;
use crate::identity::{Evidence, Identities, IdentityGraph, Link, LinkKey, Node, shortest_path};

impl Db {
    /// The graph of these nodes, which are whole components, and the links between them.
    pub(crate) fn graph_of(&self, identities: &Identities, nodes: &[Node]) -> Result<IdentityGraph> {
        let reader = Reader { identities, sources: self.sources()? };
        let places: FxHashMap<Node, usize> = nodes.iter().copied().zip(0..).collect();
        let mut links = Vec::new();
        for (node, place) in nodes.iter().zip(0..) {
            for (key, seen) in self.links_up(*node, None)? {
                if let Some(other) = places.get(&key.1) {
                    links.push(([place, *other], reader.link(key, seen)));
                }
            }
        }
        Ok(IdentityGraph::new(nodes.iter().map(|node| identities.interner.identifier(*node)), links))
    }

    /// The graph of these nodes, which are everybody's, and all links. It reads the table of links once, from its
    /// beginning to its end.
    pub(crate) fn graph(&self, identities: &Identities, nodes: &[Node]) -> Result<IdentityGraph> {
        let reader = Reader { identities, sources: self.sources()? };
        let mut places = vec![None; identities.interner.len()];
        for (node, place) in nodes.iter().zip(0..) {
            places[node.index()] = Some(place);
        }
        let place = |node: Node| places.get(node.index()).copied().flatten();
        let mut links = Vec::new();
        self.each_link(|key, seen| {
            if let Some((a, b)) = place(key.0).zip(place(key.1)) {
                links.push(([a, b], reader.link(key, seen)));
            }
        })?;
        Ok(IdentityGraph::new(nodes.iter().map(|node| identities.interner.identifier(*node)), links))
    }

    /// A shortest chain of evidence from one node to another, told in its direction; of several links between two
    /// nodes the one seen first. Empty if both are the same, `None` if nothing connects them.
    ///
    /// Searches by the numbers of nodes, and reads the evidence of the chain only.
    pub(crate) fn path(&self, identities: &Identities, from: Node, to: Node) -> Result<Option<Vec<Link>>> {
        let reader = Reader { identities, sources: self.sources()? };
        if let Some(direct) = self.first_link(&reader, from, to)? {
            return Ok(Some(vec![direct]));
        }
        let walk = shortest_path(from, to, |node, found| -> Result<()> {
            found.extend(self.linked_with(node)?);
            Ok(())
        })?;
        let Some(walk) = walk else { return Ok(None) };
        walk.windows(2).map(|pair| self.first_link(&reader, pair[0], pair[1])).collect()
    }

    /// Of the links between two nodes the one seen first, told from the first.
    fn first_link(&self, reader: &Reader<'_>, from: Node, to: Node) -> Result<Option<Link>> {
        let links = self.links_up(from.min(to), Some(from.max(to)))?.into_iter();
        let first = links.map(|(key, seen)| reader.link(key, seen)).min_by(|a, b| a.seen().cmp(&b.seen()));
        Ok(first.map(|link| link.told_from(&reader.identities.interner.identifier(from))))
    }
}

/// What it takes to read a link.
struct Reader<'i> {
    identities: &'i Identities,
    sources: FxHashMap<u32, Source>,
}

impl Reader<'_> {
    fn link(&self, (a, b, source): LinkKey, seen: Evidence) -> Link {
        let Evidence { first_seen, last_seen, count, message_id } = seen;
        let source = self.sources.get(&source).map(|source| source.name.clone()).unwrap_or_default();
        let [a, b] = [a, b].map(|node| self.identities.interner.identifier(node));
        Link { a, b, message_id, source, first_seen, last_seen, count }
    }
}
