//! What the events of a file have in common, for Zstandard to begin with: so a few events compress as well as thousands do.
//!
//! A dictionary is made of the first events of a file, and stays. Nothing of a person may stay in it, so it is not trained
//! with events as they are: every word that is not borne by events of many is replaced by letters and digits at random, of
//! the same kinds.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;

use rustc_hash::{FxHashMap, FxHashSet};

use super::group::END;

/// As many events are looked at.
pub(super) const SAMPLES: usize = 2_048;

/// A word stays if events of so many different nodes bear it. With fewer nodes there is no dictionary.
pub(super) const BEARERS: usize = 20;

/// The most bytes of a dictionary.
const SIZE: usize = 16 << 10;

/// A dictionary in the making, by a thread of its own: that takes a tenth of a second, for which no call is to wait.
#[derive(Debug)]
pub(super) struct Training(Receiver<Option<Vec<u8>>>);

impl Training {
    /// Begins with the JSON of events as it is written, each with its node; and ends as well, if it is to be `at_once`.
    pub(super) fn begin(samples: Vec<(u32, String)>, at_once: bool) -> Self {
        let (give, made) = channel();
        let samples = Arc::new(samples);
        let (theirs, done) = (Arc::clone(&samples), give.clone());
        let work = move || {
            // Nobody may be there any more: the file was closed, or what it learned from was taken back.
            let _ = done.send(train(&theirs));
        };
        let beside = || thread::Builder::new().name("customerdb log".into()).spawn(work);
        if at_once || beside().is_err() {
            let _ = give.send(train(&samples));
        }
        Self(made)
    }

    /// Ends with the dictionary, if there is to be one.
    pub(super) fn made(&self) -> ControlFlow<Option<Vec<u8>>> {
        match self.0.try_recv() {
            Ok(made) => ControlFlow::Break(made),
            Err(TryRecvError::Empty) => ControlFlow::Continue(()),
            Err(TryRecvError::Disconnected) => ControlFlow::Break(None),
        }
    }
}

/// Trains a dictionary with the JSON of events, each with its node. `None` if they are too few, of too few nodes, or have
/// nothing in common.
fn train(samples: &[(u32, impl AsRef<str>)]) -> Option<Vec<u8>> {
    let samples: Vec<(u32, &str)> = samples.iter().map(|(node, json)| (*node, json.as_ref())).collect();
    if samples.len() < SAMPLES / 4 || !are_of_many(samples.iter().map(|(node, _)| *node)) {
        return None;
    }
    let common = common(&samples);
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let without: Vec<Vec<u8>> = samples
        .iter()
        .map(|(_, json)| [disguised(json, &common, &mut dice).as_bytes(), &[END]].concat())
        .collect();
    zstd::dict::from_samples(&without, SIZE).ok().filter(|bytes| !bytes.is_empty())
}

/// Whether there are so many different nodes that something in common tells nothing of one.
pub(super) fn are_of_many(nodes: impl Iterator<Item = u32>) -> bool {
    nodes.collect::<FxHashSet<u32>>().len() >= 4 * BEARERS
}

/// The words that events of many different nodes bear.
fn common<'s>(samples: &[(u32, &'s str)]) -> FxHashSet<&'s str> {
    let mut bearers: FxHashMap<&str, FxHashSet<u32>> = FxHashMap::default();
    for (node, json) in samples {
        for word in words(json).filter(|(_, is_word)| *is_word).map(|(word, _)| word) {
            let bearers = bearers.entry(word).or_default();
            if bearers.len() < BEARERS {
                bearers.insert(*node);
            }
        }
    }
    bearers.into_iter().filter(|(_, bearers)| bearers.len() >= BEARERS).map(|(word, _)| word).collect()
}

/// The text in pieces: words, and what is between them.
pub(super) fn words(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let in_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut rest = text;
    std::iter::from_fn(move || {
        let of_word = in_word(rest.chars().next()?);
        let end = rest.find(|letter| in_word(letter) != of_word).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some((piece, of_word))
    })
}

