//! The chain of the audit log.

use sha2::{Digest, Sha256};

use super::hmac::Hash;
use crate::clock::Timestamp;

/// What stands for the hash before the first entry.
pub(crate) const NO_HASH: Hash = [0; 32];

/// The hash of an entry: SHA-256 over the hash before it, its number and its time (8 bytes each, big-endian), its action
/// and its details (each after its length in bytes, likewise). Who changes an entry would have to change all after it.
pub(crate) fn chained(before: &Hash, entry: i64, at: Timestamp, action: &str, details: &str) -> Hash {
    let mut hash = Sha256::new_with_prefix(before);
    hash.update(entry.to_be_bytes());
    hash.update(at.as_micros().to_be_bytes());
    for text in [action, details] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_differs_gives_another_hash() {
        let at = Timestamp::from_millis(7);
        let hash = chained(&NO_HASH, 1, at, "consent", "{}");
        assert_eq!(hash, chained(&NO_HASH, 1, at, "consent", "{}"));
        for other in [
            chained(&hash, 1, at, "consent", "{}"),
            chained(&NO_HASH, 2, at, "consent", "{}"),
            chained(&NO_HASH, 1, Timestamp::from_millis(8), "consent", "{}"),
            chained(&NO_HASH, 1, at, "consent{", "}"),
            chained(&NO_HASH, 1, at, "consent", "{ }"),
        ] {
            assert_ne!(hash, other);
        }
    }
}
