//! The crate as its users meet it, through its public interface only: a module for each behaviour.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod commands;
mod decisions;
mod durability;
mod graph;
mod identity;
mod ingest;
mod layers;
mod model;
mod real_data;
mod segments;
mod spellings;
mod suggestions;
mod support;
