//! Requests that take long to send, over real connections: whose time is it?
//!
//! The breaker's time is a manual clock's. It opens at the first call that took a second, so that what a call was taken for
//! is seen in its state; and a caller who leaves after ten seconds of waiting counts against the server.
#![cfg(feature = "hyper")]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use fusebox::circuit_breaker::{UploadBody, UploadLayer};
use fusebox::classify::Http;
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfigBuilder, CircuitBreakerLayer, EventKind, ManualClock, Registry,
    RetryConfig, RetryLayer, SafetyNet, State, classify, detect,
};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::{StreamExt, poll, stream};
use http::{Request, Response};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tower::{Layer, ServiceExt, service_fn};

use crate::servers::listen;
use crate::streams::{Body, Told, Version, recorded};
use crate::support::{Record, breaker, config, just_under, secs};

const VERSIONS: [Version; 2] = [Version::One, Version::Two];

fn strict() -> (CircuitBreaker, ManualClock) {
    strict_with(|builder| builder)
}

fn strict_with(
    f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
) -> (CircuitBreaker, ManualClock) {
    breaker(|builder| {
        let slow = detect::slow_call_rate(0.1).slower_than(secs(1)).of_last(10).min_calls(1);
        f(builder).detector(detect::consecutive_failures(1).or(slow)).abandoned_after(secs(10)).execution_log(10)
    })
}

fn boxed(body: UploadBody<Body>) -> Body {
    body.boxed_unsync()
}

/// Counts from the end of uploads.
fn watching(breaker: &CircuitBreaker) -> UploadLayer<fn(UploadBody<Body>) -> Body, Http> {
    let wrap: fn(UploadBody<Body>) -> Body = boxed;
    CircuitBreakerLayer::from(breaker.clone()).classify(classify::http()).upload(wrap)
}

/// What a caller sends a piece at a time.
struct Pieces {
    pieces: UnboundedSender<Result<Frame<Bytes>, BoxError>>,
    /// The client has asked for more than there is.
    asked: Arc<Notify>,
    ended: oneshot::Receiver<()>,
}

impl Pieces {
    fn send(&self, bytes: &'static [u8]) {
        self.pieces.unbounded_send(Ok(Frame::data(Bytes::from_static(bytes)))).expect("the client goes on");
    }

    /// Waits until the client has taken all there is, and asks for more.
    async fn are_taken(&self, call: &mut (impl Future + Unpin)) {
        let ended = matches!(select(call, pin!(self.asked.notified())).await, Either::Left(_));
        assert!(!ended, "the call is on its way");
    }

    /// Ends the body after such a time in which the client waits for more of it.
    async fn end_after(self, (clock, time): (&ManualClock, Duration), call: &mut (impl Future + Unpin)) {
        self.are_taken(call).await;
        clock.advance(time);
        self.end(call).await;
    }

    /// Ends the body, and waits until the client has seen that.
    async fn end(self, call: &mut (impl Future + Unpin)) {
        drop(self.pieces);
        select(call, self.ended).await;
    }
}

/// A body that goes on for as long as its pieces do.
fn pieces() -> (Pieces, Body) {
    let ((pieces, mut sent), (end, ended), asked) = (unbounded(), oneshot::channel(), Arc::new(Notify::new()));
    let (notify, mut end) = (asked.clone(), Some(end));
    let body = stream::poll_fn(move |cx| {
        let polled = sent.poll_next_unpin(cx);
        match &polled {
            Poll::Pending => notify.notify_one(),
            Poll::Ready(None) => drop(end.take().map(|end| end.send(()))),
            Poll::Ready(Some(_)) => {}
        }
        polled
    });
    (Pieces { pieces, asked, ended }, StreamBody::new(body).boxed_unsync())
}

#[tokio::test]
async fn an_upload_of_five_seconds_is_no_slow_call() {
    for version in VERSIONS {
        for (after, state) in [(secs(0), State::Closed), (secs(1), State::Open)] {
            let ((breaker, clock), server) = (strict(), Told::start(version).await);
            let layer = watching(&breaker);
            let (mut said, (pieces, body)) = (server.next(), pieces());
            let mut call = Box::pin(layer.layer(server.client()).oneshot(server.sending(body)));
            for _ in 0..5 {
                pieces.are_taken(&mut call).await;
                clock.advance(secs(1));
                pieces.send(b"a piece of a film");
            }
            pieces.end(&mut call).await;
            clock.advance(after);
            said.head(Response::builder());
            drop(said);
            call.await.expect("closed").into_body().collect().await.expect("a body");
            assert_eq!(breaker.state(), state, "{version:?}, a head {after:?} after the end");
        }
    }
}

