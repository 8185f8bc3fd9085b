//! A whole distribution, for a plot.

use super::tally::Latencies;

/// A distribution as its plot needs it: latencies over quantiles.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curve {
    /// From the least to the greatest: a quantile from 0 to less than 1, and
    /// the latency in microseconds that so great a part does not exceed.
    pub points: Vec<(f64, f64)>,
}

impl Curve {
    /// Twelve points for each nine, as far as there are so many values.
    pub(super) fn new(latencies: &Latencies) -> Self {
        const PER_NINE: u32 = 12;
        let nines = (latencies.count().max(1) as f64).log10();
        let last = (nines * f64::from(PER_NINE)).floor() as u32;
        let points = (0..=last)
            .map(|step| {
                let quantile = 1.0 - 10f64.powf(-f64::from(step) / f64::from(PER_NINE));
                (quantile, latencies.quantile_us(quantile))
            })
            .collect();
        Self { points }
    }
}
