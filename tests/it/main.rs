//! The crate as its users meet it, through its public interface only: a module for each behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod analytics;
mod audit;
mod backup;
mod commands;
mod consents;
mod decisions;
mod durability;
#[cfg(feature = "sqlcipher")]
mod encryption;
mod erasure;
#[cfg(target_os = "linux")]
mod faults;
mod formats;
mod gates;
mod graph;
mod guarantees;
mod histories;
mod hostile;
mod identity;
mod ingest;
mod kills;
mod layers;
mod limits;
mod live;
mod masking;
mod model;
mod person;
mod pruned;
mod real_data;
mod reference;
mod retention;
mod segments;
mod shared_devices;
mod spellings;
mod suggestions;
mod support;
mod threads;
mod upkeep;
mod watched;