#[tokio::test]
async fn without_it_the_callers_time_counts() {
    let ((breaker, clock), server) = (strict(), Told::start(Version::One).await);
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::http());
    let (mut said, (pieces, body)) = (server.next(), pieces());
    let mut call = Box::pin(layer.layer(server.client()).oneshot(server.sending(body)));
    pieces.end_after((&clock, secs(5)), &mut call).await;
    said.head(Response::builder());
    call.await.expect("closed");
    assert!(breaker.is_open());
}

/// A server may answer before it has got all.
#[tokio::test]
async fn while_the_callers_body_is_waited_for_no_time_counts() {
    for version in VERSIONS {
        let (times, server) = (Record::default(), Told::start(version).await);
        let told = times.clone();
        let (breaker, clock) = strict_with(|builder| {
            builder.call_events(true).on_event(move |event| {
                if let EventKind::Ended { took, .. } = event.kind() {
                    told.add(took);
                }
            })
        });
        let layer = watching(&breaker);
        let (mut said, (pieces, body)) = (server.next(), pieces());
        let mut call = Box::pin(layer.layer(server.client()).oneshot(server.sending(body)));
        pieces.send(b"a piece");
        pieces.are_taken(&mut call).await;
        clock.advance(secs(5));
        said.head(Response::builder());
        call.await.expect("closed");
        assert_eq!((breaker.state(), recorded(&breaker)), (State::Closed, "S".to_owned()), "{version:?}");
        assert_eq!(times.take(), [Some(Duration::ZERO)], "{version:?}: it is told as any other");
    }
}

#[tokio::test]
async fn a_caller_who_leaves_counts_against_a_server_that_has_all() {
    for (ends, waits, state) in
        [(false, secs(60), State::Closed), (true, just_under(secs(10)), State::Closed), (true, secs(10), State::Open)]
    {
        let ((breaker, clock), server) = (strict(), Told::start(Version::Two).await);
        let layer = watching(&breaker);
        let (_said, (pieces, body)) = (server.next(), pieces());
        let mut call = Box::pin(layer.layer(server.client()).oneshot(server.sending(body)));
        pieces.send(b"a piece");
        pieces.are_taken(&mut call).await;
        clock.advance(secs(60));
        if ends {
            pieces.end(&mut call).await;
        }
        clock.advance(waits);
        drop(call);
        assert_eq!(breaker.state(), state, "sent all: {ends}, left after {waits:?}");
    }
}

/// With a stream that goes on after its head, the silence is that of the response, and slow is what the head was.
#[tokio::test]
async fn the_response_is_watched_to_its_end_as_ever() {
    let ((breaker, clock), server) = (strict(), Told::start(Version::Two).await);
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::http().at_end()).upload(boxed);
    let (mut said, (pieces, body)) = (server.next(), pieces());
    let mut call = Box::pin(layer.layer(server.client()).oneshot(server.sending(body)));
    pieces.end_after((&clock, secs(5)), &mut call).await;
    said.head(Response::builder());
    let mut body = call.await.expect("closed").into_body();
    assert!(poll!(body.frame()).is_pending());
    clock.advance(secs(5));
    said.data(b"some");
    body.frame().await.expect("a frame").expect("no error");
    assert_eq!((breaker.state(), recorded(&breaker)), (State::Closed, String::new()));
    said.breaks();
    while let Some(Ok(_)) = body.frame().await {}
    assert!(breaker.is_open(), "its end is a failure");
}

/// A request whose caller left is no success of an upload either: it fails by its own body, which is the caller's fault.
#[tokio::test]
async fn an_upload_that_breaks_is_the_callers_own() {
    let ((breaker, clock), server) = (strict(), Told::start(Version::One).await);
    let layer = watching(&breaker);
    let (_said, (pieces, body)) = (server.next(), pieces());
    let mut call = Box::pin(layer.layer(server.client()).oneshot(server.sending(body)));
    pieces.are_taken(&mut call).await;
    clock.advance(secs(60));
    pieces.pieces.unbounded_send(Err("the file is gone".into())).expect("the client goes on");
    call.await.expect_err("half a request");
    assert_eq!((breaker.state(), recorded(&breaker)), (State::Closed, String::new()));
}

