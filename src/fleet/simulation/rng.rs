//! Chance that comes back with its seed.

use std::time::Duration;

use crate::backoff::mix;

/// Random numbers, the same ones for the same seed.
#[derive(Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    pub(super) const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    /// From 0 up to, not including, `n`.
    pub(super) const fn below(&mut self, n: u64) -> u64 {
        self.number() % if n == 0 { 1 } else { n }
    }

    pub(super) fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).unwrap_or(0)
    }

    /// So many times of a thousand.
    pub(super) const fn permille(&mut self, n: u64) -> bool {
        self.below(1_000) < n
    }

    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        least + Duration::from_nanos(self.below(crate::time::nanos(most.saturating_sub(least)) + 1))
    }

    /// The time to the next of events that come by chance, so many a second.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "never negative, and no more exact than chance is"
    )]
    pub(super) fn gap(&mut self, a_second: f64) -> u64 {
        let draw = (self.below(1 << 40) as f64 + 1.0) / (1_u64 << 40) as f64;
        (-draw.ln() / a_second * 1e9).max(1_000.0) as u64
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }
}
