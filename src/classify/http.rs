//! HTTP responses by their status.

use std::error::Error;
use std::marker::PhantomData;

use ::http::{Extensions, HeaderMap, Response, StatusCode};

use super::contract::{Leftover, answer_together};
use super::errors::{fault_of, judge_body_error, judge_error};
use super::excluded::{AllErrors, Except, ExceptSource, Excluded, ExcludedSource};
#[cfg(feature = "reqwest")]
use super::fault::Fault;
use super::retry::Retry;
use super::status::{Quota, judge_status};
use super::{AtEnd, AtHead, Classify, ClassifyEnd, Outcomes};
use crate::circuit::Outcome;
use crate::rejected::{Rejected, rejection_in};

/// Judges HTTP responses by their status, and errors by whose fault they are.
///
/// | result | outcome | another attempt |
/// |---|---|---|
/// | 5xx | failure | yes |
/// | 501 Not Implemented, 505 HTTP Version Not Supported | ignored: the request's fault | no |
/// | 429 Too Many Requests | ignored: one caller's quota is no outage, see [`quota_is_failure`](Http::quota_is_failure) | yes |
/// | 408 Request Timeout | success | yes |
/// | 425 Too Early, 421 Misdirected Request | success | once, at once, whatever the method; after 421 over another connection, with hyper-util's client |
/// | everything else, also other 4xx | success: the dependency answered | no |
/// | the answer of a breaker further in, made by [`unavailable`](fn@crate::web::unavailable) | ignored: the dependency was not asked | see [`WhenRejected`](crate::retry::WhenRejected) |
/// | an error: the connection was not made, or the server did not process the request | failure | yes, whatever the method |
/// | an error: the certificate is not trusted | failure | no |
/// | an error: the caller's own mistake, such as a bad URL or a request body that breaks | ignored | no |
/// | any other error | failure | yes |
///
/// Whose fault an error is, is known for the clients of the features `hyper` and `reqwest`, and for Tower's own errors
/// with the feature `tower`; `docs/outcomes.md` has the table. "Yes" is for requests that may be sent twice:
/// [`RetryLayer::http`](crate::RetryLayer::http) says which.
///
/// A `Retry-After` header, as seconds or as a date by the response's own `Date`, may lengthen the cooldown of a circuit
/// that the failure opens, and no retry comes earlier.
///
/// The outcome is known with the head: a success is one though its body breaks off later, or never ends. To a circuit
/// breaker [`at_end`](Http::at_end) says otherwise.
///
/// ```
/// use fusebox::{Classify, Outcome, classify::{self, Retry}};
/// use http::Response;
///
/// let answer = |status| Ok::<_, ()>(Response::builder().status(status).body(()).unwrap());
/// assert_eq!(classify::http().classify(&answer(503)), Outcome::Failure);
/// assert_eq!(classify::http().classify(&answer(404)), Outcome::Success);
/// assert_eq!(classify::http().classify(&answer(429)), Outcome::Ignored);
/// assert_eq!(classify::http().retry(&answer(429)), Retry::IfIdempotent);
/// ```
#[must_use]
pub const fn http() -> Http {
    Http { quota: Quota::OfOneCaller, outcomes: Outcomes::new(), except: AllErrors, scope: PhantomData }
}

/// The classifier of [`http()`]. `X` is what is excluded, `S` when the outcome is known.
///
/// ```
/// use std::time::Duration;
/// use fusebox::classify::{self, Http};
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, Classify, Outcome};
///
/// fn layer(dependency: &str) -> CircuitBreakerLayer<Http> {
///     CircuitBreakerLayer::new(CircuitBreakerConfig::new(dependency)).classify(classify::http())
/// }
/// assert_eq!(&*layer("payments").breaker().name(), "payments");
///
/// let busy = http::Response::builder().status(503).header("retry-after", "60").body(())?;
/// assert_eq!(classify::http().classify(&Ok::<_, ()>(busy)), Outcome::FailureAfter(Duration::from_secs(60)));
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Http<X = AllErrors, S = AtHead> {
    quota: Quota,
    outcomes: Outcomes,
    except: X,
    scope: PhantomData<fn() -> S>,
}

impl<X, S> Http<X, S> {
    /// Counts 429 Too Many Requests as a failure. It is for a client that is the only user of its quota, so that the
    /// circuit opens while the quota is spent. Default: ignored, because on a server one greedy caller must not shut
    /// out the others.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{classify, Classify, Outcome};
    ///
    /// let spent = http::Response::builder().status(429).header("retry-after", "60").body(())?;
    /// let ours = classify::http().quota_is_failure();
    /// assert_eq!(ours.classify(&Ok::<_, ()>(spent)), Outcome::FailureAfter(Duration::from_secs(60)));
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub const fn quota_is_failure(mut self) -> Self {
        self.quota = Quota::OurOwn;
        self
    }

