//! Who is worth comparing with whom: people with equal keys.

use std::fmt;

use rustc_hash::FxHashMap;
use serde::Serialize;

use super::matching::{BlockingKey, Matching};
use super::table::{Held, NONE, Table, next};
use crate::id::mask;

/// A block that was too large to compare its people with each other.
///
/// `Debug` masks the values.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SkippedBlock {
    /// The number of the blocking rule, from 0.
    pub rule: usize,
    /// What the people of the block have in common: a value for each key of the rule.
    pub key: Vec<String>,
    /// How many people are in it.
    pub people: usize,
}

impl fmt::Debug for SkippedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SkippedBlock")
            .field("rule", &self.rule)
            .field("key", &self.key.iter().map(|value| mask(value)).collect::<Vec<_>>())
            .field("people", &self.people)
            .finish()
    }
}

/// The blocks of all rules.
pub(super) struct Blocks {
    rules: Vec<Grouped>,
    /// The largest first.
    pub(super) skipped: Vec<SkippedBlock>,
}

/// The blocks of one rule.
struct Grouped {
    /// The number of each person's block, [`NONE`] for those who are alone or in a block that was skipped.
    of: Vec<u32>,
    /// Those who are in a block, block by block.
    order: Vec<u32>,
}

impl Blocks {
    pub(super) fn new(matching: &Matching, table: &Table) -> Self {
        let mut blocks = Self { rules: Vec::new(), skipped: Vec::new() };
        for (number, rule) in matching.rules.iter().enumerate() {
            let grouped = blocks.group(number, rule, matching.largest_block, table);
            blocks.rules.push(grouped);
        }
        // Stable, so that equal ones stay in the order of their rules and of their people.
        blocks.skipped.sort_by_key(|block| std::cmp::Reverse(block.people));
        blocks
    }

    fn group(&mut self, number: usize, rule: &[BlockingKey], largest: usize, table: &Table) -> Grouped {
        let mut of = keys(rule, table);
        let mut sizes: FxHashMap<u32, usize> = FxHashMap::default();
        for block in of.iter().filter(|block| **block != NONE) {
            *sizes.entry(*block).or_default() += 1;
        }
        for (person, block) in of.iter_mut().enumerate() {
            let Some(size) = sizes.get_mut(block) else { continue };
            if *size > largest {
                let key = rule.iter().map(|key| value_of(key, person, table)).collect();
                self.skipped.push(SkippedBlock { rule: number, key, people: *size });
                // Told once, by its first person.
                *size = 0;
            }
            if *size < 2 {
                *block = NONE;
            }
        }
        let mut order: Vec<u32> =
            (0..).zip(&of).filter(|(_, block)| **block != NONE).map(|(person, _)| person).collect();
        order.sort_by_key(|person| of[*person as usize]);
        Grouped { of, order }
    }

    /// Calls for each pair of a rule, the person of the smaller number first.
    pub(super) fn pairs(&self, rule: usize, mut visit: impl FnMut(u32, u32)) {
        let Grouped { of, order } = &self.rules[rule];
        for block in order.chunk_by(|a, b| of[*a as usize] == of[*b as usize]) {
            for (place, a) in block.iter().enumerate() {
                for b in &block[place + 1..] {
                    visit(*a, *b);
                }
            }
        }
    }

    /// Whether no rule before this one finds the pair, which is so for one of the rules that do.
    pub(super) fn is_first(&self, rule: usize, a: u32, b: u32) -> bool {
        self.rules[..rule].iter().all(|Grouped { of, .. }| {
            let block = of[a as usize];
            block == NONE || block != of[b as usize]
        })
    }

    /// How many rules there are.
    pub(super) fn rules(&self) -> usize {
        self.rules.len()
    }
}

/// A number for each person that those share whose keys are equal, [`NONE`] for those who lack one.
fn keys(rule: &[BlockingKey], table: &Table) -> Vec<u32> {
    let mut of = vec![0; table.people()];
    for key in rule {
        let column = table.column(&key.path);
        let mut starts: FxHashMap<&str, u32> = FxHashMap::default();
        let mut number = |held: &Held, text| {
            if key.first.is_none() {
                return held.equal;
            }
            let next = next(starts.len());
            *starts.entry(text).or_insert(next)
        };
        let numbers: Vec<u32> =
            column.values().iter().map(|held| number(held, start(&held.text, key.first))).collect();
        let mut joined: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for (person, block) in (0..).zip(&mut of) {
            let value = column.cell(person).map(|cell| numbers[cell as usize]);
            *block = match value {
                Some(value) if *block != NONE => {
                    let next = next(joined.len());
                    *joined.entry((*block, value)).or_insert(next)
                }
                _ => NONE,
            };
        }
    }
    of
}

/// The value of a person's key.
fn value_of(key: &BlockingKey, person: usize, table: &Table) -> String {
    let column = table.column(&key.path);
    let held = column.cell(next(person)).map(|cell| column.held(cell));
    held.map(|held| start(&held.text, key.first).to_owned()).unwrap_or_default()
}

/// The first characters of a text, all of it if it has fewer or none are asked for.
fn start(text: &str, characters: Option<u32>) -> &str {
    let end = characters.and_then(|characters| text.char_indices().nth(characters as usize));
    end.map_or(text, |(end, _)| &text[..end])
}
