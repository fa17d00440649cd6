//! What live segments look at inside of events, kept at the writer's desk: whoever does something is asked about at every
//! batch, and what their events say would be read and parsed each time anew. Of what came in before the file was opened, or
//! long ago, that is done still.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::event::Event;
use crate::segment::Needs;
use crate::store::Db;
use crate::value::{Object, Value};

/// Of so many events at most; beyond that all is let go of. What is not there is read from the log.
const MOST: usize = if cfg!(debug_assertions) { 1 << 4 } else { 1 << 15 };

/// Longer texts are not kept, nor what is made of several values: so it is known how much memory all takes.
const LONG: usize = if cfg!(debug_assertions) { 1 << 4 } else { 1 << 8 };

/// Properties of events that came in lately, by the numbers of the events. As all of the desk it is forgotten when a
/// transaction is taken back: numbers are given again then.
#[derive(Default)]
pub(crate) struct Opened {
    /// What all live segments need together: of that alone something is kept.
    needs: Arc<Needs>,
    /// How often events of the log had been changed.
    edits: i64,
    events: FxHashMap<u32, Vec<(String, Value)>>,
}

impl Opened {
    /// Lets go of everything that is of no use to those who need that, or not right any more.
    pub(super) fn hold(&mut self, db: &Db, needs: &Arc<Needs>) {
        let edits = db.edits();
        if !Arc::ptr_eq(&self.needs, needs) || self.edits != edits {
            *self = Self { needs: Arc::clone(needs), edits, events: FxHashMap::default() };
        }
    }

    /// Keeps what an event with that number has of what is needed.
    pub(super) fn note(&mut self, number: u32, event: &Event) {
        if !self.needs.wants_properties(event.name()) {
            return;
        }
        if self.events.len() >= MOST {
            self.events.clear();
        }
        let names: Vec<&str> = self.needs.property_names().collect();
        let own = event.some_properties(&names);
        let is_small = |value: &Value| match value {
            Value::Array(_) | Value::Object(_) => false,
            Value::String(text) => text.len() <= LONG,
            _ => true,
        };
        if own.iter().all(|(_, value)| is_small(value)) {
            let own = own.into_iter().map(|(place, value)| (names[place].to_owned(), value));
            self.events.insert(number, own.collect());
        }
    }

    pub(super) fn has(&self, event: u32) -> bool {
        self.events.contains_key(&event)
    }

    /// What is kept of an event, if anything is.
    pub(super) fn of(&self, event: u32) -> Option<Object> {
        self.events.get(&event).map(|own| own.iter().cloned().collect())
    }
}
