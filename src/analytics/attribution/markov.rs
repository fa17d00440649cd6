//! The removal effect of channels in a Markov chain of order 1.
//!
//! Paths are walks from a start through channels to a conversion or to nothing. The share of a channel is how many
//! conversions would be lost without it: those of walks that visit it and convert (E. Anderl, I. Becker, F. von
//! Wangenheim and J. H. Schumann, *Mapping the customer journey: Lessons learned from graph-based online attribution
//! modeling*, International Journal of Research in Marketing, 2016).
//!
//! It is computed exactly, by the fundamental matrix N = (I − Q)⁻¹ of the absorbing chain (J. G. Kemeny and J. L.
//! Snell, *Finite Markov Chains*, 1960, chapter 3): a walk from the start ever visits channel c with probability
//! N[start, c] / N[c, c], and converts from there with that of c, so that what is lost without c is their product.

use rustc_hash::FxHashMap;

/// Where walks are, apart from the channels by their numbers.
pub(super) const START: usize = usize::MAX;
pub(super) const CONVERSION: usize = usize::MAX - 1;
pub(super) const NOTHING: usize = usize::MAX - 2;

/// How often walks went from one place to another.
#[derive(Debug, Clone, Default)]
pub(super) struct Walks(FxHashMap<(usize, usize), u64>);

impl Walks {
    /// Adds the walk through these channels to its end.
    pub(super) fn add(&mut self, channels: impl Iterator<Item = usize>, end: usize) {
        let mut at = START;
        for next in channels.chain([end]) {
            *self.0.entry((at, next)).or_default() += 1;
            at = next;
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        other.0.into_iter().for_each(|(step, count)| *self.0.entry(step).or_default() += count);
    }

    /// How many conversions are lost without each of so many channels, as a share of all.
    #[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
    pub(super) fn removal_effects(&self, channels: usize) -> Vec<f64> {
        // The start is one more place, the last.
        let size = channels + 1;
        let row = |place: usize| if place == START { channels } else { place };
        let mut leaving = vec![0_u64; size];
        for ((from, to), count) in &self.0 {
            // Staying is no leaving: it changes nothing about where a walk gets to.
            leaving[row(*from)] += if from == to { 0 } else { *count };
        }
        let (mut chain, mut converts) = (Matrix::unit(size), vec![0.0; size]);
        for ((from, to), count) in self.0.iter().filter(|((from, to), _)| from != to) {
            let share = *count as f64 / leaving[row(*from)] as f64;
            match *to {
                CONVERSION => converts[row(*from)] = share,
                NOTHING => {}
                channel => *chain.at(row(*from), channel) -= share,
            }
        }
        let Some(fundamental) = chain.inverse() else { return vec![0.0; channels] };
        let mut reached = vec![0.0; size];
        for (place, reached) in reached.iter_mut().enumerate() {
            *reached = (0..size).map(|to| fundamental.get(place, to) * converts[to]).sum();
        }
        let all = reached[channels];
        let lost = |channel: usize| {
            let visits = fundamental.get(channels, channel) / fundamental.get(channel, channel);
            if all > 0.0 { visits * reached[channel] / all } else { 0.0 }
        };
        (0..channels).map(lost).collect()
    }
}

/// A square matrix.
struct Matrix {
    size: usize,
    cells: Vec<f64>,
}

impl Matrix {
    fn unit(size: usize) -> Self {
        let mut matrix = Self { size, cells: vec![0.0; size * size] };
        (0..size).for_each(|place| *matrix.at(place, place) = 1.0);
        matrix
    }

    fn at(&mut self, row: usize, column: usize) -> &mut f64 {
        &mut self.cells[row * self.size + column]
    }

    fn get(&self, row: usize, column: usize) -> f64 {
        self.cells[row * self.size + column]
    }

    /// The inverse by elimination (Gauss and Jordan) with the largest pivot; `None` if there is none.
    fn inverse(mut self) -> Option<Self> {
        let size = self.size;
        let mut inverse = Self::unit(size);
        for column in 0..size {
            let largest = (column..size)
                .max_by(|a, b| self.get(*a, column).abs().total_cmp(&self.get(*b, column).abs()))?;
            let pivot = self.get(largest, column);
            if pivot == 0.0 {
                return None;
            }
            for matrix in [&mut self, &mut inverse] {
                for place in 0..size {
                    matrix.cells.swap(column * size + place, largest * size + place);
                    *matrix.at(column, place) /= pivot;
                }
            }
            for row in (0..size).filter(|row| *row != column) {
                let factor = self.get(row, column);
                if factor != 0.0 {
                    for matrix in [&mut self, &mut inverse] {
                        for place in 0..size {
                            let taken = factor * matrix.get(column, place);
                            *matrix.at(row, place) -= taken;
                        }
                    }
                }
            }
        }
        Some(inverse)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition: of the chain with the channel's every visit made a loss, the share that converts, by
    /// following the chain until hardly any walk is left in it.
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    fn naive(walks: &Walks, channels: usize) -> Vec<f64> {
        let share = |removed: Option<usize>| {
            let mut out: FxHashMap<usize, f64> = FxHashMap::default();
            walks.0.iter().for_each(|((from, _), count)| *out.entry(*from).or_default() += *count as f64);
            let mut here: FxHashMap<usize, f64> = FxHashMap::from_iter([(START, 1.0)]);
            let mut converted = 0.0;
            while here.values().sum::<f64>() > 1e-13 {
                let mut next: FxHashMap<usize, f64> = FxHashMap::default();
                for ((from, to), count) in &walks.0 {
                    let moved = here.get(from).copied().unwrap_or(0.0) * *count as f64 / out[from];
                    match *to {
                        CONVERSION => converted += moved,
                        NOTHING => {}
                        to if Some(to) == removed => {}
                        to => *next.entry(to).or_default() += moved,
                    }
                }
                here = next;
            }
            converted
        };
        let all = share(None);
        (0..channels).map(|c| if all > 0.0 { 1.0 - share(Some(c)) / all } else { 0.0 }).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn removal_effects_are_those_of_the_chain_without_the_channel(
            paths in prop::collection::vec((prop::collection::vec(0_usize..5, 1..6), any::<bool>()), 1..30)
        ) {
            let mut walks = Walks::default();
            for (path, converts) in paths {
                walks.add(path.into_iter(), if converts { CONVERSION } else { NOTHING });
            }
            for (fast, slow) in walks.removal_effects(5).into_iter().zip(naive(&walks, 5)) {
                prop_assert!((fast - slow).abs() < 1e-9, "{fast} {slow}");
            }
        }
    }

    #[test]
    fn a_chain_worked_by_hand() {
        // Two walks 0 → 1 → conversion, one 0 → nothing, one 1 → conversion, one 1 → nothing.
        let mut walks = Walks::default();
        walks.add([0, 1].into_iter(), CONVERSION);
        walks.add([0, 1].into_iter(), CONVERSION);
        walks.add([0].into_iter(), NOTHING);
        walks.add([1].into_iter(), CONVERSION);
        walks.add([1].into_iter(), NOTHING);
        // From 1 three of four convert; from 0 two of three go to 1. All: 3/5 × 2/3 × 3/4 + 2/5 × 3/4 = 3/5.
        // Without 0: 2/5 × 3/4 = 3/10, half is lost. Without 1 all is lost.
        let effects = walks.removal_effects(2);
        assert!((effects[0] - 0.5).abs() < 1e-12 && (effects[1] - 1.0).abs() < 1e-12, "{effects:?}");
    }
}
