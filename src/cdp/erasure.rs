//! Erasing a person, and the suppression list that keeps them from coming back.

use super::Cdp;
use super::named::Named;
use crate::error::{Error, Result};
use crate::id::Identifier;
use crate::identity::{Node, normalise};
use crate::pipeline::State;
use crate::pipeline::erase::{Whom, erase};
use crate::privacy::Receipt;
use crate::store::{Db, Place};
use crate::value::Object;

impl Cdp {
    /// Erases a person: all identifiers that are linked to one profile, all events, and everything made of them, out of
    /// every table and every file of the database, before it returns.
    ///
    /// What is left is the receipt, a keyed hash of each identifier on the suppression list, what the audit log tells in keyed
    /// hashes and numbers, and the profile's id, which leads to nobody and is never used again. The id may be unknown; then its hash is put on the list, and what is in
    /// quarantine of it goes. Events of others stay, without the person's identifiers where they bear any, and people
    /// whom the person's evidence had joined, or kept apart, are stitched as if it had never been.
    ///
    /// An event whose strongest identifier is on the list is refused from now on, and not kept in quarantine; weaker ones
    /// are taken out of the events of others before they are stored.
    ///
    /// The file is written anew, which takes about as long as copying it, and as much room again for that time. Deleting
    /// alone would leave copies in unused parts of pages. [`erase_all`](Self::erase_all) does that once for many.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// let login = Event::identify().anonymous_id("d7").user_id("ann").with_trait("email", "ann@example.com");
    /// cdp.ingest([login.clone(), Event::track("Order").user_id("ann")])?;
    ///
    /// let receipt = cdp.erase("email:ann@example.com")?;
    /// assert_eq!((receipt.identifiers, receipt.events, receipt.traits, receipt.complete), (3, 2, 1, true));
    /// assert!(cdp.profile("user_id:ann")?.is_none());
    ///
    /// // A later import does not bring her back.
    /// let report = cdp.ingest([login.clone()])?;
    /// assert!(report.rejected[0].reason.starts_with("user_id: suppressed"));
    /// assert!(cdp.quarantine(10)?.is_empty());
    ///
    /// // She may come back herself.
    /// assert!(cdp.lift_suppression("user_id:ann")?);
    /// assert_eq!(cdp.ingest([login])?.accepted, 1);
    /// assert_eq!(cdp.profile("user_id:ann")?.unwrap().identifiers.len(), 1);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId) if the text is neither an identifier nor a profile id, or what the storage
    /// says: nothing is erased then. What keeps the files from being overwritten afterwards is no error: the receipt says
    /// that it is not [`complete`](Receipt::complete).
    pub fn erase(&self, id: impl ToString) -> Result<Receipt> {
        let mut receipt = self.take_out_named(Named::read(&id.to_string())?)?;
        receipt.complete = self.complete_erasures();
        Ok(receipt)
    }

    /// Erases several people as [`erase`](Self::erase) does, each with a receipt, and writes the file anew once for all of
    /// them.
    ///
    /// # Errors
    ///
    /// Those of [`erase`](Self::erase). Who was erased before the error stays so, and [`maintain`](Self::maintain) completes
    /// it.
    pub fn erase_all(&self, ids: impl IntoIterator<Item = impl ToString>) -> Result<Vec<Receipt>> {
        let named = ids.into_iter().map(|id| Named::read(&id.to_string())).collect::<Result<Vec<_>>>()?;
        let receipts =
            named.into_iter().map(|named| self.take_out_named(named)).collect::<Result<Vec<_>>>()?;
        let complete = self.complete_erasures();
        Ok(receipts.into_iter().map(|receipt| Receipt { complete, ..receipt }).collect())
    }

    /// Erases a person as one transaction. What it leaves in unused parts of the file is to be overwritten yet.
    fn take_out_named(&self, named: Named) -> Result<Receipt> {
        self.take_out(|db, state| whom(db, state, named))
    }

