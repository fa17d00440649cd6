//! Copies of a whole file: made while it is in use, and put in its place when they are whole.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::cipher::Cipher;
use super::file::{FileLock, connect, private};
use super::{Db, Failure};
use crate::clock::Timestamp;
use crate::error::{Error, Result};

/// How many pages are copied at a time: between two handfuls one may be told, and stop it.
const PAGES: i32 = 256;

/// What SQLite keeps beside a file.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

/// A file on its way to its place: it is made beside it (`…-part`), and stands there when it is whole, or never.
/// Whoever makes it holds the lock of the place.
#[derive(Debug)]
pub(crate) struct Unfinished {
    place: PathBuf,
    part: PathBuf,
    _lock: FileLock,
}

impl Unfinished {
    /// Begins a file where there must be none.
    pub(crate) fn new(place: &Path) -> Result<Self> {
        let begun = Self::begin(place)?;
        if begun.is_taken()? { Err(taken(&begun.place)) } else { Ok(begun) }
    }

    /// Begins a file that may take another's place, and says whether there is one with anything in it.
    pub(crate) fn in_place_of(place: &Path) -> Result<(Self, bool)> {
        let begun = Self::begin(place)?;
        let replaces = begun.is_taken()? && fs::metadata(&begun.place).map_err(io(&begun.place))?.len() > 0;
        Ok((begun, replaces))
    }

    fn begin(place: &Path) -> Result<Self> {
        let place = name_to_be(place)?;
        let lock = FileLock::take(&place)?;
        let part = beside(&place, "-part");
        remove(&part);
        let begun = Self { place, part, _lock: lock };
        private().create_new(true).open(&begun.part).map_err(io(&begun.part))?;
        Ok(begun)
    }

    /// Whether there is a file. What a crash has left beside one that is not there any more would be taken for the new
    /// one's.
    fn is_taken(&self) -> Result<bool> {
        if self.place.try_exists().map_err(io(&self.place))? {
            return Ok(true);
        }
        match left_beside(&self.place) {
            Some(left) => Err(taken(&left)),
            None => Ok(false),
        }
    }

    /// Where it is to stand.
    pub(crate) fn place(&self) -> &Path {
        &self.place
    }

    /// Where it is made.
    pub(crate) fn part(&self) -> &Path {
        &self.part
    }

    /// Puts it in its place, whole and on the disk. All connections to it are closed.
    pub(crate) fn finish(self, replaces: bool) -> Result<()> {
        // That would be left behind.
        if let Some(left) = left_beside(&self.part) {
            return Err(taken(&left));
        }
        if !replaces && self.is_taken()? {
            return Err(taken(&self.place));
        }
        let made = fs::OpenOptions::new().write(true).open(&self.part).and_then(|file| file.sync_all());
        made.map_err(io(&self.part))?;
        fs::rename(&self.part, &self.place).map_err(io(&self.place))?;
        sync_folder(&self.place)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove(&self.part);
    }
}

/// Removes a part, and what SQLite has kept beside it. What cannot be removed does not hinder the next.
fn remove(part: &Path) {
    for path in BESIDE.map(|end| beside(part, end)).iter().map(PathBuf::as_path).chain([part]) {
        let _ = fs::remove_file(path);
    }
}

/// What SQLite has left beside a file that belongs to it. Empty files are no part of it, nor is the index of a log.
fn left_beside(path: &Path) -> Option<PathBuf> {
    let mut left = ["-wal", "-journal"].into_iter().map(|end| beside(path, end));
    left.find(|left| fs::metadata(left).is_ok_and(|found| found.len() > 0))
}

pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn taken(path: &Path) -> Error {
    io(path)(io::ErrorKind::AlreadyExists.into())
}

fn io(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    |source| Error::Io { path: path.to_owned(), source }
}

/// The one name of a file that may not be there yet.
fn name_to_be(path: &Path) -> Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found.map_err(io(path)),
    }
    let Some(name) = path.file_name() else {
        return Err(io(path)(io::ErrorKind::InvalidInput.into()));
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(folder.canonicalize().map_err(io(path))?.join(name))
}

/// A name is on the disk when its folder is.
#[cfg(unix)]
fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(io(folder))
}

/// Elsewhere folders cannot be opened as files.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> Result<()> {
    Ok(())
}

impl Db {
    /// Copies everything that the transaction under way sees into an empty file, encrypted as this one is, and tells after
    /// each handful of pages how many bytes it has copied, and of how many.
    pub(crate) fn copy_to(
        &self,
        part: &Path,
        cipher: &Cipher,
        mut tell: impl FnMut(u64, u64) -> Result<()>,
    ) -> Result<()> {
        // Whatever is committed meanwhile: from the first look on, the transaction sees one state of the file.
        let waiting = self.erasures_waiting()?;
        let page = self.page_size()?;
        let mut copy = connect(part, OpenFlags::SQLITE_OPEN_READ_WRITE, cipher)?;
        {
            let copying = Backup::new(&self.conn, &mut copy).map_err(Error::from_sqlite)?;
            loop {
                let step = copying.step(PAGES).map_err(Error::from_sqlite)?;
                let progress = copying.progress();
                let bytes = |pages: i32| u64::try_from(pages).unwrap_or(0) * page;
                tell(bytes(progress.pagecount - progress.remaining), bytes(progress.pagecount))?;
                match step {
                    StepResult::Done => break,
                    StepResult::More => {}
                    _ => return Err(Error::Busy),
                }
            }
        }
        settle_copy(&copy, waiting > 0).map_err(|Failure(error)| Error::from_sqlite(error))
    }

    /// Makes the file one without a write-ahead log beside it, which it is only while nobody else has it open. False if
    /// somebody has.
    pub(crate) fn close_wal(&self) -> Result<bool> {
        self.conn.busy_timeout(super::upkeep::PATIENCE).map_err(Error::from_sqlite)?;
        let mode =
            self.conn.pragma_update_and_check(None, "journal_mode", "delete", |row| row.get::<_, String>(0));
        match mode.map_err(Error::from_sqlite) {
            Ok(mode) => Ok(mode == "delete"),
            Err(Error::Busy) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All keyed hashes on the suppression list, each with since when.
    pub(crate) fn suppressed(&self) -> super::Result<Vec<([u8; 32], Timestamp)>> {
        let mut select = self.conn.prepare("SELECT hash, at FROM suppressed")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, Timestamp::from_micros(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Puts a suppression list in the place of the file's.
    pub(crate) fn replace_suppressed(&self, list: &[([u8; 32], Timestamp)]) -> super::Result<()> {
        self.conn.execute("DELETE FROM suppressed", [])?;
        list.iter().try_for_each(|(hash, at)| self.suppress(hash, *at))
    }

    /// All keyed hashes of events that were dropped, and must stay known.
    pub(crate) fn dropped(&self) -> super::Result<Vec<[u8; 16]>> {
        let mut select = self.conn.prepare("SELECT hash FROM dropped_ids")?;
        Ok(select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }
}

/// Makes a copy a file by itself, in which nothing is left of people whose erasure was not complete.
fn settle_copy(copy: &Connection, erasures_wait: bool) -> super::Result<()> {
    copy.pragma_update_and_check(None, "journal_mode", "delete", |_| Ok(()))?;
    if erasures_wait {
        copy.pragma_update(None, "secure_delete", true)?;
        copy.execute("DELETE FROM settings WHERE name = ?1", [super::upkeep::WAITING])?;
        copy.execute_batch("VACUUM")?;
    }
    Ok(())
}
