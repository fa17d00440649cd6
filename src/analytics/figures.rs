//! Figures of many values.

/// The quantile `of_ten` / 10 of lengths of time in microseconds, in seconds, by linear interpolation between the two
/// nearest: position `quantile × (n − 1)` of the sorted values. That is definition 7 of R. J. Hyndman and Y. Fan, *Sample
/// Quantiles in Statistical Packages* (The American Statistician, 1996), and the default of R, `NumPy` and Excel. None of
/// no values.
///
/// All but the last division is in whole numbers, so nothing is rounded twice. The values are not sorted, but put in another
/// order; of the first `ordered` ones it is known that none of the others is smaller.
#[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
fn seconds(values: &mut [i64], of_ten: usize, ordered: usize) -> Option<f64> {
    let last = values.len().checked_sub(1)?;
    let (below, tenths) = (of_ten * last / 10, of_ten * last % 10);
    let (_, low, above) = values[ordered..].select_nth_unstable(below - ordered);
    let low = i128::from(*low);
    let high = above.iter().min().map_or(low, |high| i128::from(*high));
    let ten_times = low * 10 + (high - low) * i128::try_from(tenths).ok()?;
    Some(ten_times as f64 / 1e7)
}

/// The middle of lengths of time in microseconds, in seconds.
pub(super) fn median_seconds(values: &mut [i64]) -> Option<f64> {
    seconds(values, 5, 0)
}

/// The middle, and what nine of ten lengths of time stay below; the latter is looked for behind the former alone.
pub(super) fn median_and_p90_seconds(values: &mut [i64]) -> (Option<f64>, Option<f64>) {
    let median = median_seconds(values);
    (median, seconds(values, 9, 5 * values.len().saturating_sub(1) / 10))
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
        assert_eq!(median_seconds(&mut []), None);
        let p90_seconds = |values: &mut [i64]| median_and_p90_seconds(values).1;
        assert_eq!(p90_seconds(&mut []), None);
        assert_eq!(p90_seconds(&mut [7 * second]), Some(7.0));
        assert_eq!(median_seconds(&mut [second, 2 * second]), Some(1.5));
        assert_eq!(median_seconds(&mut [10, 1, 2].map(|n| n * second)), Some(2.0));
        assert_eq!(median_seconds(&mut [2, 10, 3, 1].map(|n| n * second)), Some(2.5));
        // numpy.percentile([10, 20, 30, 40, 50], 90) is 46, and of [1, 2] it is 1.9.
        assert_eq!(p90_seconds(&mut [50, 20, 40, 30, 10].map(|n| n * second)), Some(46.0));
        assert_eq!(p90_seconds(&mut [second, 2 * second]), Some(1.9));
    }
}
