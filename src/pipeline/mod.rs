//! The way of an event: ingest → identity → profile → segment, in one transaction.
//!
//! This is the one place where rules and storage meet. Everything is worked out beside the state in memory, as a
//! [`Draft`]; the state changes when the commit has returned, and not before.

pub(crate) mod affected;
mod alike;
pub(crate) mod as_of;
mod audit;
pub(crate) mod consent;
mod contents;
pub(crate) mod define;
mod devices;
pub(crate) mod erase;
mod everybody;
pub(crate) mod explain;
pub(crate) mod export;
mod former;
mod gather;
pub(crate) mod hand;
pub(crate) mod input;
pub(crate) mod membership;
mod news;
mod opened;
pub(crate) mod people;
pub(crate) mod prepare;
mod prune;
mod record;
pub(crate) mod rectify;
pub(crate) mod replay;
pub(crate) mod report;
pub(crate) mod restore;
pub(crate) mod retain;
pub(crate) mod scan;
pub(crate) mod scope;
mod settling;
mod suppress;

use std::mem;

use rustc_hash::{FxHashMap, FxHashSet};
use sha2::{Digest, Sha256};

use self::devices::attribute;
use self::input::{Parsed, Reading};
use self::membership::Definitions;
use self::news::News;
use self::opened::Opened;
use self::prepare::{Prepared, TOGETHER};
use self::record::Record;
use self::replay::Replay;
use self::report::{IngestReport, Rejected, Tally};
use self::scope::Scope;
use self::settling::Settling;
use self::suppress::Met;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::event::{Event, EventLimits, Refusal, Source};
use crate::id::{Namespace, ProfileId};
use crate::identity::{
    Basis, Borne, Draft, Hand, Identities, NAMESPACES, Node, Occasion, Past, ProfileNo, Rules, Succession,
    identifiers,
};
use crate::privacy::Key;
use crate::store::{Cause, ChangeCause, Db, NewEvent, Version};
use crate::value::nfc;

/// What is kept in memory of the last commit, beside the file.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) identities: Identities,
    pub(crate) rules: Rules,
    /// What was decided by hand.
    pub(crate) hand: Hand,
    /// The segments, and what they may rest on.
    pub(crate) segments: Definitions,
    /// The key of keyed hashes: the application's, or else the file's.
    pub(crate) key: Option<Key>,
    /// The identifiers for which consent for `analytics` was ever denied or withdrawn.
    pub(crate) refusing: FxHashSet<Node>,
    /// Which commit this is, to tell when another process has made a later one.
    pub(crate) version: Version,
}

/// What the writer keeps at hand. Forgotten when a transaction is rolled back.
#[derive(Default)]
pub(crate) struct Desk {
    names: FxHashMap<String, u32>,
    sources: FxHashMap<Source, u32>,
    /// Whether the file has any alias that must be told anew if its `previousId` turns out to be anonymous.
    has_assumptions: Option<bool>,
    /// Whether anybody is on the suppression list, and whether any event was dropped that must stay known.
    has_suppressed: Option<bool>,
    has_dropped: Option<bool>,
    /// What live segments look at in events.
    opened: Opened,
}

impl Desk {
    fn name(&mut self, db: &Db, name: &str) -> Result<u32> {
        if let Some(number) = self.names.get(name) {
            return Ok(*number);
        }
        // However it is spelled, it is one name.
        let number = db.event_name(&nfc(name))?;
        self.names.insert(name.to_owned(), number);
        Ok(number)
    }

    pub(crate) fn source(&mut self, db: &Db, source: &Source) -> Result<u32> {
        if let Some(number) = self.sources.get(source) {
            return Ok(*number);
        }
        let number = db.source(source)?;
        self.sources.insert(source.clone(), number);
        Ok(number)
    }

    fn has_assumptions(&mut self, db: &Db) -> Result<bool> {
        if let Some(known) = self.has_assumptions {
            return Ok(known);
        }
        let found = db.has_assumptions()?;
        self.has_assumptions = Some(found);
        Ok(found)
    }

