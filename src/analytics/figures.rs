//! Figures of many values.

/// The quantile `of_ten` / 10 of lengths of time in microseconds, in seconds, by linear interpolation between the two
/// nearest: position `quantile × (n − 1)` of the sorted values. That is definition 7 of R. J. Hyndman and Y. Fan, *Sample
/// Quantiles in Statistical Packages* (The American Statistician, 1996), and the default of R, `NumPy` and Excel. None of
/// no values.
///
/// All but the last division is in whole numbers, so nothing is rounded twice.
#[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
fn seconds(sorted: &[i64], of_ten: usize) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let (below, tenths) = (of_ten * last / 10, of_ten * last % 10);
    let (low, high) = (i128::from(sorted[below]), i128::from(sorted[(below + 1).min(last)]));
    let ten_times = low * 10 + (high - low) * i128::try_from(tenths).ok()?;
    Some(ten_times as f64 / 1e7)
}

/// The middle of lengths of time in microseconds, in seconds.
pub(super) fn median_seconds(sorted: &[i64]) -> Option<f64> {
    seconds(sorted, 5)
}

/// What nine of ten lengths of time stay below, in seconds.
pub(super) fn p90_seconds(sorted: &[i64]) -> Option<f64> {
    seconds(sorted, 9)
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
    fn quantiles_lie_between_the_two_nearest_values() {
        let second = 1_000_000;
        assert_eq!(median_seconds(&[]), None);
        assert_eq!(p90_seconds(&[7 * second]), Some(7.0));
        assert_eq!(median_seconds(&[second, 2 * second]), Some(1.5));
        assert_eq!(median_seconds(&[1, 2, 10].map(|n| n * second)), Some(2.0));
        assert_eq!(median_seconds(&[1, 2, 3, 10].map(|n| n * second)), Some(2.5));
        // numpy.percentile([10, 20, 30, 40, 50], 90) is 46, and of [1, 2] it is 1.9.
        assert_eq!(p90_seconds(&[10, 20, 30, 40, 50].map(|n| n * second)), Some(46.0));
        assert_eq!(p90_seconds(&[second, 2 * second]), Some(1.9));
    }
}
