//! The identifiers that an event bears.

use std::borrow::Cow;

use super::identities::Identities;
use super::interner::Node;
use super::normalise::{folded, normalise, stands_for_nobody};
use super::rules::Rules;
use crate::event::{Event, EventKind, Refusal, as_id};
use crate::id::{Identifier, Namespace, mask};
use crate::value::{Value, nfc};

/// The members of traits that are identifiers.
pub(super) const TRAITS: [(&str, Namespace); 4] = [
    ("email", Namespace::EMAIL),
    ("phone", Namespace::PHONE),
    ("openid", Namespace::OPENID),
    ("unionid", Namespace::UNIONID),
];

/// What an event bears in the way of identifiers.
#[derive(Debug, Default)]
pub(crate) struct Borne<'e> {
    /// The usable ones, normalised, each once, the strongest first.
    pub(crate) identifiers: Vec<BorneIdentifier<'e>>,
    /// Those whose values cannot be identifiers of their namespace, as they came, with the reason.
    pub(crate) malformed: Vec<(Identifier, &'static str)>,
    /// How many were left out because their values stand for nobody.
    pub(crate) blocked: usize,
    /// For an alias whose `previousId` was taken for a `user_id`: its value, for it may yet turn out to be an
    /// `anonymous_id`.
    pub(crate) assumed_user_id: Option<Cow<'e, str>>,
    /// The `anonymousId`, normalised, blocked or not, unless it is empty: that it was borne decides what an alias means by it.
    pub(crate) anonymous_id: Option<Cow<'e, str>>,
    /// For a group: the account's id, unless it is blocked.
    pub(crate) account: Option<Cow<'e, str>>,
}

/// One usable identifier of an event.
#[derive(Debug)]
pub(crate) struct BorneIdentifier<'e> {
    pub(crate) namespace: Namespace,
    pub(crate) value: Cow<'e, str>,
    rank: usize,
    /// Whether it tells of a device or a browser only.
    pub(super) is_device: bool,
    /// What was known of it when the batch began, if that was looked up.
    pub(super) known: Option<Known>,
}

impl BorneIdentifier<'_> {
    /// Whether it is what is borne as `anonymousId`, by its value in normal form.
    pub(super) fn is_anonymous_id(&self, id: &str) -> bool {
        self.value == *id && self.namespace == Namespace::ANONYMOUS_ID
    }
}

/// An identifier that was there before a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) node: Node,
    /// The root of its set; `None` if it is dormant.
    pub(super) root: Option<Node>,
}

/// Looks up the identifiers of many events, in those that the batch began with. Each of them is waited for; here, while others
/// are.
pub(crate) fn look_up<'b, 'e: 'b>(borne: impl Iterator<Item = &'b mut Borne<'e>>, base: &Identities) {
    let mut found: Vec<_> = borne
        .flat_map(|borne| &mut borne.identifiers)
        .filter_map(|found| {
            let kind = base.interner.namespace(&found.namespace)?;
            Some((base.interner.hash(kind, &found.value), kind, found))
        })
        .collect();
    let asked: Vec<_> = found.iter().map(|(hash, kind, found)| (*hash, *kind, &*found.value)).collect();
    let nodes = base.interner.find_all(&asked);
    for ((.., found), node) in found.iter_mut().zip(nodes) {
        found.known = node.map(|node| Known { node, root: None });
    }
    for (.., found) in &mut found {
        if let Some(known) = &mut found.known {
            known.root = base.partition.root(known.node);
        }
    }
}

