//! How profiles stand to segments: one row of a profile, and the members of each segment.

use std::ops::Range;

use rusqlite::Row;
use rusqlite::types::ValueRef;

use super::packed::damaged;
use super::rows::insert_rows;
use super::varint::{take, unzigzag, varint, zigzag};
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::identity::ProfileNo;

/// How many rows are read at once where all are looked at.
const PAGE: usize = if cfg!(debug_assertions) { 2 } else { 1 << 10 };

/// How a profile stands to a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) member: bool,
    /// Before when time alone does not change it.
    pub(crate) wake: Option<Timestamp>,
}

impl Standing {
    /// That of whoever is no member, and will not be by time alone.
    pub(crate) const NONE: Self = Self { member: false, wake: None };

    /// Whether it does in place of another one: it says the same of membership, and wakes as early.
    pub(crate) fn covers(self, other: Self) -> bool {
        let wakes_before = |wake: Timestamp| other.wake.is_none_or(|other| wake <= other);
        self.member == other.member && (self.wake == other.wake || self.wake.is_some_and(wakes_before))
    }
}

/// How a profile stands to all segments: by number, but those to which it stands as [`Standing::NONE`].
///
/// Bytes: of each segment a varint, its distance from the one before times four, one more if the profile
/// is a member, and two more if there is a wake; then that, in microseconds after the one before (the first: after
/// 1970-01-01T00:00:00Z), as a varint with its sign in the lowest bit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Standings(Vec<(i64, Standing)>);

impl Standings {
    /// How the profile stands to a segment.
    pub(crate) fn to(&self, segment: i64) -> Standing {
        self.place(segment).map_or(Standing::NONE, |place| self.0[place].1)
    }

    /// Sets how the profile stands to a segment.
    pub(crate) fn put(&mut self, segment: i64, standing: Standing) {
        match self.place(segment) {
            Ok(place) if standing == Standing::NONE => drop(self.0.remove(place)),
            Ok(place) => self.0[place].1 = standing,
            Err(_) if standing == Standing::NONE => {}
            Err(place) => self.0.insert(place, (segment, standing)),
        }
    }

    fn place(&self, segment: i64) -> std::result::Result<usize, usize> {
        self.0.binary_search_by_key(&segment, |(segment, _)| *segment)
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The segments of which the profile is a member.
    fn joined(&self) -> impl Iterator<Item = i64> {
        self.0.iter().filter(|(_, standing)| standing.member).map(|(segment, _)| *segment)
    }

    /// The segments to which time may have changed the standing by `now`, and since when.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = (i64, Timestamp)> {
        let due = move |(segment, standing): &(i64, Standing)| {
            Some((*segment, standing.wake.filter(|wake| *wake <= now)?))
        };
        self.0.iter().filter_map(due)
    }

    /// The microsecond before which time alone changes none of them.
    fn wake(&self) -> Option<i64> {
        self.0.iter().filter_map(|(_, standing)| standing.wake).min().map(Timestamp::as_micros)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        let (mut last, mut at) = (0, 0_i64);
        for (segment, Standing { member, wake }) in &self.0 {
            let flags = u64::from(*member) | u64::from(wake.is_some()) << 1;
            varint((segment - last).cast_unsigned() << 2 | flags, bytes);
            if let Some(wake) = wake {
                varint(zigzag(wake.as_micros().wrapping_sub(at)), bytes);
                at = wake.as_micros();
            }
            last = *segment;
        }
    }

    /// `None` if the bytes are not made so.
    fn read(mut bytes: &[u8]) -> Option<Self> {
        let (mut all, mut last, mut at) = (Vec::new(), 0_i64, 0_i64);
        while !bytes.is_empty() {
            let first = take(&mut bytes)?;
            let segment = last.checked_add_unsigned(first >> 2)?;
            let mut standing = Standing { member: first & 1 == 1, wake: None };
            if first & 2 == 2 {
                at = at.wrapping_add(unzigzag(take(&mut bytes)?));
                standing.wake = Some(Timestamp::from_micros(at));
            }
            if segment == last || standing == Standing::NONE {
                return None;
            }
            all.push((segment, standing));
            last = segment;
        }
        (!all.is_empty()).then_some(Self(all))
    }
}

/// How profiles stood to segments, as the file has it, and how they stand now: as it is to be written, in few pieces of
/// memory, for whoever works it out is often another thread than the one that writes.
#[derive(Debug, Default)]
pub(crate) struct Restandings {
    rows: Vec<Restanding>,
    /// Of all of them, one after the other.
    bytes: Vec<u8>,
    entered: Vec<(i64, ProfileNo)>,
    left: Vec<(i64, ProfileNo)>,
}

