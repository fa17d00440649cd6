//! Room at the end of the write-ahead log, made before it is needed.
//!
//! A commit that waits for the disk waits longer where it makes the log longer: then the file system has to note where the new
//! part lies, and that is one more thing to wait for. So zeros are written behind the log, as much as many small commits take, and
//! one of them waits for all. To SQLite they are no part of the log: what follows its last frame must bear its checksum and salt
//! to be read (<https://www.sqlite.org/fileformat2.html#walformat>).

use std::fs::{File, OpenOptions};
use std::io::{Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::backup::beside;

/// For how many pages room is made at once. Commits of as many are hardly held up.
const TOGETHER: u64 = 64;

/// What the log begins with, and each page in it, in bytes.
const HEAD: u64 = 32;
const FRAME: u64 = 24;

/// The room behind a log.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    page: u64,
    /// How many pages the log had when it was last looked at.
    pages: u64,
    /// Up to where the file reaches, as far as is known.
    end: u64,
    /// Opened when it is needed for the first time.
    file: Option<File>,
}

impl Room {
    /// Behind the log of the file at `path`, of pages of so many bytes.
    pub(super) fn in_log(path: &Path, page: u64) -> Self {
        Self { path: beside(path, "-wal"), page, pages: 0, end: 0, file: None }
    }

    /// Makes room for more commits like the last one, by which the log has so many pages, if they are small.
    pub(super) fn committed(&mut self, pages: i32) {
        let pages = u64::from(pages.unsigned_abs());
        let begun_anew = pages < self.pages;
        let added = if begun_anew { pages } else { pages - self.pages };
        self.pages = pages;
        if begun_anew {
            // And may have been cut off before.
            self.end = 0;
        }
        if added < TOGETHER && self.place(pages + added) > self.end {
            // Where there is none the log grows by itself.
            let _ = self.grow();
        }
    }

    /// Where so many pages end.
    fn place(&self, pages: u64) -> u64 {
        HEAD + pages * (FRAME + self.page)
    }

    fn grow(&mut self) -> Result<()> {
        let (used, end) = (self.place(self.pages), self.place(self.pages + TOGETHER));
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(OpenOptions::new().write(true).open(&self.path)?),
        };
        let begin = file.metadata()?.len().max(used);
        if begin < end {
            file.seek(SeekFrom::Start(begin))?;
            file.write_all(&vec![0; usize::try_from(end - begin).unwrap_or(0)])?;
        }
        self.end = begin.max(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::store::checkpoint::Checkpoints;
    use crate::store::cipher::Cipher;
    use crate::store::file::{connect, page_size};

    fn open(folder: &TempDir, syncs: bool) -> (PathBuf, Connection, Checkpoints) {
        let path = folder.path().join("some.db");
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_CREATE;
        let mut conn = connect(&path, flags, &Cipher::default()).unwrap();
        conn.pragma_update(None, "journal_mode", "wal").unwrap();
        conn.execute_batch("CREATE TABLE some (number INTEGER, bytes BLOB)").unwrap();
        let checkpoints = Checkpoints::of(&mut conn, path.clone(), Cipher::default(), syncs).unwrap();
        (path, conn, checkpoints)
    }

    fn write(conn: &Connection, number: u64, bytes: u64) {
        conn.execute("INSERT INTO some VALUES (?1, randomblob(?2))", (number, bytes)).unwrap();
    }

    fn log(path: &Path) -> Vec<u8> {
        fs::read(beside(path, "-wal")).unwrap()
    }

    #[test]
    fn small_commits_find_room_and_what_is_in_it_is_not_read() {
        let folder = TempDir::new().unwrap();
        let (path, conn, checkpoints) = open(&folder, true);
        let page = page_size(&conn).unwrap();
        let mut lengths = Vec::new();
        for number in 0..300 {
            write(&conn, number, 10);
            lengths.push(log(&path).len());
            // As a crash would leave it.
            let copy = folder.path().join("copy.db");
            fs::copy(&path, &copy).unwrap();
            fs::copy(beside(&path, "-wal"), beside(&copy, "-wal")).unwrap();
            let copy =
                connect(&copy, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE, &Cipher::default()).unwrap();
            let held: u64 = copy.query_row("SELECT count(*) FROM some", [], |row| row.get(0)).unwrap();
            assert_eq!(held, number + 1);
        }
        lengths.dedup();
        assert!((3..30).contains(&lengths.len()), "{lengths:?}");
        let longest = usize::try_from(HEAD + (2 * 300 + 2 * TOGETHER) * (page + FRAME)).unwrap();
        assert!(lengths.is_sorted() && lengths[lengths.len() - 1] <= longest, "{lengths:?}");
        assert!(log(&path).ends_with(&[0; 1_000]));
        drop((checkpoints, conn));
    }

    #[test]
    fn there_is_none_behind_large_commits_or_such_as_wait_for_nothing() {
        for (syncs, bytes) in [(true, 1 << 20), (false, 10)] {
            let folder = TempDir::new().unwrap();
            let (path, conn, checkpoints) = open(&folder, syncs);
            (0..5).for_each(|number| write(&conn, number, bytes));
            assert!(!log(&path).ends_with(&[0; 1_000]), "{syncs}");
            drop((checkpoints, conn));
        }
    }

    #[test]
    fn a_log_that_was_cut_off_has_room_again() {
        let folder = TempDir::new().unwrap();
        let (path, conn, checkpoints) = open(&folder, true);
        for number in 0..100 {
            write(&conn, number, 10);
        }
        let cut: i64 = conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        assert_eq!((cut, log(&path).len()), (0, 0));
        write(&conn, 100, 10);
        assert!(log(&path).ends_with(&[0; 1_000]));
        let held: i64 = conn.query_row("SELECT count(*) FROM some", [], |row| row.get(0)).unwrap();
        assert_eq!(held, 101);
        drop((checkpoints, conn));
    }
}
