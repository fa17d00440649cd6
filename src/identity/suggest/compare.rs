//! Two people, compared: which level holds of each trait.

use std::cell::OnceCell;

use rustc_hash::FxHashMap;
use strsim::{damerau_levenshtein, jaro_winkler};

use super::matching::{Matching, Test};
use super::table::{Column, Held, Table};

/// How many traits can be compared, at four bits each.
pub(super) const COMPARISONS: usize = 16;

/// How many levels a comparison can have, `else` among them.
pub(super) const LEVELS: usize = 15;

/// The level of a trait that one of the two does not have.
pub(super) const MISSING: usize = 15;

/// How many pairs of values a comparison remembers at most, at 16 bytes each.
const REMEMBERED: usize = 1 << 21;

/// The number of the level that holds of each trait, or [`MISSING`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Pattern(u64);

impl Pattern {
    /// This pattern with a level of one more comparison.
    pub(super) fn with(self, comparison: usize, level: usize) -> Self {
        Self(self.0 | (level as u64 & 0xF) << (4 * comparison))
    }

    /// The level of a comparison.
    pub(super) fn level(self, comparison: usize) -> usize {
        (self.0 >> (4 * comparison) & 0xF) as usize
    }
}

/// A trait's values and the levels by which they are compared.
pub(super) struct Compared<'t> {
    pub(super) column: &'t Column,
    /// All levels but the last, which holds of anything.
    pub(super) tests: Vec<Test>,
    /// The levels of pairs of values that were compared before.
    known: FxHashMap<(u32, u32), u8>,
}

impl Compared<'_> {
    /// The level that holds of two people.
    fn level(&mut self, a: u32, b: u32) -> usize {
        let (Some(a), Some(b)) = (self.column.cell(a), self.column.cell(b)) else { return MISSING };
        let pair = (a.min(b), a.max(b));
        if let Some(level) = self.known.get(&pair) {
            return usize::from(*level);
        }
        let (a, b) = (self.column.held(a), self.column.held(b));
        let likeness = Likeness::new(a, b);
        let level = self.tests.iter().position(|test| likeness.holds(*test)).unwrap_or(self.tests.len());
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(pair, u8::try_from(level).unwrap_or(u8::MAX));
        level
    }
}

/// Compares people by all traits of a model.
pub(super) struct Comparer<'t> {
    pub(super) traits: Vec<Compared<'t>>,
}

impl<'t> Comparer<'t> {
    pub(super) fn new(matching: &Matching, table: &'t Table) -> Self {
        let compared = |comparison: &super::TraitComparison| Compared {
            column: table.column(&comparison.path),
            tests: comparison
                .levels
                .iter()
                .map(|level| level.test)
                .filter(|test| *test != Test::Else)
                .collect(),
            known: FxHashMap::default(),
        };
        Self { traits: matching.comparisons.iter().map(compared).collect() }
    }

    /// What holds of two people.
    pub(super) fn pattern(&mut self, a: u32, b: u32) -> Pattern {
        let traits = self.traits.iter_mut().enumerate();
        traits
            .fold(Pattern::default(), |pattern, (index, compared)| pattern.with(index, compared.level(a, b)))
    }
}

/// Two values, and how alike they are: worked out when a level asks, once for all levels.
struct Likeness<'h> {
    a: &'h Held,
    b: &'h Held,
    texts: bool,
    jaro_winkler: OnceCell<f64>,
    edits: OnceCell<usize>,
}

impl<'h> Likeness<'h> {
    fn new(a: &'h Held, b: &'h Held) -> Self {
        Self { a, b, texts: a.is_text && b.is_text, jaro_winkler: OnceCell::new(), edits: OnceCell::new() }
    }

    fn holds(&self, test: Test) -> bool {
        let Self { a, b, .. } = self;
        match test {
            Test::Exact => a.equal == b.equal,
            Test::JaroWinkler(least) => {
                self.texts && self.most_alike() >= least && self.jaro_winkler() >= least
            }
            Test::DamerauLevenshtein(most) => self.texts && self.is_within(most as usize),
            Test::First(characters) => self.texts && begin_alike(&a.text, &b.text, characters as usize),
            Test::Within(most) => match (a.number, b.number) {
                (Some(a), Some(b)) => (a - b).abs() <= most,
                _ => false,
            },
            Test::WithinSpan(most) => match (a.time, b.time) {
                (Some(a), Some(b)) => a.max(b) <= a.min(b).after(most),
                _ => false,
            },
            Test::Else => true,
        }
    }

    /// How many characters of each text the other does not have: so many at least.
    fn strange(&self) -> [usize; 2] {
        [self.a.letters & !self.b.letters, self.b.letters & !self.a.letters]
            .map(|own| own.count_ones() as usize)
    }

    /// What the Jaro-Winkler similarity cannot exceed, told without looking for common characters: of most pairs that
    /// is answer enough.
    fn most_alike(&self) -> f64 {
        let [of_a, of_b] = [self.a.characters, self.b.characters];
        if of_a == 0 || of_b == 0 {
            return 1.0;
        }
        let [strange_a, strange_b] = self.strange();
        let common = float(of_a.saturating_sub(strange_a).min(of_b.saturating_sub(strange_b)));
        let jaro = (common / float(of_a) + common / float(of_b) + 1.0) / 3.0;
        let letters = self.a.text.chars().zip(self.b.text.chars());
        let prefix = float(letters.take(4).take_while(|(a, b)| a == b).count());
        // A little more, for the rounding.
        jaro + 0.1 * prefix * (1.0 - jaro) + 1e-9
    }

    fn jaro_winkler(&self) -> f64 {
        *self.jaro_winkler.get_or_init(|| jaro_winkler(&self.a.text, &self.b.text))
    }

    fn is_within(&self, edits: usize) -> bool {
        // An edit changes the length by one character at most, and takes or gives one at most.
        self.a.characters.abs_diff(self.b.characters) <= edits
            && self.strange().into_iter().all(|strange| strange <= edits)
            && *self.edits.get_or_init(|| damerau_levenshtein(&self.a.text, &self.b.text)) <= edits
    }
}

/// A number of characters as a float.
#[expect(clippy::cast_precision_loss, reason = "no text has 2^52 characters")]
fn float(characters: usize) -> f64 {
    characters as f64
}

fn begin_alike(a: &str, b: &str, characters: usize) -> bool {
    let start = |text: &str| {
        let last = text.char_indices().nth(characters.checked_sub(1)?);
        last.map(|(at, last)| at + last.len_utf8())
    };
    match (start(a), start(b)) {
        (Some(end), Some(other)) => a[..end] == b[..other],
        _ => false,
    }
}

/// How alike the texts of two values are, `None` for arrays and objects.
pub(super) fn similarity(a: &Held, b: &Held) -> Option<f64> {
    (a.is_text && b.is_text).then(|| jaro_winkler(&a.text, &b.text))
}
