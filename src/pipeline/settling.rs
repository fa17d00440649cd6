//! Bringing the people of a batch up to date: what the file says of them is gathered, judged beside that, and written.

use std::mem;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{self, Scope};

use rustc_hash::FxHashMap;

use super::State;
use super::affected::Extent;
use super::membership::{Changed, Definitions, Live, standing};
use super::news::Sorted;
use super::opened::Opened;
use super::people::{assembled, events_of, said_of};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::identity::{Identities, Node, Person, ProfileNo};
use crate::profile::{History, Verdict};
use crate::segment::{Catalog, Needs, evaluate};
use crate::store::{Db, NewChange, Standings};

/// Which segments to ask, and what for.
struct Plan<'s> {
    /// Those that rest on no other definition but computed traits, and the others.
    alone: Vec<&'s Live>,
    resting: Vec<&'s Live>,
    needs: Needs,
}

impl<'s> Plan<'s> {
    fn new(definitions: &'s Definitions, places: &[u32]) -> Self {
        let rests = |live: &&Live| {
            live.segment.is_list() || live.needs.segments().count() > 1 || live.needs.tags().next().is_some()
        };
        let all = places.iter().map(|place| &definitions.all[*place as usize]);
        let (resting, alone): (Vec<_>, Vec<_>) = all.partition(rests);
        let mut needs = Needs::default();
        for live in &resting {
            needs.merge(&live.needs);
        }
        for live in &alone {
            needs.merge_but_segments(&live.needs);
        }
        Self { alone, resting, needs }
    }

    /// How somebody with that history stands.
    fn judge(&self, catalog: &Catalog, history: &mut History, now: Timestamp) -> Vec<(&'s Live, Verdict)> {
        catalog.complete(&self.needs, history, now);
        let history = &*history;
        let known = |live: &'s Live| history.segments.get(live.segment.name()).copied();
        let alone = self.alone.iter().map(|live| (*live, evaluate(live.segment.condition(), history, now)));
        let resting = self.resting.iter().map(|live| (*live, known(live).unwrap_or(Verdict::always(false))));
        alone.chain(resting).collect()
    }
}

/// How many plans are kept at once.
const MOST_PLANS: usize = 1_000;

/// So many people are given to the other thread at once: to wake it for fewer takes longer than to judge them.
const HANDFUL: usize = if cfg!(debug_assertions) { 2 } else { 1 << 7 };

/// So many handfuls may wait for it.
const AHEAD: usize = 4;

/// Somebody of whom all is gathered that the plan needs.
struct Case<'s> {
    root: Node,
    profile: ProfileNo,
    plan: Arc<Plan<'s>>,
    history: History,
    before: Standings,
}

/// What people are judged by.
#[derive(Clone, Copy)]
struct Bench<'s> {
    definitions: &'s Definitions,
    news: &'s Sorted<'s>,
    now: Timestamp,
}

impl<'s> Bench<'s> {
    /// Those who are judged are left behind, so that whoever has gathered them lets go of them: a thread that frees what
    /// another has asked for makes that one wait.
    fn judge(self, cases: &mut [Case<'s>]) -> Changed<'s> {
        let mut changed = Changed::default();
        for Case { root, profile, plan, history, before } in cases {
            let (root, profile, mut after) = (*root, *profile, before.clone());
            for (live, verdict) in plan.judge(&self.definitions.catalog, history, self.now) {
                let (was, is) = (before.to(live.number), standing(verdict));
                // Whoever will be woken early enough need not be told when.
                if !was.covers(is) {
                    after.put(live.number, is);
                }
                if was.member != is.member {
                    let (segment, entered) = (live.segment.name(), is.member);
                    let cause = self.news.cause(root, profile, live);
                    changed.moves(NewChange { profile, segment, entered, at: self.now, cause });
                }
            }
            changed.stands(profile, before, &after);
        }
        changed
    }
}

/// What has changed for some, and they.
type Judged<'s> = (Changed<'s>, Vec<Case<'s>>);

/// A thread that judges, in the order in which cases are given.
struct Judge<'s> {
    give: SyncSender<Vec<Case<'s>>>,
    take: Receiver<Judged<'s>>,
}

impl<'s> Judge<'s> {
    /// `None` if there is no other core, or no room for a thread.
    fn start<'e>(scope: &'e Scope<'e, '_>, bench: Bench<'s>) -> Option<Self>
    where
        's: 'e,
    {
        if !cfg!(debug_assertions) && thread::available_parallelism().map_or(1, usize::from) < 2 {
            return None;
        }
        let (give, given) = sync_channel::<Vec<Case<'_>>>(AHEAD);
        let (done, take) = channel();
        let judged = move |mut cases: Vec<Case<'s>>| (bench.judge(&mut cases), cases);
        let work = move || given.into_iter().all(|cases| done.send(judged(cases)).is_ok());
        thread::Builder::new().name("customerdb segments".into()).spawn_scoped(scope, work).ok()?;
        Some(Self { give, take })
    }
}

/// Brings the people of a batch up to date.
pub(super) struct Settling<'s> {
    db: &'s Db,
    opened: &'s Opened,
    base: &'s Identities,
    bench: Bench<'s>,
    /// By the places of the segments: most people of a batch have the same kinds of news.
    plans: FxHashMap<Vec<u32>, Arc<Plan<'s>>>,
    cases: Vec<Case<'s>>,
    changed: Changed<'s>,
}

