//! How a database is opened.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::cdp::{Cdp, Durability, Settings, restore};
use crate::clock::{Clock, Span, Zone};
use crate::error::Result;
use crate::identity::Rules;
use crate::privacy::{Key, Restored};
#[cfg(feature = "sqlcipher")]
use crate::store::Cipher;
use crate::store::{Place, create, find};

/// Opens a database with other settings than the default ones.
///
/// ```no_run
/// use customerdb::{Cdp, Durability, Rules};
///
/// let cdp = Cdp::builder()
///     .durability(Durability::Normal)
///     .rules(Rules::default().limit("email", Some(2)))
///     .max_file_bytes(10 << 30)
///     .open("customers.db")?;
/// # Ok::<(), customerdb::Error>(())
/// ```
#[must_use]
#[derive(Default)]
pub struct CdpBuilder {
    settings: Settings,
}

impl fmt::Debug for CdpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl CdpBuilder {
    /// Takes "now" from this clock. Default: [`SystemClock`](crate::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = Arc::new(clock);
        self
    }

    /// Lets days, weeks and months begin as they do in that time zone: in answers, and in conditions that ask for birthdays
    /// or for periods of days and weeks. Spans (`within`, `days_since_last`) are days of 24 hours wherever one is. Default:
    /// UTC.
    ///
    /// A file may be opened with another zone than before: segments that depend on a calendar are settled anew at the next
    /// commit, and readers have them right before that.
    ///
    /// ```
    /// use customerdb::Cdp;
    ///
    /// let cdp = Cdp::builder().zone("Asia/Shanghai".parse()?).in_memory()?;
    /// assert_eq!(cdp.zone().to_string(), "Asia/Shanghai");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn zone(mut self, zone: Zone) -> Self {
        self.settings.zone = zone;
        self
    }

    /// Sets what a commit outlives. Default: [`Durability::Full`].
    pub fn durability(mut self, durability: Durability) -> Self {
        self.settings.durability = durability;
        self
    }

    /// Puts these rules of identity in force. If the file has others, all its events are replayed at opening.
    /// Default: the rules that the file has, or [`Rules::default`] for a new one.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.settings.rules = Some(rules);
        self
    }

    /// Refuses events whose JSON takes more bytes. Default: 1 MiB.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.settings.limits.max_bytes = bytes;
        self
    }

    /// Refuses events whose time is further ahead of the clock, `None` for none. Default: 24 hours.
    pub fn max_ahead(mut self, span: impl Into<Option<Span>>) -> Self {
        self.settings.limits.max_ahead = span.into();
        self
    }

    /// Lets the file grow up to that many bytes; beyond, a batch fails with [`Error::Full`](crate::Error::Full)
    /// and leaves everything as it was. Default: as far as the disk allows.
    pub fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_file_bytes = Some(bytes);
        self
    }

    /// How many events wait before they are sealed into columns, in the commit that brings the last of them. Those that
    /// wait are kept in memory as columns too, about 40 bytes each. Default: 65,536; at least 1.
    pub fn seal_every(mut self, events: usize) -> Self {
        self.settings.seal_every = events;
        self
    }

    /// How many bytes of columns are kept in memory once they were read; what does not fit is read again. The sealed ones
    /// take about 10 bytes an event, a property that a question has asked for about 8, a trait that was asked of everybody 12
    /// for each identifier that it was said of; to both come their different values. Default: 256 MiB.
    pub fn column_memory(mut self, bytes: usize) -> Self {
        self.settings.column_bytes = bytes;
        self
    }

    /// Makes all keyed hashes (HMAC-SHA-256) with this key, of any length, 32 random bytes at best: those of the suppression
    /// list, of the ids of events that were dropped, and of the audit log. Default: a random key that the file holds, so that
    /// whoever has the file can try out whether somebody is on the list.
    ///
    /// A file that was given a key wants it whenever it is opened for writing, and by a reader who asks for what is hashed.
    /// One that has hashes made with its own takes no other.
    ///
    /// ```
    /// use customerdb::Cdp;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("customers.db");
    /// let open = |key: &str| Cdp::builder().hash_key(key).open(&path);
    /// drop(open("a key from a safe place")?);
    /// assert_eq!(open("another").unwrap_err().kind(), "definition");
    /// assert!(Cdp::open(&path).is_err());
    /// assert!(open("a key from a safe place").is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn hash_key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.settings.key = Some(Key::new(key.as_ref()));
        self
    }

    /// Encrypts the file with this passphrase: a new one from the beginning, and one that was made so is opened by it. So are
    /// its write-ahead log and backups of it, and a backup is restored with the same. It is AES-256 in CBC mode with
    /// HMAC-SHA-512 for each page, under a key that PBKDF2 makes of the passphrase, which takes some tenths of a second for
    /// each connection ([SQLCipher's design](https://www.zetetic.net/sqlcipher/design/)). Only with the feature `sqlcipher`.
    /// Default: files are not encrypted, and a file that is not cannot be opened with a passphrase. Databases in memory are
    /// not encrypted.
    ///
    /// ```
    /// use customerdb::Cdp;
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("customers.db");
    /// let open = |passphrase: &str| Cdp::builder().passphrase(passphrase).open(&path);
    /// drop(open("correct horse battery staple")?);
    /// assert_eq!(open("another").unwrap_err().to_string(), "passphrase: wrong, or the file is not encrypted");
    /// assert_eq!(Cdp::open(&path).unwrap_err().kind(), "not_a_cdp_file");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "sqlcipher")]
    pub fn passphrase(mut self, passphrase: impl Into<String>) -> Self {
        self.settings.cipher = Cipher::new(passphrase.into());
        self
    }

    /// Opens a file for writing, a new one if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`](crate::Error::Locked) if it is open for writing elsewhere,
    /// [`Error::NotACdpFile`](crate::Error::NotACdpFile) or [`Error::NewerFormat`](crate::Error::NewerFormat) if it
    /// is not ours to write, [`Error::Io`](crate::Error::Io) if it cannot be reached.
    pub fn open(self, path: impl AsRef<Path>) -> Result<Cdp> {
        let (path, lock) = create(path.as_ref(), &self.settings.cipher)?;
        let place = Place::File(path, self.settings.cipher.clone());
        Cdp::start(self.settings, place, Some(lock))
    }

    /// Opens a file for reading only. It may be open for writing elsewhere, also in another process; every answer
    /// is of its latest commit.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) but for `Locked`; [`Error::Io`](crate::Error::Io) if there is no file.
    pub fn open_read_only(self, path: impl AsRef<Path>) -> Result<Cdp> {
        let place = Place::File(find(path.as_ref(), &self.settings.cipher)?, self.settings.cipher.clone());
        Cdp::start_reading(self.settings, place)
    }

    /// Puts a backup in the place of a file that nobody has open, and keeps out of it who was erased since.
    ///
    /// The file's suppression list takes the place of the backup's, and applies to everything in it: everybody whose
    /// identifiers are on it is erased from the copy before it takes the file's place, with identifiers that the backup links
    /// to theirs and the file does not know any more. So are events that retention rules have dropped since. Everything else
    /// is as it was when the backup was made: what came or was decided later is gone, withdrawals of consent among it. The
    /// backup itself stays as it is.
    ///
    /// If there is no file at `path`, nothing is known of who was erased since; then erase them again. A backup and a file
    /// belong together by the key of their hashes: [`hash_key`](Self::hash_key), or the file's own, which is copied with it.
    /// [`rules`](Self::rules) and [`max_file_bytes`](Self::max_file_bytes) have no effect here.
    ///
    /// It takes the time of a copy and of a check of the whole file, and of writing it anew if anybody was erased.
    /// What goes wrong, a crash too, leaves the file as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`](crate::Error::Locked) if the file is open for writing, [`Error::Busy`](crate::Error::Busy) if it is
    /// open for reading; [`Error::Definition`](crate::Error::Definition) if the backup is another file's;
    /// [`Error::Damaged`](crate::Error::Damaged) if the backup is not sound, or the file so damaged that its list cannot be
    /// read; or those of [`open`](Self::open).
    pub fn restore(self, backup: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Restored> {
        restore(self.settings, backup.as_ref(), path.as_ref())
    }

    /// Makes a database in memory, which is gone when the last handle to it is.
    ///
    /// # Errors
    ///
    /// If memory runs out.
    pub fn in_memory(self) -> Result<Cdp> {
        Cdp::start(self.settings, Place::Memory, None)
    }
}

impl Cdp {
    /// Opens a file for writing with the default settings, a new one if there is none.
    ///
    /// # Errors
    ///
    /// Those of [`CdpBuilder::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open(path)
    }

    /// Opens a file for reading only.
    ///
    /// # Errors
    ///
    /// Those of [`CdpBuilder::open_read_only`].
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().open_read_only(path)
    }

    /// Makes a database in memory, which is gone when the last handle to it is.
    ///
    /// # Errors
    ///
    /// Those of [`CdpBuilder::in_memory`].
    pub fn in_memory() -> Result<Self> {
        Self::builder().in_memory()
    }

    /// Opens a database with other settings than the default ones.
    pub fn builder() -> CdpBuilder {
        CdpBuilder::default()
    }
}
