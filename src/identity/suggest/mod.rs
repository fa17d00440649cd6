//! Who may be the same person: pairs that deserve a look, each with the reasons for it and against it.
//!
//! The model is that of Fellegi and Sunter, *A Theory for Record Linkage* (Journal of the American Statistical
//! Association 64, 1969). [`block`] finds the pairs worth comparing, [`compare`] finds the level that holds of each
//! trait, [`estimate`] learns what levels are worth, and [`score`] adds it up. Nothing here joins anybody.

mod block;
mod compare;
mod estimate;
mod json;
mod matching;
mod score;
mod table;

pub use block::SkippedBlock;
pub use matching::{BlockingKey, ComparisonLevel, Matching, TraitComparison};
pub use score::SuggestionRow;
pub(crate) use score::{Candidate, suggest};
pub(crate) use table::Table;

#[cfg(test)]
mod tests;
