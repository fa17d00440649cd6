//! The log once more: the part of it that is resolved again, and how.

use rustc_hash::{FxHashMap, FxHashSet};

use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::identity::{
    Basis, Borne, DecisionKind, Draft, Hand, Node, Occasion, Refused, Resolution, Ruling, identifiers,
};
use crate::store::{Db, StoredEvent};

/// Which part of the log is resolved again.
pub(crate) enum Scope {
    /// All of it.
    All,
    /// The events of these identifiers, which no evidence connects with any other: no event that was accepted, and none
    /// that was refused. And some events of nobody, by their numbers.
    Some(Vec<Node>, Vec<i64>),
}

impl Scope {
    /// Everything that evidence connects with some nodes, as things stand in a draft.
    ///
    /// What was refused counts too: where a join falls away, another may no longer break a limit.
    pub(crate) fn around(
        db: &Db,
        basis: Basis<'_>,
        draft: &Draft,
        start: impl IntoIterator<Item = Node>,
    ) -> Result<Self> {
        let base = basis.identities;
        let has_refusals = db.has_refusals()?;
        let mut by_hand: FxHashMap<Node, Vec<Node>> = FxHashMap::default();
        for join in basis.hand.joins() {
            by_hand.entry(join.a).or_default().push(join.b);
            by_hand.entry(join.b).or_default().push(join.a);
        }
        let mut seen: FxHashSet<Node> = FxHashSet::default();
        let mut nodes: Vec<Node> = start.into_iter().filter(|node| seen.insert(*node)).collect();
        let mut next = 0;
        let mut roots: FxHashSet<Node> = FxHashSet::default();
        while let Some(&node) = nodes.get(next) {
            next += 1;
            let mut add = |node: Node| {
                if seen.insert(node) {
                    nodes.push(node);
                }
            };
            let root = draft.root(base, node);
            if roots.insert(root) {
                draft.members(base, root).into_iter().for_each(&mut add);
            }
            if has_refusals {
                db.refused_with(node)?.into_iter().for_each(&mut add);
            }
            by_hand.get(&node).into_iter().flatten().copied().for_each(&mut add);
        }
        Ok(Self::Some(nodes, Vec::new()))
    }

    /// The same, with some events of nobody.
    pub(crate) fn with(self, orphans: Vec<i64>) -> Self {
        match self {
            Self::All => Self::All,
            Self::Some(nodes, mut others) => {
                others.extend(orphans);
                Self::Some(nodes, others)
            }
        }
    }

    /// The nodes, `None` for all.
    pub(crate) fn nodes(&self) -> Option<&[Node]> {
        match self {
            Self::All => None,
            Self::Some(nodes, _) => Some(nodes),
        }
    }

    /// The nodes of a draft that are concerned.
    pub(crate) fn each<'s>(&'s self, draft: &Draft) -> Box<dyn Iterator<Item = Node> + 's> {
        match self {
            Self::All => Box::new((0..draft.nodes()).map(Node::at)),
            Self::Some(nodes, _) => Box::new(nodes.iter().copied()),
        }
    }

    fn has(&self, node: Node, inside: &FxHashSet<Node>) -> bool {
        matches!(self, Self::All) || inside.contains(&node)
    }
}

/// An event of the log and what came of its resolution.
pub(crate) struct Told<'t> {
    pub(crate) number: i64,
    pub(crate) stored: &'t StoredEvent,
    pub(crate) event: &'t Event,
    pub(crate) borne: &'t Borne<'t>,
    pub(crate) resolution: Option<Resolution>,
}

/// Who is told what comes of a part of the log.
pub(crate) trait Listener {
    /// An event was resolved.
    fn event(&mut self, told: Told<'_>) -> Result<()>;

    /// A link by hand was refused.
    fn refused_link(&mut self, join: Ruling, refused: &Refused) -> Result<()>;
}

/// The sources whose evidence does not count, by number, each with the time of the decision.
pub(crate) fn cut_sources(db: &Db, hand: &Hand) -> Result<FxHashMap<u32, Timestamp>> {
    if !hand.has_cut_sources() {
        return Ok(FxHashMap::default());
    }
    let cut = |(number, source): (u32, crate::event::Source)| Some((number, hand.source_cut(&source.name)?));
    Ok(db.sources()?.into_iter().filter_map(cut).collect())
}

/// Resolves the events of a part of the log again, in event-time order (ties: by message id). Links that were forced by
/// hand come first; others have their place in time, after the events of their instant. With `until`, nothing later is
/// looked at.
///
/// The nodes of the scope have been [released](Draft::release).
pub(crate) fn resolve_log(
    db: &Db,
    basis: Basis<'_>,
    draft: &mut Draft,
    scope: &Scope,
    until: Option<Timestamp>,
    hand_source: u32,
    listener: &mut impl Listener,
) -> Result<()> {
    let base = basis.identities;
    let inside: FxHashSet<Node> = scope.nodes().into_iter().flatten().copied().collect();
    let past = |at: Timestamp| until.is_none_or(|until| at <= until);
    // What the rules block links nothing, by hand neither.
    let blocked = |draft: &Draft, node: Node| basis.rules.normalised(&draft.identifier(base, node)).is_err();
    let all = basis.hand.joins().iter().copied();
    let concerned = all.filter(|join| past(join.at) && scope.has(join.a, &inside));
    let concerned: Vec<Ruling> =
        concerned.filter(|join| !blocked(draft, join.a) && !blocked(draft, join.b)).collect();
    let (forced, mut asked): (Vec<Ruling>, Vec<Ruling>) =
        concerned.into_iter().partition(|join| join.kind == DecisionKind::Force);
    let link = |draft: &mut Draft, listener: &mut _, join: Ruling| match draft.join_by_hand(
        basis,
        join,
        hand_source,
    ) {
        Ok(()) => Ok(()),
        Err(refused) => Listener::refused_link(listener, join, &refused),
    };
    for join in forced {
        link(draft, listener, join)?;
    }
    asked.sort_by_key(|join| (join.at, join.number));
    let mut asked = asked.into_iter().peekable();
    let cut = cut_sources(db, basis.hand)?;
    let log = match scope {
        Scope::Some(nodes, orphans) => db.log_of(nodes, orphans)?,
        Scope::All => db.log()?,
    };
    for (at, number) in log.into_iter().take_while(|(at, _)| past(*at)) {
        while let Some(join) = asked.next_if(|join| join.at < at) {
            link(draft, listener, join)?;
        }
        let stored = db.event(number)?;
        let event = Event::from_json(&stored.json)
            .map_err(|refusal| Error::Damaged(format!("event {number} of the log: {refusal}")))?;
        let is_anonymous = |value: &str| draft.is_anonymous_id(base, value);
        let borne = identifiers(&event, basis.rules, is_anonymous);
        let occasion = Occasion {
            at,
            message_id: &stored.message_id,
            source: stored.source,
            source_cut: cut.get(&stored.source).copied(),
        };
        let resolution = draft.resolve(basis, &borne, occasion);
        listener.event(Told { number, stored: &stored, event: &event, borne: &borne, resolution })?;
    }
    asked.try_for_each(|join| link(draft, listener, join))
}
