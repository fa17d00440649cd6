//! Who met which conditions when, noted while events are read: where a question asks no more of events, and not which of two
//! of one instant comes first, a word for each is all that has to be kept, moved about and sorted.
//!
//! Of these words, too, only those are kept that can matter, as the [`sieve`](super::sieve) says.

use super::counter::{Batch, Turn};
use super::parallel::{Watch, in_parallel};
use super::sieve::Sieve;
use super::timeline::{Mask, Row, usual_part};
use crate::clock::Span;
use crate::error::Result;

/// By so many of the highest bits of their times events are ordered before they are ordered by person: then what is left to
/// be sorted of a person nearly is.
const DIGIT: u32 = 11;

/// Into as many parts people are cut at most, where times leave little room in a word.
const PARTS: usize = 1 << 12;

/// What each person did, in order of time. See the module.
///
/// A word has the number of the person within their part, the time since the first instant, and the conditions, from the
/// highest bits to the lowest: words in order are events in order.
#[derive(Debug)]
pub(crate) struct Trails {
    /// The instant from which times are counted.
    first: i64,
    /// How many bits the time takes, and how many the conditions.
    time: u32,
    kinds: u32,
    /// How many people a part has, as a power of two, and how many there are in all.
    shift: u32,
    people: usize,
    sieve: Sieve,
    /// The places of the events of a batch that are noted; kept for its space.
    kept: Vec<u32>,
    /// What each reader has read, by parts.
    read: Vec<Vec<Vec<u64>>>,
}

impl Trails {
    /// Nothing yet, of so many conditions, the first of which begins what lasts no longer than it says; of events between two
    /// instants, and of so many people. `None` if that does not fit into words, or people would have to be cut into too
    /// many parts.
    pub(crate) fn new(
        (kinds, within): (usize, Option<Span>),
        between: Option<(i64, i64)>,
        people: usize,
    ) -> Option<Self> {
        let (first, last) = between.unwrap_or((0, 0));
        let time = u64::BITS - last.abs_diff(first).leading_zeros();
        let kinds = u32::try_from(kinds).ok()?;
        let left = u64::BITS.checked_sub(time.checked_add(kinds)?).filter(|left| *left > 0)?;
        let shift = usual_part(people).min(left);
        let (sieve, kept, read) = (Sieve::new((first, last), within, people), Vec::new(), Vec::new());
        let trails = Self { first, time, kinds, shift, people, sieve, kept, read };
        (trails.parts() <= PARTS).then_some(trails)
    }

    /// How many parts there are.
    fn parts(&self) -> usize {
        (self.people.saturating_sub(1) >> self.shift) + 1
    }

    /// The same without what was noted.
    pub(crate) fn blank(&self) -> Self {
        Self { sieve: self.sieve.blank(), kept: Vec::new(), read: Vec::new(), ..*self }
    }

    /// Which events are to be read now; none if all were.
    pub(crate) fn turn(&self) -> Option<Turn> {
        self.sieve.turn()
    }

    /// What comes after this turn, which these have read; nothing is noted yet.
    pub(crate) fn next(&self, read: &[&Self]) -> Self {
        Self { sieve: self.sieve.next(read.iter().map(|trails| &trails.sieve)), ..self.blank() }
    }

    /// Notes events.
    pub(crate) fn add(&mut self, events: &Batch<'_>) {
        let Self { first, time, kinds, shift, .. } = *self;
        self.sieve.sift(events, &mut self.kept);
        if self.read.is_empty() {
            self.read.push(vec![Vec::new(); self.parts()]);
        }
        let Some(parts) = self.read.last_mut() else { return };
        let within = (1 << shift) - 1;
        for place in &self.kept {
            let place = *place as usize;
            let (at, who, mask) = (events.times[place], events.people[place], events.masks[place]);
            let since = at.abs_diff(first) << kinds | u64::from(mask);
            parts[(who >> shift) as usize].push(u64::from(who & within) << (time + kinds) | since);
        }
    }

