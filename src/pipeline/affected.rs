//! The segments that a batch can have changed for somebody: of what they stand to otherwise, nothing is asked.
//!
//! An answer hangs on the events, traits, accounts, decisions and identifiers that its [`Needs`] name, and on time, of
//! which the wakes take care. Where none of that is new, the standing of the file holds. Whoever absorbed somebody, or
//! lost something, is asked everything.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use super::State;
use super::membership::{Definitions, Live, put, standing};
use super::people::history;
use crate::clock::Timestamp;
use crate::error::Result;
use crate::identity::{Identities, Node, Person, ProfileNo};
use crate::profile::{History, Verdict};
use crate::segment::{Catalog, Needs, evaluate};
use crate::store::{ChangeCause, Db, NewChange, Standing};
use crate::value::nfc;

/// The segments whose members are kept, by what they look at: places in the list of all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Index {
    names: BTreeMap<String, Vec<u32>>,
    prefixes: Vec<(String, u32)>,
    traits: BTreeMap<String, Vec<u32>>,
    accounts: Vec<u32>,
    consents: Vec<u32>,
    identifiers: Vec<u32>,
    /// To which somebody stands of whom nothing is known, and those that go by the profile's id.
    blank: Vec<u32>,
    kept: Vec<u32>,
}

impl Index {
    pub(crate) fn new(all: &[Live], catalog: &Catalog) -> Self {
        let mut index = Self::default();
        for (place, live) in (0..).zip(all).filter(|(_, live)| live.segment.is_live()) {
            let needs = &live.needs;
            index.kept.push(place);
            for name in needs.event_names() {
                index.names.entry(name.to_owned()).or_default().push(place);
            }
            index.prefixes.extend(needs.event_prefixes().map(|prefix| (prefix.to_owned(), place)));
            for name in needs.traits() {
                index.traits.entry(name.to_owned()).or_default().push(place);
            }
            let note = |places: &mut Vec<u32>, looks: bool| places.extend(looks.then_some(place));
            note(&mut index.accounts, needs.accounts());
            note(&mut index.consents, needs.consents().next().is_some());
            note(&mut index.identifiers, needs.identifiers());
            let mut nobody = History::default();
            catalog.complete(needs, &mut nobody, Timestamp::EARLIEST);
            let stands = nobody.segments.get(live.segment.name()) != Some(&Verdict::always(false));
            note(&mut index.blank, needs.profile() || stands);
        }
        index
    }

    /// The places of those that may have changed.
    fn affected(&self, extent: Extent, facts: &Facts<'_>) -> Vec<u32> {
        if extent == Extent::Other {
            return self.kept.clone();
        }
        let mut places = Vec::new();
        for name in &facts.names {
            let name = nfc(name);
            places.extend(self.names.get(&*name).into_iter().flatten());
            places.extend(
                self.prefixes
                    .iter()
                    .filter(|(prefix, _)| name.starts_with(&**prefix))
                    .map(|(_, place)| place),
            );
        }
        places.extend(facts.traits.iter().filter_map(|name| self.traits.get(*name)).flatten());
        let more = [
            (facts.accounts, &self.accounts),
            (facts.consents, &self.consents),
            (extent != Extent::Same, &self.identifiers),
            (extent == Extent::Founded, &self.blank),
        ];
        places.extend(more.into_iter().filter(|(looks, _)| *looks).flat_map(|(_, places)| places));
        places.sort_unstable();
        places.dedup();
        places
    }
}

/// What is new of somebody, each name once.
#[derive(Debug, Default)]
pub(crate) struct Facts<'n> {
    pub(crate) names: Vec<&'n str>,
    pub(crate) traits: Vec<&'n str>,
    /// Whether an account of theirs may have changed, or is new.
    pub(crate) accounts: bool,
    /// Whether they decided about any purpose.
    pub(crate) consents: bool,
}

/// How somebody is made after a batch, beside how they were before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Of the same identifiers.
    Same,
    /// Of the same, and of some that nobody had ever seen.
    Grown,
    /// Of such alone.
    Founded,
    /// In any other way.
    Other,
}

impl Extent {
    fn of(base: &Identities, person: &Person) -> Self {
        let known = |node: &&Node| node.index() < base.interner.len();
        let mut before = person.nodes.iter().filter(known);
        let Some(first) = before.next() else { return Self::Founded };
        let is_own = |node: &Node| base.partition.profile(*node) == Some(person.profile);
        let count = 1 + before.clone().count();
        if !is_own(first) || !before.all(is_own) || base.partition.members(*first).count() != count {
            return Self::Other;
        }
        if count == person.nodes.len() { Self::Same } else { Self::Grown }
    }
}

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

