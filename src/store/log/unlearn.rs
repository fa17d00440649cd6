//! Letting go of a dictionary that tells of somebody who is erased.
//!
//! It has words in clear that events of many identifiers bore when it was made. The many may turn out to be one person, or all be
//! gone by now: then all of the log is written anew without it, and the next is made of other events.

use memchr::memmem::find_iter;
use rustc_hash::{FxHashMap, FxHashSet};

use super::block::NOBODY;
use super::dictionary::{BEARERS, SAMPLES, words};
use super::gather::AT_ONCE;
use super::group::Text;
use super::press::Press;
use super::read;
use crate::store::{Db, Result};

/// Shorter words, and shorter numbers, stand in any text by chance: what few bear is there as letters and digits at random.
const WORD: usize = 3;
const NUMBER: usize = 6;

/// Words of events that are gone.
#[derive(Debug, Default)]
pub(crate) struct Learned {
    /// Those that were looked for.
    seen: FxHashSet<String>,
    /// Those of them that the dictionary has.
    words: Vec<String>,
}

/// Whether a word stands in some bytes, not as a part of another.
fn has_word(bytes: &[u8], word: &str) -> bool {
    let of_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let mut places = find_iter(bytes, word).map(|place| (place, place + word.len()));
    places.any(|(from, until)| {
        let before = from.checked_sub(1).and_then(|place| bytes.get(place));
        !of_word(before) && !of_word(bytes.get(until))
    })
}

impl Db {
    /// Notes which words of an event that goes the dictionary has.
    pub(crate) fn note_learned(&self, json: &str, learned: &mut Learned) -> Result<()> {
        self.catch_up()?;
        let log = self.log.borrow();
        let Some(dictionary) = log.press.dictionary() else { return Ok(()) };
        for (word, _) in words(json).filter(|(_, is_word)| *is_word) {
            let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
            if word.len() >= (if is_number { NUMBER } else { WORD }) && !learned.seen.contains(word) {
                learned.seen.insert(word.to_owned());
                if has_word(dictionary, word) {
                    learned.words.push(word.to_owned());
                }
            }
        }
        Ok(())
    }

    /// Takes care that the dictionary has no word of events that are gone, but such as events of many others bear: of those that the
    /// log begins with, and of the last ones.
    pub(crate) fn unlearn(&self, learned: &Learned) -> Result<()> {
        self.catch_up()?;
        self.write_groups()?;
        {
            let mut log = self.log.borrow_mut();
            if log.training.take().is_some() {
                // It may be learning from what is gone.
                (log.learn_at, log.changed) = (SAMPLES, true);
            }
        }
        let mut bearers: FxHashMap<&str, FxHashSet<u32>> =
            learned.words.iter().map(|word| (&**word, FxHashSet::default())).collect();
        for order in ["ASC", "DESC"] {
            self.count_bearers(&mut bearers, order)?;
        }
        if bearers.values().any(|bearers| bearers.len() < BEARERS) { self.drop_dictionary() } else { Ok(()) }
    }

    /// Adds the nodes whose events bear some words, of many events in an order of their numbers.
    fn count_bearers(&self, bearers: &mut FxHashMap<&str, FxHashSet<u32>>, order: &str) -> Result<()> {
        let mut looked_at = 0;
        let sql = format!("SELECT first, span, crc, bytes FROM log ORDER BY first {order}");
        let mut select = self.conn.prepare_cached(&sql)?;
        let mut rows = select.query([])?;
        while looked_at < SAMPLES
            && bearers.values().any(|bearers| bearers.len() < BEARERS)
            && let Some(row) = rows.next()?
        {
            let (_, _, group) = read::group(row, &mut self.log.borrow_mut().press)?;
            looked_at += group.iter().len();
            for Text { entry, json, .. } in group.iter().filter(|text| text.entry.node != NOBODY) {
                for (word, _) in words(json) {
                    if let Some(bearers) = bearers.get_mut(word) {
                        bearers.insert(entry.node);
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes all of the log anew without the dictionary, and lets that go.
    fn drop_dictionary(&self) -> Result<()> {
        let mut reading: Press = {
            let mut log = self.log.borrow_mut();
            (log.learn_at, log.changed) = (SAMPLES, true);
            log.presses.rest();
            log.groups.clear();
            std::mem::take(&mut log.press)
        };
        let mut from = 0;
        loop {
            let range: (Option<u32>, Option<u32>) = {
                let mut select = self.conn.prepare_cached(
                    "SELECT min(first), max(first + span) FROM
                     (SELECT first, span FROM log WHERE first >= ?1 ORDER BY first LIMIT ?2)",
                )?;
                select.query_row((from, AT_ONCE), |row| Ok((row.get(0)?, row.get(1)?)))?
            };
            let (Some(first), Some(until)) = range else { break };
            self.rewrite_rows(first, until, &mut reading)?;
            from = until;
        }
        self.conn.prepare_cached("DELETE FROM dictionaries")?.execute([])?;
        self.note_layout()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_no_part_of_another() {
        let bytes = b"\xFF\x00{\"name\":\"Ann\",\"user_id\":\"Anna\",\"\xC3\xA9t\xC3\xA9\"";
        for (word, expected) in [
            ("Ann", true),
            ("Anna", true),
            ("nna", false),
            ("user", false),
            ("user_id", true),
            ("\u{e9}t\u{e9}", true),
        ] {
            assert_eq!(has_word(bytes, word), expected, "{word}");
        }
    }
}
