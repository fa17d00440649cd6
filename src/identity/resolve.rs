//! Resolution: whose an event is, and which identifiers it makes one person.

use super::counts::{Broken, Counts, Limits, Rule};
use super::draft::{Basis, Draft, NAMESPACES, Step};
use super::extract::{Borne, BorneIdentifier};
use super::hand::{DecisionKind, Ruling};
use super::identities::Identities;
use super::interner::{NamespaceNo, Node};
use super::rules::{Day, SharedDevice};
use crate::clock::Timestamp;
use crate::id::{Identifier, Namespace};

/// An identifier that was left out of an event's resolution.
#[derive(Debug, Clone)]
pub(crate) struct Refused {
    pub(crate) identifier: Identifier,
    /// Its node, if its form allows one.
    pub(crate) node: Option<Node>,
    pub(crate) rule: Rule,
    pub(crate) reason: String,
}

/// What resolution needs to know of an event besides its identifiers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Occasion<'e> {
    pub(crate) at: Timestamp,
    pub(crate) message_id: &'e str,
    pub(crate) source: u32,
    /// When all evidence of its source was taken away by hand, if it was.
    pub(crate) source_cut: Option<Timestamp>,
}

/// What came of the resolution of an event.
#[derive(Debug)]
pub(crate) struct Resolution {
    /// The strongest accepted identifier: the event is its.
    pub(crate) owner: Node,
    /// The identifiers that were left out, and why.
    pub(crate) refused: Vec<Refused>,
    /// The device, advertising and anonymous ids that the event was seen with.
    pub(crate) devices: Vec<Node>,
    /// Whether it bears no other identifiers.
    pub(crate) anonymous: bool,
    /// Devices that a second user has shown on, if the rules make that a reason to part them from the first.
    pub(crate) shares: Vec<Node>,
    /// The identifiers left out that stand for somebody else: each is held, by itself if nobody held it before.
    pub(crate) apart: Vec<Node>,
}

/// The reason of a cut, in words.
const CUT: &str = "evidence between the two does not count";

/// The reason of the rule on shared devices, in words.
const SHARED: &str = "a device that several users share is nobody's";

/// The reason of a decision by hand, in words.
fn by_hand(what: &str, at: Timestamp) -> String {
    let date: String = at.to_string().chars().take(10).collect();
    format!("{what}, as was decided by hand on {date}")
}

impl Draft {
    /// Resolves one event: takes its identifiers, strongest first, and joins the profile of each to the one
    /// resolved so far, unless the joined profile would break a limit.
    ///
    /// `None` if the event bears no usable identifier.
    pub(crate) fn resolve(
        &mut self,
        basis: Basis<'_>,
        borne: &Borne<'_>,
        occasion: Occasion<'_>,
    ) -> Option<Resolution> {
        if let Some(resolution) = self.resolve_known(basis, borne, occasion) {
            return Some(resolution);
        }
        let base = basis.identities;
        let malformed = borne.malformed.iter().map(|(identifier, reason)| Refused {
            identifier: identifier.clone(),
            node: None,
            rule: Rule::Form,
            reason: (*reason).into(),
        });
        let mut refused: Vec<Refused> = malformed.collect();
        // That it was borne as `anonymousId` decides what an alias means by it, blocked or not.
        let own = borne.anonymous_id.as_ref();
        let own = own.and_then(|id| self.bear_anonymous_id(base, id).map(|node| (id, node)));
        // Every identifier gets its node, a refused one too.
        let mut nodes = Vec::with_capacity(borne.identifiers.len());
        for found in &borne.identifiers {
            let is_own = |id: &str| found.is_anonymous_id(id);
            let known = found.known.map(|known| known.node);
            let known = known.or_else(|| own.filter(|(id, _)| is_own(id)).map(|(_, node)| node));
            if let Some(node) = known.or_else(|| self.intern(base, &found.namespace, &found.value)) {
                self.see(basis, node, Day::of(occasion.at));
                nodes.push((node, found.is_device));
            } else {
                let identifier = Identifier::new(found.namespace.clone(), found.value.clone());
                let reason = format!("a database holds at most {NAMESPACES} namespaces");
                refused.push(Refused { identifier, node: None, rule: Rule::Namespaces, reason });
            }
        }
        let (&(owner, anonymous), others) = nodes.split_first()?;
        let mut accepted = vec![owner];
        let mut devices: Vec<Node> = anonymous.then_some(owner).into_iter().collect();
        let (mut joins, mut shares, mut apart) = (Vec::new(), Vec::new(), Vec::new());
        let none = basis.rules.shared_device_policy() == SharedDevice::None;
        for &(node, is_device) in others {
            let admitted = self.admit(basis, owner, node, occasion);
            // Only evidence between the two themselves: where a cut keeps others of their people apart, the one was still
            // seen on the other.
            let cut = occasion.source_cut.is_some() || basis.hand.parts(owner, node);
            if is_device && !cut {
                devices.push(node);
            }
            let (rule, reason) = match admitted {
                Ok(joined) => {
                    accepted.push(node);
                    joins.extend(joined.then_some(Step::Join(owner, node)));
                    continue;
                }
                Err(broken) => broken,
            };
            if none
                && is_device
                && !anonymous
                && !cut
                && !self.is_shared(base, node)
                && self.has_user(base, node)
            {
                shares.push(node);
            }
            if rule.sets_apart() {
                apart.push(node);
            }
            refused.push(Refused { identifier: self.identifier(base, node), node: Some(node), rule, reason });
        }
        self.hold(basis, &accepted);
        self.steps.append(&mut joins);
        for &node in &accepted[1..] {
            self.link(owner, node, occasion.source, occasion.at, occasion.message_id);
        }
        for &node in &apart {
            self.hold(basis, &[node]);
        }
        Some(Resolution { owner, refused, devices, anonymous, shares, apart })
    }

