//! A person, read: the rows of the store put together by the rules of profiles.

use std::collections::BTreeMap;

use super::contents::contents;
use super::opened::Opened;
use crate::clock::Timestamp;
use crate::id::Identifier;
use crate::identity::{Identities, Node, Person, Rules, by_strength};
use crate::profile::{
    Account, Consent, ConsentRules, History, KeptConsent, PastEvent, Policies, Policy, Profile, Trait,
    over_time, standing,
};
use crate::segment::{Catalog, Needs, Segment};
use crate::store::{Db, Look, Result, Seen};
use crate::value::{Members, Object, nfc};

/// What conditions with these needs have to see of a person, but for what follows from definitions. Events later than
/// `until` are left out, with what they asserted. Message ids are left out where no order depends on them.
pub(crate) fn history(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
) -> Result<History> {
    let events = events_of(db, person, needs, until, None)?;
    let asserted = said_of(db, person, needs, catalog, until)?;
    assembled(db, person, needs, catalog, until, (events, asserted))
}

/// The events of a person that are wanted, in no order. What the writer has at hand of them is not read.
pub(super) fn events_of(
    db: &Db,
    person: &Person,
    needs: &Needs,
    until: Option<Timestamp>,
    at_hand: Option<&Opened>,
) -> Result<Vec<Loose>> {
    let mut events = Vec::new();
    if needs.events() {
        let look = Look {
            wanted: &|name| needs.wants_event(name),
            opened: &|name| needs.wants_properties(name),
            known: &|event| at_hand.is_some_and(|opened| opened.has(event)),
        };
        db.events_of(&person.nodes, &look, |seen| {
            if until.is_none_or(|until| seen.at <= until) {
                let known = at_hand.filter(|_| seen.is_known).and_then(|opened| opened.of(seen.event));
                events.push(match known {
                    Some(properties) => Loose::with(&seen, properties),
                    None => Loose::of(&seen, needs),
                });
            }
        })?;
    }
    Ok(events)
}

/// What was asserted of a person's traits that are wanted.
pub(super) fn said_of(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
) -> Result<Vec<(String, Trait)>> {
    // Of most traits the latest value stands, and what was said before is of no account.
    let latest = |name| until.is_none() && is_latest_alone(name, needs, catalog);
    let wanted: Vec<(&str, bool)> = needs.traits().map(|name| (name, latest(name))).collect();
    let mut asserted = db.said(&person.nodes, &wanted)?;
    asserted.retain(|(_, said)| until.is_none_or(|until| said.at <= until));
    Ok(asserted)
}

/// Whether the latest of several values of a trait stands, and nothing is asked of the ones before.
pub(super) fn is_latest_alone(name: &str, needs: &Needs, catalog: &Catalog) -> bool {
    matches!(catalog.policies.get(name), None | Some(Policy::Latest)) && !needs.wants_past(name)
}

/// An event of a history that has yet to be put in order.
pub(super) struct Loose {
    event: u32,
    past: PastEvent,
}

impl Loose {
    /// With the properties that are needed, if its text was asked for.
    fn of(seen: &Seen<'_>, needs: &Needs) -> Self {
        let mut properties = Object::new();
        if !seen.json.is_empty() {
            let (held, _) = contents(seen.json, false);
            let needed = |name: &str| Some((name.to_owned(), (&held).member(name)?.clone()));
            properties.extend(needs.property_names().filter_map(needed));
        }
        Self::with(seen, properties)
    }

    pub(super) fn with(seen: &Seen<'_>, properties: Object) -> Self {
        let (name, message_id) = (seen.name.to_owned(), seen.message_id.to_owned());
        Self { event: seen.event, past: PastEvent { name, at: seen.at, message_id, properties } }
    }
}

/// A history with those events.
pub(super) fn assembled(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
    (events, asserted): (Vec<Loose>, Vec<(String, Trait)>),
) -> Result<History> {
    let mut history = History { namespaces: person.namespaces.clone(), ..History::default() };
    if needs.profile() {
        history.profile = Some(db.profile_id(person.profile)?);
    }
    history.events = in_order(db, events)?;
    let remembered = asserted.iter().filter(|(name, _)| needs.wants_past(name)).cloned();
    history.past = over_time(remembered.collect::<Vec<_>>(), &catalog.policies);
    history.traits = values(standing(asserted, &catalog.policies));
    by_hand(db, person, needs, catalog, until, &mut history)?;
    if needs.consents().next().is_some() {
        let standing = consents(db, &person.nodes, &catalog.consent, until)?.into_iter();
        history.consents = standing.map(|(purpose, held)| (purpose, held.state)).collect();
    }
    if needs.accounts() {
        history.accounts = accounts(db, person, until)?;
    }
    Ok(history)
}

/// Events by time, and those of one instant by message id.
fn in_order(db: &Db, mut events: Vec<Loose>) -> Result<Vec<PastEvent>> {
    events.sort_by_key(|loose| loose.past.at);
    for tied in events.chunk_by_mut(|a, b| a.past.at == b.past.at) {
        if tied.len() > 1 {
            let numbers: Vec<u32> = tied.iter().map(|loose| loose.event).collect();
            for (loose, id) in tied.iter_mut().zip(db.message_ids(&numbers)?) {
                loose.past.message_id = id;
            }
            tied.sort_by(|a, b| a.past.message_id.cmp(&b.past.message_id));
        }
    }
    Ok(events.into_iter().map(|loose| loose.past).collect())
}

