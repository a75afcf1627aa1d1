//! gRPC calls by their status.

use std::error::Error;
use std::time::Duration;

use ::http::header::CONTENT_TYPE;
use ::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::contract::answer_together;
use super::errors::{fault_of, judge_body_error, judge_error, judge_fault};
use super::excluded::{AllErrors, Except, ExceptSource, Excluded, ExcludedSource};
use super::fault::fault_of_status;
use super::http::own_rejection;
use super::retry::Retry;
use super::retry_after;
use super::status::{Quota, judge_status};
use super::web_trailers::WebTrailers;
use super::{AtEnd, AtHead, Classify, ClassifyEnd, Outcomes};
use crate::circuit::Outcome;
use crate::clock::wall_clock;
use crate::rejected::{PUSHBACK, Rejected, rejection_in};

/// Judges gRPC calls by their status, and errors by whose fault they are. The status may be in the headers, in the
/// trailers at the end of the response, or in a [`tonic::Status`].
///
/// | result | outcome | retried |
/// |---|---|---|
/// | UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, DATA_LOSS | failure | no |
/// | UNAVAILABLE | failure | yes |
/// | RESOURCE_EXHAUSTED | ignored: one caller's quota is no outage, see [`quota_is_failure`](Grpc::quota_is_failure) | no |
/// | CANCELLED | ignored: the client gave up | no |
/// | everything else | success: the dependency answered | no |
/// | an error: the connection was not made, or the server did not process the call | failure | yes |
/// | an error: the certificate is not trusted | failure | no |
/// | an error: the caller's own mistake, such as a message that cannot be encoded | ignored | no |
/// | any other error of the transport | failure | yes |
///
/// A response that ends without a status is UNKNOWN; one that breaks off counts as an error of the call does. One that is
/// not even gRPC, by its `content-type`, is judged by its HTTP status as gRPC's clients do: 200 is UNKNOWN, a failure. On a
/// server that also answers plain HTTP say [`mixed`](Grpc::mixed).
///
/// gRPC-Web has its trailers in the last frame of the body, where they are read: up to 8 KiB, beyond which they are as none.
/// A body as text (`application/grpc-web-text`), or in another `content-encoding`, is not read: a response with a good head is
/// a success then.
///
/// `grpc-retry-pushback-ms` is the wait before a retry, and a negative or malformed one means, under any status: no
/// retries, and one token less in a [`Budget::tokens`](crate::Budget::tokens). OK alone gives tokens back. `RetryInfo`
/// in the details of the status is heeded as `Retry-After` is for HTTP: no retry comes earlier. Either may lengthen the
/// cooldown of a circuit that the failure opens.
///
/// A breaker that uses it holds the call's permit until the response has ended. A reader who leaves before that counts
/// neither way, unless the dependency had been silent: see
/// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
///
/// ```
/// use fusebox::{Classify, Outcome, classify};
/// use tonic::{Response, Status};
///
/// let judge = |status| classify::grpc().classify(&Err::<Response<()>, _>(status));
/// assert_eq!(judge(Status::internal("bug")), Outcome::Failure);
/// assert_eq!(judge(Status::not_found("no such order")), Outcome::Success);
/// assert_eq!(judge(Status::resource_exhausted("your quota")), Outcome::Ignored);
/// ```
#[must_use]
pub const fn grpc() -> Grpc {
    Grpc {
        failing: Codes::of(&[Code::Unknown, Code::DeadlineExceeded, Code::Internal, Code::Unavailable, Code::DataLoss]),
        retryable: Codes::of(&[Code::Unavailable]),
        mixed: false,
        outcomes: Outcomes::new(),
        except: AllErrors,
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
pub struct Grpc<X = AllErrors> {
    failing: Codes,
    retryable: Codes,
    /// The server answers plain HTTP, too.
    mixed: bool,
    outcomes: Outcomes,
    except: X,
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

    const fn with(self, code: Code) -> Self {
        Self(self.0 | 1 << code as u32)
    }

    const fn has(self, code: Code) -> bool {
        self.0 & 1 << code as u32 != 0
    }
}

const STATUS: &str = "grpc-status";

impl Grpc {
    /// Makes errors for which `is_excluded` holds [`Ignored`](Outcome::Ignored). They count neither way and are not
    /// retried. Around a generated client the error is a [`tonic::Status`], around a `Channel` one of the transport.
    ///
    /// ```
    /// use fusebox::{Classify, Outcome, classify};
    /// use tonic::{Response, Status};
    ///
    /// let rule = classify::grpc().exclude(|status: &Status| status.message() == "maintenance");
    /// let judge = |status| rule.classify(&Err::<Response<()>, _>(status));
    /// assert_eq!(judge(Status::unavailable("maintenance")), Outcome::Ignored);
    /// assert_eq!(judge(Status::unavailable("overload")), Outcome::Failure);
    /// ```
    pub const fn exclude<E, F: Fn(&E) -> bool>(self, is_excluded: F) -> Grpc<Except<F>> {
        self.except(Except::new(is_excluded))
    }

    /// The same for boxed errors: looks for a `T` anywhere in the chain of sources. Where the end of a response is watched,
    /// also for errors that a body ends in.
    ///
    /// ```
    /// use fusebox::{BoxError, Classify, Outcome, classify};
    ///
    /// let rule = classify::grpc().exclude_source(|_: &std::num::ParseIntError| true);
    /// let mine: BoxError = "x".parse::<u32>().unwrap_err().into();
    /// assert_eq!(rule.classify(&Err::<http::Response<()>, _>(mine)), Outcome::Ignored);
    /// ```
    pub const fn exclude_source<T, F>(self, is_excluded: F) -> Grpc<ExceptSource<T, F>>
    where
        T: Error + 'static,
        F: Fn(&T) -> bool,
    {
        self.except(ExceptSource::new(is_excluded))
    }

    const fn except<X>(self, except: X) -> Grpc<X> {
        let Self { failing, retryable, mixed, outcomes, .. } = self;
        Grpc { failing, retryable, mixed, outcomes, except }
    }
}

impl<X> Grpc<X> {
    /// Counts RESOURCE_EXHAUSTED as a failure. It is for a client that is the only user of its quota, so that the
    /// circuit opens while the quota is spent. Default: ignored, because on a server one greedy caller must not shut
    /// out the others.
    ///
    /// ```
    /// use fusebox::{Classify, Outcome, classify};
    /// use tonic::{Response, Status};
    ///
    /// let spent = Err::<Response<()>, _>(Status::resource_exhausted("come back tomorrow"));
    /// assert_eq!(classify::grpc().quota_is_failure().classify(&spent), Outcome::Failure);
    /// ```
    #[must_use]
    pub const fn quota_is_failure(mut self) -> Self {
        self.failing = self.failing.with(Code::ResourceExhausted);
        self
    }

    /// Judges responses that are not gRPC by their HTTP status. It does so as [`http`](super::http()) does: for the
    /// layer of a server that answers both. Default: a client's view, to which such a response is a failure unless its
    /// status says otherwise.
    ///
    /// ```
    /// use fusebox::{Classify, Outcome, classify};
    ///
    /// let page = http::Response::builder().header("content-type", "text/plain").body("up")?;
    /// let page = Ok::<_, std::convert::Infallible>(page);
    /// assert_eq!(classify::grpc().mixed().classify(&page), Outcome::Success);
    /// assert_eq!(classify::grpc().classify(&page), Outcome::Failure);
    /// # Ok::<(), http::Error>(())
    /// ```
    #[must_use]
    pub const fn mixed(mut self) -> Self {
        self.mixed = true;
        self
    }

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

    /// Sets which codes are worth another attempt, failing ones or not. Default: UNAVAILABLE.
    ///
    /// ```
    /// use fusebox::{Classify, classify::{self, Retry}};
    /// use tonic::{Code, Response, Status};
    ///
    /// let patient = classify::grpc().retryable(&[Code::Unavailable, Code::ResourceExhausted]);
    /// assert_eq!(patient.retry(&Err::<Response<()>, _>(Status::resource_exhausted("later"))), Retry::IfIdempotent);
    /// ```
    #[must_use]
    pub const fn retryable(mut self, codes: &[Code]) -> Self {
        self.retryable = Codes::of(codes);
        self
    }

    /// Counts what a configuration says in its [`outcomes`](crate::CircuitBreakerConfigBuilder::outcomes) as it says.
    ///
    /// ```
    /// use fusebox::classify::{self, ClassifyEnd, Outcomes};
    /// use fusebox::Outcome;
    ///
    /// let rule = classify::grpc().outcomes(Outcomes::new().failures(["NOT_FOUND"])?.ignored(["UNKNOWN"])?);
    /// let mut trailers = http::HeaderMap::new();
    /// trailers.insert("grpc-status", http::HeaderValue::from_static("5"));
    /// assert_eq!(rule.at_end(Some(&trailers)), Outcome::Failure);
    /// assert_eq!(rule.at_end(None), Outcome::Ignored);
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub const fn outcomes(mut self, outcomes: Outcomes) -> Self {
        self.outcomes = outcomes;
        self
    }

    /// What the configuration says of a code.
    fn said(&self, code: Code) -> Option<Outcome> {
        self.outcomes.of_code(code as u32)
    }

    fn fails(&self, code: Code) -> bool {
        self.said(code).map_or_else(|| self.failing.has(code), |said| said == Outcome::Failure)
    }

    fn judge_code(&self, code: Code, hint: Option<Hint>) -> (Outcome, Retry) {
        let outcome = match (code, hint) {
            (code, _) if self.said(code) == Some(Outcome::Ignored) => Outcome::Ignored,
            (Code::Cancelled | Code::ResourceExhausted, _) if !self.fails(code) => Outcome::Ignored,
            (code, _) if !self.fails(code) => Outcome::Success,
            (_, Some(Hint::Pushback(wait) | Hint::After(wait))) => Outcome::FailureAfter(wait),
            (_, Some(Hint::Never) | None) => Outcome::Failure,
        };
        let retry = match hint {
            _ if code == Code::Ok => Retry::Never,
            // Whether the status is one that is retried does not matter then (proposal A6).
            Some(Hint::Never) => Retry::Refused,
            _ if !self.retryable.has(code) => Retry::Never,
            Some(Hint::Pushback(wait)) => Retry::Pushback(wait),
            Some(Hint::After(wait)) => Retry::After(wait),
            None => Retry::IfIdempotent,
        };
        (outcome, retry)
    }

    /// Judges a response by its head; `None`: its end has to tell.
    fn judge_head<B>(&self, response: &Response<B>) -> Option<(Outcome, Retry)> {
        if own_rejection(response.extensions()).is_some() {
            return Some((Outcome::Ignored, Retry::Never));
        }
        let (status, headers) = (response.status(), response.headers());
        if let Some(code) = code_in(headers) {
            return Some(self.judge_code(code, Hint::of(headers)));
        }
        match Protocol::of(headers) {
            Protocol::Grpc if status.is_success() => None,
            Protocol::Unknown if status.is_success() && !self.mixed => None,
            // Its trailers are in the body, which is not always to be read.
            Protocol::GrpcWeb if status.is_success() => {
                (!WebTrailers::are_told_by(headers)).then_some((Outcome::Success, Retry::Never))
            }
            Protocol::Other | Protocol::Unknown if self.mixed => {
                Some(judge_status(status, headers, self.quota(), &self.outcomes))
            }
            _ => {
                let (outcome, retry) = self.judge_http(status, headers);
                // A quota and a version are no other matter than over plain HTTP.
                let (plain, _) = judge_status(status, headers, self.quota(), &self.outcomes);
                Some((if plain == Outcome::Ignored { plain } else { outcome }, retry))
            }
        }
    }

    fn judge_end(&self, trailers: Option<&HeaderMap>) -> (Outcome, Retry) {
        let code = trailers.and_then(code_in).unwrap_or(Code::Unknown);
        self.judge_code(code, trailers.and_then(Hint::of))
    }

    /// Judges what is not gRPC as gRPC's clients do.
    fn judge_http(&self, status: StatusCode, headers: &HeaderMap) -> (Outcome, Retry) {
        let hint = Hint::of(headers).or_else(|| retry_after::of(headers, wall_clock()).map(Hint::After));
        self.judge_code(code_of(status), hint)
    }

    const fn quota(&self) -> Quota {
        if self.failing.has(Code::ResourceExhausted) { Quota::OurOwn } else { Quota::OfOneCaller }
    }
}

/// What a response is, by its `content-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Grpc,
    GrpcWeb,
    Other,
    /// It does not say.
    Unknown,
}

impl Protocol {
    fn of(headers: &HeaderMap) -> Self {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Self::Unknown;
        };
        let value = value.as_bytes();
        let begins = |with: &[u8]| value.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
        if begins(b"application/grpc-web") {
            Self::GrpcWeb
        } else if begins(b"application/grpc") {
            Self::Grpc
        } else {
            Self::Other
        }
    }
}

