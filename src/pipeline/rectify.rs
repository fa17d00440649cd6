//! Traits that are set right by hand.

use super::Change;
use super::define::Definer;
use crate::error::Result;
use crate::identity::{Draft, Node, Person};
use crate::profile::Trait;
use crate::store::ChangeCause;
use crate::value::{Object, Value};

impl Definer<'_> {
    /// Pins a trait of whoever holds an identifier.
    pub(crate) fn rectify(&self, node: Node, name: &str, value: &Value) -> Result<Change> {
        let Self { db, now, .. } = *self;
        let message_id = db.pin(node, name, &value.to_string(), now)?;
        self.told("rectify", node, name)?;
        self.settle_holders([&node], &ChangeCause::Trait { name: name.to_owned(), message_id })?;
        Ok(Draft::on(&self.state.identities).into())
    }

    /// Takes back all pins of a person's trait. `None` if there are none.
    pub(crate) fn unpin(&self, person: &Person, named: Node, name: &str) -> Result<Option<Change>> {
        let db = self.db;
        let mut last: Option<Trait> = None;
        for &node in &person.nodes {
            let pins = db.pins_of(node)?.into_iter().filter(|(pinned, _)| pinned == name);
            let pins = last.into_iter().chain(pins.map(|(_, pin)| pin));
            last = pins.max_by(|a, b| a.order().cmp(&b.order()));
            db.take_pin(node, name)?;
        }
        let Some(Trait { message_id, .. }) = last else { return Ok(None) };
        self.told("unpin", named, name)?;
        self.settle_holders([&named], &ChangeCause::Trait { name: name.to_owned(), message_id })?;
        Ok(Some(Draft::on(&self.state.identities).into()))
    }

    fn told(&self, action: &str, node: Node, name: &str) -> Result<()> {
        let mut details = Object::new();
        details.insert("trait".into(), name.into());
        let about = self.state.identities.interner.identifier(node);
        self.state.audit(self.db, self.now, action, &[about], details)
    }
}