/// One piece of memory, sent to a server that reads when it is told to: the buffers on the way take but a part of it.
#[tokio::test]
async fn a_large_body_in_one_piece_takes_the_callers_time_too() {
    const LENGTH: usize = 64 * 1024 * 1024;

    let ((breaker, clock), (listener, address)) = (strict(), listen().await);
    let layer = watching(&breaker);
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let body = Full::from(vec![7; LENGTH]).map_err(|never| match never {}).boxed_unsync();
    let request = Request::put(format!("http://{address}/films/7")).body(body).expect("a request");
    let call = tokio::spawn(layer.layer(client).oneshot(request));

    let (mut stream, _) = listener.accept().await.expect("a client");
    let head = read_head(&mut stream).await;
    assert!(head.contains(&format!("content-length: {LENGTH}\r\n")), "the length is known: {head}");
    clock.advance(secs(5));
    let mut all = vec![0; LENGTH];
    stream.read_exact(&mut all).await.expect("all of it");
    assert!(all.iter().all(|byte| *byte == 7), "the bytes are those that were sent");
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("the client listens");
    call.await.expect("no panic").expect("an answer");
    assert_eq!(breaker.state(), State::Closed);
}

/// What has a piece and asks for no other has it, and takes the time that it takes.
#[tokio::test]
async fn a_server_that_stops_reading_is_slow() {
    for (reads, state) in [(1, State::Open), (15, State::Open), (16, State::Closed), (0, State::Open)] {
        let (breaker, clock) = strict();
        let layer = watching(&breaker);
        let server = service_fn(|request: Request<Body>| {
            let clock = &clock;
            async move {
                let mut body = request.into_body();
                for _ in 0..reads {
                    clock.advance(secs(1));
                    let piece = body.frame().await.expect("a piece")?.into_data().expect("data");
                    assert_eq!(piece.len(), 64 * 1024);
                }
                if !body.is_end_stream() {
                    clock.advance(secs(1));
                }
                Ok::<_, BoxError>(Response::new(()))
            }
        });
        let body = Full::from(vec![7; 1024 * 1024]).map_err(|never| match never {}).boxed_unsync();
        layer.layer(server).oneshot(Request::new(body)).await.expect("closed");
        assert_eq!(breaker.state(), state, "{reads} of 16 pieces");
    }
}

/// One that needs no more than it has got, and takes its time from then on.
#[tokio::test]
async fn a_server_that_drops_what_it_waits_for_is_slow() {
    let (breaker, clock) = strict();
    let server = service_fn(|request: Request<Body>| {
        let clock = &clock;
        async move {
            let mut body = request.into_body();
            body.frame().await.expect("a piece")?;
            assert!(poll!(body.frame()).is_pending(), "the caller has no more yet");
            clock.advance(secs(60));
            drop(body);
            clock.advance(secs(1));
            Ok::<_, BoxError>(Response::new(()))
        }
    });
    let (pieces, body) = pieces();
    pieces.send(b"a piece");
    watching(&breaker).layer(server).oneshot(Request::new(body)).await.expect("closed");
    assert!(breaker.is_open());
}

/// Reads to the end of a request's head, and not a byte more.
async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    String::from_utf8(head).expect("text").to_ascii_lowercase()
}

/// Requests without a body count from the call, whatever the client asks of an empty one.
#[tokio::test]
async fn what_sends_nothing_counts_from_the_call() {
    for version in VERSIONS {
        let ((breaker, clock), server) = (strict(), Told::start(version).await);
        let layer = watching(&breaker);
        let mut said = server.next();
        let mut call = Box::pin(layer.layer(server.client()).oneshot(server.request()));
        assert!(poll!(call.as_mut()).is_pending());
        clock.advance(secs(1));
        said.head(Response::builder());
        call.await.expect("closed");
        assert!(breaker.is_open(), "{version:?}");
    }
}

