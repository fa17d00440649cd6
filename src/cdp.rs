//! The handle.

mod analytics;
mod answers;
mod backup;
mod batch;
mod consent;
mod decide;
mod erasure;
mod group;
mod identity;
mod named;
mod person;
mod read;
mod segments;
mod subscribe;
mod suggest;
mod turn;
mod upkeep;
mod write;

use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::thread::ThreadId;

pub use self::analytics::Comparison;
pub use self::answers::{
    Decision, DecisionReport, DecisionSubject, EventRecord, Explanation, Person, QuarantineEntry,
    RefusedIdentifier, SegmentChange, SegmentMove, SegmentSize, Why,
};
pub use self::backup::BackupProgress;
pub(crate) use self::backup::restore;
pub use self::batch::Batch;
use self::group::Queue;
pub use self::person::PersonExport;
pub use self::subscribe::Subscription;
pub use self::suggest::{Suggestion, Suggestions};
use crate::clock::{Clock, SystemClock, Timestamp, Zone};
use crate::error::{DefinitionError, Error, Result};
use crate::event::EventLimits;
use crate::id::{ProfileId, ProfileIds};
use crate::identity::Rules;
use crate::pipeline::membership::Definitions;
use crate::pipeline::replay::RULES;
use crate::pipeline::{Desk, State};
use crate::privacy::Key;
use crate::profile::ANALYTICS;
use crate::store::{Access, COLUMN_BYTES, Cipher, Db, FileLock, Place, SEAL_EVERY, Shared, Watcher};

/// A customer database: events in, people, segments and answers out.
///
/// Clones are handles to the same database and may be used from any thread. Writing calls take turns; a single
/// call is a transaction of its own, and [`begin`](Self::begin) makes one of several. Reading calls run beside
/// each other and beside a batch that is not committed yet, and each of them sees whole batches only.
///
/// ```
/// use customerdb::{Cdp, Event, Segment, all, days, did, has_trait};
///
/// let cdp = Cdp::in_memory()?; // or Cdp::open("customers.db")?
/// cdp.ingest([
///     Event::track("Search").anonymous_id("device-7").property("query", "Antarctica"),
///     Event::identify().anonymous_id("device-7").user_id("xiaoming").with_trait("children", 1),
/// ])?;
/// cdp.define(Segment::new("polar-families", all([has_trait("children").gte(1), did("Search").within(days(30))])))?;
/// let members = cdp.members("polar-families")?;
/// assert_eq!(members[0].name.to_string(), "user_id:xiaoming");
/// # Ok::<(), customerdb::Error>(())
/// ```
#[derive(Clone)]
pub struct Cdp {
    inner: Arc<Inner>,
    /// Who watches the calls that are made through this handle.
    watcher: Option<Watcher>,
}

/// What a commit outlives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// When a call returns, the disk has what it wrote: a power cut loses nothing acknowledged.
    #[default]
    Full,
    /// A power cut may lose the last commits, whole batches from the end, and never damages the file. If only
    /// the process ends, nothing is lost. Much faster for single events.
    Normal,
}

/// How a database is to be opened.
pub(crate) struct Settings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) durability: Durability,
    /// Rules to put in force, `None` for those that the file has.
    pub(crate) rules: Option<Rules>,
    pub(crate) limits: EventLimits,
    pub(crate) max_file_bytes: Option<u64>,
    pub(crate) zone: Zone,
    pub(crate) seal_every: usize,
    pub(crate) column_bytes: usize,
    /// The key of keyed hashes, `None` for that of the file.
    pub(crate) key: Option<Key>,
    /// What opens the file, if it is encrypted.
    pub(crate) cipher: Cipher,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            durability: Durability::default(),
            rules: None,
            limits: EventLimits::default(),
            max_file_bytes: None,
            zone: Zone::UTC,
            seal_every: SEAL_EVERY,
            column_bytes: COLUMN_BYTES,
            key: None,
            cipher: Cipher::default(),
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("durability", &self.durability)
            .field("rules", &self.rules)
            .field("limits", &self.limits)
            .field("max_file_bytes", &self.max_file_bytes)
            .field("zone", &self.zone)
            .field("seal_every", &self.seal_every)
            .field("column_bytes", &self.column_bytes)
            .finish_non_exhaustive()
    }
}

