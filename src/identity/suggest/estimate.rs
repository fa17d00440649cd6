//! What levels are worth: the probabilities of a model, given or learnt.
//!
//! `u` comes from pairs drawn at random, `m` from the pairs of the blocking rules by expectation maximisation
//! (Dempster, Laird and Rubin, *Maximum Likelihood from Incomplete Data via the EM Algorithm*, Journal of the Royal
//! Statistical Society B 39, 1977; for record linkage Winkler, *Using the EM Algorithm for Weight Computation in the
//! Fellegi-Sunter Model of Record Linkage*, 1988). Only how often each pattern of levels occurs matters, so a round
//! costs as much as there are patterns, however many pairs there are.

use rustc_hash::FxHashMap;

use super::block::Blocks;
use super::compare::{Comparer, MISSING, Pattern};
use super::matching::{ComparisonLevel, Matching, Test};

/// How many random pairs are drawn at most. If there are no more pairs, all are taken.
const SAMPLE: u64 = 1_000_000;

/// Rounds of expectation maximisation at most, within one round of everything.
const ROUNDS: usize = 500;

/// Rounds of everything at most.
const PASSES: usize = 30;

/// Probabilities that move by less stand still.
const STILL: f64 = 1e-5;

/// How often each pattern occurs, in the order of the patterns.
pub(super) type Histogram = Vec<(Pattern, f64)>;

/// The probabilities of a level: of two profiles of one person, and of different people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Chance {
    pub(super) m: f64,
    pub(super) u: f64,
}

/// The probabilities of a model.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chances {
    /// Of each comparison, of each of its levels.
    pub(super) levels: Vec<Vec<Chance>>,
    /// That two people drawn at random are one.
    pub(super) prior: f64,
}

/// The pairs of one blocking rule.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    pub(super) histogram: Histogram,
    /// Of each comparison, whether the rule leaves it open what holds of its pairs.
    pub(super) tells: Vec<bool>,
}

/// What there is to learn from.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Pairs drawn at random.
    pub(super) random: Histogram,
    /// Pairs of each blocking rule, the same pair maybe in several.
    pub(super) sights: Vec<Sight>,
    /// Pairs of all blocking rules, each once.
    pub(super) blocked: Histogram,
    /// How many pairs there are in all.
    pub(super) pairs: f64,
}

impl Seen {
    /// Compares everybody whom it takes to learn what `matching` does not give.
    pub(super) fn of(
        matching: &Matching,
        blocks: &Blocks,
        comparer: &mut Comparer<'_>,
        people: usize,
    ) -> Self {
        let levels = || matching.comparisons.iter().flat_map(|comparison| &comparison.levels);
        let people = people as u64;
        let mut seen = Self { pairs: float(people * people.saturating_sub(1) / 2), ..Self::default() };
        if levels().any(|level| level.u.is_none()) {
            seen.random = random(matching.seed, people, comparer);
        }
        let to_maximise = levels().any(|level| level.m.is_none());
        if !to_maximise && matching.prior.is_some() {
            return seen;
        }
        let mut blocked = Tally::default();
        for rule in 0..blocks.rules() {
            let mut tally = Tally::default();
            blocks.pairs(rule, |a, b| {
                let first = blocks.is_first(rule, a, b);
                if to_maximise || first {
                    let pattern = comparer.pattern(a, b);
                    tally.add(pattern);
                    if first {
                        blocked.add(pattern);
                    }
                }
            });
            if to_maximise {
                let tells =
                    (0..matching.comparisons.len()).map(|comparison| matching.tells(rule, comparison));
                seen.sights.push(Sight { histogram: tally.histogram(), tells: tells.collect() });
            }
        }
        seen.blocked = blocked.histogram();
        seen
    }
}

/// A histogram in the making.
#[derive(Default)]
struct Tally(FxHashMap<Pattern, u64>);

impl Tally {
    fn add(&mut self, pattern: Pattern) {
        *self.0.entry(pattern).or_default() += 1;
    }

    /// Sorted, so that sums of floats are the same at every run.
    fn histogram(self) -> Histogram {
        let mut counts: Vec<(Pattern, u64)> = self.0.into_iter().collect();
        counts.sort_unstable();
        counts.into_iter().map(|(pattern, count)| (pattern, float(count))).collect()
    }
}

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014): the same numbers
/// on every machine.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// A number below `n`.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }
}

