//! A copy of the file while it is in use, and back.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::{Cdp, Settings, load};
use crate::error::{Error, Result};
use crate::pipeline::restore::{Since, account_for, remove_suppressed};
use crate::pipeline::retain::drop_events;
use crate::pipeline::{Counter, State};
use crate::privacy::Restored;
use crate::store::{Access, Cipher, Db, Place, Shared, Unfinished, find};

/// How far a backup has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackupProgress {
    /// Bytes copied so far.
    pub bytes: u64,
    /// Bytes to be copied in all.
    pub of: u64,
}

impl Cdp {
    /// Copies the database into a new file, which [`open`](Self::open) opens and [`restore`](Self::restore) puts back.
    ///
    /// The copy holds the commits up to the moment in which it began, all of them and whole; others read and write
    /// meanwhile. It stands at `path` when it is complete and on the disk, readable by its owner only, and never in part:
    /// until then it is called `…-part`. What is held of a person is in it, too: keep backups no longer than you may, for an
    /// erasure does not reach them.
    ///
    /// While it is copied the write-ahead log cannot be emptied, so an erasure meanwhile is not complete until
    /// [`maintain`](Self::maintain).
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// let cdp = Cdp::open(folder.join("customers.db"))?;
    /// cdp.ingest([Event::page().user_id("ann"), Event::page().user_id("bob")])?;
    /// cdp.backup(folder.join("monday.db"))?;
    /// cdp.erase("user_id:ann")?;
    /// drop(cdp);
    ///
    /// // Who was erased since does not come back.
    /// let restored = Cdp::restore(folder.join("monday.db"), folder.join("customers.db"))?;
    /// assert_eq!((restored.replaced, restored.people), (true, 1));
    /// let cdp = Cdp::open(folder.join("customers.db"))?;
    /// assert!(cdp.profile("user_id:ann")?.is_none());
    /// assert!(cdp.profile("user_id:bob")?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if there is a file at `path` already, or it cannot be written;
    /// [`Error::Locked`] if somebody else is about to write there; [`Error::Full`]; or what the storage says. Nothing is left
    /// at `path` then.
    pub fn backup(&self, path: impl AsRef<Path>) -> Result<()> {
        self.backup_with(path, |_| ControlFlow::Continue(()))
    }

    /// Copies the database as [`backup`](Self::backup) does, and tells after each mebibyte how far it has come.
    ///
    /// # Errors
    ///
    /// Those of [`backup`](Self::backup), and [`Error::Cancelled`] if `progress` breaks.
    pub fn backup_with(
        &self,
        path: impl AsRef<Path>,
        mut progress: impl FnMut(BackupProgress) -> ControlFlow<()>,
    ) -> Result<()> {
        let tell = |bytes, of| match progress(BackupProgress { bytes, of }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(Error::Cancelled),
        };
        let copy = Unfinished::new(path.as_ref())?;
        match &self.inner.place {
            place @ Place::File(_, cipher) => {
                copy_all(&Db::open(place, Access::Read, &self.inner.shared)?, &copy, cipher, tell)?;
            }
            // It has but one connection.
            Place::Memory => copy_all(self.next_turn()?.db(), &copy, &Cipher::default(), tell)?,
        }
        copy.finish(false)
    }

