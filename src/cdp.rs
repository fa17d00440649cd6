//! The handle.

mod answers;
mod batch;
mod read;
mod write;

use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

pub use self::answers::{EventRecord, Explanation, Person, QuarantineEntry, RefusedIdentifier, SegmentSize};
pub use self::batch::Batch;
use crate::builder::CdpBuilder;
use crate::clock::{Clock, Timestamp};
use crate::error::{Error, Result};
use crate::event::EventLimits;
use crate::id::ProfileId;
use crate::pipeline::membership::Live;
use crate::pipeline::replay::RULES;
use crate::pipeline::{Desk, State, VERSION};
use crate::store::{Access, Db, FileLock, Place};

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
}

struct Inner {
    place: Place,
    clock: Arc<dyn Clock>,
    limits: EventLimits,
    /// What the last commit left. Written only while a commit returns, so whoever reads it finds it and the file
    /// to agree.
    state: RwLock<State>,
    /// Connections for readers that are not in use.
    readers: Mutex<Vec<Db>>,
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

    /// The instant that counts as now, from the configured clock.
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    pub(crate) fn start(builder: CdpBuilder, place: Place, lock: Option<FileLock>) -> Result<Self> {
        let db = Db::open(&place, builder.access())?;
        let state = load(&db)?;
        let writer = Writer { db, desk: Desk::default(), _lock: lock };
        let rules = builder.rules.clone().filter(|rules| *rules != state.rules);
        let cdp = Self::assemble(builder, place, state, Some(writer));
        if let Some(rules) = rules {
            cdp.set_rules(rules)?;
        }
        Ok(cdp)
    }

    pub(crate) fn start_reading(builder: CdpBuilder, place: Place) -> Result<Self> {
        let db = Db::open(&place, Access::Read)?;
        db.begin_read()?;
        let state = load(&db)?;
        drop(db);
        Ok(Self::assemble(builder, place, state, None))
    }

    fn assemble(builder: CdpBuilder, place: Place, state: State, writer: Option<Writer>) -> Self {
        let inner = Inner {
            place,
            clock: builder.clock,
            limits: builder.limits,
            state: RwLock::new(state),
            readers: Mutex::default(),
            writer: writer.map(Mutex::new),
        };
        Self { inner: Arc::new(inner) }
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
        let idle = self.readers().pop();
        let db = match idle {
            Some(db) => db,
            None => Db::open(&self.inner.place, Access::Read)?,
        };
        let answer = self.read_with(&db, question);
        db.rollback();
        self.readers().push(db);
        answer
    }

    fn read_with<T>(&self, db: &Db, question: impl FnOnce(&Db, &State) -> Result<T>) -> Result<T> {
        // While the state is held no commit returns, so the snapshot taken now is of the same commit.
        let mut state = self.state();
        db.begin_read()?;
        if self.inner.writer.is_none() {
            // Another process may have committed since.
            while db.counter(VERSION)? != state.version {
                drop(state);
                let current = load(db)?;
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
        ProfileId::new(self.now())
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

/// The state of the latest commit that a connection sees.
fn load(db: &Db) -> Result<State> {
    let rules = match db.setting(RULES)? {
        None => crate::identity::Rules::default(),
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| Error::Damaged(format!("the rules: {error}")))
            .and_then(|json| {
                let blank = crate::identity::Rules::unlimited();
                blank.changed(&json).map_err(|error| Error::Damaged(format!("the rules: {error}")))
            })?,
    };
    Ok(State { identities: db.identities()?, rules, segments: Live::all(db)?, version: db.counter(VERSION)? })
}