    /// The same of an event that bears nothing but what was one person's before the batch, as most do: nothing is joined then.
    /// `None` if it is another, or if there may be a reason to leave something out.
    fn resolve_known(
        &mut self,
        basis: Basis<'_>,
        borne: &Borne<'_>,
        occasion: Occasion<'_>,
    ) -> Option<Resolution> {
        let (owner, others) = borne.identifiers.split_first()?;
        let known = owner.known?;
        known.root?;
        let is_same = |other: &BorneIdentifier<'_>| {
            let same = other.known.filter(|other| other.root == known.root);
            same.is_some_and(|other| !basis.hand.parts(known.node, other.node))
        };
        let is_plain = self.only_adds()
            && borne.malformed.is_empty()
            && occasion.source_cut.is_none()
            && !basis.rules.has_periods()
            && others.iter().all(is_same);
        if !is_plain {
            return None;
        }
        if let Some(id) = &borne.anonymous_id {
            let own = borne.identifiers.iter().find(|found| found.is_anonymous_id(id))?.known?;
            self.bear(basis.identities, own.node);
        }
        for other in others.iter().filter_map(|other| other.known) {
            self.link(known.node, other.node, occasion.source, occasion.at, occasion.message_id);
        }
        let devices = borne.identifiers.iter().filter(|found| found.is_device);
        Some(Resolution {
            owner: known.node,
            refused: Vec::new(),
            devices: devices.filter_map(|found| found.known).map(|known| known.node).collect(),
            anonymous: owner.is_device,
            shares: Vec::new(),
            apart: Vec::new(),
        })
    }

    /// The identifiers of whoever an event would be, as [`resolve`](Self::resolve) would have it. Nothing is made by
    /// asking: an identifier that is not known yet is none of them, and counts for limits all the same.
    pub(crate) fn foresee(
        &mut self,
        basis: Basis<'_>,
        borne: &Borne<'_>,
        occasion: Occasion<'_>,
    ) -> Vec<Node> {
        let base = basis.identities;
        let known = base.interner.namespaces().len() + self.namespaces.len();
        let mut new: Vec<&Namespace> = Vec::new();
        let (mut joined, mut roots): (Option<Counts>, Vec<Node>) = (None, Vec::new());
        let mut owner = None;
        let day = Day::of(occasion.at);
        let nodes: Vec<Option<Node>> =
            borne.identifiers.iter().map(|found| self.find(base, &found.namespace, &found.value)).collect();
        for (found, &node) in borne.identifiers.iter().zip(&nodes) {
            let root = node.map(|node| self.root(base, node));
            if root.is_some_and(|root| roots.contains(&root)) {
                continue;
            }
            let counts = if let Some(root) = root {
                self.load(basis, root);
                let mut counts = self.sets[&root].counts.clone();
                for seen in nodes.iter().flatten().filter(|seen| self.root(base, **seen) == root) {
                    if let Some((kind, from, to)) = self.earlier(basis, *seen, day) {
                        counts.shift(kind, from, to);
                    }
                }
                counts
            } else {
                let kind = self.namespace_number(base, &found.namespace).unwrap_or_else(|| {
                    new.push(&found.namespace);
                    NamespaceNo::try_from(known + new.len() - 1).unwrap_or(NamespaceNo::MAX)
                });
                let mut counts = Counts::default();
                counts.add(kind, Limits::new(basis.rules).period(&found.namespace, day));
                counts
            };
            let Some(ours) = &mut joined else {
                joined = Some(counts);
                owner = node;
                roots.extend(root);
                continue;
            };
            let name = |kind: NamespaceNo| match usize::from(kind).checked_sub(known) {
                Some(place) if place < new.len() => new[place],
                _ => self.namespace_of(base, kind),
            };
            let shared = |node: Option<Node>| node.is_some_and(|node| self.is_shared(base, node));
            let cut = owner.zip(node).is_some_and(|(owner, node)| basis.hand.cut(owner, node).is_some());
            let banned =
                |root| roots.iter().any(|other| self.crossing_bans(basis, *other, root).next().is_some());
            let apart = occasion.source_cut.is_some()
                || cut
                || shared(owner) != shared(node)
                || root.is_some_and(banned)
                || ours.broken(&counts, basis.rules, name).is_some();
            if !apart {
                ours.merge(counts);
                roots.extend(root);
            }
        }
        roots.into_iter().flat_map(|root| self.members(base, root)).collect()
    }

    /// Joins the set of a node to that of the owner of an event, unless a rule or a decision speaks against it. False if
    /// they were one before.
    fn admit(
        &mut self,
        basis: Basis<'_>,
        owner: Node,
        node: Node,
        occasion: Occasion<'_>,
    ) -> Result<bool, Broken> {
        let base = basis.identities;
        if let Some(at) = occasion.source_cut {
            return Err((Rule::Cut, by_hand("evidence of this source does not count", at)));
        }
        if let Some(at) = basis.hand.cut(owner, node) {
            return Err((Rule::Cut, by_hand(CUT, at)));
        }
        let (ours, theirs) = (self.root(base, owner), self.root(base, node));
        if ours == theirs {
            return Ok(false);
        }
        if self.is_shared(base, owner) != self.is_shared(base, node) {
            return Err((Rule::SharedDevice, SHARED.to_owned()));
        }
        self.load(basis, ours);
        self.load(basis, theirs);
        if let Some(broken) =
            self.banned(basis, ours, theirs).or_else(|| self.broken_limit(basis, ours, theirs))
        {
            return Err(broken);
        }
        self.join(ours, theirs, occasion.message_id);
        Ok(true)
    }

    /// The decision that keeps two loaded sets apart.
    fn banned(&self, basis: Basis<'_>, a: Node, b: Node) -> Option<Broken> {
        if !basis.hand.has_bans() {
            return None;
        }
        // Of several the same one is told, in whatever order they came.
        let (_, kind, at) = self
            .crossing_bans(basis, a, b)
            .min_by_key(|(_, kind, at)| (*kind == DecisionKind::Apart, *at))?;
        let rule = if kind == DecisionKind::Apart { Rule::Cut } else { Rule::Never };
        let what = if rule == Rule::Cut { "parted and not to be joined again" } else { "never to be joined" };
        Some((rule, by_hand(what, at)))
    }

    /// The bans between two loaded sets: of which two nodes, by what, and since when.
    pub(crate) fn crossing_bans<'d>(
        &'d self,
        basis: Basis<'d>,
        a: Node,
        b: Node,
    ) -> impl Iterator<Item = ((Node, Node), DecisionKind, Timestamp)> + 'd {
        let of = |root: Node| self.sets.get(&root).map_or(&[][..], |set| &set.banned[..]);
        let (few, other) = if of(a).len() <= of(b).len() { (of(a), b) } else { (of(b), a) };
        few.iter().flat_map(move |&node| {
            let bans = basis.hand.bans(node);
            bans.filter(move |(banned, ..)| self.root(basis.identities, *banned) == other)
                .map(move |(banned, kind, at)| ((node, banned), kind, at))
        })
    }

    /// The limit that the union of two loaded sets would break.
    fn broken_limit(&self, basis: Basis<'_>, a: Node, b: Node) -> Option<Broken> {
        let namespace = |kind| self.namespace_of(basis.identities, kind);
        self.sets[&a].counts.broken(&self.sets[&b].counts, basis.rules, namespace)
    }

    /// Loads the sets of two nodes, and gives their roots.
    pub(crate) fn load_both(&mut self, basis: Basis<'_>, a: Node, b: Node) -> (Node, Node) {
        let roots = (self.root(basis.identities, a), self.root(basis.identities, b));
        self.load(basis, roots.0);
        self.load(basis, roots.1);
        roots
    }

    /// Joins two identifiers because somebody said so. Bans precede it, and limits and the rule on shared devices do
    /// if it is not forced. `Err` tells what kept the two apart; both are held then, each by itself.
    pub(crate) fn join_by_hand(
        &mut self,
        basis: Basis<'_>,
        join: Ruling,
        source: u32,
    ) -> Result<(), Refused> {
        let base = basis.identities;
        let (a, b) = (join.a, join.b);
        let (ours, theirs) = self.load_both(basis, a, b);
        let message_id = hand_message_id(join.number);
        if ours != theirs {
            let forced = join.kind == DecisionKind::Force;
            let shared = self.is_shared(base, a) != self.is_shared(base, b);
            let broken = self.banned(basis, ours, theirs).or_else(|| match (forced, shared) {
                (true, _) => None,
                (false, true) => Some((Rule::SharedDevice, SHARED.to_owned())),
                (false, false) => self.broken_limit(basis, ours, theirs),
            });
            if let Some((rule, reason)) = broken {
                self.hold(basis, &[a]);
                self.hold(basis, &[b]);
                return Err(Refused { identifier: self.identifier(base, b), node: Some(b), rule, reason });
            }
            self.join(ours, theirs, &message_id);
        }
        self.hold(basis, &[a, b]);
        self.steps.push(Step::Join(a, b));
        self.link(a, b, source, join.at, &message_id);
        Ok(())
    }

    /// Whether whoever holds a device is known by more than devices.
    fn has_user(&self, base: &Identities, device: Node) -> bool {
        let Some(root) = self.held_root(base, device) else { return false };
        let known = |node: &Node| !self.namespace_of(base, self.kind(base, *node)).is_anonymous();
        self.members(base, root).iter().any(known)
    }

    /// Whether a node is in no set.
    pub(crate) fn is_dormant(&self, base: &Identities, node: Node) -> bool {
        self.held_root(base, node).is_none()
    }
}