    /// Counts what a configuration says in its [`outcomes`](crate::CircuitBreakerConfigBuilder::outcomes) as it says.
    ///
    /// ```
    /// use fusebox::classify::{self, Outcomes};
    /// use fusebox::{Classify, Outcome};
    ///
    /// let rule = classify::http().outcomes(Outcomes::new().failures(["404"])?);
    /// let answer = http::Response::builder().status(404).body(()).unwrap();
    /// assert_eq!(rule.classify(&Ok::<_, ()>(answer)), Outcome::Failure);
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub const fn outcomes(mut self, outcomes: Outcomes) -> Self {
        self.outcomes = outcomes;
        self
    }
}

impl<X> Http<X> {
    /// Waits with a success until the body has ended. It is for a circuit breaker whose dependency breaks off in the
    /// middle, or stalls: the head of a response is judged as before, and where it is a failure, or ignored, that is all.
    ///
    /// | the body | outcome |
    /// |---|---|
    /// | ends | success |
    /// | ends in an error, such as a reset, or bytes that are missing | what the error counts as, as an error of the call does: a failure, unless it is the caller's own |
    /// | is dropped by its reader | neither way; a failure after [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after) of silence |
    ///
    /// The response of the guarded service is then one with a [`GuardedBody`](crate::circuit_breaker::GuardedBody), which
    /// holds the call's permit until its end. It is for [`http::Response`]; a `reqwest::Response` is always judged at its
    /// head. What is excluded is excluded of the call's errors, not of the body's, which are of another type.
    ///
    /// A retry has seen enough with the head: it makes no call again because of its body.
    ///
    /// ```
    /// use fusebox::{classify, detect, CircuitBreakerConfig, CircuitBreakerLayer};
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, StreamBody};
    /// use tower::{service_fn, Layer, ServiceExt};
    /// # use futures::stream;
    /// # use http_body::Frame;
    ///
    /// # futures::executor::block_on(async {
    /// let config = CircuitBreakerConfig::builder("reports").detector(detect::consecutive_failures(1)).build()?;
    /// let classifier = classify::http().outcomes(config.outcomes()).at_end();
    /// let layer = CircuitBreakerLayer::http(config).classify(classifier);
    /// let reports = layer.layer(service_fn(|_: Request<()>| async {
    ///     let pieces = [Ok(Frame::data(&b"half a rep"[..])), Err(std::io::Error::other("reset by peer"))];
    ///     Ok::<_, std::io::Error>(Response::new(StreamBody::new(stream::iter(pieces))))
    /// }));
    /// let report = reports.oneshot(Request::new(())).await?;
    /// assert!(!layer.breaker().is_open(), "its head is good");
    /// assert!(report.collect().await.is_err());
    /// assert!(layer.breaker().is_open());
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn at_end(self) -> Http<X, AtEnd> {
        Http { quota: self.quota, outcomes: self.outcomes, except: self.except, scope: PhantomData }
    }
}

impl<S> Http<AllErrors, S> {
    /// Makes errors for which `is_excluded` holds [`Ignored`](Outcome::Ignored). They count neither way and are not
    /// retried.
    ///
    /// ```
    /// use fusebox::{classify, Classify, Outcome};
    ///
    /// #[derive(Debug)]
    /// enum ClientError { NoToken, Network }
    ///
    /// let rule = classify::http().exclude(|error: &ClientError| matches!(error, ClientError::NoToken));
    /// assert_eq!(rule.classify(&Err::<http::Response<()>, _>(ClientError::NoToken)), Outcome::Ignored);
    /// assert_eq!(rule.classify(&Err::<http::Response<()>, _>(ClientError::Network)), Outcome::Failure);
    /// ```
    pub const fn exclude<E, F: Fn(&E) -> bool>(self, is_excluded: F) -> Http<Except<F>, S> {
        self.except(Except::new(is_excluded))
    }

    /// The same for boxed errors: looks for a `T` anywhere in the chain of sources. Where the end of a response is watched,
    /// also for errors that a body ends in.
    ///
    /// ```
    /// use fusebox::{classify, BoxError, Classify, Outcome};
    ///
    /// let rule = classify::http().exclude_source(|_: &std::num::ParseIntError| true);
    /// let mine: BoxError = "x".parse::<u32>().unwrap_err().into();
    /// assert_eq!(rule.classify(&Err::<http::Response<()>, _>(mine)), Outcome::Ignored);
    /// ```
    pub const fn exclude_source<T, F>(self, is_excluded: F) -> Http<ExceptSource<T, F>, S>
    where
        T: Error + 'static,
        F: Fn(&T) -> bool,
    {
        self.except(ExceptSource::new(is_excluded))
    }

    const fn except<X>(self, except: X) -> Http<X, S> {
        Http { quota: self.quota, outcomes: self.outcomes, except, scope: PhantomData }
    }
}

