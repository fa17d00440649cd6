//! Calls that change something, each a transaction of its own.

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::{Batch, Cdp};
use crate::error::{Error, Result};
use crate::event::Source;
use crate::pipeline::input::{Counted, Input, Item, Progress, is_named_lines, read_events};
use crate::pipeline::membership;
use crate::pipeline::report::{IngestReport, Tally};

/// How many events of a file are committed together.
const BATCH: usize = 10_000;

/// How long a batch stays open that gets no more events.
const PATIENCE: Duration = Duration::from_secs(1);

/// How many handfuls of events may be read ahead of the writer.
const AHEAD: usize = 8;

impl Cdp {
    /// Takes events in from the source named `default`, as one transaction.
    ///
    /// Bad events are refused and kept in quarantine, and do not spoil the others; a position in the report counts
    /// from 0. When this returns, the events are on the disk as far as the configured durability says, and every
    /// segment's members are right.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// let bought = Event::track("Order Completed").user_id("u1").message_id("m1").property("revenue", 129);
    /// let report = cdp.ingest([bought.clone(), bought, Event::track("Search")])?;
    /// assert_eq!((report.accepted, report.duplicates), (1, 1));
    /// assert_eq!(report.rejected[0].reason, "userId: missing, and so are anonymousId and every other identifier");
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the storage says, [`Error::Full`] among it. Nothing of the batch is kept then, in memory or on the disk.
    pub fn ingest(&self, events: impl IntoIterator<Item = impl Into<Input>>) -> Result<IngestReport> {
        self.ingest_from(&Source::default(), events)
    }

    /// Takes events in from a source, as one transaction. Small calls that wait for each other share one, so that many
    /// threads which each ingest a few events need not wait for the disk once each.
    ///
    /// # Errors
    ///
    /// Those of [`ingest`](Self::ingest).
    pub fn ingest_from(
        &self,
        source: &Source,
        events: impl IntoIterator<Item = impl Into<Input>>,
    ) -> Result<IngestReport> {
        self.take_in(source, events)
    }

    /// Takes in a file of events: JSON, one event a line, or a JSON array, as it is or packed with gzip or zstd.
    ///
    /// The events are committed 10,000 at a time. A position in the report is a line, counted from 1. Doing it twice
    /// changes nothing: the second time all events are duplicates.
    ///
    /// ```no_run
    /// use customerdb::{Cdp, Source};
    ///
    /// let cdp = Cdp::open("customers.db")?;
    /// let report = cdp.ingest_file("events.jsonl.gz", &Source::new("web"))?;
    /// for rejected in &report.rejected {
    ///     eprintln!("events.jsonl.gz:{}: {}", rejected.position, rejected.reason);
    /// }
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be read, or what the storage says. What was committed before stays.
    pub fn ingest_file(&self, path: impl AsRef<Path>, source: &Source) -> Result<IngestReport> {
        self.ingest_file_with(path, source, |_| ControlFlow::Continue(()))
    }

