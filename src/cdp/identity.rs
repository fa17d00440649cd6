//! Questions about identity: why two identifiers are one person, what kept others apart, what rules would do.

use super::answers::{Decision, DecisionSubject};
use super::named::{End, Named};
use super::{Cdp, Explanation, RefusedIdentifier};
use crate::error::Result;
use crate::identity::{IdentityGraph, Rules, RulesReport, by_strength};
use crate::pipeline::explain::refused_between;
use crate::pipeline::{State, replay};
use crate::store::{Db, JournalEntry, Kept, Of};

/// How many refusals of each identifier an explanation gives at most.
const REFUSALS: usize = 100;

impl Cdp {
    /// Why two identifiers are one person: a shortest chain of evidence. Or, if they are not, what kept them apart: the
    /// refusals on a chain of evidence that would have joined them with as few refusals as there can be, and then all
    /// others of the two.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Rule};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([
    ///     Event::identify().user_id("u1").with_trait("email", "shared@example.com"),
    ///     Event::identify().user_id("u2").with_trait("email", "shared@example.com").message_id("m2"),
    /// ])?;
    /// let why = cdp.explain("user_id:u1", "user_id:u2")?;
    /// assert!(!why.same);
    /// assert_eq!(why.refused[0].identifier.to_string(), "email:shared@example.com");
    /// assert_eq!(why.refused[0].reason, "at most 1 user_id in a profile, 2 if joined");
    /// assert_eq!((why.refused[0].rule, &*why.refused[0].message_id), (Rule::Limit, "m2"));
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId) if a text is neither an identifier nor a profile id, or what the storage
    /// says.
    pub fn explain(&self, a: impl ToString, b: impl ToString) -> Result<Explanation> {
        let named = [Named::read(&a.to_string())?, Named::read(&b.to_string())?];
        self.read(|db, state| {
            let [a, b] = named.map(|named| End::of(named, db, state));
            let (a, b) = (a?, b?);
            if let (Some(from), Some(to)) = (a.node, b.node)
                && a.root.is_some()
                && a.root == b.root
            {
                let path = db.path(&state.identities, from, to)?.unwrap_or_default();
                return Ok(Explanation { same: true, path, refused: Vec::new() });
            }
            let refused = refused_of(db, state, &a, &b)?;
            Ok(Explanation { same: false, path: Vec::new(), refused })
        })
    }

    /// Identifiers that were left out of the resolution of events, or kept from a link by hand: up to `limit` of them
    /// after a cursor (0 at first), in the order in which that was recorded. A replay records them anew.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn refusals(&self, after: i64, limit: usize) -> Result<Vec<RefusedIdentifier>> {
        self.read(|db, state| {
            let kept = db.refusals(&state.identities, after, limit)?;
            Ok(kept.into_iter().map(|kept| told(state, kept)).collect())
        })
    }

    /// Joins and splits of profiles, in the order in which they were committed: up to `limit` entries after a cursor (0 at
    /// first). What reads it to the end and goes on from there misses nothing.
    ///
    /// ```
    /// use customerdb::{Cdp, Cause, Change, Event};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([Event::track("Search").anonymous_id("device-7"), Event::track("Order").user_id("xiaoming")])?;
    /// cdp.ingest([Event::identify().anonymous_id("device-7").user_id("xiaoming").message_id("login")])?;
    /// let journal = cdp.journal(0, 100)?;
    /// assert_eq!(journal.len(), 1);
    /// assert_eq!(journal[0].change, Change::Joined);
    /// assert_eq!(journal[0].cause, Cause::Event { message_id: "login".into() });
    /// assert!(cdp.journal(journal[0].cursor, 100)?.is_empty());
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn journal(&self, after: i64, limit: usize) -> Result<Vec<JournalEntry>> {
        self.read(|db, _| Ok(db.journal(after, limit)?))
    }

    /// The decisions by hand that stand, in the order in which they were taken.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn decisions(&self) -> Result<Vec<Decision>> {
        self.read(|db, state| {
            let interner = &state.identities.interner;
            let decision = |decided: crate::store::Decided| Decision {
                number: decided.number,
                at: decided.at,
                kind: decided.kind,
                subject: match decided.of {
                    Of::Pair(a, b) => {
                        DecisionSubject::Pair { a: interner.identifier(a), b: interner.identifier(b) }
                    }
                    Of::Source(source) => DecisionSubject::Source { source },
                },
            };
            Ok(db.decisions()?.into_iter().map(decision).collect())
        })
    }

    /// The graph of all identifiers and the evidence between them.
    ///
    /// # Errors
    ///
    /// What the storage says.
    pub fn graph(&self) -> Result<IdentityGraph> {
        self.read(|db, State { identities, rules, .. }| {
            let nodes = identities.interner.nodes();
            let held = nodes.filter(|node| identities.partition.root(*node).is_some());
            Ok(db.graph(identities, &by_strength(identities, rules, held))?)
        })
    }

    /// The graph of one person's identifiers, empty if nobody has that id.
    ///
    /// # Errors
    ///
    /// [`Error::NotAnId`](crate::Error::NotAnId) if the text is neither an identifier nor a profile id, or what the storage
    /// says.
    pub fn graph_of(&self, id: impl ToString) -> Result<IdentityGraph> {
        let named = Named::read(&id.to_string())?;
        self.read(|db, state| {
            let State { identities, rules, .. } = state;
            let node = named.node(db, state)?.into_iter();
            let nodes = node.flat_map(|node| identities.partition.members(node));
            Ok(db.graph_of(identities, &by_strength(identities, rules, nodes))?)
        })
    }

    /// The rules of identity in force.
    pub fn rules(&self) -> Rules {
        self.state().rules.clone()
    }

    /// What rules would do to the profiles if they were put in force: how many would join and fall apart, the largest
    /// profile, examples. Changes nothing.
    ///
    /// ```
    /// use customerdb::{Cdp, Event, Rules};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest(["u1", "u2"].map(|id| Event::identify().user_id(id).with_trait("email", "shared@example.com")))?;
    /// let report = cdp.simulate(Rules::default().limit("user_id", None))?;
    /// assert_eq!((report.profiles_before, report.profiles_after, report.joined), (2, 1, 1));
    /// assert_eq!(report.examples[0].after[0].to_string(), "user_id:u1");
    /// assert_eq!(cdp.profiles()?.len(), 2);
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if the rules make no sense, or what the storage says.
    pub fn simulate(&self, rules: Rules) -> Result<RulesReport> {
        let rules = rules.checked()?;
        self.read(|db, state| replay::simulate(db, state, &rules))
    }
}

/// What kept two apart, each refusal once.
fn refused_of(db: &Db, state: &State, a: &End, b: &End) -> Result<Vec<RefusedIdentifier>> {
    let mut kept: Vec<Kept> = Vec::new();
    if let (Some(a), Some(b)) = (a.node, b.node) {
        kept = refused_between(db, state, a, b)?;
    }
    for end in [a, b] {
        kept.extend(match end.node {
            Some(node) => db.refusals_of(&state.identities, node, REFUSALS)?,
            None => Vec::new(),
        });
        kept.extend(db.refusals_of_value(&state.identities, &end.identifier, REFUSALS)?);
    }
    let mut seen = rustc_hash::FxHashSet::default();
    kept.retain(|kept| seen.insert(kept.number));
    Ok(kept.into_iter().map(|kept| told(state, kept)).collect())
}

pub(super) fn told(state: &State, kept: Kept) -> RefusedIdentifier {
    RefusedIdentifier {
        cursor: kept.number,
        identifier: kept.identifier,
        from: state.identities.interner.identifier(kept.owner),
        rule: kept.rule,
        reason: kept.reason,
        at: kept.at,
        message_id: kept.message_id,
    }
}
