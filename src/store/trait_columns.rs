//! What stands of a trait, of everybody, as a column in memory: for conditions and breakdowns that ask everybody.

use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::Row;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::packed::damaged;
use super::traits::said_in;
use super::{Db, Result};

/// The counter that every commit raises that has changed a trait.
pub(super) const TRAITS: &str = "traits";

/// After how many rows whoever asks is heard.
const OFTEN: usize = 1 << 8;

/// The latest value of a trait that was asserted of each node, and every value that was set right by hand.
#[derive(Debug, Default)]
pub(crate) struct TraitColumn {
    /// As the counter says.
    version: i64,
    /// By node.
    pub(crate) rows: Vec<Said>,
    /// The different values.
    pub(crate) values: Vec<Value>,
    size: usize,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) node: u32,
    /// Of what was said of one person, the highest stands.
    pub(crate) rank: u32,
    /// The place of the value.
    pub(crate) value: u32,
}

impl TraitColumn {
    /// The bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        self.size
    }
}

/// A row before it is known which comes after which: by hand or not, when, and the message id or what stands for it.
struct Draft {
    node: u32,
    value: u32,
    order: (bool, i64, usize, String),
}

impl Draft {
    /// A value of which the JSON is `text`, from a row: behind that node, time, and message id.
    fn read(row: &Row<'_>, text: &str, by_hand: bool, values: &mut FxHashMap<String, u32>) -> Result<Self> {
        let next =
            u32::try_from(values.len()).map_err(|_| damaged("more values of a trait than a file holds"))?;
        let value = match values.get(text) {
            Some(value) => *value,
            None => *values.entry(text.to_owned()).or_insert(next),
        };
        let id: String = row.get(3)?;
        let order = (by_hand, row.get(2)?, if by_hand { id.len() } else { 0 }, id);
        Ok(Self { node: row.get(1)?, value, order })
    }
}

impl Db {
    /// Whether a trait's column is at hand, or was asked for before and no trait has changed since: whoever asks for a few
    /// people may better look them up than go through everybody, but not again and again.
    pub(crate) fn is_trait_asked_again(&self, name: &str) -> Result<bool> {
        if self.changes.borrow().traits {
            return Ok(false);
        }
        let version = self.counter(TRAITS)?;
        let shared = Arc::clone(&self.log.borrow().shared);
        let is_at_hand = shared.trait_column(name).is_some_and(|known| known.version == version);
        Ok(is_at_hand || shared.note_asked(name, version))
    }

    /// What stands of a trait where the latest value does. `None` if `pause`, which is called now and then, says so.
    pub(crate) fn trait_column(
        &self,
        name: &str,
        mut pause: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Arc<TraitColumn>>> {
        // What this transaction has written is not what others see.
        let is_shared = !self.changes.borrow().traits;
        let version = self.counter(TRAITS)?;
        let shared = Arc::clone(&self.log.borrow().shared);
        if is_shared && let Some(column) = shared.trait_column(name).filter(|known| known.version == version)
        {
            return Ok(Some(column));
        }
        let (mut drafts, mut texts) = (Vec::<Draft>::new(), FxHashMap::default());
        // Where the latest of each node is.
        let mut latest: FxHashMap<u32, usize> = FxHashMap::default();
        let mut select = self.conn.prepare_cached("SELECT said, node, at, message_id FROM traits")?;
        let mut rows = select.query([])?;
        let mut seen = 0_usize;
        while let Some(row) = rows.next()? {
            seen += 1;
            if seen.is_multiple_of(OFTEN) && pause().is_break() {
                return Ok(None);
            }
            let Some(text) = said_in(row, name)? else { continue };
            let draft = Draft::read(row, text, false, &mut texts)?;
            let place = *latest.entry(draft.node).or_insert(drafts.len());
            match drafts.get_mut(place) {
                Some(known) if known.order < draft.order => *known = draft,
                Some(_) => {}
                None => drafts.push(draft),
            }
        }
        drop(latest);
        let mut select = self
            .conn
            .prepare_cached("SELECT value, node, at, 'rectify:' || pin FROM pins WHERE name = ?1")?;
        let mut rows = select.query([name])?;
        while let Some(row) = rows.next()? {
            let text = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            drafts.push(Draft::read(row, text, true, &mut texts)?);
        }
        let mut order: Vec<usize> = (0..drafts.len()).collect();
        order.sort_unstable_by(|a, b| drafts[*a].order.cmp(&drafts[*b].order));
        let mut rows: Vec<Said> =
            drafts.iter().map(|draft| Said { node: draft.node, rank: 0, value: draft.value }).collect();
        for (rank, place) in (0..).zip(order) {
            rows[place].rank = rank;
        }
        // So whoever looks up whose they are goes through memory from one end to the other.
        rows.sort_unstable_by_key(|said| said.node);
        let mut values = vec![Value::Null; texts.len()];
        let mut size = size_of::<TraitColumn>() + rows.len() * size_of::<Said>();
        for (number, (text, place)) in texts.into_iter().enumerate() {
            if number.is_multiple_of(OFTEN) && pause().is_break() {
                return Ok(None);
            }
            size += size_of::<Value>() + text.len();
            values[place as usize] =
                serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
        }
        let column = Arc::new(TraitColumn { version, rows, values, size });
        if is_shared {
            shared.keep_trait_column(name, &column);
        }
        Ok(Some(column))
    }
}