/// What holds of pairs drawn at random.
fn random(seed: u64, people: u64, comparer: &mut Comparer<'_>) -> Histogram {
    let person = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let mut tally = Tally::default();
    if people * people.saturating_sub(1) / 2 <= SAMPLE {
        for b in 0..people {
            for a in 0..b {
                tally.add(comparer.pattern(person(a), person(b)));
            }
        }
    } else {
        let mut dice = Dice(seed);
        for _ in 0..SAMPLE {
            let a = dice.below(people);
            // Anybody but the first.
            let b = (a + 1 + dice.below(people - 1)) % people;
            tally.add(comparer.pattern(person(a), person(b)));
        }
    }
    tally.histogram()
}

/// The probabilities of a model: those that it gives, and the others learnt. Whether they came to stand still.
pub(super) fn learn(matching: &Matching, seen: &Seen) -> (Chances, bool) {
    let mut chances = start(matching);
    if seen.random.is_empty() && seen.sights.is_empty() && matching.prior.is_some() {
        return (chances, true);
    }
    for _ in 0..PASSES {
        let before = chances.clone();
        draw(matching, &seen.random, &mut chances);
        let still = maximise(matching, &seen.sights, &mut chances);
        if matching.prior.is_none() {
            chances.prior = prior(&seen.blocked, seen.pairs, &chances);
        }
        if still && moved(&before, &chances) < STILL {
            return (chances, true);
        }
    }
    (chances, false)
}

/// The given probabilities, and guesses where none are given: that close levels are more probable among the
/// profiles of one person, and the last one among those of different people.
fn start(matching: &Matching) -> Chances {
    let of = |levels: &[ComparisonLevel]| {
        let tests = levels.iter().filter(|level| level.test != Test::Else).count();
        let guess =
            |level: usize| Chance { m: 0.5_f64.powi(i32::try_from(level).unwrap_or(i32::MAX)), u: 0.5 };
        let mut chances: Vec<Chance> = (0..=tests).map(guess).collect();
        let all: f64 = chances.iter().map(|chance| chance.m).sum();
        for (index, chance) in chances.iter_mut().enumerate() {
            let given = levels.get(index);
            chance.m = given.and_then(|level| level.m).unwrap_or(chance.m / all);
            chance.u = given.and_then(|level| level.u).unwrap_or(chance.u);
        }
        chances
    };
    let levels = matching.comparisons.iter().map(|comparison| of(&comparison.levels)).collect();
    Chances { levels, prior: matching.prior.unwrap_or(0.0) }
}

/// Sets each `u` that is not given to the share of the random pairs, each counted by how probably it is of different
/// people: in a small set, most of the pairs that agree are not.
fn draw(matching: &Matching, random: &Histogram, chances: &mut Chances) {
    if random.is_empty() {
        return;
    }
    let everything = vec![true; chances.levels.len()];
    let mut shares = Shares::new(chances);
    for (pattern, count) in random {
        shares.add(
            *pattern,
            count * (1.0 - chances.probability(*pattern, chances.prior, &everything)),
            &everything,
        );
    }
    for (index, comparison) in matching.comparisons.iter().enumerate() {
        if comparison.levels.iter().all(|level| level.u.is_none()) {
            for (chance, share) in chances.levels[index].iter_mut().zip(shares.of(index)) {
                chance.u = share;
            }
        }
    }
}

/// Sets each `m` that is not given to the share of the blocked pairs, each counted by how probably it is of one
/// person, until that stands still. All rules share the `m`; each has a prior of its own.
fn maximise(matching: &Matching, sights: &[Sight], chances: &mut Chances) -> bool {
    let mut priors = vec![0.5; sights.len()];
    for _ in 0..ROUNDS {
        let mut shares = Shares::new(chances);
        let mut moved = 0.0_f64;
        for (sight, prior) in sights.iter().zip(&mut priors) {
            let (mut of_one, mut of_all) = (0.0, 0.0);
            for (pattern, count) in &sight.histogram {
                let probable = count * chances.probability(*pattern, *prior, &sight.tells);
                shares.add(*pattern, probable, &sight.tells);
                of_one += probable;
                of_all += count;
            }
            if of_all > 0.0 {
                let share = (of_one + 0.5) / (of_all + 1.0);
                moved = moved.max((share - *prior).abs());
                *prior = share;
            }
        }
        for (index, comparison) in matching.comparisons.iter().enumerate() {
            if comparison.levels.iter().all(|level| level.m.is_none()) && shares.any(index) {
                for (chance, share) in chances.levels[index].iter_mut().zip(shares.of(index)) {
                    moved = moved.max((chance.m - share).abs());
                    chance.m = share;
                }
            }
        }
        if moved < STILL {
            return true;
        }
    }
    false
}

