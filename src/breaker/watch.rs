//! Who reports the outcome of a call: its future, or the body of its response.

use super::permit::Permit;
use crate::circuit::Outcome;
use crate::classify::{AtHead, Classify, Scope};

/// A classifier together with what it takes to report its verdict. Every [`Classify`] has it whose scope fits the
/// response.
///
/// It is a bound for code that makes guarded services or calls. With [`AtHead`], the response is what the inner service
/// returned; with `AtEnd` it is an HTTP response whose body carries the permit.
///
/// ```
/// use fusebox::{CallError, CircuitBreaker, circuit_breaker::{Classified, Watch}};
///
/// async fn twice<C>(calls: &Classified<C>) -> Result<(C::Response, C::Response), CallError<&'static str>>
/// where
///     C: Watch<u32, &'static str>,
/// {
///     Ok((calls.call(|| async { Ok(1) }).await?, calls.call(|| async { Ok(2) }).await?))
/// }
///
/// # futures::executor::block_on(async {
/// let breaker = CircuitBreaker::new(fusebox::CircuitBreakerConfig::new("payments"));
/// assert_eq!(twice(&breaker.classify(fusebox::classify::errors())).await.unwrap(), (1, 2));
/// # })
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot watch calls that end in `Result<{T}, {E}>`",
    note = "a circuit breaker needs a classifier: `classify::errors()`, `classify::http()`, `classify::grpc()`, or a closure with its types given: `|r: &Result<_, _>| Outcome::..`",
    note = "one with the scope `AtEnd` needs an `http::Response` and `ClassifyEnd + Clone`, both `'static`"
)]
pub trait Watch<T, E>: Classify<T, E> {
    /// The response of the guarded service.
    type Response;

    /// Reports the outcome, or leaves that to the response.
    #[doc(hidden)]
    fn finish(&self, permit: Permit, result: Result<T, E>) -> Result<Self::Response, E>;

    /// The response of a call that is not watched.
    #[doc(hidden)]
    fn unwatched(response: T) -> Self::Response;
}

impl<C, T, E> Watch<T, E> for C
where
    C: Classify<T, E>,
    C::Scope: Observe<C, T>,
    E: 'static,
{
    type Response = <C::Scope as Observe<C, T>>::Response;

    #[inline]
    fn finish(&self, permit: Permit, result: Result<T, E>) -> Result<Self::Response, E> {
        // A rejection by a breaker further in is no evidence, whatever the classifier thinks: the dependency was not asked.
        let outcome = if self.rejection(&result).is_some() { Outcome::Ignored } else { self.classify(&result) };
        C::Scope::observe(self, permit, outcome, result)
    }

    #[inline]
    fn unwatched(response: T) -> Self::Response {
        C::Scope::unobserved(response)
    }
}

/// What a scope does with a permit and a response.
#[doc(hidden)]
pub trait Observe<C, T>: Scope {
    type Response;

    /// One place that reports, for all results: with several, the compiler no longer takes it into its caller.
    fn observe<E>(classify: &C, permit: Permit, outcome: Outcome, result: Result<T, E>) -> Result<Self::Response, E>;

    fn unobserved(response: T) -> Self::Response;
}

impl<C, T> Observe<C, T> for AtHead {
    type Response = T;

    #[inline]
    fn observe<E>(_classify: &C, permit: Permit, outcome: Outcome, result: Result<T, E>) -> Result<T, E> {
        permit.report(outcome);
        result
    }

    #[inline]
    fn unobserved(response: T) -> T {
        response
    }
}
