//! Compressing groups, beside whatever else is done, and unpacking them.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use super::group::{BYTES, Draft, Text};

/// What is shorter is not worth compressing without a dictionary.
const SHORT: usize = 2 << 10;

/// The most events that are a group where there is a dictionary. Whoever reads one of them unpacks all.
pub(super) const EVENTS: u32 = 8;

/// What a page of the file has for rows, and what a row takes beside its bytes (<https://www.sqlite.org/fileformat2.html>:
/// a page's header of 8 bytes; a row's pointer, length, number, and the types and values of its other columns).
const PAGE: usize = 4_096 - 8;
const ROW: usize = 18;

/// What took more memory than that, in bytes, is not kept to be used again.
const ROOM: usize = 2 * BYTES;

/// Compresses and unpacks.
pub(super) struct Press {
    /// What the file has to begin with, if it has by now.
    dictionary: Option<Arc<[u8]>>,
    plain: Tools,
    trained: Tools,
    /// The bytes of an event in the last groups, 64 times, and how many events fill a page best.
    each: usize,
    events: u32,
    /// What was compressed last.
    packed: Vec<u8>,
    /// Where the texts of a group are put together.
    texts: Texts,
}

/// The texts of a group as they are put together: all of them; those that are JSON, and where each of these ends.
#[derive(Default)]
pub(super) struct Texts {
    pub(super) whole: Vec<u8>,
    pub(super) jsons: String,
    pub(super) ends: Vec<usize>,
}

/// Made when they are first needed.
#[derive(Default)]
struct Tools {
    compressor: Option<Compressor<'static>>,
    decompressor: Option<Decompressor<'static>>,
}

impl Tools {
    fn pack(&mut self, dictionary: &[u8], plain: &[u8], packed: &mut Vec<u8>) -> Option<()> {
        if self.compressor.is_none() {
            self.compressor = compressor(dictionary).ok();
        }
        packed.clear();
        packed.reserve(compress_bound(plain.len()));
        self.compressor.as_mut()?.compress_to_buffer(plain, packed).ok().map(drop)
    }

    fn unpack(&mut self, dictionary: &[u8], packed: &[u8], len: usize) -> Option<Vec<u8>> {
        if self.decompressor.is_none() {
            self.decompressor = Decompressor::with_dictionary(dictionary).ok();
        }
        let plain = self.decompressor.as_mut()?.decompress(packed, len).ok()?;
        (plain.len() == len).then_some(plain)
    }
}

/// Without what the rows of the log and the file tell anyway: how long the text is, and which dictionary it needs.
fn compressor(dictionary: &[u8]) -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::with_dictionary(Press::LEVEL, dictionary)?;
    compressor.include_contentsize(false)?;
    compressor.include_dictid(false)?;
    Ok(compressor)
}

impl Press {
    /// Level 1 leaves 4 % more bytes, and no file is taken in faster with it: another thread compresses than the one that is
    /// waited for.
    const LEVEL: i32 = 3;

    pub(super) fn new(dictionary: Option<Arc<[u8]>>) -> Self {
        let (plain, trained) = (Tools::default(), Tools::default());
        Self {
            dictionary,
            plain,
            trained,
            each: 0,
            events: EVENTS,
            packed: Vec::new(),
            texts: Texts::default(),
        }
    }

    /// How many events are to be a group, if there is a dictionary.
    pub(super) fn events(&self) -> Option<u32> {
        self.dictionary.is_some().then_some(self.events)
    }

    /// Notes how large a group of so many events has become.
    pub(super) fn note(&mut self, events: u32, bytes: usize) {
        if self.dictionary.is_none() || events == 0 {
            return;
        }
        let each = bytes / events as usize;
        self.each = if self.each == 0 { each << 6 } else { self.each - (self.each >> 6) + each };
        self.events = best(self.each >> 6);
    }

    pub(super) fn dictionary(&self) -> Option<&Arc<[u8]>> {
        self.dictionary.as_ref()
    }