    /// Puts a backup in the place of a file, as [`CdpBuilder::restore`](crate::CdpBuilder::restore) does, with the default
    /// settings.
    ///
    /// # Errors
    ///
    /// Those of [`CdpBuilder::restore`](crate::CdpBuilder::restore).
    pub fn restore(backup: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Restored> {
        Self::builder().restore(backup, path)
    }

    /// Takes out of a backup, this one, what a file knows to be erased or dropped since.
    fn catch_up(&self, since: &Since<'_>) -> Result<Restored> {
        let mut restored = Restored { replaced: true, ..Restored::default() };
        let mut turn = self.turn()?;
        since.put_list(turn.db(), &self.state())?;
        turn.clear_desk();
        turn.publish(|_| {})?;
        let erased = since.erased(&self.state())?;
        restored.people = erased.len() as u64;
        for whom in erased {
            let receipt = self.take_out(|_, _| Ok(whom))?;
            restored.identifiers += receipt.identifiers;
            restored.events += receipt.events;
            restored.redacted += receipt.redacted;
            restored.quarantined += receipt.quarantined;
        }
        let mut turn = self.turn()?;
        let change = {
            let (db, desk) = turn.parts();
            let (state, now, new_id) = (self.state(), self.now(), || self.new_profile_id());
            let mut counter = Counter { db, desk, state: &state, limits: self.inner.limits };
            restored.quarantined += remove_suppressed(&mut counter)?;
            let (change, pruned) = drop_events(db, &state, since.dropped(db, &state)?, now, &new_id)?;
            restored.dropped = pruned.dropped.len() as u64;
            if restored != (Restored { replaced: true, ..Restored::default() }) {
                db.set_erasures_waiting(db.erasures_waiting()? + 1)?;
            }
            account_for(db, &state, now, &restored)?;
            change
        };
        turn.clear_desk();
        turn.publish(|state| state.apply(change))?;
        Ok(restored)
    }

    /// Overwrites what is left of what was taken out, and looks whether the file is sound.
    fn complete_restored(&self) -> Result<()> {
        if let Some(problem) = self.check()?.first() {
            return Err(Error::Damaged(format!("the backup: {}: {}", problem.table, problem.what)));
        }
        if self.complete_erasures() && self.next_turn()?.db().truncate_wal()? {
            Ok(())
        } else {
            Err(Error::Busy)
        }
    }
}

/// Puts a backup in the place of a file.
pub(crate) fn restore(settings: Settings, backup: &Path, path: &Path) -> Result<Restored> {
    let cipher = settings.cipher.clone();
    let backup = find(backup, &cipher)?;
    let (copy, replaces) = Unfinished::in_place_of(path)?;
    let shared = || Arc::new(Shared::new(settings.seal_every, settings.column_bytes));
    // Before anything else: a file that is not ours is not replaced.
    let former = if replaces { Some(Former::open(copy.place(), &settings, &shared())?) } else { None };
    let from = Db::open(&Place::File(backup, cipher.clone()), Access::Read, &shared())?;
    copy_all(&from, &copy, &cipher, |_, _| Ok(()))?;
    drop(from);
    let settings = Settings { rules: None, max_file_bytes: None, ..settings };
    let cdp = Cdp::start(settings, Place::File(copy.part().to_owned(), cipher), None)?;
    let restored = match &former {
        Some(former) => cdp.catch_up(&Since::of(&former.db, &former.state)?)?,
        None => Restored::default(),
    };
    cdp.complete_restored()?;
    drop(cdp);
    // Whoever reads it would go on with a file that is gone, and with a write-ahead log that is another's.
    if former.is_some_and(|former| !former.db.close_wal().is_ok_and(|closed| closed)) {
        return Err(Error::Busy);
    }
    copy.finish(replaces)?;
    Ok(restored)
}

/// The file in whose place a backup is put.
struct Former {
    db: Db,
    state: State,
}

impl Former {
    fn open(path: &Path, settings: &Settings, shared: &Arc<Shared>) -> Result<Self> {
        let Settings { cipher, key, zone, .. } = settings;
        let path = find(path, cipher)?;
        // For writing, so that what a crash has left is brought home. Whoever opens it holds its lock.
        let access = Access::Write { full: true, max_bytes: None };
        let db = Db::open(&Place::File(path, cipher.clone()), access, shared)?;
        let state = load(&db, key.as_ref(), zone)?;
        Ok(Self { db, state })
    }
}

/// Copies what is there now, while others may write.
fn copy_all(
    db: &Db,
    copy: &Unfinished,
    cipher: &Cipher,
    tell: impl FnMut(u64, u64) -> Result<()>,
) -> Result<()> {
    db.begin_read()?;
    let copied = db.copy_to(copy.part(), cipher, tell);
    db.rollback();
    copied
}
