//! What events asserted of people and of accounts: of each event a row, with all that it said.

use std::ops::ControlFlow;

use rusqlite::types::Type;
use rusqlite::{Row, params};
use serde::Deserialize;

use super::packed::{Touched, damaged};
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::Node;
use crate::profile::Trait;
use crate::value::{Object, Value, pick};

/// What an event says of somebody.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Assertion<'e> {
    pub(crate) event: i64,
    /// The traits that it names, with their names in normal form.
    pub(crate) said: &'e Object,
    pub(crate) at: Timestamp,
    pub(crate) message_id: &'e str,
    pub(crate) source: u32,
}

/// JSON in a row, read.
fn parsed<'t, T: Deserialize<'t>>(text: &'t str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| wrong(error.into()))
}

fn wrong(error: Box<dyn std::error::Error + Send + Sync>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, error)
}

/// The JSON of one of the traits that a row names in its first column.
pub(super) fn said_in<'t>(row: &'t Row<'_>, name: &str) -> Result<Option<&'t str>> {
    let mut found = None;
    pick_in(row, &[name], |_, value| found = Some(value))?;
    Ok(found)
}

/// Calls `each` with the JSON of those traits that a row names in its first column, and with the places of their names.
fn pick_in<'t>(row: &'t Row<'_>, names: &[&str], each: impl FnMut(usize, &'t str)) -> Result<()> {
    let said = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
    Ok(pick(said, names, each).map_err(|error| wrong(error.into()))?)
}

/// A value as a row has it, without the row's first column: time, message id, source's name.
fn of_event(row: &Row<'_>, value: Value) -> rusqlite::Result<Trait> {
    let at = Timestamp::from_micros(row.get(1)?);
    Ok(Trait { value, at, message_id: row.get(2)?, source: row.get(3)?, pinned: false })
}

/// A row of a value that was set right by hand: its JSON, time, number, and the trait's name.
pub(super) fn pinned(row: &Row<'_>) -> rusqlite::Result<(String, Trait)> {
    let said = Trait {
        value: parsed(row.get_ref(0)?.as_str()?)?,
        at: Timestamp::from_micros(row.get(1)?),
        message_id: format!("rectify:{}", row.get::<_, i64>(2)?),
        source: "rectification".to_owned(),
        pinned: true,
    };
    Ok((row.get(3)?, said))
}

/// Nodes that have no row in `traits`, as far as is known: a bit for each. Of most devices nothing is ever said, and whoever
/// does something is asked about at every batch.
#[derive(Debug, Default)]
pub(super) struct Silent(Vec<u64>);

impl Silent {
    fn place(node: Node) -> (usize, u64) {
        (node.0 as usize / 64, 1 << (node.0 % 64))
    }

    fn has(&self, node: Node) -> bool {
        let (word, bit) = Self::place(node);
        self.0.get(word).is_some_and(|known| known & bit != 0)
    }

    fn put(&mut self, node: Node) {
        let (word, bit) = Self::place(node);
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    fn remove(&mut self, node: Node) {
        let (word, bit) = Self::place(node);
        if let Some(known) = self.0.get_mut(word) {
            *known &= !bit;
        }
    }
}

impl Db {
    /// Notes that somebody is going to have a row in `traits`.
    pub(super) fn no_more_silent(&self, node: Node) {
        if let Some(silent) = &self.silent {
            silent.borrow_mut().remove(node);
        }
    }

    /// Forgets who has no rows in `traits`: the transaction is taken back, with what it deleted.
    pub(super) fn forget_silent(&self) {
        if let Some(silent) = &self.silent {
            silent.take();
        }
    }

    /// Records what an event says of the person who owns a node, if it says anything.
    pub(crate) fn assert_traits(&self, node: Node, said: Assertion<'_>) -> Result<()> {
        if said.said.is_empty() {
            return Ok(());
        }
        self.note(Touched::Trait);
        self.no_more_silent(node);
        self.assert("traits (event, node, at, message_id, source, said)", i64::from(node.0), said)
    }

    /// Records what an event says of an account, if it says anything.
    pub(crate) fn assert_account_traits(&self, account: i64, said: Assertion<'_>) -> Result<()> {
        if said.said.is_empty() {
            return Ok(());
        }
        self.assert("account_traits (event, account, at, message_id, source, said)", account, said)
    }