    /// Lends what is needed to put texts together, empty.
    pub(super) fn lend(&mut self) -> Texts {
        let mut texts = mem::take(&mut self.texts);
        texts.whole.clear();
        texts.jsons.clear();
        texts.ends.clear();
        texts
    }

    /// Takes it back.
    pub(super) fn take_back(&mut self, texts: Texts) {
        if texts.whole.capacity() <= ROOM {
            self.texts = texts;
        }
    }

    /// The bytes compressed, if that makes them fewer, and whether with the dictionary.
    pub(super) fn pack(&mut self, plain: &[u8]) -> Option<(&[u8], bool)> {
        match &self.dictionary {
            Some(dictionary) => self.trained.pack(dictionary, plain, &mut self.packed)?,
            None if plain.len() < SHORT => return None,
            None => self.plain.pack(&[], plain, &mut self.packed)?,
        }
        (self.packed.len() < plain.len()).then_some((&self.packed, self.dictionary.is_some()))
    }

    pub(super) fn unpack(&mut self, packed: &[u8], len: usize, trained: bool) -> Option<Vec<u8>> {
        match &self.dictionary {
            Some(dictionary) if trained => self.trained.unpack(dictionary, packed, len),
            _ if trained => None,
            _ => self.plain.unpack(&[], packed, len),
        }
    }
}

/// Whether some bytes may be so many, compressed by Zstandard: no block of it unpacks to more than 2^17 bytes, nor is one less
/// than 4. Who believes a damaged length asks for memory that there is not.
pub(in crate::store) fn may_unpack_to(len: usize, packed: &[u8]) -> bool {
    len >> 15 <= packed.len()
}

/// How many events of so many bytes a row is to have, for a page to have the most of them.
fn best(each: usize) -> u32 {
    let on_a_page = |events: u32| events as usize * (PAGE / (events as usize * each + ROW));
    (1..=EVENTS).max_by_key(|events| on_a_page(*events)).filter(|events| on_a_page(*events) > 0).unwrap_or(1)
}

impl Default for Press {
    fn default() -> Self {
        Self::new(None)
    }
}

impl fmt::Debug for Press {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Press").finish_non_exhaustive()
    }
}

/// A group, and the memory that its bytes are to be written to.
type Pressing = (Arc<Draft>, Vec<u8>);