    /// Takes in a file as [`ingest_file`](Self::ingest_file) does, and tells how far it has come after each commit.
    ///
    /// # Errors
    ///
    /// Those of [`ingest_file`](Self::ingest_file), and [`Error::Cancelled`] if `progress` breaks; what was committed
    /// before stays.
    pub fn ingest_file_with(
        &self,
        path: impl AsRef<Path>,
        source: &Source,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<IngestReport> {
        let path = path.as_ref();
        let io = |error| Error::Io { path: path.to_owned(), source: error };
        let file = File::open(path).map_err(io)?;
        let size = file.metadata().map_err(io)?.len();
        let stream = Stream { lines: is_named_lines(path), size: Some(size), name: path.to_owned() };
        self.ingest_stream(file, stream, source, progress)
    }

    /// Takes in events from a reader as [`ingest_file_with`](Self::ingest_file_with) does.
    ///
    /// # Errors
    ///
    /// Those of [`ingest_file_with`](Self::ingest_file_with).
    pub fn ingest_reader(
        &self,
        reader: impl Read + Send,
        source: &Source,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<IngestReport> {
        let stream = Stream { lines: false, size: None, name: PathBuf::from("the reader") };
        self.ingest_stream(reader, stream, source, progress)
    }

    /// Reads and parses on a second thread while this one writes.
    fn ingest_stream(
        &self,
        reader: impl Read + Send,
        stream: Stream,
        source: &Source,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<IngestReport> {
        let bytes = Arc::new(AtomicU64::new(0));
        let reader = Counted { inner: reader, count: Arc::clone(&bytes) };
        let max_bytes = self.inner.limits.max_bytes;
        let (hand, handed) = mpsc::sync_channel::<Vec<Item>>(AHEAD);
        // What has been taken in goes back to be freed by the thread that made it: two threads that make and free
        // events of each other would fight for the allocator.
        let (used, spent) = mpsc::channel::<Vec<Item>>();
        thread::scope(|scope| {
            // Dropped on every way out, so that a reader that waits to hand over more ends, and the scope with it.
            let handed = handed;
            let reading = scope.spawn(move || {
                read_events(reader, stream.lines, max_bytes, |items| {
                    spent.try_iter().for_each(drop);
                    hand.send(items).is_ok()
                })
            });
            let mut whole = IngestReport::default();
            let mut tell = |whole: &IngestReport| {
                let bytes = bytes.load(Ordering::Relaxed);
                match progress(Progress { bytes, of: stream.size, events: whole.events() }) {
                    ControlFlow::Continue(()) => Ok(()),
                    ControlFlow::Break(()) => Err(Error::Cancelled),
                }
            };
            let mut tally = Tally::default();
            // Begun when there is something to take in, so that a slow source keeps no other writer waiting.
            let mut open: Option<(Batch<'_>, usize)> = None;
            loop {
                let (full, ended) = match handed.recv_timeout(PATIENCE) {
                    Ok(items) => {
                        let (mut batch, taken) = match open.take() {
                            Some(open) => open,
                            None => (self.begin_counting(std::mem::take(&mut tally))?, 0),
                        };
                        let readings: Vec<_> = items.iter().map(|item| (item.line, &item.reading)).collect();
                        batch.take(source, &readings)?;
                        let taken = taken + items.len();
                        // The reader may be done, and gone.
                        let _ = used.send(items);
                        open = Some((batch, taken));
                        (taken >= BATCH, false)
                    }
                    Err(RecvTimeoutError::Timeout) => (true, false),
                    Err(RecvTimeoutError::Disconnected) => (true, true),
                };
                if let Some((batch, _)) = open.take_if(|_| full) {
                    let report;
                    (report, tally) = batch.commit_counting()?;
                    whole.add(report);
                    tell(&whole)?;
                }
                if ended {
                    break;
                }
            }
            match reading.join() {
                Ok(read) => read.map_err(|source| Error::Io { path: stream.name, source })?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
            Ok(whole)
        })
    }

    /// Brings segments up to date with the clock: moves out, and in, those whose membership time alone has changed.
    ///
    /// Every answer is right for the clock's now without this; it saves them the work of finding out.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn advance(&self) -> Result<()> {
        let turn = self.turn()?;
        {
            let state = self.state();
            membership::settle_time(turn.db(), &state.identities, &state.segments, self.now())?;
        }
        turn.publish(|_| {})
    }

    /// Takes all refused events in once more, and lets go of those that are accepted now, or that were accepted
    /// in the meantime. A position in the report counts the refused events from 0.
    ///
    /// # Errors
    ///
    /// Those of [`ingest`](Self::ingest).
    pub fn replay_quarantine(&self) -> Result<IngestReport> {
        const PAGE: usize = 1_000;
        let mut batch = self.begin()?;
        let (sources, max_bytes) = (batch.db().sources()?, self.inner.limits.max_bytes);
        let (mut after, mut position) = (0, 0);
        loop {
            let page = batch.db().quarantined(after, PAGE)?;
            let Some(last) = page.last() else { return batch.commit() };
            after = last.entry;
            for kept in page {
                let source = sources.get(&kept.source).cloned().unwrap_or_default();
                let rejected = batch.report()?.rejected.len();
                batch.take(&source, &[(position, &Input::from(kept.raw).read(max_bytes))])?;
                if batch.report()?.rejected.len() == rejected {
                    batch.db().remove_quarantined(kept.entry)?;
                }
                position += 1;
            }
        }
    }

    /// Lets go of all refused events, and says how many there were.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn purge_quarantine(&self) -> Result<usize> {
        let turn = self.turn()?;
        let purged = turn.db().purge_quarantine()?;
        turn.publish(|_| {})?;
        Ok(purged)
    }
}

/// What is known of a stream of events besides its bytes.
struct Stream {
    /// Whether it is JSON lines whatever it begins with.
    lines: bool,
    size: Option<u64>,
    /// For errors.
    name: PathBuf,
}