    fn assert(&self, into: &str, of: i64, said: Assertion<'_>) -> Result<()> {
        let Assertion { event, said, at, message_id, source } = said;
        let said = serde_json::to_string(said).map_err(|error| wrong(error.into()))?;
        // Only what is told anew says of an account what it has said before.
        let sql = format!(
            "INSERT INTO {into} VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (event) DO UPDATE SET said = excluded.said WHERE message_id = excluded.message_id"
        );
        let row = params![event, of, at.as_micros(), message_id, source, said];
        if self.conn.prepare_cached(&sql)?.execute(row)? == 0 {
            return Err(damaged(format!("two events with the number {event}")));
        }
        Ok(())
    }

    /// Everything asserted of a node, by trait and the oldest first, and then what was set right by hand.
    pub(crate) fn traits_of(&self, node: Node) -> Result<Vec<(String, Trait)>> {
        let mut all =
            self.said_of("traits t JOIN sources s USING (source) WHERE t.node = ?1", node.0.into())?;
        let mut select = self.conn.prepare_cached("SELECT value, at, pin, name FROM pins WHERE node = ?1")?;
        let pins = select.query_map([node.0], pinned)?.collect::<rusqlite::Result<Vec<_>>>()?;
        all.extend(pins);
        Ok(all)
    }