/// What the server says about another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hint {
    /// After that time exactly.
    Pushback(Duration),
    /// Not before that time: `google.rpc.RetryInfo`, `Retry-After`.
    After(Duration),
    Never,
}

impl Hint {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let pushback = headers.get_all(PUSHBACK).iter().map(|value| value.to_str().unwrap_or_default());
        Self::pushback_of(pushback).or_else(|| Self::in_details(&with_details(headers.get(DETAILS)?.clone())?))
    }

    fn of_status(status: &Status) -> Option<Self> {
        let pushback = status.metadata().get_all(PUSHBACK);
        let pushback = pushback.iter().map(|value| value.to_str().unwrap_or_default());
        Self::pushback_of(pushback).or_else(|| Self::in_details(status))
    }

    /// There is one, if any: several are as good as a malformed one.
    fn pushback_of<'a>(mut values: impl Iterator<Item = &'a str>) -> Option<Self> {
        let first = values.next()?;
        Some(if values.next().is_some() { Self::Never } else { Self::pushback(first) })
    }

    /// Milliseconds; a negative or malformed number is a no.
    fn pushback(text: &str) -> Self {
        let text = text.trim();
        let digits = Some(text).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(ms) => Self::Pushback(Duration::from_millis(ms)),
            None => Self::Never,
        }
    }

    /// The wait in a `RetryInfo`; none where the details are none, or not to be read.
    fn in_details(status: &Status) -> Option<Self> {
        if status.details().is_empty() {
            return None;
        }
        let wait = status.get_details_retry_info()?.retry_delay?;
        Some(wait).filter(|wait| !wait.is_zero()).map(Self::After)
    }
}