#[derive(Debug)]
struct Restanding {
    profile: ProfileNo,
    /// Whether it has a row.
    is_there: bool,
    wake: Option<i64>,
    /// Where its bytes are, none if it is to have no row.
    stands: Range<usize>,
}

impl Restandings {
    /// Notes how a profile stood and stands, if that differs. Of each there is one.
    pub(crate) fn put(&mut self, profile: ProfileNo, before: &Standings, after: &Standings) {
        if after == before {
            return;
        }
        let start = self.bytes.len();
        after.write(&mut self.bytes);
        let stands = start..self.bytes.len();
        self.rows.push(Restanding { profile, is_there: !before.is_empty(), wake: after.wake(), stands });
        let own = |segment| (segment, profile);
        self.entered.extend(after.joined().filter(|segment| !before.to(*segment).member).map(own));
        self.left.extend(before.joined().filter(|segment| !after.to(*segment).member).map(own));
    }

    /// How many profiles there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Adds others.
    pub(crate) fn append(&mut self, mut others: Self) {
        let start = self.bytes.len();
        self.bytes.append(&mut others.bytes);
        self.rows.extend(
            others
                .rows
                .into_iter()
                .map(|row| Restanding { stands: start + row.stands.start..start + row.stands.end, ..row }),
        );
        self.entered.append(&mut others.entered);
        self.left.append(&mut others.left);
    }
}

fn unpack(profile: u32, bytes: &[u8]) -> Result<Standings> {
    Standings::read(bytes).ok_or_else(|| {
        damaged(format!("how the profile with the number {profile} stands to segments cannot be read"))
    })
}

/// A row of a profile's number and its standings.
fn standings(row: &Row<'_>) -> Result<(ProfileNo, Standings)> {
    let profile = row.get(0)?;
    let stands = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
    Ok((ProfileNo(profile), unpack(profile, stands)?))
}

impl Db {
    /// How a profile stands to all segments.
    pub(crate) fn standings_of(&self, profile: ProfileNo) -> Result<Standings> {
        let mut select = self.conn.prepare_cached("SELECT stands FROM standings WHERE profile = ?1")?;
        let mut rows = select.query([profile.0])?;
        let Some(row) = rows.next()? else { return Ok(Standings::default()) };
        unpack(profile.0, row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?)
    }

    /// Records how profiles stand to segments.
    pub(crate) fn write_standings(&self, changed: Restandings) -> Result<()> {
        let Restandings { mut rows, bytes, mut entered, mut left } = changed;
        // In the order in which the file has them, those of a page come together.
        rows.sort_unstable_by_key(|row| row.profile);
        entered.sort_unstable();
        left.sort_unstable();
        let new = rows.iter().filter(|row| !row.is_there && !row.stands.is_empty()).map(|row| {
            let wake = row.wake.map_or(ValueRef::Null, ValueRef::Integer);
            [ValueRef::Integer(row.profile.0.into()), wake, ValueRef::Blob(&bytes[row.stands.clone()])]
        });
        insert_rows(&self.conn, "standings (profile, wake, stands)", new)?;
        let mut update =
            self.conn.prepare_cached("UPDATE standings SET wake = ?2, stands = ?3 WHERE profile = ?1")?;
        for Restanding { profile, wake, stands, .. } in rows.into_iter().filter(|row| row.is_there) {
            if stands.is_empty() {
                self.conn.prepare_cached("DELETE FROM standings WHERE profile = ?1")?.execute([profile.0])?;
            } else {
                update.execute((profile.0, wake, &bytes[stands]))?;
            }
        }
        let row = |(segment, profile): &(i64, ProfileNo)| {
            [ValueRef::Integer(*segment), ValueRef::Integer(profile.0.into())]
        };
        insert_rows(&self.conn, "members (segment, profile)", entered.iter().map(row))?;
        let mut delete =
            self.conn.prepare_cached("DELETE FROM members WHERE segment = ?1 AND profile = ?2")?;
        for (segment, profile) in left {
            delete.execute((segment, profile.0))?;
        }
        Ok(())
    }

    /// Forgets how a profile stood to segments.
    pub(crate) fn clear_standings_of(&self, profile: ProfileNo) -> Result<()> {
        let mut changed = Restandings::default();
        changed.put(profile, &self.standings_of(profile)?, &Standings::default());
        self.write_standings(changed)
    }

