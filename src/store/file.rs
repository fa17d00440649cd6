//! Opening the file: whose it is, who may write, and how SQLite is set up to be trusted.

use std::cell::{Cell, RefCell};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags};

use super::Db;
use super::checkpoint::Checkpoints;
use super::cipher::Cipher;
use super::log::{Log, Shared};
use crate::error::{DefinitionError, Error, Result};

/// `CDP1` in ASCII: the mark of our files in SQLite's header.
const APPLICATION_ID: i32 = 0x4344_5031;

/// The schema, a file for each step from one format to the next.
const MIGRATIONS: [&str; 1] = [include_str!("schema/001.sql")];

/// How long a statement waits for another process that holds SQLite's lock for a moment.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// Statements kept compiled.
const STATEMENTS: usize = 128;

/// Where the database is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In a file, which may be encrypted.
    File(PathBuf, Cipher),
    /// In this process's memory. It has one connection, which is gone when the database is.
    Memory,
}

/// What a connection may do, and what it costs.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Access {
    /// Reads and writes. `full`: a commit returns when the disk has it. `pages`: the file's largest size.
    Write { full: bool, max_bytes: Option<u64> },
    /// Reads only.
    Read,
}

/// The right to write to a file, held by an advisory lock on an empty file beside it (`…-lock`), which the
/// operating system lets go of when the process ends, however it ends.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that is just being started holds a copy of it, and with it the
        // lock, until its program begins.
        let _ = self.file.unlock();
    }
}

impl FileLock {
    /// Takes the lock at once, or says who is in the way.
    pub(crate) fn take(path: &Path) -> Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push("-lock");
        let name = PathBuf::from(name);
        let io = |source| Error::Io { path: name.clone(), source };
        let file = private().create(true).truncate(false).open(&name).map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

/// Options for a file that only its owner may read.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Makes the file if it is not there (readable by its owner only), and takes the right to write to it. Gives the
/// file's one name, whatever links led to it and wherever the process goes later.
///
/// Another application's file is left as it is.
pub(crate) fn create(path: &Path, cipher: &Cipher) -> Result<(PathBuf, FileLock)> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    match path.metadata() {
        Ok(found) if !found.is_file() || found.len() > 0 => match Db::look(path, cipher) {
            // Whoever made it was stopped while doing so: opening it for writing takes that back, and looks again.
            Err(Error::ReadOnly) => {}
            looked => looked?,
        },
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            private().create(true).truncate(false).open(path).map_err(io)?;
        }
        Err(error) => return Err(io(error)),
    }
    let path = one_name(path)?;
    let lock = FileLock::take(&path)?;
    no_other_name(&path)?;
    Ok((path, lock))
}

/// An error if the file has several names: beside each of them would lie a lock and a write-ahead log of its own, and of two
/// writers neither would know of what the other has written.
#[cfg(unix)]
fn no_other_name(path: &Path) -> Result<()> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    match std::os::unix::fs::MetadataExt::nlink(&path.metadata().map_err(io)?) {
        0 | 1 => Ok(()),
        names => Err(io(io::Error::other(format!(
            "the file has {names} names (hard links), and whoever writes to it by another would not be noticed"
        )))),
    }
}

#[cfg(not(unix))]
fn no_other_name(_: &Path) -> Result<()> {
    Ok(())
}

/// Finds a file to be read, and gives its one name.
pub(crate) fn find(path: &Path, cipher: &Cipher) -> Result<PathBuf> {
    let name = one_name(path)?;
    Db::look(path, cipher).map_err(|error| match error {
        // What a crash left is to be taken back first, or readers have no memory to share beside the file.
        Error::ReadOnly => {
            Error::Io { path: path.to_owned(), source: io::ErrorKind::PermissionDenied.into() }
        }
        error => error,
    })?;
    Ok(name)
}

fn one_name(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|source| Error::Io { path: path.to_owned(), source })
}