#[tokio::test]
async fn a_rejected_request_is_the_callers_own_again() {
    let (breaker, _clock) = strict();
    breaker.trip().expect("no override");
    let layer = CircuitBreakerLayer::from(breaker).classify(classify::http());
    let layer =
        layer.fallback(|request: Request<Full<Bytes>>, _| async move { Ok(Response::new(request.into_body())) });
    let inner = service_fn(|_: Request<()>| async { Err::<Response<Full<Bytes>>, BoxError>("not asked".into()) });
    let service = layer.upload(|_: UploadBody<Full<Bytes>>| ()).layer(inner);
    let answer = service.oneshot(Request::new(Full::from("a film"))).await.expect("an answer");
    assert_eq!(answer.into_body().collect().await.expect("a body").to_bytes(), "a film");
}

#[tokio::test]
async fn keyed_breakers_and_safety_nets_count_uploads_too() {
    let (server, clock) = (Told::start(Version::One).await, ManualClock::new());
    let registry = {
        let clock = clock.clone();
        Registry::new(move |name| {
            let slow = detect::slow_call_rate(0.1).slower_than(secs(1)).of_last(10).min_calls(1);
            fusebox::CircuitBreakerConfig::builder(name).detector(slow).clock(clock.clone()).build()
        })
    };
    let keyed =
        CircuitBreakerLayer::keyed(registry.clone(), |request: &Request<Body>| request.uri().path().split('/').nth(1));
    let keyed = keyed.classify(classify::http()).releases_readiness().upload(boxed);
    let net =
        SafetyNet::builder().retry(RetryLayer::http(RetryConfig::default()).body(boxed_again)).breaker(keyed).build();
    assert!(net.breaker().is_none(), "it has many");
    let one = strict().0;
    let of_one = SafetyNet::builder().breaker(watching(&one)).build();
    assert_eq!(of_one.breaker().map(CircuitBreaker::name), Some(one.name()));
    let (mut said, (pieces, body)) = (server.next(), pieces());
    let mut call = Box::pin(net.layer(server.client()).oneshot(server.sending(body)));
    pieces.end_after((&clock, secs(5)), &mut call).await;
    said.head(Response::builder());
    call.await.expect("closed");
    assert_eq!(registry.get("shop.Prices").expect("made").state(), State::Closed);
}

fn boxed_again(body: fusebox::retry::ReplayBody<Body>) -> Body {
    body.boxed_unsync()
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_counts_from_the_end_of_the_upload() {
    for (after, state) in [(secs(0), State::Closed), (secs(1), State::Open)] {
        let ((breaker, clock), server) = (strict(), Told::start(Version::One).await);
        let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::http()).upload(reqwest::Body::wrap);
        let client = layer.layer(reqwest::Client::new());
        let (mut said, (pieces, body)) = (server.next(), pieces());
        let body = reqwest::Body::wrap_stream(body.into_data_stream());
        let request = reqwest::Client::new().put(server.url()).body(body).build().expect("a request");
        let mut call = Box::pin(client.oneshot(request));
        pieces.end_after((&clock, secs(5)), &mut call).await;
        clock.advance(after);
        said.head(Response::builder());
        call.await.expect("closed");
        assert_eq!(breaker.state(), state, "a head {after:?} after the end");
    }
}

/// What reqwest says of the length of a body, and that there is none, stays as it is.
#[cfg(feature = "reqwest")]
#[tokio::test]
async fn reqwest_tells_the_same_lengths() {
    for body in [None, Some("a photo")] {
        let (listener, address) = listen().await;
        let heads = tokio::spawn(async move {
            let mut heads = Vec::new();
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().await.expect("a client");
                heads.push(read_head(&mut stream).await);
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(answer).await.expect("the client listens");
            }
            heads
        });
        let layer = CircuitBreakerLayer::reqwest(config(|builder| builder)).upload(reqwest::Body::wrap);
        let request = || {
            let request = reqwest::Client::new().post(format!("http://{address}/"));
            body.into_iter().fold(request, reqwest::RequestBuilder::body).build().expect("a request")
        };
        reqwest::Client::new().oneshot(request()).await.expect("an answer");
        layer.layer(reqwest::Client::new()).oneshot(request()).await.expect("an answer");
        let heads = heads.await.expect("no panic");
        assert_eq!(heads[0], heads[1]);
        assert_eq!(body.is_some(), heads[0].contains("content-length: 7"), "{heads:?}");
    }
}
