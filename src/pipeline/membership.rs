//! The fourth stage: who is a member of which segment, kept right after every batch and as time goes by.
//!
//! What a condition means is [`evaluate`]'s business alone. Here it is asked of those in whom something has
//! changed: the people of a batch's events, and those whose answer time was due to change (their *wake*).

use std::borrow::Cow;
use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use super::affected::Index;
use super::alike::{are_alike, those_alike};
use super::everybody::{Pause, everybody, those_who_did};
use super::people::history;
use crate::clock::{Timestamp, Zone};
use crate::error::{Error, Result};
use crate::identity::{Identities, Node, Person, ProfileNo};
use crate::profile::{History, Policy, Purpose, Tag, Verdict};
use crate::segment::{Catalog, ComputedTrait, Condition, Needs, Segment, TagRule, evaluate};
use crate::store::{ChangeCause, Db, KeptSegment, NewChange, Restandings, Standing, Standings};
use crate::value::Value;

/// How often time may change one answer between two looks for each change to be noted at its own instant.
const MOST_STEPS: usize = 1_000;

/// As many rows wait to be written at most; in debug builds so few that tests have more.
const MOST_ROWS: usize = if cfg!(debug_assertions) { 1 << 2 } else { 1 << 12 };

/// A segment, and what it takes to say who is a member.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) number: i64,
    pub(crate) segment: Segment,
    /// With what the definitions need that it rests on.
    pub(crate) needs: Needs,
}

/// Everything that is defined.
#[derive(Debug, Clone, Default)]
pub(crate) struct Definitions {
    pub(crate) catalog: Catalog,
    /// All segments, by name.
    pub(crate) all: Vec<Live>,
    /// What those whose members are kept look at.
    pub(crate) index: Index,
}

impl Definitions {
    /// The definitions of a catalog, whose segments have these numbers in the file.
    pub(crate) fn new(catalog: Catalog, number: impl Fn(&str) -> i64) -> Self {
        let live = |segment: &Segment| Live {
            number: number(segment.name()),
            needs: catalog.needs_of(segment.name()),
            segment: segment.clone(),
        };
        let all: Vec<Live> = catalog.segments.values().map(live).collect();
        Self { index: Index::new(&all, &catalog), all, catalog }
    }

    /// All definitions of the file, for the calendar of a zone.
    pub(crate) fn load(db: &Db, zone: &Zone) -> Result<Self> {
        let damaged = |what: &str, name: &str, error: &dyn std::fmt::Display| {
            Error::Damaged(format!("the definition of {what} {name:?}: {error}"))
        };
        let mut catalog = Catalog { zone: zone.clone(), ..Catalog::default() };
        for (name, text) in db.definitions("policy")? {
            let value: Value =
                serde_json::from_str(&text).map_err(|error| damaged("policy", &name, &error))?;
            let policy = Policy::from_value(&value).map_err(|error| damaged("policy", &name, &error))?;
            catalog.policies.insert(name, policy);
        }
        for (name, text) in db.definitions("purpose")? {
            let value: Value =
                serde_json::from_str(&text).map_err(|error| damaged("purpose", &name, &error))?;
            let purpose = Purpose::from_value(&value).map_err(|error| damaged("purpose", &name, &error))?;
            catalog.consent.purposes.insert(name, purpose);
        }
        if let Some(word) = db.setting(CONSENT_MERGE)? {
            catalog.consent.merge =
                word.parse().map_err(|error| damaged("how consents merge", &word, &error))?;
        }
        for (name, text) in db.definitions("trait")? {
            let computed =
                ComputedTrait::from_json(&text).map_err(|error| damaged("trait", &name, &error))?;
            catalog.traits.insert(name, computed);
        }
        for (name, text) in db.definitions("tag")? {
            let rule = TagRule::from_json(&text).map_err(|error| damaged("tag", &name, &error))?;
            catalog.tags.insert(name, rule);
        }
        let mut numbers = BTreeMap::new();
        for KeptSegment { number, name, condition, live } in db.segments()? {
            let segment = match condition {
                None => Segment::list(&*name, Vec::<String>::new()),
                Some(text) => {
                    let condition =
                        Condition::from_json(&text).map_err(|error| damaged("segment", &name, &error))?;
                    Segment::new(&*name, condition).live(live)
                }
            };
            numbers.insert(name.clone(), number);
            catalog.segments.insert(name, segment);
        }
        Ok(Self::new(catalog, |name| numbers.get(name).copied().unwrap_or_default()))
    }

