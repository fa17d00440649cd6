//! What agreements add up to, and the reasons told.

use std::cmp::Ordering;
use std::fmt;

use serde::Serialize;

use super::block::{Blocks, SkippedBlock};
use super::compare::{Compared, Comparer, MISSING, Pattern, similarity};
use super::estimate::{Chance, Chances, Seen, filled, learn};
use super::matching::{Matching, Test};
use super::table::Table;
use crate::value::Value;

/// What one trait says for or against two profiles being one person: a bar of a waterfall chart.
///
/// `Debug` shows no value.
#[derive(Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SuggestionRow {
    /// The trait's path.
    #[serde(rename = "trait")]
    pub path: String,
    /// The level that held (`exact`, `jaro_winkler ≥ 0.9`, …, `else`), or `missing` if one of the two has no value.
    pub level: String,
    /// The value of the one, null without one.
    pub a: Value,
    /// The value of the other, null without one.
    pub b: Value,
    /// The Jaro-Winkler similarity of the two, from 0 to 1; `None` unless both are text, numbers or booleans.
    pub similarity: Option<f64>,
    /// The probability that this level holds of two profiles of one person, `None` where a value is missing.
    pub m: Option<f64>,
    /// The probability that it holds of two profiles of different people; with term frequencies, that somebody has
    /// this very value. `None` where a value is missing.
    pub u: Option<f64>,
    /// log₂(m / u), in bits: what this row adds to the weight of the pair. 0 where a value is missing.
    pub weight: f64,
}

impl fmt::Debug for SuggestionRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} {:+.2}", self.path, self.level, self.weight)
    }
}

/// What came of looking for pairs.
pub(crate) struct Found {
    /// The strongest first, ties by number.
    pub(crate) candidates: Vec<Candidate>,
    /// How many pairs reached the threshold.
    pub(crate) probable: usize,
    /// How many pairs were compared.
    pub(crate) compared: u64,
    pub(crate) skipped: Vec<SkippedBlock>,
    /// The model with every probability filled in.
    pub(crate) matching: Matching,
    pub(crate) converged: bool,
}

/// Two people, by number, who may be one.
pub(crate) struct Candidate {
    pub(crate) a: usize,
    pub(crate) b: usize,
    /// The weight before anything was compared, in bits.
    pub(crate) prior: f64,
    pub(crate) rows: Vec<SuggestionRow>,
    /// The sum of the above.
    pub(crate) weight: f64,
    pub(crate) probability: f64,
}

/// Finds the pairs of a table that may be one person, by a model that was checked. `apart` tells of two people who were
/// kept apart by hand: they teach what others are like, and are not told of.
pub(crate) fn suggest(matching: &Matching, table: &Table, apart: impl Fn(u32, u32) -> bool) -> Found {
    let blocks = Blocks::new(matching, table);
    let mut comparer = Comparer::new(matching, table);
    let seen = Seen::of(matching, &blocks, &mut comparer, table.people());
    let (chances, converged) = learn(matching, &seen);
    let scale = Scale::new(matching, &chances);
    let mut best = Best::new(matching.limit);
    let mut count = 0;
    for rule in 0..blocks.rules() {
        blocks.pairs(rule, |a, b| {
            if blocks.is_first(rule, a, b) {
                count += 1;
                let pattern = comparer.pattern(a, b);
                let weight = scale.weight(&comparer, pattern, a);
                if weight >= scale.threshold && !apart(a, b) {
                    best.add(Scored { weight, a, b, pattern });
                }
            }
        });
    }
    let probable = best.seen;
    let candidates = best.sorted().iter().map(|scored| scale.told(matching, &comparer, scored)).collect();
    let matching = filled(matching, &chances);
    Found { candidates, probable, compared: count, skipped: blocks.skipped, matching, converged }
}

/// What everything weighs.
struct Scale<'c> {
    chances: &'c Chances,
    /// Of each comparison, the weight of each level.
    weights: Vec<Vec<f64>>,
    /// Of each comparison, the level at which its values count by how rare they are.
    by_frequency: Vec<Option<usize>>,
    prior: f64,
    threshold: f64,
}

