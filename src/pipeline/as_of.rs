//! A person as they were known at an instant: stitched from the events up to it.

use rustc_hash::FxHashSet;

use super::State;
use super::membership;
use super::people::{by_hand, consents, told};
use super::replay::resolve;
use super::scope::{Listener, Scope, Told};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::Identifier;
use crate::identity::{Basis, Draft, Node, Refused, Ruling, by_strength};
use crate::profile::{Account, History, PastEvent, Policies, Profile, Trait, over_time, standing};
use crate::store::Db;
use crate::value::nfc;

/// An event of the part of the log that concerns the person.
struct Happened {
    owner: Node,
    past: PastEvent,
    said: Vec<(String, Trait)>,
    account: Option<String>,
}

/// Collects what happened, by whose it was.
struct Collector<'c> {
    sources: &'c rustc_hash::FxHashMap<u32, String>,
    happened: Vec<Happened>,
}

impl Listener for Collector<'_> {
    fn event(&mut self, told: Told<'_>) -> Result<()> {
        let Told { stored, event, borne, resolution, .. } = told;
        let Some(resolution) = resolution else { return Ok(()) };
        // What a shared device did may be another's, as the file has it: who was seen before an event does not depend on
        // what came later.
        let given = stored.node.filter(|node| resolution.anonymous && !resolution.devices.contains(node));
        let source = self.sources.get(&stored.source).cloned().unwrap_or_default();
        let said = |(name, value): (&String, &crate::value::Value)| {
            let (source, message_id) = (source.clone(), stored.message_id.clone());
            (
                nfc(name).into_owned(),
                Trait { value: value.clone(), at: stored.at, source, message_id, pinned: false },
            )
        };
        self.happened.push(Happened {
            owner: given.unwrap_or(resolution.owner),
            past: PastEvent {
                name: stored.name.clone(),
                at: stored.at,
                message_id: stored.message_id.clone(),
                properties: event.visible_properties().into_owned(),
            },
            said: event.all_traits().iter().map(said).collect(),
            account: borne.account.as_ref().map(ToString::to_string),
        });
        Ok(())
    }

    fn refused_link(&mut self, _: Ruling, _: &Refused) -> Result<()> {
        Ok(())
    }
}

/// The profile of whoever held a node at an instant, `None` if nobody did yet. Its id is the one under which its
/// strongest identifier is found today.
pub(crate) fn profile_at(db: &Db, state: &State, node: Node, at: Timestamp) -> Result<Option<Profile>> {
    let basis: Basis<'_> = state.basis();
    let base = basis.identities;
    let mut draft = Draft::on(base);
    let scope = Scope::around(db, basis, &draft, [node])?;
    let sources = db.sources()?.into_iter().map(|(number, source)| (number, source.name)).collect();
    let mut collector = Collector { sources: &sources, happened: Vec::new() };
    resolve(db, basis, &mut draft, &scope, Some(at), 0, &mut collector)?;
    let Some(person) = draft.person(base, node) else { return Ok(None) };
    // In a file that is damaged events may bear what is no identifier of it.
    let known = person.nodes.iter().copied().filter(|node| node.index() < base.interner.len());
    let nodes = by_strength(base, basis.rules, known);
    let own: FxHashSet<Node> = nodes.iter().copied().collect();
    let mut happened = collector.happened;
    happened.retain(|event| own.contains(&event.owner));
    let identifiers: Vec<Identifier> = nodes.iter().map(|node| base.interner.identifier(*node)).collect();
    let Some(profile) = nodes.iter().find_map(|node| base.partition.profile(*node)) else { return Ok(None) };

    let mut ids: Vec<String> = happened.iter().filter_map(|event| event.account.clone()).collect();
    ids.sort();
    ids.dedup();
    let mut accounts = Vec::new();
    for id in ids {
        let number = db.account(&id)?;
        let said = number.map(|number| db.traits_of_account(number)).transpose()?.unwrap_or_default();
        accounts.push(Account {
            id,
            traits: standing(said.into_iter().filter(|(_, said)| said.at <= at), &Policies::new()),
        });
    }
    let (first_seen, last_seen) = (happened.first(), happened.last());
    let (first_seen, last_seen) =
        (first_seen.map(|event| event.past.at), last_seen.map(|event| event.past.at));
    let events = happened.len() as u64;
    let catalog = &state.segments.catalog;
    let mut said: Vec<_> = happened.iter_mut().flat_map(|event| std::mem::take(&mut event.said)).collect();
    for node in &nodes {
        said.extend(db.pins_of(*node)?.into_iter().filter(|(_, pin)| pin.at <= at));
    }
    let past = over_time(said.clone(), &catalog.policies);
    let traits = standing(said, &catalog.policies);
    let of_account = |account: &Account| {
        let said = db.account(&account.id)?.map(|number| db.traits_of_account(number)).transpose()?;
        let said = said.unwrap_or_default().into_iter().filter(|(_, said)| said.at <= at);
        let past = over_time(said, &Policies::new());
        let traits = account.traits.iter().map(|(name, held)| (name.clone(), held.value.clone())).collect();
        Ok(History { traits, past, ..History::default() })
    };
    let mut history = History {
        profile: Some(db.profile_id(profile)?),
        traits: traits.iter().map(|(name, held)| (name.clone(), held.value.clone())).collect(),
        past,
        events: happened.into_iter().map(|event| event.past).collect(),
        namespaces: person.namespaces.clone(),
        accounts: accounts.iter().map(of_account).collect::<Result<_>>()?,
        ..History::default()
    };
    let needs = catalog.needs_of_all(catalog.segments.keys().map(String::as_str));
    by_hand(db, &person, &needs, catalog, Some(at), &mut history)?;
    let standing = consents(db, &person.nodes, &catalog.consent, Some(at))?;
    history.consents = standing.iter().map(|(purpose, held)| (purpose.clone(), held.state)).collect();
    catalog.complete(&needs, &mut history, at);
    let segments = history.segments.iter().filter(|(_, verdict)| verdict.holds);
    let segments = segments.map(|(name, _)| name.clone()).collect();
    Ok(Some(Profile {
        id: db.profile_id(profile)?,
        name: identifiers[0].clone(),
        identifiers,
        traits,
        tags: catalog.tags_of(&history, at),
        computed: membership::computed(history),
        segments,
        consents: told(base, standing),
        accounts,
        first_seen,
        last_seen,
        events,
    }))
}
