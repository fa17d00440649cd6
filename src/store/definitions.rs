//! Definitions beside segments, and what is kept by hand: lists and tags.

use rusqlite::{Params, Row, params};

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::Node;

/// A place on a list, or a tag, as it was given to an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ByHand {
    pub(crate) name: String,
    pub(crate) at: Timestamp,
    /// When it was to end by itself.
    pub(crate) expires: Option<Timestamp>,
    /// When it was taken back.
    pub(crate) until: Option<Timestamp>,
}

impl ByHand {
    /// Whether it was given by an instant and not taken back yet, or is not taken back at all.
    pub(crate) fn stands(&self, at: Option<Timestamp>) -> bool {
        match at {
            None => self.until.is_none(),
            Some(at) => self.at <= at && self.until.is_none_or(|until| at < until),
        }
    }
}

fn by_hand(row: &Row<'_>) -> rusqlite::Result<ByHand> {
    let time =
        |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros));
    let (expires, until) = (time(2)?, time(3)?);
    Ok(ByHand { name: row.get(0)?, at: Timestamp::from_micros(row.get(1)?), expires, until })
}

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

    /// Puts an identifier on a list, if it is not on it.
    pub(crate) fn put_on_list(&self, segment: i64, node: Node, now: Timestamp) -> Result<()> {
        let sql = "INSERT OR REPLACE INTO list_members (segment, node, at) SELECT ?1, ?2, ?3 WHERE NOT EXISTS
                   (SELECT 1 FROM list_members WHERE segment = ?1 AND node = ?2 AND until IS NULL)";
        self.conn.prepare_cached(sql)?.execute((segment, node.0, now.as_micros()))?;
        Ok(())
    }

    /// Takes an identifier off a list.
    pub(crate) fn take_off_list(&self, segment: i64, node: Node, now: Timestamp) -> Result<()> {
        let values = (now.as_micros(), segment, node.0);
        self.end("list_members", "segment = ?2 AND node = ?3", values).map(drop)
    }

    /// Takes everybody off a list.
    pub(super) fn clear_list(&self, segment: i64, now: Timestamp) -> Result<()> {
        self.end("list_members", "segment = ?2", (now.as_micros(), segment)).map(drop)
    }

    /// The lists that an identifier is on, or was.
    pub(crate) fn lists_of(&self, node: Node) -> Result<Vec<ByHand>> {
        let mut select = self.conn.prepare_cached(
            "SELECT s.name, l.at, NULL, l.until FROM list_members l JOIN segments s USING (segment)
             WHERE l.node = ?1",
        )?;
        Ok(select.query_map([node.0], by_hand)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Gives an identifier a tag, in place of one of that name.
    pub(crate) fn give_tag(
        &self,
        node: Node,
        tag: &str,
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<()> {
        self.take_tag(node, tag, now)?;
        let sql = "INSERT OR REPLACE INTO given_tags (node, tag, at, expires) VALUES (?1, ?2, ?3, ?4)";
        let values = params![node.0, tag, now.as_micros(), expires.map(Timestamp::as_micros)];
        self.conn.prepare_cached(sql)?.execute(values)?;
        Ok(())
    }

    /// Takes a tag from an identifier. False if it was not given.
    pub(crate) fn take_tag(&self, node: Node, tag: &str, now: Timestamp) -> Result<bool> {
        self.end("given_tags", "node = ?2 AND tag = ?3", (now.as_micros(), node.0, tag))
    }

    /// The tags that an identifier was given, by name.
    pub(crate) fn tags_of(&self, node: Node) -> Result<Vec<ByHand>> {
        let sql = "SELECT tag, at, expires, until FROM given_tags WHERE node = ?1 ORDER BY tag, at";
        let mut select = self.conn.prepare_cached(sql)?;
        Ok(select.query_map([node.0], by_hand)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Ends what stands of some rows, at the instant that is the first value; what would have stood for no time is deleted.
    /// False if nothing stood.
    fn end(&self, table: &str, which: &str, values: impl Params + Clone) -> Result<bool> {
        let sql = format!("DELETE FROM {table} WHERE {which} AND until IS NULL AND at >= ?1");
        let deleted = self.conn.prepare_cached(&sql)?.execute(values.clone())?;
        let sql = format!("UPDATE {table} SET until = ?1 WHERE {which} AND until IS NULL");
        Ok(deleted + self.conn.prepare_cached(&sql)?.execute(values)? > 0)
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