    /// Whether there is no segment whose members are kept.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept().next().is_none()
    }

    /// The segments whose members are kept.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &Live> {
        self.all.iter().filter(|live| live.segment.is_live())
    }

    /// Those of them whose answer time alone can change.
    fn timed(&self) -> Vec<&Live> {
        self.kept().filter(|live| live.needs.time()).collect()
    }

    /// Whether any of them depends on the zone.
    fn is_of_calendar(&self) -> bool {
        self.kept().any(|live| live.needs.calendar())
    }

    /// Whether any of them asks for accounts.
    pub(crate) fn wants_accounts(&self) -> bool {
        self.kept().any(|live| live.needs.accounts())
    }

    /// The segments whose members are kept, by their numbers in the file.
    fn by_number(&self) -> FxHashMap<i64, &Live> {
        self.kept().map(|live| (live.number, live)).collect()
    }

    /// The number of a segment in the file, 0 if it has none yet.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.all.iter().find(|live| live.segment.name() == name).map_or(0, |live| live.number)
    }
}

/// The setting that says how decisions on consent merge.
pub(crate) const CONSENT_MERGE: &str = "consent_merge";

/// The instant for which the standings of the file, to segments that depend on time, were last brought up to date.
const SETTLED_AT: &str = "settled_at";

/// The zone on whose calendar they were; of a file that does not say, UTC.
const SETTLED_ZONE: &str = "settled_zone";

/// How one person stands to some segments, as things are at `now`.
fn stand<'s>(
    db: &Db,
    person: &Person,
    catalog: &Catalog,
    segments: &[&'s Live],
    now: Timestamp,
) -> Result<Vec<(&'s Live, Verdict)>> {
    let needs = needs_of(segments.iter().copied());
    Ok(judge(history(db, person, &needs, catalog, None)?, &needs, catalog, segments, now))
}

/// What all of some segments need.
fn needs_of<'s>(segments: impl IntoIterator<Item = &'s Live>) -> Needs {
    let mut needs = Needs::default();
    segments.into_iter().for_each(|live| needs.merge(&live.needs));
    needs
}

/// How somebody with that history stands to some segments.
fn judge<'s>(
    mut history: History,
    needs: &Needs,
    catalog: &Catalog,
    segments: &[&'s Live],
    now: Timestamp,
) -> Vec<(&'s Live, Verdict)> {
    catalog.complete(needs, &mut history, now);
    let verdict = |live: &&'s Live| {
        let verdict = history.segments.get(live.segment.name()).copied();
        (*live, verdict.unwrap_or(Verdict::always(false)))
    };
    segments.iter().map(verdict).collect()
}

pub(super) fn standing(verdict: Verdict) -> Standing {
    Standing { member: verdict.holds, wake: verdict.until }
}

/// What has changed and is not written yet: how people stand, and the journal.
#[derive(Default)]
pub(super) struct Changed<'s> {
    standings: Restandings,
    changes: Vec<NewChange<'s>>,
}

impl<'s> Changed<'s> {
    /// Notes how a profile stood and stands. Of each there is one at a time.
    pub(super) fn stands(&mut self, profile: ProfileNo, before: &Standings, after: &Standings) {
        self.standings.put(profile, before, after);
    }

    /// Notes an entry or an exit.
    pub(super) fn moves(&mut self, change: NewChange<'s>) {
        self.changes.push(change);
    }

    pub(super) fn add(&mut self, mut other: Self) {
        self.standings.append(other.standings);
        self.changes.append(&mut other.changes);
    }

    /// Writes everything if there are so many rows that it is worth it.
    pub(super) fn write_if_many(&mut self, db: &Db) -> Result<()> {
        if self.standings.len() + self.changes.len() > MOST_ROWS { self.write(db) } else { Ok(()) }
    }

    /// Writes everything.
    pub(super) fn write(&mut self, db: &Db) -> Result<()> {
        db.write_standings(std::mem::take(&mut self.standings))?;
        db.add_changes(&self.changes)?;
        self.changes.clear();
        Ok(())
    }

