//! What was decided by hand.

use rusqlite::params;

use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::{DecisionKind, Hand, Node, Ruling};

/// A decision as the file has it.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) number: i64,
    pub(crate) at: Timestamp,
    pub(crate) kind: DecisionKind,
    pub(crate) of: Of,
}

/// What a decision is on.
#[derive(Debug, Clone)]
pub(crate) enum Of {
    Pair(Node, Node),
    Source(String),
}

impl Db {
    /// All decisions that stand, in the order in which they were taken.
    pub(crate) fn decisions(&self) -> Result<Vec<Decided>> {
        let mut select =
            self.conn.prepare("SELECT decision, at, kind, a, b, source FROM decisions ORDER BY decision")?;
        let rows = select.query_map([], |row| {
            let source: Option<String> = row.get(5)?;
            let of = match source {
                Some(source) => Of::Source(source),
                None => Of::Pair(Node(row.get(3)?), Node(row.get(4)?)),
            };
            Ok(Decided {
                number: row.get(0)?,
                at: Timestamp::from_micros(row.get(1)?),
                kind: DecisionKind::read(row.get_ref(2)?.as_str()?).unwrap_or(DecisionKind::Never),
                of,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// The decisions that stand, as resolution goes by them.
    pub(crate) fn hand(&self) -> Result<Hand> {
        let mut hand = Hand::default();
        for decided in self.decisions()? {
            match decided.of {
                Of::Source(name) => hand.cut_source(&name, decided.at),
                Of::Pair(a, b) => {
                    hand.add(Ruling { number: decided.number, at: decided.at, kind: decided.kind, a, b });
                }
            }
        }
        Ok(hand)
    }

    /// Adds a decision on two identifiers, and gives its number.
    pub(crate) fn decide(&self, at: Timestamp, kind: DecisionKind, a: Node, b: Node) -> Result<i64> {
        let mut insert =
            self.conn.prepare_cached("INSERT INTO decisions (at, kind, a, b) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![at.as_micros(), kind.as_str(), a.min(b).0, a.max(b).0])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Adds the decision that two identifiers that a cut parted are not joined again: the cut of a source, if it was one.
    pub(crate) fn decide_apart(&self, at: Timestamp, a: Node, b: Node, source: Option<i64>) -> Result<i64> {
        let mut insert = self
            .conn
            .prepare_cached("INSERT INTO decisions (at, kind, a, b, cut) VALUES (?1, 'apart', ?2, ?3, ?4)")?;
        insert.execute(params![at.as_micros(), a.min(b).0, a.max(b).0, source])?;
        Ok(self.conn.last_insert_rowid())
    }

    /// Adds the decision that evidence of a source does not count, unless it was taken before, and gives its number.
    pub(crate) fn decide_source(&self, at: Timestamp, name: &str) -> Result<i64> {
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO decisions (at, kind, source) VALUES (?1, 'cut', ?2) ON CONFLICT DO NOTHING",
        )?;
        insert.execute(params![at.as_micros(), name])?;
        let mut select = self.conn.prepare_cached("SELECT decision FROM decisions WHERE source = ?1")?;
        Ok(select.query_row([name], |row| row.get(0))?)
    }

    /// Takes back the decisions on two identifiers that are of one kind.
    pub(crate) fn lift(&self, a: Node, b: Node, kind: DecisionKind) -> Result<()> {
        let mut delete =
            self.conn.prepare_cached("DELETE FROM decisions WHERE a = ?1 AND b = ?2 AND kind = ?3")?;
        delete.execute(params![a.min(b).0, a.max(b).0, kind.as_str()])?;
        Ok(())
    }

    /// Takes one decision back, and with a cut what it parted.
    pub(crate) fn take_back(&self, decided: &Decided) -> Result<()> {
        let number = decided.number;
        self.conn
            .prepare_cached("DELETE FROM decisions WHERE decision = ?1 OR cut = ?1")?
            .execute([number])?;
        if let (DecisionKind::Cut, Of::Pair(a, b)) = (decided.kind, &decided.of) {
            // What the cut of a source parted is that decision's to give back.
            let sql = "DELETE FROM decisions WHERE a = ?1 AND b = ?2 AND kind = 'apart' AND cut IS NULL";
            self.conn.prepare_cached(sql)?.execute((a.min(b).0, a.max(b).0))?;
        }
        Ok(())
    }
}
