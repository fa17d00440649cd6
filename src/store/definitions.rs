//! Definitions beside segments, and what is kept by hand: lists and tags.

use rusqlite::params;

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::Node;

impl Db {
    /// All definitions of a kind (`trait`, `tag` or `policy`): (name, JSON), by name.
    pub(crate) fn definitions(&self, kind: &str) -> Result<Vec<(String, String)>> {
        let sql = "SELECT name, definition FROM definitions WHERE kind = ?1 ORDER BY name";
        let mut select = self.conn.prepare_cached(sql)?;
        Ok(select
            .query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// Stores a definition under its kind and name, or removes it.
    pub(crate) fn put_definition(&self, kind: &str, name: &str, definition: Option<&str>) -> Result<()> {
        if let Some(definition) = definition {
            let sql = "INSERT OR REPLACE INTO definitions (kind, name, definition) VALUES (?1, ?2, ?3)";
            self.conn.prepare_cached(sql)?.execute((kind, name, definition))?;
        } else {
            let sql = "DELETE FROM definitions WHERE kind = ?1 AND name = ?2";
            self.conn.prepare_cached(sql)?.execute((kind, name))?;
        }
        Ok(())
    }

    /// Puts an identifier on a list.
    pub(crate) fn put_on_list(&self, segment: i64, node: Node, now: Timestamp) -> Result<()> {
        let sql = "INSERT OR IGNORE INTO list_members (segment, node, at) VALUES (?1, ?2, ?3)";
        self.conn.prepare_cached(sql)?.execute((segment, node.0, now.as_micros()))?;
        Ok(())
    }

    /// Takes an identifier off a list.
    pub(crate) fn take_off_list(&self, segment: i64, node: Node) -> Result<()> {
        let sql = "DELETE FROM list_members WHERE segment = ?1 AND node = ?2";
        self.conn.prepare_cached(sql)?.execute((segment, node.0))?;
        Ok(())
    }

    /// The lists that an identifier is on, each with since when.
    pub(crate) fn lists_of(&self, node: Node) -> Result<Vec<(String, Timestamp)>> {
        let mut select = self.conn.prepare_cached(
            "SELECT s.name, l.at FROM list_members l JOIN segments s USING (segment) WHERE l.node = ?1",
        )?;
        let rows =
            select.query_map([node.0], |row| Ok((row.get(0)?, Timestamp::from_micros(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Gives an identifier a tag, in place of one of that name.
    pub(crate) fn give_tag(
        &self,
        node: Node,
        tag: &str,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO given_tags (node, tag, at, expires) VALUES (?1, ?2, ?3, ?4)";
        let values = params![node.0, tag, now.as_micros(), expires.map(Timestamp::as_micros)];
        self.conn.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Takes a tag from an identifier. False if it was not given.
    pub(crate) fn take_tag(&self, node: Node, tag: &str) -> Result<bool> {
        let sql = "DELETE FROM given_tags WHERE node = ?1 AND tag = ?2";
        Ok(self.conn.prepare_cached(sql)?.execute((node.0, tag))? > 0)
    }

    /// The tags that an identifier was given: (name, since when, until when).
    pub(crate) fn tags_of(&self, node: Node) -> Result<Vec<(String, Timestamp, Option<Timestamp>)>> {
        let mut select = self
            .conn
            .prepare_cached("SELECT tag, at, expires FROM given_tags WHERE node = ?1 ORDER BY tag")?;
        let rows = select.query_map([node.0], |row| {
            let expires: Option<i64> = row.get(2)?;
            Ok((row.get(0)?, Timestamp::from_micros(row.get(1)?), expires.map(Timestamp::from_micros)))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The accounts that a node is a member of, each with since when: (number, time).
    pub(crate) fn joined_accounts(&self, node: Node) -> Result<Vec<(i64, Timestamp)>> {
        let mut select = self.conn.prepare_cached(
            "SELECT account, min(at) FROM account_members WHERE node = ?1 GROUP BY account",
        )?;
        let rows =
            select.query_map([node.0], |row| Ok((row.get(0)?, Timestamp::from_micros(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The nodes that are members of an account.
    pub(crate) fn members_of_account(&self, id: &str) -> Result<Vec<Node>> {
        let mut select = self.conn.prepare_cached(
            "SELECT DISTINCT m.node FROM account_members m JOIN accounts a USING (account) WHERE a.id = ?1",
        )?;
        Ok(select.query_map([id], |row| row.get(0).map(Node))?.collect::<rusqlite::Result<_>>()?)
    }
}
