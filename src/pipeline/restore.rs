//! A backup put in the place of a file: what was erased and dropped since it was made, stays so.

use rustc_hash::{FxHashMap, FxHashSet};

use super::erase::{PAGE, Whom};
use super::retain::{KEPT, Old};
use super::{Counter, State};
use crate::clock::Timestamp;
use crate::error::{DefinitionError, Result};
use crate::identity::{Draft, Node};
use crate::privacy::{Hash, Restored};
use crate::store::Db;
use crate::value::Object;

/// How many message ids are looked up together.
const HANDFUL: usize = 4_096;

/// What a file knows of who was erased and what was dropped, as long as it is there.
pub(crate) struct Since<'s> {
    state: &'s State,
    suppressed: Vec<(Hash, Timestamp)>,
    dropped: Vec<[u8; KEPT]>,
}

impl<'s> Since<'s> {
    pub(crate) fn of(db: &Db, state: &'s State) -> Result<Self> {
        Ok(Self { state, suppressed: db.suppressed()?, dropped: db.dropped()? })
    }

    /// Puts the file's suppression list in the place of the backup's. An error if the hashes of the two are not made with
    /// one key: then the backup is another file's.
    pub(crate) fn put_list(&self, db: &Db, state: &State) -> Result<()> {
        if state.key()?.mark() != self.state.key()?.mark() {
            let reason =
                "not a backup of the file in whose place it is to stand: the keys of their hashes differ";
            return Err(DefinitionError::new("backup", reason).into());
        }
        db.replace_suppressed(&self.suppressed)?;
        Ok(self.dropped.iter().try_for_each(|hash| db.remember_dropped(hash))?)
    }

    /// Whom the backup has and the list names: of each person the identifiers that are to go.
    ///
    /// Theirs are those on the list, and those linked to them in the backup that the file does not know any more. What it
    /// knows of them is somebody else's by now.
    pub(crate) fn erased(&self, state: &State) -> Result<Vec<Whom>> {
        let (key, identities) = (state.key()?, &state.identities);
        let list: FxHashSet<&Hash> = self.suppressed.iter().map(|(hash, _)| hash).collect();
        let mut people: FxHashMap<Node, Vec<Node>> = FxHashMap::default();
        for node in identities.interner.nodes().filter(|node| !identities.interner.is_forgotten(*node)) {
            if list.contains(&key.identifier(&identities.interner.identifier(node))) {
                people.entry(identities.partition.root(node).unwrap_or(node)).or_default().push(node);
            }
        }
        for (root, nodes) in &mut people {
            let linked = identities.partition.members(*root).filter(|node| {
                let identifier = identities.interner.identifier(*node);
                let now = &self.state.identities.interner;
                now.namespace(identifier.namespace())
                    .is_none_or(|kind| now.find(kind, identifier.value()).is_none())
            });
            nodes.extend(linked);
            nodes.sort_unstable();
            nodes.dedup();
        }
        let mut people: Vec<Whom> = people.into_values().map(|nodes| Whom { nodes, named: None }).collect();
        people.sort_unstable_by_key(|whom| whom.nodes[0]);
        Ok(people)
    }

    /// The events of the backup that were dropped since: as they were kept long enough, or as they were of somebody erased
    /// whom the list would not know again by them.
    pub(crate) fn dropped(&self, db: &Db, state: &State) -> Result<Old> {
        let mut old = Old::default();
        if self.dropped.is_empty() {
            return Ok(old);
        }
        let key = state.key()?;
        let dropped: FxHashSet<&[u8]> = self.dropped.iter().map(|hash| &hash[..]).collect();
        let mut events: Vec<(u32, Option<Node>)> = Vec::new();
        db.visit_old(Timestamp::from_micros(i64::MAX), |number, _, owner, _, _| {
            events.extend(u32::try_from(number).ok().map(|number| (number, owner)));
        })?;
        for events in events.chunks(HANDFUL) {
            let numbers: Vec<u32> = events.iter().map(|(number, _)| *number).collect();
            for ((number, owner), id) in events.iter().zip(db.message_ids(&numbers)?) {
                if dropped.contains(&key.message_id(&id)[..KEPT]) {
                    old.add((*number).into(), *owner);
                }
            }
        }
        Ok(old)
    }
}

/// Lets go of refused events that name anybody on the suppression list, and says how many there were.
pub(crate) fn remove_suppressed(counter: &mut Counter<'_>) -> Result<u64> {
    let draft = Draft::on(&counter.state.identities);
    let (mut after, mut removed) = (0, 0);
    loop {
        let page = counter.db.quarantined(after, PAGE)?;
        let Some(last) = page.last() else { return Ok(removed) };
        after = last.entry;
        for kept in page {
            if counter.names_suppressed(&draft, &kept.raw)? {
                counter.db.remove_quarantined(kept.entry)?;
                removed += 1;
            }
        }
    }
}

/// Adds to the audit log that this was a backup.
pub(crate) fn account_for(db: &Db, state: &State, now: Timestamp, restored: &Restored) -> Result<()> {
    let Restored { people, identifiers, events, dropped, quarantined, .. } = *restored;
    let figures = [
        ("people", people),
        ("identifiers", identifiers),
        ("events", events),
        ("dropped", dropped),
        ("quarantined", quarantined),
    ];
    let details: Object =
        figures.into_iter().map(|(name, figure)| (name.to_owned(), figure.into())).collect();
    state.audit(db, now, "restore", &[], details)
}
