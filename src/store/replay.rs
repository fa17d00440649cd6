//! The log, to be resolved again in whole or in part, and what is made from it, to be made anew.

use super::packed::Touched;
use super::{Db, MessageId, Result};
use crate::identity::{Node, ProfileNo};

impl Db {
    /// Forgets everything that is made from the log but for segments' standings: of all nodes, or of some.
    pub(crate) fn clear_derived(&self, nodes: Option<&[Node]>) -> Result<()> {
        const OF_NODE: [(&str, &str); 7] = [
            ("first_days", "node"),
            ("links", "a"),
            ("links", "b"),
            ("account_members", "node"),
            ("refusals", "owner"),
            ("sightings", "device"),
            ("anonymous_events", "device"),
        ];
        self.note(Touched::Trait);
        if let Some(nodes) = nodes {
            self.forget_fresh_links_of(nodes)?;
            self.forget_traits_of(nodes)?;
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
        self.forget_fresh_links()?;
        self.forget_traits()
    }

    /// Forgets what was assumed of an alias.
    pub(crate) fn clear_assumption(&self, event: i64) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM assumed_user_ids WHERE event = ?1")?.execute([event])?;
        Ok(())
    }

    /// The profiles that redirect to nobody, each with an identifier that it has, or had.
    pub(crate) fn standing_profiles(&self) -> Result<Vec<(ProfileNo, Node)>> {
        let mut select = self.conn.prepare(
            "SELECT profile, founder FROM profiles WHERE profile NOT IN (SELECT profile FROM merges)",
        )?;
        let rows = select.query_map([], |row| Ok((ProfileNo(row.get(0)?), Node(row.get(1)?))))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The owners of the events of a source of which an identifier was left out.
    pub(crate) fn refused_by(&self, source: &str) -> Result<Vec<Node>> {
        let mut sources = self.conn.prepare("SELECT source FROM sources WHERE name = ?1")?;
        let sources: Vec<u32> =
            sources.query_map([source], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let mut select =
            self.conn.prepare("SELECT owner, message_id FROM refusals WHERE node IS NOT NULL")?;
        let mut rows = select.query([])?;
        let mut owners = Vec::new();
        while let Some(row) = rows.next()? {
            let Some(event) = self.event_with_id(&MessageId::new(row.get::<_, String>(1)?))? else {
                continue;
            };
            if sources.contains(&self.event(event.into())?.source) {
                owners.push(Node(row.get(0)?));
            }
        }
        owners.sort_unstable();
        owners.dedup();
        Ok(owners)
    }
}
