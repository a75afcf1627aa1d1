//! Errors of this crate as statuses.

use std::error::Error;
use std::sync::Arc;

use tonic::Status;

use crate::attempts::TimedOut;
use crate::breaker::CallError;
use crate::error_chain::sources;
use crate::rejected::{Rejected, rejection};

/// Makes a status of an error that a breaker or a retry of this crate made. It is for handlers that call others.
///
/// A [`Rejected`] anywhere among the error's sources is UNAVAILABLE, with `grpc-retry-pushback-ms` where it is known
/// when to come back; a [`TimedOut`] is DEADLINE_EXCEEDED. `None`: it is neither, and so something that the dependency
/// said, or that went wrong on the way to it. The error is a source of the status, so that [`rejection`] finds it
/// there.
///
/// A handler that has the [`Rejected`] itself, a [`CallError`] or a [`TimedOut`] writes `?`, or `Status::from(..)`.
///
/// ```
/// use fusebox::{BoxError, CircuitBreaker, CircuitBreakerConfig, ManualClock, grpc};
/// use tonic::{Code, Status};
///
/// /// What a handler answers when its own call has failed.
/// fn to_status(error: &BoxError) -> Status {
///     grpc::status_of(&**error).unwrap_or_else(|| Status::internal("the warehouse failed"))
/// }
/// let config = CircuitBreakerConfig::builder("warehouse").clock(ManualClock::new()).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.trip()?;
///
/// let rejected: BoxError = breaker.acquire().unwrap_err().into();
/// let status = to_status(&rejected);
/// assert_eq!(status.code(), Code::Unavailable);
/// assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "30000");
/// assert!(fusebox::rejection(&status).is_some());
/// assert_eq!(to_status(&"on fire".into()).code(), Code::Internal);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn status_of(error: &(dyn Error + 'static)) -> Option<Status> {
    if let Some(rejected) = rejection(error) {
        return Some(rejected.clone().into());
    }
    let timed_out: &TimedOut = sources(error).find_map(|error| error.downcast_ref())?;
    Some(timed_out.clone().into())
}

/// UNAVAILABLE, with the time to come back as pushback: for `?` in a handler.
impl From<Rejected> for Status {
    fn from(rejected: Rejected) -> Self {
        let mut status = rejected.status().clone();
        status.set_source(Arc::new(rejected));
        status
    }
}

/// DEADLINE_EXCEEDED: for `?` in a handler.
impl From<TimedOut> for Status {
    fn from(timed_out: TimedOut) -> Self {
        let mut status = Self::deadline_exceeded(timed_out.to_string());
        status.set_source(Arc::new(timed_out));
        status
    }
}

/// UNAVAILABLE for a call that was rejected, else what its own error becomes. It is for `breaker.call(..).await?` in a
/// handler.
impl<E: Into<Self>> From<CallError<E>> for Status {
    fn from(error: CallError<E>) -> Self {
        match error {
            CallError::Rejected(rejected) => rejected.into(),
            CallError::Inner(error) => error.into(),
        }
    }
}
