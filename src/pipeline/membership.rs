//! The fourth stage: who is a member of which segment, kept right after every batch and as time goes by.
//!
//! What a condition means is [`evaluate`]'s business alone. Here it is asked of those in whom something has
//! changed: the people of a batch's events, and those whose answer time was due to change (their *wake*).

use rustc_hash::{FxHashMap, FxHashSet};

use super::people::history;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::{Identities, Node, Person, ProfileNo};
use crate::segment::{Condition, Needs, Segment, evaluate};
use crate::store::{Db, Standing};

/// A segment whose members are kept.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) number: i64,
    pub(crate) segment: Segment,
    needs: Needs,
}

impl Live {
    /// A segment under its number in the file.
    pub(crate) fn new(number: i64, segment: Segment) -> Self {
        Self { number, needs: segment.condition().needs(), segment }
    }

    /// All segments of the file, by name.
    pub(crate) fn all(db: &Db) -> Result<Vec<Self>> {
        let read = |(number, name, condition): (i64, String, String)| {
            let condition = Condition::from_json(&condition)
                .map_err(|error| Error::Damaged(format!("the definition of segment {name:?}: {error}")))?;
            Ok(Self::new(number, Segment::new(name, condition)))
        };
        db.segments()?.into_iter().map(read).collect()
    }
}

/// The instant for which the standings of the file, to segments that depend on time, were last brought up to date.
const SETTLED_AT: &str = "settled_at";

/// How one person stands to some segments, as things are at `now`.
fn stand<'s>(
    db: &Db,
    person: &Person,
    segments: &'s [Live],
    now: Timestamp,
) -> Result<Vec<(&'s Live, Standing)>> {
    let mut needs = Needs::default();
    for live in segments {
        needs.merge(&live.needs);
    }
    let history = history(db, person, &needs, None)?;
    let answer = |live: &'s Live| {
        let verdict = evaluate(live.segment.condition(), &history, now);
        (live, Standing { member: verdict.holds, wake: verdict.until })
    };
    Ok(segments.iter().map(answer).collect())
}

/// Brings the standings of one person up to date.
pub(crate) fn settle(db: &Db, person: &Person, segments: &[Live], now: Timestamp) -> Result<()> {
    if !segments.is_empty() {
        for (live, standing) in stand(db, person, segments, now)? {
            db.put_standing(person.profile, live.number, standing)?;
        }
    }
    Ok(())
}

/// Brings the standings of everyone up to date.
pub(crate) fn settle_all(db: &Db, identities: &Identities, segments: &[Live], now: Timestamp) -> Result<()> {
    if !segments.is_empty() {
        for person in identities.people() {
            settle(db, &person, segments, now)?;
        }
    }
    stamp(db, segments, now)
}

/// Records that the standings of these segments hold for `now`, if it matters.
pub(crate) fn stamp(db: &Db, segments: &[Live], now: Timestamp) -> Result<()> {
    if segments.iter().any(|live| live.needs.time()) {
        db.set(SETTLED_AT, now.as_micros())?;
    }
    Ok(())
}

/// Whether the standings of the file hold for `now` as they are.
pub(crate) fn is_settled(db: &Db, now: Timestamp) -> Result<bool> {
    Ok(now >= Timestamp::from_micros(db.counter(SETTLED_AT)?) && !db.has_woken(now)?)
}

/// Brings the standings of those up to date whose answer time has changed; of everyone, if the clock was set back.
pub(crate) fn settle_time(db: &Db, identities: &Identities, segments: &[Live], now: Timestamp) -> Result<()> {
    if now < Timestamp::from_micros(db.counter(SETTLED_AT)?) {
        let timed: Vec<Live> = segments.iter().filter(|live| live.needs.time()).cloned().collect();
        settle_all(db, identities, &timed, now)?;
    }
    for (profile, woken) in woken(db, segments, now)? {
        if let Some(person) = identities.person(Node(db.founder_of(profile)?)) {
            settle(db, &person, &woken, now)?;
        }
    }
    stamp(db, segments, now)
}

/// Whose standing to which segments is due.
fn woken(db: &Db, segments: &[Live], now: Timestamp) -> Result<FxHashMap<ProfileNo, Vec<Live>>> {
    let mut due: FxHashMap<ProfileNo, Vec<Live>> = FxHashMap::default();
    for (profile, number) in db.woken(now)? {
        if let Some(live) = segments.iter().find(|live| live.number == number) {
            due.entry(profile).or_default().push(live.clone());
        }
    }
    Ok(due)
}

/// The members of a segment at `now`, each as an identifier of theirs. Reads only: those whose answer was due to
/// change are asked anew, and the file is left as it is.
pub(crate) fn members(db: &Db, identities: &Identities, live: &Live, now: Timestamp) -> Result<Vec<Node>> {
    let mut members: FxHashSet<Node> = db.member_founders(live.number)?.into_iter().map(Node).collect();
    if is_settled(db, now)? || !live.needs.time() {
        return Ok(members.into_iter().collect());
    }
    if now < Timestamp::from_micros(db.counter(SETTLED_AT)?) {
        return matching(db, identities, live.segment.condition(), now, None);
    }
    for (profile, _) in woken(db, std::slice::from_ref(live), now)? {
        let founder = Node(db.founder_of(profile)?);
        let Some(person) = identities.person(founder) else { continue };
        for (_, standing) in stand(db, &person, std::slice::from_ref(live), now)? {
            if standing.member {
                members.insert(founder)
            } else {
                members.remove(&founder)
            };
        }
    }
    Ok(members.into_iter().collect())
}

/// The names of the segments of which a person is a member at `now`, sorted. Reads only.
pub(crate) fn segments_of(
    db: &Db,
    person: &Person,
    segments: &[Live],
    now: Timestamp,
) -> Result<Vec<String>> {
    if is_settled(db, now)? {
        return Ok(db.segments_of(person.profile)?);
    }
    let standings = stand(db, person, segments, now)?;
    let names = standings.into_iter().filter(|(_, standing)| standing.member);
    Ok(names.map(|(live, _)| live.segment.name().to_owned()).collect())
}

/// Everyone who meets a condition at `now`, each as an identifier of theirs. With `until`, of what is known only
/// events up to that instant are looked at, and people who have none by then are nobody yet.
pub(crate) fn matching(
    db: &Db,
    identities: &Identities,
    condition: &Condition,
    now: Timestamp,
    until: Option<Timestamp>,
) -> Result<Vec<Node>> {
    let needs = condition.needs();
    let mut matching = Vec::new();
    for person in identities.people() {
        if let Some(until) = until
            && !existed(db, &person.nodes, until)?
        {
            continue;
        }
        if evaluate(condition, &history(db, &person, &needs, until)?, now).holds {
            matching.extend(person.nodes.first());
        }
    }
    Ok(matching)
}

/// Whether any event of these nodes had happened by `instant`.
fn existed(db: &Db, nodes: &[Node], instant: Timestamp) -> Result<bool> {
    for &node in nodes {
        if db.span_of(node)?.is_some_and(|(first, _, _)| first <= instant) {
            return Ok(true);
        }
    }
    Ok(false)
}
