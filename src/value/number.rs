//! Numbers, compared exactly: no integer is rounded to a float on the way.

use std::cmp::Ordering;

use serde_json::{Number, Value};

/// How many millionths make one.
pub(crate) const MILLION: i128 = 1_000_000;

/// 2^53: below it, every whole number is a float of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// 2^64, the end of the whole numbers that JSON can hold exactly.
const WHOLE: f64 = 18_446_744_073_709_551_616.0;

/// A number as comparisons see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Num {
    /// A whole number.
    Int(i128),
    /// Any other; not NaN.
    Float(f64),
    /// `millionths / 1,000,000 / over`, unrounded; `over` is not zero.
    Mean {
        /// The sum of what the mean is of, in millionths.
        millionths: i128,
        /// How many were added.
        over: u64,
    },
}

impl Num {
    /// The number that JSON holds.
    pub(crate) fn of(number: &Number) -> Option<Self> {
        number
            .as_i64()
            .map(i128::from)
            .or_else(|| number.as_u64().map(i128::from))
            .map(Self::Int)
            .or_else(|| number.as_f64().filter(|float| !float.is_nan()).map(Self::Float))
    }

    /// The number that `text` spells in decimal digits, white space around it aside.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let decimal = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E');
        if text.is_empty() || !text.bytes().all(decimal) {
            return None;
        }
        match text.parse() {
            Ok(whole) => Some(Self::Int(whole)),
            Err(_) => text.parse().ok().filter(|float: &f64| float.is_finite()).map(Self::Float),
        }
    }

    /// The number that JSON can hold and that is nearest to this one.
    pub(crate) fn to_value(self) -> Value {
        match self {
            Self::Int(whole) => match (i64::try_from(whole), u64::try_from(whole)) {
                (Ok(whole), _) => whole.into(),
                (_, Ok(whole)) => whole.into(),
                _ => self.as_f64().into(),
            },
            Self::Float(float) => float.into(),
            Self::Mean { millionths, over } => {
                let one = MILLION * i128::from(over);
                if millionths % one == 0 {
                    Self::Int(millionths / one).to_value()
                } else {
                    self.as_f64().into()
                }
            }
        }
    }

    /// The float nearest to the number.
    #[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
    pub(crate) fn as_f64(self) -> f64 {
        match self {
            Self::Int(whole) => whole as f64,
            Self::Float(float) => float,
            Self::Mean { millionths, over } => {
                // Divided as whole numbers with all the digits that there is room for, and rounded once, at the end.
                let whole = millionths.unsigned_abs();
                let over = MILLION.unsigned_abs() * u128::from(over);
                let shift = whole.leading_zeros().min(127);
                let (quotient, rest) = ((whole << shift) / over, (whole << shift) % over);
                let float = (quotient | u128::from(rest > 0)) as f64 / (1_u128 << shift) as f64;
                if millionths < 0 { -float } else { float }
            }
        }
    }

    /// Which of two numbers is the greater. Numbers that are equal as decimals of up to six places are equal.
    pub(crate) fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Int(a), Self::Float(b)) => int_and_float(a, b),
            (Self::Float(a), Self::Int(b)) => int_and_float(b, a).reverse(),
            (Self::Mean { millionths, over }, Self::Int(b)) => mean_and_int(millionths, over, b, MILLION),
            (Self::Mean { millionths, over }, Self::Float(b)) => mean_and_float(millionths, over, b),
            (a, b @ Self::Mean { .. }) if !matches!(a, Self::Mean { .. }) => b.order(a).reverse(),
            (Self::Mean { millionths: a, over: m }, Self::Mean { millionths: b, over: n }) => {
                match (a.checked_mul(n.into()), b.checked_mul(m.into())) {
                    (Some(a), Some(b)) => a.cmp(&b),
                    _ => self.as_f64().total_cmp(&other.as_f64()),
                }
            }
            (_, Self::Mean { .. }) => Ordering::Equal,
        }
    }
}

