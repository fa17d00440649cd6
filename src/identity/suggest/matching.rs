//! What is compared, and with whom: the model, as it is built in Rust.

use std::fmt;

use crate::clock::Span;

/// How people are compared who may be one: the model behind [`Cdp::suggestions`](crate::Cdp::suggestions).
///
/// Comparisons say what counts as agreeing, trait by trait. Each of their levels has two probabilities: `m`, that
/// it holds of two profiles of one person, and `u`, that it holds of two profiles of different people. A level that
/// holds adds log₂(m / u) bits to the weight of a pair (Fellegi and Sunter 1969). What is not given is estimated
/// from the data: `u` from random pairs, `m` by expectation maximisation over the pairs of the blocking rules, as
/// [Splink](https://moj-analytical-services.github.io/splink/) does it. A rule's pairs tell nothing of the traits
/// that it blocks on, so some other rule has to do without each trait. Estimates want some hundred people at least,
/// and true pairs among them.
///
/// Blocking rules say who is compared at all: two people whose keys are all equal. A pair that several rules find is
/// compared once.
///
/// Defaults: the prior is estimated, a pair must be as likely as not (0.5), at most 1,000 suggestions, blocks of at
/// most 1,000 people, seed 1.
///
/// ```
/// use customerdb::{BlockingKey, ComparisonLevel, Matching, TraitComparison};
///
/// let matching = Matching::default()
///     .compare(
///         TraitComparison::of("surname")
///             .level(ComparisonLevel::exact())
///             .level(ComparisonLevel::jaro_winkler(0.9))
///             .term_frequency(),
///     )
///     .compare(
///         TraitComparison::of("born")
///             .level(ComparisonLevel::exact().m(0.9).u(0.001))
///             .level(ComparisonLevel::otherwise().m(0.1).u(0.999)),
///     )
///     .block(["born"])
///     .block([BlockingKey::of("surname").first(3), BlockingKey::of("city")]);
///
/// let same = Matching::from_json(
///     r#"{"compare": [
///             {"trait": "surname", "levels": [{"exact": true}, {"jaro_winkler": 0.9}], "term_frequency": true},
///             {"trait": "born", "levels": [{"exact": true, "m": 0.9, "u": 0.001}, {"else": true, "m": 0.1, "u": 0.999}]}
///         ],
///         "block": [["born"], [{"trait": "surname", "first": 3}, "city"]]}"#,
/// )?;
/// assert_eq!(matching, same);
/// # Ok::<(), customerdb::DefinitionError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Matching {
    pub(super) comparisons: Vec<TraitComparison>,
    pub(super) rules: Vec<Vec<BlockingKey>>,
    pub(super) prior: Option<f64>,
    pub(super) threshold: f64,
    pub(super) limit: usize,
    pub(super) largest_block: usize,
    pub(super) seed: u64,
}

impl Default for Matching {
    fn default() -> Self {
        Self {
            comparisons: Vec::new(),
            rules: Vec::new(),
            prior: None,
            threshold: 0.5,
            limit: 1_000,
            largest_block: 1_000,
            seed: 1,
        }
    }
}

impl Matching {
    /// Compares one more trait.
    pub fn compare(mut self, comparison: TraitComparison) -> Self {
        self.comparisons.push(comparison);
        self
    }

    /// Compares also those people of whom all these keys are equal.
    pub fn block<K: Into<BlockingKey>>(mut self, keys: impl IntoIterator<Item = K>) -> Self {
        self.rules.push(keys.into_iter().map(Into::into).collect());
        self
    }

    /// Sets the probability that two people drawn at random are one, instead of estimating it.
    pub fn prior(mut self, probability: f64) -> Self {
        self.prior = Some(probability);
        self
    }

    /// Sets how probable a pair must be to be suggested.
    pub fn threshold(mut self, probability: f64) -> Self {
        self.threshold = probability;
        self
    }

    /// Sets how many suggestions are given at most, the strongest.
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Sets how many people may have equal keys. Larger blocks are skipped, and told as such.
    pub fn largest_block(mut self, people: usize) -> Self {
        self.largest_block = people;
        self
    }

    /// Sets what the random pairs are drawn by; the same data and seed give the same suggestions.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The names of the traits that are looked at: the first names of all paths, each once.
    pub(crate) fn traits(&self) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.paths().into_iter().map(|path| path.split('.').next().unwrap_or(path)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The paths that are looked at, each once.
    pub(super) fn paths(&self) -> Vec<&str> {
        let compared = self.comparisons.iter().map(|comparison| comparison.path.as_str());
        let blocked = self.rules.iter().flatten().map(|key| key.path.as_str());
        let mut paths: Vec<&str> = compared.chain(blocked).collect();
        paths.sort_unstable();
        paths.dedup();
        paths
    }

    /// Whether the pairs of a rule tell something of a comparison: whether the rule does without its trait.
    pub(super) fn tells(&self, rule: usize, comparison: usize) -> bool {
        self.rules[rule].iter().all(|key| key.path != self.comparisons[comparison].path)
    }
}

/// What counts as agreeing in one trait: levels, from the closest on. The first that holds of two values counts.
///
/// A last level, which holds of any two values, need not be named unless its probabilities are given. A trait that
/// one of the two people lacks tells nothing: its weight is 0. Text is compared without regard to case, surrounding
/// white space and quotes; of a path that reaches several values, the first counts.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct TraitComparison {
    pub(super) path: String,
    pub(super) levels: Vec<ComparisonLevel>,
    pub(super) term_frequency: bool,
}

