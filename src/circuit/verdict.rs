//! What a fleet has found out, as users see it.

use std::fmt;
use std::time::Duration;

use super::detector::Tally;

/// A verdict that a fleet has reached, and what it rests on.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::{detect, store::MemoryStore, CircuitBreaker, CircuitBreakerConfig, State};
///
/// # tokio_test::block_on(async {
/// let config = CircuitBreakerConfig::builder("payments")
///     .detector(detect::failure_rate(0.5).of_last(20))
///     .store(Arc::new(MemoryStore::new()))
///     .build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.flush().await;
/// for _ in 0..5 {
///     breaker.acquire()?.failure();
/// }
/// breaker.flush().await; // until all that are there were asked
/// assert_eq!(breaker.state(), State::Open);
/// let verdict = breaker.snapshot().fleet.and_then(|fleet| fleet.verdict).unwrap();
/// assert_eq!(verdict.tally.to_string(), "5 failures in 5 calls");
/// assert_eq!(verdict.silent, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Verdict {
    /// The counts that the rule was met with.
    pub tally: Tally,
    /// How many instances had told of all their calls.
    pub heard: u32,
    /// How many instances had not told, although they were asked. They are known to have calls.
    pub silent: u32,
    /// How long ago the calls ended up to which all are known.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of"))]
    pub age: Duration,
}

impl Verdict {
    pub(crate) const fn new(tally: Tally, (heard, silent): (u32, u32), age: Duration) -> Self {
        Self { tally, heard, silent, age }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.heard == 1 { "" } else { "s" };
        write!(f, "{}, as {} instance{plural} told", self.tally, self.heard)?;
        match self.silent {
            0 => Ok(()),
            silent => write!(f, ", without {silent} that did not answer"),
        }
    }
}
