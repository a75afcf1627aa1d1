//! Responses over real connections that drip, stall, break off in the middle, or lack their end; and readers who leave.
//! The breaker's time is a manual clock's; what a server does next, a test tells it.
#![cfg(feature = "hyper")]

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fusebox::{BoxError, CircuitBreaker, CircuitBreakerLayer, ManualClock, classify, detect};
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use futures::channel::oneshot;
use futures::poll;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower::{Layer, ServiceExt};

use crate::servers::listen;
use crate::support::{breaker, config, secs};

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
type Frames = UnboundedReceiver<Result<Frame<Bytes>, BoxError>>;

/// A version of HTTP to talk in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Version {
    One,
    Two,
}

/// What a server is told to say, a piece at a time. Dropped, the body has ended.
pub(crate) struct Said {
    head: Option<oneshot::Sender<Response<Frames>>>,
    frames: UnboundedSender<Result<Frame<Bytes>, BoxError>>,
    body: Option<Frames>,
}

impl Said {
    /// The head of the response.
    pub(crate) fn head(&mut self, response: http::response::Builder) {
        let body = self.body.take().expect("one head");
        let response = response.body(body).expect("a response");
        self.head.take().expect("one head").send(response).expect("the server waits for it");
    }

    fn say(&self, frame: Frame<Bytes>) {
        self.frames.unbounded_send(Ok(frame)).expect("the server goes on");
    }

    pub(crate) fn data(&self, bytes: &[u8]) {
        self.say(Frame::data(Bytes::copy_from_slice(bytes)));
    }

    #[cfg(feature = "grpc")]
    fn status(&self, code: &'static str) {
        let (name, code) = (http::HeaderName::from_static("grpc-status"), http::HeaderValue::from_static(code));
        self.say(Frame::trailers([(name, code)].into_iter().collect()));
    }

    /// The stream is reset, or its connection closed in the middle.
    pub(crate) fn breaks(self) {
        self.frames.unbounded_send(Err("the power is out".into())).expect("the server goes on");
    }
}

/// A server that says what it is told.
#[derive(Clone)]
pub(crate) struct Told {
    address: SocketAddr,
    version: Version,
    next: Arc<Mutex<VecDeque<oneshot::Receiver<Response<Frames>>>>>,
}

impl Told {
    pub(crate) async fn start(version: Version) -> Self {
        let (listener, address) = listen().await;
        let server = Self { address, version, next: Arc::default() };
        let told = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let told = told.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let next = told.next.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    async move {
                        let next = next.expect("an answer");
                        // Read while the response goes on; where it breaks, it breaks.
                        drop(tokio::spawn(request.into_body().collect()));
                        Ok::<_, BoxError>(next.await?.map(StreamBody::new))
                    }
                });
                let io = TokioIo::new(stream);
                match version {
                    Version::One => drop(tokio::spawn(http1::Builder::new().serve_connection(io, service))),
                    Version::Two => {
                        let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(io, service);
                        drop(tokio::spawn(connection));
                    }
                }
            }
        });
        server
    }

    /// The answer to the next request.
    pub(crate) fn next(&self) -> Said {
        let ((head, waits), (frames, body)) = (oneshot::channel(), unbounded());
        self.next.lock().unwrap_or_else(PoisonError::into_inner).push_back(waits);
        Said { head: Some(head), frames, body: Some(body) }
    }

    pub(crate) fn client(&self) -> Client<HttpConnector, Body> {
        Client::builder(TokioExecutor::new()).http2_only(self.version == Version::Two).build_http()
    }

    pub(crate) fn request(&self) -> Request<Body> {
        self.sending(Full::default().map_err(|never| match never {}).boxed_unsync())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/shop.Prices/Watch", self.address)
    }

    pub(crate) fn sending(&self, body: Body) -> Request<Body> {
        Request::post(self.url()).body(body).expect("a request")
    }
}

/// Reads a body to its end; whether that is a good one.
async fn read<B: http_body::Body<Data = Bytes>>(body: B) -> bool {
    body.collect().await.is_ok()
}

/// A breaker that never opens and knows how all calls ended.
fn watcher() -> (CircuitBreaker, ManualClock) {
    breaker(|builder| {
        builder.detector(detect::consecutive_failures(1_000)).abandoned_after(secs(10)).execution_log(100)
    })
}

