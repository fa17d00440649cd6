//! The second stage: which identifiers are one person.
//!
//! Links are the truth, union-find is the fast path. An event's identifiers are [extracted](extract),
//! [normalised](normalise) and [resolved](resolve) against the [partition], in a [draft] beside it; what they bore
//! together is kept as evidence, the edges of the [`IdentityGraph`]. What a [hand] decides precedes every rule. Where
//! rules or decisions change, a part of the log is resolved again, and profiles [succeed](replay) each other. Events
//! point to identifiers, never to profiles, so a join or a split rewrites no event.

pub(crate) mod counts;
pub(crate) mod draft;
pub(crate) mod evidence;
pub(crate) mod extract;
pub(crate) mod graph;
pub(crate) mod hand;
pub(crate) mod identities;
pub(crate) mod interner;
pub(crate) mod normalise;
pub(crate) mod numbers;
pub(crate) mod order;
pub(crate) mod partition;
pub(crate) mod path;
pub(crate) mod redact;
pub(crate) mod replay;
pub(crate) mod resolve;
pub(crate) mod rules;
pub(crate) mod suggest;

pub use counts::Rule;
pub(crate) use draft::{Basis, Draft, NAMESPACES};
pub(crate) use evidence::{Evidence, LinkKey};
pub(crate) use extract::{Borne, identifiers, look_up};
pub use graph::{Bridge, Dot, Hub, IdentityGraph, Link};
pub use hand::DecisionKind;
pub(crate) use hand::{HAND, Hand, Ruling};
pub(crate) use identities::{Identities, Person};
pub(crate) use interner::{Interner, Node};
pub(crate) use normalise::normalise;
pub(crate) use numbers::{ByRank, Numbers};
pub(crate) use order::Order;
pub(crate) use partition::{Partition, ProfileNo};
pub(crate) use path::shortest_path;
pub(crate) use redact::{places, take_out};
pub(crate) use replay::{Former, Past, Succession, by_strength, strongest};
pub use replay::{RulesExample, RulesReport};
pub(crate) use resolve::{Occasion, Refused, Resolution, hand_message_id};
pub(crate) use rules::Day;
pub use rules::{Period, Rules, SharedDevice};
pub use suggest::{BlockingKey, ComparisonLevel, Matching, SkippedBlock, SuggestionRow, TraitComparison};
