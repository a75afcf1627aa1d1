//! Operator's holds on a breaker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "fleet")]
use super::codec::{LoadError, Reader, Writer};
use crate::one_line::OneLine;
use crate::time::Timestamp;

/// An operator's hold on a breaker. It beats every detector and every command until it ends.
///
/// It ends by [`resume`](crate::CircuitBreaker::resume), or by itself after [`expires_after`](Self::expires_after) (seen at
/// the next call or look), and the breaker is then closed with an empty window. [`Snapshot`](crate::Snapshot) shows the one
/// that stands as a [`StandingOverride`], which is read by the names that it is given here.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override, State};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.set_override(Override::force_open("deploy 42").by("ana").expires_after(Duration::from_secs(1800)));
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
    by: Option<Arc<str>>,
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    expires_after: Option<Duration>,
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
    /// Every call goes through and is recorded. A trip is reported as "would have opened" and does not happen.
    DryRun,
}

impl OverrideKind {
    /// Returns `forced_open`, `disabled` or `dry_run`, as metrics and files spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForcedOpen => "forced_open",
            Self::Disabled => "disabled",
            Self::DryRun => "dry_run",
        }
    }
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
    const MAX_NAME_BYTES: usize = 256;

    fn new(kind: OverrideKind, reason: &str) -> Self {
        Self { kind, reason: cut(reason, Self::MAX_REASON_BYTES), by: None, expires_after: None }
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

    /// Lets every call through and judges them all. It only reports when it would have opened.
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
    pub fn by(mut self, who: impl AsRef<str>) -> Self {
        self.by = Some(cut(who.as_ref(), Self::MAX_NAME_BYTES));
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
    /// breaker.set_override(Override::force_open("deploy 42").expires_after(Duration::from_secs(1800)));
    /// assert_eq!(breaker.acquire().unwrap_err().retry_after(), Some(Duration::from_secs(1800)));
    /// clock.advance(Duration::from_secs(1800));
    /// assert!(!breaker.acquire()?.is_probe(), "the circuit is closed");
    /// assert_eq!(breaker.snapshot().reason, Some(TransitionReason::OverrideExpired));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn expires_after(mut self, duration: Duration) -> Self {
        self.expires_after = Some(duration);
        self
    }

    /// Says who did it.
    #[must_use]
    #[deprecated(since = "0.2.0", note = "it is called `by`")]
    pub fn actor(self, actor: impl AsRef<str>) -> Self {
        self.by(actor)
    }

    /// Ends the override by itself after `duration`.
    #[must_use]
    #[deprecated(since = "0.2.0", note = "it is called `expires_after`")]
    pub const fn expires_in(self, duration: Duration) -> Self {
        self.expires_after(duration)
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
}

/// The override that stands, as [`Snapshot::overridden`](crate::Snapshot::overridden) shows it.
///
/// It is read by the names that an [`Override`] is given: what that one's `by(..)` sets, `by()` returns here.
///
/// ```
/// use std::time::Duration;
/// use fusebox::circuit_breaker::StandingOverride;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.set_override(Override::force_open("deploy 42").by("ana").expires_after(Duration::from_secs(1800)));
///
/// let standing: StandingOverride = breaker.snapshot().overridden.unwrap();
/// assert_eq!(standing.reason(), "deploy 42");
/// assert_eq!(standing.by(), Some("ana"));
/// assert_eq!(standing.expires_after(), Some(Duration::from_secs(1800)));
/// assert_eq!(standing.to_string(), "forced open: deploy 42 (by ana)");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct StandingOverride {
    order: Override,
}

impl StandingOverride {
    pub(crate) const fn of(order: Override) -> Self {
        Self { order }
    }

    /// Returns what it does to calls.
    #[must_use]
    pub const fn kind(&self) -> OverrideKind {
        self.order.kind
    }

    /// Returns the reason that was given.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.order.reason
    }

    /// Returns who did it, if that was said.
    #[must_use]
    pub fn by(&self) -> Option<&str> {
        self.order.by.as_deref()
    }

    /// Returns after how long it ends by itself. Counted from when it was set (in an instance that heard of it from its
    /// fleet: from then); `None`: not at all.
    #[must_use]
    pub const fn expires_after(&self) -> Option<Duration> {
        self.order.expires_after
    }
}

/// Tells whether it is this order that stands.
impl PartialEq<Override> for StandingOverride {
    fn eq(&self, order: &Override) -> bool {
        self.order == *order
    }
}

impl fmt::Display for StandingOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.order.fmt(f)
    }
}

fn cut(text: &str, most: usize) -> Arc<str> {
    text[..text.floor_char_boundary(most)].into()
}

impl fmt::Display for Override {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, OneLine(&self.reason))?;
        match &self.by {
            Some(who) => write!(f, " (by {})", OneLine(who)),
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
        let until = order.expires_after.map_or(Timestamp::MAX, |d| now + d);
        Self { order, until }
    }
}

impl Override {
    /// After how long it ends by itself; `None`: not at all.
    pub(crate) const fn lasts(&self) -> Option<Duration> {
        self.expires_after
    }
}

#[cfg(feature = "fleet")]
impl Override {
    /// The same order, given so long ago; `None` when it is over.
    pub(crate) fn after(&self, passed: Duration) -> Option<Self> {
        let left = match self.expires_after {
            Some(span) => Some(span.checked_sub(passed).filter(|left| !left.is_zero())?),
            None => None,
        };
        Some(Self { expires_after: left, ..self.clone() })
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.u8(match self.kind {
            OverrideKind::ForcedOpen => 0,
            OverrideKind::Disabled => 1,
            OverrideKind::DryRun => 2,
        });
        out.bytes(self.reason.as_bytes());
        out.u8(u8::from(self.by.is_some()));
        out.bytes(self.by.as_deref().unwrap_or_default().as_bytes());
        out.u64(self.expires_after.map_or(u64::MAX, crate::time::nanos));
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
        let is_signed = from.u8()? != 0;
        let by = Some(text(from.bytes()?)?.into()).filter(|_| is_signed);
        let expires_after = Some(from.u64()?).filter(|n| *n < u64::MAX).map(Duration::from_nanos);
        Ok(Self { kind, reason, by, expires_after })
    }
}