/// Groups that are being compressed by a thread of their own, which there is once there are many.
#[derive(Debug, Default)]
pub(super) struct Presses {
    waiting: VecDeque<Arc<Draft>>,
    /// How many of them were given to the thread, the first ones.
    given: usize,
    /// The first ones of those, compressed.
    pressed: VecDeque<Vec<u8>>,
    thread: Option<Running>,
    /// What groups that are written stood in, to be used again: to ask for it anew takes about as long as to fill it.
    drafts: Vec<Draft>,
    bytes: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Running {
    /// `None` when no more is to come.
    give: Option<Sender<Vec<Pressing>>>,
    /// As many at once as were given.
    take: Receiver<Vec<Pressing>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(dictionary: Option<Arc<[u8]>>) -> Option<Self> {
        let (give, given) = channel::<Vec<Pressing>>();
        let (done, take) = channel();
        let work = move || {
            let mut press = Press::new(dictionary);
            while let Ok(mut groups) = given.recv() {
                for (draft, bytes) in &mut groups {
                    let first = draft.first().unwrap_or_default();
                    *bytes = draft.write_to(first, mem::take(bytes), &mut press);
                }
                if done.send(groups).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("customerdb log".into()).spawn(work).ok()?;
        Some(Self { give: Some(give), take, thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.give = None;
        if let Some(thread) = self.thread.take() {
            // It ends when nothing more is given; if it has panicked, nothing was lost but its work.
            let _ = thread.join();
        }
    }
}

impl Presses {
    /// As many groups may wait: beyond, whoever adds another waits for the first.
    const MOST: usize = 1 << 10;

    /// Of as many the memory is kept.
    const SPARE: usize = 1 << 6;

    /// As many groups are given to the thread at once: to wake it for fewer takes longer than to compress them.
    const GIVEN: usize = if cfg!(debug_assertions) { 2 } else { 16 };

    /// Adds a group, and begins to compress where there are enough. The draft is empty then.
    pub(super) fn push(&mut self, draft: &mut Draft, press: &Press) {
        let draft = mem::replace(draft, self.drafts.pop().unwrap_or_default());
        self.waiting.push_back(Arc::new(draft));
        if self.waiting.len() < self.given + Self::GIVEN {
            return;
        }
        if self.thread.is_none() {
            self.thread = Running::start(press.dictionary().cloned());
        }
        if let Some(give) = self.thread.as_ref().and_then(|running| running.give.as_ref()) {
            // If the thread is gone, whoever takes the groups does its work.
            let spare = &mut self.bytes;
            let mut bytes = |draft: &Draft| spare.pop().unwrap_or_else(|| Vec::with_capacity(draft.guess()));
            let pressing = |draft: &Arc<Draft>| (Arc::clone(draft), bytes(draft));
            let _ = give.send(self.waiting.range(self.given..).map(pressing).collect());
            self.given = self.waiting.len();
        }
        let done = self.thread.as_ref().map(|running| running.take.try_iter().flatten());
        self.pressed.extend(done.into_iter().flatten().map(|(_, bytes)| bytes));
    }

    /// Whether the first of the groups can be had without waiting for it, or must.
    pub(super) fn is_ready(&self) -> bool {
        !self.pressed.is_empty() || self.waiting.len() > Self::MOST
    }

    /// Lets the thread go, for the next one to begin with another dictionary. No group may wait.
    pub(super) fn rest(&mut self) {
        self.thread = None;
    }

    /// The first of the groups, compressed: its first number, its span, and its bytes.
    pub(super) fn pop(&mut self, press: &mut Press) -> Option<(u32, u32, Vec<u8>)> {
        let draft = self.waiting.pop_front()?;
        let first = draft.first()?;
        if self.given > 0 && self.pressed.is_empty() {
            let taken = self.thread.as_ref().and_then(|running| running.take.recv().ok());
            if let Some(groups) = taken {
                self.pressed.extend(groups.into_iter().map(|(_, bytes)| bytes));
            } else {
                (self.thread, self.given) = (None, 0);
            }
        }
        let pressed = self.pressed.pop_front();
        self.given -= usize::from(pressed.is_some());
        let bytes = pressed.unwrap_or_else(|| draft.write(first, press));
        let len = draft.len();
        press.note(len, bytes.len());
        // Nobody else has it by now, unless its thread is gone.
        if let Ok(mut draft) = Arc::try_unwrap(draft)
            && self.drafts.len() < Self::SPARE
            && draft.room() <= ROOM
        {
            draft.clear();
            self.drafts.push(draft);
        }
        Some((first, len, bytes))
    }

    /// Takes the bytes of a group back that is written.
    pub(super) fn reuse(&mut self, mut bytes: Vec<u8>) {
        if self.bytes.len() < Self::SPARE && bytes.capacity() <= ROOM {
            bytes.clear();
            self.bytes.push(bytes);
        }
    }

    /// An event that waits here, with its texts.
    pub(super) fn get(&self, event: u32) -> Option<Text<'_>> {
        let place = self.waiting.partition_point(|draft| draft.first().is_some_and(|first| first <= event));
        self.waiting.get(place.checked_sub(1)?)?.get(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Among all that could be tried, none has more on a page, and what is too large for one is alone in its row.
    #[test]
    fn a_page_is_filled_best() {
        for (each, events) in [(122, 8), (127, 6), (500, 8), (600, 6), (2_000, 2), (4_000, 1), (9_000, 1)] {
            assert_eq!(best(each), events, "{each}");
        }
    }

    #[test]
    fn groups_follow_the_size_of_what_comes() {
        let mut press = Press::new(Some(Vec::new().into()));
        assert_eq!((Press::default().events(), press.events()), (None, Some(EVENTS)));
        press.note(8, 8 * 122);
        assert_eq!(press.events(), Some(8));
        (0..500).for_each(|_| press.note(8, 8 * 2_000));
        assert_eq!(press.events(), Some(2));
    }
}
