//! The crate from outside, a module a behaviour.

mod commands;
