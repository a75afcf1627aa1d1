//! gRPC: what counts as a failure and when that is known, which calls are made again, what clients see of a rejection. The
//! number in a test's name is that of the scenario on the conformance list.
#![cfg(feature = "grpc")]
#![expect(clippy::panic, reason = "helpers of tests")]

use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, ManualClock, RetryConfig,
    RetryConfigBuilder, backoff, detect,
    retry::{RetryEvent, RetryEventKind, StopReason},
};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use script::{Script, Step, data, headers, trailers};
use support::{Record, breaker, secs};
use tonic::Code;

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

#[path = "../http_retry/script.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod script;

#[path = "../support/text_codec.rs"]
mod text_codec;

mod client;
mod deadlines;
mod late_heads;
mod outcomes;
mod permits;
mod pushback;
mod rejections;
mod retries;
mod streams;
mod tokens;
mod web;

/// A breaker that does not open, and for which time stands still.
struct Watcher {
    breaker: CircuitBreaker,
    seen: Cell<usize>,
}

impl std::ops::Deref for Watcher {
    type Target = CircuitBreaker;

    fn deref(&self) -> &CircuitBreaker {
        &self.breaker
    }
}

fn watcher() -> Watcher {
    watching(|builder| builder).0
}

fn watching(f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder) -> (Watcher, ManualClock) {
    let (breaker, clock) = breaker(|b| f(b.detector(detect::consecutive_failures(1_000)).execution_log(1_000)));
    (Watcher { breaker, seen: Cell::new(0) }, clock)
}

/// The outcomes that it saw since it was last asked, `S` and `F`.
fn outcomes(watcher: &Watcher) -> String {
    let all = watcher.snapshot().recent.to_string();
    let before = watcher.seen.replace(all.len());
    all[before..].to_owned()
}

/// A configuration for which time stands still, that trips at the first failure.
fn tripping(name: &str) -> CircuitBreakerConfigBuilder {
    CircuitBreakerConfig::builder(name).clock(ManualClock::new()).detector(detect::consecutive_failures(1))
}

const ALL: [Code; 17] = [
    Code::Ok,
    Code::Cancelled,
    Code::Unknown,
    Code::InvalidArgument,
    Code::DeadlineExceeded,
    Code::NotFound,
    Code::AlreadyExists,
    Code::PermissionDenied,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Internal,
    Code::Unavailable,
    Code::DataLoss,
    Code::Unauthenticated,
];

/// What a breaker makes of a status.
const fn expected(code: Code) -> &'static str {
    match code {
        Code::Unknown | Code::DeadlineExceeded | Code::Internal | Code::Unavailable | Code::DataLoss => "F",
        Code::Cancelled | Code::ResourceExhausted => "",
        _ => "S",
    }
}

fn number(code: Code) -> String {
    i32::from(code).to_string()
}

/// A message as it is on the wire.
fn message(text: &str) -> Step {
    let length = u32::try_from(text.len()).expect("short");
    Step::Data([&[0][..], &length.to_be_bytes(), text.as_bytes()].concat().into())
}

fn status(code: Code) -> Step {
    trailers(&[("grpc-status", &number(code))])
}

/// Headers that say nothing yet.
fn streaming(steps: impl IntoIterator<Item = Step>) -> Response<Script> {
    let mut response = Response::new(Script::new(steps));
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/grpc"));
    response
}

/// A response that has a status in its headers and no messages.
fn trailers_only(code: Code, more: &[(&'static str, &str)]) -> Response<Script> {
    let mut response = streaming([]);
    response.headers_mut().extend(headers(&[("grpc-status", &number(code))]));
    response.headers_mut().extend(headers(more));
    response
}

/// A call that went well.
fn fine() -> Response<Script> {
    streaming([message("fine"), status(Code::Ok)])
}

/// A service that gives these responses, then fine ones.
fn answers(
    mut responses: Vec<Response<Script>>,
) -> impl tower::Service<Request<tonic::body::Body>, Response = Response<Script>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    responses.reverse();
    let responses = std::sync::Arc::new(std::sync::Mutex::new(responses));
    tower::service_fn(move |_| {
        let next = responses.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        std::future::ready(Ok(next.unwrap_or_else(fine)))
    })
}

/// A request with a body of one message.
fn request() -> Request<tonic::body::Body> {
    let body = tonic::body::Body::new(Script::new([message("order")]));
    Request::post("http://shop.example/shop.Orders/Place").body(body).expect("a request")
}

/// A guarded body that can be read a frame at a time.
type Reading<C = fusebox::classify::Grpc> = std::pin::Pin<Box<fusebox::circuit_breaker::GuardedBody<Script, C>>>;

async fn read_all<B: Body<Data = Bytes>>(body: B) -> Result<(Bytes, Option<http::HeaderMap>), B::Error> {
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned();
    Ok((collected.to_bytes(), trailers))
}

fn config(f: impl FnOnce(RetryConfigBuilder) -> RetryConfigBuilder) -> RetryConfig {
    f(RetryConfig::builder().backoff(backoff::fixed(Duration::ZERO))).build().expect("a configuration that works")
}

/// Why there was no further attempt, if the call failed.
fn stopped(events: &Record<RetryEvent>) -> Option<StopReason> {
    events.take().iter().find_map(|event| match event.kind() {
        RetryEventKind::Stopped { reason, .. } => Some(reason),
        _ => None,
    })
}

/// A configuration that retries after so long and says why it stopped.
fn told(wait: Duration) -> (RetryConfig, Record<RetryEvent>) {
    let events = Record::default();
    let told = events.clone();
    (config(|builder| builder.backoff(backoff::fixed(wait)).on_event(move |event| told.add(*event))), events)
}

/// The time on tokio's clock, whatever the features.
#[expect(clippy::disallowed_methods, reason = "to measure how long a call took")]
fn timer() -> impl Fn() -> Duration {
    let start = tokio::time::Instant::now();
    move || start.elapsed()
}

/// Awaits what must be there at once.
fn at_hand<F: Future>(future: F) -> F::Output {
    futures::FutureExt::now_or_never(future).expect("at once")
}
