//! What a person may ask for, and what may be kept how long, as far as it is a rule and no storage.
//!
//! [Erasure](receipt) leaves numbers, and a [keyed hash](hmac) of each identifier on the suppression list. What is kept for a
//! time only is told by [retention] rules. What was done is accounted for in a [chain](audit).

mod audit;
mod hmac;
pub(crate) mod naming;
pub(crate) mod receipt;
pub(crate) mod retention;

pub(crate) use audit::{NO_HASH, chained};
pub(crate) use hmac::{Hash, Key, hex};
pub(crate) use naming::{Names, values};
pub use receipt::{Maintenance, Receipt, Restored};
pub use retention::RetentionRule;
