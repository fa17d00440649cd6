//! The graph as a picture.

use std::fmt::{self, Display, Write as _};

use petgraph::visit::EdgeRef;

use super::{IdentityGraph, Link};
use crate::id::mask;

/// A graph in DOT, the language of Graphviz; `Display` writes it. Made by [`IdentityGraph::to_dot`].
///
/// The values of identifiers are masked, unless [`unmasked`](Self::unmasked) says otherwise.
#[derive(Debug, Clone, Copy)]
#[must_use = "nothing is drawn until it is displayed"]
pub struct Dot<'g> {
    graph: &'g IdentityGraph,
    masked: bool,
}

impl IdentityGraph {
    /// The graph as a picture, in DOT, the language of Graphviz: `dot -Tsvg` draws it.
    ///
    /// A node is an identifier, the strongest first. An edge is a link: its source, how many events it rests on, and
    /// the day (in UTC) on which the first of them happened. Values are masked, as `Debug` masks them: a picture is
    /// soon shown around.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Timestamp};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::page().user_id("xiaoming").anonymous_id("a7").at(Timestamp::from_millis(0))])?;
    /// let graph = cdp.graph_of("user_id:xiaoming")?;
    /// assert_eq!(
    ///     graph.to_dot().to_string(),
    ///     r#"graph identity {
    ///   node [shape=box];
    ///   n0 [label="user_id\nx***"];
    ///   n1 [label="anonymous_id\n***"];
    ///   n0 -- n1 [label="default ×1\n1970-01-01"];
    /// }
    /// "#
    /// );
    /// assert!(graph.to_dot().unmasked().to_string().contains(r"user_id\nxiaoming"));
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    pub fn to_dot(&self) -> Dot<'_> {
        Dot { graph: self, masked: true }
    }
}

impl Dot<'_> {
    /// Shows the values of identifiers in full.
    pub fn unmasked(self) -> Self {
        Self { masked: false, ..self }
    }
}

impl Display for Dot<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let graph = &self.graph.graph;
        f.write_str("graph identity {\n  node [shape=box];\n")?;
        for (number, identifier) in self.graph.identifiers().enumerate() {
            let name = Quoted(identifier.namespace().as_str());
            if self.masked {
                writeln!(f, "  n{number} [label=\"{name}\\n{}\"];", Quoted(&mask(identifier.value())))?;
            } else {
                writeln!(f, "  n{number} [label=\"{name}\\n{}\"];", Quoted(identifier.value()))?;
            }
        }
        let ends = |edge: &petgraph::graph::EdgeReference<'_, Link>| {
            let (a, b) = (edge.source().index(), edge.target().index());
            (a.min(b), a.max(b))
        };
        let mut edges: Vec<_> = graph.edge_references().collect();
        edges.sort_by(|one, other| {
            let order = |edge| (ends(edge), edge.weight().seen(), edge.weight().source.as_str());
            order(one).cmp(&order(other))
        });
        for edge in &edges {
            let ((a, b), Link { source, count, first_seen, .. }) = (ends(edge), edge.weight());
            let time = first_seen.to_string();
            let day = time.split('T').next().unwrap_or_default();
            writeln!(f, "  n{a} -- n{b} [label=\"{} ×{count}\\n{day}\"];", Quoted(source))?;
        }
        f.write_str("}\n")
    }
}

/// Text as it stands within the quotes of a label, where a backslash begins an escape and an ampersand an entity.
struct Quoted<'t>(&'t str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '&' => f.write_str("&amp;")?,
                // As Rust writes it, `\u{7f}`: to be read, and to steer nothing.
                control if control.is_control() => write!(f, "\\{}", control.escape_default())?,
                letter => f.write_char(letter)?,
            }
        }
        Ok(())
    }
}
