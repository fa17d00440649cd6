//! A person, read: the rows of the store put together by the rules of profiles.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::event::Event;
use crate::id::Identifier;
use crate::identity::{Identities, Person, Rules, by_strength};
use crate::profile::{Account, History, PastEvent, Policies, Profile, Trait, over_time, standing};
use crate::segment::{Catalog, Needs, Segment};
use crate::store::{Db, Result};
use crate::value::{Object, nfc};

/// What conditions with these needs have to see of a person, but for what follows from definitions. Events later than
/// `until` are left out, with what they asserted.
pub(crate) fn history(
    db: &Db,
    person: &Person,
    needs: &Needs,
    catalog: &Catalog,
    until: Option<Timestamp>,
) -> Result<History> {
    let mut history = History { namespaces: person.namespaces.clone(), ..History::default() };
    let past = |at: Timestamp| until.is_none_or(|until| at <= until);
    if needs.profile() {
        history.profile = Some(db.profile_id(person.profile)?);
    }
    let mut asserted = Vec::new();
    let wants_traits = needs.traits().next().is_some();
    for &node in &person.nodes {
        if wants_traits {
            let said = db.traits_of(node)?.into_iter();
            asserted.extend(said.filter(|(name, said)| needs.wants_trait(name) && past(said.at)));
        }
        if !needs.events() {
            continue;
        }
        db.events_of(
            node,
            |name| needs.wants_event(name),
            |event| {
                if past(event.at) {
                    let seen = needs.properties().then(|| Event::from_json(&event.json).ok()).flatten();
                    let properties =
                        seen.map(|event| event.visible_properties().into_owned()).unwrap_or_default();
                    let (name, at, message_id) = (event.name, event.at, event.message_id);
                    history.events.push(PastEvent { name, at, message_id, properties });
                }
            },
        )?;
    }
    history.events.sort_by(|a, b| (a.at, &a.message_id).cmp(&(b.at, &b.message_id)));
    let remembered = asserted.iter().filter(|(name, _)| needs.wants_past(name)).cloned();
    history.past = over_time(remembered.collect::<Vec<_>>(), &catalog.policies);
    history.traits = values(standing(asserted, &catalog.policies));
    by_hand(db, person, needs, catalog, until, &mut history)?;
    if needs.accounts() {
        history.accounts = accounts(db, person, until)?;
    }
    Ok(history)
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
    let past = |at: Timestamp| until.is_none_or(|until| at <= until);
    let wants_lists = needs.segments().any(|name| catalog.segments.get(name).is_some_and(Segment::is_list));
    let wants_tags = needs.given_tags() || needs.tags().next().is_some();
    for &node in &person.nodes {
        if wants_lists {
            let lists = db.lists_of(node)?.into_iter().filter(|(_, at)| past(*at));
            history.lists.extend(lists.map(|(name, _)| name));
        }
        if wants_tags {
            let tags = db.tags_of(node)?.into_iter().filter(|(_, at, _)| past(*at));
            history.given.extend(tags.map(|(name, _, expires)| (name, expires)));
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

/// The profile of a person. What follows from definitions is the caller's to fill in.
pub(crate) fn profile(
    db: &Db,
    identities: &Identities,
    rules: &Rules,
    policies: &Policies,
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
        traits: standing(asserted, policies),
        computed: BTreeMap::new(),
        tags: Vec::new(),
        segments: Vec::new(),
        accounts: accounts.into_iter().map(account).collect::<Result<_>>()?,
        first_seen,
        last_seen,
        events,
    })
}
