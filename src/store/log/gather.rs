//! Putting together what came a few events at a time.
//!
//! Whoever takes events in one by one commits a row of the log with each: one event, compressed by itself, of which nothing
//! is left but what its neighbours do not have. Rows of as many events as those of a large import take a quarter less. So what
//! is sealed, and changes no more, is written anew in such rows, once. Nothing but the rows becomes another: events keep their
//! numbers, and whoever looks for one finds the row that covers it.

use super::group::Draft;
use super::press::{EVENTS, Press};
use super::{number, read};
use crate::store::{Db, Result};

/// The number up to which that was done, in the settings.
const GATHERED: &str = "gathered";

/// As many rows are looked at in a transaction, and as many are in memory at once.
const ROWS: usize = if cfg!(test) { 40 } else { 1 << 15 };
pub(super) const AT_ONCE: usize = if cfg!(test) { 10 } else { 1 << 10 };

/// A row is small with fewer events than this, and fewer bytes: a quarter of a page.
const FEW: u32 = EVENTS / 2;
const SMALL: usize = 1_000;

/// A row of the log.
struct Row {
    first: u32,
    until: u32,
    is_small: bool,
}

impl Db {
    /// Puts small rows of the log together that follow each other, of those that are sealed and were not looked at yet. Gives how
    /// many numbers they cover; `None` if there were none to be looked at.
    pub(crate) fn gather(&self) -> Result<Option<u64>> {
        self.catch_up()?;
        self.write_groups()?;
        let (from, sealed) = (number(self.counter(GATHERED)?)?, self.log.borrow().tail.from());
        let rows: Vec<Row> = {
            let mut select = self.conn.prepare_cached(
                "SELECT first, span, length(bytes) FROM log WHERE first >= ?1 AND first < ?2 ORDER BY first LIMIT ?3",
            )?;
            let rows = select.query_map((from, sealed, ROWS), |row| {
                let (first, span, bytes): (u32, u32, usize) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(Row { first, until: first.saturating_add(span), is_small: span < FEW && bytes < SMALL })
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let Some(until) = rows.last().map(|row| row.until) else { return Ok(None) };
        let mut reading = Press::new(self.log.borrow().press.dictionary().cloned());
        let mut gathered = 0;
        for run in rows.chunk_by(|a, b| a.is_small && b.is_small).flat_map(|run| run.chunks(AT_ONCE)) {
            if let [first, .., last] = run {
                match self.rewrite_rows(first.first, last.until, &mut reading) {
                    Ok(()) => gathered += u64::from(last.until - first.first),
                    // Found before anything is written. Whoever reads it is told; the rest need not stay as it is.
                    Err(failure) if failure.is_contradiction() => {}
                    failed => return failed.map(|()| None),
                }
            }
        }
        self.set(GATHERED, until)?;
        if gathered > 0 {
            // Whoever has read some of them would find the small ones first.
            self.log.borrow_mut().groups.clear();
            self.note_layout()?;
        }
        Ok(Some(gathered))
    }

    /// Writes the rows anew that cover a range of numbers, with as many events each as those that come together have.
    pub(super) fn rewrite_rows(&self, from: u32, until: u32, reading: &mut Press) -> Result<()> {
        let mut written: Vec<(u32, u32, Vec<u8>)> = Vec::new();
        {
            let mut log = self.log.borrow_mut();
            let press = &mut log.press;
            let (mut draft, mut first) = (Draft::default(), from);
            let mut select = self.conn.prepare_cached(
                "SELECT first, span, crc, bytes FROM log WHERE first >= ?1 AND first < ?2 ORDER BY first",
            )?;
            let mut rows = select.query((from, until))?;
            while let Some(row) = rows.next()? {
                let (_, _, group) = read::group(row, reading)?;
                self.looked_at(group.iter().len())?;
                for text in group.iter() {
                    draft.push(text.entry, text.id, text.json);
                    if draft.is_full(press) {
                        let next = text.entry.event + 1;
                        let bytes = draft.write(first, press);
                        press.note(draft.len(), bytes.len());
                        draft.clear();
                        written.push((first, next - first, bytes));
                        first = next;
                    }
                }
            }
            // Numbers of events that were removed are covered too.
            if first < until {
                written.push((first, until - first, draft.write(first, press)));
            }
        }
        self.conn
            .prepare_cached("DELETE FROM log WHERE first >= ?1 AND first < ?2")?
            .execute((from, until))?;
        written.iter().try_for_each(|(first, span, bytes)| self.put_group(*first, *span, bytes))
    }
}
