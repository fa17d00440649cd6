//! Which profile was absorbed by which: a row for each, in the order in which it came.
//!
//! To note it in the row of the profile would write a page of the file anew for nearly each of them, and one of the packed copies,
//! as anybody may be absorbed at any time. What was appended stays as it is, and so do the copies of it.

use rusqlite::Row;
use rusqlite::types::ValueRef;
use rustc_hash::FxHashMap;

use super::packed::{self, MERGES, Pieces, Touched};
use super::rows::insert_rows;
use super::{Db, Result};
use crate::identity::ProfileNo;

/// What a connection knows of merges: read when it is first asked for, and then what has come since.
#[derive(Debug, Default)]
pub(super) struct Merges {
    /// Into whom each profile was merged that was.
    into: FxHashMap<u32, u32>,
    /// How many rows were read.
    read: u32,
    /// Whether the transaction under way has appended any, so that what is known is worth nothing if it is taken back.
    changed: bool,
}

impl Merges {
    /// The transaction is committed.
    pub(super) fn committed(&mut self) {
        self.changed = false;
    }

    /// The transaction is taken back, if it was not only reading.
    pub(super) fn rolled_back(&mut self) {
        if self.changed {
            *self = Self::default();
        }
    }
}

impl Db {
    /// Makes profiles redirect to older ones, each with the one that absorbed it, and takes them out of segments.
    pub(crate) fn merge_profiles(&self, merged: &[(ProfileNo, ProfileNo)]) -> Result<()> {
        if merged.is_empty() {
            return Ok(());
        }
        self.merges.borrow_mut().changed = true;
        let number = |number: u32| ValueRef::Integer(number.into());
        let first = self.count(&MERGES)?;
        let rows = (first..).zip(merged);
        let rows = rows.map(|(merge, (profile, by))| [number(merge), number(profile.0), number(by.0)]);
        insert_rows(&self.conn, "merges (merge, profile, merged_into)", rows)?;
        for (merge, (profile, _)) in (first..).zip(merged) {
            self.note(Touched::NewMerge(merge));
            self.clear_standings_of(*profile)?;
        }
        Ok(())
    }

    /// The profile that a profile stands for today.
    pub(super) fn stands_for(&self, profile: ProfileNo) -> Result<ProfileNo> {
        let mut merges = self.merges.borrow_mut();
        let count = self.count(&MERGES)?;
        if merges.read == 0 {
            self.read_merges(Pieces::Use, &mut merges.into, |into, profile, by| {
                into.insert(profile, by);
            })?;
        } else {
            self.each_row(&MERGES, merges.read..count, |row| {
                merges.into.insert(row.get(1)?, row.get(2)?);
                Ok(())
            })?;
        }
        merges.read = count;
        let mut at = profile;
        while let Some(by) = merges.into.get(&at.0).filter(|by| **by < at.0) {
            at = ProfileNo(*by);
        }
        Ok(at)
    }

    /// Reads all merges, from their packed copies where there are some: calls `each` with the profile that was absorbed, and by
    /// which. Gives the chunks without a copy that can be used.
    pub(super) fn read_merges<T>(
        &self,
        pieces: Pieces,
        to: &mut T,
        each: impl Fn(&mut T, u32, u32),
    ) -> Result<Vec<u32>> {
        let whole = |to: &mut T, piece: &[u8]| {
            let Some(merges) = packed::merges(piece) else { return false };
            merges.for_each(|(profile, by)| each(to, profile, by));
            true
        };
        let single = |to: &mut T, row: &Row<'_>| {
            each(to, row.get(1)?, row.get(2)?);
            Ok(())
        };
        self.unpack(&MERGES, pieces, to, whole, single)
    }

    /// The profiles that a profile has absorbed, directly or not, in order.
    pub(crate) fn absorbed_by(&self, profile: ProfileNo) -> Result<Vec<ProfileNo>> {
        // Always to a lower number, so whoever it went to is known when it comes.
        let mut select = self.conn.prepare_cached(
            "SELECT profile, merged_into FROM merges WHERE merged_into >= ?1 ORDER BY profile",
        )?;
        let mut absorbed = Vec::new();
        let mut rows = select.query([profile.0])?;
        while let Some(row) = rows.next()? {
            let (gone, by) = (ProfileNo(row.get(0)?), ProfileNo(row.get(1)?));
            if by == profile || absorbed.binary_search(&by).is_ok() {
                absorbed.push(gone);
            }
        }
        Ok(absorbed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::id::ProfileId;
    use crate::identity::Node;
    use crate::store::{Access, Place, Shared};

    #[test]
    fn whoever_was_absorbed_stands_for_the_one_who_is_left_and_not_if_that_was_taken_back() {
        let shared = Arc::new(Shared::new(1_000, 0));
        let db = Db::open(&Place::Memory, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
        let ids: Vec<ProfileId> = (1..=5).map(|id| ProfileId::from_uuid(uuid::Uuid::from_u128(id))).collect();
        let founder = |id: usize| db.founder(ids[id]).unwrap().map(|node| node.0);
        let merge = |pairs: &[(u32, u32)]| {
            let pairs: Vec<_> = pairs.iter().map(|(gone, by)| (ProfileNo(*gone), ProfileNo(*by))).collect();
            db.merge_profiles(&pairs).unwrap();
        };
        db.begin_write().unwrap();
        let mut next = ids.iter().copied();
        let profiles = (0..5).map(|profile| (ProfileNo(profile), Node(10 + profile)));
        db.add_profiles(profiles, Timestamp::EARLIEST, || next.next().unwrap()).unwrap();
        merge(&[(4, 2)]);
        db.commit().unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(founder), [10, 11, 12, 13, 12].map(Some));

        db.begin_write().unwrap();
        merge(&[(2, 1), (3, 0)]);
        assert_eq!([1, 2, 3, 4].map(founder), [11, 11, 10, 11].map(Some));
        db.rollback();
        assert_eq!([2, 3, 4].map(founder), [12, 13, 12].map(Some));

        db.begin_write().unwrap();
        merge(&[(2, 0)]);
        db.commit().unwrap();
        assert_eq!([2, 3, 4].map(founder), [10, 13, 10].map(Some));
        assert_eq!(db.absorbed_by(ProfileNo(0)).unwrap(), [2, 4].map(ProfileNo));
        assert_eq!(db.absorbed_by(ProfileNo(3)).unwrap(), []);
    }
}
