//! The answer to a call that may not go through.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "grpc")]
use std::sync::OnceLock;
use std::time::Duration;

use crate::circuit::{Generation, RejectReason, State};
use crate::error_chain::{as_error, sources};
use crate::one_line::OneLine;
use crate::text::Soon;
use crate::time::Timestamp;

/// A call was rejected by an open (or half-open) breaker. It tells which one, why, and when to come back.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, State, circuit_breaker::RejectReason};
///
/// let config = CircuitBreakerConfig::builder("payments").clock(ManualClock::new()).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.trip()?;
///
/// let rejected = breaker.acquire().unwrap_err();
/// assert_eq!(&*rejected.name(), "payments");
/// assert_eq!(rejected.state(), State::Open);
/// assert_eq!(rejected.reason(), RejectReason::Open);
/// assert_eq!(rejected.retry_after(), Some(Duration::from_secs(30)));
/// assert_eq!(rejected.to_string(), "circuit breaker `payments` is open (tripped by command), retry in 30s");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Over HTTP it is 503 with `Retry-After`: `web::unavailable`, and axum's `IntoResponse`. Over gRPC it is UNAVAILABLE
/// with pushback: `grpc::unavailable`, and `From` for `tonic::Status`. `web::response_of` and `grpc::status_of` find it
/// in any error first.
#[derive(Clone)]
pub struct Rejected {
    breaker: &'static dyn Rejecter,
    generation: Generation,
    reason: RejectReason,
    /// The end of the wait, in nanoseconds of the breaker's clock; `u64::MAX` for none. The time left is found when
    /// it is asked for, which spares rejections a look at the clock.
    until: u64,
    /// Made when a gRPC client looks for it.
    #[cfg(feature = "grpc")]
    status: OnceLock<Arc<tonic::Status>>,
}

/// What a rejection asks of its breaker when it is read. A breaker may be gone by then, and its place another's: what
/// it tells is of the generation that rejected.
pub(crate) trait Rejecter: Sync {
    /// The name, if the breaker of that generation still is here or was the last one here.
    fn name_at(&self, generation: Generation) -> Option<Arc<str>>;

    /// The time by the clock of the breaker of that generation, while that can be told.
    fn now_in(&self, generation: Generation) -> Option<Timestamp>;

    /// Why the circuit is open, if it still is in that generation.
    fn explain(&self, generation: Generation) -> Option<String>;
}

/// The header that says when gRPC's client may come back.
#[cfg(feature = "grpc")]
pub(crate) const PUSHBACK: &str = "grpc-retry-pushback-ms";

impl Rejected {
    #[inline]
    pub(crate) const fn new(
        breaker: &'static dyn Rejecter,
        generation: Generation,
        reason: RejectReason,
        until: u64,
    ) -> Self {
        Self {
            breaker,
            generation,
            reason,
            until,
            #[cfg(feature = "grpc")]
            status: OnceLock::new(),
        }
    }

    /// The rejection as a gRPC status: UNAVAILABLE, with the time to come back as pushback.
    #[cfg(feature = "grpc")]
    pub(crate) fn status(&self) -> &tonic::Status {
        self.status.get_or_init(|| {
            let mut status = tonic::Status::unavailable(self.to_string());
            if let Some(wait) = self.retry_after() {
                let ms = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
                status.metadata_mut().insert(PUSHBACK, ms.into());
            }
            Arc::new(status)
        })
    }

