//! What a hand decides: links, bans and cuts, rules, and a replay.

use super::named::Named;
use super::read::list;
use super::{Cdp, DecisionReport, RefusedIdentifier};
use crate::error::{DefinitionError, Result};
use crate::identity::{Node, Rules, RulesReport};
use crate::pipeline::hand::{Deed, Outcome};
use crate::pipeline::replay::{put_rules, restitch};
use crate::pipeline::{State, membership};
use crate::store::Db;

/// What is decided of two identifiers.
#[derive(Clone, Copy)]
enum OnPair {
    Link,
    Force,
    Never,
    Unlink,
}

impl Cdp {
    /// Joins two identifiers by hand, unless a limit or a ban speaks against it. The link is remembered: it holds as soon as
    /// rules allow it, and until somebody unlinks the two. A cut between just these two is taken back.
    ///
    /// An id is an identifier, which need not be known yet, or a profile id, which stands for the profile's name.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::track("Call").user_id("u1"), Event::track("Visit").anonymous_id("device-7")])?;
    /// assert_eq!(cdp.link("user_id:u1", "anonymous_id:device-7")?.profiles.len(), 1);
    ///
    /// let report = cdp.link("user_id:u1", "user_id:u2")?;
    /// assert_eq!(report.profiles.len(), 2);
    /// assert_eq!(report.refused.unwrap().reason, "at most 1 user_id in a profile, 2 if joined");
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId) if a text is neither an identifier nor a profile id,
    /// [`Error::Definition`](crate::Error::Definition) if its value is blocked or has not the form of its namespace, or what
    /// the storage says.
    pub fn link(&self, a: impl ToString, b: impl ToString) -> Result<DecisionReport> {
        self.on_pair(&a.to_string(), &b.to_string(), OnPair::Link)
    }

    /// Joins two identifiers by hand in spite of all limits, and of cuts that parted them. Only a ban on others of the two
    /// people speaks against it.
    ///
    /// ```
    /// use customerdb::Cdp;
    ///
    /// let cdp = Cdp::in_memory()?;
    /// assert_eq!(cdp.force_link("user_id:u1", "user_id:u2")?.profiles.len(), 1);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`link`](Self::link).
    pub fn force_link(&self, a: impl ToString, b: impl ToString) -> Result<DecisionReport> {
        self.on_pair(&a.to_string(), &b.to_string(), OnPair::Force)
    }

    /// Decides that two identifiers are never one person, whatever evidence says: now, before and later. If they are,
    /// their evidence is resolved anew. A link of the two has no effect as long as the ban stands.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.never("user_id:father", "user_id:son")?;
    /// cdp.ingest([Event::alias("father").user_id("son")])?;
    /// assert!(!cdp.explain("user_id:father", "user_id:son")?.same);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`link`](Self::link).
    pub fn never(&self, a: impl ToString, b: impl ToString) -> Result<DecisionReport> {
        self.on_pair(&a.to_string(), &b.to_string(), OnPair::Never)
    }

    /// Takes the evidence between two identifiers away: the edge between them in the identity graph. If nothing else holds
    /// them together, they fall apart, and everything is as if that evidence had never come. The cut is remembered, so
    /// later evidence does not join them again, until somebody links them. A link of the two is taken back.
    ///
    /// ```
    /// use customerdb::{Cdp, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// let login = Event::identify().user_id("u1").anonymous_id("kiosk");
    /// cdp.ingest([Event::track("Search").anonymous_id("kiosk"), login.clone()])?;
    /// assert_eq!(cdp.unlink("user_id:u1", "anonymous_id:kiosk")?.profiles.len(), 2);
    /// cdp.ingest([login.message_id("again")])?;
    /// assert_eq!(cdp.profiles()?.len(), 2);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`link`](Self::link).
    pub fn unlink(&self, a: impl ToString, b: impl ToString) -> Result<DecisionReport> {
        self.on_pair(&a.to_string(), &b.to_string(), OnPair::Unlink)
    }

    /// Cuts an identifier off from everything that evidence connects it with, as [`unlink`](Self::unlink) does for each of
    /// its neighbours. Reports the people into whom the one who held it fell apart; nobody if it is unknown.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId) if the text is neither an identifier nor a profile id, or what the storage
    /// says.
    pub fn split(&self, id: impl ToString) -> Result<DecisionReport> {
        let named = Named::read(&id.to_string())?;
        self.decide(|db, state, deed| match named.node(db, state)? {
            Some(_) => {
                let mut deed = deed;
                let node = named.intern(db, state, &mut deed.draft, ("id", false))?;
                deed.split(node).map(Some)
            }
            None => Ok(None),
        })
    }

    /// Takes all evidence away that events of a source bear: each of its events counts for its strongest identifier alone,
    /// also those that come later. Those who fell apart by it are not joined again by other evidence, unless it is
    /// [forced](Self::force_link).
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn split_source(&self, source: &str) -> Result<DecisionReport> {
        self.decide(|_, _, deed| deed.split_source(source).map(Some))
    }

    /// Takes a decision by hand back, and with a cut the ban that it left: everything is as if it had never been taken.
    /// Reports the people concerned; nobody if there is no such decision. [`decisions`](Self::decisions) lists them.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn take_back(&self, decision: i64) -> Result<DecisionReport> {
        self.decide(|_, _, deed| deed.take_back(decision))
    }

    /// Puts rules of identity in force. New rules change the past too: all events are replayed under them, in
    /// event-time order, and the report says what that did to the profiles.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Rules};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// let email = "info@shop.example";
    /// cdp.ingest(["a1", "a2", "a3"].map(|id| Event::identify().anonymous_id(id).with_trait("email", email)))?;
    /// assert_eq!(cdp.profiles()?.len(), 1);
    ///
    /// let report = cdp.set_rules(Rules::default().block("email", email))?;
    /// assert_eq!((report.profiles_before, report.profiles_after, report.split), (1, 3, 1));
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if the rules make no sense (a limit of 0, a namespace listed twice), or
    /// what the storage says; the old rules stay in force then.
    pub fn set_rules(&self, rules: Rules) -> Result<RulesReport> {
        let rules = rules.checked()?;
        let turn = self.turn()?;
        let (change, report) =
            put_rules(turn.db(), &self.state(), &rules, self.now(), || self.new_profile_id())?;
        turn.publish(|state| state.apply(change))?;
        Ok(report)
    }

    /// Replays all evidence in event-time order (ties: by message id), which gives the same people whatever the order was
    /// in which events came. It differs from what is there only where a limit is reached.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn restitch(&self) -> Result<RulesReport> {
        let turn = self.turn()?;
        let (change, report) = restitch(turn.db(), &self.state(), self.now(), || self.new_profile_id())?;
        turn.publish(|state| state.apply(change))?;
        Ok(report)
    }

    fn on_pair(&self, a: &str, b: &str, act: OnPair) -> Result<DecisionReport> {
        let (a, b) = (Named::read(a)?, Named::read(b)?);
        self.decide(|db, state, mut deed| {
            let to_link = matches!(act, OnPair::Link | OnPair::Force);
            let a = a.intern(db, state, &mut deed.draft, ("a", to_link))?;
            let b = b.intern(db, state, &mut deed.draft, ("b", to_link))?;
            if a == b {
                return Err(DefinitionError::new("b", "the same identifier as the other").into());
            }
            let outcome = match act {
                OnPair::Link => deed.link(a, b, false),
                OnPair::Force => deed.link(a, b, true),
                OnPair::Never => deed.never(a, b),
                OnPair::Unlink => deed.unlink(a, b),
            };
            outcome.map(Some)
        })
    }

    /// Decides something as one transaction.
    fn decide<F>(&self, act: F) -> Result<DecisionReport>
    where
        F: FnOnce(&Db, &State, Deed<'_>) -> Result<Option<Outcome>>,
    {
        let turn = self.turn()?;
        let id = || self.new_profile_id();
        let outcome = {
            let (db, state, now) = (turn.db(), self.state(), self.now());
            membership::settle_time(db, &state.identities, &state.segments, now)?;
            act(db, &state, Deed::new(db, &state, now, &id))?
        };
        let Some(Outcome { change, concerned, refused }) = outcome else {
            return Ok(DecisionReport::default());
        };
        turn.publish(|state| state.apply(change))?;
        self.read(|db, state| {
            let roots: std::collections::BTreeSet<Node> =
                concerned.into_iter().filter_map(|node| state.identities.partition.root(node)).collect();
            let refused = refused.map(|(refused, from, message_id)| RefusedIdentifier {
                cursor: 0,
                identifier: refused.identifier,
                from: state.identities.interner.identifier(from),
                rule: refused.rule,
                reason: refused.reason,
                at: self.now(),
                message_id,
            });
            Ok(DecisionReport { profiles: list(db, state, roots)?, refused })
        })
    }
}