    /// Forgets how everyone stood to a segment.
    pub(crate) fn clear_standings_to(&self, segment: i64) -> Result<()> {
        let mut after = -1;
        loop {
            let page = self.standings_after(after)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = last.0.into();
            let mut changed = Restandings::default();
            for (profile, before) in page {
                let mut after = before.clone();
                after.put(segment, Standing::NONE);
                changed.put(profile, &before, &after);
            }
            self.write_standings(changed)?;
        }
    }

    /// Forgets how everyone stands to every segment.
    pub(crate) fn clear_standings(&self) -> Result<()> {
        self.conn.execute("DELETE FROM standings", [])?;
        self.conn.execute("DELETE FROM members", [])?;
        Ok(())
    }

    /// How some profiles stand, those with the lowest numbers above one.
    fn standings_after(&self, after: i64) -> Result<Vec<(ProfileNo, Standings)>> {
        let sql = "SELECT profile, stands FROM standings WHERE profile > ?1 ORDER BY profile LIMIT ?2";
        let mut select = self.conn.prepare_cached(sql)?;
        let mut rows = select.query((after, PAGE))?;
        let mut page = Vec::new();
        while let Some(row) = rows.next()? {
            page.push(standings(row)?);
        }
        Ok(page)
    }

    /// How everyone stands whose standing to any segment time may have changed by `now`.
    pub(crate) fn woken(&self, now: Timestamp) -> Result<Vec<(ProfileNo, Standings)>> {
        let mut select =
            self.conn.prepare_cached("SELECT profile, stands FROM standings WHERE wake <= ?1")?;
        let mut rows = select.query([now.as_micros()])?;
        let mut woken = Vec::new();
        while let Some(row) = rows.next()? {
            woken.push(standings(row)?);
        }
        Ok(woken)
    }

    /// Whether time may have changed anybody's standing by `now`.
    pub(crate) fn has_woken(&self, now: Timestamp) -> Result<bool> {
        let mut select = self.conn.prepare_cached("SELECT 1 FROM standings WHERE wake <= ?1 LIMIT 1")?;
        Ok(select.exists([now.as_micros()])?)
    }

