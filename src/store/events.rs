//! The log of events, and the ways into it.

use std::ops::ControlFlow;

use rusqlite::{Row, params};
use rustc_hash::FxHashMap;

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::event::{Party, Source};
use crate::identity::Node;

/// The column of the name in [`SELECT_EVENTS`].
const NAME: usize = 2;

/// An event to be appended to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEvent<'e> {
    pub(crate) node: Node,
    pub(crate) at: Timestamp,
    pub(crate) name: u32,
    pub(crate) source: u32,
    pub(crate) message_id: &'e str,
    pub(crate) json: &'e str,
}

/// An event as the log has it.
#[derive(Debug, Clone)]
pub(crate) struct StoredEvent {
    pub(crate) node: Option<Node>,
    pub(crate) at: Timestamp,
    pub(crate) name: String,
    pub(crate) source: u32,
    pub(crate) message_id: String,
    pub(crate) json: String,
}

/// An event of the log that somebody holds, as long as it is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visited<'r> {
    pub(crate) node: Node,
    pub(crate) at: Timestamp,
    pub(crate) name: u32,
    pub(crate) message_id: &'r str,
    pub(crate) json: &'r str,
}

const SELECT_EVENTS: &str = "SELECT e.node, e.at, n.text, e.source, e.message_id, e.json
                             FROM events e JOIN event_names n USING (name)";

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredEvent> {
    Ok(StoredEvent {
        node: row.get::<_, Option<u32>>(0)?.map(Node),
        at: Timestamp::from_micros(row.get(1)?),
        name: row.get(NAME)?,
        source: row.get(3)?,
        message_id: row.get(4)?,
        json: row.get(5)?,
    })
}