impl TraitComparison {
    /// Compares the trait at a dotted path, by no level yet.
    pub fn of(path: impl Into<String>) -> Self {
        Self { path: path.into(), levels: Vec::new(), term_frequency: false }
    }

    /// Adds a level, to be tried after those that are there.
    pub fn level(mut self, level: ComparisonLevel) -> Self {
        self.levels.push(level);
        self
    }

    /// Lets equal values count by how rare they are: `u` of the exact level becomes the share of the people who have
    /// that value, among those who have any (Winkler, *Frequency-Based Matching in Fellegi-Sunter Model of Record
    /// Linkage*, U.S. Bureau of the Census 2000). For names and places; where almost every value is rare, as of
    /// e-mail addresses, it counts the person's own profiles against them.
    pub fn term_frequency(mut self) -> Self {
        self.term_frequency = true;
        self
    }
}

/// One degree of agreement, and how often it is met.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct ComparisonLevel {
    pub(super) test: Test,
    pub(super) m: Option<f64>,
    pub(super) u: Option<f64>,
}

/// When a level holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Test {
    Exact,
    JaroWinkler(f64),
    DamerauLevenshtein(u32),
    First(u32),
    Within(f64),
    WithinSpan(Span),
    Else,
}

impl ComparisonLevel {
    fn of(test: Test) -> Self {
        Self { test, m: None, u: None }
    }

    /// The values are equal.
    pub fn exact() -> Self {
        Self::of(Test::Exact)
    }

    /// The Jaro-Winkler similarity is at least so high: 0 of nothing in common, 1 of equal text (Winkler, *String
    /// Comparator Metrics and Enhanced Decision Rules in the Fellegi-Sunter Model of Record Linkage*, Survey
    /// Research Methods Section of the American Statistical Association, 1990).
    pub fn jaro_winkler(similarity: f64) -> Self {
        Self::of(Test::JaroWinkler(similarity))
    }

    /// At most so many letters were inserted, deleted, replaced or swapped with their neighbours (Damerau, *A
    /// technique for computer detection and correction of spelling errors*, Communications of the ACM 7, 1964).
    pub fn damerau_levenshtein(edits: u32) -> Self {
        Self::of(Test::DamerauLevenshtein(edits))
    }

    /// The first characters are equal, so many.
    pub fn first(characters: u32) -> Self {
        Self::of(Test::First(characters))
    }

    /// Two numbers, or texts that spell numbers, differ by at most so much.
    pub fn within(difference: f64) -> Self {
        Self::of(Test::Within(difference))
    }

    /// Two dates (`1999-12-31`) or RFC 3339 times differ by at most so much.
    pub fn within_span(span: Span) -> Self {
        Self::of(Test::WithinSpan(span))
    }

    /// Any two values; the last level.
    pub fn otherwise() -> Self {
        Self::of(Test::Else)
    }

    /// Sets the probability that this level is the one that holds of two profiles of one person.
    pub fn m(mut self, probability: f64) -> Self {
        self.m = Some(probability);
        self
    }

    /// Sets the probability that this level is the one that holds of two profiles of different people.
    pub fn u(mut self, probability: f64) -> Self {
        self.u = Some(probability);
        self
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact => f.write_str("exact"),
            Self::JaroWinkler(similarity) => write!(f, "jaro_winkler ≥ {similarity}"),
            Self::DamerauLevenshtein(edits) => write!(f, "damerau_levenshtein ≤ {edits}"),
            Self::First(characters) => write!(f, "first {characters}"),
            Self::Within(difference) => write!(f, "within {difference}"),
            Self::WithinSpan(span) => write!(f, "within {span}"),
            Self::Else => f.write_str("else"),
        }
    }
}

/// What two people must have equal to be compared: a trait, or its first characters. People without it have no key.
///
/// The first four characters of a date are its year. Text shorter than asked for counts whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct BlockingKey {
    pub(super) path: String,
    pub(super) first: Option<u32>,
}

impl BlockingKey {
    /// The trait at a dotted path.
    pub fn of(path: impl Into<String>) -> Self {
        Self { path: path.into(), first: None }
    }

    /// Only its first characters, so many.
    pub fn first(mut self, characters: u32) -> Self {
        self.first = Some(characters);
        self
    }
}

impl From<&str> for BlockingKey {
    fn from(path: &str) -> Self {
        Self::of(path)
    }
}
