//! Which event bears a message id: exactly, whatever the hashes say.

use super::ids::{self, Bloom, MessageId};
use super::read::checksum;
use crate::store::packed::damaged;
use crate::store::{Db, Result};

impl Db {
    /// The number of the event that bears a message id.
    pub(crate) fn event_with_id(&self, message_id: &MessageId<'_>) -> Result<Option<u32>> {
        self.catch_up()?;
        self.load_blooms()?;
        let hash = message_id.hash();
        let kept = ids::kept(hash);
        let log = self.log.borrow();
        let mut candidates: Vec<u32> = log.tail.with_hash(hash).collect();
        let seals = if message_id.is_unsealed(log.layout) { &[] } else { &log.seals[..] };
        for seal in seals {
            if seal.bloom.as_ref().is_some_and(|bloom| bloom.may_have(kept)) {
                let bucket = ids::bucket(kept, seal.buckets);
                let found = self.ids_in(bucket_key(seal.number, bucket))?;
                candidates
                    .extend(found.into_iter().filter(|(other, _)| *other == kept).map(|(_, event)| event));
            }
        }
        drop(log);
        for event in candidates {
            if self.with_text(event, |text| text.id == message_id.as_str())? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    /// Looks for many message ids in the filters of the seals. A filter is a place in memory, far from others, for each of them,
    /// which is waited for; here, while others are.
    pub(crate) fn sift<'i, 'e: 'i>(&self, ids: impl Iterator<Item = &'i mut MessageId<'e>>) -> Result<()> {
        self.catch_up()?;
        self.load_blooms()?;
        let log = self.log.borrow();
        let mut ids: Vec<(u64, bool, &mut MessageId<'e>)> =
            ids.map(|id| (ids::kept(id.hash()), false, id)).collect();
        for bloom in log.seals.iter().filter_map(|seal| seal.bloom.as_ref()) {
            for (kept, may_be, _) in &mut ids {
                *may_be |= bloom.may_have(*kept);
            }
        }
        for (_, _, id) in ids.iter_mut().filter(|(_, may_be, _)| !may_be) {
            id.note_unsealed(log.layout);
        }
        Ok(())
    }

    /// The JSON of the event that bears a message id.
    pub(crate) fn json_of(&self, message_id: &MessageId<'_>) -> Result<Option<String>> {
        let event = self.event_with_id(message_id)?;
        event.map(|event| self.with_text(event, |text| text.json.to_owned())).transpose()
    }

    /// Reads the filters of the seals that have not been asked yet.
    fn load_blooms(&self) -> Result<()> {
        let mut log = self.log.borrow_mut();
        for seal in log.seals.iter_mut().filter(|seal| seal.bloom.is_none()) {
            seal.bloom = Some(self.bloom(seal.number)?);
        }
        Ok(())
    }

    /// The filter of a seal, as the file has it.
    pub(super) fn bloom(&self, seal: i64) -> Result<Bloom> {
        let mut select = self.conn.prepare_cached("SELECT crc, bloom FROM seals WHERE seal = ?1")?;
        let (crc, bytes): (u32, Vec<u8>) = select.query_row([seal], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let bloom = if crc == checksum(&[&bytes]) { Bloom::read(&bytes) } else { None };
        bloom.ok_or_else(|| damaged(format!("the filter of the seal {seal} contradicts its checksum")))
    }

    /// The ids of a bucket, none if there is no such bucket.
    pub(super) fn ids_in(&self, key: i64) -> Result<Vec<ids::Id>> {
        let mut select = self.conn.prepare_cached("SELECT crc, bytes FROM message_ids WHERE bucket = ?1")?;
        let mut rows = select.query([key])?;
        let Some(row) = rows.next()? else { return Ok(Vec::new()) };
        let crc: u32 = row.get(0)?;
        let bytes = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        let found = if crc == bucket_checksum(key, bytes) { ids::read(bytes) } else { None };
        let wrong = || damaged(format!("the message ids in bucket {key} contradict their checksum"));
        Ok(found.ok_or_else(wrong)?.collect())
    }
}

/// The row of a seal's bucket.
pub(super) fn bucket_key(seal: i64, bucket: u64) -> i64 {
    seal << ids::MOST_BUCKETS | bucket.cast_signed()
}

pub(super) fn bucket_checksum(key: i64, bytes: &[u8]) -> u32 {
    checksum(&[&key.to_le_bytes(), bytes])
}