/// `float` in millionths, where it is the float nearest to a whole number or to a decimal of up to six places.
///
/// A decimal is told from its neighbours as long as its digits, read as one whole number, stay below 2^53.
#[expect(clippy::cast_possible_truncation, reason = "whole and in range, so the casts are exact")]
#[expect(clippy::float_cmp, reason = "the question is whether it is that very float")]
pub(crate) fn millionths(float: f64) -> Option<i128> {
    if float.fract() == 0.0 {
        return (float.abs() < WHOLE).then(|| float as i128 * MILLION);
    }
    let mut unit = 1;
    for scale in [1e6, 1e5, 1e4, 1e3, 1e2, 1e1] {
        let scaled = (float * scale).round();
        if scaled.abs() < EXACT {
            return (scaled / scale == float).then_some(scaled as i128 * unit);
        }
        unit *= 10;
    }
    None
}

#[expect(clippy::cast_possible_truncation, reason = "the fraction goes on its own, the rest is in range")]
fn int_and_float(int: i128, float: f64) -> Ordering {
    const BEYOND: f64 = 1.7e38;
    if float >= BEYOND {
        return Ordering::Less;
    }
    if float <= -BEYOND {
        return Ordering::Greater;
    }
    int.cmp(&(float.trunc() as i128)).then_with(|| 0.0.partial_cmp(&float.fract()).unwrap_or(Ordering::Equal))
}

/// Compares `millionths / over` with `int × unit`.
fn mean_and_int(millionths: i128, over: u64, int: i128, unit: i128) -> Ordering {
    match int.checked_mul(unit).and_then(|int| int.checked_mul(over.into())) {
        Some(int) => millionths.cmp(&int),
        None => 0.cmp(&int),
    }
}