/// The details of a status, as protocol buffers in base64.
const DETAILS: &str = "grpc-status-details-bin";

/// A status with such details; none where they are not in base64. (`Status::from_header_map` panics at those.)
fn with_details(encoded: HeaderValue) -> Option<Status> {
    let only = HeaderMap::from_iter([(HeaderName::from_static(DETAILS), encoded)]);
    let details = MetadataMap::from_headers(only).get_bin(DETAILS)?.to_bytes().ok()?;
    Some(Status::with_details(Code::Unknown, "", details))
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

impl<B, E: 'static, X: Excluded<E>> Classify<Response<B>, E> for Grpc<X> {
    type Scope = AtEnd;

    answer_together!(Result<Response<B>, E>);

    fn rejection<'a>(&self, result: &'a Result<Response<B>, E>) -> Option<&'a Rejected> {
        match result {
            Ok(response) => own_rejection(response.extensions()),
            Err(error) => rejection_in(error),
        }
    }

    fn judge(&self, result: &Result<Response<B>, E>) -> (Outcome, Retry) {
        match result {
            // A response that goes on is no failure yet.
            Ok(response) => self.judge_head(response).unwrap_or((Outcome::Success, Retry::Never)),
            Err(error) => judge_error(error, fault_of(error, &self.except), &self.outcomes),
        }
    }

    /// A call that succeeded does, and no other that was answered (proposal A6).
    fn earns(&self, result: &Result<Response<B>, E>) -> bool {
        result.as_ref().is_ok_and(|response| match code_in(response.headers()) {
            Some(code) => code == Code::Ok,
            None => self.mixed || response.status().is_success(),
        })
    }
}

