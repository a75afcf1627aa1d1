//! Chance as arithmetic: the same seed gives the same draws.

/// Stirs a number so that neighbours have nothing in common.
///
/// The mixing is that of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
pub(crate) const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A random number from 0 up to, not including, 1, from two numbers that together are new each time.
pub(crate) fn draw(seed: u64, nonce: u64) -> f64 {
    // 32 bits are exact in an f64.
    f64::from(u32::try_from(mix(seed ^ nonce) >> 32).unwrap_or(0)) / f64::from(u32::MAX).next_up()
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
    fn neighbouring_seeds_share_no_draws() {
        let of = |seed: u64| -> Vec<u64> { (0..100).map(|n| draw(mix(seed), n).to_bits()).collect() };
        let (a, b) = (of(4), of(5));
        assert!(a.iter().all(|draw| !b.contains(draw)));
    }
}