    fn has_suppressed(&mut self, db: &Db) -> Result<bool> {
        if let Some(known) = self.has_suppressed {
            return Ok(known);
        }
        Ok(*self.has_suppressed.insert(db.has_suppressed()?))
    }

    fn has_dropped(&mut self, db: &Db) -> Result<bool> {
        if let Some(known) = self.has_dropped {
            return Ok(known);
        }
        Ok(*self.has_dropped.insert(db.has_dropped()?))
    }
}

/// Where events are taken in: the file, what is at hand, and the state before the batch.
pub(crate) struct Counter<'c> {
    pub(crate) db: &'c Db,
    pub(crate) desk: &'c mut Desk,
    pub(crate) state: &'c State,
    pub(crate) limits: EventLimits,
}

/// A batch on its way: what it changes.
pub(crate) struct Intake {
    draft: Draft,
    now: Timestamp,
    /// Owners of new events, of events that changed hands, and identifiers that were set apart: the people whose segments
    /// are to be settled.
    touched: FxHashSet<Node>,
    /// Those of them of whom the news do not tell everything: owners of events that changed hands, and identifiers that were
    /// set apart.
    moved: FxHashSet<Node>,
    /// What the events are that make segments change.
    news: News,
    /// Of whom the log must be told anew, and whoever evidence connects with them: of an alias whose `previousId` turned
    /// out to be an `anonymous_id`, of a device that turned out to be shared and nobody's.
    retold: Vec<Node>,
    /// Aliases among them that are nobody's.
    retold_orphans: Vec<i64>,
    /// Further identifiers for which consent for `analytics` was denied.
    refusing: FxHashSet<Node>,
    /// How many events were let go.
    withheld: u64,
    /// The number that the next profile had, and how many had been absorbed, when the last call of the batch ended.
    counted: (u32, usize),
    report: IngestReport,
}

/// Why an event is not taken in.
enum Turned {
    /// It is bad, and kept in quarantine.
    Down(Refusal),
    /// It is of somebody who was erased, and not kept anywhere.
    Away(Refusal),
}

/// What a transaction does to the state in memory, once it is committed.
#[derive(Default)]
pub(crate) struct Change {
    draft: Draft,
    rules: Option<Rules>,
    hand: Option<Hand>,
    pub(crate) definitions: Option<Definitions>,
    /// Further identifiers for which consent for `analytics` was denied or withdrawn.
    refusing: FxHashSet<Node>,
    /// All of them, where some are gone.
    still_refusing: Option<FxHashSet<Node>>,
}

impl From<Draft> for Change {
    fn from(draft: Draft) -> Self {
        Self { draft, ..Self::default() }
    }
}

impl Intake {
    /// An empty batch.
    pub(crate) fn new(state: &State, now: Timestamp) -> Self {
        Self {
            draft: Draft::on(&state.identities),
            now,
            touched: FxHashSet::default(),
            moved: FxHashSet::default(),
            news: News::default(),
            retold: Vec::new(),
            retold_orphans: Vec::new(),
            refusing: FxHashSet::default(),
            withheld: 0,
            counted: (state.identities.next_profile, 0),
            report: IngestReport::default(),
        }
    }

    /// What came of the batch so far, but for the counts of profiles.
    pub(crate) fn report(&self) -> &IngestReport {
        &self.report
    }

    /// Ends one of several calls that the batch is made of, and gives what came of it. `None` if a part of the log is to
    /// be told anew, which mixes what the calls did to profiles.
    pub(crate) fn end_call(&mut self) -> Option<IngestReport> {
        if !self.retold.is_empty() {
            return None;
        }
        let mut report = mem::take(&mut self.report);
        let (founded, absorbed) = self.draft.since(self.counted);
        let mut tally = Tally::default();
        tally.count(founded.clone(), absorbed);
        tally.report(&mut report);
        self.counted = (founded.end, self.draft.pending.absorbed.len());
        Some(report)
    }

