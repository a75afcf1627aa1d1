//! The names that a registry keeps breakers under.

use std::borrow::Cow;

/// The longest name, in bytes, and how much of a longer one is kept.
const LONGEST_NAME: usize = 255;
const KEPT: usize = 200;

/// A name that is no longer than it may be. The same in every process and release, so that a fleet meets under it.
pub(super) fn bounded(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST_NAME {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("{}~{:032x}", &name[..name.floor_char_boundary(KEPT)], fnv(name.as_bytes())))
}

/// FNV-1a of 128 bits (Fowler, Noll, Vo; RFC 9923): small, and specified, as the standard library's hashes are not.
fn fnv(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By the test vectors of RFC 9923.
    #[test]
    fn names_are_hashed_as_the_rfc_has_it() {
        assert_eq!(fnv(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fnv(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }
}
