//! gRPC calls by their status.

use std::time::Duration;

use ::http::{HeaderMap, Response, StatusCode};
use tonic::{Code, Status};

use super::http::is_own_rejection;
use super::{AtEnd, AtHead, Classify, ClassifyEnd};
use crate::circuit::Outcome;

/// Judges gRPC calls by their status, wherever it is: in the headers, in the trailers at the end of the response, or in a
/// [`tonic::Status`].
///
/// | result | outcome | retried |
/// |---|---|---|
/// | UNKNOWN, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, INTERNAL, DATA_LOSS | failure | no |
/// | UNAVAILABLE, an error of the transport | failure | yes |
/// | CANCELLED | ignored: the client gave up | no |
/// | everything else | success: the dependency answered | no |
///
/// A response that ends without a status is UNKNOWN; one that is not even gRPC is judged by its HTTP status, as gRPC clients
/// do. `grpc-retry-pushback-ms` is heeded as `Retry-After` is for HTTP, and a negative or malformed one means: no retries.
///
/// A breaker that uses it holds the call's permit until the response has ended. A response that is dropped before that has
/// been given up: see [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
///
/// ```
/// use fusebox::{Classify, Outcome, classify};
/// use tonic::{Response, Status};
///
/// let judge = |status| classify::grpc().classify(&Err::<Response<()>, _>(status));
/// assert_eq!(judge(Status::internal("bug")), Outcome::Failure);
/// assert_eq!(judge(Status::not_found("no such order")), Outcome::Success);
/// ```
#[must_use]
pub const fn grpc() -> Grpc {
    Grpc {
        failing: Codes::of(&[
            Code::Unknown,
            Code::DeadlineExceeded,
            Code::ResourceExhausted,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss,
        ]),
        retryable: Codes::of(&[Code::Unavailable]),
    }
}

/// The classifier of [`grpc()`].
///
/// ```
/// use fusebox::classify::{self, Grpc};
/// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer};
///
/// fn layer(dependency: &str) -> CircuitBreakerLayer<Grpc> {
///     CircuitBreakerLayer::new(CircuitBreakerConfig::new(dependency)).classify(classify::grpc())
/// }
/// assert_eq!(&*layer("payments").breaker().name(), "payments");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grpc {
    failing: Codes,
    retryable: Codes,
}

/// A set of status codes, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Codes(u32);

impl Codes {
    const fn of(codes: &[Code]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < codes.len() {
            bits |= 1 << codes[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    const fn has(self, code: Code) -> bool {
        self.0 & 1 << code as u32 != 0
    }
}

const STATUS: &str = "grpc-status";
pub(crate) const PUSHBACK: &str = "grpc-retry-pushback-ms";

impl Grpc {
    /// Sets which codes are failures, instead of the ones in the table at [`grpc()`].
    ///
    /// ```
    /// use fusebox::{Classify, Outcome, classify};
    /// use tonic::{Code, Response, Status};
    ///
    /// let strict = classify::grpc().failing(&[Code::Unavailable, Code::PermissionDenied]);
    /// let denied = Err::<Response<()>, _>(Status::permission_denied("key expired"));
    /// assert_eq!(strict.classify(&denied), Outcome::Failure);
    /// ```
    #[must_use]
    pub const fn failing(mut self, codes: &[Code]) -> Self {
        self.failing = Codes::of(codes);
        self
    }

    /// Sets which failing codes are worth another attempt. Default: UNAVAILABLE.
    ///
    /// ```
    /// use fusebox::{Classify, classify};
    /// use tonic::{Code, Response, Status};
    ///
    /// let patient = classify::grpc().retryable(&[Code::Unavailable, Code::ResourceExhausted]);
    /// assert!(patient.is_retryable(&Err::<Response<()>, _>(Status::resource_exhausted("later"))));
    /// ```
    #[must_use]
    pub const fn retryable(mut self, codes: &[Code]) -> Self {
        self.retryable = Codes::of(codes);
        self
    }

    fn judge(self, code: Code, pushback: Option<Pushback>) -> Outcome {
        match (code, pushback) {
            (Code::Cancelled, _) if !self.failing.has(code) => Outcome::Ignored,
            (code, _) if !self.failing.has(code) => Outcome::Success,
            (_, Some(Pushback::After(wait))) => Outcome::FailureAfter(wait),
            (_, Some(Pushback::Never) | None) => Outcome::Failure,
        }
    }

    fn retries(self, code: Code, pushback: Option<Pushback>) -> bool {
        self.retryable.has(code) && pushback != Some(Pushback::Never)
    }
}

/// What the server says about another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushback {
    After(Duration),
    Never,
}

impl Pushback {
    fn of(headers: &HeaderMap) -> Option<Self> {
        headers.get(PUSHBACK).map(|value| Self::parse(value.to_str().unwrap_or_default()))
    }

    fn of_status(status: &Status) -> Option<Self> {
        status.metadata().get(PUSHBACK).map(|value| Self::parse(value.to_str().unwrap_or_default()))
    }

    /// Milliseconds; a negative or malformed number is a no.
    fn parse(text: &str) -> Self {
        let text = text.trim();
        let digits = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(ms) => Self::After(Duration::from_millis(ms)),
            None => Self::Never,
        }
    }
}

/// The status in headers or trailers; a malformed one is UNKNOWN.
fn code_in(headers: &HeaderMap) -> Option<Code> {
    Some(Code::from_bytes(headers.get(STATUS)?.as_bytes()))
}

/// The status of a response without one (gRPC: "HTTP to gRPC Status Code Mapping").
const fn code_of(status: StatusCode) -> Code {
    match status {
        StatusCode::BAD_REQUEST => Code::Internal,
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::NOT_FOUND => Code::Unimplemented,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Code::Unavailable,
        _ => Code::Unknown,
    }
}

/// The status, if it is known without waiting for the end.
fn code_at_head<B>(response: &Response<B>) -> Option<Code> {
    code_in(response.headers()).or_else(|| (!response.status().is_success()).then(|| code_of(response.status())))
}

impl<B, E> Classify<Response<B>, E> for Grpc {
    type Scope = AtEnd;

