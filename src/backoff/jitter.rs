//! Random spreading of delays.

use std::time::Duration;

/// Moves `delay` by up to `fraction` of itself either way; `draw` is a random number from 0 to 1.
pub(crate) fn spread(delay: Duration, fraction: f64, draw: f64) -> Duration {
    let moved = delay.as_secs_f64() * (1.0 + fraction * (2.0 * draw - 1.0));
    Duration::try_from_secs_f64(moved).unwrap_or(delay)
}

/// A random number from 0 up to, not including, 1, from two numbers that together are new each time.
///
/// The mixing is that of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub(crate) fn draw(seed: u64, nonce: u64) -> f64 {
    let mut z = (seed ^ nonce).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // 32 bits are exact in an f64.
    f64::from(u32::try_from(z >> 32).unwrap_or(0)) / f64::from(u32::MAX).next_up()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_lie_within_zero_and_one_and_differ() {
        let draws: Vec<f64> = (0..1000).map(|n| draw(7, n)).collect();
        assert!(draws.iter().all(|d| (0.0..1.0).contains(d)));
        let mean = draws.iter().sum::<f64>() / 1000.0;
        assert!((0.45..0.55).contains(&mean), "{mean}");
    }

    #[test]
    fn stays_within_the_fraction() {
        let d = Duration::from_secs(10);
        assert_eq!(spread(d, 0.1, 0.0), Duration::from_secs(9));
        assert_eq!(spread(d, 0.1, 0.5), d);
        assert_eq!(spread(d, 0.1, 1.0), Duration::from_secs(11));
        assert_eq!(spread(d, 0.0, 0.9), d);
    }
}