impl<'c> Scale<'c> {
    fn new(matching: &Matching, chances: &'c Chances) -> Self {
        let weights = chances.levels.iter().map(|levels| levels.iter().map(weight_of).collect());
        let by_frequency = matching.comparisons.iter().map(|comparison| {
            let exact = comparison.levels.iter().position(|level| level.test == Test::Exact);
            exact.filter(|_| comparison.term_frequency)
        });
        Self {
            chances,
            weights: weights.collect(),
            by_frequency: by_frequency.collect(),
            prior: bits(chances.prior),
            threshold: bits(matching.threshold),
        }
    }

    /// The weight of a pair of this pattern; `a` is one of the two.
    fn weight(&self, comparer: &Comparer<'_>, pattern: Pattern, a: u32) -> f64 {
        let traits = comparer.traits.iter().enumerate();
        self.prior + traits.map(|(index, compared)| self.weight_in(index, compared, pattern, a)).sum::<f64>()
    }

    fn weight_in(&self, index: usize, compared: &Compared<'_>, pattern: Pattern, a: u32) -> f64 {
        let level = pattern.level(index);
        match self.weights[index].get(level) {
            Some(_) if self.by_frequency[index] == Some(level) => {
                weight_of(&self.chance(index, compared, level, a))
            }
            Some(weight) => *weight,
            None => 0.0,
        }
    }

    /// The probabilities of a level that holds of a person and another.
    fn chance(&self, index: usize, compared: &Compared<'_>, level: usize, a: u32) -> Chance {
        let chance = self.chances.levels[index][level];
        match compared.column.cell(a) {
            Some(cell) if self.by_frequency[index] == Some(level) => {
                Chance { u: compared.column.share(compared.column.held(cell)), ..chance }
            }
            _ => chance,
        }
    }

    /// A pair with the reasons.
    fn told(&self, matching: &Matching, comparer: &Comparer<'_>, scored: &Scored) -> Candidate {
        let Scored { a, b, pattern, weight } = *scored;
        let row = |(index, compared): (usize, &Compared<'_>)| {
            let level = pattern.level(index);
            let held = |person| compared.column.cell(person).map(|cell| compared.column.held(cell));
            let value = |person| held(person).map_or(Value::Null, |held| held.value.clone());
            let chance = (level != MISSING).then(|| self.chance(index, compared, level, a));
            SuggestionRow {
                path: matching.comparisons[index].path.clone(),
                level: match level {
                    MISSING => "missing".to_owned(),
                    level => compared.tests.get(level).unwrap_or(&Test::Else).to_string(),
                },
                a: value(a),
                b: value(b),
                similarity: held(a).zip(held(b)).and_then(|(a, b)| similarity(a, b)),
                m: chance.map(|chance| chance.m),
                u: chance.map(|chance| chance.u),
                weight: self.weight_in(index, compared, pattern, a),
            }
        };
        let rows = comparer.traits.iter().enumerate().map(row).collect();
        let probability = 1.0 / (1.0 + (-weight).exp2());
        Candidate { a: a as usize, b: b as usize, prior: self.prior, rows, weight, probability }
    }
}

/// The weight of a level, in bits.
fn weight_of(chance: &Chance) -> f64 {
    (chance.m / chance.u).log2()
}

/// A probability as the weight of its odds, in bits.
fn bits(probability: f64) -> f64 {
    (probability / (1.0 - probability)).log2()
}

/// A pair and its weight.
#[derive(Clone, Copy)]
struct Scored {
    weight: f64,
    a: u32,
    b: u32,
    pattern: Pattern,
}

impl Scored {
    /// The stronger first, ties by number.
    fn order(&self, other: &Self) -> Ordering {
        other.weight.total_cmp(&self.weight).then((self.a, self.b).cmp(&(other.a, other.b)))
    }
}

/// The strongest pairs, so many at most.
struct Best {
    limit: usize,
    held: Vec<Scored>,
    /// How many were added.
    seen: usize,
}

impl Best {
    fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), seen: 0 }
    }

    fn add(&mut self, scored: Scored) {
        self.seen += 1;
        self.held.push(scored);
        if self.held.len() > self.limit.saturating_mul(2).saturating_add(1_000) {
            self.held.select_nth_unstable_by(self.limit, Scored::order);
            self.held.truncate(self.limit);
        }
    }

    fn sorted(mut self) -> Vec<Scored> {
        self.held.sort_unstable_by(Scored::order);
        self.held.truncate(self.limit);
        self.held
    }
}