/// Finds the identifiers of `event`. `is_anonymous_id` tells whether any event bears a value as `anonymousId`,
/// which decides what the `previousId` of an alias is.
pub(crate) fn identifiers<'e>(
    event: &'e Event,
    rules: &Rules,
    is_anonymous_id: impl Fn(&str) -> bool,
) -> Borne<'e> {
    let mut borne = Borne::default();
    let mut take = |namespace: Namespace, raw: Cow<'e, str>| borne.take(rules, namespace, raw);
    if let Some(id) = event.ids().user_id {
        take(Namespace::USER_ID, id.into());
    }
    if let Some(id) = event.ids().anonymous_id {
        take(Namespace::ANONYMOUS_ID, id.into());
    }
    // A group's traits are the account's: its address is no person's.
    let own = (event.kind() != EventKind::Group).then_some(event.traits());
    for traits in own.into_iter().chain(event.context_traits()) {
        for (name, namespace) in &TRAITS {
            if let Some(id) = traits.get(*name).and_then(as_id) {
                take(namespace.clone(), id);
            }
        }
    }
    for (kind, id) in event.external_ids() {
        take(Namespace::external(kind), id);
    }
    if let Some(id) = event.advertising_id() {
        take(Namespace::ADVERTISING_ID, id);
    }
    if let Some(id) = event.device_id() {
        take(Namespace::DEVICE_ID, id);
    }
    for member in rules.members() {
        if let Some(id) = event.lookup(&member.path).and_then(scalar) {
            take(member.namespace.clone(), id);
        }
    }
    if let Some(id) = event.ids().previous_id {
        let value = anonymous(id);
        // The alias itself may be the first event to bear it as `anonymousId`: client libraries send both.
        let is_own = event.ids().anonymous_id.is_some_and(|own| anonymous(own) == value);
        if is_own || is_anonymous_id(&value) {
            take(Namespace::ANONYMOUS_ID, id.into());
        } else {
            take(Namespace::USER_ID, id.into());
            borne.assumed_user_id = Some(value).filter(|value| !value.is_empty());
        }
    }
    borne.anonymous_id = event.ids().anonymous_id.map(anonymous).filter(|value| !value.is_empty());
    if let Some(id) = event.ids().group_id {
        let id = nfc(id.trim());
        borne.account = (!stands_for_nobody(&folded(&id))).then_some(id);
    }
    // Stable: among equals, `userId` precedes `previousId`, and traits precede the context's.
    borne.identifiers.sort_by_key(|found| found.rank);
    borne
}

impl<'e> Borne<'e> {
    /// Why an event without a usable identifier is refused.
    pub(crate) fn refusal(&self) -> Refusal {
        match (self.malformed.first(), self.blocked) {
            (Some((identifier, reason)), _) => {
                let (namespace, value) = (identifier.namespace().to_string(), mask(identifier.value()));
                Refusal::new(namespace, format!("{reason}: {value:?}, and there is no other identifier"))
            }
            (None, 0) => Refusal::new("userId", "missing, and so are anonymousId and every other identifier"),
            (None, _) => Refusal::new("userId", "blocked, and so is every other identifier of the event"),
        }
    }

    fn take(&mut self, rules: &Rules, namespace: Namespace, raw: Cow<'e, str>) {
        let normal = match &raw {
            Cow::Borrowed(raw) => normalise(&namespace, raw, rules.region()),
            Cow::Owned(raw) => {
                normalise(&namespace, raw, rules.region()).map(|value| Cow::Owned(value.into_owned()))
            }
        };
        if rules.blocks(&namespace, &raw, normal.as_deref().ok()) {
            self.blocked += 1;
            return;
        }
        match normal {
            Ok(value)
                if self
                    .identifiers
                    .iter()
                    .any(|other| other.namespace == namespace && other.value == value) => {}
            Ok(value) => {
                let (rank, is_device) = (rules.rank(&namespace), namespace.is_anonymous());
                self.identifiers.push(BorneIdentifier { namespace, value, rank, is_device, known: None });
            }
            Err(reason) => self.malformed.push((Identifier::new(namespace, raw), reason)),
        }
    }
}

/// A value as it is spelled if it is an `anonymous_id`.
fn anonymous(value: &str) -> Cow<'_, str> {
    normalise(&Namespace::ANONYMOUS_ID, value, None).unwrap_or(Cow::Borrowed(value))
}

