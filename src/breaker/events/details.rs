//! What only logs tell of an event.

#[cfg(feature = "fleet")]
use std::sync::Arc;
use std::time::Duration;

use crate::circuit::StandingOverride;

/// What only logs tell of an event, found out when it happens.
#[derive(Clone, Debug, Default)]
pub(in crate::breaker) struct Details {
    /// The detector's rule in words.
    pub(in crate::breaker) rule: Option<String>,
    /// Openings since the breaker was last healthy.
    pub(in crate::breaker) openings: Option<u32>,
    pub(in crate::breaker) cooldown: Option<Duration>,
    /// How long the circuit was not closed, where it is again.
    pub(in crate::breaker) open_for: Option<Duration>,
    /// How many calls were rejected meanwhile, where that is counted.
    pub(in crate::breaker) rejected: Option<u64>,
    /// The override that was set, or has ended.
    pub(in crate::breaker) order: Option<StandingOverride>,
    /// What is wrong with the breaker's record.
    #[cfg(feature = "fleet")]
    pub(in crate::breaker) error: Option<Arc<str>>,
}
