//! Which message ids the log has: a Bloom filter that nearly always says no where the answer is no, and sorted hashes that
//! lead to the events whose id to compare. No answer rests on a hash alone.
//!
//! The hash is the first 64 bits of SHA-256, so nobody can make ids that meet on purpose. Of them 40 are kept beside the
//! number of the event: 9 bytes an event, sorted, in buckets by the highest bits.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

/// A message id with its hash, which is made where there is time for it.
#[derive(Debug, Clone)]
pub(crate) struct MessageId<'e> {
    text: Cow<'e, str>,
    hash: u64,
    /// The layout in which no seal has its hash.
    unsealed: Option<i64>,
}

impl<'e> MessageId<'e> {
    pub(crate) fn new(text: impl Into<Cow<'e, str>>) -> Self {
        let text = text.into();
        Self { hash: hash(&text), text, unsealed: None }
    }

    /// The message id of that text, whose hash was made before.
    pub(crate) fn hashed(text: Cow<'e, str>, hash: u64) -> Self {
        debug_assert_eq!(hash, self::hash(&text), "of another text");
        Self { text, hash, unsealed: None }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Notes that no seal of a layout has its hash.
    pub(super) fn note_unsealed(&mut self, layout: Option<i64>) {
        self.unsealed = layout;
    }

    /// Whether it is known that no seal of a layout has its hash.
    pub(super) fn is_unsealed(&self, layout: Option<i64>) -> bool {
        self.unsealed.is_some() && self.unsealed == layout
    }
}

/// The hash of a message id.
pub(super) fn hash(id: &str) -> u64 {
    let digest = Sha256::digest(id.as_bytes());
    digest.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
}

/// An id and its event: the highest [`KEPT`] bits of the hash, and the number.
pub(super) type Id = (u64, u32);

/// How many bits of a hash are kept.
const KEPT: u32 = 40;

/// The bytes of an id in a bucket.
const BYTES: usize = 9;

/// About as many ids are a bucket, so that hardly one is larger than a page of the file.
const BUCKET: u64 = 380;

/// What is kept of a hash.
pub(super) fn kept(hash: u64) -> u64 {
    hash >> (u64::BITS - KEPT)
}

/// How many buckets so many ids make.
pub(super) fn buckets(ids: usize) -> u64 {
    (ids as u64).div_ceil(BUCKET).clamp(1, 1 << MOST_BUCKETS)
}

/// No seal has more buckets than two to the power of this.
pub(super) const MOST_BUCKETS: u32 = 20;

/// The bucket of an id, of so many.
pub(super) fn bucket(kept: u64, buckets: u64) -> u64 {
    (kept * buckets) >> KEPT
}

/// Writes a bucket: of each id the bits that are kept (5 bytes), and its event (4), little-endian.
pub(super) fn write(ids: &[Id]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(ids.len() * BYTES);
    for (kept, event) in ids {
        bytes.extend(&kept.to_le_bytes()[..BYTES - 4]);
        bytes.extend(event.to_le_bytes());
    }
    bytes
}

/// Reads a bucket. `None` if it is not made so.
pub(super) fn read(bytes: &[u8]) -> Option<impl ExactSizeIterator<Item = Id> + Clone> {
    let (ids, rest) = bytes.as_chunks::<BYTES>();
    let id = |id: &[u8; BYTES]| {
        let mut kept = [0; 8];
        kept[..BYTES - 4].copy_from_slice(&id[..BYTES - 4]);
        let event = id.last_chunk().copied().unwrap_or_default();
        (u64::from_le_bytes(kept), u32::from_le_bytes(event))
    };
    rest.is_empty().then(|| ids.iter().map(id))
}

/// A Bloom filter in lines of 512 bits (Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom filters, WEA
/// 2007): an id has all of its bits in one line, so a look costs one miss of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bloom {
    lines: Vec<[u64; 8]>,
}

impl Bloom {
    /// Bits for an id. With six of them set, about one look in a hundred is in vain.
    const BITS: usize = 12;
    const SET: u32 = 6;

    /// An empty filter for so many ids.
    pub(super) fn new(ids: usize) -> Self {
        Self { lines: vec![[0; 8]; (ids * Self::BITS).div_ceil(512).max(1)] }
    }

    pub(super) fn add(&mut self, kept: u64) {
        let line = self.line(kept);
        for bit in bits(kept) {
            self.lines[line][bit / 64] |= 1 << (bit % 64);
        }
    }

    /// Whether an id may be there; if not, it is not.
    pub(super) fn may_have(&self, kept: u64) -> bool {
        let line = &self.lines[self.line(kept)];
        bits(kept).all(|bit| line[bit / 64] >> (bit % 64) & 1 == 1)
    }

    /// The line of an id, by the highest bits of its hash.
    fn line(&self, kept: u64) -> usize {
        ((u128::from(kept) * self.lines.len() as u128) >> KEPT) as usize
    }

    /// The filter as bytes, its words little-endian.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.lines.iter().flatten().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Reads a filter. `None` if it is not made so.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let (lines, more) = words.as_chunks::<8>();
        let line = |line: &[[u8; 8]; 8]| line.map(u64::from_le_bytes);
        (rest.is_empty() && more.is_empty() && !lines.is_empty())
            .then(|| Self { lines: lines.iter().map(line).collect() })
    }
}

/// The bits of an id within its line, nine bits of a product for each (Knuth's multiplicative hashing), as the lower bits of
/// the hash alone are too few.
fn bits(kept: u64) -> impl Iterator<Item = usize> {
    let mixed = kept.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (0..Bloom::SET).map(move |bit| (mixed >> (10 + 9 * bit) & 511) as usize)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_written_is_read(ids in prop::collection::vec((0..1_u64 << KEPT, any::<u32>()), 0..50)) {
            prop_assert_eq!(read(&write(&ids)).unwrap().collect::<Vec<_>>(), ids);
        }

        #[test]
        fn buckets_keep_the_order_of_ids(mut hashes in prop::collection::vec(any::<u64>(), 1..50), of in 1..1_u64 << MOST_BUCKETS) {
            hashes.sort_unstable();
            let buckets: Vec<u64> = hashes.iter().map(|hash| bucket(kept(*hash), of)).collect();
            prop_assert!(buckets.is_sorted());
            prop_assert!(buckets.iter().all(|bucket| *bucket < of));
        }

        #[test]
        fn a_filter_has_whatever_was_added(hashes in prop::collection::vec(0..1_u64 << KEPT, 0..300)) {
            let mut bloom = Bloom::new(hashes.len());
            for hash in &hashes {
                bloom.add(*hash);
            }
            prop_assert!(hashes.iter().all(|hash| bloom.may_have(*hash)));
            prop_assert_eq!(Bloom::read(&bloom.bytes()), Some(bloom));
        }
    }

    #[test]
    fn a_filter_seldom_says_yes_in_vain() {
        let id = |number: u32| kept(hash(&format!("message-{number}")));
        let mut bloom = Bloom::new(100_000);
        (0..100_000).for_each(|number| bloom.add(id(number)));
        let vain = (100_000..200_000).filter(|number| bloom.may_have(id(*number))).count();
        assert!(vain < 2_000, "{vain} of 100,000");
        assert!(vain > 0, "a filter without any would be a wonder");
    }

    #[test]
    fn bytes_that_are_no_filter_and_no_bucket_are_told() {
        assert_eq!(Bloom::read(&[]), None);
        assert_eq!(Bloom::read(&[0; 65]), None);
        assert!(read(&[0; 10]).is_none());
    }
}
