//! Identifiers, the links between them, and the profiles they belong to.

use rusqlite::types::ValueRef;
use rusqlite::{OptionalExtension, params};
use rustc_hash::FxHashSet;
use uuid::Uuid;

use super::journal::{Cause, Change};
use super::packed::Touched;
use super::rows::insert_rows;
use super::{Db, Result};
use crate::clock::Timestamp;
use crate::id::ProfileId;
use crate::identity::{Draft, Identities, Node, ProfileNo};

fn number(number: u32) -> ValueRef<'static> {
    ValueRef::Integer(number.into())
}

impl Db {
    /// Writes what a draft changes in identifiers, profiles and links since it was last written, for a cause other than
    /// events, if there is one. `id` makes the ids of new profiles.
    pub(crate) fn write_draft(
        &self,
        base: &Identities,
        draft: &mut Draft,
        now: Timestamp,
        cause: Option<&Cause>,
        id: impl FnMut() -> ProfileId,
    ) -> Result<()> {
        let founded = draft.pending.founded.iter().map(|founded| (founded.profile, founded.founder));
        self.add_profiles(founded, now, id)?;
        let profile = |node: Node| draft.pending.held.get(&node).copied();
        self.write_held(base, draft, profile)?;
        // In the order of the rows: neighbours share pages.
        let mut held: Vec<(Node, ProfileNo)> =
            draft.pending.held.iter().map(|(node, profile)| (*node, *profile)).collect();
        held.retain(|(node, _)| !draft.is_unwritten(*node));
        held.sort_unstable_by_key(|(node, _)| node.0);
        for (node, profile) in held {
            self.give_identifier(node, Some(profile))?;
        }
        let merged: Vec<(ProfileNo, ProfileNo)> =
            draft.pending.absorbed.iter().map(|absorbed| (absorbed.profile, absorbed.by)).collect();
        self.merge_profiles(&merged)?;
        // Profiles that came and went with this batch are known to nobody.
        let known = draft.pending.absorbed.iter().filter(|gone| gone.profile.0 < base.next_profile);
        let joined: Vec<(ProfileNo, ProfileNo, Cause)> = known
            .map(|gone| {
                let event = || Cause::Event { message_id: gone.message_id.clone() };
                (gone.by, gone.profile, cause.cloned().unwrap_or_else(event))
            })
            .collect();
        let joined = joined.iter().map(|(by, gone, cause)| (*by, *gone, cause));
        self.journalise(now, Change::Joined, joined)?;
        self.write_links(draft)?;
        draft.written();
        Ok(())
    }

    /// Writes the new namespaces and identifiers of a draft, the latter in no profile yet, and the days on which known
    /// ones were first seen.
    pub(crate) fn write_interned(&self, base: &Identities, draft: &Draft) -> Result<()> {
        self.write_held(base, draft, |_| None)
    }

    /// The same, with the profiles that hold the new identifiers.
    fn write_held(
        &self,
        base: &Identities,
        draft: &Draft,
        profile: impl Fn(Node) -> Option<ProfileNo>,
    ) -> Result<()> {
        for (number, namespace) in draft.new_namespaces(base) {
            let mut insert = self.conn.prepare_cached("INSERT INTO namespaces VALUES (?1, ?2)")?;
            insert.execute(params![number, namespace.as_str()])?;
        }
        let identifiers = draft.new_identifiers().map(|(node, kind, value)| {
            let profile = profile(node).map_or(ValueRef::Null, |profile| number(profile.0));
            [number(node.0), number(kind.into()), value.into(), profile]
        });
        insert_rows(&self.conn, "identifiers (node, namespace, value, profile)", identifiers)?;
        draft.new_identifiers().for_each(|(node, ..)| self.note(Touched::NewIdentifier(node.0)));
        for (node, unborne) in draft.unborne_changes() {
            let sql = if unborne {
                "INSERT OR IGNORE INTO unborne VALUES (?1)"
            } else {
                "DELETE FROM unborne WHERE node = ?1"
            };
            self.conn.prepare_cached(sql)?.execute([node.0])?;
        }
        for (node, day) in &draft.pending.days {
            let mut upsert = self.conn.prepare_cached("INSERT OR REPLACE INTO first_days VALUES (?1, ?2)")?;
            upsert.execute((node.0, day.0))?;
        }
        Ok(())
    }

    /// Adds profiles, with ids that `id` makes.
    pub(crate) fn add_profiles(
        &self,
        founded: impl Iterator<Item = (ProfileNo, Node)> + Clone,
        now: Timestamp,
        mut id: impl FnMut() -> ProfileId,
    ) -> Result<()> {
        let ids: Vec<Uuid> = founded.clone().map(|_| id().as_uuid()).collect();
        let profiles = founded.clone().zip(&ids).map(|((profile, founder), id)| {
            let id = ValueRef::Blob(id.as_bytes());
            [number(profile.0), id, number(founder.0), ValueRef::Integer(now.as_micros())]
        });
        insert_rows(&self.conn, "profiles (profile, id, founder, created_at)", profiles)?;
        Ok(())
    }

    /// Gives an identifier to a profile, or to none.
    pub(crate) fn give_identifier(&self, node: Node, profile: Option<ProfileNo>) -> Result<()> {
        let mut update = self.conn.prepare_cached("UPDATE identifiers SET profile = ?2 WHERE node = ?1")?;
        update.execute((node.0, profile.map(|profile| profile.0)))?;
        self.note(Touched::Holder(node.0));
        Ok(())
    }

    /// Sets an identifier by which a profile can be found.
    pub(crate) fn set_founder(&self, profile: ProfileNo, founder: Node) -> Result<()> {
        let mut update = self.conn.prepare_cached("UPDATE profiles SET founder = ?2 WHERE profile = ?1")?;
        update.execute((profile.0, founder.0))?;
        Ok(())
    }

    /// The id of a profile.
    pub(crate) fn profile_id(&self, profile: ProfileNo) -> Result<ProfileId> {
        let mut select = self.conn.prepare_cached("SELECT id FROM profiles WHERE profile = ?1")?;
        let bytes: [u8; 16] = select.query_row([profile.0], |row| row.get(0))?;
        Ok(ProfileId::from_uuid(Uuid::from_bytes(bytes)))
    }

    /// The identifiers by which profiles are found, but for some of these.
    pub(crate) fn founders_but_of(&self, profiles: &FxHashSet<ProfileNo>) -> Result<FxHashSet<Node>> {
        let mut select = self.conn.prepare_cached("SELECT profile, founder FROM profiles")?;
        let (mut rows, mut founders) = (select.query([])?, FxHashSet::default());
        while let Some(row) = rows.next()? {
            if !profiles.contains(&ProfileNo(row.get(0)?)) {
                founders.insert(Node(row.get(1)?));
            }
        }
        Ok(founders)
    }

    /// An identifier of the profile that an id stands for, redirects followed.
    pub(crate) fn founder(&self, id: ProfileId) -> Result<Option<Node>> {
        let mut select = self.conn.prepare_cached("SELECT profile, founder FROM profiles WHERE id = ?1")?;
        let found = select.query_row([id.as_uuid().as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)));
        let Some((profile, founder)) = found.optional()? else { return Ok(None) };
        let standing = self.stands_for(ProfileNo(profile))?;
        if standing.0 == profile {
            return Ok(Some(Node(founder)));
        }
        let mut select = self.conn.prepare_cached("SELECT founder FROM profiles WHERE profile = ?1")?;
        Ok(select.query_row([standing.0], |row| row.get(0)).optional()?.map(Node))
    }
}
