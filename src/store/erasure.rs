//! Forgetting identifiers: every row that is about one, and their values.

use rustc_hash::FxHashSet;

use super::packed::Touched;
use super::{Db, Result};
use crate::identity::{Node, ProfileNo};

/// A table whose rows are about an identifier, and the column with its number.
struct About {
    table: &'static str,
    column: &'static str,
    /// Which rows keep the identifier, if any do: a hand has named it, or an event has that was not allowed to have it.
    keeps: Option<&'static str>,
}

/// Every table whose rows are about an identifier, but for those of traits and evidence that one has to know more of. What is new
/// goes here, and is erased.
const ABOUT: [About; 16] = [
    About { table: "decisions", column: "a", keeps: Some("true") },
    About { table: "decisions", column: "b", keeps: Some("true") },
    About { table: "list_members", column: "node", keeps: Some("until IS NULL") },
    About { table: "given_tags", column: "node", keeps: Some("until IS NULL") },
    About { table: "consents", column: "node", keeps: Some("true") },
    About { table: "pins", column: "node", keeps: Some("true") },
    About { table: "refusals", column: "node", keeps: Some("true") },
    About { table: "refusals", column: "owner", keeps: None },
    About { table: "links", column: "a", keeps: None },
    About { table: "links", column: "b", keeps: None },
    About { table: "account_members", column: "node", keeps: None },
    About { table: "sightings", column: "device", keeps: None },
    About { table: "anonymous_events", column: "device", keeps: None },
    About { table: "first_days", column: "node", keeps: None },
    About { table: "unborne", column: "node", keeps: None },
    About { table: "shared_devices", column: "node", keeps: None },
];

/// What a person held, in numbers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Held {
    pub(crate) traits: u64,
    pub(crate) consents: u64,
    pub(crate) memberships: u64,
}

impl Db {
    /// What is held of identifiers that are one profile.
    pub(crate) fn held_of(&self, profile: Option<ProfileNo>, nodes: &[Node]) -> Result<Held> {
        let mut held = Held::default();
        let count = |table: &str, node: &Node| {
            let sql = format!("SELECT count(*) FROM {table} WHERE node = ?1");
            self.conn.prepare_cached(&sql)?.query_row([node.0], |row| row.get::<_, u64>(0))
        };
        for node in nodes {
            held.traits += self.traits_of(*node)?.len() as u64;
            held.consents += count("consents", node)?;
        }
        if let Some(profile) = profile {
            held.memberships = self.segments_of(profile)?.len() as u64;
        }
        Ok(held)
    }

    /// Takes every decision back that names one of some identifiers, and gives the other identifiers that they name.
    pub(crate) fn remove_decisions(&self, nodes: &FxHashSet<Node>) -> Result<Vec<Node>> {
        let mut others = Vec::new();
        for decided in self.decisions()? {
            let super::Of::Pair(a, b) = decided.of else { continue };
            if nodes.contains(&a) || nodes.contains(&b) {
                others.extend([a, b].into_iter().filter(|node| !nodes.contains(node)));
                let mut delete = self.conn.prepare_cached("DELETE FROM decisions WHERE decision = ?1")?;
                delete.execute([decided.number])?;
            }
        }
        Ok(others)
    }

