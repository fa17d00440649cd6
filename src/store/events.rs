//! What events name by numbers: sources, names, and aliases that may be told anew.

use rustc_hash::FxHashMap;

use super::packed::damaged;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::event::{Party, Source};
use crate::identity::Node;

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

    /// The names of events with their numbers, which count from 1 without gaps.
    pub(crate) fn event_names(&self) -> Result<Vec<(u32, String)>> {
        let mut select = self.conn.prepare_cached("SELECT name, text FROM event_names ORDER BY name")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let names: Vec<(u32, String)> = rows.collect::<rusqlite::Result<_>>()?;
        // What is held of each has its place: a number that is damaged must not ask for memory.
        match (1..).zip(&names).find(|(expected, (number, _))| number != expected) {
            None => Ok(names),
            Some((expected, (number, _))) => {
                Err(damaged(format!("the name of an event has the number {number}, not {expected}")))
            }
        }
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
        let mut select = self.conn.prepare_cached("SELECT event FROM assumed_user_ids WHERE value = ?1")?;
        let aliases: Vec<i64> =
            select.query_map([value], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        aliases.into_iter().map(|alias| Ok((alias, self.event(alias)?.node))).collect()
    }
}
