//! Counting how many events lie between instants, without having their times.
//!
//! The numbers of a column of times stay what they are: the instants are told as such numbers, once for each unit that times
//! are divided by. All time is cut into stretches of 2 to the power of some microseconds, milliseconds or seconds, of which
//! none has more than one of the instants inside: a look at the stretch, and whether a number is below that instant, is all
//! that it takes to know between which of them it lies.

use super::block::{SIGN, UNITS};
use super::pack::Numbers;

/// So many stretches, and so many counts, there is room for: so few that they stay in the nearest cache of a core, and in debug
/// builds so few that tests have more.
const ROOM: usize = if cfg!(debug_assertions) { 1 << 5 } else { 1 << 9 };

/// What counts events between instants, by what their times may be divided by.
#[derive(Debug)]
pub(super) struct Gauge {
    scales: [Option<Scale>; UNITS.len()],
}

impl Gauge {
    /// One for events of a range, between instants that follow each other.
    pub(super) fn new(edges: &[i64], range: (i64, i64)) -> Self {
        Self { scales: UNITS.map(|unit| Scale::new(edges, range, unit)) }
    }

    /// That for times that are divided by a unit. `None` if there are too many instants, or not even two, or if some are so
    /// close to each other that it takes too many stretches.
    pub(super) fn scale(&self, unit: i64) -> Option<&Scale> {
        let place = UNITS.iter().position(|other| *other == unit)?;
        self.scales[place].as_ref()
    }
}

/// A stretch of time, which reaches beyond one of the instants at most.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    /// Between which instants it begins.
    cell: usize,
    /// How far above the first instant the next one is.
    next: u64,
}

/// The instants as numbers of columns of times that are divided by a unit.
#[derive(Debug)]
pub(super) struct Scale {
    /// The first instant.
    base: u64,
    /// The first number that is in the range, and how many are.
    from: u64,
    span: u64,
    shift: u32,
    /// The last is that of what is out of range.
    stretches: Box<[Stretch; ROOM]>,
    /// Between how many instants it is counted.
    cells: usize,
}

/// The number in a column of times of the first instant that is not before this one.
fn number(at: i64, unit: i64) -> u64 {
    let ceil = at.div_euclid(unit) + i64::from(at.rem_euclid(unit) > 0);
    ceil.cast_unsigned() ^ SIGN
}

impl Scale {
    fn new(edges: &[i64], (from, until): (i64, i64), unit: i64) -> Option<Self> {
        let numbers: Vec<u64> = edges.iter().map(|edge| number(*edge, unit)).collect();
        // What is out of range is counted behind them, in one of two places.
        let cells = numbers.len().checked_sub(1).filter(|cells| cells + 2 <= ROOM)?;
        let (base, end) = (*numbers.first()?, *numbers.last()?);
        let least = numbers.windows(2).map(|edges| edges[1].saturating_sub(edges[0])).min()?;
        let shift = least.checked_ilog2()?;
        let many = usize::try_from((end - base - 1) >> shift).ok()? + 1;
        if many >= ROOM {
            return None;
        }
        let mut stretches = Box::new([Stretch { cell: cells, next: u64::MAX }; ROOM]);
        let mut cell = 0;
        for (place, stretch) in (0_u64..).zip(&mut stretches[..many]) {
            while numbers[cell + 1] - base <= place << shift {
                cell += 1;
            }
            *stretch = Stretch { cell, next: numbers[cell + 1] - base };
        }
        let from = number(from, unit).max(base);
        let span = number(until, unit).min(end).saturating_sub(from);
        Some(Self { base, from, span, shift, stretches, cells })
    }

    /// Counts the first numbers of a column of times.
    pub(super) fn count<'c>(&self, times: &Numbers<'_>, many: usize, counts: &'c mut Counts) -> &'c [u32] {
        let Counts(counts) = counts;
        // What is out of range is counted too, and not looked at.
        counts[..self.cells + 2].fill(0);
        let reader = self.reader(times);
        if let Some(cell) = reader.only_cell(times, self.cells) {
            counts[cell] = u32::try_from(many).unwrap_or(u32::MAX);
        } else {
            times.above(0..many, |_, above| counts[reader.cell(above) % ROOM] += 1);
        }
        &counts[..self.cells]
    }

    fn reader(&self, times: &Numbers<'_>) -> Reader<'_> {
        let (base, from) = (times.least().wrapping_sub(self.base), times.least().wrapping_sub(self.from));
        Reader { base, from, span: self.span, shift: self.shift, stretches: &self.stretches }
    }
}

/// A scale at hand for a column.
#[derive(Debug, Clone, Copy)]
struct Reader<'s> {
    /// How far the least number of the column is above the first instant, and above the first number that is in the range.
    base: u64,
    from: u64,
    span: u64,
    shift: u32,
    stretches: &'s [Stretch; ROOM],
}