struct Inner {
    place: Place,
    /// The key of keyed hashes, if the application has it.
    key: Option<Key>,
    clock: Arc<dyn Clock>,
    ids: ProfileIds,
    zone: Zone,
    limits: EventLimits,
    /// What the last commit left. Written only while a commit returns, so whoever reads it finds it and the file
    /// to agree.
    state: RwLock<State>,
    /// What all connections know of the log.
    shared: Arc<Shared>,
    /// Connections for readers that are not in use.
    readers: Mutex<Vec<Db>>,
    /// The thread that writes now, if any.
    holder: Mutex<Option<ThreadId>>,
    /// The calls that wait to be committed together.
    queue: Queue,
    /// Who is told of entries and exits.
    subscribers: Mutex<subscribe::Subscribers>,
    /// `None` if the handle is read-only.
    writer: Option<Mutex<Writer>>,
}

/// What writing takes. Whoever has it is the one writer.
struct Writer {
    db: Db,
    desk: Desk,
    /// Held for its `Drop`, after the connection's.
    _lock: Option<FileLock>,
}

impl Cdp {
    /// The instant that counts as now, from the configured clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// The time zone in which days, weeks and months begin.
    pub fn zone(&self) -> &Zone {
        &self.inner.zone
    }

    /// Opens a database for writing; whoever calls holds the lock of its file.
    pub(crate) fn start(settings: Settings, place: Place, lock: Option<FileLock>) -> Result<Self> {
        let full = settings.durability == Durability::Full;
        let shared = Arc::new(Shared::new(settings.seal_every, settings.column_bytes));
        let access = Access::Write { full, max_bytes: settings.max_file_bytes };
        let db = Db::open(&place, access, &shared)?;
        agree_on_key(&db, settings.key.as_ref())?;
        let state = load(&db, settings.key.as_ref(), &settings.zone)?;
        let writer = Writer { db, desk: Desk::default(), _lock: lock };
        let rules = settings.rules.clone().map(Rules::checked).transpose()?;
        let rules = rules.filter(|rules| *rules != state.rules);
        let cdp = Self::assemble(settings, place, state, Some(writer), shared);
        cdp.complete_erasures();
        if let Some(rules) = rules {
            cdp.set_rules(rules)?;
        }
        Ok(cdp)
    }

    /// Opens a database for reading only.
    pub(crate) fn start_reading(settings: Settings, place: Place) -> Result<Self> {
        let shared = Arc::new(Shared::new(settings.seal_every, settings.column_bytes));
        let db = Db::open(&place, Access::Read, &shared)?;
        db.begin_read()?;
        let state = load(&db, settings.key.as_ref(), &settings.zone)?;
        db.rollback();
        let cdp = Self::assemble(settings, place, state, None, shared);
        cdp.readers().push(db);
        Ok(cdp)
    }

    fn assemble(
        settings: Settings,
        place: Place,
        state: State,
        writer: Option<Writer>,
        shared: Arc<Shared>,
    ) -> Self {
        let syncs = settings.durability == Durability::Full && matches!(place, Place::File(..));
        let inner = Inner {
            place,
            key: settings.key,
            clock: settings.clock,
            ids: ProfileIds::default(),
            zone: settings.zone,
            limits: settings.limits,
            state: RwLock::new(state),
            shared,
            readers: Mutex::default(),
            holder: Mutex::default(),
            queue: Queue::new(syncs),
            subscribers: Mutex::default(),
            writer: writer.map(Mutex::new),
        };
        Self { inner: Arc::new(inner), watcher: None }
    }

