//! A few events of the log as one piece of bytes: everything that is known of each, to the letter.
//!
//! Bytes: one that says how the text is written, 0 as it is, 1 compressed by Zstandard (RFC 8878), 2 the same with the
//! dictionary of the file. Then what would not compress: how many events; by how many microseconds their times are divided;
//! of each its node plus one (0 if it is nobody's), and its time, divided, less that of the event before (the first: less
//! that of 1970-01-01T00:00:00Z); how many of the message ids are UUIDs, and those, of 16 bytes each. Then, if it is
//! compressed, the length of the text, and the text: of each event its distance from the first number that the group has,
//! its name, its source, the length of its message id plus one, or 0 for the next of the UUIDs, and what was left out of its
//! JSON (see [`cut`](super::cut)); then all message ids that are no UUIDs; then all JSON, a byte 255 after each, which no
//! UTF-8 has. Numbers are varints of seven bits a byte, the lowest first (LEB128), times with their sign in the lowest bit
//! (zigzag).

#![expect(clippy::cast_possible_truncation, reason = "varints and pieces of them are cut on purpose")]

use std::ops::Range;

use memchr::memchr;
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::block::{Entry, NOBODY};
use super::cut::{Cuts, cut, restore};
use super::press::{self, Press, Texts, may_unpack_to};
use crate::clock::Timestamp;
use crate::store::varint::{take, unzigzag, varint, zigzag};

/// As many events are a group, if they come together and there is no dictionary.
const EVENTS: u32 = 32;

/// As many bytes of text are a group, however few events they are.
pub(super) const BYTES: usize = 32 << 10;

/// The most that a group may claim to unpack to. An event has 1 MiB by default, and whatever the application allows.
const MOST: usize = 1 << 30;

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;
const TRAINED: u8 = 2;

/// Ends the JSON of an event.
pub(super) const END: u8 = 0xFF;

/// By what times are divided, if that divides them all.
const UNITS: [i64; 3] = [1_000_000, 1_000, 1];

/// Events that become a group.
#[derive(Debug, Default)]
pub(super) struct Draft {
    entries: Vec<(Entry, usize, usize)>,
    ids: String,
    jsons: String,
}

impl Draft {
    pub(super) fn len(&self) -> u32 {
        self.entries.len() as u32
    }

    /// Whether it is to be a group.
    pub(super) fn is_full(&self, press: &Press) -> bool {
        self.len() >= press.events().unwrap_or(EVENTS) || self.ids.len() + self.jsons.len() >= BYTES
    }

    pub(super) fn push(&mut self, entry: Entry, id: &str, json: &str) {
        if self.entries.is_empty() {
            // Its texts are likely to be about as long as the first.
            let few = press::EVENTS as usize;
            self.entries.reserve(few);
            self.ids.reserve(few * id.len());
            self.jsons.reserve((few + 1) * json.len());
        }
        self.entries.push((entry, id.len(), json.len()));
        self.ids.push_str(id);
        self.jsons.push_str(json);
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.ids.clear();
        self.jsons.clear();
    }

    /// How many bytes it has room for.
    pub(super) fn room(&self) -> usize {
        self.ids.capacity() + self.jsons.capacity()
    }

    /// The number of its first event.
    pub(super) fn first(&self) -> Option<u32> {
        self.entries.first().map(|(entry, ..)| entry.event)
    }

    /// An event that waits here, to be changed.
    pub(super) fn entry_mut(&mut self, event: u32) -> Option<&mut Entry> {
        self.entries.iter_mut().map(|(entry, ..)| entry).find(|entry| entry.event == event)
    }