/// The text of a value that can be an id: of strings, numbers that are exact, and booleans.
fn scalar(value: Cow<'_, Value>) -> Option<Cow<'_, str>> {
    match value {
        Cow::Borrowed(value) => as_id(value),
        Cow::Owned(value) => as_id(&value).map(|id| Cow::Owned(id.into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(event: Value, rules: &Rules) -> Vec<String> {
        let event = Event::from_json(&event.to_string()).unwrap();
        let borne = identifiers(&event, rules, |value| value == "seen");
        borne.identifiers.iter().map(|found| format!("{}:{}", found.namespace, found.value)).collect()
    }

    #[test]
    fn every_member_that_may_bear_an_identifier_is_read() {
        let event = json!({
            "type": "identify", "userId": "u1", "anonymousId": "a1",
            "traits": {"email": "X@Example.com", "phone": "+86 138 0000 0002", "openid": "o1", "unionid": "n1"},
            "context": {
                "traits": {"email": "y@example.com"},
                "externalIds": [{"id": "7", "type": "crm"}, {"id": "o2", "type": "openid"}, {"id": 9, "type": "erp"}],
                "device": {"id": "d1", "advertisingId": "AB-1"}
            }
        });
        assert_eq!(
            of(event, &Rules::default()),
            [
                "user_id:u1",
                "email:x@example.com",
                "email:y@example.com",
                "phone:+8613800000002",
                "openid:o1",
                "openid:o2",
                "unionid:n1",
                "external:crm:7",
                "external:erp:9",
                "advertising_id:ab-1",
                "device_id:d1",
                "anonymous_id:a1",
            ]
        );
    }

    #[test]
    fn the_previous_id_of_an_alias_is_what_other_events_make_it() {
        let alias = |previous: &str| json!({"type": "alias", "userId": "b", "previousId": previous});
        assert_eq!(of(alias("seen"), &Rules::default()), ["user_id:b", "anonymous_id:seen"]);
        assert_eq!(of(alias("a"), &Rules::default()), ["user_id:b", "user_id:a"]);
        assert_eq!(of(alias("b"), &Rules::default()), ["user_id:b"]);
        assert_eq!(of(alias(""), &Rules::default()), ["user_id:b"]);
        // An alias that was the first event to bear the value as its own `anonymousId` took it for a `user_id` too.
        let both = json!({"type": "alias", "userId": "b", "anonymousId": " a", "previousId": "a"});
        assert_eq!(of(both, &Rules::default()), ["user_id:b", "anonymous_id:a"]);
    }

    #[test]
    fn blocked_and_malformed_values_are_told_apart() {
        let event = json!({
            "type": "identify", "userId": "NULL", "anonymousId": "a1",
            "traits": {"email": "nonsense", "phone": 0}
        });
        let event = Event::from_json(&event.to_string()).unwrap();
        let rules = Rules::default();
        let borne = identifiers(&event, &rules, |_| false);
        assert_eq!(borne.identifiers.len(), 1);
        assert_eq!(borne.blocked, 2);
        assert_eq!(borne.malformed, [(Identifier::new("email", "nonsense"), "not an e-mail address")]);
    }

    #[test]
    fn the_rules_name_further_members_but_no_account_is_a_person() {
        let rules = Rules::default().member("properties.card.no", "loyalty_card");
        let track = json!({
            "type": "track", "event": "Paid", "anonymousId": "a1", "properties": {"card": {"no": 77}}
        });
        assert_eq!(of(track, &rules), ["loyalty_card:77", "anonymous_id:a1"]);
        let group = json!({
            "type": "group", "groupId": "acme", "userId": "u1", "traits": {"email": "info@acme.example"}
        });
        assert_eq!(of(group, &rules), ["user_id:u1"]);
    }
}
