//! Going through the log for a question about everybody.

use std::ops::ControlFlow;

use serde_json::Value;

use super::block::{Entry, NOBODY};
use super::{Asked, Log, Place};
use crate::clock::Timestamp;
use crate::identity::Node;
use crate::store::{Db, Result};

/// An event of the log that somebody holds, as long as it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visited<'r> {
    pub(crate) node: Node,
    pub(crate) at: Timestamp,
    pub(crate) name: u32,
    pub(crate) event: u32,
    /// The members that were asked for, in that order; none if none were.
    pub(crate) values: &'r [Option<&'r Value>],
}

impl Db {
    /// Calls `each` with every event in [from, until) that belongs to somebody and whose name `wanted` is true of, in
    /// any order, with the members that are asked for. `pause` is called now and then with how many were looked at, and
    /// may end the visit.
    pub(crate) fn visit_events(
        &self,
        (from, until): (Option<Timestamp>, Option<Timestamp>),
        asked: Option<Asked<'_>>,
        wanted: impl Fn(u32) -> bool,
        mut pause: impl FnMut(u64) -> ControlFlow<()>,
        mut each: impl FnMut(Visited<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.catch_up()?;
        let from = from.map_or(i64::MIN, Timestamp::as_micros);
        let until = until.map_or(i64::MAX, Timestamp::as_micros);
        let places: Vec<Place> = self
            .log
            .borrow()
            .places()
            .filter(|place| place.times.1 >= from && place.times.0 < until)
            .collect();
        let mut found: Vec<Entry> = Vec::new();
        let fits = |log: &Log, entry: Entry| {
            let owned = Entry { node: log.moves.owner(entry.event, entry.node), ..entry };
            (owned.node != NOBODY && owned.at >= from && owned.at < until && wanted(owned.name))
                .then_some(owned)
        };
        let mut seen = 0;
        let mut pass = |found: &mut Vec<Entry>, looked_at: usize| -> ControlFlow<()> {
            seen += looked_at as u64;
            pause(seen)?;
            if asked.is_some() {
                return ControlFlow::Continue(());
            }
            found.drain(..).try_for_each(|entry| each(visited(entry, &[])))
        };
        for place in places {
            let block = self.block(&place)?;
            self.looked_at(block.len())?;
            let columns = block.columns();
            if columns.only_name().is_some_and(|name| !wanted(name)) {
                continue;
            }
            let log = self.log.borrow();
            for (node, places) in block.runs() {
                for place in places {
                    if wanted(columns.name(place)) {
                        found.extend(fits(&log, columns.entry(node, place)));
                    }
                }
            }
            drop(log);
            if pass(&mut found, block.len()).is_break() {
                return Ok(());
            }
        }
        let tail: Vec<Entry> = {
            let log = self.log.borrow();
            log.tail.entries().iter().filter_map(|entry| fits(&log, *entry)).collect()
        };
        let looked_at = tail.len();
        found.extend(tail);
        if pass(&mut found, looked_at).is_break() {
            return Ok(());
        }
        let Some(asked) = asked else { return Ok(()) };
        let each = |entry, values: &[Option<&Value>]| each(visited(entry, values));
        self.with_values(found, asked, |looked_at| pause(seen + looked_at), each)
    }

    /// The message ids of events, one after the other.
    pub(crate) fn message_ids(&self, events: &[u32]) -> Result<Vec<String>> {
        self.catch_up()?;
        events.iter().map(|event| self.with_text(*event, |text| text.id.to_owned())).collect()
    }
}

fn visited<'r>(entry: Entry, values: &'r [Option<&'r Value>]) -> Visited<'r> {
    let at = Timestamp::from_micros(entry.at);
    Visited { node: Node(entry.node), at, name: entry.name, event: entry.event, values }
}
