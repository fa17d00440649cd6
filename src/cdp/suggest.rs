//! Who may be the same person, asked of everybody at once.

use std::fmt;

use rustc_hash::{FxHashMap, FxHashSet};
use serde::Serialize;

use super::read::list;
use super::{Cdp, Person};
use crate::error::Result;
use crate::id::ProfileId;
use crate::identity::suggest::{Candidate, Table, suggest};
use crate::identity::{Matching, SkippedBlock, SuggestionRow};
use crate::pipeline::people;
use crate::value::Object;

/// Two profiles that may be one person, and why.
///
/// `Debug` masks what is personal.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Suggestion {
    /// The one, whose name sorts first.
    pub a: Person,
    /// The other.
    pub b: Person,
    /// The weight of two people drawn at random, in bits: log₂ of the prior odds. The first bar of a waterfall chart.
    pub prior: f64,
    /// What each trait adds to it, in the order of the model.
    pub rows: Vec<SuggestionRow>,
    /// The match weight, in bits: the sum of the prior and of all rows.
    pub weight: f64,
    /// The probability that they are one person, by that weight.
    pub probability: f64,
}

impl fmt::Display for Suggestion {
    /// The waterfall in a line, without values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.2} prior", self.prior)?;
        self.rows
            .iter()
            .try_for_each(|row| write!(f, ", {:+.2} {} ({})", row.weight, row.path, row.level))?;
        write!(f, " = {:.2} bits, probability {:.4}", self.weight, self.probability)
    }
}

/// What came of looking for people who may be one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Suggestions {
    /// The suggestions, the strongest first, ties by the names of the two.
    pub suggestions: Vec<Suggestion>,
    /// How many pairs are probable enough, beyond the limit too.
    pub probable: usize,
    /// How many pairs were compared.
    pub compared: u64,
    /// Blocks that were too large to be compared, the largest first. Pairs of theirs are missing unless another rule
    /// finds them.
    pub skipped: Vec<SkippedBlock>,
    /// The model with every probability that was estimated. Keep it, and the next suggestions are weighed alike.
    pub matching: Matching,
    /// Whether the estimates came to stand still. If not, the blocking rules find too little to learn from.
    pub converged: bool,
}

impl Cdp {
    /// Pairs of profiles that may be one person, by the traits that stand, each with its reasons. Nothing is joined:
    /// that is for whoever reads them, by [`Cdp::link`]. Pairs that were kept apart by hand ([`Cdp::never`], or a cut) are
    /// not told of.
    ///
    /// ```
    /// use customerdb::{Cdp, ComparisonLevel, Event, Matching, TraitComparison};
    ///
    /// let cdp = Cdp::in_memory()?;
    /// cdp.ingest([
    ///     Event::identify().user_id("u1").with_trait("name", "Ann Miller").with_trait("born", "1980-02-01"),
    ///     Event::identify().user_id("u2").with_trait("name", "Anne Miller").with_trait("born", "1980-02-01"),
    /// ])?;
    /// let name = TraitComparison::of("name")
    ///     .level(ComparisonLevel::exact().m(0.7).u(0.001))
    ///     .level(ComparisonLevel::jaro_winkler(0.9).m(0.2).u(0.004))
    ///     .level(ComparisonLevel::otherwise().m(0.1).u(0.995));
    /// let born = TraitComparison::of("born")
    ///     .level(ComparisonLevel::exact().m(0.95).u(0.0001))
    ///     .level(ComparisonLevel::otherwise().m(0.05).u(0.9999));
    /// let matching = Matching::default().compare(name).compare(born).block(["born"]).prior(0.001);
    ///
    /// let found = cdp.suggestions(&matching)?;
    /// let pair = &found.suggestions[0];
    /// assert_eq!((pair.a.name.value(), pair.b.name.value()), ("u1", "u2"));
    /// // log₂(0.001 / 0.999) + log₂(0.2 / 0.004) + log₂(0.95 / 0.0001)
    /// assert!((pair.weight - 8.894).abs() < 0.001);
    /// assert_eq!(pair.rows[0].level, "jaro_winkler ≥ 0.9");
    /// # Ok::<(), customerdb::Error>(())
    /// ```
    ///
    /// Compares everybody within blocks, which takes seconds for tens of thousands of people. The people are read as
    /// one commit has left them; commits wait for the reading, not for the comparing.
    ///
    /// # Errors
    ///
    /// [`Error::Definition`](crate::Error::Definition) if the model makes no sense, or what the storage says.
    pub fn suggestions(&self, matching: &Matching) -> Result<Suggestions> {
        let matching = matching.checked()?;
        let (people, table, apart) = self.read(|db, state| {
            // By name, so that the order in which people came makes no difference.
            let people = list(db, state, state.identities.partition.roots())?;
            let mut table = Table::new(&matching);
            let names = matching.traits();
            for person in &people {
                let held = state.identities.find(&state.rules, &person.name);
                let traits = match held.and_then(|node| state.identities.person(node)) {
                    Some(person) => people::traits(db, &person, &state.segments.catalog.policies, |name| {
                        names.contains(&name)
                    })?,
                    None => Object::new(),
                };
                table.push(&traits);
            }
            let numbers: FxHashMap<&ProfileId, u32> =
                (0..).zip(&people).map(|(number, person)| (&person.id, number)).collect();
            let mut apart: FxHashSet<(u32, u32)> = FxHashSet::default();
            for (a, b) in state.hand.banned_pairs() {
                let mut ends = Vec::new();
                for profile in [a, b].into_iter().filter_map(|node| state.identities.partition.profile(node))
                {
                    ends.extend(numbers.get(&db.profile_id(profile)?).copied());
                }
                if let [a, b] = ends[..] {
                    apart.insert((a.min(b), a.max(b)));
                }
            }
            drop(numbers);
            Ok((people, table, apart))
        })?;
        let found = suggest(&matching, &table, |a, b| apart.contains(&(a.min(b), a.max(b))));
        let suggestion = |candidate: Candidate| {
            let Candidate { a, b, prior, rows, weight, probability } = candidate;
            Suggestion { a: people[a].clone(), b: people[b].clone(), prior, rows, weight, probability }
        };
        Ok(Suggestions {
            suggestions: found.candidates.into_iter().map(suggestion).collect(),
            probable: found.probable,
            compared: found.compared,
            skipped: found.skipped,
            matching: found.matching,
            converged: found.converged,
        })
    }
}
