//! A few events of the log as one piece of bytes: everything that is known of each, to the letter.
//!
//! Bytes: one that says how the rest is written, 0 as it is, 1 compressed by Zstandard (RFC 8878), 2 the same with the
//! dictionary of the file, the latter two after its length (4 bytes, little-endian). The rest: how many events, then of each event its distance from the first number that the group
//! has, its node plus one (0 if it is nobody's), its time in microseconds after the event before (the first: after
//! 1970-01-01T00:00:00Z), its name, its source, and the lengths of its message id and of its JSON; then all message ids;
//! then all JSON. Numbers are varints of seven bits a byte, the lowest first (LEB128), times with their sign in the lowest
//! bit (zigzag).

#![expect(clippy::cast_possible_truncation, reason = "varints and pieces of them are cut on purpose")]

use std::ops::Range;

use super::block::{Entry, NOBODY};
use super::press::Press;
use crate::store::varint::{take, unzigzag, varint, zigzag};

/// As many events are a group, if they come together: with a dictionary, and without.
const EVENTS: [u32; 2] = [4, 32];

/// As many bytes of text are a group, however few events they are.
pub(super) const BYTES: usize = 32 << 10;

/// The most that a group may claim to unpack to. An event has 1 MiB by default, and whatever the application allows.
const MOST: usize = 1 << 30;

const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;
const TRAINED: u8 = 2;

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

    pub(super) fn is_full(&self, press: &Press) -> bool {
        let [with, without] = EVENTS;
        let events = if press.dictionary().is_some() { with } else { without };
        self.len() >= events || self.ids.len() + self.jsons.len() >= BYTES
    }

    pub(super) fn push(&mut self, entry: Entry, id: &str, json: &str) {
        if self.entries.is_empty() {
            // Its texts are likely to be about as long as the first.
            let few = EVENTS[0] as usize;
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
        let (mut id, mut json) = (0, 0);
        for (entry, ids, jsons) in &self.entries {
            if entry.event == event {
                return Some(Text {
                    entry: *entry,
                    id: &self.ids[id..id + ids],
                    json: &self.jsons[json..json + jsons],
                });
            }
            id += ids;
            json += jsons;
        }
        None
    }

    /// Writes the group whose first number is `first`.
    pub(super) fn write(&self, first: u32, press: &mut Press) -> Vec<u8> {
        wrap(self.plain_from(first), press)
    }

    /// The group as it is before it is compressed, from its first event on.
    pub(super) fn plain(&self) -> Vec<u8> {
        self.plain_from(self.first().unwrap_or(0))
    }

    fn plain_from(&self, first: u32) -> Vec<u8> {
        let mut plain = Vec::with_capacity(24 * self.entries.len() + self.ids.len() + self.jsons.len() + 8);
        plain.push(PLAIN);
        varint(self.entries.len() as u64, &mut plain);
        let mut before = 0;
        for (entry, id, json) in &self.entries {
            varint((entry.event - first).into(), &mut plain);
            varint(if entry.node == NOBODY { 0 } else { u64::from(entry.node) + 1 }, &mut plain);
            varint(zigzag(entry.at.wrapping_sub(before)), &mut plain);
            varint(entry.name.into(), &mut plain);
            varint(entry.source.into(), &mut plain);
            varint(*id as u64, &mut plain);
            varint(*json as u64, &mut plain);
            before = entry.at;
        }
        plain.extend(self.ids.as_bytes());
        plain.extend(self.jsons.as_bytes());
        plain
    }
}

/// Compresses what [`Draft::plain`] gives, if that is worth it, in the same piece of memory: it goes back to the thread
/// that asked for it, and one that freed it instead would make that one wait for the allocator.
pub(super) fn wrap(mut bytes: Vec<u8>, press: &mut Press) -> Vec<u8> {
    let content = bytes.get(1..).unwrap_or_default();
    if let (Some((packed, trained)), Ok(len)) = (press.pack(content), u32::try_from(content.len())) {
        bytes.clear();
        bytes.push(if trained { TRAINED } else { COMPRESSED });
        bytes.extend(len.to_le_bytes());
        bytes.extend(packed);
    }
    bytes
}

/// An event of a group, with its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Text<'g> {
    pub(super) entry: Entry,
    pub(super) id: &'g str,
    pub(super) json: &'g str,
}

/// A group, read.
#[derive(Debug)]
pub(super) struct Group {
    text: String,
    entries: Vec<(Entry, Range<usize>, Range<usize>)>,
}

impl Group {
    /// Reads the group whose first number is `first`. `None` if it is not made so.
    pub(super) fn read(first: u32, bytes: &[u8], press: &mut Press) -> Option<Self> {
        let (way, rest) = bytes.split_first()?;
        let unpacked;
        let plain = match *way {
            PLAIN => rest,
            COMPRESSED | TRAINED => {
                let (len, packed) = rest.split_first_chunk()?;
                let len = u32::from_le_bytes(*len) as usize;
                if len > MOST {
                    return None;
                }
                unpacked = press.unpack(packed, len, *way == TRAINED)?;
                &unpacked
            }
            _ => return None,
        };
        let mut rest = plain;
        let count = usize::try_from(take(&mut rest)?).ok()?;
        // An event takes at least a byte for each of its numbers.
        if count > rest.len() / 7 {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        let (mut at, mut id_end, mut json_end) = (0_i64, 0_usize, 0_usize);
        for _ in 0..count {
            let event = first.checked_add(u32::try_from(take(&mut rest)?).ok()?)?;
            let node = match take(&mut rest)? {
                0 => NOBODY,
                node => u32::try_from(node - 1).ok()?,
            };
            at = at.wrapping_add(unzigzag(take(&mut rest)?));
            let (name, source) =
                (u32::try_from(take(&mut rest)?).ok()?, u32::try_from(take(&mut rest)?).ok()?);
            let (id, json) =
                (usize::try_from(take(&mut rest)?).ok()?, usize::try_from(take(&mut rest)?).ok()?);
            let id = id_end..id_end.checked_add(id)?;
            let json = json_end..json_end.checked_add(json)?;
            (id_end, json_end) = (id.end, json.end);
            entries.push((Entry { node, at, event, name, source }, id, json));
        }
        let text = String::from_utf8(rest.to_vec()).ok()?;
        if id_end.checked_add(json_end)? != text.len() {
            return None;
        }
        for (_, id, json) in &mut entries {
            *json = json.start + id_end..json.end + id_end;
            if !text.is_char_boundary(id.end) || !text.is_char_boundary(json.end) {
                return None;
            }
        }
        let rising = entries.is_sorted_by(|(a, ..), (b, ..)| a.event < b.event);
        (rising && (entries.is_empty() || text.is_char_boundary(id_end))).then_some(Self { text, entries })
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
        Text { entry: *entry, id: &self.text[id.clone()], json: &self.text[json.clone()] }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Whole = (Entry, String, String);

    fn events() -> impl Strategy<Value = Vec<Whole>> {
        let entry = (1..9_u32, any::<u32>(), any::<i64>(), any::<u32>(), 0..3_u32, ".{0,20}", ".{0,300}");
        prop::collection::vec(entry, 0..40).prop_map(|events| {
            let mut number = 100;
            let whole = |(step, node, at, name, source, id, json)| {
                number += step;
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
        for bytes in
            [&[PLAIN, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F][..], &[COMPRESSED, 0xFF, 0xFF, 0xFF, 0xFF, 0], &[7], &[]]
        {
            assert!(Group::read(0, bytes, &mut press).is_none(), "{bytes:?}");
        }
    }
}