    /// An event that waits here, with its texts.
    pub(super) fn get(&self, event: u32) -> Option<Text<'_>> {
        self.texts().find(|text| text.entry.event == event)
    }

    /// Its events, with where their texts begin and end.
    fn texts(&self) -> impl Iterator<Item = Text<'_>> {
        let (mut id_end, mut json_end) = (0, 0);
        self.entries.iter().map(move |(entry, id, json)| {
            let (id, json) = (id_end..id_end + id, json_end..json_end + json);
            (id_end, json_end) = (id.end, json.end);
            Text { entry: *entry, id: &self.ids[id], json: &self.jsons[json] }
        })
    }

    /// About as many bytes as the group takes, written.
    pub(super) fn guess(&self) -> usize {
        32 * self.entries.len() + self.jsons.len() / 2
    }

    /// Writes the group whose first number is `first`.
    pub(super) fn write(&self, first: u32, press: &mut Press) -> Vec<u8> {
        self.write_to(first, Vec::with_capacity(self.guess()), press)
    }

    /// The same from its first event on, into an empty piece of memory: it goes back to the thread that asked for it, and one
    /// that freed it instead would make that one wait for the allocator.
    pub(super) fn write_to(&self, first: u32, mut bytes: Vec<u8>, press: &mut Press) -> Vec<u8> {
        let whole = |unit: &i64| self.entries.iter().all(|(entry, ..)| entry.at % unit == 0);
        let unit = UNITS.into_iter().find(whole).unwrap_or(1);
        let uuids: Vec<Option<Uuid>> = self.texts().map(|text| as_uuid(text.id)).collect();
        bytes.push(PLAIN);
        varint(self.entries.len() as u64, &mut bytes);
        varint(unit.cast_unsigned(), &mut bytes);
        let mut before = 0;
        for (entry, ..) in &self.entries {
            let at = entry.at / unit;
            varint(if entry.node == NOBODY { 0 } else { u64::from(entry.node) + 1 }, &mut bytes);
            varint(zigzag(at.wrapping_sub(before)), &mut bytes);
            before = at;
        }
        varint(uuids.iter().flatten().count() as u64, &mut bytes);
        uuids.iter().flatten().for_each(|uuid| bytes.extend(uuid.as_bytes()));

        let mut texts = press.lend();
        let Texts { whole: text, jsons, ends } = &mut texts;
        for (Text { entry, id, json }, uuid) in self.texts().zip(&uuids) {
            varint((entry.event - first).into(), text);
            varint(entry.name.into(), text);
            varint(entry.source.into(), text);
            varint(if uuid.is_some() { 0 } else { id.len() as u64 + 1 }, text);
            varint(cut(json, id, Timestamp::from_micros(entry.at), jsons).number(), text);
            ends.push(jsons.len());
        }
        for (Text { id, .. }, _) in self.texts().zip(&uuids).filter(|(_, uuid)| uuid.is_none()) {
            text.extend(id.as_bytes());
        }
        let mut begin = 0;
        for &end in &*ends {
            text.extend(&jsons.as_bytes()[begin..end]);
            text.push(END);
            begin = end;
        }
        match press.pack(text) {
            Some((packed, trained)) => {
                bytes[0] = if trained { TRAINED } else { COMPRESSED };
                varint(text.len() as u64, &mut bytes);
                bytes.extend(packed);
            }
            None => bytes.extend(&*text),
        }
        press.take_back(texts);
        bytes
    }
}

/// The UUID that a message id is, if it is written as one always is.
fn as_uuid(id: &str) -> Option<Uuid> {
    let uuid = Uuid::try_parse_ascii(id.as_bytes()).ok().filter(|_| id.len() == Hyphenated::LENGTH)?;
    (*uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == *id).then_some(uuid)
}

/// An event of a group, with its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<'g> {
    pub(super) entry: Entry,
    pub(super) id: &'g str,
    pub(super) json: &'g str,
}

impl Text<'_> {
    /// Its JSON as it is written.
    pub(super) fn cut(&self) -> String {
        let mut out = String::with_capacity(self.json.len());
        cut(self.json, self.id, Timestamp::from_micros(self.entry.at), &mut out);
        out
    }
}

/// A group, read.
#[derive(Debug)]
pub(super) struct Group {
    ids: String,
    jsons: String,
    entries: Vec<(Entry, Range<usize>, Range<usize>)>,
}

impl Group {
    /// Reads the group whose first number is `first`. `None` if it is not made so.
    pub(super) fn read(first: u32, bytes: &[u8], press: &mut Press) -> Option<Self> {
        let (way, mut rest) = bytes.split_first()?;
        let count = usize::try_from(take(&mut rest)?).ok()?;
        // An event takes at least a byte for each of its numbers.
        if count > rest.len() / 2 {
            return None;
        }
        let unit = i64::try_from(take(&mut rest)?).ok()?;
        let mut entries = Vec::with_capacity(count);
        let mut at = 0_i64;
        for _ in 0..count {
            let node = match take(&mut rest)? {
                0 => NOBODY,
                node => u32::try_from(node - 1).ok()?,
            };
            at = at.wrapping_add(unzigzag(take(&mut rest)?));
            let entry = Entry { node, at: at.checked_mul(unit)?, event: 0, name: 0, source: 0 };
            entries.push((entry, 0..0, 0..0));
        }
        let uuids = usize::try_from(take(&mut rest)?).ok()?;
        let (uuids, rest) = rest.split_at_checked(uuids.checked_mul(16)?)?;
        let (uuids, []) = uuids.as_chunks::<16>() else { return None };
        let unpacked;
        let text = match *way {
            PLAIN => rest,
            COMPRESSED | TRAINED => {
                let mut packed = rest;
                let len = usize::try_from(take(&mut packed)?).ok()?;
                if len > MOST || !may_unpack_to(len, packed) {
                    return None;
                }
                unpacked = press.unpack(packed, len, *way == TRAINED)?;
                &unpacked
            }
            _ => return None,
        };
        let jsons = String::with_capacity(text.len() + 64 * count);
        Self { ids: String::with_capacity(36 * count), jsons, entries }.with(first, uuids, text)
    }

