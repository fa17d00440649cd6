//! Identifiers that were left out of an event's resolution.

use rusqlite::types::Type;
use rusqlite::{Row, params};

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::id::{Identifier, Namespace};
use crate::identity::{Identities, Node, Refused, Rule};

/// A refusal as the file has it.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) number: i64,
    pub(crate) owner: Node,
    pub(crate) node: Option<Node>,
    pub(crate) identifier: Identifier,
    pub(crate) at: Timestamp,
    pub(crate) message_id: String,
    pub(crate) rule: Rule,
    pub(crate) reason: String,
}

const SELECT: &str =
    "SELECT refusal, owner, node, namespace, value, at, message_id, rule, reason FROM refusals";

fn kept(identities: &Identities, row: &Row<'_>) -> rusqlite::Result<Kept> {
    let node = row.get::<_, Option<u32>>(2)?.map(Node);
    let identifier = match node {
        Some(node) => identities.interner.identifier(node),
        None => Identifier::new(Namespace::new(row.get_ref(3)?.as_str()?), row.get_ref(4)?.as_str()?),
    };
    let rule = row.get_ref(7)?.as_str()?;
    let unknown = || rusqlite::Error::FromSqlConversionFailure(7, Type::Text, "an unknown rule".into());
    Ok(Kept {
        number: row.get(0)?,
        owner: Node(row.get(1)?),
        node,
        identifier,
        at: Timestamp::from_micros(row.get(5)?),
        message_id: row.get(6)?,
        rule: Rule::read(rule).ok_or_else(unknown)?,
        reason: row.get(8)?,
    })
}

impl Db {
    /// Records that an identifier was left out of the resolution of an event, whose owner is known.
    pub(crate) fn add_refusal(
        &self,
        owner: Node,
        refused: &Refused,
        at: Timestamp,
        message_id: &str,
    ) -> Result<()> {
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO refusals (owner, node, namespace, value, at, message_id, rule, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        let spelled = refused.node.is_none().then_some(&refused.identifier);
        insert.execute(params![
            owner.0,
            refused.node.map(|node| node.0),
            spelled.map(|identifier| identifier.namespace().as_str()),
            spelled.map(Identifier::value),
            at.as_micros(),
            message_id,
            refused.rule.as_str(),
            refused.reason
        ])?;
        Ok(())
    }

    /// Up to `limit` refusals after a number, in the order in which they were made.
    pub(crate) fn refusals(&self, identities: &Identities, after: i64, limit: usize) -> Result<Vec<Kept>> {
        let sql = format!("{SELECT} WHERE refusal > ?1 ORDER BY refusal LIMIT ?2");
        let mut select = self.conn.prepare_cached(&sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = select.query_map((after, limit), |row| kept(identities, row))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Up to `limit` refusals of a node, wherever it came.
    pub(crate) fn refusals_of(&self, identities: &Identities, node: Node, limit: usize) -> Result<Vec<Kept>> {
        let sql = format!("{SELECT} WHERE node = ?1 ORDER BY refusal LIMIT ?2");
        let mut select = self.conn.prepare_cached(&sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = select.query_map((node.0, limit), |row| kept(identities, row))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// All refusals in events of an owner.
    pub(crate) fn refusals_by(&self, identities: &Identities, owner: Node) -> Result<Vec<Kept>> {
        let mut select = self.conn.prepare_cached(&format!("{SELECT} WHERE owner = ?1 ORDER BY refusal"))?;
        let rows = select.query_map([owner.0], |row| kept(identities, row))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Up to `limit` refusals of a value that could not be an identifier.
    pub(crate) fn refusals_of_value(
        &self,
        identities: &Identities,
        identifier: &Identifier,
        limit: usize,
    ) -> Result<Vec<Kept>> {
        let sql = format!(
            "{SELECT} WHERE node IS NULL AND namespace = ?1 AND value = ?2 ORDER BY refusal LIMIT ?3"
        );
        let mut select = self.conn.prepare_cached(&sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let key = (identifier.namespace().as_str(), identifier.value(), limit);
        let rows = select.query_map(key, |row| kept(identities, row))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Up to `limit` refusals of `node` in events of `owner`.
    pub(crate) fn refusals_between(
        &self,
        identities: &Identities,
        owner: Node,
        node: Node,
        limit: usize,
    ) -> Result<Vec<Kept>> {
        let sql = format!("{SELECT} WHERE node = ?1 AND owner = ?2 ORDER BY refusal LIMIT ?3");
        let mut select = self.conn.prepare_cached(&sql)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = select.query_map((node.0, owner.0, limit), |row| kept(identities, row))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The nodes that events bear together with a node, and were kept apart from it.
    pub(crate) fn refused_with(&self, node: Node) -> Result<Vec<Node>> {
        let mut select = self.conn.prepare_cached(
            "SELECT DISTINCT node FROM refusals WHERE owner = ?1 AND node IS NOT NULL
             UNION SELECT DISTINCT owner FROM refusals WHERE node = ?1",
        )?;
        Ok(select.query_map([node.0], |row| row.get(0).map(Node))?.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether anything was ever left out.
    pub(crate) fn has_refusals(&self) -> Result<bool> {
        Ok(self.conn.prepare_cached("SELECT 1 FROM refusals WHERE node IS NOT NULL LIMIT 1")?.exists([])?)
    }
}
