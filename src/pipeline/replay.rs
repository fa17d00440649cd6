//! The whole log once more: new rules change the past too.

use super::membership;
use super::record::Record;
use super::{Change, State};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::Event;
use crate::id::{Namespace, ProfileId};
use crate::identity::{
    Draft, Identities, Occasion, Partition, Rules, RulesReport, Succession, identifiers, succeed,
};
use crate::store::Db;

/// The name under which the rules are kept in the file.
pub(crate) const RULES: &str = "rules";

/// Puts rules in force: replays all events under them, and settles every segment.
pub(crate) fn put_rules(
    db: &Db,
    state: &State,
    rules: &Rules,
    now: Timestamp,
    id: impl FnMut() -> ProfileId,
) -> Result<(Change, RulesReport)> {
    db.set(RULES, rules.to_json().to_string())?;
    let (after, succession) = replay(db, &state.identities, rules, now, id)?;
    membership::settle_afresh(db, &after, &state.segments, now)?;
    Ok((Change::Replace(Box::new(after)), succession.report))
}

/// Resolves all events again, in event-time order (ties: by message id), and writes everything that is made from
/// them anew, but for standings. Gives the identities as they are then.
pub(crate) fn replay(
    db: &Db,
    before: &Identities,
    rules: &Rules,
    now: Timestamp,
    mut id: impl FnMut() -> ProfileId,
) -> Result<(Identities, Succession)> {
    db.clear_derived()?;
    // Numbers of identifiers are for ever; whose they are starts from nothing.
    let blank = Identities {
        interner: before.interner.clone(),
        partition: Partition::dormant(before.interner.len()),
        next_profile: before.next_profile,
    };
    let mut draft = Draft::on(&blank);
    for number in db.events_by_time()? {
        let stored = db.event(number)?;
        let event = Event::from_json(&stored.json)
            .map_err(|refusal| Error::Damaged(format!("event {number} of the log: {refusal}")))?;
        let borne =
            identifiers(&event, rules, |value| draft.find(&blank, &Namespace::ANONYMOUS_ID, value).is_some());
        if let Some(value) = &borne.assumed_user_id {
            db.assume_user_id(value, number)?;
        }
        let occasion = Occasion { at: stored.at, message_id: &stored.message_id, source: stored.source };
        let resolution = draft.resolve(&blank, rules, &borne, occasion);
        let owner = resolution.as_ref().map(|resolution| resolution.owner);
        if owner != stored.node {
            db.give_event(number, owner)?;
        }
        if let Some(resolution) = resolution {
            let record = Record {
                event: &event,
                owner: resolution.owner,
                at: stored.at,
                message_id: &stored.message_id,
                source: stored.source,
            };
            record.write(db, &borne, &resolution.refused)?;
        }
    }
    let mut after = blank.clone();
    after.apply(&draft);
    after.next_profile = before.next_profile;
    let succession = succeed(before, &mut after, rules);
    for (profile, founder) in &succession.founded {
        db.add_profile(*profile, id(), *founder, now)?;
    }
    db.write_interned(&blank, &draft)?;
    for (profile, by) in &succession.absorbed {
        db.merge_profile(*profile, *by)?;
    }
    db.write_partition(&before.partition, &after.partition, after.interner.len())?;
    db.write_links(&draft)?;
    Ok((after, succession))
}
