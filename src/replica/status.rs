//! How an instance stands with its fleet, and what it does on its own.

use std::sync::Arc;
use std::time::Duration;

use crate::circuit::{Generation, Verdict};

/// What a breaker does while its store is away.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::fleet::{Fleet, WhenDown};
/// use fusebox::{store::MemoryStore, CircuitBreakerConfig};
///
/// let config = CircuitBreakerConfig::builder("fraud_check")
///     .store(Arc::new(MemoryStore::new()))
///     .fleet(Fleet::pooled().when_down(WhenDown::Reject)) // better no payment than an unchecked one
///     .build()?;
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenDown {
    /// It goes on by itself, from what it last knew of the fleet.
    #[default]
    Local,
    /// It lets every call through and judges none.
    Admit,
    /// It rejects every call.
    Reject,
}

impl WhenDown {
    /// Returns `local`, `admit` or `reject`, as logs and files spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Admit => "admit",
            Self::Reject => "reject",
        }
    }
}

/// How an instance stands with its fleet: see [`Snapshot::fleet`](crate::Snapshot::fleet).
///
/// ```
/// use std::sync::Arc;
/// use fusebox::{store::MemoryStore, CircuitBreaker, CircuitBreakerConfig};
///
/// # tokio_test::block_on(async {
/// let config = CircuitBreakerConfig::builder("payments").store(Arc::new(MemoryStore::new())).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.acquire()?.failure();
/// breaker.flush().await;
/// let fleet = breaker.snapshot().fleet.unwrap();
/// assert!(fleet.away.is_none(), "the store answers");
/// assert_eq!((fleet.waiting, fleet.forgotten), (0, 0), "and has everything");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FleetStatus {
    /// The generation that the fleet is known to be in. `None` until the store has answered once.
    pub generation: Option<Generation>,
    /// Why this instance is on its own. The store does not answer, or holds a record that this release cannot use.
    pub away: Option<Arc<str>>,
    /// What is wrong with this breaker's record alone. The store answers for others meanwhile: a lock, a right that is
    /// missing, a server that only reads, a record that is not ours. This breaker tries again, ever more rarely; a
    /// write that succeeds ends the trouble of writes, and a load that of loads. Where nothing is left to write, a load
    /// ends that of writes as well.
    pub trouble: Option<Arc<str>>,
    /// How long ago the store was last heard of.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    pub heard: Option<Duration>,
    /// Calls that the store does not know of yet.
    pub waiting: u64,
    /// Calls that it will never know of, because it was away too long.
    pub forgotten: u64,
    /// How many instances' votes stand, where the fleet votes.
    pub votes: Option<u32>,
    /// The verdict that the circuit was opened by, until it closes.
    pub verdict: Option<Verdict>,
    /// This instance rejects calls by itself until the fleet has a verdict.
    pub awaits_verdict: bool,
    /// Others of the fleet judge by another rule: the record holds calls that were counted for it.
    pub drifts: bool,
}
