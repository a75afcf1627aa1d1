//! Operator's holds on a breaker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "fleet")]
use super::codec::{LoadError, Reader, Writer};
use crate::text::OneLine;
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
/// let order = breaker.snapshot().overridden.unwrap();
/// assert_eq!((order.reason(), order.by()), ("deploy 42", Some("ana")));
/// breaker.resume();
/// assert_eq!(breaker.state(), State::Closed);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Override {
    kind: OverrideKind,
    reason: Arc<str>,
    actor: Option<Arc<str>>,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    expires_in: Option<Duration>,
}

/// What an [`Override`] does to calls.
///
/// ```
/// use fusebox::{Override, circuit_breaker::OverrideKind};
///
/// assert_eq!(Override::force_open("maintenance").kind(), OverrideKind::ForcedOpen);
/// assert_eq!(Override::disable("load test").kind(), OverrideKind::Disabled);
/// let trial = Override::dry_run("new limits").kind();
/// assert_eq!(trial, OverrideKind::DryRun);
/// assert_eq!(trial.to_string(), "dry run");
/// ```
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
    /// A store's record must have room for the words.
    const MAX_REASON_BYTES: usize = 1_024;
    const MAX_ACTOR_BYTES: usize = 256;

    fn new(kind: OverrideKind, reason: &str) -> Self {
        Self { kind, reason: cut(reason, Self::MAX_REASON_BYTES), actor: None, expires_in: None }
    }

    /// Rejects every call, for example while the dependency is down for maintenance. Of a reason, here and below, the first
    /// 1,024 bytes are kept.
    #[must_use]
    pub fn force_open(reason: impl AsRef<str>) -> Self {
        Self::new(OverrideKind::ForcedOpen, reason.as_ref())
    }

    /// Lets every call through and records nothing.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override, State};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.set_override(Override::disable("load test"));
    /// for _ in 0..100 {
    ///     breaker.acquire()?.failure();
    /// }
    /// assert_eq!(breaker.state(), State::Closed);
    /// # Ok::<(), fusebox::Rejected>(())
    /// ```
    #[must_use]
    pub fn disable(reason: impl AsRef<str>) -> Self {
        Self::new(OverrideKind::Disabled, reason.as_ref())
    }

    /// Lets every call through, judges them all, and only reports when it would have opened.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on};
    /// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, EventKind, Override, State};
    ///
    /// let config = CircuitBreakerConfig::builder("payments").detector(detect::failures(1).of_last(10)).build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.set_override(Override::dry_run("new limits"));
    /// let events = breaker.events();
    /// breaker.acquire()?.failure();
    /// assert_eq!(breaker.state(), State::Closed);
    ///
    /// let seen: Vec<_> = block_on(events.take(2).collect());
    /// assert!(seen.iter().any(|event| matches!(event.kind(), EventKind::WouldOpen { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn dry_run(reason: impl AsRef<str>) -> Self {
        Self::new(OverrideKind::DryRun, reason.as_ref())
    }

    /// Says who did it, in up to 256 bytes.
    #[must_use]
    pub fn actor(mut self, actor: impl AsRef<str>) -> Self {
        self.actor = Some(cut(actor.as_ref(), Self::MAX_ACTOR_BYTES));
        self
    }

    /// Ends the override by itself after `duration`. Without it, it stands until an operator resumes.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, Override, circuit_breaker::TransitionReason};
    ///
    /// let clock = ManualClock::new();
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").clock(clock.clone()).build()?);
    /// breaker.set_override(Override::force_open("deploy 42").expires_in(Duration::from_secs(1800)));
    /// assert_eq!(breaker.acquire().unwrap_err().retry_after(), Some(Duration::from_secs(1800)));
    /// clock.advance(Duration::from_secs(1800));
    /// assert!(!breaker.acquire()?.is_probe(), "the circuit is closed");
    /// assert_eq!(breaker.snapshot().reason, Some(TransitionReason::OverrideExpired));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
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

    /// Returns after how long it ends by itself, counted from when it was set; `None`: not at all.
    #[must_use]
    pub const fn expires_after(&self) -> Option<Duration> {
        self.expires_in
    }

    /// Returns who did it, if that was said.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        self.actor.as_deref()
    }
}

fn cut(text: &str, most: usize) -> Arc<str> {
    text[..text.floor_char_boundary(most)].into()
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, OneLine(&self.reason))?;
        match &self.actor {
            Some(actor) => write!(f, " (by {})", OneLine(actor)),
            None => Ok(()),
        }
    }
}

/// An override that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) order: Override,
    /// When it ends by itself; [`Timestamp::MAX`] is never.
    pub(crate) until: Timestamp,
}

impl Standing {
    pub(crate) fn new(order: Override, now: Timestamp) -> Self {
        let until = order.expires_in.map_or(Timestamp::MAX, |d| now + d);
        Self { order, until }
    }
}

#[cfg(feature = "fleet")]
impl Override {
    /// The same order, given so long ago; `None` when it is over.
    pub(crate) fn after(&self, passed: Duration) -> Option<Self> {
        let left = match self.expires_in {
            Some(expires_in) => Some(expires_in.checked_sub(passed).filter(|left| !left.is_zero())?),
            None => None,
        };
        Some(Self { expires_in: left, ..self.clone() })
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.u8(match self.kind {
            OverrideKind::ForcedOpen => 0,
            OverrideKind::Disabled => 1,
            OverrideKind::DryRun => 2,
        });
        out.bytes(self.reason.as_bytes());
        out.u8(u8::from(self.actor.is_some()));
        out.bytes(self.actor.as_deref().unwrap_or_default().as_bytes());
        out.u64(self.expires_in.map_or(u64::MAX, crate::time::nanos));
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let kind = match from.u8()? {
            0 => OverrideKind::ForcedOpen,
            1 => OverrideKind::Disabled,
            2 => OverrideKind::DryRun,
            other => return Err(LoadError::new(format!("override of kind {other}"))),
        };
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| LoadError::new("words that are no text"));
        let reason = text(from.bytes()?)?.into();
        let has_actor = from.u8()? != 0;
        let actor = Some(text(from.bytes()?)?.into()).filter(|_| has_actor);
        let expires_in = Some(from.u64()?).filter(|n| *n < u64::MAX).map(Duration::from_nanos);
        Ok(Self { kind, reason, actor, expires_in })
    }
}