    /// With what its text says of its events.
    fn with(mut self, first: u32, uuids: &[[u8; 16]], mut rest: &[u8]) -> Option<Self> {
        let mut uuids = uuids.iter();
        let mut told = Vec::with_capacity(self.entries.len());
        for (entry, ..) in &mut self.entries {
            entry.event = first.checked_add(u32::try_from(take(&mut rest)?).ok()?)?;
            entry.name = u32::try_from(take(&mut rest)?).ok()?;
            entry.source = u32::try_from(take(&mut rest)?).ok()?;
            told.push((usize::try_from(take(&mut rest)?).ok()?, Cuts::new(take(&mut rest)?)?));
        }
        for ((_, id, _), (len, _)) in self.entries.iter_mut().zip(&told) {
            let start = self.ids.len();
            match len.checked_sub(1) {
                None => {
                    let uuid = Uuid::from_bytes(*uuids.next()?);
                    self.ids.push_str(uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
                }
                Some(len) => {
                    let text;
                    (text, rest) = rest.split_at_checked(len)?;
                    self.ids.push_str(str::from_utf8(text).ok()?);
                }
            }
            *id = start..self.ids.len();
        }
        for ((entry, id, json), (_, cuts)) in self.entries.iter_mut().zip(told) {
            let (start, end) = (self.jsons.len(), memchr(END, rest)?);
            self.jsons.push_str(str::from_utf8(&rest[..end]).ok()?);
            rest = &rest[end + 1..];
            let at = Timestamp::from_micros(entry.at);
            restore(&mut self.jsons, start, cuts, &self.ids[id.clone()], at)?;
            *json = start..self.jsons.len();
        }
        let rising = self.entries.is_sorted_by(|(a, ..), (b, ..)| a.event < b.event);
        (rising && rest.is_empty() && uuids.next().is_none()).then_some(self)
    }

    /// Its events, by number.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = Text<'_>> {
        self.entries.iter().map(|entry| self.text(entry))
    }

    /// An event of it.
    pub(super) fn get(&self, event: u32) -> Option<Text<'_>> {
        let place = self.entries.binary_search_by_key(&event, |(entry, ..)| entry.event).ok()?;
        Some(self.text(&self.entries[place]))
    }

    fn text(&self, (entry, id, json): &(Entry, Range<usize>, Range<usize>)) -> Text<'_> {
        Text { entry: *entry, id: &self.ids[id.clone()], json: &self.jsons[json.clone()] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Whole = (Entry, String, String);

    fn events() -> impl Strategy<Value = Vec<Whole>> {
        let at = prop_oneof![any::<i64>(), (0..4_000_000_000_000_i64).prop_map(|at| at * 1_000)];
        let id = prop_oneof![
            ".{0,20}".boxed(),
            any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string()).boxed(),
            any::<u128>().prop_map(|id| Uuid::from_u128(id).to_string().to_uppercase()).boxed(),
        ];
        let json = (any::<bool>(), ".{0,300}");
        let entry = (1..9_u32, any::<u32>(), at, any::<u32>(), 0..3_u32, id, json);
        prop::collection::vec(entry, 0..40).prop_map(|events| {
            let mut number = 100;
            let whole = |(step, node, at, name, source, id, (is_told, more))| {
                number += step;
                let time = Timestamp::from_micros(at);
                let told = format!(r#"{{"messageId":"{id}","timestamp":"{time}"}}"#);
                let json = format!("{}{more}", if is_told { &told } else { "" });
                (Entry { node, at, event: number, name, source }, id, json)
            };
            events.into_iter().map(whole).collect()
        })
    }

    fn draft(events: &[Whole]) -> Draft {
        let mut draft = Draft::default();
        for (entry, id, json) in events {
            draft.push(*entry, id, json);
        }
        draft
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(events in events()) {
            let (draft, mut press) = (draft(&events), Press::default());
            let group = Group::read(100, &draft.write(100, &mut press), &mut press).unwrap();
            let read: Vec<Whole> =
                group.iter().map(|text| (text.entry, text.id.to_owned(), text.json.to_owned())).collect();
            for (entry, ..) in &events {
                prop_assert_eq!(group.get(entry.event), draft.get(entry.event));
            }
            prop_assert_eq!(read, events);
            prop_assert_eq!(group.get(100), None);
        }

        #[test]
        fn bytes_that_are_no_group_are_told_or_read_as_some_events(
            events in events(),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            cut in any::<prop::sample::Index>(),
        ) {
            let mut press = Press::default();
            let whole = draft(&events).write(100, &mut press);
            let mut flipped = whole.clone();
            flipped[at.index(whole.len())] ^= flip;
            if let Some(group) = Group::read(100, &flipped, &mut press) {
                group.iter().for_each(|text| assert!(text.id.len() + text.json.len() <= MOST));
            }
            prop_assert!(Group::read(100, &whole[..cut.index(whole.len())], &mut press).is_none());
        }
    }

    #[test]
    fn lengths_that_are_not_there_cost_no_memory() {
        let mut press = Press::default();
        // Of events, of UUIDs, of text; a way that there is not; nothing.
        for bytes in [
            &[PLAIN, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F][..],
            &[PLAIN, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F],
            &[COMPRESSED, 0, 1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 3, 0x28, 0xB5, 0x2F, 0xFD],
            &[7, 0, 1, 0],
            &[],
        ] {
            assert!(Group::read(0, bytes, &mut press).is_none(), "{bytes:?}");
        }
    }
}
