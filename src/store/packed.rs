//! Identifiers and whose they are, packed: what makes opening a file quick.
//!
//! Reading five million rows takes seconds. So of each thousand rows a copy is kept in one piece, which is made in the
//! transaction that fills or changes it. The rows are the truth, and the sums of the pieces are not trusted blindly: one
//! that contradicts its checksum is passed over for the rows that it was made of, and [`Db::packing_faults`] tells.

use std::borrow::Cow;
use std::ops::Range;

use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row};
use zstd::bulk::Decompressor;

use super::log::may_unpack_to;
use super::trait_columns::TRAITS;
use super::{Db, Failure, Result};

/// How many rows a piece holds. Unit tests cut so fine that they have several pieces of everything.
pub(super) const CHUNK: u32 = if cfg!(test) { 3 } else { 1_000 };

/// What stands for null.
pub(super) const NONE: u32 = u32::MAX;

/// Bytes before the values of a piece of identifiers: for each its namespace (2 bytes) and where its value ends (4).
const HEAD: usize = CHUNK as usize * 6;

/// A packed copy of some columns: its table, the rows of a range of numbers that it is made of, and their last number.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) table: &'static str,
    rows: &'static str,
    last: &'static str,
    pack: fn(&mut Piece, &Row<'_>) -> rusqlite::Result<()>,
    /// Whether its pieces are compressed by Zstandard, after their length (4 bytes, little-endian). Numbers would hardly become less,
    /// and they change.
    compressed: bool,
}

impl Packed {
    /// A piece as the file has it.
    fn close(&self, piece: Vec<u8>) -> Result<Vec<u8>> {
        if !self.compressed {
            return Ok(piece);
        }
        let len = u32::try_from(piece.len()).map_err(|_| damaged("identifiers of more than 4 GiB"))?;
        let packed = zstd::bulk::compress(&piece, 1).map_err(|error| damaged(error.to_string()))?;
        Ok([&len.to_le_bytes(), packed.as_slice()].concat())
    }

    /// A piece that the file has. `None` if it is not made so.
    fn open<'b>(&self, bytes: &'b [u8], tool: &mut Option<Decompressor<'static>>) -> Option<Cow<'b, [u8]>> {
        if !self.compressed {
            return Some(bytes.into());
        }
        if tool.is_none() {
            *tool = Decompressor::new().ok();
        }
        let (len, packed) = bytes.split_first_chunk()?;
        let len = u32::from_le_bytes(*len) as usize;
        if !may_unpack_to(len, packed) {
            return None;
        }
        let piece = tool.as_mut()?.decompress(packed, len).ok()?;
        (piece.len() == len).then(|| piece.into())
    }
}

pub(super) const IDENTIFIERS: Packed = Packed {
    table: "packed_identifiers",
    rows: "SELECT node, namespace, value FROM identifiers WHERE node BETWEEN ?1 AND ?2 ORDER BY node",
    last: "SELECT max(node) FROM identifiers",
    pack: |piece, row| {
        let value = row.get_ref(2)?.as_bytes()?;
        piece.head.extend(row.get::<_, u16>(1)?.to_le_bytes());
        piece.values.extend(value);
        let end = u32::try_from(piece.values.len()).unwrap_or(NONE);
        piece.middle.extend(end.to_le_bytes());
        Ok(())
    },
    compressed: true,
};

pub(super) const HOLDERS: Packed = Packed {
    table: "packed_holders",
    rows: "SELECT node, profile FROM identifiers WHERE node BETWEEN ?1 AND ?2 ORDER BY node",
    last: IDENTIFIERS.last,
    pack: number,
    compressed: false,
};

pub(super) const MERGES: Packed = Packed {
    table: "packed_merges",
    rows: "SELECT merge, profile, merged_into FROM merges WHERE merge BETWEEN ?1 AND ?2 ORDER BY merge",
    last: "SELECT max(merge) FROM merges",
    pack: |piece, row| {
        for place in [1, 2] {
            piece.head.extend(row.get::<_, u32>(place)?.to_le_bytes());
        }
        Ok(())
    },
    compressed: false,
};

/// Packs a row of one number, or null.
fn number(piece: &mut Piece, row: &Row<'_>) -> rusqlite::Result<()> {
    let number = row.get::<_, Option<u32>>(1)?.unwrap_or(NONE);
    piece.head.extend(number.to_le_bytes());
    Ok(())
}

/// A piece in the making: what comes first of each row, what then, and what last.
#[derive(Debug, Default)]
struct Piece {
    head: Vec<u8>,
    middle: Vec<u8>,
    values: Vec<u8>,
}

