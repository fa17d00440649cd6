//! Rules that share each conversion out among the touches before it.
//!
//! A conversion is shared out in whole units, so that the credits of all channels add up to the conversions exactly,
//! in whatever order they are added.

use super::AttributionModel;

/// The units that one conversion has: 2^60.
pub(super) const UNITS: i128 = 1 << 60;

/// What a touch's weight halves in with time decay: seven days in microseconds.
const HALF_LIFE: f64 = 7.0 * 86_400.0 * 1e6;

/// A touch: the number of its channel, and how long before the conversion it was, in microseconds.
pub(super) type Touch = (usize, i64);

/// Shares one conversion out among its touches, the earliest first; `give` is told each channel with its units.
///
/// `direct` is the channel that last non-direct passes over where it can. Shapley's value of a path is each of its
/// channels' equal share (see the module), and the Markov model shares out all conversions together, not one.
pub(super) fn share_out(
    model: AttributionModel,
    touches: &[Touch],
    direct: Option<usize>,
    mut give: impl FnMut(usize, i128),
) {
    let Some(((last, _), before)) = touches.split_last() else { return };
    match model {
        AttributionModel::First => give(touches[0].0, UNITS),
        AttributionModel::Last => give(*last, UNITS),
        AttributionModel::LastNonDirect => {
            let named = touches.iter().rev().find(|(channel, _)| Some(*channel) != direct);
            give(named.map_or(*last, |(channel, _)| *channel), UNITS);
        }
        AttributionModel::Linear => weighed(touches, |_, _| 1.0, give),
        AttributionModel::Position => {
            let inner = before.len().saturating_sub(1);
            weighed(touches, |place, _| if inner == 0 { 1.0 } else { position(place, inner) }, give);
        }
        AttributionModel::TimeDecay => {
            // Against the latest touch, so that weights of old paths do not vanish.
            let youngest = touches[touches.len() - 1].1;
            #[expect(clippy::cast_precision_loss, reason = "times below 2^53 µs")]
            weighed(touches, |_, age| (-((age - youngest) as f64) / HALF_LIFE).exp2(), give);
        }
        AttributionModel::Shapley => {
            let mut channels: Vec<usize> = touches.iter().map(|(channel, _)| *channel).collect();
            channels.sort_unstable();
            channels.dedup();
            let each: Vec<Touch> = channels.into_iter().map(|channel| (channel, 0)).collect();
            weighed(&each, |_, _| 1.0, give);
        }
        AttributionModel::Markov => {}
    }
}

/// 40 % for the first and the last touch, 20 % for those between together.
#[expect(clippy::cast_precision_loss, reason = "fewer than 2^53 touches")]
fn position(place: usize, inner: usize) -> f64 {
    if place == 0 || place == inner + 1 { 0.4 } else { 0.2 / inner as f64 }
}

/// Shares a conversion out by weights; what rounding leaves goes to the last touch.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the rest goes to the last touch"
)]
fn weighed(touches: &[Touch], weight: impl Fn(usize, i64) -> f64, mut give: impl FnMut(usize, i128)) {
    let total: f64 = touches.iter().enumerate().map(|(place, (_, age))| weight(place, *age)).sum();
    let mut left = UNITS;
    for (place, (channel, age)) in touches.iter().enumerate() {
        let units = if place + 1 == touches.len() {
            left
        } else {
            ((weight(place, *age) / total * UNITS as f64) as i128).min(left)
        };
        left -= units;
        give(*channel, units);
    }
}

/// Units as conversions.
#[expect(clippy::cast_precision_loss, reason = "the nearest float is what is asked for")]
pub(super) fn conversions(units: i128) -> f64 {
    units as f64 / UNITS as f64
}
