//! The passphrase of an encrypted file.

use std::fmt;

use rusqlite::Connection;

use crate::error::Result;
#[cfg(feature = "sqlcipher")]
use crate::error::{DefinitionError, Error};

/// What opens an encrypted file, if it is one: without the feature `sqlcipher` no file is.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Cipher {
    #[cfg(feature = "sqlcipher")]
    passphrase: Option<String>,
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_given() { "encrypted" } else { "plain" })
    }
}

#[cfg(feature = "sqlcipher")]
impl Cipher {
    /// A file that this passphrase opens.
    pub(crate) fn new(passphrase: String) -> Self {
        Self { passphrase: Some(passphrase) }
    }

    /// Whether there is one.
    pub(super) fn is_given(&self) -> bool {
        self.passphrase.is_some()
    }

    /// Tells a connection the passphrase, before it reads anything.
    pub(super) fn unlock(&self, conn: &Connection) -> Result<()> {
        let Some(passphrase) = &self.passphrase else { return Ok(()) };
        if passphrase.is_empty() {
            return Err(DefinitionError::new("passphrase", "must not be empty").into());
        }
        // It would write to the standard error what becomes an error here.
        conn.execute_batch("PRAGMA cipher_log_level = NONE").map_err(Error::from_sqlite)?;
        // SQLCipher answers with a row.
        let told = conn.pragma_update_and_check(None, "key", passphrase, |_| Ok(()));
        told.map_err(Error::from_sqlite)
    }
}

#[cfg(not(feature = "sqlcipher"))]
#[expect(
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "there is no passphrase without the feature"
)]
impl Cipher {
    pub(super) fn is_given(&self) -> bool {
        false
    }

    pub(super) fn unlock(&self, _: &Connection) -> Result<()> {
        Ok(())
    }
}