    /// Takes what an event had asserted of an account from it. Gives the accounts that it was about.
    pub(crate) fn remove_account_traits(&self, owner: Node, message_id: &str) -> Result<Vec<i64>> {
        let mut select = self
            .conn
            .prepare_cached("SELECT account FROM account_members WHERE node = ?1 AND message_id = ?2")?;
        let accounts: Vec<i64> =
            select.query_map((owner.0, message_id), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
        let sql = "DELETE FROM account_traits WHERE account = ?1 AND message_id = ?2";
        for account in &accounts {
            self.conn.prepare_cached(sql)?.execute((account, message_id))?;
        }
        Ok(accounts)
    }

    /// Lets go of accounts of which no event is left.
    pub(crate) fn remove_bare_accounts(&self) -> Result<()> {
        let sql = "DELETE FROM accounts WHERE account NOT IN (SELECT account FROM account_members)
                   AND account NOT IN (SELECT account FROM account_traits)";
        self.conn.execute(sql, [])?;
        Ok(())
    }

    /// The nodes that are members of any of some accounts.
    pub(crate) fn members_of_accounts(&self, accounts: &FxHashSet<i64>) -> Result<Vec<Node>> {
        let mut select = self.conn.prepare("SELECT DISTINCT node, account FROM account_members")?;
        let (mut rows, mut members) = (select.query([])?, Vec::new());
        while let Some(row) = rows.next()? {
            if accounts.contains(&row.get(1)?) {
                members.push(Node(row.get(0)?));
            }
        }
        Ok(members)
    }

    /// Whether anything keeps an identifier that belongs to nobody.
    pub(crate) fn is_kept(&self, node: Node) -> Result<bool> {
        for About { table, column, keeps } in ABOUT {
            let Some(which) = keeps else { continue };
            let sql = format!("SELECT 1 FROM {table} WHERE {column} = ?1 AND {which} LIMIT 1");
            if self.conn.prepare_cached(&sql)?.exists([node.0])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Lets go of identifiers: of every row that is about them, and of their values.
    pub(crate) fn forget_identifiers(&self, nodes: &[Node]) -> Result<()> {
        self.note(Touched::Trait);
        self.log.borrow().shared.forget_values();
        self.forget_fresh_links_of(nodes)?;
        self.forget_traits_of(nodes)?;
        self.forget_ranks(nodes)?;
        for About { table, column, .. } in &ABOUT {
            let sql = format!("DELETE FROM {table} WHERE {column} = ?1");
            let mut delete = self.conn.prepare_cached(&sql)?;
            for node in nodes {
                delete.execute([node.0])?;
            }
        }
        let sql = "UPDATE identifiers SET value = '', profile = NULL WHERE node = ?1";
        let mut update = self.conn.prepare_cached(sql)?;
        for node in nodes {
            update.execute([node.0])?;
            self.note(Touched::Forgotten(node.0));
            self.note(Touched::Holder(node.0));
        }
        Ok(())
    }

    /// Takes out of the journals what they tell of some profiles, but for that they are gone, and message ids of some
    /// events wherever they stand.
    pub(crate) fn scrub_journals(
        &self,
        profiles: &FxHashSet<ProfileNo>,
        message_ids: &FxHashSet<String>,
    ) -> Result<()> {
        // By an earlier erasure of somebody else they may have entered as well.
        let mut delete = self.conn.prepare_cached(
            "DELETE FROM segment_changes WHERE profile = ?1 AND (cause <> 'erasure' OR entered = 1)",
        )?;
        for profile in profiles {
            delete.execute([profile.0])?;
        }
        let is_theirs = |profile: u32| profiles.contains(&ProfileNo(profile));
        let mut entries: Vec<i64> = Vec::new();
        let mut select = self.conn.prepare("SELECT entry, profile, other FROM journal")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            if is_theirs(row.get(1)?) || is_theirs(row.get(2)?) {
                entries.push(row.get(0)?);
            }
        }
        for entry in entries {
            self.conn.prepare_cached("DELETE FROM journal WHERE entry = ?1")?.execute([entry])?;
        }
        for (table, number) in [("journal", "entry"), ("segment_changes", "change")] {
            let sql = format!("SELECT {number}, message_id FROM {table} WHERE message_id IS NOT NULL");
            let mut select = self.conn.prepare(&sql)?;
            let (mut rows, mut found) = (select.query([])?, Vec::<i64>::new());
            while let Some(row) = rows.next()? {
                if message_ids.contains(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?) {
                    found.push(row.get(0)?);
                }
            }
            let sql = format!("UPDATE {table} SET message_id = NULL WHERE {number} = ?1");
            for number in found {
                self.conn.prepare_cached(&sql)?.execute([number])?;
            }
        }
        Ok(())
    }

    /// The texts that the application has defined: rules, conditions, and what is worked out.
    pub(crate) fn definition_texts(&self) -> Result<Vec<String>> {
        let sql = "SELECT condition FROM segments WHERE condition IS NOT NULL
                   UNION ALL SELECT definition FROM definitions
                   UNION ALL SELECT value FROM settings WHERE name = 'rules'";
        let mut select = self.conn.prepare(sql)?;
        Ok(select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::store::{Access, ChangeCause, NewChange, Place, Shared};

    /// Whoever entered because somebody else was erased, and was gone by a join, is no member once they are erased themselves.
    #[test]
    fn of_whoever_is_erased_the_journal_keeps_that_they_left_alone() {
        let shared = Arc::new(Shared::new(9, 0));
        let db = Db::open(&Place::Memory, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
        db.begin_write().unwrap();
        let (theirs, others) = (ProfileNo(7), ProfileNo(8));
        let change = |(at, profile, segment, entered, cause)| {
            let (at, cause) = (Timestamp::from_micros(at), Cow::Owned(cause));
            NewChange { profile, segment, entered, at, cause }
        };
        let changes = [
            (1, theirs, "lately", true, ChangeCause::Erasure),
            (2, theirs, "lately", false, ChangeCause::Merge),
            (3, theirs, "spenders", true, ChangeCause::Time),
            (4, theirs, "spenders", false, ChangeCause::Erasure),
            (5, others, "lately", true, ChangeCause::Erasure),
        ];
        db.add_changes(&changes.map(change)).unwrap();
        assert_eq!(db.noted_segments(others).unwrap(), BTreeSet::from(["lately".to_owned()]));
        db.scrub_journals(&FxHashSet::from_iter([theirs]), &FxHashSet::default()).unwrap();
        assert_eq!(db.noted_segments(theirs).unwrap(), BTreeSet::new());
        assert_eq!(db.noted_segments(others).unwrap(), BTreeSet::from(["lately".to_owned()]));
        let kept = db.segment_changes_of(theirs).unwrap();
        assert_eq!(
            kept.iter().map(|change| (change.at.as_micros(), change.entered)).collect::<Vec<_>>(),
            [(4, false)]
        );
    }
}