impl<'s> Settling<'s> {
    pub(super) fn new(
        (db, opened): (&'s Db, &'s Opened),
        state: &'s State,
        news: &'s Sorted<'s>,
        now: Timestamp,
    ) -> Self {
        Self {
            db,
            opened,
            base: &state.identities,
            bench: Bench { definitions: &state.segments, news, now },
            plans: FxHashMap::default(),
            cases: Vec::new(),
            changed: Changed::default(),
        }
    }

    /// Brings these people up to date, each with the representative under which news are of them, and whether events of
    /// theirs may have changed hands. Standings and journal agree before and after. Nobody comes twice.
    pub(super) fn people(
        mut self,
        people: impl ExactSizeIterator<Item = (Node, Option<Person>, bool)>,
    ) -> Result<()> {
        thread::scope(|scope| {
            let many = people.len() > HANDFUL;
            let mut judge = many.then(|| Judge::start(scope, self.bench)).flatten();
            for (root, person, has_moved) in people {
                let Some(person) = person else { continue };
                let Some(case) = self.gather(root, &person, has_moved)? else { continue };
                self.cases.push(case);
                if self.cases.len() >= HANDFUL {
                    if self.hand_over(judge.as_ref()).is_break() {
                        break;
                    }
                    self.changed.write_if_many(self.db)?;
                }
            }
            _ = self.hand_over(judge.as_ref());
            if let Some(Judge { give, take }) = judge.take() {
                drop(give);
                for (changed, _) in take {
                    self.changed.add(changed);
                }
            }
            self.changed.write(self.db)
        })
    }

    /// Gathers what it takes to judge somebody, if anything may have changed for them.
    fn gather(&mut self, root: Node, person: &Person, has_moved: bool) -> Result<Option<Case<'s>>> {
        let (db, Bench { definitions, news, .. }) = (self.db, self.bench);
        let (catalog, facts) = (&definitions.catalog, news.facts(root));
        let extent = if has_moved { Extent::Other } else { Extent::of(self.base, person) };
        let places = definitions.index.affected(extent, &facts);
        if places.is_empty() {
            return Ok(None);
        }
        if self.plans.len() >= MOST_PLANS {
            self.plans.clear();
        }
        let plan = self.plans.entry(places);
        let plan = plan.or_insert_with_key(|places| Arc::new(Plan::new(definitions, places)));
        // Of somebody who was not there before, and of whom nothing was asserted, no trait is known.
        let is_silent = extent == Extent::Founded && facts.traits.is_empty();
        let events = events_of(db, person, &plan.needs, None, Some(self.opened))?;
        let said = if is_silent { Vec::new() } else { said_of(db, person, &plan.needs, catalog, None)? };
        let history = assembled(db, person, &plan.needs, catalog, None, (events, said))?;
        let before = match extent {
            Extent::Founded => Standings::default(),
            _ => db.standings_of(person.profile)?,
        };
        Ok(Some(Case { root, profile: person.profile, plan: Arc::clone(plan), history, before }))
    }

    /// Has those judged who wait for it, by another thread if there is one, and takes what it has done. If that thread is
    /// gone it has panicked, and so does whoever waits for it: there is no use in going on.
    fn hand_over(&mut self, judge: Option<&Judge<'s>>) -> ControlFlow<()> {
        let mut cases = mem::take(&mut self.cases);
        let Some(judge) = judge else {
            self.changed.add(self.bench.judge(&mut cases));
            return ControlFlow::Continue(());
        };
        let given = judge.give.send(cases);
        judge.take.try_iter().for_each(|(changed, _)| self.changed.add(changed));
        if given.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}