/// What its breaker has recorded.
pub(crate) fn recorded(breaker: &CircuitBreaker) -> String {
    breaker.snapshot().recent.to_string()
}

// HTTP

/// The response of a call, and what the server is told of it; with the scope of the classifier.
macro_rules! call {
    ($server:expr, $breaker:expr, $classifier:expr, $head:expr) => {{
        let layer = CircuitBreakerLayer::from($breaker.clone()).classify($classifier);
        let mut said = $server.next();
        said.head($head);
        let response = layer.layer($server.client()).oneshot($server.request()).await.expect("a head");
        (said, response.into_body())
    }};
}

fn ok() -> http::response::Builder {
    Response::builder()
}

const BOTH: [Version; 2] = [Version::One, Version::Two];

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure_where_its_end_is_watched() {
    for version in BOTH {
        let ((breaker, _), server) = (watcher(), Told::start(version).await);
        let (said, body) = call!(server, breaker, classify::http(), ok());
        assert_eq!(recorded(&breaker), "S", "known at the head");
        said.data(b"half a rep");
        said.breaks();
        assert!(!read(body).await, "{version:?}");
        assert_eq!(recorded(&breaker), "S", "and never again");

        let (said, mut body) = call!(server, breaker, classify::http().at_end(), ok());
        said.data(b"half a rep");
        body.frame().await.expect("a frame").expect("no error");
        assert_eq!(recorded(&breaker), "S", "not known yet");
        said.breaks();
        assert!(!read(body).await, "{version:?}");
        assert_eq!(recorded(&breaker), "SF", "{version:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_shorter_than_it_said_is_a_failure_where_its_end_is_watched() {
    let ((breaker, _), server) = (watcher(), Told::start(Version::One).await);
    let (said, body) = call!(server, breaker, classify::http().at_end(), ok().header("content-length", "10"));
    said.data(b"some");
    drop(said);
    assert!(!read(body).await);
    assert_eq!(recorded(&breaker), "F");
}

#[tokio::test]
async fn a_body_that_ends_is_a_success_when_it_has_ended() {
    for version in BOTH {
        let ((breaker, clock), server) = (watcher(), Told::start(version).await);
        for status in [200, 302, 404] {
            let before = recorded(&breaker);
            let (said, mut body) = call!(server, breaker, classify::http().at_end(), ok().status(status));
            for _ in 0..3 {
                said.data(b"a page");
                body.frame().await.expect("a frame").expect("no error");
                clock.advance(secs(60));
            }
            assert_eq!(recorded(&breaker), before, "not known yet");
            drop(said);
            assert!(read(body).await);
            assert_eq!(recorded(&breaker), format!("{before}S"), "{version:?}, {status}");
        }
    }
    // Nothing to read, so nothing to wait for.
    let ((breaker, _), server) = (watcher(), Told::start(Version::One).await);
    let (said, body) = call!(server, breaker, classify::http().at_end(), ok().status(204));
    assert_eq!(recorded(&breaker), "S");
    drop((said, body));
}

#[tokio::test]
async fn a_head_that_fails_is_all_that_counts() {
    for version in BOTH {
        let ((breaker, _), server) = (watcher(), Told::start(version).await);
        for (status, seen) in [(500, "F"), (503, "FF"), (429, "FF"), (501, "FF")] {
            let (said, body) = call!(server, breaker, classify::http().at_end(), ok().status(status));
            assert_eq!(recorded(&breaker), seen, "{version:?}, {status}");
            said.data(b"sorry");
            drop(said);
            assert!(read(body).await);
            assert_eq!(recorded(&breaker), seen, "once");
        }
    }
}

#[tokio::test]
async fn readers_of_http_who_leave_are_no_failure_unless_they_waited_in_vain() {
    for version in BOTH {
        let ((breaker, clock), server) = (watcher(), Told::start(version).await);
        let (said, mut body) = call!(server, breaker, classify::http().at_end(), ok());
        for _ in 0..60 {
            assert!(poll!(body.frame()).is_pending(), "not said yet");
            clock.advance(secs(1));
            said.data(b"data: tick\n\n");
            body.frame().await.expect("a frame").expect("no error");
        }
        clock.advance(secs(3_600));
        drop(body);
        assert_eq!(recorded(&breaker), "", "{version:?}: there was no wait");
        for (silence, seen) in [(secs(9), ""), (secs(10), "F")] {
            let (said, mut body) = call!(server, breaker, classify::http().at_end(), ok());
            said.data(b"half a rep");
            body.frame().await.expect("a frame").expect("no error");
            assert!(poll!(body.frame()).is_pending(), "it stalls");
            clock.advance(silence);
            drop(body);
            assert_eq!(recorded(&breaker), seen, "{version:?}, after {silence:?}");
        }
    }
}

/// An upload and a download at once, of which the upload breaks: the client resets what it had begun.
#[tokio::test]
async fn an_own_body_that_breaks_in_the_middle_of_the_response_is_the_callers_own() {
    let ((breaker, _), server) = (watcher(), Told::start(Version::Two).await);
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::http().at_end());
    let (upload, frames) = unbounded::<Result<Frame<Bytes>, BoxError>>();
    let mut said = server.next();
    said.head(ok());
    let request = server.sending(StreamBody::new(frames).boxed_unsync());
    let mut body = layer.layer(server.client()).oneshot(request).await.expect("a head").into_body();
    said.data(b"half a rep");
    body.frame().await.expect("a frame").expect("no error");
    upload.unbounded_send(Err("the file is gone".into())).expect("the client goes on");
    assert!(!read(body).await);
    assert_eq!(recorded(&breaker), "", "ignored");
}

#[tokio::test]
async fn what_a_configuration_says_of_outcomes_holds_for_heads_and_ends() {
    use fusebox::classify::Outcomes;

    let outcomes =
        Outcomes::new().failures(["404"]).expect("words").ignored(["503", "connection_reset"]).expect("words");
    let clock = ManualClock::new();
    let config =
        config(|b| b.outcomes(outcomes).clock(clock).execution_log(100).detector(detect::failures(9).of_last(9)));
    let classifier = classify::http().outcomes(config.outcomes()).at_end();
    let layer = CircuitBreakerLayer::http(config).classify(classifier);
    let server = Told::start(Version::Two).await;
    for (status, seen) in [(404, "F"), (503, "F"), (200, "FS")] {
        let mut said = server.next();
        said.head(ok().status(status));
        said.data(b"a page");
        drop(said);
        let service = layer.layer(server.client());
        let response = service.oneshot(server.request()).await.expect("a head");
        assert!(read(response.into_body()).await);
        assert_eq!(recorded(layer.breaker()), seen, "{status}");
    }
    // Of the error of a body as of that of a call.
    let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    for (error, seen) in [(reset(), "FS"), (std::io::Error::other("torn"), "FSF")] {
        let body = StreamBody::new(futures::stream::iter([Err::<Frame<Bytes>, _>(error)]));
        let body = Arc::new(Mutex::new(Some(body)));
        let service = tower::service_fn(move |_: ()| {
            let body = body.lock().unwrap_or_else(PoisonError::into_inner).take().expect("one call");
            std::future::ready(Ok::<_, BoxError>(Response::new(body)))
        });
        let response = layer.layer(service).oneshot(()).await.expect("a head");
        assert!(!read(response.into_body()).await);
        assert_eq!(recorded(layer.breaker()), seen);
    }
}

/// Its own preset takes the classifier for the retry and the breaker: the retry has seen enough with the head.
#[tokio::test]
async fn a_safety_net_may_watch_the_end_too() {
    let server = Told::start(Version::Two).await;
    let net = fusebox::SafetyNet::http("prices").expect("it works").classify(classify::http().at_end());
    let mut said = server.next();
    said.head(ok());
    let client = net.layer(Client::builder(TokioExecutor::new()).http2_only(true).build_http());
    let request = server.request().map(|_| Full::<Bytes>::default());
    let body = client.oneshot(request).await.expect("a head").into_body();
    said.data(b"half a rep");
    said.breaks();
    assert!(!read(body).await);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_server_watches_what_its_handlers_stream() {
    use axum::body::Body;
    use axum::routing::get;
    use futures::{StreamExt, stream};

    let (breaker, _) = watcher();
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::http().at_end());
    let layer = layer.respond_with(fusebox::web::unavailable);
    // A head is sent before what follows it breaks.
    let go_on = Arc::new(tokio::sync::Notify::new());
    let pieces = |last: Result<Bytes, BoxError>, go_on: Arc<tokio::sync::Notify>| {
        let first = Ok(Bytes::from_static(b"half a rep"));
        Body::from_stream(stream::iter([first]).chain(stream::once(async move {
            go_on.notified().await;
            last
        })))
    };
    let (whole, torn) = (go_on.clone(), go_on.clone());
    let app = axum::Router::new()
        .route("/whole", get(move || async move { pieces(Ok(Bytes::from_static(b"ort")), whole) }))
        .route("/torn", get(move || async move { pieces(Err("the database is gone".into()), torn) }))
        .layer(layer);
    let address = crate::servers::serve(app).await;
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for (path, seen) in [("whole", "S"), ("torn", "SF")] {
        let response = client.get(format!("http://{address}/{path}").parse().expect("a URI")).await.expect("a head");
        go_on.notify_one();
        assert_eq!(read(response.into_body()).await, path == "whole");
        assert_eq!(recorded(&breaker), seen, "{path}");
    }
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::time::Duration;

    use fusebox::State;
    use fusebox::circuit_breaker::GuardedBody;
    use fusebox::classify::Grpc;
    use http::HeaderMap;

    use super::*;
    use crate::support::ms;

    const HELLO: &[u8] = b"\0\0\0\0\x05hello";

    fn grpc() -> http::response::Builder {
        Response::builder().header("content-type", "application/grpc")
    }

    /// Trips at a failure, or where half of two were slow.
    fn strict() -> (CircuitBreaker, ManualClock) {
        breaker(|builder| {
            let slow = detect::slow_call_rate(0.5).slower_than(secs(1)).of_last(10).min_calls(2);
            let builder = builder.detector(detect::consecutive_failures(1).or(slow));
            builder.abandoned_after(secs(10)).execution_log(100)
        })
    }

    /// The body of a call whose head comes after so long, and what the server is told.
    async fn call(
        server: &Told,
        (breaker, clock): (&CircuitBreaker, &ManualClock),
        after: Duration,
    ) -> (Said, GuardedBody<Incoming, Grpc>) {
        let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
        let mut said = server.next();
        let mut call = Box::pin(layer.layer(server.client()).oneshot(server.request()));
        assert!(poll!(call.as_mut()).is_pending(), "no head yet");
        clock.advance(after);
        said.head(grpc());
        (said, call.await.expect("closed").into_body())
    }

    #[tokio::test]
    async fn c62_streams_that_drip_are_neither_slow_nor_failures_of_those_who_leave_them() {
        let ((breaker, clock), server) = (strict(), Told::start(Version::Two).await);
        for ends in [true, false, true, false, true] {
            let (said, mut body) = call(&server, (&breaker, &clock), ms(1)).await;
            for _ in 0..60 {
                assert!(poll!(body.frame()).is_pending(), "not said yet");
                clock.advance(secs(1));
                said.data(HELLO);
                body.frame().await.expect("a frame").expect("no error");
            }
            if ends {
                said.status("0");
                assert!(body.frame().await.expect("trailers").expect("no error").is_trailers());
            } else {
                assert!(poll!(body.frame()).is_pending());
                clock.advance(secs(9));
            }
        }
        assert_eq!((breaker.state(), recorded(&breaker)), (State::Closed, "SSS".to_owned()));
    }

    #[tokio::test]
    async fn c62_a_stream_that_stalls_is_a_failure_of_those_who_waited() {
        let server = Told::start(Version::Two).await;
        for (silence, state) in [(secs(9), State::Closed), (secs(10), State::Open)] {
            let (breaker, clock) = strict();
            let (said, mut body) = call(&server, (&breaker, &clock), ms(1)).await;
            said.data(HELLO);
            body.frame().await.expect("a frame").expect("no error");
            clock.advance(secs(3_600));
            assert!(poll!(body.frame()).is_pending(), "it stalls");
            clock.advance(silence);
            drop(body);
            assert_eq!(breaker.state(), state, "after {silence:?}");
        }
    }

    #[tokio::test]
    async fn c62_late_heads_are_slow_however_the_rest_goes() {
        let server = Told::start(Version::Two).await;
        for (after, state) in [(ms(999), State::Closed), (secs(1), State::Open)] {
            let (breaker, clock) = strict();
            for _ in 0..2 {
                let (said, mut body) = call(&server, (&breaker, &clock), after).await;
                said.data(HELLO);
                clock.advance(secs(60));
                said.status("0");
                while let Some(frame) = body.frame().await {
                    frame.expect("no error");
                }
            }
            assert_eq!((breaker.state(), recorded(&breaker)), (state, "SS".to_owned()), "heads after {after:?}");
        }
    }

    #[tokio::test]
    async fn a_stream_without_an_end_is_a_failure_over_a_real_connection_too() {
        let server = Told::start(Version::Two).await;
        for ends in ["reset", "no trailers", "other trailers"] {
            let (breaker, clock) = strict();
            let (said, mut body) = call(&server, (&breaker, &clock), ms(1)).await;
            said.data(HELLO);
            body.frame().await.expect("a frame").expect("no error");
            assert_eq!(recorded(&breaker), "");
            match ends {
                "reset" => said.breaks(),
                "no trailers" => drop(said),
                _ => said.say(Frame::trailers(HeaderMap::new())),
            }
            while let Some(Ok(_)) = body.frame().await {}
            assert!(breaker.is_open(), "{ends}");
        }
    }

    /// The last frame of a body of gRPC-Web.
    fn last_frame(lines: &str) -> Vec<u8> {
        [&[0x80][..], &u32::try_from(lines.len()).expect("short").to_be_bytes(), lines.as_bytes()].concat()
    }

    #[tokio::test]
    async fn grpc_web_is_judged_by_its_last_frame_over_real_connections() {
        for version in BOTH {
            let ((breaker, _), server) = (watcher(), Told::start(version).await);
            let head = || Response::builder().header("content-type", "application/grpc-web+proto");
            for (code, seen) in [(0, "S"), (13, "SF"), (5, "SFS"), (14, "SFSF"), (1, "SFSF")] {
                let (said, mut body) = call!(server, breaker, classify::grpc(), head());
                let all = [HELLO.to_vec(), last_frame(&format!("grpc-status:{code}\r\n"))].concat();
                let before = recorded(&breaker);
                for (nth, byte) in all.iter().enumerate() {
                    assert_eq!(recorded(&breaker), before, "{version:?}, {code}, {nth}: not whole yet");
                    said.data(&[*byte]);
                    body.frame().await.expect("a frame").expect("no error");
                }
                // A client that has the trailers need not read on.
                assert_eq!(recorded(&breaker), seen, "{version:?}, {code}");
                drop(said);
                assert!(read(body).await);
                assert_eq!(recorded(&breaker), seen, "once");
            }
            let (said, body) = call!(server, breaker, classify::grpc(), head());
            said.data(HELLO);
            drop(said);
            assert!(read(body).await);
            assert_eq!(recorded(&breaker), "SFSFF", "{version:?}: no last frame");
            let (said, body) = call!(server, breaker, classify::grpc(), head());
            said.data(HELLO);
            said.data(&last_frame("grpc-status:0\r\n")[..9]);
            said.breaks();
            assert!(!read(body).await);
            assert_eq!(recorded(&breaker), "SFSFFF", "{version:?}: half of it");
        }
    }

    /// Bodies of which a server never says the end, with a length that it never keeps.
    #[tokio::test]
    async fn a_body_of_grpc_web_that_never_ends_is_left_by_its_reader() {
        let ((breaker, clock), server) = (watcher(), Told::start(Version::One).await);
        let head = Response::builder().header("content-type", "application/grpc-web");
        let (said, mut body) = call!(server, breaker, classify::grpc(), head);
        said.data(&[0x80, 0xff, 0xff, 0xff, 0xff]);
        for _ in 0..100 {
            said.data(&[b'a'; 16 * 1_024]);
        }
        let mut seen = 0;
        while seen < 5 + 100 * 16 * 1_024 {
            seen += body.frame().await.expect("a frame").expect("no error").into_data().expect("data").len();
        }
        clock.advance(secs(3_600));
        assert!(poll!(body.frame()).is_pending());
        clock.advance(secs(9));
        drop(body);
        assert_eq!(recorded(&breaker), "");
    }
}
