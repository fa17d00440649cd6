//! The log, to be resolved again in whole or in part, and what is made from it, to be made anew.

use rusqlite::params;

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::{Node, ProfileNo};

impl Db {
    /// The numbers and times of all events, by time and then by message id.
    pub(crate) fn log(&self) -> Result<Vec<(Timestamp, i64)>> {
        let mut select = self.conn.prepare("SELECT at, event FROM events ORDER BY at, message_id")?;
        let rows = select.query_map([], |row| Ok((Timestamp::from_micros(row.get(0)?), row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The numbers and times of the events of some nodes, and of some that are nobody's, by time and then by message id.
    pub(crate) fn log_of(&self, nodes: &[Node], orphans: &[i64]) -> Result<Vec<(Timestamp, i64)>> {
        let mut found: Vec<(i64, String, i64)> = Vec::new();
        let nodes = nodes.iter().map(|node| i64::from(node.0));
        for (sql, keys) in [
            ("SELECT at, message_id, event FROM events WHERE node = ?1", nodes.collect::<Vec<i64>>()),
            ("SELECT at, message_id, event FROM events WHERE event = ?1 AND node IS NULL", orphans.to_vec()),
        ] {
            let mut select = self.conn.prepare_cached(sql)?;
            for key in keys {
                for row in select.query_map([key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))? {
                    found.push(row?);
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        Ok(found.into_iter().map(|(at, _, event)| (Timestamp::from_micros(at), event)).collect())
    }

    /// Forgets everything that is made from the log but for segments' standings: of all nodes, or of some.
    pub(crate) fn clear_derived(&self, nodes: Option<&[Node]>) -> Result<()> {
        const OF_NODE: [(&str, &str); 8] = [
            ("first_days", "node"),
            ("links", "a"),
            ("links", "b"),
            ("traits", "node"),
            ("account_members", "node"),
            ("refusals", "owner"),
            ("sightings", "device"),
            ("anonymous_events", "device"),
        ];
        if let Some(nodes) = nodes {
            for (table, column) in OF_NODE {
                let sql = format!("DELETE FROM {table} WHERE {column} = ?1");
                let mut delete = self.conn.prepare_cached(&sql)?;
                for node in nodes {
                    delete.execute([node.0])?;
                }
            }
            return Ok(());
        }
        for (table, _) in
            OF_NODE.iter().chain(&[("account_traits", ""), ("accounts", ""), ("assumed_user_ids", "")])
        {
            self.conn.execute(&format!("DELETE FROM {table}"), [])?;
        }
        Ok(())
    }

    /// Forgets what was assumed of an alias.
    pub(crate) fn clear_assumption(&self, event: i64) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM assumed_user_ids WHERE event = ?1")?.execute([event])?;
        Ok(())
    }

    /// The profiles that redirect to nobody, each with an identifier that it has, or had.
    pub(crate) fn standing_profiles(&self) -> Result<Vec<(ProfileNo, Node)>> {
        let mut select =
            self.conn.prepare("SELECT profile, founder FROM profiles WHERE merged_into IS NULL")?;
        let rows = select.query_map([], |row| Ok((ProfileNo(row.get(0)?), Node(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets how a profile stood to segments.
    pub(crate) fn clear_standings_of(&self, profile: ProfileNo) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM standings WHERE profile = ?1")?.execute(params![profile.0])?;
        Ok(())
    }

    /// The ends of all links that events of a source bear witness to.
    pub(crate) fn linked_by(&self, source: &str) -> Result<Vec<(Node, Node)>> {
        let mut select = self
            .conn
            .prepare("SELECT DISTINCT a, b FROM links JOIN sources s USING (source) WHERE s.name = ?1")?;
        let rows = select.query_map([source], |row| Ok((Node(row.get(0)?), Node(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The owners of the events of a source of which an identifier was left out.
    pub(crate) fn refused_by(&self, source: &str) -> Result<Vec<Node>> {
        let mut select = self.conn.prepare(
            "SELECT DISTINCT r.owner FROM refusals r JOIN events e USING (message_id) JOIN sources s USING (source)
             WHERE s.name = ?1 AND r.node IS NOT NULL",
        )?;
        let rows = select.query_map([source], |row| row.get(0).map(Node))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The nodes that are linked with a node.
    pub(crate) fn linked_with(&self, node: Node) -> Result<Vec<Node>> {
        let mut select = self
            .conn
            .prepare_cached("SELECT b FROM links WHERE a = ?1 UNION SELECT a FROM links WHERE b = ?1")?;
        Ok(select.query_map([node.0], |row| row.get(0).map(Node))?.collect::<rusqlite::Result<_>>()?)
    }
}
