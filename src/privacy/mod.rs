//! What a person may ask for, and what may be kept how long.
//!
//! [Erasure](receipt) leaves numbers, and a keyed hash of each identifier on a [suppression] list. What is kept for a
//! time only is told by [retention] rules.

pub(crate) mod naming;
pub(crate) mod receipt;
pub(crate) mod retention;
pub(crate) mod suppression;

pub(crate) use naming::{Names, values};
pub use receipt::{Maintenance, Receipt};
pub use retention::RetentionRule;
pub(crate) use suppression::Key;
