//! What an event says of the person whose it is, written down.

use crate::clock::Timestamp;
use crate::event::Event;
use crate::identity::{Borne, Node, Resolution};
use crate::store::{Assertion, Db, Result};
use crate::value::{Object, nfc};

/// An event whose owner is known.
pub(crate) struct Record<'e> {
    pub(crate) event: &'e Event,
    pub(crate) owner: Node,
    pub(crate) at: Timestamp,
    pub(crate) message_id: &'e str,
    pub(crate) source: u32,
}

impl Record<'_> {
    /// Writes everything that is made from an event, but for what its resolution changed in the graph. When the
    /// log is replayed this is done again, so nothing else may write these tables.
    pub(crate) fn write(&self, db: &Db, borne: &Borne<'_>, resolution: &Resolution) -> Result<()> {
        self.each_trait(&self.event.all_traits(), |said| db.assert_trait(self.owner, said))?;
        if let (Some(traits), Some(id)) = (self.event.account_traits(), borne.account.as_deref()) {
            let account = db.join_account(self.owner, id, self.at, self.message_id)?;
            self.each_trait(traits, |said| db.assert_account_trait(account, said))?;
        }
        let mut refused = resolution.refused.iter();
        refused.try_for_each(|refused| db.add_refusal(resolution.owner, refused, self.at, self.message_id))
    }

    fn each_trait(&self, traits: &Object, mut write: impl FnMut(Assertion<'_>) -> Result<()>) -> Result<()> {
        for (name, value) in traits {
            let value = value.to_string();
            let (at, message_id, source) = (self.at, self.message_id, self.source);
            write(Assertion { name: &nfc(name), value: &value, at, message_id, source })?;
        }
        Ok(())
    }
}