    /// Notes how one person stands. Where the log was told anew, what their standings say is not to go by: the journal is.
    fn record(
        &mut self,
        db: &Db,
        profile: ProfileNo,
        (stands, are_anew): (Vec<(&'s Live, Verdict)>, bool),
        now: Timestamp,
        cause: &dyn Fn(&Live) -> Cow<'s, ChangeCause>,
    ) -> Result<()> {
        let before = db.standings_of(profile)?;
        let noted = if are_anew { Some(db.noted_segments(profile)?) } else { None };
        let mut after = before.clone();
        for (live, verdict) in stands {
            after.put(live.number, standing(verdict));
            let (segment, entered) = (live.segment.name(), verdict.holds);
            let was = before.to(live.number).member;
            if noted.as_ref().map_or(was, |noted| noted.contains(segment)) != entered {
                self.moves(NewChange { profile, segment, entered, at: now, cause: cause(live) });
            }
        }
        self.stands(profile, &before, &after);
        Ok(())
    }
}

/// Brings the standings of one person up to date; `are_anew` says that their part of the log was told anew.
pub(crate) fn settle<'s>(
    db: &Db,
    person: &Person,
    definitions: &'s Definitions,
    now: Timestamp,
    are_anew: bool,
    cause: &dyn Fn(&Live) -> Cow<'s, ChangeCause>,
) -> Result<()> {
    let kept: Vec<&Live> = definitions.kept().collect();
    let mut changed = Changed::default();
    if !kept.is_empty() {
        let stands = stand(db, person, &definitions.catalog, &kept, now)?;
        changed.record(db, person.profile, (stands, are_anew), now, cause)?;
    }
    changed.write(db)
}

/// Brings the standings of everyone to those segments up to date that are concerned.
pub(crate) fn settle_everyone(
    db: &Db,
    identities: &Identities,
    definitions: &Definitions,
    concerned: impl Fn(&Live) -> bool,
    now: Timestamp,
    cause: &ChangeCause,
) -> Result<()> {
    let segments: Vec<&Live> = definitions.kept().filter(|live| concerned(live)).collect();
    if !segments.is_empty() {
        let (needs, catalog) = (needs_of(segments.iter().copied()), &definitions.catalog);
        let mut changed = Changed::default();
        everybody(db, identities, (&needs, &[]), catalog, None, &mut || Ok(()), |person, history| {
            let stands = judge(history, &needs, catalog, &segments, now);
            changed.record(db, person.profile, (stands, false), now, &|_| Cow::Borrowed(cause))?;
            changed.write_if_many(db)
        })?;
        changed.write(db)?;
    }
    stamp(db, definitions, now)
}

/// Notes that a profile is there no more, and thus no member of anything.
pub(crate) fn leave(db: &Db, profile: ProfileNo, now: Timestamp, cause: &ChangeCause) -> Result<()> {
    let noted = db.noted_segments(profile)?;
    let exit = |segment| NewChange { profile, segment, entered: false, at: now, cause: Cow::Borrowed(cause) };
    Ok(db.add_changes(&noted.iter().map(|name| exit(name)).collect::<Vec<_>>())?)
}

/// Records that the standings of the file hold for `now`, if it matters.
pub(crate) fn stamp(db: &Db, definitions: &Definitions, now: Timestamp) -> Result<()> {
    if !definitions.timed().is_empty() {
        db.set(SETTLED_AT, now.as_micros())?;
    }
    if !is_in_zone(db, definitions)? {
        db.set(SETTLED_ZONE, definitions.catalog.zone.to_string())?;
    }
    Ok(())
}

/// Whether the standings of the file are those on the calendar that is asked for, if any of them depends on one.
fn is_in_zone(db: &Db, definitions: &Definitions) -> Result<bool> {
    if !definitions.is_of_calendar() {
        return Ok(true);
    }
    let settled = db.setting(SETTLED_ZONE)?;
    let zone = settled.as_deref().map_or(Ok(Zone::UTC), str::parse);
    Ok(zone.is_ok_and(|zone| zone == definitions.catalog.zone))
}

/// Whether the standings of the file hold for `now` as they are.
pub(crate) fn is_settled(db: &Db, definitions: &Definitions, now: Timestamp) -> Result<bool> {
    let settled = now >= Timestamp::from_micros(db.counter(SETTLED_AT)?) && !db.has_woken(now)?;
    Ok(settled && is_in_zone(db, definitions)?)
}

/// Brings the standings of those up to date whose answer time has changed, each change noted at its own instant; of
/// everyone, if the clock was set back, or as far as a calendar matters if the file was settled in another zone.
pub(crate) fn settle_time(
    db: &Db,
    identities: &Identities,
    definitions: &Definitions,
    now: Timestamp,
) -> Result<()> {
    if definitions.timed().is_empty() {
        return Ok(());
    }
    if now < Timestamp::from_micros(db.counter(SETTLED_AT)?) {
        let timed = |live: &Live| live.needs.time();
        settle_everyone(db, identities, definitions, timed, now, &ChangeCause::Time)?;
    } else if !is_in_zone(db, definitions)? {
        let of_calendar = |live: &Live| live.needs.calendar();
        settle_everyone(db, identities, definitions, of_calendar, now, &ChangeCause::Definition)?;
    }
    let (mut moves, mut changed) = (Vec::new(), Changed::default());
    let by_number = definitions.by_number();
    for (profile, before) in db.woken(now)? {
        let Some(person) = identities.person(Node(db.founder_of(profile)?)) else { continue };
        let due = before.due(now).filter_map(|(number, wake)| Some((*by_number.get(&number)?, wake)));
        let due: Vec<(&Live, Timestamp)> = due.collect();
        let needs = needs_of(due.iter().map(|(live, _)| *live));
        let mut history = history(db, &person, &needs, &definitions.catalog, None)?;
        let mut after = before.clone();
        for (live, wake) in due {
            let (mut at, mut member) = (wake, before.to(live.number).member);
            for step in 0.. {
                let verdict = verdict(&definitions.catalog, live, &mut history, at);
                if verdict.holds != member {
                    member = verdict.holds;
                    let segment = live.segment.name();
                    let cause = Cow::Borrowed(&ChangeCause::Time);
                    moves.push(NewChange { profile, segment, entered: member, at, cause });
                }
                match verdict.until.filter(|next| *next <= now && *next > at) {
                    Some(_) if step == MOST_STEPS => at = now,
                    Some(next) => at = next,
                    None => {
                        after.put(live.number, standing(verdict));
                        break;
                    }
                }
            }
        }
        changed.stands(profile, &before, &after);
        changed.write_if_many(db)?;
    }
    // The journal has them in the order of time, whosever they are.
    moves.sort_by(|a, b| (a.at, a.profile, a.segment).cmp(&(b.at, b.profile, b.segment)));
    changed.changes = moves;
    changed.write(db)?;
    stamp(db, definitions, now)
}

fn verdict(catalog: &Catalog, live: &Live, history: &mut History, now: Timestamp) -> Verdict {
    catalog.complete(&live.needs, history, now);
    history.segments.get(live.segment.name()).copied().unwrap_or(Verdict::always(false))
}

/// The members of a segment at `now`, each as an identifier of theirs. Reads only: those whose answer was due to
/// change are asked anew, and the file is left as it is.
pub(crate) fn members(
    db: &Db,
    identities: &Identities,
    definitions: &Definitions,
    live: &Live,
    now: Timestamp,
    pause: &mut Pause<'_, Error>,
) -> Result<Vec<Node>> {
    let catalog = &definitions.catalog;
    if !live.segment.is_live() {
        return matching(db, identities, catalog, live.segment.condition(), now, None, pause);
    }
    let mut members: FxHashSet<Node> = db.member_founders(live.number)?.into_iter().map(Node).collect();
    if !live.needs.time() || is_settled(db, definitions, now)? {
        return Ok(members.into_iter().collect());
    }
    let is_foreign = live.needs.calendar() && !is_in_zone(db, definitions)?;
    if is_foreign || now < Timestamp::from_micros(db.counter(SETTLED_AT)?) {
        return matching(db, identities, catalog, live.segment.condition(), now, None, pause);
    }
    for (profile, standings) in db.woken(now)? {
        if standings.due(now).all(|(number, _)| number != live.number) {
            continue;
        }
        let founder = Node(db.founder_of(profile)?);
        let Some(person) = identities.person(founder) else { continue };
        for (_, verdict) in stand(db, &person, catalog, &[live], now)? {
            if verdict.holds {
                members.insert(founder)
            } else {
                members.remove(&founder)
            };
        }
    }
    Ok(members.into_iter().collect())
}

/// How many members a segment has at `now`; where its standings hold, they are counted and not looked at.
pub(crate) fn count(
    db: &Db,
    identities: &Identities,
    definitions: &Definitions,
    live: &Live,
    now: Timestamp,
) -> Result<usize> {
    if live.segment.is_live() && (!live.needs.time() || is_settled(db, definitions, now)?) {
        return Ok(db.count_members(live.number)?);
    }
    Ok(members(db, identities, definitions, live, now, &mut || Ok(()))?.len())
}

/// What definitions say of a person.
#[derive(Default)]
pub(crate) struct Known {
    pub(crate) computed: BTreeMap<String, Value>,
    pub(crate) tags: Vec<Tag>,
    /// The names of segments, sorted.
    pub(crate) segments: Vec<String>,
}

/// What definitions say of a person at `now`. Reads only; members that are kept are asked anew only where time may have
/// changed them.
pub(crate) fn known(db: &Db, person: &Person, definitions: &Definitions, now: Timestamp) -> Result<Known> {
    let catalog = &definitions.catalog;
    let keeps = !definitions.is_empty();
    let settled = !keeps || is_settled(db, definitions, now)?;
    let asked = |live: &&Live| !(settled && live.segment.is_live());
    let asked: Vec<&str> = definitions.all.iter().filter(asked).map(|live| live.segment.name()).collect();
    let needs = catalog.needs_of_all(asked.iter().copied());
    let mut history = history(db, person, &needs, catalog, None)?;
    catalog.complete(&needs, &mut history, now);
    let tags = catalog.tags_of(&history, now);
    let mut segments = if settled && keeps { db.segments_of(person.profile)? } else { Vec::new() };
    let is_member = |name: &&str| history.segments.get(*name).is_some_and(|verdict| verdict.holds);
    segments.extend(asked.into_iter().filter(is_member).map(str::to_owned));
    segments.sort();
    Ok(Known { computed: computed(history), tags, segments })
}

/// The computed traits of a history that are not missing.
pub(crate) fn computed(history: History) -> BTreeMap<String, Value> {
    history.computed.into_iter().filter_map(|(name, computed)| Some((name, computed.value?))).collect()
}

/// Everyone who meets a condition at `now`, each as an identifier of theirs. With `until`, of what is known only
/// events up to that instant are looked at, and people who have none by then are nobody yet. `pause` is called now and then.
pub(crate) fn matching(
    db: &Db,
    identities: &Identities,
    catalog: &Catalog,
    condition: &Condition,
    now: Timestamp,
    until: Option<Timestamp>,
    pause: &mut Pause<'_, Error>,
) -> Result<Vec<Node>> {
    let (least, rest) = (condition.least(now), condition.rest());
    let needs = catalog.needs(&rest);
    let mut matching = Vec::new();
    if rest.is_met_by_all() && !least.is_empty() {
        matching = those_who_did(db, identities, &least, until, pause)?;
    } else if until.is_none() && are_alike(&needs, catalog) {
        let asked = |history: &mut History| {
            catalog.complete(&needs, history, now);
            evaluate(&rest, history, now).holds
        };
        matching = those_alike(db, identities, (&needs, &least), catalog, pause, asked)?;
    } else {
        everybody(db, identities, (&needs, &least), catalog, until, pause, |person, mut history| {
            catalog.complete(&needs, &mut history, now);
            if evaluate(&rest, &history, now).holds {
                matching.extend(person.nodes.first());
            }
            Ok(())
        })?;
    }
    if let Some(until) = until {
        let mut failed = Ok(());
        matching.retain(|node| {
            let nodes = identities.person(*node).map(|person| person.nodes).unwrap_or_default();
            existed(db, &nodes, until).unwrap_or_else(|error| {
                failed = Err(error);
                false
            })
        });
        failed?;
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
