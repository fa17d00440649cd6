//! What is found out about many events before it is the turn of any of them.
//!
//! Each event asks memory for places far apart: where its identifiers stand, whose they are, and whether its message id is known.
//! One event after the other, each of those is waited for; many events together, they are under way at once.

use super::Counter;
use super::input::Reading;
use crate::error::Result;
use crate::event::Source;
use crate::identity::{Borne, identifiers, look_up};
use crate::store::MessageId;

/// How many events are looked at together: enough for their places in memory to be under way at once.
pub(crate) const TOGETHER: usize = 128;

/// What is known of an event before it is its turn.
pub(super) struct Prepared<'e> {
    pub(super) id: MessageId<'e>,
    /// What it bears. `None` of an alias: what it means depends on the events before it.
    pub(super) borne: Option<Borne<'e>>,
}

impl Counter<'_> {
    /// Prepares events, as far as they could be read.
    pub(super) fn prepare<'e>(
        &self,
        source: &Source,
        readings: impl Iterator<Item = &'e Reading>,
    ) -> Result<Vec<Option<Prepared<'e>>>> {
        let rules = &self.state.rules;
        let mut prepared: Vec<Option<Prepared<'e>>> = readings
            .map(|reading| {
                let parsed = reading.as_ref().ok()?;
                let is_alias = parsed.event.ids().previous_id.is_some();
                let borne = (!is_alias).then(|| identifiers(&parsed.event, rules, |_| false));
                Some(Prepared { id: parsed.message_id(source), borne })
            })
            .collect();
        look_up(
            prepared.iter_mut().flatten().filter_map(|prepared| prepared.borne.as_mut()),
            &self.state.identities,
        );
        self.db.sift(prepared.iter_mut().flatten().map(|prepared| &mut prepared.id))?;
        Ok(prepared)
    }
}
