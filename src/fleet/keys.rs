//! Which members have which key.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::RangeInclusive;

use super::member::MemberId;

/// Members by the hashes of their keys: a member knows its key, which need not be kept twice.
#[derive(Debug, Default)]
pub(super) struct Keys {
    /// By chance, so that no names can be chosen that all have one hash.
    hashes: RandomState,
    members: BTreeSet<(u64, MemberId)>,
}

impl Keys {
    pub(super) fn insert(&mut self, key: &str, id: MemberId) {
        self.members.insert((self.hashes.hash_one(key), id));
    }

    pub(super) fn remove(&mut self, key: &str, id: MemberId) {
        self.members.remove(&(self.hashes.hash_one(key), id));
    }

    /// Members that may have this key: those that have it are among them, in their order.
    pub(super) fn candidates(&self, key: &str) -> impl Iterator<Item = MemberId> + '_ {
        let hash = self.hashes.hash_one(key);
        let with_hash: RangeInclusive<_> = (hash, MemberId(0))..=(hash, MemberId(u64::MAX));
        self.members.range(with_hash).map(|(_, id)| *id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found_by_their_key_until_they_leave() {
        let mut keys = Keys::default();
        (0..1_000).for_each(|id| keys.insert(&format!("key-{}", id / 2), MemberId(id)));
        let of = |keys: &Keys, key: &str| keys.candidates(key).collect::<Vec<_>>();
        assert_eq!(of(&keys, "key-7"), [MemberId(14), MemberId(15)]);
        keys.remove("key-7", MemberId(14));
        assert_eq!(of(&keys, "key-7"), [MemberId(15)]);
        assert_eq!(of(&keys, "key"), []);
    }
}