/// The text with other words in the place of those that are not common.
fn disguised(text: &str, common: &FxHashSet<&str>, dice: &mut Dice) -> String {
    let mut out = String::with_capacity(text.len());
    for (piece, is_word) in words(text) {
        if !is_word || common.contains(piece) {
            out.push_str(piece);
            continue;
        }
        let hex = piece.len() > 3 && piece.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let hex = hex && piece.bytes().any(|byte| byte.is_ascii_lowercase());
        out.extend(piece.chars().map(|letter| match letter {
            _ if hex => dice.pick("0123456789abcdef"),
            '0'..='9' => dice.pick("0123456789"),
            'A'..='Z' => dice.pick("ETAOINSHRDLU"),
            _ if letter.is_ascii() => dice.pick("etaoinshrdlu"),
            // The last six bits are the last byte of what is not ASCII.
            _ => char::from_u32(u32::from(letter) & !0x3F | dice.next() & 0x3F).unwrap_or('e'),
        }));
    }
    out
}

/// Knuth's linear congruential generator (The Art of Computer Programming 2, 3.3.4), of which the highest bits are taken.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }

    fn pick(&mut self, letters: &str) -> char {
        let letters = letters.as_bytes();
        char::from(letters[self.next() as usize % letters.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events() -> Vec<(u32, String)> {
        let event = |number: u32| {
            let node = number % 500;
            let secret = format!("{:x}", u64::from(node).wrapping_mul(0x9234_5678_9ABC_DEF1));
            let json = format!(
                r#"{{"type":"track","event":"Product Viewed","userId":"customer-{node}","traits":{{"email":"mary{node}lou@mail.example","phone":"+86138{:08}","name":"王{}明"}},"properties":{{"token":"{secret}"}}}}"#,
                node * 7_919,
                char::from_u32(0x4E00 + node).unwrap(),
            );
            (node, json)
        };
        (0..2_000).map(event).collect()
    }

    fn samples(events: &[(u32, String)]) -> Vec<(u32, &str)> {
        events.iter().map(|(node, json)| (*node, json.as_str())).collect()
    }

    #[test]
    fn what_few_bear_is_not_in_a_dictionary() {
        let events = events();
        let samples = samples(&events);
        let dictionary = train(&samples).unwrap();
        let has = |word: &str| dictionary.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(has("Viewed") && has("customer"), "what all bear is what it is for");
        let common = common(&samples);
        for (_, json) in &events {
            for (word, is_word) in words(json) {
                assert!(!is_word || word.len() < 6 || common.contains(word) || !has(word), "{word}");
            }
        }
        assert!(!common.iter().any(|word| word.starts_with("mary") || word.starts_with("86138")));
    }

    #[test]
    fn disguised_words_are_others_of_the_same_kinds() {
        let mut dice = Dice(1);
        let text = r#"{"userId":"Anna-93b7-1234","name":"小明"}"#;
        let common: FxHashSet<&str> = ["userId", "name"].into_iter().collect();
        let other = disguised(text, &common, &mut dice);
        assert_eq!(other.len(), text.len());
        assert!(other.starts_with(r#"{"userId":""#) && other.contains(r#""name":""#), "{other}");
        assert!(!["Anna", "93b7", "1234", "小明"].iter().any(|word| other.contains(word)), "{other}");
        assert_eq!(words(text).map(|(piece, _)| piece).collect::<String>(), text);
    }

    #[test]
    fn of_a_few_events_or_of_a_few_people_there_is_none() {
        let events = events();
        assert_eq!(train(&samples(&events)[..100]), None);
        let same: Vec<(u32, &str)> =
            samples(&events).into_iter().map(|(node, json)| (node % 30, json)).collect();
        assert_eq!(train(&same), None);
        assert_eq!(train(&samples(&[])), None);
    }

    #[test]
    fn a_dictionary_makes_single_events_small() {
        let events = events();
        let dictionary = train(&samples(&events)).unwrap();
        let json = events[77].1.as_bytes();
        let with = zstd::bulk::Compressor::with_dictionary(1, &dictionary).unwrap().compress(json).unwrap();
        let without = zstd::bulk::compress(json, 1).unwrap();
        assert!(with.len() * 2 < without.len(), "{} of {}", with.len(), without.len());
    }
}
