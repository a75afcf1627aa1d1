//! Why something happened.

use std::fmt;

#[cfg(feature = "fleet")]
use super::codec::{LoadError, Reader, Writer};
#[cfg(feature = "fleet")]
use super::detector::Counted;
use super::detector::Tally;

/// Why a breaker went from one state to another.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, circuit_breaker::TransitionReason};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").cooldown(Duration::ZERO).build()?);
/// let why = || breaker.snapshot().reason;
/// assert_eq!(why(), None);
/// breaker.trip()?;
/// assert_eq!(why(), Some(TransitionReason::Tripped));
/// let probe = breaker.acquire()?;
/// assert_eq!(why(), Some(TransitionReason::CooldownOver));
/// probe.failure();
/// assert_eq!(why(), Some(TransitionReason::ProbeFailed));
/// breaker.acquire()?.success();
/// assert_eq!(why(), Some(TransitionReason::ProbesSucceeded));
/// assert_eq!(TransitionReason::ProbesSucceeded.to_string(), "probes succeeded");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Commands are reasons too:
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override, circuit_breaker::TransitionReason};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// let why = || breaker.snapshot().reason;
/// breaker.trip()?;
/// breaker.reset()?;
/// assert_eq!(why(), Some(TransitionReason::Reset));
/// breaker.set_override(Override::disable("load test"));
/// assert_eq!(why(), Some(TransitionReason::Overridden));
/// breaker.resume();
/// assert_eq!(why(), Some(TransitionReason::Resumed));
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
///
/// The counts that made a detector trip come along:
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, circuit_breaker::TransitionReason, detect};
///
/// let config = CircuitBreakerConfig::builder("payments").detector(detect::failures(1).of_last(10)).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.acquire()?.failure();
/// match breaker.snapshot().reason {
///     Some(TransitionReason::Detected(tally)) => assert_eq!(tally.to_string(), "1 failure in 1 call"),
///     other => panic!("{other:?}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum TransitionReason {
    /// The detector tripped; the tally it tripped on.
    Detected(Tally),
    /// The cooldown was over and a call asked.
    CooldownOver,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Too many probes failed, or were slow where that counts. See [`slow_call_rate`](crate::detect::slow_call_rate)
    /// for where slow probes count against the dependency.
    ProbeFailed,
    /// A probe did not end before its deadline.
    ProbeExpired,
    /// Probes went out for ten cooldowns, and none was evidence of anything. That time is at least a minute, and
    /// twice a probe's deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, circuit_breaker::TransitionReason};
    ///
    /// let clock = ManualClock::new();
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").clock(clock.clone()).build()?);
    /// breaker.trip()?;
    /// clock.advance(Duration::from_secs(30));
    /// drop(breaker.acquire()?); // a probe that says nothing
    /// clock.advance(Duration::from_secs(300));
    /// assert!(breaker.acquire().is_err());
    /// assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbesInconclusive));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ProbesInconclusive,
    /// Three probes in a row were given up before the dependency had answered. It hangs.
    ///
    /// A single one says nothing, as it may be a caller who went away. What
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after) makes a failure is one, and not among these.
    /// Any probe that the dependency answers begins the count anew, an [`Ignored`](crate::Outcome::Ignored) one as well.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, circuit_breaker::TransitionReason};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").cooldown(Duration::ZERO).build()?);
    /// breaker.trip()?;
    /// for _ in 0..3 {
    ///     drop(breaker.acquire()?); // the caller's own timeout ended the call
    /// }
    /// assert_eq!(breaker.snapshot().reason, Some(TransitionReason::ProbesGivenUp));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ProbesGivenUp,
    /// The probes had not decided within the time that they have. See
    /// [`Probes::decide_within`](crate::Probes::decide_within).
    ///
    /// ```
    /// use fusebox::circuit_breaker::TransitionReason;
    ///
    /// assert_eq!(TransitionReason::HalfOpenTooLong.to_string(), "half-open for too long without a verdict");
    /// ```
    HalfOpenTooLong,
    /// Somebody called `trip()`.
    Tripped,
    /// Somebody called `reset()`.
    Reset,
    /// An operator set an override.
    Overridden,
    /// An operator ended the override.
    Resumed,
    /// The override ended by itself.
    OverrideExpired,
    /// So many instances of the fleet have tripped.
    ///
    /// ```
    /// use fusebox::circuit_breaker::TransitionReason;
    ///
    /// assert_eq!(TransitionReason::Voted(3).to_string(), "3 instances have tripped");
    /// assert_eq!(TransitionReason::Voted(1).to_string(), "1 instance has tripped");
    /// ```
    Voted(u32),
}

impl TransitionReason {
    /// Returns the reason in snake case, as a metrics label. The counts of `Detected` and `Voted` are no part of it.
    ///
    /// ```
    /// use fusebox::circuit_breaker::TransitionReason;
    ///
    /// assert_eq!(TransitionReason::CooldownOver.as_str(), "cooldown_over");
    /// assert_eq!(TransitionReason::Voted(3).as_str(), "voted");
    /// ```
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Detected(_) => "detected",
            Self::CooldownOver => "cooldown_over",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeExpired => "probe_expired",
            Self::ProbesInconclusive => "probes_inconclusive",
            Self::ProbesGivenUp => "probes_given_up",
            Self::HalfOpenTooLong => "half_open_too_long",
            Self::Tripped => "tripped",
            Self::Reset => "reset",
            Self::Overridden => "overridden",
            Self::Resumed => "resumed",
            Self::OverrideExpired => "override_expired",
            Self::Voted(_) => "voted",
        }
    }
}