fn mean_and_float(millionths: i128, over: u64, float: f64) -> Ordering {
    if let Some(decimal) = self::millionths(float) {
        return mean_and_int(millionths, over, decimal, 1);
    }
    let sign = || 0.0.partial_cmp(&float).unwrap_or(Ordering::Equal);
    if !float.is_finite() {
        return sign();
    }
    // `float` is mantissa × 2^exponent, and both sides are brought to whole numbers.
    let bits = float.to_bits();
    let raw = i32::try_from((bits >> 52) & 0x7ff).unwrap_or_default();
    let fraction = i128::from(bits & ((1 << 52) - 1));
    let mantissa = if raw == 0 { fraction } else { fraction | (1 << 52) };
    let exponent = raw.max(1) - 1075;
    let signed = if float < 0.0 { -mantissa } else { mantissa };
    let Some(scaled) = signed.checked_mul(MILLION).and_then(|signed| signed.checked_mul(over.into())) else {
        return sign();
    };
    let shift = exponent.unsigned_abs();
    if exponent >= 0 {
        if scaled.unsigned_abs().leading_zeros() > shift + 1 {
            millionths.cmp(&(scaled << shift))
        } else {
            sign()
        }
    } else if millionths == 0 || millionths.unsigned_abs().leading_zeros() > shift + 1 {
        (if millionths == 0 { 0 } else { millionths << shift }).cmp(&scaled)
    } else {
        millionths.cmp(&0)
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering::{Equal, Greater, Less};

    use super::*;

    #[test]
    fn integers_and_floats_compare_without_rounding() {
        let big = 9_007_199_254_740_993;
        for (a, b, order) in [
            (Num::Int(big), Num::Float(9_007_199_254_740_992.0), Greater),
            (Num::Int(big - 1), Num::Float(9_007_199_254_740_992.0), Equal),
            (Num::Int(i128::from(u64::MAX)), Num::Float(WHOLE), Less),
            (Num::Int(1), Num::Float(1.0), Equal),
            (Num::Int(1), Num::Float(1.5), Less),
            (Num::Int(-1), Num::Float(-1.5), Greater),
            (Num::Int(0), Num::Float(-0.0), Equal),
            (Num::Int(0), Num::Float(5e-324), Less),
            (Num::Int(i128::from(i64::MIN)), Num::Float(-1e300), Greater),
            (Num::Float(0.1), Num::Float(0.2), Less),
        ] {
            assert_eq!(a.order(b), order, "{a:?} {b:?}");
            assert_eq!(b.order(a), order.reverse(), "{b:?} {a:?}");
        }
    }

    #[test]
    fn means_compare_as_decimals_and_exactly() {
        let mean = |millionths, over| Num::Mean { millionths, over };
        for (a, b, order) in [
            (mean(300_000, 1), Num::Float(0.3), Equal),
            (mean(300_000, 2), Num::Float(0.15), Equal),
            (mean(300_000, 1), Num::Float(0.300_000_000_1), Less),
            (mean(1_000_000, 3), Num::Float(1.0 / 3.0), Greater),
            (mean(1_000_000, 3), Num::Float(0.333_333_333_333_333_4), Less),
            (mean(2_000_000, 3), mean(4_000_000, 6), Equal),
            (mean(6_000_000, 2), Num::Int(3), Equal),
            (mean(10_000_000_000_100_000, 1), Num::Float(10_000_000_000.1), Equal),
            (mean(1, 1), Num::Float(1e-300), Greater),
            (mean(0, 1), Num::Float(1e-300), Less),
            (mean(0, 1), Num::Float(-1e-300), Greater),
            (mean(-1, 1), Num::Float(-1e-300), Less),
            (mean(1, 1), Num::Float(1e300), Less),
            (mean(-1, 1), Num::Float(f64::NEG_INFINITY), Greater),
            (mean(1, 1), Num::Int(i128::MAX), Less),
        ] {
            assert_eq!(a.order(b), order, "{a:?} {b:?}");
            assert_eq!(b.order(a), order.reverse(), "{b:?} {a:?}");
        }
        assert_eq!(mean(300_000, 1).to_value().to_string(), "0.3");
        assert_eq!(mean(10_000_000_000_100_000, 1).to_value().to_string(), "10000000000.1");
        assert_eq!(mean(5_000_000, 1).to_value().to_string(), "5");
        // Beyond 2^53 millionths, too, it is the nearest float: rounded once, ties to even.
        assert_eq!(mean(1_000_000_000_000_000_100_000, 1).to_value().to_string(), "1000000000000000.1");
        assert_eq!(mean(-1_000_000_000_000_002_300_000, 1).to_value().to_string(), "-1000000000000002.2");
        assert_eq!(mean(9_007_199_254_741_993 * MILLION, 2).as_f64().to_string(), "4503599627370996");
        assert_eq!(mean(1, 3).as_f64().to_string(), (1.0_f64 / 3e6).to_string());
        assert_eq!(mean(0, 3).as_f64().to_string(), "0");
    }

    #[test]
    fn decimals_are_told_from_other_floats() {
        for (float, expected) in [
            (0.1, Some(100_000)),
            (-2.5, Some(-2_500_000)),
            (0.000_001, Some(1)),
            (0.000_000_1, None),
            (1.0 / 3.0, None),
            (1e15, Some(1_000_000_000_000_000 * MILLION)),
            (1e300, None),
            (90_000_000_000_000.12, Some(90_000_000_000_000_120_000)),
            (f64::INFINITY, None),
            (f64::NAN, None),
        ] {
            assert_eq!(millionths(float), expected, "{float}");
        }
    }

    #[test]
    fn numbers_in_text_are_decimal() {
        for (text, expected) in [
            ("5", Some(Num::Int(5))),
            (" -7 ", Some(Num::Int(-7))),
            ("2.50", Some(Num::Float(2.5))),
            ("1e3", Some(Num::Float(1000.0))),
        ] {
            assert_eq!(Num::of_text(text), expected, "{text}");
        }
        for text in ["", " ", "inf", "NaN", "0x10", "1,000", "5 apples", "1e999", "e", "-"] {
            assert_eq!(Num::of_text(text), None, "{text}");
        }
    }
}