/// The probability that two people drawn at random are one: of those who are, blocking finds nearly all.
fn prior(blocked: &Histogram, pairs: f64, chances: &Chances) -> f64 {
    let everything = vec![true; chances.levels.len()];
    let least = 0.5 / (pairs + 1.0);
    let mut prior = (1e-4_f64).max(least);
    for _ in 0..ROUNDS {
        let probable =
            |(pattern, count): &(Pattern, f64)| count * chances.probability(*pattern, prior, &everything);
        let of_one: f64 = blocked.iter().map(probable).sum();
        let share = ((of_one + 0.5) / (pairs + 1.0)).clamp(least, 0.5);
        let moved = (share / prior - 1.0).abs();
        prior = share;
        if moved < STILL {
            break;
        }
    }
    prior
}

impl Chances {
    /// The probability that a pair of this pattern is one person, by the comparisons that tell.
    fn probability(&self, pattern: Pattern, prior: f64, tells: &[bool]) -> f64 {
        let (mut of_one, mut of_others) = (prior, 1.0 - prior);
        for (index, levels) in self.levels.iter().enumerate().filter(|(index, _)| tells[*index]) {
            if let Some(chance) = levels.get(pattern.level(index)) {
                of_one *= chance.m;
                of_others *= chance.u;
            }
        }
        if of_one > 0.0 { of_one / (of_one + of_others) } else { 0.0 }
    }
}

/// How the levels of each comparison share the pairs in which there is something to compare.
struct Shares(Vec<Vec<f64>>);

impl Shares {
    fn new(chances: &Chances) -> Self {
        Self(chances.levels.iter().map(|levels| vec![0.0; levels.len()]).collect())
    }

    fn add(&mut self, pattern: Pattern, count: f64, tells: &[bool]) {
        for (index, counts) in self.0.iter_mut().enumerate().filter(|(index, _)| tells[*index]) {
            let level = pattern.level(index);
            if level != MISSING {
                counts[level] += count;
            }
        }
    }

    fn any(&self, comparison: usize) -> bool {
        self.0[comparison].iter().any(|count| *count > 0.0)
    }

    /// The shares of a comparison's levels. Half a pair is added to each, so that what was never seen is not
    /// impossible (Krichevsky and Trofimov, *The performance of universal encoding*, 1981).
    fn of(&self, comparison: usize) -> impl Iterator<Item = f64> {
        let counts = &self.0[comparison];
        let all: f64 = counts.iter().map(|count| count + 0.5).sum();
        counts.iter().map(move |count| (count + 0.5) / all)
    }
}

/// By how much the probability that moved most has moved; of small ones, the part of it.
fn moved(before: &Chances, after: &Chances) -> f64 {
    let levels = before.levels.iter().flatten().zip(after.levels.iter().flatten());
    let moved = levels.map(|(a, b)| (a.m - b.m).abs().max((a.u - b.u).abs()));
    moved.fold((before.prior - after.prior).abs() / after.prior.max(f64::MIN_POSITIVE), f64::max)
}

/// A count as a float.
#[expect(clippy::cast_precision_loss, reason = "counts of pairs become shares")]
fn float(count: u64) -> f64 {
    count as f64
}

/// The model with every probability filled in.
pub(super) fn filled(matching: &Matching, chances: &Chances) -> Matching {
    let mut filled = matching.clone();
    filled.prior = Some(chances.prior);
    for (comparison, levels) in filled.comparisons.iter_mut().zip(&chances.levels) {
        if comparison.levels.len() < levels.len() {
            comparison.levels.push(ComparisonLevel::otherwise());
        }
        for (level, chance) in comparison.levels.iter_mut().zip(levels) {
            (level.m, level.u) = (Some(chance.m), Some(chance.u));
        }
    }
    filled
}