    /// As far as is known from the headers: a response that goes on is no failure yet.
    fn classify(&self, result: &Result<Response<B>, E>) -> Outcome {
        match result {
            Ok(response) => self.at_head(response).unwrap_or(Outcome::Success),
            Err(_) => Outcome::Failure,
        }
    }

    fn is_retryable(&self, result: &Result<Response<B>, E>) -> bool {
        match result {
            Ok(response) => {
                code_at_head(response).is_some_and(|code| self.retries(code, Pushback::of(response.headers())))
            }
            Err(_) => true,
        }
    }
}

impl ClassifyEnd for Grpc {
    fn at_head<B>(&self, response: &Response<B>) -> Option<Outcome> {
        if is_own_rejection(response.extensions()) {
            return Some(Outcome::Ignored);
        }
        let code = code_at_head(response)?;
        Some(self.judge(code, Pushback::of(response.headers())))
    }

    fn at_end(&self, trailers: Option<&HeaderMap>) -> Outcome {
        let code = trailers.and_then(code_in).unwrap_or(Code::Unknown);
        self.judge(code, trailers.and_then(Pushback::of))
    }
}

impl<T> Classify<tonic::Response<T>, Status> for Grpc {
    type Scope = AtHead;

    fn classify(&self, result: &Result<tonic::Response<T>, Status>) -> Outcome {
        match result {
            Ok(_) => Outcome::Success,
            Err(status) => self.judge(status.code(), Pushback::of_status(status)),
        }
    }

    fn is_retryable(&self, result: &Result<tonic::Response<T>, Status>) -> bool {
        matches!(result, Err(status) if self.retries(status.code(), Pushback::of_status(status)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        headers.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn trailers_decide_and_missing_ones_are_unknown() {
        let judge = |trailers: Option<&HeaderMap>| grpc().at_end(trailers);
        assert_eq!(judge(None), Outcome::Failure);
        assert_eq!(judge(Some(&with(&[]))), Outcome::Failure);
        assert_eq!(judge(Some(&with(&[("grpc-status", "0")]))), Outcome::Success);
        assert_eq!(judge(Some(&with(&[("grpc-status", "1")]))), Outcome::Ignored);
        assert_eq!(judge(Some(&with(&[("grpc-status", "5")]))), Outcome::Success);
        assert_eq!(judge(Some(&with(&[("grpc-status", "14")]))), Outcome::Failure);
        assert_eq!(judge(Some(&with(&[("grpc-status", "ninety")]))), Outcome::Failure);
    }

    #[test]
    fn pushback_is_milliseconds_or_never() {
        let of = |value| Pushback::of(&with(&[("grpc-retry-pushback-ms", value)]));
        assert_eq!(of("250"), Some(Pushback::After(Duration::from_millis(250))));
        assert_eq!(of("0"), Some(Pushback::After(Duration::ZERO)));
        for never in ["-1", "+5", "", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(of(never), Some(Pushback::Never), "{never:?}");
        }
        assert_eq!(Pushback::of(&with(&[])), None);
    }
}
