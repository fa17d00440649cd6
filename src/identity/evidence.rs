//! What bears witness to two identifiers being one person's.

use super::interner::Node;
use crate::clock::Timestamp;

/// What an event says of the link between two of its identifiers.
#[derive(Debug, Clone)]
pub(crate) struct Evidence {
    pub(crate) first_seen: Timestamp,
    pub(crate) last_seen: Timestamp,
    pub(crate) count: u64,
    /// The message id of the earliest event, by time and then by message id.
    pub(crate) message_id: String,
}

impl Evidence {
    /// Adds further events to it: when the first was, with its message id, when the last, and how many.
    pub(crate) fn add(&mut self, first: Timestamp, last: Timestamp, count: u64, message_id: &str) {
        self.count += count;
        self.last_seen = self.last_seen.max(last);
        if (first, message_id) < (self.first_seen, self.message_id.as_str()) {
            self.first_seen = first;
            message_id.clone_into(&mut self.message_id);
        }
    }

    /// Adds what else bears witness to the same.
    pub(crate) fn join(&mut self, other: &Self) {
        self.add(other.first_seen, other.last_seen, other.count, &other.message_id);
    }
}

/// Which two nodes (the smaller first) are linked, and by the events of which source.
pub(crate) type LinkKey = (Node, Node, u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_adds_up_to_the_same_in_any_order() {
        let seen = |at: i64, count, id: &str| {
            let at = Timestamp::from_micros(at);
            Evidence { first_seen: at, last_seen: at, count, message_id: id.to_owned() }
        };
        let told = [seen(5, 2, "c"), seen(3, 1, "b"), seen(3, 1, "a"), seen(9, 1, "d")];
        let sum = |order: [usize; 4]| {
            let mut sum = told[order[0]].clone();
            order[1..].iter().for_each(|place| sum.join(&told[*place]));
            (sum.first_seen.as_micros(), sum.last_seen.as_micros(), sum.count, sum.message_id)
        };
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            assert_eq!(sum(order), (3, 9, 5, "a".to_owned()), "{order:?}");
        }
    }
}
