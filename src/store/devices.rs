//! Devices that several users share: who was seen on them when, and whose their anonymous events are.

use rusqlite::params;

use super::packed::Touched;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::Node;

/// An anonymous event of a device.
#[derive(Debug, Clone)]
pub(crate) struct Loose {
    pub(crate) event: i64,
    pub(crate) at: Timestamp,
    pub(crate) message_id: String,
}

impl Db {
    /// Notes that a user was seen on a device.
    pub(crate) fn add_sighting(
        &self,
        device: Node,
        at: Timestamp,
        message_id: &str,
        user: Node,
    ) -> Result<()> {
        let mut insert = self.conn.prepare_cached("INSERT INTO sightings VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![device.0, at.as_micros(), message_id, user.0])?;
        Ok(())
    }

    /// Notes an anonymous event of a device.
    pub(crate) fn add_anonymous(
        &self,
        device: Node,
        at: Timestamp,
        message_id: &str,
        event: i64,
    ) -> Result<()> {
        let mut insert = self.conn.prepare_cached("INSERT INTO anonymous_events VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![device.0, at.as_micros(), message_id, event])?;
        Ok(())
    }

    /// Who was last seen on a device before an event: when, by which event, and who.
    pub(crate) fn seen_before(
        &self,
        device: Node,
        at: Timestamp,
        message_id: &str,
    ) -> Result<Option<(Timestamp, String, Node)>> {
        let mut select = self.conn.prepare_cached(
            "SELECT at, message_id, node FROM sightings WHERE device = ?1 AND (at, message_id) < (?2, ?3)
             ORDER BY at DESC, message_id DESC LIMIT 1",
        )?;
        let mut rows = select.query(params![device.0, at.as_micros(), message_id])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        Ok(Some((Timestamp::from_micros(row.get(0)?), row.get(1)?, Node(row.get(2)?))))
    }

    /// The anonymous events of a device after a sighting and before the next one.
    pub(crate) fn anonymous_after(
        &self,
        device: Node,
        at: Timestamp,
        message_id: &str,
    ) -> Result<Vec<Loose>> {
        let mut select = self.conn.prepare_cached(
            "SELECT e.event, e.at, e.message_id FROM anonymous_events e
             WHERE e.device = ?1 AND (e.at, e.message_id) > (?2, ?3) AND NOT EXISTS (
                 SELECT 1 FROM sightings s WHERE s.device = ?1 AND (s.at, s.message_id) > (?2, ?3)
                 AND (s.at, s.message_id) < (e.at, e.message_id)
             ) ORDER BY e.at, e.message_id",
        )?;
        let rows = select.query_map(params![device.0, at.as_micros(), message_id], |row| {
            let at = Timestamp::from_micros(row.get(1)?);
            Ok(Loose { event: row.get(0)?, at, message_id: row.get(2)? })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The devices that an anonymous event bears.
    pub(crate) fn devices_of(&self, event: i64) -> Result<Vec<Node>> {
        let mut select = self.conn.prepare_cached("SELECT device FROM anonymous_events WHERE event = ?1")?;
        Ok(select.query_map([event], |row| row.get(0).map(Node))?.collect::<rusqlite::Result<_>>()?)
    }

    /// Gives an event, with what it asserted, to another identifier.
    pub(crate) fn move_event(&self, event: i64, message_id: &str, from: Node, to: Node) -> Result<()> {
        self.give_event(event, Some(to))?;
        self.note(Touched::Trait);
        self.no_more_silent(to);
        self.move_assertion(event, to)?;
        let sql = "UPDATE account_members SET node = ?1 WHERE node = ?2 AND message_id = ?3";
        self.conn.prepare_cached(sql)?.execute((to.0, from.0, message_id))?;
        Ok(())
    }

    /// Notes that a device is nobody's because several users share it, or that it no longer is.
    pub(crate) fn set_shared(&self, device: Node, shared: bool) -> Result<()> {
        let sql = if shared {
            "INSERT OR IGNORE INTO shared_devices VALUES (?1)"
        } else {
            "DELETE FROM shared_devices WHERE node = ?1"
        };
        self.conn.prepare_cached(sql)?.execute([device.0])?;
        Ok(())
    }
}
