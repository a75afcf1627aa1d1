//! `Err` is a failure.

use std::error::Error;

#[cfg(feature = "http")]
use super::Outcomes;
use super::contract::answer_together;
#[cfg(feature = "http")]
use super::excluded::ExcludedSource;
use super::excluded::{AllErrors, Except, ExceptSource, Excluded};
use super::fault::{Fault, fault_in};
use super::retry::Retry;
use super::{AtHead, Classify};
use crate::circuit::Outcome;
#[cfg(feature = "http")]
use crate::error_chain::as_error;

/// Counts every `Err` as a failure: the default.
///
/// With the features `hyper`, `reqwest`, `grpc` and `tower`, errors of these crates that are the caller's own mistake (a URL
/// that no client takes, a request body that breaks, own load shedding) are ignored. With the features `postgres` and
/// `redis`, what a database says of a query (a constraint, a syntax error, a row that is not there) is its answer, and
/// so a success of sqlx and of redis-rs; a transaction that lost to another one is ignored, and tried again.
/// `docs/outcomes.md` has the tables.
///
/// ```
/// use fusebox::{classify, Classify, Outcome};
///
/// #[derive(Debug)]
/// enum ShopError { OutOfStock, Database }
///
/// let c = classify::errors().exclude(|e: &ShopError| matches!(e, ShopError::OutOfStock));
/// assert_eq!(c.classify(&Err::<(), _>(ShopError::OutOfStock)), Outcome::Ignored);
/// assert_eq!(c.classify(&Err::<(), _>(ShopError::Database)), Outcome::Failure);
/// assert_eq!(c.classify(&Ok(())), Outcome::Success);
/// ```
#[must_use]
pub const fn errors() -> Errors {
    Errors { except: AllErrors }
}

/// Counts `Err` as a failure, less what is excluded. See [`errors`].
///
/// ```
/// use fusebox::classify::{self, Errors};
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, circuit_breaker::Classified};
///
/// struct Client {
///     calls: Classified<Errors>,
/// }
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// let client = Client { calls: breaker.classify(classify::errors()) };
/// assert_eq!(client.calls.call_blocking(|| "42".parse::<u32>()).unwrap(), 42);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Errors<X = AllErrors> {
    except: X,
}

impl Errors {
    /// Makes errors for which `is_excluded` holds [`Ignored`](Outcome::Ignored): they count neither way.
    ///
    /// ```
    /// use fusebox::{classify, CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("stock"));
    /// let calls = breaker.classify(classify::errors().exclude(|e: &&str| *e == "sold out"));
    /// assert!(calls.call_blocking(|| Err::<u32, _>("sold out")).is_err(), "the caller still gets it");
    /// assert!(calls.call_blocking(|| Err::<u32, _>("down")).is_err());
    /// assert_eq!(breaker.snapshot().detectors[0].tally.to_string(), "1 failure");
    /// ```
    pub const fn exclude<E, F: Fn(&E) -> bool>(self, is_excluded: F) -> Errors<Except<F>> {
        Errors { except: Except::new(is_excluded) }
    }

    /// The same for boxed errors: looks for a `T` anywhere in the chain of sources.
    ///
    /// ```
    /// use fusebox::{classify, BoxError, Classify, Outcome};
    ///
    /// let c = classify::errors().exclude_source(|e: &std::num::ParseIntError| e.to_string().contains("digit"));
    /// let mine: BoxError = "x".parse::<u32>().unwrap_err().into();
    /// assert_eq!(c.classify(&Err::<(), _>(mine)), Outcome::Ignored);
    /// assert_eq!(c.classify(&Err::<(), BoxError>("down".into())), Outcome::Failure);
    /// ```
    pub const fn exclude_source<T, F>(self, is_excluded: F) -> Errors<ExceptSource<T, F>>
    where
        T: Error + 'static,
        F: Fn(&T) -> bool,
    {
        Errors { except: ExceptSource::new(is_excluded) }
    }
}

impl<T, E: 'static, X: Excluded<E>> Classify<T, E> for Errors<X> {
    type Scope = AtHead;

    answer_together!(Result<T, E>);

    #[inline]
    fn judge(&self, result: &Result<T, E>) -> (Outcome, Retry) {
        match result {
            Ok(_) => (Outcome::Success, Retry::Never),
            Err(error) => judge_fault(fault_of(error, &self.except)),
        }
    }
}

/// Whose fault an error is; `None`: it is not known. What is excluded is the caller's own affair.
#[inline]
pub(super) fn fault_of<E: 'static>(error: &E, except: &impl Excluded<E>) -> Option<Fault> {
    own_or_in(except.has(error), error)
}

#[inline]
fn own_or_in<E: 'static>(is_excluded: bool, error: &E) -> Option<Fault> {
    if is_excluded { Some(Fault::Caller) } else { fault_in(error) }
}

/// Whose fault it was says what it counts, and whether another attempt could mend it.
pub(super) const fn judge_fault(fault: Option<Fault>) -> (Outcome, Retry) {
    match fault {
        None | Some(Fault::Dependency) => (Outcome::Failure, Retry::IfIdempotent),
        Some(Fault::Unprocessed) => (Outcome::Failure, Retry::Unprocessed),
        Some(Fault::Final) => (Outcome::Failure, Retry::Never),
        #[cfg(any(feature = "postgres", feature = "redis"))]
        Some(Fault::Refused) => (Outcome::Success, Retry::Never),
        #[cfg(feature = "postgres")]
        Some(Fault::Conflict) => (Outcome::Ignored, Retry::IfIdempotent),
        Some(Fault::Caller | Fault::Cancelled) => (Outcome::Ignored, Retry::Never),
        // An `Err` by the caller's own word.
        #[cfg(feature = "reqwest")]
        Some(Fault::Answered(_)) => (Outcome::Failure, Retry::IfIdempotent),
    }
}

/// The same, where a configuration says otherwise of some errors. What the caller has done wrong stays so.
#[cfg(feature = "http")]
pub(super) fn judge_error<E: 'static>(error: &E, fault: Option<Fault>, outcomes: &Outcomes) -> (Outcome, Retry) {
    let (by_itself, retry) = judge_fault(fault);
    let said = as_error(error).filter(|_| fault != Some(Fault::Caller)).and_then(|error| outcomes.of_error(error));
    (said.unwrap_or(by_itself), retry)
}

/// What the error says in which the body of a response ended.
#[cfg(feature = "http")]
pub(super) fn judge_body_error<E: 'static>(error: &E, except: &impl ExcludedSource, outcomes: &Outcomes) -> Outcome {
    let is_excluded = as_error(error).is_some_and(|error| except.has_source(error));
    judge_error(error, own_or_in(is_excluded, error), outcomes).0
}
