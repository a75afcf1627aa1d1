//! The numbers that all stores and the engine agree on.
//!
//! Instances of different releases share a store, so a number that changes here must suit the older ones as well.

use std::time::Duration;

/// How long a round of combining belongs to its writer: the lease, by the store's clock.
pub(crate) const ROUND_LEASE: Duration = Duration::from_millis(500);

/// Batches in one round, at most.
pub(crate) const MAX_ROUND_BATCHES: usize = 1_000;

/// Batches that may wait for a key, in its outbox. A store refuses more by answering with a conflict.
pub(crate) const OUTBOX_CAPACITY: usize = 4_096;

/// The deduplication window: how long a store knows the number of a writer's last batch, at least.
pub(crate) const DEDUP_WINDOW: Duration = Duration::from_secs(60);