/// As many rows wait to be written at most; in debug builds so few that tests have more.
const MOST_ROWS: usize = if cfg!(debug_assertions) { 1 << 2 } else { 1 << 12 };

/// Brings the people of a batch up to date.
pub(crate) struct Settling<'s> {
    db: &'s Db,
    base: &'s Identities,
    definitions: &'s Definitions,
    now: Timestamp,
    /// By the places of the segments: most people of a batch have the same kinds of news.
    plans: FxHashMap<Vec<u32>, Plan<'s>>,
    /// What has changed and is not written yet: how people stand to whom nothing stood before, and the journal.
    standings: Vec<(ProfileNo, i64, Standing)>,
    changes: Vec<NewChange<'s>>,
}

impl<'s> Settling<'s> {
    pub(crate) fn new(db: &'s Db, state: &'s State, now: Timestamp) -> Self {
        Self {
            db,
            base: &state.identities,
            definitions: &state.segments,
            now,
            plans: FxHashMap::default(),
            standings: Vec::new(),
            changes: Vec::new(),
        }
    }

    /// Brings somebody up to date of whom these facts are new, and whose events may have changed hands beside. Standings
    /// and journal agree before, and for an instant not after now. Nobody comes twice: what has changed is in the file when
    /// this is finished.
    pub(crate) fn person(
        &mut self,
        person: &Person,
        facts: &Facts<'_>,
        has_moved: bool,
        cause: &dyn Fn(&Live) -> ChangeCause,
    ) -> Result<()> {
        let (db, definitions, now) = (self.db, self.definitions, self.now);
        let extent = if has_moved { Extent::Other } else { Extent::of(self.base, person) };
        let places = definitions.index.affected(extent, facts);
        if places.is_empty() {
            return Ok(());
        }
        if self.plans.len() >= MOST_PLANS {
            self.plans.clear();
        }
        let plan = self.plans.entry(places).or_insert_with_key(|places| Plan::new(definitions, places));
        let catalog = &definitions.catalog;
        let mut history = history(db, person, &plan.needs, catalog, None)?;
        let stands = plan.judge(catalog, &mut history, now);
        let before = match extent {
            Extent::Founded => FxHashMap::default(),
            _ => standings(db, person, &stands, definitions.index.kept.len())?,
        };
        for (live, verdict) in stands {
            let before = before.get(&live.number).copied().unwrap_or(Standing::NONE);
            // Whoever will be woken early enough need not be told when.
            if !before.covers(standing(verdict)) {
                if before == Standing::NONE {
                    self.standings.push((person.profile, live.number, standing(verdict)));
                } else {
                    put(db, person.profile, live, verdict)?;
                }
            }
            if before.member != verdict.holds {
                let (profile, segment) = (person.profile, live.segment.name());
                self.changes.push(NewChange { profile, segment, entered: verdict.holds, cause: cause(live) });
            }
        }
        if self.standings.len() + self.changes.len() > MOST_ROWS { self.write() } else { Ok(()) }
    }

    /// Writes down what has changed, once everybody is up to date.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.write()
    }

    fn write(&mut self) -> Result<()> {
        // In the order in which the file has them, those of a page come together.
        self.standings.sort_unstable_by_key(|(profile, segment, _)| (*profile, *segment));
        self.db.add_standings(&self.standings)?;
        self.db.add_changes(&self.changes, self.now)?;
        self.standings.clear();
        self.changes.clear();
        Ok(())
    }
}

/// How the file has it that somebody stands to some of so many segments: asked for one by one if they are few.
fn standings(
    db: &Db,
    person: &Person,
    of: &[(&Live, Verdict)],
    kept: usize,
) -> Result<FxHashMap<i64, Standing>> {
    /// How many rows are read in the time of a look-up.
    const WORTH: usize = 8;
    if of.len() * WORTH >= kept {
        return Ok(db.standings_of(person.profile)?.into_iter().collect());
    }
    let mut found = FxHashMap::default();
    for (live, _) in of {
        if let Some(standing) = db.standing_to(person.profile, live.number)? {
            found.insert(live.number, standing);
        }
    }
    Ok(found)
}
