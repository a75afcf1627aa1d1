//! Which members have which key.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use super::member::MemberId;

/// Members by the hashes of their keys: a member knows its key, which need not be kept twice. Hashes are by chance, so
/// that no names can be chosen that all have one.
#[derive(Debug, Default)]
pub(super) struct Keys<S = RandomState> {
    hashes: S,
    members: BTreeSet<(u64, MemberId)>,
}

impl<S: BuildHasher> Keys<S> {
    pub(super) fn insert(&mut self, key: &str, id: MemberId) {
        self.members.insert((self.hashes.hash_one(key), id));
    }

    pub(super) fn remove(&mut self, key: &str, id: MemberId) {
        self.members.remove(&(self.hashes.hash_one(key), id));
    }

    /// The members with this key, in their order; `has_key` tells whether one has it.
    pub(super) fn of(&self, key: &str, has_key: impl Fn(MemberId) -> bool) -> Vec<MemberId> {
        let hash = self.hashes.hash_one(key);
        let with_hash = self.members.range((hash, MemberId(0))..=(hash, MemberId(u64::MAX)));
        with_hash.map(|(_, id)| *id).filter(|id| has_key(*id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, Hasher};

    use super::*;

    /// All keys have one hash.
    #[derive(Default)]
    struct Seven;

    impl Hasher for Seven {
        fn write(&mut self, _: &[u8]) {}

        fn finish(&self) -> u64 {
            7
        }
    }

    fn key_of(id: u64) -> String {
        format!("key-{}", id / 2)
    }

    fn members_are_found<S: BuildHasher + Default>() {
        let mut keys = Keys::<S>::default();
        (0..1_000).for_each(|id| keys.insert(&key_of(id), MemberId(id)));
        let of = |keys: &Keys<S>, key: &str| keys.of(key, |id| key_of(id.0) == key);
        assert_eq!(of(&keys, "key-7"), [MemberId(14), MemberId(15)]);
        keys.remove("key-7", MemberId(14));
        assert_eq!(of(&keys, "key-7"), [MemberId(15)]);
        assert_eq!(of(&keys, "key"), []);
    }

    #[test]
    fn members_are_found_by_their_key_until_they_leave_also_where_hashes_tell_nothing_apart() {
        members_are_found::<RandomState>();
        members_are_found::<BuildHasherDefault<Seven>>();
    }
}