    /// What the rows of one person or account say: by trait, and the oldest first.
    fn said_of(&self, from: &str, of: i64) -> Result<Vec<(String, Trait)>> {
        let sql = format!("SELECT t.said, t.at, t.message_id, s.name FROM {from}");
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut rows = select.query([of])?;
        let mut all: Vec<(String, Trait)> = Vec::new();
        while let Some(row) = rows.next()? {
            let said: Object = parsed(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
            for (name, value) in said {
                all.push((name, of_event(row, value)?));
            }
        }
        all.sort_by(|(a, first), (b, second)| (a, first.order()).cmp(&(b, second.order())));
        Ok(all)
    }

    /// What was asserted of some traits of nodes, and what was set right of them by hand. Of a trait that is wanted with
    /// `true`, of each node the latest only.
    pub(crate) fn said(&self, nodes: &[Node], wanted: &[(&str, bool)]) -> Result<Vec<(String, Trait)>> {
        let mut found: Vec<(String, Trait)> = Vec::new();
        if wanted.is_empty() {
            return Ok(found);
        }
        let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
        let mut select = self.conn.prepare_cached(
            "SELECT said, at, message_id, (SELECT s.name FROM sources s WHERE s.source = t.source)
             FROM traits t WHERE node = ?1 ORDER BY at DESC",
        )?;
        let is_silent = |node| self.silent.as_ref().is_some_and(|silent| silent.borrow().has(node));
        for node in nodes.iter().filter(|node| !is_silent(**node)) {
            let mut is_there = false;
            let mut latest: Vec<Option<Trait>> = wanted.iter().map(|_| None).collect();
            let mut rows = select.query([node.0])?;
            while let Some(row) = rows.next()? {
                is_there = true;
                let at = Timestamp::from_micros(row.get(1)?);
                let is_known = |latest: &[Option<Trait>], place: usize| {
                    wanted[place].1 && latest[place].as_ref().is_some_and(|known| at < known.at)
                };
                if (0..wanted.len()).all(|place| is_known(&latest, place)) {
                    break;
                }
                let mut here: Vec<Option<&str>> = vec![None; wanted.len()];
                pick_in(row, &names, |place, value| here[place] = Some(value))?;
                for (place, value) in here.iter().enumerate() {
                    let Some(value) = value.filter(|_| !is_known(&latest, place)) else { continue };
                    let said = of_event(row, parsed(value)?)?;
                    match &mut latest[place] {
                        _ if !wanted[place].1 => found.push((names[place].to_owned(), said)),
                        Some(known) if known.message_id < said.message_id => *known = said,
                        Some(_) => {}
                        none => *none = Some(said),
                    }
                }
            }
            if let Some(silent) = self.silent.as_ref().filter(|_| !is_there) {
                silent.borrow_mut().put(*node);
            }
            let latest = names.iter().zip(latest);
            found.extend(latest.filter_map(|(name, said)| Some(((*name).to_owned(), said?))));
        }
        // Of most files nothing was set right by hand.
        let are_any_pinned = self.conn.prepare_cached("SELECT 1 FROM pins LIMIT 1")?.exists([])?;
        let mut select = self.conn.prepare_cached("SELECT value, at, pin, name FROM pins WHERE node = ?1")?;
        for node in nodes.iter().filter(|_| are_any_pinned) {
            let mut rows = select.query([node.0])?;
            while let Some(row) = rows.next()? {
                found.push(pinned(row)?);
            }
        }
        found.retain(|(name, _)| names.contains(&name.as_str()));
        Ok(found)
    }

    /// Calls `each` with every event that asserted anything, and of whom, and with what it said of one trait if it did; and
    /// with what was set right of it by hand. In any order, until it has seen enough.
    pub(crate) fn visit_trait(
        &self,
        name: &str,
        mut each: impl FnMut(Node, Option<Trait>) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut select = self.conn.prepare_cached(
            "SELECT t.said, t.at, t.message_id, s.name, t.node FROM traits t JOIN sources s USING (source)",
        )?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let value = said_in(row, name)?.map(parsed).transpose()?;
            let said = value.map(|value| of_event(row, value)).transpose()?;
            if each(Node(row.get(4)?), said).is_break() {
                return Ok(());
            }
        }
        let mut select =
            self.conn.prepare_cached("SELECT value, at, pin, name, node FROM pins WHERE name = ?1")?;
        let mut rows = select.query([name])?;
        while let Some(row) = rows.next()? {
            if each(Node(row.get(4)?), Some(pinned(row)?.1)).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Everything asserted of an account: by trait, and the oldest first.
    pub(crate) fn traits_of_account(&self, account: i64) -> Result<Vec<(String, Trait)>> {
        self.said_of("account_traits t JOIN sources s USING (source) WHERE t.account = ?1", account)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::store::{Access, Place, Shared};

    fn node() -> impl Strategy<Value = u32> {
        prop::sample::select(vec![0, 1, 63, 64, 129])
    }

    proptest! {
        /// Whatever is asserted, given away, forgotten or taken back between: what was said of somebody is asked for again
        /// and again, and of those of whom nothing was said it need not be read.
        #[test]
        fn who_was_silent_is_heard_when_they_are_not_any_more(
            turns in prop::collection::vec((0..5_u8, node(), node()), 1..30),
        ) {
            let shared = Arc::new(Shared::new(9, 0));
            let db = Db::open(&Place::Memory, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
            db.begin_write().unwrap();
            let source = db.source(&crate::event::Source::default()).unwrap();
            db.commit().unwrap();
            db.begin_write().unwrap();
            let (mut model, mut committed): (Vec<u32>, Vec<u32>) = (Vec::new(), Vec::new());
            for (event, (turn, node, other)) in (1..).zip(turns) {
                match turn {
                    0 | 1 => {
                        let said = Object::from_iter([("plan".to_owned(), "gold".into())]);
                        let at = Timestamp::from_micros(event);
                        let assertion = Assertion { event, said: &said, at, message_id: "m", source };
                        db.assert_traits(Node(node), assertion).unwrap();
                        model.push(node);
                    }
                    2 => {
                        db.no_more_silent(Node(other));
                        let sql = "UPDATE traits SET node = ?1 WHERE node = ?2";
                        db.conn.execute(sql, [other, node]).unwrap();
                        model.iter_mut().filter(|own| **own == node).for_each(|own| *own = other);
                    }
                    3 => {
                        db.clear_derived(Some(&[Node(node)])).unwrap();
                        model.retain(|own| *own != node);
                    }
                    _ if event % 2 == 0 => {
                        db.commit().unwrap();
                        db.begin_write().unwrap();
                        committed.clone_from(&model);
                    }
                    _ => {
                        db.rollback();
                        db.begin_write().unwrap();
                        model.clone_from(&committed);
                    }
                }
                for asked in [node, other] {
                    for _ in 0..2 {
                        let said = db.said(&[Node(asked)], &[("plan", false)]).unwrap().len();
                        prop_assert_eq!(said, model.iter().filter(|own| **own == asked).count());
                    }
                }
            }
        }
    }
}