/// The decisions on consent of whoever holds these nodes that stand, by purpose; of those up to `until`.
pub(crate) fn consents(
    db: &Db,
    nodes: &[Node],
    rules: &ConsentRules,
    until: Option<Timestamp>,
) -> Result<BTreeMap<String, KeptConsent>> {
    let mut decisions = Vec::new();
    for &node in nodes {
        let of_node = db.consents_of(node)?.into_iter();
        decisions.extend(of_node.filter(|decision| until.is_none_or(|until| decision.at <= until)));
    }
    Ok(rules.standing(decisions))
}

/// The traits of a person that stand, of those whose names are wanted.
pub(crate) fn traits(
    db: &Db,
    person: &Person,
    policies: &Policies,
    wanted: impl Fn(&str) -> bool,
) -> Result<Object> {
    let mut asserted = Vec::new();
    for &node in &person.nodes {
        asserted.extend(db.traits_of(node)?.into_iter().filter(|(name, _)| wanted(&nfc(name))));
    }
    Ok(values(standing(asserted, policies)))
}

fn values(standing: BTreeMap<String, Trait>) -> Object {
    standing.into_iter().map(|(name, held)| (name, held.value)).collect()
}

/// Adds the lists that a person is on, and the tags that they were given.
pub(crate) fn by_hand(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
    history: &mut History,
) -> Result<()> {
    let wants_lists = needs.segments().any(|name| catalog.segments.get(name).is_some_and(Segment::is_list));
    let wants_tags = needs.given_tags() || needs.tags().next().is_some();
    for &node in &person.nodes {
        if wants_lists {
            let lists = db.lists_of(node)?.into_iter().filter(|list| list.stands(until));
            history.lists.extend(lists.map(|list| list.name));
        }
        if wants_tags {
            let tags = db.tags_of(node)?.into_iter().filter(|tag| tag.stands(until));
            history.given.extend(tags.map(|tag| (tag.name, tag.expires)));
        }
    }
    Ok(())
}

/// What conditions see of a person's accounts.
pub(crate) fn accounts(db: &Db, person: &Person, until: Option<Timestamp>) -> Result<Vec<History>> {
    let past = |at: Timestamp| until.is_none_or(|until| at <= until);
    let mut numbers = Vec::new();
    for &node in &person.nodes {
        let joined = db.joined_accounts(node)?.into_iter().filter(|(_, at)| past(*at));
        numbers.extend(joined.map(|(number, _)| number));
    }
    numbers.sort_unstable();
    numbers.dedup();
    let account = |number| {
        let said: Vec<_> =
            db.traits_of_account(number)?.into_iter().filter(|(_, said)| past(said.at)).collect();
        let past = over_time(said.clone(), &Policies::new());
        Ok(History { past, traits: values(standing(said, &Policies::new())), ..History::default() })
    };
    numbers.into_iter().map(account).collect()
}

/// Decisions on consent as they are told.
pub(crate) fn told(
    identities: &Identities,
    standing: BTreeMap<String, KeptConsent>,
) -> BTreeMap<String, Consent> {
    let told = |held: KeptConsent| {
        let identifier = identities.interner.identifier(held.node);
        held.told(identifier)
    };
    standing.into_iter().map(|(purpose, held)| (purpose, told(held))).collect()
}

/// The profile of a person. What follows from definitions is the caller's to fill in.
pub(crate) fn profile(
    db: &Db,
    identities: &Identities,
    rules: &Rules,
    catalog: &Catalog,
    person: &Person,
) -> Result<Profile> {
    let nodes = by_strength(identities, rules, person.nodes.iter().copied());
    let mut asserted = Vec::new();
    let mut accounts = Vec::new();
    let (mut first_seen, mut last_seen, mut events) = (None, None, 0);
    for &node in &nodes {
        asserted.append(&mut db.traits_of(node)?);
        accounts.append(&mut db.accounts_of(node)?);
        if let Some((first, last, count)) = db.span_of(node)? {
            first_seen = Some(first_seen.map_or(first, |seen: Timestamp| seen.min(first)));
            last_seen = last_seen.max(Some(last));
            events += count;
        }
    }
    accounts.sort_by(|a, b| a.1.cmp(&b.1));
    accounts.dedup();
    let account =
        |(number, id)| Ok(Account { id, traits: standing(db.traits_of_account(number)?, &Policies::new()) });
    let identifiers: Vec<Identifier> =
        nodes.into_iter().map(|node| identities.interner.identifier(node)).collect();
    Ok(Profile {
        id: db.profile_id(person.profile)?,
        name: identifiers[0].clone(),
        identifiers,
        traits: standing(asserted, &catalog.policies),
        computed: BTreeMap::new(),
        tags: Vec::new(),
        segments: Vec::new(),
        consents: told(identities, consents(db, &person.nodes, &catalog.consent, None)?),
        accounts: accounts.into_iter().map(account).collect::<Result<_>>()?,
        first_seen,
        last_seen,
        events,
    })
}
