use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{MetricEncoder, NoLabelSet};

/// How long something took, each time: a histogram whose every part is one atomic number.
///
/// prometheus-client's own has a mutex, which all requests would share.
#[derive(Debug, Default)]
pub struct Times {
    counts: [AtomicU64; BOUNDS.len()],
    beyond: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Times {
    /// Adds one.
    pub fn add(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let counts = BOUNDS.iter().zip(&self.counts);
        let fits = counts
            .filter(|(bound, _)| seconds <= **bound)
            .map(|(_, count)| count)
            .next();
        fits.unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Under how many milliseconds so large a part of them was, by the bounds that are counted by; nothing while there are none, and
    /// none beyond the last bound.
    pub fn quantile(&self, part: f64) -> Option<f64> {
        let counts = self
            .counts
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        let counts: Vec<_> = counts.collect();
        let all: u64 = counts.iter().sum::<u64>() + self.beyond.load(Ordering::Relaxed);
        let mut sum = 0;
        let within = |(_, count): &(&f64, &u64)| {
            sum += **count;
            all > 0 && as_float(sum) >= part * as_float(all)
        };
        let bound = BOUNDS
            .iter()
            .zip(&counts)
            .find(within)
            .map(|(bound, _)| *bound);
        bound.map(|seconds| (seconds * 1e5).round() / 1e2)
    }

    /// The count is the sum of what is shown, so that the two never differ while requests go on.
    pub(super) fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let mut counts: Vec<_> = BOUNDS
            .iter()
            .zip(&self.counts)
            .map(|(bound, count)| (*bound, count.load(Ordering::Relaxed)))
            .collect();
        counts.push((f64::INFINITY, self.beyond.load(Ordering::Relaxed)));
        let count = counts.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &counts, None)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of requests are far below what a float holds"
)]
fn as_float(count: u64) -> f64 {
    count as f64
}

/// Seconds: from what a decision takes to what the API may take.
const BOUNDS: [f64; 18] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];
