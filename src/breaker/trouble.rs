//! A breaker whose circuit is not closed, as it is met on a walk over all of them.

use std::sync::Arc;
use std::time::Duration;

use crate::circuit::{StandingOverride, State, StateScope, TransitionReason};

/// A breaker whose circuit is not closed, at one moment.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) name: Arc<str>,
    /// The name of the registry that made it.
    pub(crate) registry: Arc<str>,
    pub(crate) state: State,
    pub(crate) scope: StateScope,
    pub(crate) reason: Option<TransitionReason>,
    /// For how long it has been in its state.
    pub(crate) lasts: Duration,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) overridden: Option<StandingOverride>,
    /// Every call is rejected: the circuit is open, and its cooldown is not over.
    pub(crate) rejects: bool,
    pub(crate) sharing: Sharing,
}

/// How a breaker stands with those of other instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// It shares its state with none.
    Unshared,
    /// It shares its state, and the fleet is known to be closed.
    #[cfg(feature = "fleet")]
    Alone,
    /// It shares its state, and the fleet is not closed, or not known.
    #[cfg(feature = "fleet")]
    Shared,
}
