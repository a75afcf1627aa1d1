//! Retries of HTTP requests: bodies that are replayed, requests that may be sent again, waits that servers ask for. The
//! number in a test's name is that of the scenario on the conformance list.
#![cfg(feature = "http")]
#![expect(clippy::panic, reason = "helpers of tests")]

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fusebox::retry::ReplayBody;
use fusebox::{
    BoxError, RetryConfig, RetryConfigBuilder, backoff,
    retry::{RetryEvent, RetryEventKind, StopReason},
};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use script::Script;
use support::{Down, Record, secs};
use tokio::sync::{mpsc, oneshot};
use tower::Service;

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod script;

mod attempts;
mod bodies;
mod breakers;
mod deadlines;
mod idempotency;
mod late_bodies;
mod leftovers;
mod memory;
mod property;
mod retry_after;
mod sizes;
mod superseded;

/// Three retries without any wait.
fn at_once() -> RetryConfig {
    config(|builder| builder)
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

/// A configuration that retries at once and says why it stopped.
fn told() -> (RetryConfig, Record<RetryEvent>) {
    let events = Record::default();
    let told = events.clone();
    (config(|builder| builder.on_event(move |event| told.add(*event))), events)
}

/// The body of a response, which says when it is dropped.
#[derive(Debug, Default)]
struct Flag(Arc<AtomicBool>);

impl Drop for Flag {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).expect("a status")
}

fn response(code: u16) -> Response<Flag> {
    let mut response = Response::new(Flag::default());
    *response.status_mut() = status(code);
    response
}

/// An attempt that the test answers when it likes.
struct Attempt<B> {
    request: Request<B>,
    answer: oneshot::Sender<Result<Response<Flag>, Down>>,
}

impl<B> Attempt<B> {
    fn answer(self, code: u16) -> B {
        self.answer.send(Ok(response(code))).expect("the client waits");
        self.request.into_body()
    }

    fn fail(self) -> B {
        self.answer.send(Err(Down)).expect("the client waits");
        self.request.into_body()
    }
}

/// The attempts that arrive.
struct Server<B>(mpsc::UnboundedReceiver<Attempt<B>>);

impl<B> Server<B> {
    async fn next(&mut self) -> Attempt<B> {
        within_a_day(self.0.recv()).await.expect("another attempt")
    }

    /// When the call is over.
    async fn got_no_more(mut self) {
        assert!(within_a_day(self.0.recv()).await.is_none(), "there was another attempt");
    }
}

/// A service whose attempts the test answers.
fn server<B: Send + 'static>()
-> (impl Service<Request<B>, Response = Response<Flag>, Error = Down, Future: Send> + Clone + Send + 'static, Server<B>)
{
    let (send, receive) = mpsc::unbounded_channel();
    let service = tower::service_fn(move |request: Request<B>| {
        let (answer, answered) = oneshot::channel();
        send.send(Attempt { request, answer }).expect("the test listens");
        async move { answered.await.unwrap_or(Err(Down)) }
    });
    (service, Server(receive))
}

/// The text of the next frame; empty at the end.
async fn text<B: Body<Data = bytes::Bytes> + Unpin>(body: &mut B) -> String
where
    B::Error: std::fmt::Debug,
{
    match within_a_day(body.frame()).await {
        None => String::new(),
        Some(frame) => {
            let data = frame.expect("a frame").into_data().expect("data");
            String::from_utf8(data.to_vec()).expect("text")
        }
    }
}

/// All that is left of a body, and its trailers.
async fn rest<B: Body>(body: B) -> (String, Option<http::HeaderMap>)
where
    B::Error: Into<BoxError>,
{
    // A body that never ends must not take the machine with it.
    let collected = Limited::new(body, 1 << 20).collect().await.expect("no error");
    let trailers = collected.trailers().cloned();
    (String::from_utf8(collected.to_bytes().to_vec()).expect("text"), trailers)
}

fn put(body: Script) -> Request<Script> {
    Request::put("/").body(body).expect("a request")
}

/// Runs a call beside the test.
fn start<S, Req>(service: S, request: Req) -> tokio::task::JoinHandle<Result<S::Response, S::Error>>
where
    S: Service<Req, Response: Send, Error: Send, Future: Send> + Send + 'static,
    Req: Send + 'static,
{
    tokio::spawn(tower::ServiceExt::oneshot(service, request))
}

/// With time paused, a test that would hang fails at once.
async fn within_a_day<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(secs(86_400), future).await.expect("within a day")
}

/// How a call ended.
async fn ended<R>(call: tokio::task::JoinHandle<R>) -> R {
    within_a_day(call).await.expect("no panic")
}

/// The body that the server gets.
type Replayed = ReplayBody<Script>;

/// The time on tokio's clock, whatever the features.
#[expect(clippy::disallowed_methods, reason = "to measure how long a call took")]
fn timer() -> impl Fn() -> Duration {
    let start = tokio::time::Instant::now();
    move || start.elapsed()
}

/// A server that answers with these statuses, then with 200, and reads every body to its end.
fn answers<B>(
    codes: &'static [u16],
) -> (
    Record<Request<String>>,
    impl Service<Request<B>, Response = Response<Flag>, Error = Infallible, Future: Send> + Clone + Send,
)
where
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (log, count) = (Record::default(), Arc::new(std::sync::atomic::AtomicUsize::new(0)));
    let seen = log.clone();
    let service = tower::service_fn(move |request: Request<B>| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let seen: Record<Request<String>> = seen.clone();
        async move {
            let (parts, body) = request.into_parts();
            seen.add(Request::from_parts(parts, rest(body).await.0));
            Ok(response(codes.get(number).copied().unwrap_or(200)))
        }
    });
    (log, service)
}

/// Awaits what must be there at once.
fn at_hand<F: Future>(future: F) -> F::Output {
    futures::FutureExt::now_or_never(future).expect("at once")
}
