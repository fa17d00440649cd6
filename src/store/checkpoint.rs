//! When pages of the write-ahead log are brought home to the file, and by whom.
//!
//! SQLite lets whoever commits bring them home, and wait for the disk. Here a thread of its own does nearly all of it, with a
//! connection of its own, while the writer goes on. But the log begins anew only where a transaction begins with nothing
//! left to bring home, and a writer that never rests leaves no such moment: so once in a while it brings home itself what little
//! has come since the thread was done.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, MAIN_DB, OpenFlags};

use super::cipher::Cipher;
use super::file::{BUSY, connect, page_size};
use super::room::Room;
use crate::error::{Error, Result};

/// How many pages of the write-ahead log are brought home together: 16 MB. What many commits change is so written once for
/// several of them; with SQLite's own thousand, commits of ten thousand events bring nearly each its own home.
const TOGETHER: i32 = 4_000;

/// With so many pages in the log the writer sees to it that it begins anew, unless the thread is at it.
const ENOUGH: i32 = 4 * TOGETHER;

/// With so many it waits for the thread.
const TOO_MANY: i32 = 2 * ENOUGH;

/// Brings the write-ahead log of a connection home that writes to a file. Dropped, it waits until its thread has ended.
pub(super) struct Checkpoints {
    shared: Arc<Shared>,
    /// Behind a log that commits wait for.
    room: Option<Arc<Mutex<Room>>>,
}

struct Shared {
    path: PathBuf,
    cipher: Cipher,
    work: Mutex<Work>,
    changed: Condvar,
}

#[derive(Default)]
struct Work {
    /// Whether the thread is to bring home what there is, or is at it.
    wanted: bool,
    /// Whether it is to end.
    over: bool,
    /// Begun when there is something to do for the first time.
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Sees to the log of `conn`, which writes to the file at `path`. With `syncs` commits wait for the disk.
    pub(super) fn of(
        conn: &mut Connection,
        path: PathBuf,
        cipher: Cipher,
        syncs: bool,
    ) -> rusqlite::Result<Self> {
        let room =
            if syncs { Some(Arc::new(Mutex::new(Room::in_log(&path, page_size(conn)?)))) } else { None };
        let of_commits = room.clone();
        let shared = Arc::new(Shared { path, cipher, work: Mutex::default(), changed: Condvar::new() });
        let of_hook = Arc::clone(&shared);
        let mut asked = 0;
        conn.wal_hook(Some(move |wal: &mut Wal, pages: i32| {
            of_hook.committed(wal, pages, &mut asked);
            if let Some(room) = &of_commits {
                room.lock().unwrap_or_else(PoisonError::into_inner).committed(pages);
            }
            // It is committed, whatever has become of the rest.
            Ok(())
        }))?;
        Ok(Self { shared, room })
    }

    /// A transaction has begun that may write.
    pub(super) fn begun(&self) {
        if let Some(room) = &self.room {
            room.lock().unwrap_or_else(PoisonError::into_inner).make();
        }
    }

    /// Waits until the thread is at nothing.
    pub(super) fn wait(&self) {
        self.shared.wait();
    }
}

