//! The graph of identities: its shape as a whole, and one person's.

use std::fmt::{self, Display};

use customerdb::{Bridge, Cdp, Hub, Identifier, IdentityGraph, Link};
use serde::Serialize;

use crate::answer::Answer;
use crate::failure::Failure;
use crate::table::{Table, amount};

/// How many components, hubs and bridges are told if nobody says how many.
pub(crate) const LIMIT: usize = 10;

/// Which graph is asked for, and how.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// Of one person, or of everyone.
    pub(crate) id: Option<String>,
    pub(crate) limit: usize,
    /// Shows a picture in clear text.
    pub(crate) unmasked: bool,
    /// Prints nothing but the picture for people.
    pub(crate) only_dot: bool,
}

impl Wanted {
    pub(crate) fn answer(self, cdp: &Cdp) -> Result<Box<dyn Answer>, Failure> {
        let graph = match &self.id {
            None => cdp.graph()?,
            Some(id) => cdp.graph_of(id)?,
        };
        let shape = Shape::of(&graph, self.limit);
        if self.id.is_none() && !self.only_dot {
            return Ok(Box::new(shape));
        }
        let dot = if self.unmasked { graph.to_dot().unmasked() } else { graph.to_dot() }.to_string();
        Ok(Box::new(Whole {
            shape,
            nodes: graph.identifiers().cloned().collect(),
            edges: graph.links().cloned().collect(),
            dot,
            only_dot: self.only_dot,
        }))
    }
}

/// A graph in numbers, and where it hangs together by little.
#[derive(Serialize)]
struct Shape {
    identifiers: usize,
    links: usize,
    components: usize,
    /// Those of the largest components.
    sizes: Vec<usize>,
    hubs: Vec<OneHub>,
    bridges: Vec<Bridge>,
}

/// A hub with the sizes of the largest parts only.
#[derive(Serialize)]
struct OneHub {
    identifier: Identifier,
    degree: usize,
    outlier: bool,
    pairs: u64,
    /// How many parts there would be without it.
    parts: usize,
    sizes: Vec<usize>,
}

impl Shape {
    fn of(graph: &IdentityGraph, limit: usize) -> Self {
        let mut sizes = graph.component_sizes();
        let components = sizes.len();
        sizes.truncate(limit);
        let hub = |hub: Hub| OneHub {
            parts: hub.parts.len(),
            sizes: hub.parts.into_iter().take(limit).collect(),
            identifier: hub.identifier,
            degree: hub.degree,
            outlier: hub.outlier,
            pairs: hub.pairs,
        };
        Self {
            identifiers: graph.len(),
            links: graph.links().len(),
            components,
            sizes,
            hubs: graph.hubs(limit).into_iter().map(hub).collect(),
            bridges: graph.bridges(limit),
        }
    }
}

impl Answer for Shape {
    fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn is_alarm(&self) -> bool {
        false
    }
}

impl Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |number: usize| amount(number as u64);
        let list = |sizes: &[usize]| sizes.iter().map(|size| number(*size)).collect::<Vec<_>>().join(" ");
        Table::new("")
            .row(["identifiers", &number(self.identifiers)])
            .row(["links", &number(self.links)])
            .row(["components", &number(self.components)])
            .row(["the largest", &list(&self.sizes)])
            .fmt(f)?;
        if !self.hubs.is_empty() {
            writeln!(f, "\nwhat glues most together")?;
            let mut table = Table::new("  ");
            for hub in &self.hubs {
                let more = if hub.parts > hub.sizes.len() { " …" } else { "" };
                let parts = format!("{} without it: {}{more}", number(hub.parts), list(&hub.sizes));
                let degree = format!("{} neighbours", number(hub.degree));
                let outlier = if hub.outlier { "outlier" } else { "" };
                table = table.row([&hub.identifier.to_string(), &degree, outlier, &parts]);
            }
            table.fmt(f)?;
        }
        if !self.bridges.is_empty() {
            writeln!(f, "\nsingle joins that hold most together")?;
            let mut table = Table::new("  ");
            for bridge in &self.bridges {
                let sides = bridge.sizes.map(number).join(" and ");
                let evidence = bridge.links.first().map(|link| &*link.message_id).unwrap_or_default();
                let first = format!("the first {evidence}");
                table = table.row([&bridge.a.to_string(), "–", &bridge.b.to_string(), &sides, &first]);
            }
            table.fmt(f)?;
        }
        Ok(())
    }
}

/// A graph as a whole.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    shape: Shape,
    nodes: Vec<Identifier>,
    edges: Vec<Link>,
    dot: String,
    #[serde(skip)]
    only_dot: bool,
}

impl Answer for Whole {
    fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    fn is_alarm(&self) -> bool {
        false
    }
}

impl Display for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.only_dot {
            return f.write_str(&self.dot);
        }
        self.shape.fmt(f)?;
        writeln!(f, "\nlinks")?;
        let mut table = Table::new("  ");
        for link in &self.edges {
            let events = format!("{} of {}", amount(link.count), link.source);
            let since = format!("from {}", link.first_seen);
            table = table.row([&link.a.to_string(), "–", &link.b.to_string(), &events, &since]);
        }
        table.fmt(f)
    }
}