/// Whether packed copies are to be used where there are some.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pieces {
    Use,
    Ignore,
}

/// What a transaction has changed in rows of which there may be packed copies.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Identifiers that were given to another profile, or to none.
    nodes: Vec<u32>,
    /// Identifiers whose values were let go of.
    forgotten: Vec<u32>,
    /// The new ones.
    new_nodes: New,
    new_merges: New,
    /// Whether anything of traits is others now, which columns in memory have to know.
    pub(super) traits: bool,
}

/// Rows that were added: the first number and the last.
#[derive(Debug, Default, Clone, Copy)]
struct New(Option<(u32, u32)>);

impl New {
    fn add(&mut self, number: u32) {
        let (first, last) = self.0.unwrap_or((number, number));
        self.0 = Some((first.min(number), last.max(number)));
    }

    /// Whether they have filled a chunk. Those before are packed: by the transaction that filled them.
    fn fill_a_chunk(self) -> bool {
        self.0.is_some_and(|(first, last)| first / CHUNK != last.saturating_add(1) / CHUNK)
    }
}

/// Notes a change for the packed copies, which [`Db::pack`] brings up to date.
pub(super) enum Touched {
    NewIdentifier(u32),
    NewMerge(u32),
    Holder(u32),
    Forgotten(u32),
    Trait,
}

/// The identifiers of a piece: namespaces, ends of values, and the values. `None` if it is not made so.
pub(super) fn identifiers(
    piece: &[u8],
) -> Option<(impl ExactSizeIterator<Item = u16>, impl ExactSizeIterator<Item = usize>, &[u8])> {
    let (head, values) = piece.split_at_checked(HEAD)?;
    let (kinds, ends) = head.split_at(CHUNK as usize * 2);
    let kinds = kinds.as_chunks::<2>().0.iter().map(|kind| u16::from_le_bytes(*kind));
    let ends = ends.as_chunks::<4>().0.iter().map(|end| u32::from_le_bytes(*end) as usize);
    let sound = ends.clone().is_sorted() && ends.clone().next_back() == Some(values.len());
    sound.then_some((kinds, ends, values))
}

/// The numbers of a piece, [`NONE`] for null.
pub(super) fn numbers(piece: &[u8]) -> Option<impl Iterator<Item = u32>> {
    let (numbers, rest) = piece.as_chunks::<4>();
    let whole = numbers.len() == CHUNK as usize && rest.is_empty();
    whole.then(|| numbers.iter().map(|number| u32::from_le_bytes(*number)))
}

/// The merges of a piece: the profile that was absorbed, and by which.
pub(super) fn merges(piece: &[u8]) -> Option<impl Iterator<Item = (u32, u32)>> {
    let (merges, rest) = piece.as_chunks::<8>();
    let whole = merges.len() == CHUNK as usize && rest.is_empty();
    let number = |bytes: &[u8]| bytes.first_chunk().map_or(NONE, |bytes| u32::from_le_bytes(*bytes));
    whole.then(|| merges.iter().map(move |merge| (number(&merge[..4]), number(&merge[4..]))))
}

/// The checksum of a piece in its place.
fn checksum(table: &str, chunk: u32, piece: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(table.as_bytes());
    crc.update(&chunk.to_le_bytes());
    crc.update(piece);
    crc.finalize()
}

/// The failure that says that a file is damaged.
pub(super) fn damaged(what: impl Into<String>) -> Failure {
    Failure(rusqlite::Error::FromSqlConversionFailure(0, Type::Null, what.into().into()))
}

/// The numbers of the rows of some chunks.
fn rows_of(chunks: Range<u32>) -> Range<u32> {
    chunks.start.saturating_mul(CHUNK)..chunks.end.saturating_mul(CHUNK)
}

impl Db {
    /// Notes a change for the packed copies.
    pub(super) fn note(&self, change: Touched) {
        let mut changes = self.changes.borrow_mut();
        match change {
            Touched::NewIdentifier(node) => changes.new_nodes.add(node),
            Touched::NewMerge(merge) => changes.new_merges.add(merge),
            Touched::Holder(node) => changes.nodes.push(node),
            Touched::Forgotten(node) => changes.forgotten.push(node),
            Touched::Trait => changes.traits = true,
        }
    }

    /// Forgets what was noted, as the transaction was taken back.
    pub(super) fn forget_changes(&self) {
        self.changes.take();
    }