impl fmt::Debug for Checkpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoints").finish_non_exhaustive()
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        let thread = {
            let mut work = self.shared.work();
            work.over = true;
            work.thread.take()
        };
        self.shared.changed.notify_all();
        if let Some(thread) = thread {
            // If it has panicked, nothing was lost but its work.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn work(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees what is to be done after a commit, by which the log has so many pages. At `asked` the thread was told last.
    fn committed(self: &Arc<Self>, wal: &mut Wal, pages: i32, asked: &mut i32) {
        if pages < *asked {
            // It has begun anew.
            *asked = 0;
        }
        if pages - *asked >= TOGETHER {
            self.ask();
            *asked = pages;
        }
        if pages >= TOO_MANY {
            self.wait();
        }
        if pages >= ENOUGH && !self.work().wanted {
            // Another process may read what was there before: then it is tried again at the next commit, as SQLite does it.
            let _ = wal.checkpoint();
            *asked = pages;
        }
    }

    /// Has the thread bring home what there is.
    fn ask(self: &Arc<Self>) {
        let mut work = self.work();
        if work.thread.is_none() {
            let shared = Arc::clone(self);
            let started = thread::Builder::new().name("customerdb file".into()).spawn(move || shared.run());
            work.thread = started.ok();
        }
        // Where there is no thread, the writer does it all.
        work.wanted = work.thread.is_some();
        drop(work);
        self.changed.notify_all();
    }

    /// Waits until the thread is at nothing, though not for ever.
    fn wait(&self) {
        let waited = self.changed.wait_timeout_while(self.work(), BUSY, |work| work.wanted);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// A connection that knows of the write-ahead log: SQLite looks for that when something is read, and not before.
    fn connect(&self) -> Result<Connection> {
        let conn = connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE, &self.cipher)?;
        let read = conn.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0));
        read.map_err(Error::from_sqlite)?;
        Ok(conn)
    }

    /// What the thread does.
    fn run(&self) {
        let conn = self.connect();
        loop {
            let work = self.changed.wait_while(self.work(), |work| !work.wanted && !work.over);
            let over = work.unwrap_or_else(PoisonError::into_inner).over;
            if over {
                return;
            }
            if let Ok(conn) = &conn {
                // What fails comes to light when the writer does it.
                #[expect(clippy::default_trait_access, reason = "rusqlite does not export the type: passive")]
                let _ = conn.wal_checkpoint_v2(Some(MAIN_DB), Default::default());
            }
            self.work().wanted = false;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use rusqlite::Transaction;
    use tempfile::TempDir;

    use super::*;

    /// About so many bytes has a page in the log.
    const PAGE: u64 = 4_096 + 24;

    fn open(folder: &TempDir) -> (PathBuf, Connection, Checkpoints) {
        let path = folder.path().join("some.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut conn = connect(&path, flags, &Cipher::default()).unwrap();
        conn.pragma_update(None, "journal_mode", "wal").unwrap();
        conn.pragma_update(None, "synchronous", "off").unwrap();
        conn.execute_batch("CREATE TABLE some (bytes BLOB)").unwrap();
        let checkpoints = Checkpoints::of(&mut conn, path.clone(), Cipher::default(), false).unwrap();
        (path, conn, checkpoints)
    }

    /// Commits `mib` times a MiB.
    fn write(conn: &Connection, mib: u32) {
        for _ in 0..mib {
            conn.execute("INSERT INTO some VALUES (randomblob(1 << 20))", []).unwrap();
        }
    }

    fn held(conn: &Connection) -> i64 {
        conn.query_row("SELECT count(*) FROM some WHERE length(bytes) = 1 << 20", [], |row| row.get(0))
            .unwrap()
    }

    fn log_of(path: &Path) -> u64 {
        fs::metadata(path.with_extension("db-wal")).unwrap().len()
    }

    #[test]
    fn the_log_begins_anew_under_a_writer_that_never_rests() {
        let folder = TempDir::new().unwrap();
        let (path, conn, checkpoints) = open(&folder);
        write(&conn, 300);
        let most = u64::from(TOO_MANY.unsigned_abs()) * PAGE + (2 << 20);
        assert!(log_of(&path) <= most, "{}", log_of(&path));
        checkpoints.wait();
        drop((checkpoints, conn));
        let conn = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, &Cipher::default()).unwrap();
        assert_eq!(held(&conn), 300);
    }

    #[test]
    fn the_thread_brings_home_without_the_writer() {
        let folder = TempDir::new().unwrap();
        let (path, conn, checkpoints) = open(&folder);
        write(&conn, 20);
        checkpoints.wait();
        assert!(fs::metadata(&path).unwrap().len() >= 15 << 20);
        assert_eq!(held(&conn), 20);
        drop((conn, checkpoints));
    }

    #[test]
    fn a_reader_holds_the_log_up_and_loses_nothing() {
        let folder = TempDir::new().unwrap();
        let (path, conn, checkpoints) = open(&folder);
        write(&conn, 1);
        let mut reader = connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY, &Cipher::default()).unwrap();
        let reading: Transaction<'_> = reader.transaction().unwrap();
        assert_eq!(held(&reading), 1);
        write(&conn, 150);
        assert_eq!(held(&reading), 1);
        assert!(log_of(&path) > 150 << 20);
        drop(reading);
        // The commit after which the log is brought home is its last one before it begins anew.
        write(&conn, 1);
        let before = log_of(&path);
        write(&conn, 100);
        assert_eq!((held(&conn), held(&reader), log_of(&path)), (252, 252, before));
        drop((checkpoints, conn));
    }
}
