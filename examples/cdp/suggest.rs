//! Pairs that may be one person: for programs as JSON, for people as waterfalls.

use std::fmt::{self, Display};

use customerdb::{Identifier, Matching, SkippedBlock, SuggestionRow, Suggestions};
use serde::Serialize;

use crate::table::{Table, amount, clean, plain};

#[derive(Serialize)]
pub(crate) struct Suggested {
    suggestions: Vec<Pair>,
    /// How many pairs are probable enough, beyond the limit too.
    probable: usize,
    compared: u64,
    skipped: Vec<SkippedBlock>,
    converged: bool,
    /// The model with every probability that was estimated.
    matching: Matching,
}

#[derive(Serialize)]
struct Pair {
    a: Identifier,
    b: Identifier,
    weight: f64,
    probability: f64,
    prior: f64,
    rows: Vec<SuggestionRow>,
}

impl From<Suggestions> for Suggested {
    fn from(found: Suggestions) -> Self {
        let pair = |pair: customerdb::Suggestion| Pair {
            a: pair.a.name,
            b: pair.b.name,
            weight: pair.weight,
            probability: pair.probability,
            prior: pair.prior,
            rows: pair.rows,
        };
        Self {
            suggestions: found.suggestions.into_iter().map(pair).collect(),
            probable: found.probable,
            compared: found.compared,
            skipped: found.skipped,
            converged: found.converged,
            matching: found.matching,
        }
    }
}

impl Display for Suggested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} of {} pairs compared may be one person, {} shown",
            amount(self.probable as u64),
            amount(self.compared),
            amount(self.suggestions.len() as u64)
        )?;
        for block in &self.skipped {
            let (people, key) = (amount(block.people as u64), clean(&block.key.join(", ")));
            writeln!(f, "skipped by blocking rule {}: {people} people with {key}", block.rule)?;
        }
        if !self.converged {
            writeln!(f, "the estimates did not come to stand still: take the weights with care")?;
        }
        self.suggestions.iter().try_for_each(|pair| pair.fmt(f))
    }
}

impl Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { a, b, .. } = self;
        writeln!(f, "\n{} and {}", clean(&a.to_string()), clean(&b.to_string()))?;
        let bits = |weight: f64| format!("{weight:+.2}");
        let mut table = Table::new("  ").row(["prior", "", "", "", &bits(self.prior)]);
        for row in &self.rows {
            let value = |value| if row.level == "missing" { String::new() } else { plain(value) };
            table = table.row([&row.path, &row.level, &value(&row.a), &value(&row.b), &bits(row.weight)]);
        }
        let probability = format!("probability {:.4}", self.probability);
        table.row(["weight in bits", &probability, "", "", &bits(self.weight)]).figures().fmt(f)
    }
}
