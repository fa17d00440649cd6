//! The crate as its users meet it, through its public interface only: a module for each behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod analytics;
mod commands;
mod decisions;
mod durability;
mod erasure;
mod graph;
mod histories;
mod identity;
mod ingest;
mod layers;
mod limits;
mod live;
mod model;
mod real_data;
mod reference;
mod retention;
mod segments;
mod shared_devices;
mod spellings;
mod suggestions;
mod support;
