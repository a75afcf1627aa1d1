//! The names of things in the server.

/// Shards of a namespace. A constant of the format: with it, a single server's keys are a cluster's.
pub(super) const SHARDS: u16 = 16;
/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// Where a namespace keeps things.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    namespace: String,
}

/// The keys of one breaker, all in one slot of a cluster.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) record: String,
    pub(super) outbox: String,
    pub(super) marks: [String; 2],
    /// What changed in its shard of late.
    pub(super) changes: String,
    /// Where its changes are told.
    pub(super) channel: String,
}

impl Layout {
    pub(super) const fn new(namespace: String) -> Self {
        Self { namespace }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn record(&self, name: &str) -> String {
        format!("{}:r:{name}", self.shard(shard_of(name)))
    }

    pub(super) fn keys(&self, name: &str) -> Keys {
        let shard = self.shard(shard_of(name));
        Keys {
            record: self.record(name),
            outbox: format!("{shard}:o:{name}"),
            marks: [format!("{shard}:w0:{name}"), format!("{shard}:w1:{name}")],
            changes: format!("{shard}:ch"),
            channel: format!("{shard}:ev"),
        }
    }

    /// Where what changed of late is kept, and in which shard.
    pub(super) fn changes(&self) -> Vec<(u16, String)> {
        (0..SHARDS).map(|shard| (shard, format!("{}:ch", self.shard(shard)))).collect()
    }

    pub(super) fn channels(&self) -> Vec<String> {
        (0..SHARDS).map(|shard| format!("{}:ev", self.shard(shard))).collect()
    }

    /// A pattern that every record's key has, and perhaps others.
    pub(super) fn records(&self) -> String {
        // No letter of a namespace means anything in a pattern.
        format!("fb:{{{}:*}}:r:*", self.namespace)
    }

    /// The name of the breaker whose record is there; `None` where it is none of ours.
    pub(super) fn name<'a>(&self, record: &'a str) -> Option<&'a str> {
        let rest = record.strip_prefix("fb:{")?.strip_prefix(&self.namespace)?.strip_prefix(':')?;
        let (_, name) = rest.split_once("}:r:")?;
        (self.record(name) == record).then_some(name)
    }

    /// The cluster's slot of each shard, in order.
    pub(super) fn slots(&self) -> Vec<u16> {
        let slot = |shard| crc16(format!("{}:{shard}", self.namespace).as_bytes()) % SLOTS;
        (0..SHARDS).map(slot).collect()
    }

    fn shard(&self, shard: u16) -> String {
        format!("fb:{{{}:{shard}}}", self.namespace)
    }
}

/// Which shard a breaker is in.
pub(super) fn shard_of(name: &str) -> u16 {
    crc16(name.as_bytes()) % SHARDS
}

/// The checksum by which a cluster finds slots (CRC-16/XMODEM).
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_clusters() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn slots_are_those_of_the_hash_tags() {
        // `CLUSTER KEYSLOT fb:{prod:0}:r:x` and so on.
        assert_eq!(Layout::new("prod".into()).slots()[..3], [2563, 6690, 10817]);
    }

    #[test]
    fn keys_of_a_breaker_share_a_hash_tag() {
        let keys = Layout::new("prod".into()).keys("payments");
        let (tag, _) = keys.record.split_once('}').expect("a tag");
        assert!(tag.starts_with("fb:{prod:"), "{tag}");
        for key in [&keys.outbox, &keys.marks[0], &keys.marks[1], &keys.changes, &keys.channel] {
            assert!(key.starts_with(tag), "{key}");
        }
        let layout = Layout::new("prod".into());
        assert!(layout.channels().contains(&keys.channel));
        assert!(layout.changes().contains(&(shard_of("payments"), keys.changes)));
    }

    #[test]
    fn names_come_back_from_their_keys() {
        let layout = Layout::new("prod".into());
        for name in ["payments", "a}:r:b", ""] {
            assert_eq!(layout.name(&layout.record(name)), Some(name));
        }
        let wrong_shard = format!("fb:{{prod:{}}}:r:payments", (shard_of("payments") + 1) % SHARDS);
        for other in [wrong_shard.as_str(), "fb:{prod2:1}:r:a", "payments"] {
            assert_eq!(layout.name(other), None);
        }
    }
}
