//! The names that a registry keeps breakers under, and how they are found.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hasher, RandomState};

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

/// Hashes names at a fraction of the price of the standard library's hash: each call of a keyed layer hashes its key twice.
///
/// Names may come from requests. Three secret numbers, drawn anew for each registry, go into every step, and a hash is never
/// shown, so that names that meet in one place cannot be made on purpose; and a registry holds no more names than it may.
#[derive(Clone, Debug)]
pub(super) struct NameHashes {
    secrets: [u64; 3],
}

impl NameHashes {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self { secrets: [0_u64, 1, 2].map(|number| random.hash_one(number)) }
    }
}

impl BuildHasher for NameHashes {
    type Hasher = NameHasher;

    #[inline]
    fn build_hasher(&self) -> NameHasher {
        let [first, last, hash] = self.secrets;
        NameHasher { first, last, hash }
    }
}

/// Multiplies sixteen bytes at a time, each half and the hash so far hidden by a secret, into a product of twice the length,
/// and takes the two halves of that together: so every bit of a name changes about half of the bits of its hash.
#[derive(Debug)]
pub(super) struct NameHasher {
    first: u64,
    last: u64,
    hash: u64,
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = a.carrying_mul(b, 0);
    low ^ high
}

impl Hasher for NameHasher {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        // By a secret as well: as it is, the length and the last byte could make up for each other.
        let mut hash = self.hash.wrapping_add((bytes.len() as u64).wrapping_mul(self.first | 1));
        let mut rest = bytes;
        while rest.len() > 16
            && let Some((block, more)) = rest.split_first_chunk::<16>()
        {
            let [low, high] = halves(*block);
            hash = fold(low ^ self.first, high ^ hash);
            rest = more;
        }
        // What is left is read from both of its ends; where these meet, the length has told that.
        let (low, high) = if let (Some(start), Some(end)) = (rest.first_chunk::<8>(), rest.last_chunk::<8>()) {
            (u64::from_le_bytes(*start), u64::from_le_bytes(*end))
        } else if let (Some(start), Some(end)) = (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
            (u32::from_le_bytes(*start).into(), u32::from_le_bytes(*end).into())
        } else if let (Some(start), Some(end)) = (rest.first(), rest.last()) {
            (u64::from(*start) << 8 | u64::from(rest[rest.len() / 2]), u64::from(*end))
        } else {
            (0, 0)
        };
        self.hash = fold(low ^ self.last, high ^ hash);
    }

    /// The mark at the end of a text, whose length is hashed already.
    #[inline]
    fn write_u8(&mut self, _mark: u8) {}

    #[inline]
    fn finish(&self) -> u64 {
        self.hash
    }
}

#[inline]
fn halves(block: [u8; 16]) -> [u64; 2] {
    let both = u128::from_le_bytes(block);
    [0, 64].map(|shift| u64::try_from(both >> shift & u128::from(u64::MAX)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// By the test vectors of RFC 9923.
    #[test]
    fn names_are_hashed_as_the_rfc_has_it() {
        assert_eq!(fnv(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fnv(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }

    /// Names of one length, and of many: none may meet, as among so few a hash of 64 bits gives no two the same value.
    fn families() -> Vec<String> {
        let numbered = (0..20_000).map(|n| format!("api-{n}.tenants.example.com"));
        let last = (0..20_000).map(|n| format!("https://tenants.example.com/orders/by/number/{n:08}"));
        let short = (0..20_000_u32).map(|n| format!("{n:x}"));
        let long = (0..256).map(|len| "\0".repeat(len));
        numbered.chain(last).chain(short).chain(long).collect()
    }

    #[test]
    fn names_do_not_meet() {
        let (hashes, names) = (NameHashes::new(), families());
        let all: HashSet<u64> = names.iter().map(|name| hashes.hash_one(&**name)).collect();
        assert_eq!(all.len(), names.len());
    }

    /// A map looks at the upper and at the lower bits; which part of a registry has the name, those between say.
    #[test]
    fn names_are_spread_by_all_bits() {
        let (hashes, names) = (NameHashes::new(), families());
        let place = |bits: u64| usize::try_from(bits % 16).unwrap_or(0);
        for shift in [0, 20, 32, 57, 60] {
            let mut places = [0_usize; 16];
            names.iter().for_each(|name| places[place(hashes.hash_one(&**name) >> shift)] += 1);
            let mean = names.len() / 16;
            assert!(places.iter().all(|n| n.abs_diff(mean) < mean / 5), "{shift}: {places:?}");
        }
    }

    /// A bit of a name changes each bit of the hash about half of the time, wherever it is in the name.
    #[test]
    fn every_bit_of_a_name_counts() {
        let hashes = NameHashes::new();
        let hash = |bytes: &[u8]| {
            let mut hasher = hashes.build_hasher();
            hasher.write(bytes);
            hasher.finish()
        };
        for len in 1..100_usize {
            let name: Vec<u8> = (0..len).map(|at| u8::try_from((at * 37 + len) % 256).unwrap_or(0)).collect();
            let mut changed = 0_u64;
            for bit in 0..len * 8 {
                let mut other = name.clone();
                other[bit / 8] ^= 1 << (bit % 8);
                let differs = hash(&name) ^ hash(&other);
                assert_ne!(differs, 0, "{len}: {bit}");
                changed += u64::from(differs.count_ones());
            }
            let mean = changed / (len as u64 * 8);
            assert!((24..=40).contains(&mean), "{len}: {mean} of 64");
        }
    }

    /// Which names meet is not to be learnt from another registry.
    #[test]
    fn each_registry_has_secrets_of_its_own() {
        let names = families();
        let order = |hashes: &NameHashes| {
            let mut by_hash: Vec<usize> = (0..100).collect();
            by_hash.sort_by_key(|at| hashes.hash_one(&*names[*at]));
            by_hash
        };
        let (one, other) = (NameHashes::new(), NameHashes::new());
        assert_eq!(order(&one), order(&one.clone()));
        assert_ne!(order(&one), order(&other));
    }
}