    /// Takes events in, each with its position: keeps it, resolves whose it is, and records what it says; or puts it into
    /// quarantine.
    pub(crate) fn take(
        &mut self,
        counter: &mut Counter<'_>,
        source: &Source,
        readings: &[(u64, &Reading)],
    ) -> Result<()> {
        for readings in readings.chunks(TOGETHER) {
            let prepared = counter.prepare(source, readings.iter().map(|(_, reading)| *reading))?;
            for ((position, reading), prepared) in readings.iter().zip(prepared) {
                self.take_one(counter, source, *position, (reading, prepared))?;
            }
        }
        Ok(())
    }

    fn take_one(
        &mut self,
        counter: &mut Counter<'_>,
        source: &Source,
        position: u64,
        (reading, prepared): (&Reading, Option<Prepared<'_>>),
    ) -> Result<()> {
        let number = counter.desk.source(counter.db, source)?;
        let (turned, raw) = match reading {
            Ok(parsed) => match self.keep(counter, (source, number), (parsed, prepared))? {
                Ok(()) => return Ok(()),
                Err(turned) => (turned, parsed.event.as_read().as_bytes()),
            },
            Err((_, raw)) if self.is_withheld_unread(counter, (source, number), raw)? => {
                self.withhold();
                return Ok(());
            }
            Err((refusal, raw)) => (Turned::Down(refusal.clone()), raw.as_slice()),
        };
        let digest = Sha256::digest(raw);
        let reason = match turned {
            Turned::Down(refusal) if !counter.names_suppressed(&self.draft, raw)? => {
                let reason = refusal.to_string();
                counter.db.add_quarantined(self.now, number, &digest, &reason, raw)?;
                reason
            }
            turned => {
                // Nor is it kept from before.
                counter.db.remove_quarantined_text(number, &digest)?;
                match turned {
                    Turned::Down(refusal) => {
                        format!("{refusal}; not kept, for it names somebody who was erased")
                    }
                    Turned::Away(refusal) => refusal.to_string(),
                }
            }
        };
        self.report.rejected.push(Rejected { position, reason });
        Ok(())
    }

    /// Takes in an event that could be read, unless there is another reason to refuse it.
    fn keep(
        &mut self,
        counter: &mut Counter<'_>,
        (source, source_number): (&Source, u32),
        (parsed, prepared): (&Parsed, Option<Prepared<'_>>),
    ) -> Result<Result<(), Turned>> {
        let (db, basis) = (counter.db, counter.state.basis());
        let (base, rules) = (basis.identities, basis.rules);
        // As it came: the same event is the same, whatever is taken out of it.
        let (id, borne) = match prepared {
            Some(Prepared { id, borne }) => (id, borne),
            None => (parsed.message_id(source), None),
        };
        let message_id = id.as_str();
        // First of all, so that nothing else gets to see whom the suppression list keeps out: what the event says of them, of
        // consent too, is not heard.
        let met = counter.meets(&self.draft, &parsed.event)?;
        let (event, json) = match &met {
            Met::Nothing => (&parsed.event, parsed.event.as_read()),
            Met::Part(event, json) => (&**event, json.as_str()),
            Met::Whole(refusal) => return Ok(Err(Turned::Away(refusal.clone()))),
        };
        if let Some(kept) = db.json_of(&id)? {
            self.report.duplicates += 1;
            self.report.conflicts += u64::from(differs(event, json, &kept));
            return Ok(Ok(()));
        }
        if counter.was_dropped(message_id)? {
            self.report.duplicates += 1;
            return Ok(Ok(()));
        }
        let draft = &self.draft;
        // What was taken out of it, it does not bear.
        let borne = borne.filter(|_| matches!(met, Met::Nothing));
        let borne = borne.unwrap_or_else(|| identifiers(event, rules, |id| draft.is_anonymous_id(base, id)));
        let at = event.time(self.now);
        let source_cut = basis.hand.source_cut(&source.name);
        let occasion = Occasion { at, message_id, source: source_number, source_cut };
        // After the question for duplicates: what is kept stays known, wherever the clock is set.
        let refusal = event.check_time(self.now, &counter.limits).err();
        let refusal = refusal.or_else(|| borne.identifiers.is_empty().then(|| borne.refusal()));
        if refusal.is_none() {
            self.hear(counter, (source, event), &borne, occasion)?;
        }
        // Before anything of it is kept: the event, the identifiers that it bears, or its text in quarantine.
        if self.is_withheld(counter, &borne, occasion)? {
            self.withhold();
            return Ok(Ok(()));
        }
        if let Some(refusal) = refusal {
            return Ok(Err(Turned::Down(refusal)));
        }
        self.find_betrayed_alias(counter, &borne)?;
        let Some(resolution) = self.draft.resolve(basis, &borne, occasion) else {
            // It has identifiers, so there was no room for their namespaces.
            let reason = format!("a database holds at most {NAMESPACES} namespaces");
            return Ok(Err(Turned::Down(Refusal::new("context.externalIds", reason))));
        };
        let number = db.add_event(NewEvent {
            node: resolution.owner,
            at,
            name: counter.desk.name(db, event.name())?,
            source: source_number,
            message_id: &id,
            json,
        })?;
        let mut touched = Vec::new();
        let owner = attribute(db, rules, &resolution, (number, at, message_id), &mut touched)?;
        if owner != resolution.owner {
            db.give_event(number, Some(owner))?;
        }
        let record = Record { number, event, owner, at, message_id, source: source_number };
        record.write(db, &borne, &resolution)?;
        if let Some(value) = &borne.assumed_user_id {
            db.assume_user_id(value, number)?;
            counter.desk.has_assumptions = Some(true);
        }
        self.report.refusals += resolution.refused.len() as u64;
        self.report.accepted += 1;
        if !counter.state.segments.is_empty() {
            self.news.note(owner, event, message_id);
            if let Ok(number) = u32::try_from(number) {
                let opened = &mut counter.desk.opened;
                opened.hold(db, &counter.state.segments.index.needs);
                opened.note(number, event);
            }
            if let Some(account) =
                borne.account.as_deref().filter(|_| counter.state.segments.wants_accounts())
            {
                // What is known of an account is known of all its members.
                for member in db.members_of_account(account)? {
                    self.news.note(member, event, message_id);
                    self.touched.insert(member);
                }
            }
        }
        if !counter.state.segments.is_empty() {
            self.touched.insert(owner);
            // It may have joined people, and yet be another's.
            self.touched.insert(resolution.owner);
            // They may be people by now, of whom no event is told.
            self.moved.extend(touched.into_iter().chain(resolution.apart));
        }
        self.retold.extend(resolution.shares);
        Ok(Ok(()))
    }

    /// Notes it if an event shows for the first time as `anonymous_id` what earlier aliases took for a `user_id`.
    fn find_betrayed_alias(&mut self, counter: &mut Counter<'_>, borne: &Borne<'_>) -> Result<()> {
        let Some(id) = &borne.anonymous_id else { return Ok(()) };
        let (db, base) = (counter.db, &counter.state.identities);
        if !counter.desk.has_assumptions(db)? || self.draft.is_anonymous_id(base, id) {
            return Ok(());
        }
        for (event, owner) in db.aliases_assuming(id)? {
            self.retold.extend(owner);
            self.retold.extend(self.draft.intern(base, &Namespace::ANONYMOUS_ID, id));
            self.retold_orphans.extend(owner.is_none().then_some(event));
        }
        Ok(())
    }

    /// Writes what the batch changes in people and segments, ready to be committed.
    pub(crate) fn settle(
        self,
        (db, desk): (&Db, &mut Desk),
        state: &State,
        tally: &mut Tally,
        mut id: impl FnMut() -> ProfileId,
    ) -> Result<(Change, IngestReport)> {
        let Self {
            mut draft, now, touched, moved, news, retold, retold_orphans, mut report, refusing, ..
        } = self;
        if self.withheld > 0 {
            db.count_withheld(self.withheld)?;
        }
        let base = &state.identities;
        let is_retold = !retold.is_empty();
        let mut replayed = None;
        if is_retold {
            // Whose the identifiers concerned are, the replay alone is to say.
            let scope = Scope::around(db, state.basis(), &draft, retold)?.with(retold_orphans);
            let past = replay::past(db, state.basis(), &Draft::on(base), &scope)?;
            let free = draft.withdraw(base, scope.nodes().unwrap_or_default());
            replayed = Some((scope, Past { free, ..past }));
        }
        let founded = draft.founded(base);
        let held: Vec<Node> = draft.pending.held.keys().copied().collect();
        let absorbed: Vec<u32> = draft.pending.absorbed.iter().map(|absorbed| absorbed.profile.0).collect();
        let joined: Vec<(ProfileNo, ProfileNo)> =
            draft.pending.absorbed.iter().map(|absorbed| (absorbed.profile, absorbed.by)).collect();
        for (profile, _) in &joined {
            membership::leave(db, *profile, now, &ChangeCause::Merge)?;
        }
        db.write_draft(base, &mut draft, now, None, &mut id)?;
        if let Some((scope, past)) = replayed {
            let basis = state.basis();
            let replay = Replay { db, basis, segments: &state.segments, now, cause: Cause::Evidence };
            let succession = replay.run_after(&mut draft, &scope, past, id)?;
            let created = created(base, &draft, &held, &succession);
            let absorbed = absorbed.into_iter().chain(succession.absorbed.iter().map(|(gone, _)| gone.0));
            tally.count_replayed(draft.founded(base), created, absorbed);
        } else {
            tally.count(founded, absorbed);
        }
        if !state.segments.is_empty() {
            let news = news.sorted(&draft, base, joined.into_iter().map(|(_, by)| by));
            let moved: FxHashSet<Node> = moved.into_iter().map(|owner| draft.root(base, owner)).collect();
            let touched = touched.into_iter().map(|owner| draft.root(base, owner));
            let mut roots: Vec<Node> = touched.chain(moved.iter().copied()).collect();
            roots.sort_unstable();
            roots.dedup();
            let people =
                roots.into_iter().map(|root| (root, draft.person(base, root), moved.contains(&root)));
            if is_retold {
                for (root, person, _) in people {
                    if let Some(person) = person {
                        let cause = |live: &membership::Live| news.cause(root, person.profile, live);
                        membership::settle(db, &person, &state.segments, now, true, &cause)?;
                    }
                }
            } else {
                desk.opened.hold(db, &state.segments.index.needs);
                Settling::new((db, &desk.opened), state, &news, now).people(people)?;
            }
        }
        tally.report(&mut report);
        Ok((Change { refusing, ..draft.into() }, report))
    }
}

/// How many people there are after a batch, of those whose identifiers it held for the first time or its replay concerns,
/// of whom nothing was known before.
fn created(base: &Identities, draft: &Draft, held: &[Node], succession: &Succession) -> u64 {
    let owners = held.iter().map(|owner| draft.root(base, *owner));
    let roots: FxHashSet<Node> = owners.chain(succession.sets.iter().map(|(root, ..)| *root)).collect();
    let unknown = |root: &&Node| {
        draft.members(base, **root).into_iter().all(|node| base.partition.root(node).is_none())
    };
    roots.iter().filter(|root| draft.held_root(base, **root).is_some()).filter(unknown).count() as u64
}

impl State {
    /// What resolution goes by.
    pub(crate) fn basis(&self) -> Basis<'_> {
        Basis { identities: &self.identities, rules: &self.rules, hand: &self.hand }
    }

    /// Does to the state in memory what was committed to the file.
    pub(crate) fn apply(&mut self, change: Change) {
        let Change { draft, rules, hand, definitions, refusing, still_refusing } = change;
        self.identities.apply(draft);
        if let Some(still) = still_refusing {
            self.refusing = still;
        }
        self.refusing.extend(refusing);
        if let Some(rules) = rules {
            self.rules = rules;
        }
        if let Some(hand) = hand {
            self.hand = hand;
        }
        if let Some(definitions) = definitions {
            self.segments = definitions;
        }
    }
}

/// Whether a re-sent event says something else than the one that is kept.
fn differs(event: &Event, json: &str, kept: &str) -> bool {
    json != kept && Event::from_json(kept).map_or(true, |kept| !event.same_content(&kept))
}
