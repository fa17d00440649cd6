//! Keyed hashes: what can be recognised when it comes again, and not be read.

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use crate::id::Identifier;

/// The length of a block of SHA-256 in bytes.
const BLOCK: usize = 64;

/// A keyed hash.
pub(crate) type Hash = [u8; 32];

/// A key, ready to be used.
///
/// HMAC-SHA-256 (RFC 2104, FIPS 198-1): both halves begin with a block that depends on the key alone, so it is hashed
/// once.
#[derive(Clone)]
pub(crate) struct Key {
    inner: Sha256,
    outer: Sha256,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

impl Key {
    /// A key of any length.
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut block = [0; BLOCK];
        if key.len() > BLOCK {
            let digest = Sha256::digest(key);
            block[..digest.len()].copy_from_slice(&digest);
        } else {
            block[..key.len()].copy_from_slice(key);
        }
        let begun = |pad: u8| Sha256::new_with_prefix(block.map(|byte| byte ^ pad));
        Self { inner: begun(0x36), outer: begun(0x5C) }
    }

    /// The hash of parts, which are told apart by their number only.
    fn hash(&self, parts: &[&[u8]]) -> Hash {
        let mut inner = self.inner.clone();
        for part in parts {
            inner.update(part);
        }
        self.outer.clone().chain_update(inner.finalize()).finalize().into()
    }

    /// The hash of an identifier as rules spell it.
    pub(crate) fn identifier(&self, identifier: &Identifier) -> Hash {
        let (namespace, value) = (identifier.namespace().as_str(), identifier.value());
        let length = (namespace.len() as u64).to_be_bytes();
        self.hash(&[b"identifier\0", &length, namespace.as_bytes(), value.as_bytes()])
    }

    /// The hash of a message id.
    pub(crate) fn message_id(&self, message_id: &str) -> Hash {
        self.hash(&[b"message\0", message_id.as_bytes()])
    }

    /// The hash of a text that may hold personal values: of a definition, or of rules.
    pub(crate) fn text(&self, text: &str) -> Hash {
        self.hash(&[b"text\0", text.as_bytes()])
    }

    /// What a file keeps of a key that is not in it, to know the key again.
    pub(crate) fn mark(&self) -> Hash {
        self.hash(&[b"key\0"])
    }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of RFC 4231, cases 1, 2, 3, 6 and 7: keys shorter than a block, as long as a digest, and longer than a block.
    #[test]
    fn hashes_are_those_of_the_rfc() {
        let long = [0xAA; 131];
        let text = b"This is a test using a larger than block-size key and a larger than block-size data. \
            The key needs to be hashed before being used by the HMAC algorithm.";
        let cases: [(&[u8], &[u8], &str); 5] = [
            (&[0x0B; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            (
                b"Jefe",
                b"what do ya want for nothing?",
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
            (&[0xAA; 20], &[0xDD; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
            (
                &long,
                b"Test Using Larger Than Block-Size Key - Hash Key First",
                "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            ),
            (&long, text, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"),
        ];
        for (key, data, expected) in cases {
            assert_eq!(hex(&Key::new(key).hash(&[data])), expected);
            let (a, b) = data.split_at(3);
            assert_eq!(hex(&Key::new(key).hash(&[a, b])), expected);
        }
    }

    #[test]
    fn what_is_hashed_is_told_apart() {
        let key = Key::new(b"key");
        let id = |namespace: &str, value: &str| key.identifier(&Identifier::new(namespace, value));
        assert_eq!(id("email", "a@x.io"), id("email", "a@x.io"));
        assert_ne!(id("user_id", "a"), id("anonymous_id", "a"));
        assert_ne!(id("user_id", "a"), key.message_id("a"));
        assert_ne!(key.text("a"), key.message_id("a"));
        assert_ne!(id("user_id", "a"), Key::new(b"other").identifier(&Identifier::new("user_id", "a")));
        assert_eq!(format!("{key:?}"), "Key");
    }
}