    /// Brings the packed copies up to date with the rows.
    pub(super) fn pack(&self) -> Result<()> {
        let Changes { nodes, forgotten, new_nodes, new_merges, traits } = self.changes.take();
        if traits {
            self.set(TRAITS, self.counter(TRAITS)?.wrapping_add(1))?;
            // What only takes away, or tells anew, must not need room for what others have said.
            if self.log.borrow().appended().is_some() {
                self.bring_many_traits_home()?;
            }
        }
        let mut chunks: Vec<u32> = forgotten.into_iter().map(|node| node / CHUNK).collect();
        chunks.sort_unstable();
        chunks.dedup();
        for chunk in chunks {
            if self.piece(&IDENTIFIERS, chunk)?.is_some() {
                self.pack_chunk(&IDENTIFIERS, chunk)?;
            }
        }
        self.repack(&HOLDERS, nodes)?;
        if new_nodes.fill_a_chunk() {
            self.pack_full(&IDENTIFIERS)?;
            self.pack_full(&HOLDERS)?;
        }
        if new_merges.fill_a_chunk() {
            self.pack_full(&MERGES)?;
        }
        Ok(())
    }

    /// Packs the chunks that are full by now and were not before.
    fn pack_full(&self, packed: &Packed) -> Result<()> {
        let sql = format!("SELECT max(chunk) FROM {}", packed.table);
        let done = self.last(&sql)?.map_or(0, |last| last + 1);
        for chunk in done..self.count(packed)? / CHUNK {
            self.pack_chunk(packed, chunk)?;
        }
        Ok(())
    }

    /// Packs a chunk from its rows.
    fn pack_chunk(&self, packed: &Packed, chunk: u32) -> Result<()> {
        let mut piece = Piece::default();
        self.each_row(packed, rows_of(chunk..chunk + 1), |row| Ok((packed.pack)(&mut piece, row)?))?;
        let Piece { mut head, middle, values } = piece;
        head.extend(middle);
        head.extend(values);
        self.put_piece(packed, chunk, &packed.close(head)?)
    }

    /// Brings those numbers up to date that have changed in chunks that are packed.
    fn repack(&self, packed: &Packed, mut changed: Vec<u32>) -> Result<()> {
        changed.sort_unstable();
        changed.dedup();
        for changed in changed.chunk_by(|a, b| a / CHUNK == b / CHUNK) {
            let chunk = changed[0] / CHUNK;
            let Some(mut piece) = self.piece(packed, chunk)? else { continue };
            if numbers(&piece).is_none() {
                self.pack_chunk(packed, chunk)?;
                continue;
            }
            for &number in changed {
                let mut new = Piece::default();
                self.each_row(packed, number..number + 1, |row| Ok((packed.pack)(&mut new, row)?))?;
                let place = (number % CHUNK) as usize * 4;
                piece[place..place + 4].copy_from_slice(&new.head);
            }
            self.put_piece(packed, chunk, &piece)?;
        }
        Ok(())
    }

    /// The packed copy of a chunk, `None` if there is none yet; empty if it contradicts its checksum.
    fn piece(&self, packed: &Packed, chunk: u32) -> Result<Option<Vec<u8>>> {
        let sql = format!("SELECT crc, bytes FROM {} WHERE chunk = ?1", packed.table);
        let mut select = self.conn.prepare_cached(&sql)?;
        let found = select.query_row([chunk], |row| Ok((row.get::<_, u32>(0)?, row.get(1)?))).optional()?;
        Ok(found.map(
            |(crc, bytes): (_, Vec<u8>)| {
                if crc == checksum(packed.table, chunk, &bytes) { bytes } else { Vec::new() }
            },
        ))
    }

