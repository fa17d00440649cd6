//! The log of decisions on consent, by identifier.

use rusqlite::types::Type;
use rusqlite::{Row, params};
use rustc_hash::FxHashSet;

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::Node;
use crate::profile::{ConsentState, KeptConsent};

/// A decision to be added to the log.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewConsent<'c> {
    pub(crate) node: Node,
    pub(crate) purpose: &'c str,
    pub(crate) state: ConsentState,
    pub(crate) at: Timestamp,
    pub(crate) source: &'c str,
    pub(crate) policy_version: Option<&'c str>,
    pub(crate) evidence: Option<&'c str>,
    pub(crate) separate: bool,
    pub(crate) message_id: Option<&'c str>,
}

/// The setting that counts the events that were let go because of what somebody decided.
const WITHHELD: &str = "withheld";

fn kept(row: &Row<'_>) -> rusqlite::Result<KeptConsent> {
    let state = row.get_ref(3)?.as_str()?.parse();
    Ok(KeptConsent {
        number: row.get(0)?,
        node: Node(row.get(1)?),
        purpose: row.get(2)?,
        state: state.map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(
                3,
                Type::Text,
                Box::<crate::DefinitionError>::new(error),
            )
        })?,
        at: Timestamp::from_micros(row.get(4)?),
        recorded_at: Timestamp::from_micros(row.get(5)?),
        source: row.get(6)?,
        policy_version: row.get(7)?,
        evidence: row.get(8)?,
        separate: row.get(9)?,
        message_id: row.get(10)?,
    })
}

impl Db {
    /// Adds a decision to the log. False if it is an event's, and was added before.
    pub(crate) fn add_consent(&self, new: NewConsent<'_>, now: Timestamp) -> Result<bool> {
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO consents
             (node, purpose, state, at, recorded_at, source, policy_version, evidence, separate, message_id)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        )?;
        let added = insert.execute(params![
            new.node.0,
            new.purpose,
            new.state.as_str(),
            new.at.as_micros(),
            now.as_micros(),
            new.source,
            new.policy_version,
            new.evidence,
            new.separate,
            new.message_id
        ])?;
        Ok(added > 0)
    }

    /// The decisions of a node, in the order in which they were recorded.
    pub(crate) fn consents_of(&self, node: Node) -> Result<Vec<KeptConsent>> {
        let mut select = self.conn.prepare_cached(
            "SELECT consent, node, purpose, state, at, recorded_at, source, policy_version, evidence, separate,
             message_id FROM consents WHERE node = ?1 ORDER BY consent",
        )?;
        Ok(select.query_map([node.0], kept)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Takes decisions back that an event bears.
    pub(crate) fn remove_consents_of_event(&self, message_id: &str) -> Result<()> {
        self.conn.prepare_cached("DELETE FROM consents WHERE message_id = ?1")?.execute([message_id])?;
        Ok(())
    }

    /// The nodes for which a purpose was ever denied or withdrawn.
    pub(crate) fn refusing(&self, purpose: &str) -> Result<FxHashSet<Node>> {
        let sql = "SELECT DISTINCT node FROM consents WHERE purpose = ?1 AND state <> 'granted'";
        let mut select = self.conn.prepare_cached(sql)?;
        Ok(select.query_map([purpose], |row| row.get(0).map(Node))?.collect::<rusqlite::Result<_>>()?)
    }

    /// Counts events that were let go.
    pub(crate) fn count_withheld(&self, events: u64) -> Result<()> {
        let sum = self.withheld()? + events;
        self.set(WITHHELD, i64::try_from(sum).unwrap_or(i64::MAX))
    }

    /// How many events were let go.
    pub(crate) fn withheld(&self) -> Result<u64> {
        Ok(u64::try_from(self.counter(WITHHELD)?).unwrap_or(0))
    }
}
