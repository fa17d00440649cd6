//! What events asserted of people and of accounts.

use std::ops::ControlFlow;

use rusqlite::types::Type;
use rusqlite::{ErrorCode, Row, params};

use super::packed::Touched;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::Node;
use crate::profile::Trait;

/// A value to be recorded: which event said what, when.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assertion<'e> {
    pub(crate) name: &'e str,
    /// JSON text.
    pub(crate) value: &'e str,
    pub(crate) at: Timestamp,
    pub(crate) message_id: &'e str,
    pub(crate) source: u32,
}

/// A row of a trait: name, value as JSON text, time, message id, source's name, and whether it is pinned.
pub(super) fn asserted(row: &Row<'_>) -> rusqlite::Result<(String, Trait)> {
    let value = serde_json::from_str(row.get_ref(1)?.as_str()?)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(1, Type::Text, error.into()))?;
    let said = Trait {
        value,
        at: Timestamp::from_micros(row.get(2)?),
        message_id: row.get(3)?,
        source: row.get(4)?,
        pinned: row.get(5)?,
    };
    Ok((row.get(0)?, said))
}

impl Db {
    /// Records a value of a person's trait.
    pub(crate) fn assert_trait(&self, node: Node, said: Assertion<'_>) -> Result<()> {
        self.note(Touched::Trait);
        self.assert("traits (node, name, at, message_id, source, value)", i64::from(node.0), said)
    }

    /// Records a value of an account's trait.
    pub(crate) fn assert_account_trait(&self, account: i64, said: Assertion<'_>) -> Result<()> {
        self.assert("account_traits (account, name, at, message_id, source, value)", account, said)
    }

    fn assert(&self, into: &str, of: i64, said: Assertion<'_>) -> Result<()> {
        let Assertion { name, value, at, message_id, source } = said;
        let insert = |verb: &str| {
            let sql = format!("{verb} INTO {into} VALUES (?1, ?2, ?3, ?4, ?5, ?6)");
            self.conn.prepare_cached(&sql)?.execute(params![
                of,
                name,
                at.as_micros(),
                message_id,
                source,
                value
            ])
        };
        match insert("INSERT") {
            // Only an event that has two names which are one in normal form says a thing twice. To be ready to replace a row
            // costs as much again as to insert one.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                insert("INSERT OR REPLACE")?
            }
            inserted => inserted?,
        };
        Ok(())
    }

    /// Everything asserted of a node, and what was set right by hand.
    pub(crate) fn traits_of(&self, node: Node) -> Result<Vec<(String, Trait)>> {
        let mut select = self.conn.prepare_cached(
            "SELECT t.name, t.value, t.at, t.message_id, s.name, 0 FROM traits t JOIN sources s USING (source)
             WHERE t.node = ?1
             UNION ALL SELECT name, value, at, 'rectify:' || pin, 'rectification', 1 FROM pins WHERE node = ?1",
        )?;
        Ok(select.query_map([node.0], asserted)?.collect::<rusqlite::Result<_>>()?)
    }

    /// What was asserted of a trait of some nodes, or of each the latest of it only, and what was set right by hand.
    pub(crate) fn trait_of(&self, nodes: &[Node], name: &str, latest: bool) -> Result<Vec<(String, Trait)>> {
        let mut select = self.conn.prepare_cached(
            "SELECT name, value, at, message_id, (SELECT s.name FROM sources s WHERE s.source = t.source), 0
             FROM traits t WHERE node = ?1 AND name = ?2 ORDER BY at DESC, message_id DESC LIMIT ?3",
        )?;
        let limit = if latest { 1 } else { -1 };
        let mut found = Vec::new();
        for node in nodes {
            let mut rows = select.query((node.0, name, limit))?;
            while let Some(row) = rows.next()? {
                found.push(asserted(row)?);
            }
        }
        let mut select = self.conn.prepare_cached(
            "SELECT name, value, at, 'rectify:' || pin, 'rectification', 1 FROM pins WHERE node = ?1 AND name = ?2",
        )?;
        for node in nodes {
            let mut rows = select.query((node.0, name))?;
            while let Some(row) = rows.next()? {
                found.push(asserted(row)?);
            }
        }
        Ok(found)
    }

    /// Calls `each` with everything that was asserted of a trait, and of whom, in any order, until it has seen enough.
    pub(crate) fn visit_trait(
        &self,
        name: &str,
        mut each: impl FnMut(Node, Trait) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut select = self.conn.prepare_cached(
            "SELECT t.name, t.value, t.at, t.message_id, s.name, 0, t.node FROM traits t JOIN sources s USING (source)
             WHERE t.name = ?1
             UNION ALL SELECT name, value, at, 'rectify:' || pin, 'rectification', 1, node FROM pins WHERE name = ?1",
        )?;
        let mut rows = select.query([name])?;
        while let Some(row) = rows.next()? {
            let (_, said) = asserted(row)?;
            if each(Node(row.get(6)?), said).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Everything asserted of an account.
    pub(crate) fn traits_of_account(&self, account: i64) -> Result<Vec<(String, Trait)>> {
        let mut select = self.conn.prepare_cached(
            "SELECT t.name, t.value, t.at, t.message_id, s.name, 0 FROM account_traits t JOIN sources s USING (source)
             WHERE t.account = ?1",
        )?;
        Ok(select.query_map([account], asserted)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Makes a node a member of an account, a new one if need be, because of an event, and gives the account's number.
    pub(crate) fn join_account(&self, node: Node, id: &str, at: Timestamp, message_id: &str) -> Result<i64> {
        self.conn
            .prepare_cached("INSERT INTO accounts (id) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([id])?;
        let mut select = self.conn.prepare_cached("SELECT account FROM accounts WHERE id = ?1")?;
        let account = select.query_row([id], |row| row.get(0))?;
        let mut insert =
            self.conn.prepare_cached("INSERT OR IGNORE INTO account_members VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute((node.0, account, message_id, at.as_micros()))?;
        Ok(account)
    }

    /// The accounts that a node is a member of: (number, id).
    pub(crate) fn accounts_of(&self, node: Node) -> Result<Vec<(i64, String)>> {
        let mut select = self.conn.prepare_cached(
            "SELECT DISTINCT a.account, a.id FROM account_members m JOIN accounts a USING (account) WHERE m.node = ?1",
        )?;
        Ok(select
            .query_map([node.0], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?)
    }

    /// The number of an account.
    pub(crate) fn account(&self, id: &str) -> Result<Option<i64>> {
        let mut select = self.conn.prepare_cached("SELECT account FROM accounts WHERE id = ?1")?;
        let mut rows = select.query([id])?;
        Ok(rows.next()?.map(|row| row.get(0)).transpose()?)
    }
}