/// A response that has an HTTP status and headers. For a response type of another crate, which cannot be given this trait
/// here, classify by a closure.
///
/// ```
/// use fusebox::classify::{self, StatusOf};
/// use fusebox::{Classify, Outcome};
/// use http::{HeaderMap, StatusCode};
///
/// /// What our own client returns.
/// struct Answer {
///     status: StatusCode,
///     headers: HeaderMap,
/// }
///
/// impl StatusOf for Answer {
///     fn status(&self) -> StatusCode {
///         self.status
///     }
///     fn headers(&self) -> &HeaderMap {
///         &self.headers
///     }
/// }
/// let answer = Answer { status: StatusCode::BAD_GATEWAY, headers: HeaderMap::new() };
/// assert_eq!(classify::http().classify(&Ok::<_, ()>(answer)), Outcome::Failure);
/// ```
pub trait StatusOf {
    /// Returns the status.
    fn status(&self) -> StatusCode;

    /// Returns the headers.
    fn headers(&self) -> &HeaderMap;

    /// Returns the extensions, if there are any. They tell a breaker's own answer from one of the dependency.
    fn extensions(&self) -> Option<&Extensions> {
        None
    }

    /// Whether the client can be told to take another connection.
    #[doc(hidden)]
    fn can_reconnect(&self) -> bool {
        true
    }

    /// Takes a response that goes to no caller, and returns what is worth reading of its body first.
    #[doc(hidden)]
    fn leftover(self) -> Option<Leftover>
    where
        Self: Sized,
    {
        None
    }
}

/// Marks a response that a breaker of this process made instead of a rejection.
#[derive(Clone, Debug)]
pub(crate) struct OwnRejection(pub(crate) Rejected);

pub(super) fn own_rejection(extensions: &Extensions) -> Option<&Rejected> {
    extensions.get::<OwnRejection>().map(|OwnRejection(rejected)| rejected)
}

impl<B: 'static> StatusOf for Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> Option<&Extensions> {
        Some(self.extensions())
    }

    #[cfg(any(feature = "hyper", feature = "axum"))]
    fn leftover(self) -> Option<Leftover> {
        super::leftover::of(self)
    }
}

#[cfg(feature = "reqwest")]
impl StatusOf for ::reqwest::Response {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> Option<&Extensions> {
        Some(self.extensions())
    }

    /// It has no way to leave a connection out.
    fn can_reconnect(&self) -> bool {
        false
    }

    fn leftover(self) -> Option<Leftover> {
        super::leftover::of(Response::<::reqwest::Body>::from(self))
    }
}

/// The answers to all questions, whenever the outcome is known.
macro_rules! answer_by_status {
    ($response:ty) => {
        answer_together!(Result<$response, E>);

        fn rejection<'a>(&self, result: &'a Result<$response, E>) -> Option<&'a Rejected> {
            rejection_of(result)
        }

        fn judge(&self, result: &Result<$response, E>) -> (Outcome, Retry) {
            self.judge_head(result)
        }

        fn leftover(&self, result: Result<$response, E>) -> Option<Leftover> {
            result.ok().and_then(StatusOf::leftover)
        }
    };
}

impl<T: StatusOf, E: 'static, X: Excluded<E>> Classify<T, E> for Http<X> {
    type Scope = AtHead;

    answer_by_status!(T);
}

/// [`AtEnd`] is for responses with a body.
impl<B: 'static, E: 'static, X: Excluded<E>> Classify<Response<B>, E> for Http<X, AtEnd> {
    type Scope = AtEnd;

    answer_by_status!(Response<B>);
}

impl<X: ExcludedSource> ClassifyEnd for Http<X, AtEnd> {
    fn at_head<B>(&self, response: &Response<B>) -> Option<Outcome> {
        if own_rejection(response.extensions()).is_some() {
            return Some(Outcome::Ignored);
        }
        let (outcome, _) = judge_status(response.status(), response.headers(), self.quota, &self.outcomes);
        Some(outcome).filter(|outcome| *outcome != Outcome::Success)
    }

    fn at_end(&self, _trailers: Option<&HeaderMap>) -> Outcome {
        Outcome::Success
    }

    fn at_error<E: 'static>(&self, error: &E) -> Outcome {
        judge_body_error(error, &self.except, &self.outcomes)
    }
}

fn rejection_of<T: StatusOf, E: 'static>(result: &Result<T, E>) -> Option<&Rejected> {
    match result {
        Ok(response) => response.extensions().and_then(own_rejection),
        Err(error) => rejection_in(error),
    }
}

impl<X, S> Http<X, S> {
    fn judge_head<T: StatusOf, E: 'static>(&self, result: &Result<T, E>) -> (Outcome, Retry)
    where
        X: Excluded<E>,
    {
        match result {
            Ok(response) if response.extensions().and_then(own_rejection).is_some() => (Outcome::Ignored, Retry::Never),
            Ok(response) => {
                let (outcome, retry) = judge_status(response.status(), response.headers(), self.quota, &self.outcomes);
                let is_vain = response.status() == StatusCode::MISDIRECTED_REQUEST && !response.can_reconnect();
                (outcome, if is_vain { Retry::Never } else { retry })
            }
            Err(error) => match fault_of(error, &self.except) {
                #[cfg(feature = "reqwest")]
                Some(Fault::Answered(status)) => judge_status(status, &HeaderMap::new(), self.quota, &self.outcomes),
                fault => judge_error(error, fault, &self.outcomes),
            },
        }
    }
}