impl Db {
    /// The number of a source, a new one if need be.
    pub(crate) fn source(&self, source: &Source) -> Result<u32> {
        let (name, party) = (&source.name, source.party.as_str());
        let mut insert = self
            .conn
            .prepare_cached("INSERT INTO sources (name, party) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?;
        insert.execute((name, party))?;
        let mut select =
            self.conn.prepare_cached("SELECT source FROM sources WHERE name = ?1 AND party = ?2")?;
        Ok(select.query_row((name, party), |row| row.get(0))?)
    }

    /// All sources with their numbers.
    pub(crate) fn sources(&self) -> Result<FxHashMap<u32, Source>> {
        let mut select = self.conn.prepare_cached("SELECT source, name, party FROM sources")?;
        let rows = select.query_map([], |row| {
            let party: String = row.get(2)?;
            let party: Party = party.parse().unwrap_or_default();
            Ok((row.get(0)?, Source::new(row.get::<_, String>(1)?).party(party)))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The number of an event name, a new one if need be.
    pub(crate) fn event_name(&self, name: &str) -> Result<u32> {
        let mut select = self.conn.prepare_cached("SELECT name FROM event_names WHERE text = ?1")?;
        if let Some(row) = select.query([name])?.next()? {
            return Ok(row.get(0)?);
        }
        let mut insert =
            self.conn.prepare_cached("INSERT INTO event_names (text) VALUES (?1) RETURNING name")?;
        Ok(insert.query_row([name], |row| row.get(0))?)
    }

    /// The JSON of the event that bears a message id.
    pub(crate) fn json_of(&self, message_id: &str) -> Result<Option<String>> {
        let mut select = self.conn.prepare_cached("SELECT json FROM events WHERE message_id = ?1")?;
        let mut rows = select.query([message_id])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }

    /// Appends an event to the log, and gives its number.
    pub(crate) fn add_event(&self, event: NewEvent<'_>) -> Result<i64> {
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO events (node, at, name, source, message_id, json) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?;
        insert.execute(params![
            event.node.0,
            event.at.as_micros(),
            event.name,
            event.source,
            event.message_id,
            event.json
        ])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// One event of the log.
    pub(crate) fn event(&self, event: i64) -> Result<StoredEvent> {
        let mut select = self.conn.prepare_cached(&format!("{SELECT_EVENTS} WHERE e.event = ?1"))?;
        Ok(select.query_row([event], stored)?)
    }

    /// Gives an event to another identifier, or to none.
    pub(crate) fn give_event(&self, event: i64, node: Option<Node>) -> Result<()> {
        let mut update = self.conn.prepare_cached("UPDATE events SET node = ?2 WHERE event = ?1")?;
        update.execute((event, node.map(|node| node.0)))?;
        Ok(())
    }

    /// Calls `each` with every event of a node whose name is wanted, from the oldest to the newest.
    pub(crate) fn events_of(
        &self,
        node: Node,
        wanted: impl Fn(&str) -> bool,
        mut each: impl FnMut(StoredEvent),
    ) -> Result<()> {
        let sql = format!("{SELECT_EVENTS} WHERE e.node = ?1 ORDER BY e.at");
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut rows = select.query([node.0])?;
        while let Some(row) = rows.next()? {
            if wanted(row.get_ref(NAME)?.as_str().map_err(rusqlite::Error::from)?) {
                each(stored(row)?);
            }
        }
        Ok(())
    }

    /// The names of events with their numbers.
    pub(crate) fn event_names(&self) -> Result<Vec<(u32, String)>> {
        let mut select = self.conn.prepare_cached("SELECT name, text FROM event_names ORDER BY name")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Calls `each` with every event in [from, until) that belongs to somebody and whose name `wanted` is true of, in
    /// any order. Message ids and JSON are empty unless they are asked for. `pause` is called now and then with how many were looked at, and may end the visit.
    pub(crate) fn visit_events(
        &self,
        (from, until): (Option<Timestamp>, Option<Timestamp>),
        (ids, contents): (bool, bool),
        wanted: impl Fn(u32) -> bool,
        mut pause: impl FnMut(u64) -> ControlFlow<()>,
        mut each: impl FnMut(Visited<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        const OFTEN: u64 = 1 << 10;
        let id = if ids { "message_id" } else { "''" };
        let json = if contents { "json" } else { "''" };
        let mut select = self.conn.prepare_cached(&format!(
            "SELECT node, at, name, {id}, {json} FROM events WHERE node IS NOT NULL AND at >= ?1 AND at < ?2"
        ))?;
        let from = from.map_or(i64::MIN, Timestamp::as_micros);
        let mut rows = select.query((from, until.map_or(i64::MAX, Timestamp::as_micros)))?;
        let mut seen = 0;
        while let Some(row) = rows.next()? {
            seen += 1;
            if seen % OFTEN == 0 && pause(seen).is_break() {
                break;
            }
            let name = row.get(2)?;
            if !wanted(name) {
                continue;
            }
            let visited = Visited {
                node: Node(row.get(0)?),
                at: Timestamp::from_micros(row.get(1)?),
                name,
                message_id: row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?,
                json: row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?,
            };
            if each(visited).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Up to `limit` of a node's events, the newest first: by time, then by message id.
    pub(crate) fn latest_events_of(&self, node: Node, limit: usize) -> Result<Vec<StoredEvent>> {
        let sql = format!("{SELECT_EVENTS} WHERE e.node = ?1 ORDER BY e.at DESC, e.message_id DESC LIMIT ?2");
        let mut select = self.conn.prepare_cached(&sql)?;
        let rows = select.query_map((node.0, i64::try_from(limit).unwrap_or(i64::MAX)), stored)?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// When a node's first and last events happened, and how many it has.
    pub(crate) fn span_of(&self, node: Node) -> Result<Option<(Timestamp, Timestamp, u64)>> {
        let sql = "SELECT min(at), max(at), count(*) FROM events WHERE node = ?1";
        let (first, last, count): (Option<i64>, Option<i64>, u64) = self
            .conn
            .prepare_cached(sql)?
            .query_row([node.0], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        Ok(first
            .zip(last)
            .map(|(first, last)| (Timestamp::from_micros(first), Timestamp::from_micros(last), count)))
    }

    /// Remembers that an alias was resolved with its `previousId` taken for a `user_id`.
    pub(crate) fn assume_user_id(&self, value: &str, event: i64) -> Result<()> {
        let mut insert = self.conn.prepare_cached("INSERT INTO assumed_user_ids VALUES (?1, ?2)")?;
        insert.execute((value, event))?;
        Ok(())
    }

    /// Whether any alias was resolved with its `previousId` taken for a `user_id`.
    pub(crate) fn has_assumptions(&self) -> Result<bool> {
        let mut select = self.conn.prepare_cached("SELECT 1 FROM assumed_user_ids LIMIT 1")?;
        Ok(select.exists([])?)
    }

    /// The aliases that were resolved with this value taken for a `user_id`, each with whose it is.
    pub(crate) fn aliases_assuming(&self, value: &str) -> Result<Vec<(i64, Option<Node>)>> {
        let mut select = self.conn.prepare_cached(
            "SELECT e.event, e.node FROM assumed_user_ids a JOIN events e USING (event) WHERE a.value = ?1",
        )?;
        let rows =
            select.query_map([value], |row| Ok((row.get(0)?, row.get::<_, Option<u32>>(1)?.map(Node))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
