//! Whole numbers in as few bits as the widest of them needs: frame of reference, then bit-packing (Lemire, Boytsov:
//! Decoding billions of integers per second through vectorization, Software: Practice and Experience 45, 2015).
//!
//! A column is the least number (8 bytes), the bits of each (1 byte), and then of each number its distance from the
//! least, from the lowest bit on, filled up to whole bytes, and eight bytes of zeros, so that each can be read as one
//! word.

use std::ops::{Range, RangeInclusive};

/// What a column begins with.
const HEAD: usize = 9;

/// What follows the last number.
const PAD: usize = 8;

/// Where so many times as many lie between, numbers are read one by one.
const SPARSE: usize = 2;

/// Calls a function of the width of a column that the compiler knows, if it is a common one: reading takes half the time so.
macro_rules! by_width {
    ($width:expr, $of:ident => $known:expr, $else:expr) => {
        by_width!(
            $width, $of, $known, $else,
            1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37
            38 39 40 41 42 43 44 45 46 47 48
        )
    };
    ($width:expr, $of:ident, $known:expr, $else:expr, $($literal:literal)*) => {
        match $width {
            $($literal => {
                const $of: usize = $literal;
                $known
            })*
            _ => $else,
        }
    };
}

/// The widest number that one word holds wherever in a byte it begins. What is wider takes whole words.
const WIDEST: u32 = u64::BITS - 7;

/// Writes a column.
pub(super) fn write(numbers: impl Iterator<Item = u64> + Clone, out: &mut Vec<u8>) {
    let least = numbers.clone().min().unwrap_or(0);
    let most = numbers.clone().max().unwrap_or(0);
    let bits = u64::BITS - (most - least).leading_zeros();
    let width = if bits > WIDEST { u64::BITS } else { bits };
    out.extend(least.to_le_bytes());
    out.push(u8::try_from(width).unwrap_or(u8::MAX));
    let (mut word, mut filled) = (0_u128, 0);
    for number in numbers {
        word |= u128::from(number - least) << filled;
        filled += width;
        while filled >= u8::BITS {
            out.push((word & 0xFF) as u8);
            word >>= u8::BITS;
            filled -= u8::BITS;
        }
    }
    if filled > 0 {
        out.push((word & 0xFF) as u8);
    }
    out.extend([0; PAD]);
}

/// Where a column stands in a piece of bytes, and how it is to be read.
#[derive(Debug, Clone)]
pub(super) struct Column {
    least: u64,
    width: u32,
    bits: Range<usize>,
}

impl Column {
    /// The column of `count` numbers at the beginning of `rest`, which is moved behind it. `None` if it is not made so.
    pub(super) fn read(bytes: &[u8], rest: &mut usize, count: usize) -> Option<Self> {
        let head = bytes.get(*rest..rest.checked_add(HEAD)?)?;
        let least = u64::from_le_bytes(*head.first_chunk()?);
        let width = u32::from(head[HEAD - 1]);
        if width > WIDEST && width != u64::BITS {
            return None;
        }
        let len = count.checked_mul(width as usize)?.div_ceil(8).checked_add(PAD)?;
        let start = *rest + HEAD;
        *rest = start.checked_add(len)?;
        (*rest <= bytes.len()).then_some(Self { least, width, bits: start..*rest })
    }

    /// Whether `count` numbers in it can be all different.
    pub(super) fn can_tell_apart(&self, count: usize) -> bool {
        u32::try_from(count)
            .is_ok_and(|count| u32::BITS - count.saturating_sub(1).leading_zeros() <= self.width)
    }

    /// The numbers, of the bytes that the column was read from.
    pub(super) fn of<'b>(&self, bytes: &'b [u8]) -> Numbers<'b> {
        let mask = if self.width == 0 { 0 } else { u64::MAX >> (u64::BITS - self.width) };
        Numbers { least: self.least, width: self.width as usize, mask, bits: &bytes[self.bits.clone()] }
    }
}

/// The numbers of a column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers<'b> {
    least: u64,
    width: usize,
    mask: u64,
    bits: &'b [u8],
}