    /// An identifier of each member of a segment.
    pub(crate) fn member_founders(&self, segment: i64) -> Result<Vec<u32>> {
        let mut select = self.conn.prepare_cached(
            "SELECT p.founder FROM members m JOIN profiles p USING (profile) WHERE m.segment = ?1",
        )?;
        Ok(select.query_map([segment], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
    }

    /// The members of a segment.
    pub(crate) fn members_of(&self, segment: i64) -> Result<Vec<ProfileNo>> {
        let sql = "SELECT profile FROM members WHERE segment = ?1 ORDER BY profile";
        let mut select = self.conn.prepare_cached(sql)?;
        Ok(select.query_map([segment], |row| row.get(0).map(ProfileNo))?.collect::<rusqlite::Result<_>>()?)
    }

    /// How many members a segment has.
    pub(crate) fn count_members(&self, segment: i64) -> Result<usize> {
        let sql = "SELECT count(*) FROM members WHERE segment = ?1";
        Ok(self.conn.prepare_cached(sql)?.query_row([segment], |row| row.get(0))?)
    }

    /// The names of the segments that a profile is a member of, sorted.
    pub(crate) fn segments_of(&self, profile: ProfileNo) -> Result<Vec<String>> {
        let mut select = self.conn.prepare_cached("SELECT name FROM segments WHERE segment = ?1")?;
        let mut names = Vec::new();
        for segment in self.standings_of(profile)?.joined() {
            names.extend(
                select.query_map([segment], |row| row.get(0))?.collect::<rusqlite::Result<Vec<_>>>()?,
            );
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What is wrong with rows of standings and with members: how many there are of each kind.
    pub(super) fn faults_of_standings(&self) -> Result<Vec<(&'static str, String)>> {
        let [mut unread, mut asleep, mut missing, mut nowhere, mut joined, mut nobody] = [0_u64; 6];
        let mut select = self.conn.prepare("SELECT wake, stands, profile FROM standings")?;
        let mut is_member = self.conn.prepare("SELECT 1 FROM members WHERE segment = ?1 AND profile = ?2")?;
        let mut is_there = self.conn.prepare("SELECT 1 FROM segments WHERE segment = ?1")?;
        let mut is_profile = self.conn.prepare("SELECT 1 FROM profiles WHERE profile = ?1")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let stands = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
            let (wake, profile): (Option<i64>, i64) = (row.get(0)?, row.get(2)?);
            nobody += u64::from(!is_profile.exists([profile])?);
            let Some(standings) = Standings::read(stands) else {
                unread += 1;
                continue;
            };
            asleep += u64::from(wake != standings.wake());
            for (segment, standing) in &standings.0 {
                nowhere += u64::from(!is_there.exists([segment])?);
                joined += u64::from(standing.member);
                missing += u64::from(standing.member && !is_member.exists((segment, profile))?);
            }
        }
        let members: u64 = self.conn.query_row("SELECT count(*) FROM members", [], |row| row.get(0))?;
        let faults = [
            ("standings", "rows that cannot be read", unread),
            ("standings", "rows of profiles that are not there", nobody),
            ("standings", "people who would be woken at another time than they have to be", asleep),
            ("standings", "people who stand to segments that are not there", nowhere),
            ("members", "members who are missing", missing),
            (
                "members",
                "members who do not stand to their segment so",
                (members + missing).saturating_sub(joined),
            ),
        ];
        let told = faults.into_iter().filter(|(.., count)| *count > 0);
        Ok(told.map(|(table, what, count)| (table, format!("{what}: {count}"))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::store::{Access, Place, Shared};

    fn stands() -> impl Strategy<Value = Standings> {
        let standing = (any::<bool>(), prop::option::of(any::<i64>()))
            .prop_map(|(member, wake)| Standing { member, wake: wake.map(Timestamp::from_micros) });
        prop::collection::vec((1..6_i64, standing), 0..6).prop_map(|all| {
            let mut standings = Standings::default();
            for (segment, standing) in all {
                standings.put(segment, standing);
            }
            standings
        })
    }

    fn written(standings: &Standings) -> Vec<u8> {
        let mut bytes = Vec::new();
        standings.write(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(standings in stands(), far in 0..1_i64 << 60) {
            let mut standings = standings;
            standings.put(far + 7, Standing { member: true, wake: None });
            prop_assert_eq!(Standings::read(&written(&standings)), Some(standings));
        }

        #[test]
        fn bytes_that_are_no_standings_are_told_or_read_as_some(mut bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some(read) = Standings::read(&bytes) {
                prop_assert_eq!(Standings::read(&written(&read)), Some(read));
            }
            bytes.clear();
            prop_assert_eq!(Standings::read(&bytes), None);
        }

        #[test]
        fn rows_and_members_are_what_was_last_written(
            turns in prop::collection::vec(prop::collection::btree_map(0..4_u32, stands(), 0..4), 1..5),
            gone in 0..4_u32,
            removed in 1..6_i64,
        ) {
            let shared = Arc::new(Shared::new(9, 0));
            let db = Db::open(&Place::Memory, Access::Write { full: false, max_bytes: None }, &shared).unwrap();
            db.begin_write().unwrap();
            let mut model: Vec<Standings> = vec![Standings::default(); 4];
            for turn in turns {
                let mut changed = [Restandings::default(), Restandings::default()];
                for (profile, after) in turn {
                    let before = std::mem::replace(&mut model[profile as usize], after.clone());
                    changed[profile as usize % 2].put(ProfileNo(profile), &before, &after);
                }
                let [mut even, odd] = changed;
                even.append(odd);
                db.write_standings(even).unwrap();
            }
            db.clear_standings_of(ProfileNo(gone)).unwrap();
            model[gone as usize] = Standings::default();
            db.clear_standings_to(removed).unwrap();
            for standings in &mut model {
                standings.put(removed, Standing::NONE);
            }
            for (profile, standings) in (0..).zip(&model) {
                prop_assert_eq!(&db.standings_of(ProfileNo(profile)).unwrap(), standings);
            }
            for segment in 1..6 {
                let members = model.iter().filter(|standings| standings.to(segment).member).count();
                prop_assert_eq!(db.count_members(segment).unwrap(), members);
            }
            let now = Timestamp::from_micros(0);
            let mut woken = db.woken(now).unwrap();
            woken.sort_by_key(|(profile, _)| *profile);
            let due = (0..).map(ProfileNo).zip(model).filter(|(_, standings)| standings.due(now).next().is_some());
            let due: Vec<(ProfileNo, Standings)> = due.collect();
            prop_assert_eq!(db.has_woken(now).unwrap(), !due.is_empty());
            prop_assert_eq!(woken, due);
            let faults = db.faults_of_standings().unwrap();
            prop_assert!(faults.iter().all(|(_, what)| what.contains("that are not there")), "{:?}", faults);
        }
    }
}