    /// The same, of whomever `whom` finds.
    pub(super) fn take_out(&self, whom: impl FnOnce(&Db, &State) -> Result<Whom>) -> Result<Receipt> {
        let mut turn = self.turn()?;
        let new_id = || self.new_profile_id();
        let (change, receipt) = {
            let (db, state) = (turn.db(), self.state());
            let whom = whom(db, &state)?;
            let (change, receipt) = erase(db, &state, &whom, self.now(), &new_id)?;
            db.set_erasures_waiting(db.erasures_waiting()? + 1)?;
            (change, receipt)
        };
        // Before anybody else writes: the list has grown.
        turn.clear_desk();
        turn.publish(|state| state.apply(change))?;
        Ok(receipt)
    }

    /// Takes an identifier off the suppression list: what bears it may come in again, old files too. False if it was not
    /// on it.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId) if the text is no identifier, or what the storage says.
    pub fn lift_suppression(&self, identifier: impl ToString) -> Result<bool> {
        let identifier = self.spelled(&identifier.to_string())?;
        let mut turn = self.turn()?;
        let lifted = {
            let (db, state) = (turn.db(), self.state());
            let lifted = db.lift_suppression(&state.key()?.identifier(&identifier))?;
            if lifted {
                state.audit(db, self.now(), "lift_suppression", &[identifier], Object::new())?;
            }
            lifted
        };
        turn.clear_desk();
        turn.publish(|_| {})?;
        Ok(lifted)
    }

    /// Whether an identifier is on the suppression list.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId) if the text is no identifier, or what the storage says.
    pub fn is_suppressed(&self, identifier: impl ToString) -> Result<bool> {
        let identifier = self.spelled(&identifier.to_string())?;
        self.read(|db, state| state.is_suppressed(db, &identifier))
    }

    /// An identifier as rules spell it.
    fn spelled(&self, text: &str) -> Result<Identifier> {
        let Named::Identifier(given) = Named::read(text)? else {
            return Err(Error::NotAnId(crate::id::mask(text)));
        };
        let state = self.state();
        let value = normalise(given.namespace(), given.value(), state.rules.region());
        let value = value.map_err(|_| Error::NotAnId(crate::id::mask(text)))?;
        Ok(Identifier::new(given.namespace().clone(), value))
    }

    /// Overwrites what erasures have left in unused parts of the file, and empties the write-ahead log. False if something
    /// keeps it from doing so; it is done later then.
    pub(super) fn complete_erasures(&self) -> bool {
        self.next_turn().and_then(|turn| self.complete(turn.db())).unwrap_or(false)
    }

    /// The same, with the connection to write with.
    pub(super) fn complete(&self, db: &Db) -> Result<bool> {
        let waiting = db.erasures_waiting()?;
        if waiting == 0 {
            return Ok(true);
        }
        // While somebody reads what was there before, writing the file anew would make the log longer, and no more.
        if let Place::File(..) = self.inner.place
            && !(db.truncate_wal()? && db.rewrite().map(|()| true)? && db.truncate_wal()?)
        {
            return Ok(false);
        }
        db.begin_write()?;
        let mut details = Object::new();
        details.insert("erasures".into(), waiting.into());
        let noted =
            db.set_erasures_waiting(0).and_then(|()| db.audit(self.now(), "complete_erasures", details));
        let noted = noted.and_then(|()| db.commit());
        noted.inspect_err(|_| db.rollback())?;
        if let Place::File(..) = self.inner.place {
            db.truncate_wal()?;
        }
        Ok(true)
    }
}

/// Whom a text names: everything that is linked to it.
fn whom(db: &Db, state: &State, named: Named) -> Result<Whom> {
    let node = named.node(db, state)?;
    let known = node.filter(|node| !state.identities.interner.is_forgotten(*node));
    let mut nodes: Vec<Node> =
        known.into_iter().flat_map(|node| state.identities.partition.members(node)).collect();
    let named = match named {
        Named::Identifier(identifier) => {
            // Known, and nobody's.
            if nodes.is_empty() {
                nodes.extend(known);
            }
            Some(identifier)
        }
        Named::Profile(_) => None,
    };
    Ok(Whom { nodes, named })
}
