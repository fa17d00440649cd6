//! Compressing groups, beside whatever else is done, and unpacking them.

use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::compress_bound;

use super::group::{Draft, Text, wrap};

/// What is shorter is not worth compressing without a dictionary.
const SHORT: usize = 2 << 10;

/// Compresses and unpacks.
#[derive(Default)]
pub(super) struct Press {
    /// What the file has to begin with, if it has by now.
    dictionary: Option<Arc<[u8]>>,
    plain: Tools,
    trained: Tools,
    /// What was compressed last.
    packed: Vec<u8>,
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
            self.compressor = Compressor::with_dictionary(Press::LEVEL, dictionary).ok();
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

impl Press {
    /// Of Zstandard's levels the one that costs ingest least; the next ones save 2 % of the bytes.
    const LEVEL: i32 = 1;

    pub(super) fn new(dictionary: Option<Arc<[u8]>>) -> Self {
        Self { dictionary, ..Self::default() }
    }

    pub(super) fn dictionary(&self) -> Option<&Arc<[u8]>> {
        self.dictionary.as_ref()
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

impl fmt::Debug for Press {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Press").finish_non_exhaustive()
    }
}

/// Groups that are being compressed by a thread of their own, which there is once there are many.
#[derive(Debug, Default)]
pub(super) struct Presses {
    waiting: VecDeque<Draft>,
    /// How many of them were given to the thread, the first ones.
    given: usize,
    /// The first ones of those, compressed.
    pressed: VecDeque<Vec<u8>>,
    thread: Option<Running>,
}

#[derive(Debug)]
struct Running {
    /// `None` when no more is to come.
    give: Option<Sender<Vec<Vec<u8>>>>,
    /// As many at once as were given.
    take: Receiver<Vec<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    fn start(dictionary: Option<Arc<[u8]>>) -> Option<Self> {
        let (give, given) = channel::<Vec<Vec<u8>>>();
        let (done, take) = channel();
        let work = move || {
            let mut press = Press::new(dictionary);
            while let Ok(mut groups) = given.recv() {
                for group in &mut groups {
                    *group = wrap(mem::take(group), &mut press);
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

    /// As many groups are given to the thread at once: to wake it for fewer takes longer than to compress them.
    const GIVEN: usize = if cfg!(debug_assertions) { 2 } else { 16 };

    /// Adds a group, and begins to compress where there are enough.
    pub(super) fn push(&mut self, draft: Draft, press: &Press) {
        self.waiting.push_back(draft);
        if self.waiting.len() < self.given + Self::GIVEN {
            return;
        }
        if self.thread.is_none() {
            self.thread = Running::start(press.dictionary().cloned());
        }
        if let Some(give) = self.thread.as_ref().and_then(|running| running.give.as_ref()) {
            // If the thread is gone, whoever takes the groups does its work.
            let _ = give.send(self.waiting.range(self.given..).map(Draft::plain).collect());
            self.given = self.waiting.len();
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() > Self::MOST
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
                self.pressed.extend(groups);
            } else {
                (self.thread, self.given) = (None, 0);
            }
        }
        let pressed = self.pressed.pop_front();
        self.given -= usize::from(pressed.is_some());
        Some((first, draft.len(), pressed.unwrap_or_else(|| draft.write(first, press))))
    }

    /// An event that waits here, with its texts.
    pub(super) fn get(&self, event: u32) -> Option<Text<'_>> {
        let place = self.waiting.partition_point(|draft| draft.first().is_some_and(|first| first <= event));
        self.waiting.get(place.checked_sub(1)?)?.get(event)
    }
}