    /// This database, with somebody who watches the calls that are made through the handle: `progress` is told now and then
    /// how many events a call has looked at, and may end it. A call that is ended changes nothing, and fails with
    /// [`Error::Cancelled`]; [`maintain`](Self::maintain) and [`erase_all`](Self::erase_all) keep what they had finished.
    ///
    /// That is for calls that go through many events: new rules, a definition of a segment, a question about everybody, an
    /// erasure, maintenance. `progress` runs in the middle of the call, so it must not call the database itself.
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use customerdb::{Cdp, Error, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest((0..2_000).map(|n| Event::track("Search").user_id(format!("u{n}"))))?;
    /// let watched = cdp.watched(|_events| ControlFlow::Break(()));
    /// assert!(matches!(watched.restitch(), Err(Error::Cancelled)));
    /// assert_eq!(cdp.restitch()?.profiles_after, 2_000);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    #[must_use]
    pub fn watched(&self, progress: impl FnMut(u64) -> ControlFlow<()> + Send + 'static) -> Self {
        Self { inner: Arc::clone(&self.inner), watcher: Some(Arc::new(Mutex::new(progress))) }
    }

    /// The state in memory, to be read.
    fn state(&self) -> RwLockReadGuard<'_, State> {
        // A panic while it was written can only have come after the commit, and leaves nothing half done.
        self.inner.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to write.
    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        let writer = self.inner.writer.as_ref().ok_or(Error::ReadOnly)?;
        Ok(writer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Answers a question from one snapshot: of the file, and of the state that belongs to it.
    fn read<T>(&self, question: impl FnOnce(&Db, &State) -> Result<T>) -> Result<T> {
        if let Some(writer) = self.between_turns()? {
            return self.ask(&writer.db, question);
        }
        let idle = self.readers().pop();
        let db = match idle {
            Some(db) => db,
            None => Db::open(&self.inner.place, Access::Read, &self.inner.shared)?,
        };
        let answer = self.ask(&db, question);
        self.readers().push(db);
        answer
    }

    /// Answers a question over one connection, and ends the transaction that it takes.
    fn ask<T>(&self, db: &Db, question: impl FnOnce(&Db, &State) -> Result<T>) -> Result<T> {
        db.watch(self.watcher.as_ref());
        let answer = self.ask_within(db, question);
        db.watch(None);
        db.rollback();
        answer
    }

    fn ask_within<T>(&self, db: &Db, question: impl FnOnce(&Db, &State) -> Result<T>) -> Result<T> {
        // While the state is held no commit returns, so the snapshot taken now is of the same commit.
        let mut state = self.state();
        db.begin_read()?;
        if self.inner.writer.is_none() {
            // Another process may have committed since.
            while db.version()? != state.version {
                drop(state);
                let current = load(db, self.inner.key.as_ref(), self.zone())?;
                *self.inner.state.write().unwrap_or_else(PoisonError::into_inner) = current;
                state = self.state();
            }
        }
        question(db, &state)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Db>> {
        self.inner.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An id for a new profile.
    fn new_profile_id(&self) -> ProfileId {
        self.inner.ids.next(self.now())
    }
}

impl fmt::Debug for Cdp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cdp")
            .field("place", &self.inner.place)
            .field("read_only", &self.inner.writer.is_none())
            .finish_non_exhaustive()
    }
}

/// Sees to it that the key which the application has, or does not have, is the one that hashes in the file are made with.
fn agree_on_key(db: &Db, given: Option<&Key>) -> Result<()> {
    let wrong = |reason: &str| Err(DefinitionError::new("hash_key", reason).into());
    match (given, db.hash_key_mark()?) {
        (None, None) => Ok(()),
        (None, Some(_)) => wrong("missing: the application keeps the key of this file"),
        (Some(key), Some(mark)) if mark == key.mark() => Ok(()),
        (Some(_), Some(_)) => wrong("not the key that the hashes of this file are made with"),
        (Some(_), None) if db.has_hashes()? => {
            wrong("the file has hashes already, made with a key of its own")
        }
        (Some(key), None) => {
            db.begin_write()?;
            let given = db.give_key_away(&key.mark()).and_then(|()| db.commit());
            given.inspect_err(|_| db.rollback()).map_err(Error::from)
        }
    }
}

/// The state of the latest commit that a connection sees, with its definitions on the calendar of a zone.
fn load(db: &Db, key: Option<&Key>, zone: &Zone) -> Result<State> {
    let rules = match db.setting(RULES)? {
        None => Rules::default(),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| Error::Damaged(format!("the rules: {error}")))
            .and_then(|json| {
                let blank = Rules::unlimited();
                blank.changed(&json).map_err(|error| Error::Damaged(format!("the rules: {error}")))
            })?,
    };
    let key = match (key, db.hash_key_mark()?) {
        (None, _) => db.hash_key()?.map(|key| Key::new(&key)),
        (Some(key), Some(mark)) if mark == key.mark() => Some(key.clone()),
        (Some(_), _) => {
            let reason = "not the key that the hashes of this file are made with";
            return Err(DefinitionError::new("hash_key", reason).into());
        }
    };
    Ok(State {
        key,
        identities: db.identities()?,
        rules,
        hand: db.hand()?,
        segments: Definitions::load(db, zone)?,
        refusing: db.refusing(ANALYTICS)?,
        version: db.version()?,
    })
}
