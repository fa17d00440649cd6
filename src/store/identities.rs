//! Reading all identities: what opening a file is.

use std::thread;

use rusqlite::Row;

use super::packed::{self, HOLDERS, IDENTIFIERS, MERGES, NONE, Pieces, damaged};
use super::{Db, Result};
use crate::id::Namespace;
use crate::identity::{Day, Identities, Interner, Node, Partition, ProfileNo};

/// SQLite's page cache while everything is read once, in KiB. More would only fill with what nobody reads again.
const CACHE: i64 = 2_048;

/// Chunks whose packed copy cannot be used, and the table it belongs to.
pub(super) type Fault = (&'static str, Vec<u32>);

impl Db {
    /// All identities of the file, as the last commit left them.
    pub(crate) fn identities(&self) -> Result<Identities> {
        self.identities_and_faults().map(|(identities, _)| identities)
    }

    /// All identities of the file, from the rows alone.
    pub(super) fn identities_by_rows(&self) -> Result<Identities> {
        self.read_identities(Pieces::Ignore).map(|(identities, _)| identities)
    }

    /// All identities of the file, and the packed copies that were of no use in reading them.
    pub(super) fn identities_and_faults(&self) -> Result<(Identities, [Fault; 3])> {
        let cache: i64 = self.conn.pragma_query_value(None, "cache_size", |row| row.get(0))?;
        self.conn.pragma_update(None, "cache_size", -CACHE)?;
        let read = self.read_identities(Pieces::Use);
        self.conn.pragma_update(None, "cache_size", cache)?;
        read
    }

    fn read_identities(&self, pieces: Pieces) -> Result<(Identities, [Fault; 3])> {
        let (standing, merges) = self.standing(pieces)?;
        let (holders, held) = self.holders(&standing, pieces)?;
        let next_profile = u32::try_from(standing.len()).unwrap_or(NONE);
        drop(standing);
        // Whose identifiers are is worked out while they are read.
        thread::scope(|scope| {
            let partition = scope.spawn(|| {
                let profile = |holder: u32| (holder != NONE).then_some(ProfileNo(holder));
                Partition::of(holders.into_iter().map(profile))
            });
            let (interner, values) = self.interner(pieces)?;
            let partition = partition.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let faults = [(IDENTIFIERS.table, values), (HOLDERS.table, held), (MERGES.table, merges)];
            let mut identities = Identities { interner, partition, next_profile, ..Identities::default() };
            self.read_marks(&mut identities)?;
            Ok((identities, faults))
        })
    }

    /// What is known of some identifiers beside whose they are.
    fn read_marks(&self, identities: &mut Identities) -> Result<()> {
        let mut days = self.conn.prepare("SELECT node, day FROM first_days")?;
        let mut rows = days.query([])?;
        while let Some(row) = rows.next()? {
            let node = Node(row.get(0)?);
            if node.index() < identities.interner.len() {
                identities.set_day(node, Day(row.get(1)?));
            }
        }
        for (sql, nodes) in [
            ("SELECT node FROM shared_devices", &mut identities.shared),
            ("SELECT node FROM unborne", &mut identities.unborne),
        ] {
            let mut marked = self.conn.prepare(sql)?;
            for node in marked.query_map([], |row| row.get(0).map(Node))? {
                nodes.insert(node?);
            }
        }
        Ok(())
    }

    /// All identifiers, and the chunks of them without a packed copy.
    fn interner(&self, pieces: Pieces) -> Result<(Interner, Vec<u32>)> {
        let mut interner = Interner::default();
        let mut namespaces = self.conn.prepare("SELECT name FROM namespaces ORDER BY namespace")?;
        for name in namespaces.query_map([], |row| row.get::<_, String>(0))? {
            interner.add_namespace(Namespace::new(name?));
        }
        let known = interner.namespaces().len();
        let whole = |interner: &mut Interner, piece: &[u8]| {
            let Some((kinds, ends, values)) = packed::identifiers(piece) else { return false };
            interner.append(kinds, ends, values);
            true
        };
        let single = |interner: &mut Interner, row: &Row<'_>| {
            let kind: u16 = row.get(1)?;
            if usize::from(kind) >= known {
                return Err(damaged(format!("an identifier of the namespace {kind}, which is missing")));
            }
            let value = row.get_ref(2)?.as_bytes().map_err(rusqlite::Error::from)?;
            interner.append([kind].into_iter(), [value.len()].into_iter(), value);
            Ok(())
        };
        let without = self.unpack(&IDENTIFIERS, pieces, &mut interner, whole, single)?;
        interner.index();
        Ok((interner, without))
    }

    /// The profile that each profile stands for today, and the chunks of merges without a packed copy.
    fn standing(&self, pieces: Pieces) -> Result<(Vec<u32>, Vec<u32>)> {
        // As many as there are rows: a number that is damaged must not ask for memory.
        let mut standing = vec![NONE; self.numbered_profiles()?];
        let note = |standing: &mut Vec<u32>, profile: u32, by: u32| {
            if let Some(place) = standing.get_mut(profile as usize) {
                *place = by;
            }
        };
        let without = self.read_merges(pieces, &mut standing, note)?;
        // Profiles are numbered from 0 without gaps, and merge into older ones, so one pass resolves every chain.
        for profile in 0..standing.len() {
            let (older, _) = standing.split_at(profile);
            let stands_for = older.get(standing[profile] as usize).copied();
            standing[profile] = stands_for.unwrap_or(u32::try_from(profile).unwrap_or(NONE));
        }
        Ok((standing, without))
    }

    /// How many profiles there are, which are numbered without gaps.
    fn numbered_profiles(&self) -> Result<usize> {
        // Each by itself, SQLite counts page by page, and looks for the least and the largest at the ends; together it goes
        // through all rows.
        let sql = "SELECT (SELECT count(*) FROM profiles), (SELECT coalesce(min(profile), 0) FROM profiles),
                   (SELECT coalesce(max(profile) + 1, 0) FROM profiles)";
        let (profiles, first, end): (usize, i64, i64) =
            self.conn.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        if first == 0 && i64::try_from(profiles) == Ok(end) {
            return Ok(profiles);
        }
        Err(damaged(format!("{profiles} profiles with numbers from {first} to {}", end - 1)))
    }

    /// The profile, of those that stand, of each identifier, and the chunks of them without a packed copy.
    fn holders(&self, standing: &[u32], pieces: Pieces) -> Result<(Vec<u32>, Vec<u32>)> {
        let mut holders = Vec::with_capacity(self.count(&HOLDERS)? as usize);
        let hold = |given: u32| standing.get(given as usize).copied().unwrap_or(NONE);
        let whole = |holders: &mut Vec<u32>, piece: &[u8]| {
            packed::numbers(piece).map(|given| holders.extend(given.map(hold))).is_some()
        };
        let single = |holders: &mut Vec<u32>, row: &Row<'_>| {
            holders.push(hold(row.get::<_, Option<u32>>(1)?.unwrap_or(NONE)));
            Ok(())
        };
        let without = self.unpack(&HOLDERS, pieces, &mut holders, whole, single)?;
        Ok((holders, without))
    }
}
