//! The second stage: which identifiers are one person.
//!
//! Links are the truth, union-find is the fast path. An event's identifiers are [extracted](extract),
//! [normalised](normalise) and [resolved](draft) against the [partition]; what they bore together is kept as
//! evidence, the edges of the [`IdentityGraph`]. Events point to identifiers, never to profiles, so a join or a
//! split rewrites no event.

pub(crate) mod draft;
pub(crate) mod extract;
pub(crate) mod graph;
pub(crate) mod interner;
pub(crate) mod normalise;
pub(crate) mod partition;
pub(crate) mod replay;
pub(crate) mod rules;

pub(crate) use draft::{Draft, Identities, NAMESPACES, Occasion, Person, Refused};
pub(crate) use extract::{Borne, identifiers};
pub use graph::{IdentityGraph, Link};
pub(crate) use interner::Node;
pub(crate) use partition::{Partition, ProfileNo};
pub use replay::{RulesExample, RulesReport};
pub(crate) use replay::{Succession, by_strength, strongest, succeed};
pub use rules::Rules;
