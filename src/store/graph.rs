//! The evidence between identifiers, read: as a graph, and as a chain.

use rusqlite::{Row, Statement};
use rustc_hash::FxHashMap;

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::event::Source;
use crate::identity::{Identities, IdentityGraph, Link, Node, shortest_path};

const SELECT_LINKS: &str = "SELECT a, b, first_seen, last_seen, count, message_id, source FROM links";

impl Db {
    /// The graph of these nodes, which are whole components, and the links between them.
    pub(crate) fn graph_of(&self, identities: &Identities, nodes: &[Node]) -> Result<IdentityGraph> {
        let reader = Reader { identities, sources: self.sources()? };
        let places: FxHashMap<Node, usize> = nodes.iter().copied().zip(0..).collect();
        let mut links = Vec::new();
        let mut select = self.conn.prepare_cached(&format!("{SELECT_LINKS} WHERE a = ?1"))?;
        for (node, place) in nodes.iter().zip(0..) {
            let mut rows = select.query([node.0])?;
            while let Some(row) = rows.next()? {
                if let Some(other) = places.get(&Node(row.get(1)?)) {
                    links.push(([place, *other], reader.link(row)?));
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
        let mut select = self.conn.prepare_cached(SELECT_LINKS)?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            if let Some((a, b)) = place(Node(row.get(0)?)).zip(place(Node(row.get(1)?))) {
                links.push(([a, b], reader.link(row)?));
            }
        }
        Ok(IdentityGraph::new(nodes.iter().map(|node| identities.interner.identifier(*node)), links))
    }

    /// A shortest chain of evidence from one node to another, told in its direction; of several links between two
    /// nodes the one seen first. Empty if both are the same, `None` if nothing connects them.
    ///
    /// Searches by the numbers of nodes, and reads the evidence of the chain only.
    pub(crate) fn path(&self, identities: &Identities, from: Node, to: Node) -> Result<Option<Vec<Link>>> {
        let reader = Reader { identities, sources: self.sources()? };
        let mut between = self.conn.prepare_cached(&format!("{SELECT_LINKS} WHERE a = ?1 AND b = ?2"))?;
        if let Some(direct) = reader.first(&mut between, from, to)? {
            return Ok(Some(vec![direct]));
        }
        let mut neighbours = self
            .conn
            .prepare_cached("SELECT b FROM links WHERE a = ?1 UNION ALL SELECT a FROM links WHERE b = ?1")?;
        let walk = shortest_path(from, to, |node, found| -> Result<()> {
            let mut rows = neighbours.query([node.0])?;
            while let Some(row) = rows.next()? {
                found.push(Node(row.get(0)?));
            }
            Ok(())
        })?;
        let Some(walk) = walk else { return Ok(None) };
        walk.windows(2).map(|pair| reader.first(&mut between, pair[0], pair[1])).collect()
    }
}

/// What it takes to read a link.
struct Reader<'i> {
    identities: &'i Identities,
    sources: FxHashMap<u32, Source>,
}

impl Reader<'_> {
    fn link(&self, row: &Row<'_>) -> rusqlite::Result<Link> {
        let source = self.sources.get(&row.get(6)?);
        Ok(Link {
            a: self.identities.interner.identifier(Node(row.get(0)?)),
            b: self.identities.interner.identifier(Node(row.get(1)?)),
            first_seen: Timestamp::from_micros(row.get(2)?),
            last_seen: Timestamp::from_micros(row.get(3)?),
            count: row.get(4)?,
            message_id: row.get(5)?,
            source: source.map(|source| source.name.clone()).unwrap_or_default(),
        })
    }

    /// Of the links between two nodes, which `between` finds, the one seen first, told from the first.
    fn first(&self, between: &mut Statement<'_>, from: Node, to: Node) -> Result<Option<Link>> {
        let mut first: Option<Link> = None;
        let mut rows = between.query((from.min(to).0, from.max(to).0))?;
        while let Some(row) = rows.next()? {
            let link = self.link(row)?;
            if first.as_ref().is_none_or(|first| link.seen() < first.seen()) {
                first = Some(link);
            }
        }
        Ok(first.map(|link| link.told_from(&self.identities.interner.identifier(from))))
    }
}
