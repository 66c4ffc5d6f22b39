use std::time::Duration;

/// How long a client may take for its body: never still for longer than `patience`, and in all no longer than that and a
/// second for each KiB that came. Who sends a byte now and then holds a request up for ever otherwise.
pub(super) struct Pace {
    patience: Duration,
    waited: Duration,
    bytes: u64,
}

/// The bytes that must come in a second, on the whole: half of what a telephone line carried.
const LEAST: u64 = 1 << 10;

impl Pace {
    /// Of a body of which nothing came yet.
    pub fn new(patience: Duration) -> Self {
        Self {
            patience,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// How long may be waited for the next piece.
    pub fn left(&self) -> Duration {
        let earned = Duration::from_millis(self.bytes.saturating_mul(1000) / LEAST);
        let in_all = self.patience.saturating_add(earned);
        in_all.saturating_sub(self.waited).min(self.patience)
    }

    /// So long the client was waited for.
    pub fn waited(&mut self, time: Duration) {
        self.waited = self.waited.saturating_add(time);
    }

    /// So many bytes came.
    pub fn came(&mut self, bytes: usize) {
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_pause_but_must_come_on_the_whole() {
        // Bytes, and the seconds that each took to come; the patience is ten seconds.
        let cases: [(&[(usize, u64)], u64); 6] = [
            (&[], 10),
            (&[(1, 9)], 1), // a byte earns no more time to speak of
            (&[(1, 9), (1, 1)], 0),
            (&[(10 << 10, 9)], 10),             // ten KiB earn ten seconds
            (&[(1 << 20, 0)], 10),              // and never more than the patience at once
            (&[(5 << 10, 9), (5 << 10, 9)], 2), // 18 of 20 are gone
        ];
        for (pieces, seconds) in cases {
            let mut pace = Pace::new(Duration::from_secs(10));
            for (bytes, took) in pieces {
                pace.waited(Duration::from_secs(*took));
                pace.came(*bytes);
            }
            assert_eq!(pace.left().as_secs(), seconds, "{pieces:?}");
        }
    }
}