    fn put_piece(&self, packed: &Packed, chunk: u32, bytes: &[u8]) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} (chunk, crc, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET crc = excluded.crc, bytes = excluded.bytes",
            packed.table
        );
        let mut upsert = self.conn.prepare_cached(&sql)?;
        upsert.execute((chunk, checksum(packed.table, chunk, bytes), bytes))?;
        Ok(())
    }

    /// How many rows there are to be packed.
    pub(super) fn count(&self, packed: &Packed) -> Result<u32> {
        match self.last(packed.last)? {
            None => Ok(0),
            Some(last) => last.checked_add(1).ok_or_else(|| damaged("a number beyond all others")),
        }
    }

    pub(super) fn last(&self, sql: &str) -> Result<Option<u32>> {
        Ok(self.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// Calls `each` with every row of a range of numbers. An error if one is missing.
    pub(super) fn each_row(
        &self,
        packed: &Packed,
        numbers: Range<u32>,
        mut each: impl FnMut(&Row<'_>) -> Result<()>,
    ) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        let mut select = self.conn.prepare_cached(packed.rows)?;
        let mut rows = select.query((numbers.start, numbers.end - 1))?;
        for number in numbers {
            match rows.next()? {
                Some(row) if row.get::<_, u32>(0)? == number => each(row)?,
                _ => return Err(damaged(format!("{}: row {number} is missing", packed.table))),
            }
        }
        Ok(())
    }

    /// Reads all of which there are packed copies: `whole` takes a piece and says whether it is made as it should be,
    /// `single` takes a row of which there is no piece that can be used. Gives the numbers of full chunks without one.
    pub(super) fn unpack<T>(
        &self,
        packed: &Packed,
        pieces: Pieces,
        to: &mut T,
        whole: impl Fn(&mut T, &[u8]) -> bool,
        single: impl Fn(&mut T, &Row<'_>) -> Result<()>,
    ) -> Result<Vec<u32>> {
        let count = self.count(packed)?;
        let full = if pieces == Pieces::Use { count / CHUNK } else { 0 };
        let (mut next, mut without, mut tool) = (0, Vec::new(), None);
        let sql = format!("SELECT chunk, crc, bytes FROM {} WHERE chunk < ?1 ORDER BY chunk", packed.table);
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut found = select.query([full])?;
        while next < full {
            let Some(row) = found.next()? else { break };
            let chunk: u32 = row.get(0)?;
            let bytes = row.get_ref(2)?.as_bytes().map_err(rusqlite::Error::from)?;
            without.extend(next..chunk);
            self.each_row(packed, rows_of(next..chunk), |row| single(to, row))?;
            let sound = row.get::<_, u32>(1)? == checksum(packed.table, chunk, bytes);
            let piece = if sound { packed.open(bytes, &mut tool) } else { None };
            if !piece.is_some_and(|piece| whole(to, &piece)) {
                without.push(chunk);
                self.each_row(packed, rows_of(chunk..chunk + 1), |row| single(to, row))?;
            }
            next = chunk + 1;
        }
        without.extend(next..full);
        self.each_row(packed, next * CHUNK..count, |row| single(to, row))?;
        Ok(without)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;
    use crate::{Cdp, Durability, Event, Rules, Timestamp};

    /// One step of somebody who uses a database.
    #[derive(Debug, Clone)]
    enum Step {
        /// Events that each bear a user, a device, or both.
        Ingest(Vec<(Option<u8>, Option<u8>)>),
        /// Rules that block some devices and let a person have so many users.
        Rules(Option<u8>, Option<u32>),
        Reopen,
    }

    fn step() -> impl Strategy<Value = Step> {
        let event = (prop::option::of(0..9_u8), prop::option::of(0..14_u8));
        prop_oneof![
            6 => prop::collection::vec(event, 1..8).prop_map(Step::Ingest),
            2 => (prop::option::of(0..14_u8), prop::option::of(1..3_u32)).prop_map(|(a, b)| Step::Rules(a, b)),
            1 => Just(Step::Reopen),
        ]
    }

    fn event((number, (user, device)): (usize, (Option<u8>, Option<u8>))) -> Event {
        let at = Timestamp::from_millis(1_700_000_000_000 + i64::try_from(number % 5).unwrap());
        let event = Event::track("Search").message_id(format!("m{number}")).at(at);
        let event = user.into_iter().fold(event, |event, user| event.user_id(format!("u{user}")));
        device.into_iter().fold(event, |event, device| event.anonymous_id(format!("d{device}")))
    }

    fn open(path: &std::path::Path) -> Cdp {
        Cdp::builder().durability(Durability::Normal).open(path).unwrap()
    }

    fn count(conn: &Connection, table: &str) -> u32 {
        conn.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    proptest! {
        #[test]
        fn a_piece_is_read_as_it_was_written(piece in prop::collection::vec(any::<u8>(), 0..300), flip in any::<u8>()) {
            for packed in [IDENTIFIERS, HOLDERS] {
                let mut tool = None;
                let mut bytes = packed.close(piece.clone()).unwrap();
                prop_assert_eq!(packed.open(&bytes, &mut tool).unwrap().into_owned(), piece.clone());
                if packed.compressed {
                    bytes[0] ^= flip;
                    prop_assert_eq!(packed.open(&bytes, &mut tool).is_some(), flip == 0);
                    prop_assert_eq!(packed.open(&bytes[..3], &mut tool), None);
                    // A length that no memory is to be had for.
                    bytes[..4].fill(0xFF);
                    prop_assert_eq!(packed.open(&bytes, &mut tool), None);
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Checking compares what is read from pieces with what is read from rows, and both with memory.
        #[test]
        fn pieces_say_what_rows_say_whatever_happens(steps in prop::collection::vec(step(), 1..14)) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("customers.db");
            let mut cdp = open(&path);
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Ingest(events) => {
                        let from = number;
                        number += events.len();
                        cdp.ingest((from..).zip(events).map(event)).unwrap();
                    }
                    Step::Rules(blocked, users) => {
                        let rules = Rules::default().limit("user_id", users);
                        let block = |rules: Rules, device| rules.block("anonymous_id", format!("d{device}"));
                        cdp.set_rules(blocked.into_iter().fold(rules, block)).unwrap();
                    }
                    Step::Reopen => {
                        let before = cdp.profiles().unwrap();
                        drop(cdp);
                        cdp = open(&path);
                        prop_assert_eq!(cdp.profiles().unwrap(), before);
                    }
                }
                prop_assert_eq!(cdp.check().unwrap(), []);
            }
            let before = cdp.profiles().unwrap();
            drop(cdp);
            #[expect(clippy::disallowed_methods, reason = "a look at the tables themselves")]
            let conn = Connection::open(&path).unwrap();
            for (packed, rows) in [(&IDENTIFIERS, "identifiers"), (&HOLDERS, "identifiers"), (&MERGES, "merges")] {
                prop_assert_eq!(count(&conn, packed.table), count(&conn, rows) / CHUNK);
            }
            prop_assert_eq!(open(&path).profiles().unwrap(), before);
        }
    }

    #[test]
    fn a_damaged_piece_is_passed_over_and_told_and_made_anew_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("customers.db");
        let cdp = open(&path);
        cdp.ingest((0..20).map(|n| event((n, (Some(u8::try_from(n).unwrap()), None))))).unwrap();
        // Devices that are somebody's of their own, and then those users'.
        for user in [None, Some(0)] {
            let events = (0..10_u8).map(|n| {
                let user = user.map(|first: u8| first + n);
                event((20 + usize::from(user.is_some()) * 10 + usize::from(n), (user, Some(n))))
            });
            cdp.ingest(events).unwrap();
        }
        let people = cdp.profiles().unwrap();
        drop(cdp);
        let statements = [
            "UPDATE packed_identifiers SET bytes = CAST('no' AS BLOB) WHERE chunk = 1",
            "UPDATE packed_holders SET crc = crc + 1 WHERE chunk = 2",
            "UPDATE packed_holders SET bytes = (SELECT bytes FROM packed_holders WHERE chunk = 0) WHERE chunk = 3",
            "DELETE FROM packed_merges WHERE chunk = 2",
        ];
        {
            #[expect(clippy::disallowed_methods, reason = "damage is not done through the front door")]
            let conn = Connection::open(&path).unwrap();
            for statement in statements {
                assert_eq!(conn.execute(statement, []).unwrap(), 1);
            }
        }
        let cdp = open(&path);
        assert_eq!(cdp.profiles().unwrap(), people);
        let problems: Vec<String> = cdp
            .check()
            .unwrap()
            .into_iter()
            .map(|problem| format!("{}: {}", problem.table, problem.what))
            .collect();
        let what = "packed copies that are missing or contradict their checksum";
        assert_eq!(
            problems,
            [
                format!("packed_identifiers: {what}: 1, the first is 1"),
                format!("packed_holders: {what}: 2, the first is 2"),
                format!("packed_merges: {what}: 1, the first is 2"),
            ]
        );
        // New rules take the identifiers of two chunks from everybody.
        let blocked =
            (6..12).fold(Rules::default(), |rules, user| rules.block("user_id", format!("u{user}")));
        cdp.set_rules(blocked).unwrap();
        let tables: Vec<String> = cdp.check().unwrap().into_iter().map(|problem| problem.table).collect();
        assert_eq!(tables, ["packed_identifiers", "packed_merges"]);
    }

    #[test]
    fn a_row_that_contradicts_its_piece_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("customers.db");
        let cdp = open(&path);
        cdp.ingest((0..7).map(|n| event((n, (Some(u8::try_from(n).unwrap()), None))))).unwrap();
        drop(cdp);
        {
            #[expect(clippy::disallowed_methods, reason = "damage is not done through the front door")]
            let conn = Connection::open(&path).unwrap();
            assert_eq!(
                conn.execute("UPDATE identifiers SET value = 'x9' WHERE value = 'u2'", []).unwrap(),
                1
            );
        }
        let tables: Vec<String> =
            open(&path).check().unwrap().into_iter().map(|problem| problem.table).collect();
        assert_eq!(tables, ["packed_identifiers", "identifiers"]);
    }
}