impl<X: ExcludedSource> ClassifyEnd for Grpc<X> {
    fn at_head<B>(&self, response: &Response<B>) -> Option<Outcome> {
        self.judge_head(response).map(|(outcome, _)| outcome)
    }

    fn at_end(&self, trailers: Option<&HeaderMap>) -> Outcome {
        self.judge_end(trailers).0
    }

    fn retry_at_end(&self, trailers: Option<&HeaderMap>) -> Retry {
        self.judge_end(trailers).1
    }

    fn earns_at_end(&self, trailers: Option<&HeaderMap>) -> bool {
        trailers.and_then(code_in) == Some(Code::Ok)
    }

    fn at_error<E: 'static>(&self, error: &E) -> Outcome {
        judge_body_error(error, &self.except, &self.outcomes)
    }
}

impl<T, X: Excluded<Status>> Classify<tonic::Response<T>, Status> for Grpc<X> {
    type Scope = AtHead;

    answer_together!(Result<tonic::Response<T>, Status>);

    fn judge(&self, result: &Result<tonic::Response<T>, Status>) -> (Outcome, Retry) {
        match result {
            Ok(_) => (Outcome::Success, Retry::Never),
            Err(status) if self.except.has(status) => (Outcome::Ignored, Retry::Never),
            Err(status) => match fault_of_status(status) {
                // Its code is only how this side words an error of its own.
                Some(fault) => judge_fault(Some(fault)),
                None => self.judge_code(status.code(), Hint::of_status(status)),
            },
        }
    }

    fn earns(&self, result: &Result<tonic::Response<T>, Status>) -> bool {
        result.is_ok()
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
        let of = |value| Hint::of(&with(&[("grpc-retry-pushback-ms", value)]));
        assert_eq!(of("250"), Some(Hint::Pushback(Duration::from_millis(250))));
        assert_eq!(of("0"), Some(Hint::Pushback(Duration::ZERO)));
        for never in ["-1", "+5", "", "soon", "1.5", "99999999999999999999999"] {
            assert_eq!(of(never), Some(Hint::Never), "{never:?}");
        }
        assert_eq!(Hint::of(&with(&[])), None);
    }
}
