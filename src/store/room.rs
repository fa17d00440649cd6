//! Room at the end of the write-ahead log, made before it is needed.
//!
//! A commit that waits for the disk waits longer where it makes the log longer: then the file system has to note where the new
//! part lies, and that is one more thing to wait for. So zeros are written behind the log, as much as many small commits take, and
//! one of them waits for all. To SQLite they are no part of the log: what follows its last frame must bear its checksum and salt
//! to be read (<https://www.sqlite.org/fileformat2.html#walformat>).
//!
//! They are written while a transaction has the right to write, and has not begun to: nobody else, in whatever process, can
//! append to the log or cut it off meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{Result, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::backup::beside;

/// For how many pages room is made at once. Commits of as many are hardly held up, and find none.
const TOGETHER: u64 = 64;

/// What the log begins with, and each page in it, in bytes.
const HEAD: u64 = 32;
const FRAME: u64 = 24;

/// The room behind a log.
#[derive(Debug)]
pub(super) struct Room {
    path: PathBuf,
    page: u64,
    /// How many pages the log had after the last commit.
    pages: u64,
    /// Up to where the file reaches, as far as is known.
    end: u64,
    /// Whether another commit like the last one would not find room.
    wanted: bool,
    /// Opened when it is needed for the first time.
    file: Option<File>,
}

impl Room {
    /// Behind the log of the file at `path`, of pages of so many bytes.
    pub(super) fn in_log(path: &Path, page: u64) -> Self {
        Self { path: beside(path, "-wal"), page, pages: 0, end: 0, wanted: false, file: None }
    }

    /// Notes how many pages the log has after a commit.
    pub(super) fn committed(&mut self, pages: i32) {
        let pages = u64::from(pages.unsigned_abs());
        // Each commit adds one at least.
        let begun_anew = pages <= self.pages;
        let added = if begun_anew { pages } else { pages - self.pages };
        self.pages = pages;
        if begun_anew {
            // And may have been cut off before.
            self.end = 0;
        }
        self.wanted = added < TOGETHER && self.place(pages + added) > self.end;
    }

    /// Makes room for more commits like the last one, if there is none and they are small. A transaction has just begun that may
    /// write.
    pub(super) fn make(&mut self) {
        if std::mem::take(&mut self.wanted) {
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
        // What somebody else has appended is before the end of the file.
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
    use std::sync::Arc;

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;
    use crate::store::{Access, Cipher, Db, FileLock, Place, Shared, create};

    struct Opened {
        path: PathBuf,
        db: Db,
        _lock: FileLock,
    }

    fn open(folder: &TempDir, full: bool) -> Opened {
        let (path, lock) = create(&folder.path().join("some.db"), &Cipher::default()).unwrap();
        let place = Place::File(path.clone(), Cipher::default());
        let access = Access::Write { full, max_bytes: None };
        let db = Db::open(&place, access, &Arc::new(Shared::new(1_000, 0))).unwrap();
        assert!(db.truncate_wal().unwrap());
        Opened { path, db, _lock: lock }
    }

    impl Opened {
        /// Commits a setting of so many bytes, none of which is zero.
        fn write(&self, number: u64, bytes: usize) {
            self.db.begin_write().unwrap();
            self.db.set(&format!("some {number}"), "x".repeat(bytes)).unwrap();
            self.db.commit().unwrap();
        }

        fn log(&self) -> Vec<u8> {
            fs::read(beside(&self.path, "-wal")).unwrap()
        }

        fn has_room(&self) -> bool {
            self.log().ends_with(&[0; 5_000])
        }

        /// How many settings a file has in which a crash has left things as they are.
        fn after_a_crash(&self) -> u64 {
            let copy = self.path.with_file_name("copy.db");
            fs::copy(&self.path, &copy).unwrap();
            fs::copy(beside(&self.path, "-wal"), beside(&copy, "-wal")).unwrap();
            #[expect(clippy::disallowed_methods, reason = "as anybody would read it")]
            let conn = Connection::open(copy).unwrap();
            let sql = "SELECT count(*) FROM settings WHERE name GLOB 'some *'";
            conn.query_row(sql, [], |row| row.get(0)).unwrap()
        }
    }

    #[test]
    fn small_commits_find_room_and_what_is_in_it_is_not_read() {
        let folder = TempDir::new().unwrap();
        let opened = open(&folder, true);
        let page = opened.db.page_size().unwrap();
        let mut lengths = Vec::new();
        for number in 0..300 {
            opened.write(number, 10);
            lengths.push(opened.log().len());
            assert_eq!(opened.after_a_crash(), number + 1);
        }
        lengths.dedup();
        assert!((3..30).contains(&lengths.len()), "{lengths:?}");
        let longest = usize::try_from(HEAD + (2 * 300 + 2 * TOGETHER) * (page + FRAME)).unwrap();
        assert!(lengths.is_sorted() && lengths[lengths.len() - 1] <= longest, "{lengths:?}");
    }

    #[test]
    fn there_is_none_behind_large_commits_or_such_as_wait_for_nothing() {
        for (full, bytes) in [(true, 1 << 20), (false, 10)] {
            let folder = TempDir::new().unwrap();
            let opened = open(&folder, full);
            (0..5).for_each(|number| opened.write(number, bytes));
            assert!(!opened.has_room(), "{full}");
        }
    }

    /// Whether as much is written then as before, less, or more.
    #[test]
    fn a_log_that_was_cut_off_has_room_again() {
        for (before, after) in [(20, 2), (2, 2), (2, 20)] {
            let folder = TempDir::new().unwrap();
            let opened = open(&folder, true);
            (0..before).for_each(|number| opened.write(100 + number, 10));
            assert!(opened.has_room());
            assert!(opened.db.truncate_wal().unwrap());
            assert_eq!(opened.log().len(), 0);
            (0..after).for_each(|number| opened.write(number, 10));
            assert!(opened.has_room(), "{before}, {after}");
            assert_eq!(opened.after_a_crash(), before + after);
        }
    }

    /// Whoever does not care for the lock beside the file: SQLite lets them write between two commits.
    #[test]
    fn what_others_append_to_the_log_is_left_as_it_is() {
        let folder = TempDir::new().unwrap();
        let opened = open(&folder, true);
        #[expect(clippy::disallowed_methods, reason = "as anybody would write to it")]
        let other = Connection::open(&opened.path).unwrap();
        for number in 0..200 {
            opened.write(number, 10);
            let sql = "INSERT INTO settings VALUES (?1, zeroblob(9000))";
            other.execute(sql, [format!("other {number}")]).unwrap();
        }
        assert_eq!(opened.after_a_crash(), 200);
        let count = "SELECT count(*) FROM settings WHERE name GLOB 'other *' AND value = zeroblob(9000)";
        assert_eq!(other.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap(), 200);
        let sound: String = other.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
    }
}