impl Db {
    /// Looks at a file without changing it: an error if it is not ours, or too new.
    fn look(path: &Path, cipher: &Cipher) -> Result<()> {
        match path.metadata() {
            Ok(found) if found.is_dir() => return Err(not_ours(path, "it is a directory")),
            Ok(found) if !found.is_file() => return Err(not_ours(path, "it is no regular file")),
            _ => {}
        }
        recognise(&connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, cipher)?, path, cipher)
    }

    /// Opens a connection and sets it up. For writing, the caller holds the [`FileLock`].
    pub(crate) fn open(place: &Place, access: Access, shared: &Arc<Shared>) -> Result<Self> {
        let mut conn = match (place, access) {
            (Place::File(path, cipher), Access::Write { .. }) => {
                let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE, cipher)?;
                // SQLite opens what may not be written to all the same, for reading.
                if conn.is_readonly(MAIN_DB).map_err(Error::from_sqlite)? {
                    return Err(Error::Io {
                        path: path.clone(),
                        source: io::ErrorKind::PermissionDenied.into(),
                    });
                }
                // A new file is empty; one that cannot be read is not.
                let pages = conn.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0));
                if pages.unwrap_or(1) > 0 {
                    recognise(&conn, path, cipher)?;
                }
                conn
            }
            (Place::File(path, cipher), Access::Read) => {
                connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY, cipher)?
            }
            (Place::Memory, _) => {
                connect(Path::new(":memory:"), OpenFlags::SQLITE_OPEN_READ_WRITE, &Cipher::default())?
            }
        };
        set_up(&conn, place, access).map_err(Error::from_sqlite)?;
        let checkpoints = match (place, access) {
            (Place::File(path, cipher), Access::Write { full, .. }) => {
                let made = Checkpoints::of(&mut conn, path.clone(), cipher.clone(), full);
                Some(made.map_err(Error::from_sqlite)?)
            }
            _ => None,
        };
        let log = RefCell::new(Log::new(Arc::clone(shared)));
        Ok(Self {
            checkpoints,
            conn,
            changes: RefCell::default(),
            log,
            fresh_links: RefCell::default(),
            fresh_traits: RefCell::default(),
            unindexed: Cell::default(),
            merges: RefCell::default(),
            silent: matches!(access, Access::Write { .. }).then(RefCell::default),
            watched: RefCell::default(),
        })
    }
}

/// An error if a file is not ours, or too new.
fn recognise(conn: &Connection, path: &Path, cipher: &Cipher) -> Result<()> {
    let number = |pragma: &str| {
        conn.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0)).map_err(|error| {
            match error.sqlite_error_code() {
                Some(ErrorCode::NotADatabase) if cipher.is_given() => {
                    DefinitionError::new("passphrase", "wrong, or the file is not encrypted").into()
                }
                Some(ErrorCode::NotADatabase) => {
                    not_ours(path, "it is no SQLite database, or an encrypted one")
                }
                Some(ErrorCode::CannotOpen) => {
                    let source = io::Error::other(error);
                    Error::Io { path: path.to_owned(), source }
                }
                _ => Error::from_sqlite(error),
            }
        })
    };
    let application = number("application_id")?;
    if application != i64::from(APPLICATION_ID) {
        return Err(not_ours(path, &format!("it is a SQLite database with application id {application}")));
    }
    match u32::try_from(number("user_version")?) {
        Ok(found) if found as usize > MIGRATIONS.len() => {
            let supported = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
            Err(Error::NewerFormat { path: path.to_owned(), found, supported })
        }
        _ => Ok(()),
    }
}

fn not_ours(path: &Path, reason: &str) -> Error {
    Error::NotACdpFile { path: path.to_owned(), reason: reason.to_owned() }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that opens connections, and sets them up"
)]
pub(super) fn connect(path: &Path, flags: OpenFlags, cipher: &Cipher) -> Result<Connection> {
    let conn =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(|error| {
            match error.sqlite_error_code() {
                Some(ErrorCode::CannotOpen) => {
                    Error::Io { path: path.to_owned(), source: io::Error::other(error) }
                }
                _ => Error::from_sqlite(error),
            }
        })?;
    cipher.unlock(&conn)?;
    conn.busy_timeout(BUSY).map_err(Error::from_sqlite)?;
    Ok(conn)
}

fn set_up(conn: &Connection, place: &Place, access: Access) -> rusqlite::Result<()> {
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
    // A plan never depends on what is bound, or the statements that are kept would be planned anew at every use.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    let Access::Write { full, max_bytes } = access else {
        conn.pragma_update(None, "cache_size", -16_384)?;
        return conn.pragma_update(None, "query_only", true);
    };
    conn.pragma_update(None, "secure_delete", true)?;
    conn.pragma_update(None, "cache_size", -65_536)?;
    // Before the switch to WAL, so that the marks stand in the file itself and `look` finds them.
    migrate(conn)?;
    if let Place::File(..) = place {
        conn.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        conn.pragma_update(None, "synchronous", if full { "full" } else { "normal" })?;
    }
    if let Some(bytes) = max_bytes {
        let pages = i64::try_from(bytes / page_size(conn)?).unwrap_or(i64::MAX);
        conn.pragma_update_and_check(None, "max_page_count", pages.max(1), |_| Ok(()))?;
    }
    Ok(())
}

/// The number of bytes in a page. SQLCipher gives it as text.
pub(super) fn page_size(conn: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT CAST(page_size AS INTEGER) FROM pragma_page_size";
    Ok(conn.query_row(sql, [], |row| row.get::<_, u64>(0))?.max(1))
}

/// Brings the schema up to date, all steps in one transaction.
fn migrate(conn: &Connection) -> rusqlite::Result<()> {
    let version: i64 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(version).unwrap_or(0);
    if done >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = conn.unchecked_transaction()?;
    for step in &MIGRATIONS[done..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", MIGRATIONS.len())?;
    transaction.commit()
}
