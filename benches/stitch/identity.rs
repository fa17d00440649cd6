//! The two structures of `src/identity` that keep everybody in memory. They are no part of the public interface, and
//! so are compiled once more here, to be measured alone.

#![allow(dead_code, unused_imports, reason = "the bench takes the part that it needs, and not their tests")]

#[path = "../../src/identity/interner.rs"]
pub(crate) mod interner;
#[path = "../../src/identity/numbers.rs"]
pub(crate) mod numbers;
#[path = "../../src/identity/order.rs"]
pub(crate) mod order;
#[path = "../../src/identity/partition.rs"]
pub(crate) mod partition;
