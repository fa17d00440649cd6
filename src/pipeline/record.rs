//! What an event says of the person whose it is, written down.

use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::event::Event;
use crate::identity::{Borne, Node, Resolution};
use crate::store::{Assertion, Db, Result};
use crate::value::{Object, nfc};

/// An event whose owner is known.
pub(crate) struct Record<'e> {
    pub(crate) number: i64,
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
        db.assert_traits(self.owner, self.assertion(&named(&self.event.all_traits())))?;
        if let (Some(traits), Some(id)) = (self.event.account_traits(), borne.account.as_deref()) {
            let account = db.join_account(self.owner, id, self.at, self.message_id)?;
            db.assert_account_traits(account, self.assertion(&named(traits)))?;
        }
        let mut refused = resolution.refused.iter();
        refused.try_for_each(|refused| db.add_refusal(resolution.owner, refused, self.at, self.message_id))
    }

    fn assertion<'a>(&'a self, said: &'a Object) -> Assertion<'a> {
        let Self { number, at, message_id, source, .. } = *self;
        Assertion { event: number, said, at, message_id, source }
    }
}

/// Traits by their names in normal form. Where two names are one in normal form, it has the value of the one that comes
/// later in the order of names.
fn named(traits: &Object) -> Cow<'_, Object> {
    if traits.keys().all(|name| matches!(nfc(name), Cow::Borrowed(_))) {
        return Cow::Borrowed(traits);
    }
    Cow::Owned(traits.iter().map(|(name, value)| (nfc(name).into_owned(), value.clone())).collect())
}