    /// Adds what another has noted of other events.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.read.append(&mut other.read);
    }

    /// How many events were noted.
    pub(crate) fn len(&self) -> usize {
        self.read.iter().flatten().map(Vec::len).sum()
    }

    /// Calls `each` with everybody of whom `is_wanted` says so, when it is told which conditions any of their events meet; on
    /// all cores, and each time with what `make` made for some people, which is given back.
    ///
    /// # Errors
    ///
    /// [`Error::Cancelled`](crate::Error::Cancelled).
    pub(super) fn for_everybody<T: Send>(
        &self,
        watch: &Watch<'_>,
        make: impl Fn() -> T + Sync,
        is_wanted: impl Fn(&mut T, Mask) -> bool + Sync,
        each: impl Fn(&mut T, Trail<'_>) + Sync,
    ) -> Result<Vec<T>> {
        let parts = (0..self.parts()).collect();
        in_parallel(parts, watch, self.len(), |part| {
            let (mut found, mut rows) = (make(), Vec::new());
            let (mut words, starts) = self.by_person(part, |met| is_wanted(&mut found, met));
            for person in starts.windows(2).filter(|person| person[0] < person[1]) {
                let words = &mut words[person[0]..person[1]];
                each(&mut found, Trail { trails: self, words, rows: &mut rows });
            }
            found
        })
    }

    /// The events of those of a part who are wanted by person, each person's nearly in order of time; and where each
    /// person's begin, and where the last one's end.
    #[expect(clippy::cast_possible_truncation, reason = "what is left of a word is a few bits")]
    fn by_person(&self, part: usize, mut is_wanted: impl FnMut(Mask) -> bool) -> (Vec<u64>, Vec<usize>) {
        let read = || self.read.iter().flat_map(|parts| &parts[part]).copied();
        let person = |word: u64| (word >> (self.time + self.kinds)) as usize;
        let mut met: Vec<Mask> = vec![0; 1 << self.shift];
        read().for_each(|word| met[person(word)] |= self.mask(word));
        let are_wanted: Vec<bool> = met.into_iter().map(|met| met != 0 && is_wanted(met)).collect();
        // All are written, and those of the wanted are left: so a core need not guess.
        let (mut wanted, mut many) = (vec![0; self.read.iter().map(|parts| parts[part].len()).sum()], 0);
        for word in read() {
            wanted[many] = word;
            many += usize::from(are_wanted[person(word)]);
        }
        wanted.truncate(many);
        let digit = self.time.min(DIGIT).min(many.checked_ilog2().unwrap_or(0));
        let time = |word: u64| (word >> (self.time + self.kinds - digit)) as usize & ((1 << digit) - 1);
        let (by_time, _) = distributed(&wanted, 1 << digit, time);
        distributed(&by_time, 1 << self.shift, person)
    }

    #[expect(clippy::cast_possible_truncation, reason = "conditions are as many as a mask has bits")]
    fn mask(&self, word: u64) -> Mask {
        (word & ((1 << self.kinds) - 1)) as Mask
    }

    fn row(&self, word: u64) -> Row {
        let since = word >> self.kinds & ((1 << self.time) - 1);
        Row { at: self.first.wrapping_add_unsigned(since), mask: self.mask(word), who: 0 }
    }
}

/// Words by a number of theirs, those of one number in the order in which they come; and where those of each number begin, and
/// where the last ones end.
fn distributed(words: &[u64], numbers: usize, number: impl Fn(u64) -> usize) -> (Vec<u64>, Vec<usize>) {
    let mut starts = vec![0; numbers + 1];
    for word in words {
        starts[number(*word) + 1] += 1;
    }
    for number in 1..starts.len() {
        starts[number] += starts[number - 1];
    }
    let (mut next, mut sorted) = (starts.clone(), vec![0; words.len()]);
    for word in words {
        let place = &mut next[number(*word)];
        sorted[*place] = *word;
        *place += 1;
    }
    (sorted, starts)
}

/// What one person did.
#[derive(Debug)]
pub(super) struct Trail<'t> {
    trails: &'t Trails,
    words: &'t mut [u64],
    rows: &'t mut Vec<Row>,
}

impl<'t> Trail<'t> {
    /// The events in order of time.
    #[inline]
    pub(super) fn in_order(self) -> &'t [Row] {
        self.words.sort_unstable();
        self.rows.clear();
        self.rows.extend(self.words.iter().map(|word| self.trails.row(*word)));
        self.rows
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use proptest::prelude::*;

    use super::*;

    type Person = (Mask, Vec<(i64, Mask)>);

