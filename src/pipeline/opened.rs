//! What live segments look at inside of events, kept at the writer's desk: whoever does something is asked about at every
//! batch, and what their events say would be read and parsed each time anew. Of what came in before the file was opened, or
//! long ago, that is done still.

use std::borrow::Cow;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::segment::Needs;
use crate::store::Db;
use crate::value::{Members, Object, Value};

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

    /// Keeps what an event of that name and with these properties, as conditions see them, has of what is needed.
    pub(super) fn note<'p>(&mut self, event: u32, name: &str, properties: impl FnOnce() -> Cow<'p, Object>) {
        if !self.needs.wants_properties(name) {
            return;
        }
        if self.events.len() >= MOST {
            self.events.clear();
        }
        let properties = properties();
        let names = self.needs.property_names();
        let own: Vec<(&str, &Value)> =
            names.filter_map(|name| Some((name, (&*properties).member(name)?))).collect();
        let is_small = |value: &Value| match value {
            Value::Array(_) | Value::Object(_) => false,
            Value::String(text) => text.len() <= LONG,
            _ => true,
        };
        if own.iter().all(|(_, value)| is_small(value)) {
            let own = own.into_iter().map(|(name, value)| (name.to_owned(), value.clone()));
            self.events.insert(event, own.collect());
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