    /// Returns the name of the breaker. `(dropped)` when that breaker has long been dropped and its place in memory is
    /// another's.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.breaker.name_at(self.generation).unwrap_or_else(|| Arc::from("(dropped)"))
    }

    /// Returns the state that rejected the call.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.reason {
            RejectReason::Open | RejectReason::ForcedOpen | RejectReason::StoreDown => State::Open,
            RejectReason::ProbesBusy | RejectReason::AwaitingLease => State::HalfOpen,
            RejectReason::NotReady | RejectReason::AwaitingVerdict => State::Closed,
        }
    }

    /// Returns why.
    #[must_use]
    pub const fn reason(&self) -> RejectReason {
        self.reason
    }

    /// Returns what kind of error it is, for OpenTelemetry's attribute `error.type`: `fusebox.` and the
    /// [reason](Self::reason), so that it takes few values.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.trip()?;
    /// assert_eq!(breaker.acquire().unwrap_err().error_type(), "fusebox.open");
    /// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
    /// ```
    #[must_use]
    pub const fn error_type(&self) -> &'static str {
        match self.reason {
            RejectReason::Open => "fusebox.open",
            RejectReason::ProbesBusy => "fusebox.probes_busy",
            RejectReason::ForcedOpen => "fusebox.forced_open",
            RejectReason::NotReady => "fusebox.not_ready",
            RejectReason::StoreDown => "fusebox.store_down",
            RejectReason::AwaitingVerdict => "fusebox.awaiting_verdict",
            RejectReason::AwaitingLease => "fusebox.awaiting_lease",
        }
    }

    /// Returns how long from now it is worth another try. Zero once that time has come, `None` when it is not known: of
    /// its own probes a breaker does not know when they end, and an override without expiry depends on its operator.
    /// Where a fleet decides which calls probe, and while a store is away, it is known.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        if self.until == u64::MAX {
            return None;
        }
        let now = self.breaker.now_in(self.generation)?;
        Some(Timestamp::from_nanos(self.until).since(now))
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker `{}` ", OneLine(&self.name()))?;
        match self.reason {
            RejectReason::Open => f.write_str("is open")?,
            RejectReason::ForcedOpen => f.write_str("is forced open")?,
            RejectReason::ProbesBusy => f.write_str("is half-open and its probes are on their way")?,
            RejectReason::StoreDown => f.write_str("rejects every call while its store is away")?,
            RejectReason::AwaitingVerdict => {
                f.write_str("is closed, but this instance's calls fail and it awaits the fleet's verdict")?;
            }
            RejectReason::AwaitingLease => {
                f.write_str("is about to probe, but this instance has no lease for that yet")?;
            }
            RejectReason::NotReady => f.write_str("was open when the service was asked whether it is ready")?,
        }
        if let Some(why) = self.breaker.explain(self.generation) {
            write!(f, " ({why})")?;
        }
        match self.retry_after() {
            Some(wait) => write!(f, ", retry {}", Soon(wait)),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected")
            .field("name", &self.name())
            .field("state", &self.state())
            .field("reason", &self.reason)
            .field("retry_after", &self.retry_after())
            .finish()
    }
}

impl Error for Rejected {
    /// Returns a `tonic::Status` with the feature `grpc`, otherwise nothing. By it a tonic client sees UNAVAILABLE.
    #[cfg(feature = "grpc")]
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self.status())
    }
}

/// Finds a breaker's rejection in an error or anywhere in its chain of sources.
///
/// ```
/// use fusebox::{BoxError, CircuitBreaker, CircuitBreakerConfig};
///
/// fn status(error: &BoxError) -> u16 {
///     if fusebox::rejection(&**error).is_some() { 503 } else { 502 }
/// }
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.trip()?;
/// let rejected = breaker.call_blocking(|| std::fs::read("prices")).unwrap_err();
/// assert_eq!(status(&rejected.into()), 503);
/// assert_eq!(status(&"connection refused".into()), 502);
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[must_use]
pub fn rejection<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Rejected> {
    sources(error).find_map(|error| error.downcast_ref())
}

/// Finds a breaker's rejection in an error whose type is known to carry such: the rejection itself, boxed errors, and those
/// of clients that wrap what their connector or channel returned.
#[inline]
pub(crate) fn rejection_in<E: 'static>(error: &E) -> Option<&Rejected> {
    let any: &dyn Any = error;
    match as_error(error) {
        Some(error) => rejection(error),
        None => any.downcast_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Gone;

    impl Rejecter for Gone {
        fn name_at(&self, _: Generation) -> Option<Arc<str>> {
            None
        }

        fn now_in(&self, _: Generation) -> Option<Timestamp> {
            None
        }

        fn explain(&self, _: Generation) -> Option<String> {
            None
        }
    }

    #[test]
    fn the_type_of_the_error_is_the_label_of_its_reason() {
        for reason in [
            RejectReason::Open,
            RejectReason::ProbesBusy,
            RejectReason::ForcedOpen,
            RejectReason::NotReady,
            RejectReason::StoreDown,
            RejectReason::AwaitingVerdict,
            RejectReason::AwaitingLease,
        ] {
            let rejected = Rejected::new(&Gone, Generation::new(1), reason, u64::MAX);
            assert_eq!(rejected.error_type(), format!("fusebox.{}", reason.as_str()));
        }
    }
}