impl Reader<'_> {
    /// Between which instants a number is that is so far above the least of the column: behind all of them if it is out of
    /// range.
    #[inline]
    fn cell(&self, above: u64) -> usize {
        let since = self.base.wrapping_add(above);
        let is_inside = self.from.wrapping_add(above) < self.span;
        let stretch = if is_inside { since >> self.shift } else { u64::MAX };
        let stretch = &self.stretches[usize::try_from(stretch).unwrap_or(usize::MAX) % ROOM];
        stretch.cell + usize::from(stretch.next <= since)
    }

    /// Between which instants all numbers of the column are, if they cannot but be between the same.
    fn only_cell(&self, times: &Numbers<'_>, cells: usize) -> Option<usize> {
        let (first, last) = (self.cell(0), self.cell(times.reach()?));
        (first == last && first < cells).then_some(first)
    }
}

/// How many there are between instants; kept for its space.
#[derive(Debug)]
pub(super) struct Counts(Box<[u32; ROOM]>);

impl Default for Counts {
    fn default() -> Self {
        Self(Box::new([0; ROOM]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pack::{Column, write};
    use super::*;

    const SECOND: i64 = 1_000_000;

    /// Instants, and times around them, in a unit.
    fn instants() -> impl Strategy<Value = (i64, Vec<i64>, Vec<i64>)> {
        let first = prop_oneof![Just(i64::MIN), -5_000_000..5_000_000_i64, Just(i64::MAX - 90_000_000_000)];
        let length = prop_oneof![1..9_i64, 999_000..1_001_000_i64, 2_000_000..9_000_000_i64];
        let all = (first, length, prop::collection::vec(0..4_i64, 0..40), prop::sample::select(&UNITS[..]));
        all.prop_flat_map(|(first, length, more, unit)| {
            let mut edges = vec![first];
            for some in more {
                edges.push(edges[edges.len() - 1] + length + some * length / 4);
            }
            let beside = prop_oneof![-2..3_i64, -9_000_000..9_000_000_i64];
            let time = (prop::sample::select(edges.clone()), beside, any::<bool>());
            let time = time.prop_map(move |(edge, beside, by_unit)| {
                edge.saturating_add(if by_unit { beside.saturating_mul(unit) } else { beside }) / unit * unit
            });
            (Just(unit), Just(edges), prop::collection::vec(time, 0..40))
        })
    }

    proptest! {
        #[test]
        fn as_many_are_counted_as_lie_between_instants(
            (unit, edges, times) in instants(),
            from in prop::option::of((any::<prop::sample::Index>(), -3..3_i64)),
            until in prop::option::of((any::<prop::sample::Index>(), -3..3_i64)),
            many in any::<prop::sample::Index>(),
        ) {
            let beside = |end: Option<(prop::sample::Index, i64)>| {
                end.map(|(edge, beside)| edges[edge.index(edges.len())].saturating_add(beside))
            };
            let range = (beside(from).unwrap_or(i64::MIN), beside(until).unwrap_or(i64::MAX));
            let gauge = Gauge::new(&edges, range);
            let Some(scale) = gauge.scale(unit) else {
                let are_far_apart = edges.windows(2).all(|edges| edges[1] - edges[0] >= 2_000_000);
                prop_assert!(!are_far_apart || edges.len() < 2 || edges.len() > ROOM / 4);
                return Ok(());
            };
            let many = many.index(times.len() + 1);
            let mut bytes = Vec::new();
            write(times.iter().map(|at| number(*at, unit)), &mut bytes);
            let column = Column::read(&bytes, &mut 0, times.len()).unwrap();
            let is_inside = |at: &&i64| **at >= range.0 && **at < range.1;
            let own: Vec<i64> = times[..many].iter().filter(is_inside).copied().collect();
            let expected = edges.windows(2).map(|edges| own.iter().filter(|at| (edges[0]..edges[1]).contains(at)).count());
            let expected: Vec<u32> = expected.map(|count| u32::try_from(count).unwrap()).collect();
            let mut counts = Counts(Box::new([7; ROOM]));
            prop_assert_eq!(scale.count(&column.of(&bytes), many, &mut counts), expected);
        }
    }

    /// Whatever the bits of a column might hold lies between the same instants: none has to be looked at.
    #[test]
    fn a_column_that_lies_between_two_instants_is_counted_as_a_whole() {
        let gauge = Gauge::new(&[0, 100, 200].map(|at| at * SECOND), (i64::MIN, 190 * SECOND));
        for (times, expected) in
            [([100, 131], [0, 2]), ([99, 130], [1, 1]), ([163, 190], [0, 1]), ([-2, 200], [0, 0])]
        {
            let mut bytes = Vec::new();
            write(times.iter().map(|at| number(*at * SECOND, SECOND)), &mut bytes);
            let column = Column::read(&bytes, &mut 0, times.len()).unwrap();
            let (scale, mut counts) = (gauge.scale(SECOND).unwrap(), Counts::default());
            let whole = scale.reader(&column.of(&bytes)).only_cell(&column.of(&bytes), scale.cells);
            assert_eq!(whole, (times == [100, 131]).then_some(1));
            assert_eq!(scale.count(&column.of(&bytes), times.len(), &mut counts), expected);
        }
    }
}
