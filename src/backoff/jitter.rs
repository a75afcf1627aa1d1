//! Random spreading of delays.

use std::time::Duration;

/// Moves `delay` by up to `fraction` of itself either way; `draw` is a random number from 0 to 1.
pub(crate) fn spread(delay: Duration, fraction: f64, draw: f64) -> Duration {
    let moved = delay.as_secs_f64() * (1.0 + fraction * (2.0 * draw - 1.0));
    Duration::try_from_secs_f64(moved).unwrap_or(delay)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_the_fraction() {
        let d = Duration::from_secs(10);
        assert_eq!(spread(d, 0.1, 0.0), Duration::from_secs(9));
        assert_eq!(spread(d, 0.1, 0.5), d);
        assert_eq!(spread(d, 0.1, 1.0), Duration::from_secs(11));
        assert_eq!(spread(d, 0.0, 0.9), d);
    }
}
