//! The numbers that all stores and the engine agree on.
//!
//! SQL and Lua have placeholders where they need one of these; `postgres/schema.rs` and `redis/script.rs` fill them in.
//! Instances of different releases share a store, so a number that changes here must suit the older ones as well.

use std::time::Duration;

/// The largest record, and the largest batch, in bytes.
#[cfg(any(feature = "postgres", feature = "redis"))]
pub(super) const LARGEST: usize = 64 * 1024;

/// How long a round of combining belongs to its writer: the lease, by the store's clock.
pub(crate) const ROUND_LEASE: Duration = Duration::from_millis(500);

/// Batches in one round, at most: the oldest that wait.
pub(crate) const MAX_ROUND_BATCHES: usize = 1_000;

/// Batches that may wait for a key, in its outbox. A store refuses more by answering with a conflict, but for that of a
/// writer that gets a round: were it refused, all who have a batch to tell would try again and none would make room.
pub(crate) const OUTBOX_CAPACITY: usize = 4_096;

/// The deduplication window: how long a store knows the number of a writer's last batch, at least.
pub(crate) const DEDUP_WINDOW: Duration = Duration::from_secs(60);

/// The age at which the engine gives up a batch whose fate is unknown: a store might take an older one twice. Derived: five
/// seconds less than the [`DEDUP_WINDOW`], for clocks that differ and a commit that is still on its way.
pub(crate) const MAX_BATCH_AGE: Duration = DEDUP_WINDOW.saturating_sub(Duration::from_secs(5));

/// The numbers that a template writes out itself, for tests: they are none of the above.
#[cfg(all(test, any(feature = "postgres", feature = "redis")))]
pub(super) fn written_numbers(template: &str) -> impl Iterator<Item = &str> {
    let is_number = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_digit()) && word.bytes().all(|b| b.is_ascii_digit() || b == b'e')
    };
    template.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_given_up_while_stores_still_know_it() {
        assert_eq!(MAX_BATCH_AGE + Duration::from_secs(5), DEDUP_WINDOW);
    }
}