impl fmt::Display for TransitionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Detected(tally) => return tally.fmt(f),
            Self::CooldownOver => "the cooldown is over",
            Self::ProbesSucceeded => "probes succeeded",
            Self::ProbeFailed => "a probe failed",
            Self::ProbeExpired => "a probe did not end before its deadline",
            Self::ProbesInconclusive => "the probes gave no verdict",
            Self::ProbesGivenUp => "three probes in a row were given up without an answer",
            Self::HalfOpenTooLong => "half-open for too long without a verdict",
            Self::Tripped => "tripped by command",
            Self::Reset => "reset by command",
            Self::Overridden => "overridden by an operator",
            Self::Resumed => "override ended by an operator",
            Self::OverrideExpired => "override expired",
            Self::Voted(1) => "1 instance has tripped",
            Self::Voted(votes) => return write!(f, "{votes} instances have tripped"),
        })
    }
}

#[cfg(feature = "fleet")]
impl TransitionReason {
    pub(crate) fn save(this: Option<Self>, out: &mut Writer) {
        out.u8(match this {
            None => 0,
            Some(Self::Detected(_)) => 1,
            Some(Self::CooldownOver) => 2,
            Some(Self::ProbesSucceeded) => 3,
            Some(Self::ProbeFailed) => 4,
            Some(Self::ProbeExpired) => 5,
            Some(Self::ProbesInconclusive) => 6,
            Some(Self::Tripped) => 7,
            Some(Self::Reset) => 8,
            Some(Self::Overridden) => 9,
            Some(Self::Resumed) => 10,
            Some(Self::OverrideExpired) => 11,
            Some(Self::Voted(_)) => 12,
            Some(Self::ProbesGivenUp) => 13,
            Some(Self::HalfOpenTooLong) => 14,
        });
        match this {
            Some(Self::Detected(tally)) => {
                out.u8(u8::from(tally.counted() == Counted::SlowCalls));
                out.u64(tally.count());
                out.u64(tally.calls().unwrap_or(u64::MAX));
            }
            Some(Self::Voted(votes)) => out.u32(votes),
            _ => {}
        }
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Option<Self>, LoadError> {
        Ok(Some(match from.u8()? {
            0 => return Ok(None),
            1 => {
                let slow = from.u8()? != 0;
                let count = from.u64()?;
                let tally = if slow { Tally::slow_calls(count) } else { Tally::failures(count) };
                let calls = from.u64()?;
                Self::Detected(if calls == u64::MAX { tally } else { tally.of(calls) })
            }
            2 => Self::CooldownOver,
            3 => Self::ProbesSucceeded,
            4 => Self::ProbeFailed,
            5 => Self::ProbeExpired,
            6 => Self::ProbesInconclusive,
            7 => Self::Tripped,
            8 => Self::Reset,
            9 => Self::Overridden,
            10 => Self::Resumed,
            11 => Self::OverrideExpired,
            12 => Self::Voted(from.u32()?),
            13 => Self::ProbesGivenUp,
            14 => Self::HalfOpenTooLong,
            other => return Err(LoadError::new(format!("reason {other}"))),
        }))
    }
}

/// Why a call was rejected.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override, circuit_breaker::RejectReason};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").cooldown(Duration::ZERO).build()?);
/// breaker.trip()?;
/// let probe = breaker.acquire()?;
/// assert_eq!(breaker.acquire().unwrap_err().reason(), RejectReason::ProbesBusy);
/// probe.success();
///
/// breaker.set_override(Override::force_open("maintenance"));
/// let reason = breaker.acquire().unwrap_err().reason();
/// assert_eq!(reason, RejectReason::ForcedOpen);
/// assert_eq!(reason.as_str(), "forced_open");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum RejectReason {
    /// The circuit is open and its cooldown is not over.
    Open,
    /// The circuit is half-open and all its probes are on their way.
    ProbesBusy,
    /// An operator forced the circuit open.
    ForcedOpen,
    /// The circuit was open when the service said it was ready to answer. It had recovered by the time of the call, and
    /// the inner service had not been asked whether it is ready. The next call goes through.
    ///
    /// ```
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, circuit_breaker::RejectReason};
    /// use tower::{service_fn, Layer, Service, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"));
    /// let mut service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(2 * n) }));
    /// layer.breaker().trip()?;
    /// service.ready().await?; // to reject
    /// layer.breaker().reset()?;
    /// let error = service.call(21).await.unwrap_err();
    /// assert_eq!(fusebox::rejection(&*error).map(|r| r.reason()), Some(RejectReason::NotReady));
    /// assert_eq!(service.ready().await?.call(21).await?, 42);
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    NotReady,
    /// The store that the fleet shares is away, and the user wants no call then.
    StoreDown,
    /// The circuit is closed, but the calls of this instance alone meet the rule. It waits for the fleet's verdict,
    /// which takes some 200 ms where the store pushes notices (some 450 ms where no other instance is known), and up to
    /// 1.5 s where it is polled.
    AwaitingVerdict,
    /// The fleet's cooldown is over, and this instance has no lease for a probe. It asks for one.
    AwaitingLease,
}

impl RejectReason {
    /// Returns the reason in snake case, as a metrics label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::ProbesBusy => "probes_busy",
            Self::ForcedOpen => "forced_open",
            Self::NotReady => "not_ready",
            Self::StoreDown => "store_down",
            Self::AwaitingVerdict => "awaiting_verdict",
            Self::AwaitingLease => "awaiting_lease",
        }
    }
}