/// What stands for the message id of an event where the evidence is a decision by hand.
pub(crate) fn hand_message_id(number: i64) -> String {
    format!("link:{number}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop, prop_assert_eq, proptest};
    use rustc_hash::FxHashSet;

    use super::*;
    use crate::event::Event;
    use crate::identity::{Hand, identifiers, look_up};
    use crate::{Period, Rules, days};

    /// An event that bears some of a few identifiers.
    fn event(bits: u16) -> Event {
        let has = |bit: u16| bits & (1 << bit) != 0;
        let mut event = Event::identify();
        if has(0) {
            event = event.user_id(if has(1) { "u1" } else { "u2" });
        }
        if has(2) {
            event = event.with_trait("email", if has(3) { "a@b.example" } else { "c@d.example" });
        }
        if has(4) {
            event = event.external_id("crm", if has(5) { "7" } else { "8" });
        }
        if has(6) || bits.is_multiple_of(128) {
            event = event.anonymous_id(["d1", "d2", "d3"][usize::from(bits >> 7) % 3]);
        }
        event
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        /// The reason for the test: the gate of consent asks whose an event would be, and must not be told otherwise than
        /// resolution decides.
        #[test]
        fn what_is_foreseen_is_what_comes(
            events in prop::collection::vec((any::<u16>(), 0..4_u32, any::<u8>()), 1..25),
            (email, total, pair) in (1..3_u32, 2..6_u32, any::<bool>()),
            decided in prop::collection::vec((0..4_usize, 0..4_usize, any::<bool>()), 0..3),
        ) {
            let rules = Rules::default()
                .limit("email", Some(email))
                .limit_per("anonymous_id", 1, Period::Day)
                .pair("email", "user_id", pair.then_some(1))
                .limit("user_id", Some(if pair { 2 } else { 1 }))
                .total(Some(total));
            let (base, mut hand) = (Identities::default(), Hand::default());
            let mut draft = Draft::on(&base);
            let start = Timestamp::from_millis(1_714_564_800_000);
            // What a hand decides of identifiers is known of them before any event bears them.
            let named = [("user_id", "u1"), ("email", "a@b.example"), ("external:crm", "7"), ("anonymous_id", "d1")];
            let named = named.map(|(namespace, value)| draft.intern(&base, &namespace.into(), value).unwrap());
            for (number, (a, b, cut)) in (1..).zip(decided) {
                let (a, b) = (named[a.min(b)], named[a.max(b)]);
                let kind = if cut { DecisionKind::Cut } else { DecisionKind::Never };
                if a != b {
                    hand.add(Ruling { number, at: start, kind, a, b });
                }
            }
            for (bits, day, luck) in events {
                let event = event(bits);
                let at = start.after(days(day));
                let borne = identifiers(&event, &rules, |_| false);
                let source_cut = (luck == 7).then_some(start);
                let occasion = Occasion { at, message_id: "m", source: 0, source_cut };
                let basis = Basis { identities: &base, rules: &rules, hand: &hand };
                let known = draft.nodes();
                let foreseen: FxHashSet<Node> = draft.foresee(basis, &borne, occasion).into_iter().collect();
                prop_assert_eq!(known, draft.nodes(), "nothing is made by asking");
                let Some(resolution) = draft.resolve(basis, &borne, occasion) else { continue };
                let mut came: FxHashSet<Node> =
                    draft.members(&base, draft.root(&base, resolution.owner)).into_iter().collect();
                came.retain(|node| node.index() < known);
                prop_assert_eq!(foreseen, came);
                // Now and then a device turns out to be shared.
                if luck % 16 == 1 {
                    draft.set_shared(resolution.owner, !draft.is_shared(&base, resolution.owner));
                }
            }
        }

        /// What was looked up beforehand spares work and changes nothing, whatever came before in the same batch.
        #[test]
        fn what_was_looked_up_beforehand_is_resolved_as_if_it_was_not(
            before in prop::collection::vec(any::<u16>(), 0..25),
            batch in prop::collection::vec((any::<u16>(), any::<u8>()), 1..25),
            (total, day, cut) in (2..8_u32, any::<bool>(), prop::option::of((0..4_usize, 0..4_usize))),
        ) {
            let rules = Rules::default().total(Some(total));
            let rules = if day { rules.limit_per("anonymous_id", 1, Period::Day) } else { rules };
            let (mut base, mut hand) = (Identities::default(), Hand::default());
            let at = Timestamp::from_millis(1_714_564_800_000);
            let occasion = Occasion { at, message_id: "m", source: 0, source_cut: None };
            let mut draft = Draft::on(&base);
            let named = [("user_id", "u1"), ("email", "a@b.example"), ("external:crm", "7"), ("anonymous_id", "d1")];
            let named = named.map(|(namespace, value)| draft.intern(&base, &namespace.into(), value).unwrap());
            for bits in before {
                let event = event(bits);
                let basis = Basis { identities: &base, rules: &rules, hand: &hand };
                draft.resolve(basis, &identifiers(&event, &rules, |_| false), occasion);
            }
            base.apply(draft);
            if let Some((a, b)) = cut.map(|(a, b)| (named[a.min(b)], named[a.max(b)])).filter(|(a, b)| a != b) {
                hand.add(Ruling { number: 1, at, kind: DecisionKind::Cut, a, b });
            }
            let basis = Basis { identities: &base, rules: &rules, hand: &hand };
            let mut drafts = [Draft::on(&base), Draft::on(&base)];
            for (bits, luck) in batch {
                let event = event(bits);
                let occasion = Occasion { source_cut: (luck == 7).then_some(at), ..occasion };
                let told = [false, true].map(|is_looked_up| {
                    let draft = &mut drafts[usize::from(is_looked_up)];
                    let mut borne = identifiers(&event, &rules, |_| false);
                    if is_looked_up {
                        look_up([&mut borne].into_iter(), &base);
                    }
                    let resolution = draft.resolve(basis, &borne, occasion);
                    let mut links: Vec<_> = draft.pending.links.iter().map(|(link, seen)| (*link, seen.count)).collect();
                    links.sort_unstable();
                    let mut unborne: Vec<_> = draft.unborne_changes().collect();
                    unborne.sort_unstable();
                    let roots: Vec<Node> = (0..draft.nodes()).map(|node| draft.root(&base, Node::at(node))).collect();
                    (format!("{resolution:?}"), links, unborne, roots, draft.next_profile)
                });
                prop_assert_eq!(&told[0], &told[1]);
            }
        }
    }
}