    /// What each person did of whom that is wanted, as trails that were read by so many tell it.
    fn told(trails: Trails, mut read: Vec<Trails>, wanted: Mask) -> Vec<Person> {
        let mut all = trails;
        read.drain(..).for_each(|one| all.merge(one));
        let mut go_on = |_| ControlFlow::Continue(());
        let is_wanted = |_: &mut Vec<_>, met: Mask| met & wanted == wanted;
        let found = all.for_everybody(&Watch::new(&mut go_on), Vec::new, is_wanted, |found, trail| {
            let rows: Vec<(i64, Mask)> = trail.in_order().iter().map(|row| (row.at, row.mask)).collect();
            found.push((rows.iter().fold(0, |met, row| met | row.1), rows));
        });
        found.unwrap().into_iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn what_was_noted_is_told_by_person_and_time(
            events in prop::collection::vec((0_u32..40, -5_000_i64..5_000, 0_u32..8), 0..400),
            readers in 1_usize..4,
            within in prop::option::of(1_i64..3_000),
            wanted in 0_u32..4,
            people in prop::sample::select(vec![20_u32, 40]),
        ) {
            let events: Vec<(u32, i64, Mask)> =
                events.into_iter().map(|(who, at, mask)| (who % people, at, mask)).collect();
            let (first, last) = (events.iter().map(|event| event.1).min(), events.iter().map(|event| event.1).max());
            let mut trails = Trails::new((3, within.map(Span::from_micros)), first.zip(last), people as usize).unwrap();
            let is_whole = trails.turn() == Some(Turn::All);
            prop_assert_eq!(is_whole, people == 40);
            let mut read: Vec<Trails> = Vec::new();
            let is_beginning = |event: &&(u32, i64, Mask)| event.2 & 1 != 0;
            while let Some(turn) = trails.turn() {
                let is_now = |event: &&(u32, i64, Mask)| turn == Turn::All || is_beginning(event) == (turn == Turn::Beginnings);
                let own = events.iter().filter(is_now);
                let own: Vec<&(u32, i64, Mask)> = own.collect();
                let mut now: Vec<Trails> = (0..readers).map(|_| trails.blank()).collect();
                for (place, events) in own.chunks(7).enumerate() {
                    let times: Vec<i64> = events.iter().map(|event| event.1).collect();
                    let people: Vec<u32> = events.iter().map(|event| event.0).collect();
                    let masks: Vec<Mask> = events.iter().map(|event| event.2).collect();
                    now[place % readers].add(&Batch { times: &times, people: &people, masks: &masks, by: &[], amounts: &[] });
                }
                trails = trails.next(&now.iter().collect::<Vec<_>>());
                read.append(&mut now);
            }
            let noted = read.iter().map(Trails::len).sum::<usize>();
            let found = told(trails, read, wanted);
            if is_whole {
                prop_assert_eq!(noted, events.len());
                let mut expected: Vec<Person> = Vec::new();
                for person in 0..people {
                    let own = events.iter().filter(|event| event.0 == person);
                    let mut own: Vec<(i64, Mask)> = own.map(|event| (event.1, event.2)).collect();
                    own.sort_unstable();
                    let met = own.iter().fold(0, |met, event| met | event.1);
                    if met != 0 && met & wanted == wanted {
                        expected.push((met, own));
                    }
                }
                prop_assert_eq!(found, expected);
                return Ok(());
            }
            prop_assert!(noted <= events.len());
            prop_assert!(found.iter().all(|(met, _)| met & wanted == wanted));
            for person in 0..people {
                let all = events.iter().filter(|event| event.0 == person);
                let begun: Vec<i64> = all.clone().filter(is_beginning).map(|event| event.1).collect();
                let can_matter = |event: &&(u32, i64, Mask)| {
                    begun.iter().any(|begun| event.1 >= *begun && within.is_none_or(|within| event.1 - begun <= within))
                };
                let mut own: Vec<(i64, Mask)> = all.clone().filter(can_matter).map(|event| (event.1, event.2)).collect();
                own.sort_unstable();
                let met = own.iter().fold(0, |met, event| met | event.1);
                if own.is_empty() || met & wanted != wanted {
                    continue;
                }
                // Whatever can matter is told, in order, with no more than some that happened besides.
                let mut all: Vec<(i64, Mask)> = all.map(|event| (event.1, event.2)).collect();
                all.sort_unstable();
                let is_told = |told: &&Person| {
                    let mut rest = told.1.iter();
                    let mut whole = all.iter();
                    own.iter().all(|event| rest.any(|told| told == event))
                        && told.1.iter().all(|told| whole.any(|event| told == event))
                };
                prop_assert!(found.iter().any(|told| is_told(&told)), "{own:?}");
            }
            prop_assert!(found.iter().map(|person| person.1.len()).sum::<usize>() <= noted);
        }
    }

    #[test]
    fn what_does_not_fit_into_words_is_not_begun() {
        let (first, people) = (-(1 << 40), 2);
        let time = u64::BITS - usual_part(people) - 5;
        assert!(Trails::new((5, None), Some((first, first + (1 << time) - 1)), people).is_some());
        assert!(Trails::new((5, None), Some((first, first + (1 << time))), people).is_none());
        assert!(Trails::new((6, None), Some((first, first + (1 << time) - 1)), people).is_none());
        assert!(Trails::new((32, None), Some((i64::MIN, i64::MAX)), people).is_none());
        assert!(Trails::new((32, None), None, people).is_some());
        // Where there is little room, parts have fewer people, as long as there are not too many of them.
        let with_room = |left: u32| Trails::new((4, None), Some((0, (1 << (60 - left)) - 1)), 2 * PARTS);
        assert_eq!(with_room(1).map(|trails| (trails.shift, trails.parts())), Some((1, PARTS)));
        assert!(Trails::new((4, None), Some((0, (1 << 59) - 1)), 2 * PARTS + 1).is_none());
    }
}
