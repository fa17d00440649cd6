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

/// What an event asserted.
const SAID: &str = "SELECT said, at, message_id, (SELECT s.name FROM sources s WHERE s.source = t.source)
                    FROM traits t WHERE event = ?1";

/// Adds what an event asserted.
fn add_said(row: &Row<'_>, all: &mut Vec<(String, Trait)>) -> Result<()> {
    let said: Object = parsed(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?;
    for (name, value) in said {
        all.push((name, of_event(row, value)?));
    }
    Ok(())
}

/// Sorts by trait, and the oldest first.
fn sort(all: &mut [(String, Trait)]) {
    all.sort_by(|(a, first), (b, second)| (a, first.order()).cmp(&(b, second.order())));
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
        let known = self.unindexed()?;
        self.assert("traits (event, node, at, message_id, source, said)", i64::from(node.0), said)?;
        self.index_assertion(known, (node, said.at, said.event))
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
        let mut all = Vec::new();
        let mut said = self.conn.prepare_cached(SAID)?;
        self.each_assertion_of(node, |_, event| {
            let mut rows = said.query([event])?;
            add_said(rows.next()?.ok_or_else(|| Self::asserted_nothing(event))?, &mut all)?;
            Ok(ControlFlow::Continue(()))
        })?;
        sort(&mut all);
        let mut select = self.conn.prepare_cached("SELECT value, at, pin, name FROM pins WHERE node = ?1")?;
        let pins = select.query_map([node.0], pinned)?.collect::<rusqlite::Result<Vec<_>>>()?;
        all.extend(pins);
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
        let mut select = self.conn.prepare_cached(SAID)?;
        let is_silent = |node| self.silent.as_ref().is_some_and(|silent| silent.borrow().has(node));
        for node in nodes.iter().filter(|node| !is_silent(**node)) {
            let mut is_there = false;
            let mut latest: Vec<Option<Trait>> = wanted.iter().map(|_| None).collect();
            self.each_assertion_of(*node, |at, event| {
                is_there = true;
                let at = Timestamp::from_micros(at);
                let is_known = |latest: &[Option<Trait>], place: usize| {
                    wanted[place].1 && latest[place].as_ref().is_some_and(|known| at < known.at)
                };
                if (0..wanted.len()).all(|place| is_known(&latest, place)) {
                    return Ok(ControlFlow::Break(()));
                }
                let mut rows = select.query([event])?;
                let row = rows.next()?.ok_or_else(|| Self::asserted_nothing(event))?;
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
                Ok(ControlFlow::Continue(()))
            })?;
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
        let mut select = self.conn.prepare_cached(
            "SELECT t.said, t.at, t.message_id, s.name FROM account_traits t JOIN sources s USING (source)
             WHERE t.account = ?1",
        )?;
        let mut all = Vec::new();
        let mut rows = select.query([account])?;
        while let Some(row) = rows.next()? {
            add_said(row, &mut all)?;
        }
        sort(&mut all);
        Ok(all)
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
    use std::collections::BTreeMap;
    use std::collections::btree_map::Entry;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::store::{Access, Cipher, Place, Shared, create};

    const NODES: [u32; 5] = [0, 1, 63, 64, 129];

    /// What was asserted: by event, of which node.
    type Model = BTreeMap<i64, u32>;

    fn node() -> impl Strategy<Value = u32> {
        prop::sample::select(NODES.to_vec())
    }

    /// One of the events there are, if there are any.
    fn one(model: &Model, place: usize) -> Option<(i64, u32)> {
        model.iter().nth(place % model.len().max(1)).map(|(event, node)| (*event, *node))
    }

    /// When an event was: not in the order of numbers.
    fn time(event: i64) -> Timestamp {
        Timestamp::from_micros(event * 7 % 5)
    }

    fn assert_one(db: &Db, source: u32, event: i64, node: u32) {
        let said = Object::from_iter([("plan".to_owned(), event.into())]);
        let (at, message_id) = (time(event), format!("m{event}"));
        let assertion = Assertion { event, said: &said, at, message_id: &message_id, source };
        db.assert_traits(Node(node), assertion).unwrap();
    }

    /// Holds what is found of each node, of everything and of the latest alone, against what there is.
    fn hold(db: &Db, model: &Model) -> std::result::Result<(), TestCaseError> {
        for node in NODES {
            let mut events: Vec<i64> =
                model.iter().filter(|(_, own)| **own == node).map(|(event, _)| *event).collect();
            events.sort_by_key(|event| (time(*event), format!("m{event}")));
            let values =
                |said: Vec<(String, Trait)>| said.into_iter().map(|(_, said)| said.value).collect::<Vec<_>>();
            let all: Vec<Value> = events.iter().map(|event| (*event).into()).collect();
            prop_assert_eq!(&values(db.traits_of(Node(node)).unwrap()), &all);
            for _ in 0..2 {
                let mut said = values(db.said(&[Node(node)], &[("plan", false)]).unwrap());
                said.reverse();
                said.sort_by_key(|value| all.iter().position(|one| one == value));
                prop_assert_eq!(&said, &all);
                let latest = values(db.said(&[Node(node)], &[("plan", true)]).unwrap());
                prop_assert_eq!(latest.as_slice(), &all[all.len() - all.len().min(1)..]);
            }
        }
        Ok(())
    }

    /// What the check tells of, and no answer may be wrong by.
    #[test]
    fn damage_to_the_index_doubles_nothing_and_is_told() {
        let shared = Arc::new(Shared::new(1_000, 0));
        let db = Db::open(&Place::Memory, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
        db.begin_write().unwrap();
        let source = db.source(&crate::event::Source::default()).unwrap();
        (1..=3).for_each(|event| assert_one(&db, source, event, 7));
        db.bring_traits_home().unwrap();
        db.commit().unwrap();
        // As if all that is home waited too.
        db.set("traits_home", 0).unwrap();
        db.set("traits_moved", 99).unwrap();
        db.fresh_traits.borrow_mut().look_again();
        assert_eq!(db.traits_of(Node(7)).unwrap().len(), 3);
        assert_eq!(db.said(&[Node(7)], &[("plan", false)]).unwrap().len(), 3);
        assert_eq!(db.fresh_traits.borrow().of(Node(7)).count(), 3);

        db.conn.execute("DELETE FROM traits WHERE event = 2", []).unwrap();
        assert!(db.traits_of(Node(7)).is_err());
        assert!(db.said(&[Node(7)], &[("plan", false)]).is_err());
    }

    proptest! {
        /// Whatever is asserted, given away, forgotten, told anew or taken back between, and whenever it is brought into the index:
        /// what was said of somebody is found, by whoever writes and by whoever reads, and of those of whom nothing was said it
        /// need not be read.
        #[test]
        fn what_was_said_is_found_by_whose_it_is(
            seal_every in prop::sample::select(vec![1, 48, 96, 1_000]),
            turns in prop::collection::vec((0..9_u8, node(), any::<usize>(), any::<[bool; 2]>()), 1..60),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let (path, lock) = create(&folder.path().join("some.db"), &Cipher::default()).unwrap();
            let place = Place::File(path, Cipher::default());
            let shared = Arc::new(Shared::new(seal_every, 0));
            let db = Db::open(&place, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
            db.begin_write().unwrap();
            let source = db.source(&crate::event::Source::default()).unwrap();
            db.commit().unwrap();
            let reader = Db::open(&place, Access::Read, &shared).unwrap();
            let (mut model, mut committed, mut gone) = (Model::new(), Model::new(), Model::new());
            db.begin_write().unwrap();
            for (event, (turn, node, place, [writer_looks, reader_looks])) in (1..).zip(turns) {
                match turn {
                    0..=2 => {
                        assert_one(&db, source, event, node);
                        model.insert(event, node);
                    }
                    3 => {
                        let Some((event, _)) = one(&model, place) else { continue };
                        db.no_more_silent(Node(node));
                        db.move_assertion(event, Node(node)).unwrap();
                        model.insert(event, node);
                    }
                    4 => {
                        db.clear_derived(Some(&[Node(node)])).unwrap();
                        gone.extend(model.extract_if(.., |_, own| *own == node));
                    }
                    5 if place % 4 == 0 => {
                        db.clear_derived(None).unwrap();
                        gone.append(&mut model);
                    }
                    5 | 6 => {
                        let Some((event, _)) = one(&gone, place) else { continue };
                        if let Entry::Vacant(place) = model.entry(event) {
                            assert_one(&db, source, event, node);
                            place.insert(node);
                        }
                    }
                    7 => {
                        if place % 2 == 0 {
                            db.bring_many_traits_home().unwrap();
                        }
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
                if writer_looks {
                    hold(&db, &model)?;
                }
                if reader_looks {
                    reader.begin_read().unwrap();
                    hold(&reader, &committed)?;
                    reader.rollback();
                }
            }
            db.commit().unwrap();
            let home = "SELECT node, at, event FROM traits WHERE event < (SELECT value FROM settings WHERE name = 'traits_home')";
            let indexed = "SELECT node, at, event FROM traits_by_node";
            for (these, those) in [(home, indexed), (indexed, home)] {
                let sql = format!("SELECT count(*) FROM ({these} EXCEPT {those})");
                prop_assert_eq!(db.conn.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap(), 0);
            }
            db.begin_write().unwrap();
            db.bring_traits_home().unwrap();
            db.commit().unwrap();
            hold(&db, &model)?;
            reader.begin_read().unwrap();
            hold(&reader, &model)?;
            reader.rollback();
            let indexed = db.conn.query_row("SELECT count(*) FROM traits_by_node", [], |row| row.get::<_, usize>(0));
            prop_assert_eq!(indexed.unwrap(), model.len());
            drop((reader, db, lock));
        }
    }
}
