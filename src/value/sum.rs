//! Sums that are exact for integers and decimals.

use serde_json::Value;

use super::Num;
use super::number::{MILLION, millionths};

/// A sum of numbers: exact for integers and for decimals of up to six places, in floating point for the rest.
///
/// What is exact is kept as a whole number of millionths in 128 bits, so 0.1 + 0.2 is 0.3, and the order in which
/// numbers are added does not matter. The others are added with Neumaier's compensation (A. Neumaier,
/// *Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen*, 1974); give them in event-time order.
///
/// ```
/// use customerdb::{Sum, Value};
///
/// let mut sum = Sum::default();
/// for price in [0.1, 0.2] {
///     sum.add(&Value::from(price));
/// }
/// assert_eq!(sum.to_value(), Value::from(0.3));
/// assert!(!sum.add(&Value::from("not a number")));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sum {
    millionths: i128,
    rest: Option<Compensated>,
}

/// The part of a sum that is no decimal.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Compensated {
    sum: f64,
    lost: f64,
}

impl Compensated {
    fn add(&mut self, float: f64) {
        let sum = self.sum + float;
        self.lost +=
            if self.sum.abs() >= float.abs() { (self.sum - sum) + float } else { (float - sum) + self.sum };
        self.sum = sum;
    }

    fn total(self) -> f64 {
        // Once the sum is infinite, what it lost is no number.
        if self.sum.is_finite() { self.sum + self.lost } else { self.sum }
    }
}

impl Sum {
    /// Adds a JSON number, and says whether `value` was one; other values are passed over.
    pub fn add(&mut self, value: &Value) -> bool {
        let number = value.as_number().and_then(Num::of);
        if let Some(number) = number {
            self.add_number(number);
        }
        number.is_some()
    }

    /// Adds what another sum holds.
    pub fn merge(&mut self, other: &Self) {
        self.add_millionths(other.millionths);
        if let Some(rest) = other.rest {
            let own = self.rest.get_or_insert_default();
            own.add(rest.sum);
            own.lost += rest.lost;
        }
    }

    /// Whether every number so far was an integer or a decimal of up to six places, so that nothing was rounded.
    pub fn is_exact(&self) -> bool {
        self.rest.is_none()
    }

    /// The sum as a JSON number, an integer if it is whole; 0 over nothing. A sum beyond what a float can hold is
    /// null.
    pub fn to_value(&self) -> Value {
        self.number().to_value()
    }

    /// The sum divided by `count`; null for a count of 0.
    pub fn mean(&self, count: u64) -> Value {
        self.over(count).map_or(Value::Null, Num::to_value)
    }

    /// The sum in millionths, if it is exact.
    pub(crate) fn millionths(&self) -> Option<i128> {
        self.is_exact().then_some(self.millionths)
    }

    pub(crate) fn add_number(&mut self, number: Num) {
        let exact = match number {
            Num::Int(whole) => whole.checked_mul(MILLION),
            Num::Float(float) => millionths(float),
            Num::Mean { millionths, over } => (over == 1).then_some(millionths),
        };
        match exact {
            Some(exact) => self.add_millionths(exact),
            None => self.rest.get_or_insert_default().add(number.as_f64()),
        }
    }

    /// The sum as comparisons see it.
    pub(crate) fn number(&self) -> Num {
        let exact = Num::Mean { millionths: self.millionths, over: 1 };
        self.rest.map_or(exact, |rest| Num::Float(exact.as_f64() + rest.total()))
    }

    /// The mean over `count` numbers as comparisons see it.
    #[expect(clippy::cast_precision_loss, reason = "the sum is a float already")]
    pub(crate) fn over(&self, count: u64) -> Option<Num> {
        match self.number() {
            _ if count == 0 => None,
            // A mean that is no decimal is the float nearest to it, as it is told and as definitions can spell it.
            Num::Mean { millionths, .. } if millionths % i128::from(count) != 0 => {
                Some(Num::Float(Num::Mean { millionths, over: count }.as_f64()))
            }
            Num::Mean { millionths, .. } => {
                Some(Num::Mean { millionths: millionths / i128::from(count), over: 1 })
            }
            number => Some(Num::Float(number.as_f64() / count as f64)),
        }
    }

    fn add_millionths(&mut self, millionths: i128) {
        match self.millionths.checked_add(millionths) {
            Some(sum) => self.millionths = sum,
            None => self.rest.get_or_insert_default().add(Num::Mean { millionths, over: 1 }.as_f64()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sum(values: &Value) -> Sum {
        let mut sum = Sum::default();
        for value in values.as_array().unwrap() {
            sum.add(value);
        }
        sum
    }

    #[test]
    fn sums_are_exact_where_the_numbers_are() {
        for (values, expected) in [
            (json!([]), json!(0)),
            (json!([0.1, 0.2]), json!(0.3)),
            (json!([1, 2, 3.5]), json!(6.5)),
            (json!([2.5, 2.5]), json!(5)),
            (json!([u64::MAX, -1, "x", null, true]), json!(u64::MAX - 1)),
            (json!([i64::MAX, i64::MAX]), json!(18_446_744_073_709_551_614_u64)),
            (json!([1e16, 0.000_001, -1e16]), json!(0.000_001)),
            (json!([1e300, 0.1, -1e300]), json!(0.1)),
        ] {
            assert_eq!(sum(&values).to_value(), expected, "{values}");
        }
        assert!(sum(&json!([0.1, 3])).is_exact() && !sum(&json!([0.1, 1e-9])).is_exact());
        let cents = json!(vec![0.01; 100_000]);
        assert_eq!(sum(&cents).to_value(), json!(1000));
    }

    #[test]
    fn a_sum_beyond_all_floats_is_infinite_and_stays_comparable() {
        let sum = sum(&json!([1e308, 1e308, -1e308]));
        assert_eq!(sum.number().order(Num::Int(5)), std::cmp::Ordering::Greater);
        assert_eq!(sum.to_value(), Value::Null);
    }

    #[test]
    fn merged_sums_are_the_sum_of_all() {
        let mut left = sum(&json!([0.1, 1e-9]));
        left.merge(&sum(&json!([0.2, 2e-9])));
        assert_eq!(left.to_value(), json!(0.300_000_003));
        let mut exact = sum(&json!([0.1]));
        exact.merge(&sum(&json!([0.2])));
        assert_eq!(exact, sum(&json!([0.3])));
    }

    #[test]
    fn a_mean_is_the_sum_over_the_count() {
        assert_eq!(sum(&json!([1, 2])).mean(2), json!(1.5));
        assert_eq!(sum(&json!([])).mean(0), Value::Null);
    }
}
