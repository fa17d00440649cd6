//! Values of traits that were set right by hand.

use rusqlite::params;

use super::packed::Touched;
use super::traits::pinned;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::Node;
use crate::profile::Trait;

impl Db {
    /// Sets a trait right for an identifier, whatever events assert, and gives what stands for the message id.
    pub(crate) fn pin(&self, node: Node, name: &str, value: &str, now: Timestamp) -> Result<String> {
        self.note(Touched::Trait);
        let mut insert =
            self.conn.prepare_cached("INSERT INTO pins (node, name, at, value) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![node.0, name, now.as_micros(), value])?;
        Ok(format!("rectify:{}", self.conn.last_insert_rowid()))
    }

    /// What was set right for an identifier: (trait, value).
    pub(crate) fn pins_of(&self, node: Node) -> Result<Vec<(String, Trait)>> {
        let mut select =
            self.conn.prepare_cached("SELECT value, at, pin, name FROM pins WHERE node = ?1 ORDER BY pin")?;
        Ok(select.query_map([node.0], pinned)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Takes back whatever was set right of an identifier's trait. False if nothing was.
    pub(crate) fn take_pin(&self, node: Node, name: &str) -> Result<bool> {
        self.note(Touched::Trait);
        let mut delete = self.conn.prepare_cached("DELETE FROM pins WHERE node = ?1 AND name = ?2")?;
        Ok(delete.execute((node.0, name))? > 0)
    }
}
