//! Figures of many values.

/// The `quantile` (0 to 1) of values, by linear interpolation between the two nearest: position `quantile × (n − 1)`
/// of the sorted values. That is definition 7 of R. J. Hyndman and Y. Fan, *Sample Quantiles in Statistical Packages*
/// (The American Statistician, 1996), and the default of R, NumPy and Excel. None of no values.
#[expect(clippy::cast_precision_loss, reason = "positions among values in memory, and times below 2^53 µs")]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the position lies among the values"
)]
pub(super) fn quantile(sorted: &[i64], quantile: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = quantile * last as f64;
    let below = (position.floor() as usize).min(last);
    let above = (below + 1).min(last);
    let (low, high) = (sorted[below], sorted[above]);
    Some(low as f64 + (high - low) as f64 * (position - below as f64))
}

/// A number of microseconds in seconds.
pub(super) fn in_seconds(micros: f64) -> f64 {
    micros / 1e6
}

/// The middle of lengths of time in microseconds, in seconds.
pub(super) fn median_seconds(sorted: &[i64]) -> Option<f64> {
    quantile(sorted, 0.5).map(in_seconds)
}

/// What nine of ten lengths of time stay below, in seconds.
pub(super) fn p90_seconds(sorted: &[i64]) -> Option<f64> {
    quantile(sorted, 0.9).map(in_seconds)
}

/// A part of a whole, 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
pub(super) fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::float_cmp, reason = "exact in floating point")]
    fn quantiles_lie_between_the_two_nearest_values() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[7], 0.9), Some(7.0));
        assert_eq!(quantile(&[1, 2], 0.5), Some(1.5));
        assert_eq!(quantile(&[1, 2, 10], 0.5), Some(2.0));
        assert_eq!(quantile(&[1, 2, 3, 10], 0.5), Some(2.5));
        // numpy.percentile([10, 20, 30, 40, 50], 90) is 46.
        assert!((quantile(&[10, 20, 30, 40, 50], 0.9).unwrap() - 46.0).abs() < 1e-12);
        assert_eq!(median_seconds(&[1_000_000, 2_000_000]), Some(1.5));
    }
}
