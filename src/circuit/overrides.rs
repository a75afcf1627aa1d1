//! Operator's holds on a breaker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::time::Timestamp;

/// An operator's hold on a breaker: it beats every detector and every command until it ends.
///
/// It ends by [`resume`](crate::CircuitBreaker::resume), or by itself after [`expires_in`](Self::expires_in) (seen at
/// the next call or look), and the breaker is then closed with an empty window.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override, State};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.set_override(Override::force_open("deploy 42").actor("ana").expires_in(Duration::from_secs(1800)));
/// assert_eq!(breaker.state(), State::Open);
/// assert!(breaker.reset().is_err(), "an override stands");
/// breaker.resume();
/// assert_eq!(breaker.state(), State::Closed);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Override {
    kind: OverrideKind,
    reason: Arc<str>,
    actor: Option<Arc<str>>,
    expires_in: Option<Duration>,
}

/// What an [`Override`] does to calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OverrideKind {
    /// Every call is rejected.
    ForcedOpen,
    /// Every call goes through and nothing is recorded.
    Disabled,
    /// Every call goes through and is recorded; a trip is reported as "would have opened" and does not happen.
    DryRun,
}

impl fmt::Display for OverrideKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForcedOpen => "forced open",
            Self::Disabled => "disabled",
            Self::DryRun => "dry run",
        })
    }
}

impl Override {
    fn new(kind: OverrideKind, reason: &str) -> Self {
        Self { kind, reason: reason.into(), actor: None, expires_in: None }
    }

    /// Rejects every call, for example while the dependency is down for maintenance.
    #[must_use]
    pub fn force_open(reason: impl AsRef<str>) -> Self {
        Self::new(OverrideKind::ForcedOpen, reason.as_ref())
    }

    /// Lets every call through and records nothing.
    #[must_use]
    pub fn disable(reason: impl AsRef<str>) -> Self {
        Self::new(OverrideKind::Disabled, reason.as_ref())
    }

    /// Lets every call through, judges them all, and only reports when it would have opened.
    #[must_use]
    pub fn dry_run(reason: impl AsRef<str>) -> Self {
        Self::new(OverrideKind::DryRun, reason.as_ref())
    }

    /// Says who did it.
    #[must_use]
    pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
        self.actor = Some(actor.as_ref().into());
        self
    }

    /// Ends the override by itself after `duration`. Without it, it stands until somebody resumes.
    #[must_use]
    pub const fn expires_in(mut self, duration: Duration) -> Self {
        self.expires_in = Some(duration);
        self
    }

    /// Returns what it does to calls.
    #[must_use]
    pub const fn kind(&self) -> OverrideKind {
        self.kind
    }

    /// Returns the reason that was given.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns who did it, if that was said.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        self.actor.as_deref()
    }
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.reason)?;
        match &self.actor {
            Some(actor) => write!(f, " (by {actor})"),
            None => Ok(()),
        }
    }
}

/// An override that stands.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) order: Override,
    /// When it ends by itself; [`Timestamp::MAX`] is never.
    pub(super) until: Timestamp,
}

impl Standing {
    pub(super) fn new(order: Override, now: Timestamp) -> Self {
        let until = order.expires_in.map_or(Timestamp::MAX, |d| now + d);
        Self { order, until }
    }
}
