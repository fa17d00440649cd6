//! What stands of a trait, of everybody, as a column in memory: for conditions and breakdowns that ask everybody.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rusqlite::Row;
use rustc_hash::FxHashMap;
use serde_json::Value;

use super::packed::damaged;
use super::traits::said_in;
use super::{Db, Result};
use crate::identity::Numbers;

/// The counter that every commit raises that has changed a trait.
pub(super) const TRAITS: &str = "traits";

/// After how many rows whoever asks is heard, and after how many that are in memory.
const OFTEN: usize = 1 << 8;
const AT_ONCE: usize = if cfg!(debug_assertions) { 1 << 3 } else { 1 << 16 };

/// The latest value of a trait that was asserted of each node, and every value that was set right by hand.
#[derive(Debug, Default)]
pub(crate) struct TraitColumn {
    /// As the counter says.
    version: i64,
    /// By node.
    rows: Vec<Said>,
    /// The different values.
    pub(crate) values: Vec<Value>,
    /// What stands of everybody, as people were when that was last asked.
    standing: Mutex<Option<Standing>>,
    size: usize,
}

/// Of people, by number, the place of the value that stands, plus one; 0 of whom none does.
#[derive(Debug)]
struct Standing {
    numbers: Weak<Numbers>,
    places: Arc<[u32]>,
}

/// A trait's column; and by the numbers of people, the place of the value that stands, plus one, 0 of whom none does.
pub(crate) type OfEverybody = (Arc<TraitColumn>, Arc<[u32]>);

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    node: u32,
    /// Of what was said of one person, the highest stands.
    rank: u32,
    /// The place of the value.
    value: u32,
}

impl TraitColumn {
    /// The bytes that it takes, about.
    pub(super) fn size(&self) -> usize {
        let places = self.standing().as_ref().map_or(0, |standing| standing.places.len());
        self.size + places * size_of::<u32>()
    }

    fn standing(&self) -> MutexGuard<'_, Option<Standing>> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By the numbers of people, the place of the value that stands, plus one, if it is at hand.
    fn places(&self, numbers: &Arc<Numbers>) -> Option<Arc<[u32]>> {
        let standing = self.standing();
        let known = standing.as_ref().filter(|known| Weak::ptr_eq(&known.numbers, &Arc::downgrade(numbers)));
        known.map(|known| Arc::clone(&known.places))
    }

    /// The same, worked out. `None` if `pause` says not to go on.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    fn find_places(
        &self,
        numbers: &Arc<Numbers>,
        mut pause: impl FnMut() -> ControlFlow<()>,
    ) -> Option<Arc<[u32]>> {
        // The rank above the value: so the highest of a person is the one that stands.
        let mut highest = vec![0; numbers.roots().len()];
        for some in self.rows.chunks(AT_ONCE) {
            if pause().is_break() {
                return None;
            }
            for said in some {
                if let Some(highest) = highest.get_mut(numbers.person(said.node) as usize) {
                    let own = u64::from(said.rank) << u32::BITS | (u64::from(said.value) + 1);
                    *highest = u64::max(*highest, own);
                }
            }
        }
        let places: Arc<[u32]> = highest.into_iter().map(|highest| highest as u32).collect();
        *self.standing() = Some(Standing { numbers: Arc::downgrade(numbers), places: Arc::clone(&places) });
        Some(places)
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

    /// What stands of a trait where the latest value does, and of whom. `None` if `pause`, which is called now and then, says so.
    pub(crate) fn trait_of_everybody(
        &self,
        name: &str,
        numbers: &Arc<Numbers>,
        mut pause: impl FnMut() -> ControlFlow<()>,
    ) -> Result<Option<OfEverybody>> {
        let Some(column) = self.trait_column(name, &mut pause)? else { return Ok(None) };
        if let Some(places) = column.places(numbers) {
            return Ok(Some((column, places)));
        }
        let places = column.find_places(numbers, pause);
        let shared = Arc::clone(&self.log.borrow().shared);
        if shared.trait_column(name).is_some_and(|kept| Arc::ptr_eq(&kept, &column)) {
            // It takes more room now.
            shared.keep_trait_column(name, &column);
        }
        Ok(places.map(|places| (column, places)))
    }

    /// What stands of a trait where the latest value does. `None` if `pause`, which is called now and then, says so.
    fn trait_column(
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
        let column = Arc::new(TraitColumn { version, rows, values, standing: Mutex::default(), size });
        if is_shared {
            shared.keep_trait_column(name, &column);
        }
        Ok(Some(column))
    }
}