impl Numbers<'_> {
    /// Zeros without end.
    pub(super) const ZEROS: Self = Self { least: 0, width: 0, mask: 0, bits: &[] };

    /// One of them. What is beyond the last is some number.
    #[inline]
    pub(super) fn get(&self, place: usize) -> u64 {
        let bit = place * self.width;
        let word = self.bits.get(bit / 8..).and_then(|from| from.first_chunk()).copied().unwrap_or_default();
        self.least.wrapping_add(u64::from_le_bytes(word) >> (bit % 8) & self.mask)
    }

    /// What `map` makes of some of them, behind what `out` holds already.
    pub(super) fn read<T>(&self, places: Range<usize>, out: &mut Vec<T>, map: impl Fn(u64) -> T) {
        by_width!(self.width, WIDTH => self.read_groups::<WIDTH, T>(places, out, map), {
            out.extend(places.map(|place| map(self.get(place))));
        });
    }

    /// The same of numbers of `WIDTH` bits: eight of them begin and end with a byte.
    fn read_groups<const WIDTH: usize, T>(
        &self,
        places: Range<usize>,
        out: &mut Vec<T>,
        map: impl Fn(u64) -> T,
    ) {
        let groups = places.start.div_ceil(8)..places.end / 8;
        if groups.is_empty() {
            return out.extend(places.map(|place| map(self.get(place))));
        }
        out.extend((places.start..groups.start * 8).map(|place| map(self.get(place))));
        for group in groups.clone() {
            match self.group::<WIDTH, T>(group, |number| map(self.least.wrapping_add(number))) {
                Some(made) => out.extend(made),
                None => out.extend((group * 8..group * 8 + 8).map(|place| map(self.get(place)))),
            }
        }
        out.extend((groups.end * 8..places.end).map(|place| map(self.get(place))));
    }

    /// What `map` makes of how far eight numbers of `WIDTH` bits, which begin with a byte, are above the least. `None` at the
    /// end of the bytes.
    #[inline]
    fn group<const WIDTH: usize, T>(&self, group: usize, map: impl Fn(u64) -> T) -> Option<[T; 8]> {
        let from = group * WIDTH;
        let bytes = self.bits.get(from..from + WIDTH + PAD)?;
        Some(std::array::from_fn(|place| {
            let bit = place * WIDTH;
            let word: [u8; 8] = bytes[bit / 8..bit / 8 + 8].try_into().unwrap_or_default();
            map(u64::from_le_bytes(word) >> (bit % 8) & (u64::MAX >> (64 - WIDTH)))
        }))
    }

    /// Calls `each` with the places of some of them, in order, and how far above the least of the column each is.
    #[inline]
    pub(super) fn above(&self, places: Range<usize>, mut each: impl FnMut(usize, u64)) {
        let above = |place: usize| self.get(place).wrapping_sub(self.least);
        by_width!(self.width, WIDTH => {
            let groups = places.start.div_ceil(8)..(places.end / 8).max(places.start.div_ceil(8));
            let end = places.end.min(groups.start * 8);
            (places.start..end).for_each(|place| each(place, above(place)));
            for group in groups.clone() {
                match self.group::<WIDTH, u64>(group, |number| number) {
                    Some(numbers) => (group * 8..).zip(numbers).for_each(|(place, number)| each(place, number)),
                    None => (group * 8..group * 8 + 8).for_each(|place| each(place, above(place))),
                }
            }
            (end.max(groups.end * 8)..places.end).for_each(|place| each(place, above(place)));
        }, places.for_each(|place| each(place, above(place))));
    }

    /// The places of those that are neither below nor above these bounds, instead of what `out` held.
    pub(super) fn inside(&self, places: Range<usize>, bounds: RangeInclusive<u64>, out: &mut Vec<u32>) {
        out.clear();
        let (least, most) = (self.least.max(*bounds.start()), *bounds.end());
        if least > most {
            return;
        }
        // How far above the least of the column.
        let (from, span) = (least - self.least, most - least);
        let fits = |number: u64| number.wrapping_sub(from) <= span;
        out.resize(places.len(), 0);
        let mut many = 0;
        // All places are written, and those that fit stay: so a core need not guess.
        self.above(places, |place, number| {
            out[many] = u32::try_from(place).unwrap_or(u32::MAX);
            many += usize::from(fits(number));
        });
        out.truncate(many);
    }

    /// What `map` makes of those at some places, which are in order, behind what `out` holds already.
    pub(super) fn pick<T: Copy>(&self, places: &[u32], out: &mut Vec<T>, map: impl Fn(u64) -> T) {
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return };
        let all = *first as usize..*last as usize + 1;
        if places.len() * SPARSE < all.len() {
            let places = places.iter().map(|place| *place as usize);
            return by_width!(self.width, WIDTH => {
                out.extend(places.map(|place| map(Self { width: WIDTH, ..*self }.get(place))));
            }, out.extend(places.map(|place| map(self.get(place)))));
        }
        let before = out.len();
        self.read(all, out, map);
        for (kept, place) in (before..).zip(places) {
            out[kept] = out[before + (place - first) as usize];
        }
        out.truncate(before + places.len());
    }

    /// The number that all are told from.
    pub(super) fn least(&self) -> u64 {
        self.least
    }

    /// How far above the least one may be. `None` if that is beyond all numbers.
    pub(super) fn reach(&self) -> Option<u64> {
        self.least.checked_add(self.mask).map(|_| self.mask)
    }

    /// If all are the same number: that number.
    pub(super) fn only(&self) -> Option<u64> {
        (self.width == 0).then_some(self.least)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(
            shift in 0..64_u32,
            numbers in prop::collection::vec(any::<u64>(), 0..200),
            before in 0..5_usize,
            some in any::<(prop::sample::Index, prop::sample::Index)>(),
            bounds in any::<(u64, u64)>(),
        ) {
            let numbers: Vec<u64> = numbers.into_iter().map(|number| number >> shift).collect();
            let mut bytes = vec![7; before];
            write(numbers.iter().copied(), &mut bytes);
            let mut rest = before;
            let column = Column::read(&bytes, &mut rest, numbers.len()).unwrap();
            prop_assert_eq!(rest, bytes.len());
            let read: Vec<u64> = (0..numbers.len()).map(|place| column.of(&bytes).get(place)).collect();
            prop_assert_eq!(&read, &numbers);
            let (few, many): (Vec<u32>, Vec<u32>) =
                (0..).take(read.len()).partition(|place| place % 5 == 2);
            for places in [few, many] {
                let mut picked = vec![7];
                column.of(&bytes).pick(&places, &mut picked, |number| number);
                let expected: Vec<u64> = places.iter().map(|place| read[*place as usize]).collect();
                prop_assert_eq!(&picked[1..], &expected);
            }
            let (start, end) = (some.0.index(numbers.len() + 1), some.1.index(numbers.len() + 1));
            let mut together = vec![7];
            column.of(&bytes).read(start..end.max(start), &mut together, |number| number);
            prop_assert_eq!(&together[1..], &numbers[start..end.max(start)]);
            let mut above = Vec::new();
            column.of(&bytes).above(start..end.max(start), |place, above_least| above.push((place, above_least)));
            let least = numbers.iter().min().copied().unwrap_or_default();
            let expected: Vec<(usize, u64)> = (start..end).map(|place| (place, numbers[place] - least)).collect();
            prop_assert_eq!(above, expected);
            let reach = column.of(&bytes).reach();
            prop_assert!(numbers.iter().all(|number| reach.is_none_or(|reach| number - least <= reach)));
            let bounds = bounds.0 >> shift..=bounds.1 >> shift;
            let mut inside = vec![7];
            column.of(&bytes).inside(start..end.max(start), bounds.clone(), &mut inside);
            let expected = (start..end).filter(|place| bounds.contains(&numbers[*place]));
            prop_assert_eq!(inside, expected.map(|place| u32::try_from(place).unwrap()).collect::<Vec<_>>());
        }

        #[test]
        fn bytes_that_are_no_column_are_told_or_read_as_some_numbers(
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            count in 0..100_usize,
        ) {
            let mut rest = 0;
            if let Some(column) = Column::read(&bytes, &mut rest, count) {
                (0..=count).for_each(|place| {
                    column.of(&bytes).get(place);
                });
            }
        }
    }

    #[test]
    fn as_many_numbers_are_told_apart_as_their_bits_can_tell() {
        for (most, counts, too_many) in [(0, 0..2, 2), (1, 0..3, 3), (6, 0..9, 9), (255, 200..257, 257)] {
            let mut bytes = Vec::new();
            write([0, most].into_iter(), &mut bytes);
            let column = Column::read(&bytes, &mut 0, 2).unwrap();
            assert!(counts.into_iter().all(|count| column.can_tell_apart(count)), "{most}");
            assert!(!column.can_tell_apart(too_many), "{most}");
        }
    }

    #[test]
    fn numbers_that_are_all_the_same_take_no_bits() {
        let mut bytes = Vec::new();
        write([5; 1_000].into_iter(), &mut bytes);
        assert_eq!(bytes.len(), HEAD + PAD);
        let column = Column::read(&bytes, &mut 0, 1_000).unwrap();
        assert_eq!(column.of(&bytes).only(), Some(5));
        assert_eq!(column.of(&bytes).get(999), 5);
    }
}
