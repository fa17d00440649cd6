//! How profiles stand to segments: one row of a profile, and the members of each segment.

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

    fn write(&self) -> Vec<u8> {
        let (mut bytes, mut last, mut at) = (Vec::with_capacity(8 * self.0.len() + 8), 0, 0_i64);
        for (segment, Standing { member, wake }) in &self.0 {
            let flags = u64::from(*member) | u64::from(wake.is_some()) << 1;
            varint((segment - last).cast_unsigned() << 2 | flags, &mut bytes);
            if let Some(wake) = wake {
                varint(zigzag(wake.as_micros().wrapping_sub(at)), &mut bytes);
                at = wake.as_micros();
            }
            last = *segment;
        }
        bytes
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

/// How a profile stood to segments, as the file has it, and how it stands now.
#[derive(Debug)]
pub(crate) struct Restanding {
    pub(crate) profile: ProfileNo,
    pub(crate) before: Standings,
    pub(crate) after: Standings,
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

    /// Records how profiles stand to segments; of each there is one.
    pub(crate) fn write_standings(&self, mut changed: Vec<Restanding>) -> Result<()> {
        // In the order in which the file has them, those of a page come together.
        changed.sort_unstable_by_key(|change| change.profile);
        let packed: Vec<Vec<u8>> = changed.iter().map(|change| change.after.write()).collect();
        let all = || changed.iter().zip(&packed);
        let new = all().filter(|(change, _)| change.before.is_empty() && !change.after.is_empty());
        let rows = new.map(|(change, packed)| {
            let wake = change.after.wake().map_or(ValueRef::Null, ValueRef::Integer);
            [ValueRef::Integer(change.profile.0.into()), wake, ValueRef::Blob(packed)]
        });
        insert_rows(&self.conn, "standings (profile, wake, stands)", rows)?;
        for (change, packed) in all().filter(|(change, _)| !change.before.is_empty()) {
            let (profile, after) = (change.profile.0, &change.after);
            if after.is_empty() {
                self.conn.prepare_cached("DELETE FROM standings WHERE profile = ?1")?.execute([profile])?;
            } else {
                let sql = "UPDATE standings SET wake = ?2, stands = ?3 WHERE profile = ?1";
                self.conn.prepare_cached(sql)?.execute((profile, after.wake(), packed))?;
            }
        }
        let (mut entered, mut left) = (Vec::new(), Vec::new());
        for Restanding { profile, before, after } in &changed {
            let own = |segment| (segment, *profile);
            entered.extend(after.joined().filter(|segment| !before.to(*segment).member).map(own));
            left.extend(before.joined().filter(|segment| !after.to(*segment).member).map(own));
        }
        entered.sort_unstable();
        left.sort_unstable();
        let row = |(segment, profile): &(i64, ProfileNo)| {
            [ValueRef::Integer(*segment), ValueRef::Integer(profile.0.into())]
        };
        insert_rows(&self.conn, "members (segment, profile)", entered.iter().map(row))?;
        for (segment, profile) in left {
            let sql = "DELETE FROM members WHERE segment = ?1 AND profile = ?2";
            self.conn.prepare_cached(sql)?.execute((segment, profile.0))?;
        }
        Ok(())
    }

    /// Forgets how a profile stood to segments.
    pub(crate) fn clear_standings_of(&self, profile: ProfileNo) -> Result<()> {
        let before = self.standings_of(profile)?;
        self.write_standings(vec![Restanding { profile, before, after: Standings::default() }])
    }

    /// Forgets how everyone stood to a segment.
    pub(crate) fn clear_standings_to(&self, segment: i64) -> Result<()> {
        let mut after = -1;
        loop {
            let page = self.standings_after(after)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = last.0.into();
            let changed = page.into_iter().filter(|(_, before)| before.to(segment) != Standing::NONE);
            let changed = changed.map(|(profile, before)| {
                let mut after = before.clone();
                after.put(segment, Standing::NONE);
                Restanding { profile, before, after }
            });
            self.write_standings(changed.collect())?;
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

    proptest! {
        #[test]
        fn what_was_written_is_read(standings in stands(), far in 0..1_i64 << 60) {
            let mut standings = standings;
            standings.put(far + 7, Standing { member: true, wake: None });
            prop_assert_eq!(Standings::read(&standings.write()), Some(standings));
        }

        #[test]
        fn bytes_that_are_no_standings_are_told_or_read_as_some(mut bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            if let Some(read) = Standings::read(&bytes) {
                prop_assert_eq!(Standings::read(&read.write()), Some(read));
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
                let changed = turn.into_iter().map(|(profile, after)| {
                    let before = std::mem::replace(&mut model[profile as usize], after.clone());
                    Restanding { profile: ProfileNo(profile), before, after }
                });
                db.write_standings(changed.collect()).unwrap();
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
