//! Numbers as bytes, the fewer the smaller they are.

/// Writes a number by seven bits a byte, the lowest first (LEB128).
#[expect(clippy::cast_possible_truncation, reason = "the number is cut on purpose")]
pub(super) fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number from the beginning of some bytes. `None` if there is none, or a larger one than 64 bits hold.
pub(super) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let part = u64::from(byte & 0x7F);
        if part << shift >> shift != part {
            return None;
        }
        number |= part << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// A number with its sign in the lowest bit, so that those near zero are small.
pub(super) fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63).cast_unsigned()
}

/// What [`zigzag`] was made of.
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_read_as_they_were_written(numbers in prop::collection::vec(any::<i64>(), 0..5), shift in 0..64) {
            let numbers: Vec<i64> = numbers.into_iter().map(|number| number >> shift).collect();
            let mut bytes = Vec::new();
            for number in &numbers {
                varint(zigzag(*number), &mut bytes);
            }
            let mut rest = bytes.as_slice();
            let read: Vec<i64> = numbers.iter().map(|_| unzigzag(take(&mut rest).unwrap())).collect();
            prop_assert_eq!(read, numbers);
            prop_assert_eq!(take(&mut rest), None);
        }
    }

    #[test]
    fn what_is_cut_short_or_too_large_is_no_number() {
        assert_eq!(take(&mut [0x80].as_slice()), None);
        assert_eq!(take(&mut [[0xFF; 9].as_slice(), &[0x02]].concat().as_slice()), None);
        assert_eq!(take(&mut [[0xFF; 9].as_slice(), &[0x01]].concat().as_slice()), Some(u64::MAX));
    }
}
