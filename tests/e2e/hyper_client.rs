//! hyper-util's legacy client, whose connections break while a body is on its way.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use fusebox::classify::Http;
use fusebox::retry::{ReplayBody, ReplayHttp, RetryService};
use fusebox::{BoxError, RetryConfig, RetryLayer, backoff, retry::RetryStats};
use futures::{StreamExt, stream};
use http::{Request, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;
use tower::{Layer, ServiceExt};

use crate::servers::{Line, Server, listen, serve, status};
use crate::support::{ms, secs};

type HyperClient<B> = RetryService<Client<HttpConnector, ReplayBody<B>>, Http, ReplayHttp>;

/// Retries at once, with records of up to so many bytes. `h2`: HTTP/2 without being asked.
fn client<B>(cap: usize, h2: bool) -> (RetryStats, HyperClient<B>)
where
    B: Body<Error: Into<BoxError>> + Send + 'static,
{
    let stats = RetryStats::new();
    let config = RetryConfig::builder().backoff(backoff::fixed(ms(0))).stats(stats.clone()).build().expect("it works");
    let client = Client::builder(TokioExecutor::new()).http2_only(h2).build_http();
    (stats, RetryLayer::http(config).replay_up_to(cap).layer(client))
}

const CHUNK: usize = 1024;

/// What a [`source`] of so many chunks sends in all.
fn whole(chunks: u8) -> Vec<u8> {
    (0..chunks).flat_map(|n| [n; CHUNK]).collect()
}

/// A body that comes in chunks and only once; the second half waits until `go` is true. The counter says how many are
/// out.
fn source(
    chunks: u8,
    go: watch::Receiver<bool>,
) -> (Arc<AtomicUsize>, impl Body<Data = Bytes, Error = BoxError> + Send + 'static) {
    let out = Arc::new(AtomicUsize::new(0));
    let counter = out.clone();
    let chunks = stream::iter(0..chunks).then(move |n| {
        let (out, mut go) = (out.clone(), go.clone());
        async move {
            if n >= chunks / 2 {
                go.wait_for(|go| *go).await?;
            }
            out.fetch_add(1, Ordering::SeqCst);
            Ok(Frame::data(Bytes::from(vec![n; CHUNK])))
        }
    });
    (counter, StreamBody::new(chunks))
}

fn put<B>(to: SocketAddr, body: B) -> Request<B> {
    Request::put(format!("http://{to}/file")).body(body).expect("a request")
}

#[tokio::test]
async fn an_upload_whose_connection_breaks_midway_arrives_whole() {
    for h2 in [false, true] {
        let server = Server::start().await;
        let line = Line::to(server.address, 2 * CHUNK).await;
        let (stats, client) = client(64 * CHUNK, h2);
        let (out, body) = source(8, line.broken.clone());
        let response = client.oneshot(put(line.near, body)).await.expect("the second attempt");
        let echo = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(echo == whole(8), "h2: {h2}, {} bytes", echo.len());
        let requests = server.requests();
        assert_eq!((requests.len(), requests[0].version() == Version::HTTP_2), (1, h2));
        assert_eq!((*line.connections.borrow(), stats.counts().recovered), (2, 1), "h2: {h2}");
        assert_eq!(out.load(Ordering::SeqCst), 8, "h2: {h2}, what was read, was read once");
    }
}

#[tokio::test]
async fn an_upload_that_is_too_long_to_record_is_sent_once() {
    let server = Server::start().await;
    let line = Line::to(server.address, 5 * CHUNK).await;
    let (stats, client) = client(4 * CHUNK, false);
    let (_, body) = source(12, line.broken.clone());
    client.clone().oneshot(put(line.near, body)).await.expect_err("the only attempt");
    assert_eq!((*line.connections.borrow(), stats.counts().retries), (1, 0));

    let (_, body) = source(12, line.broken.clone());
    let response = client.oneshot(put(line.near, body)).await.expect("a good line");
    let echo = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(echo == whole(12), "it is not refused: {} bytes", echo.len());
}

/// A server that answers the first request 503 with most of its body still to come, and echoes the others. Tells when
/// the second one is there.
async fn hasty() -> (SocketAddr, watch::Receiver<bool>) {
    type Requests = (AtomicUsize, watch::Sender<bool>);

    async fn answer(State(requests): State<Arc<Requests>>, body: axum::body::Body) -> (StatusCode, axum::body::Body) {
        if requests.0.fetch_add(1, Ordering::SeqCst) == 0 {
            return (StatusCode::SERVICE_UNAVAILABLE, axum::body::Body::empty());
        }
        requests.1.send_replace(true);
        (StatusCode::OK, body)
    }

    let (tell, second) = watch::channel(false);
    (serve(Router::new().fallback(answer).with_state(Arc::new((AtomicUsize::new(0), tell)))).await, second)
}

#[tokio::test]
async fn an_early_answer_ends_the_attempt_and_the_next_one_takes_over_the_body() {
    for h2 in [false, true] {
        let (address, second) = hasty().await;
        let (stats, client) = client(64 * CHUNK, h2);
        let (out, body) = source(8, second);
        let response = client.oneshot(put(address, body)).await.expect("the second attempt");
        assert_eq!(response.status(), StatusCode::OK, "h2: {h2}");
        let echo = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(echo == whole(8), "h2: {h2}, {} bytes", echo.len());
        assert_eq!((out.load(Ordering::SeqCst), stats.counts().recovered), (8, 1), "h2: {h2}");
    }
}

#[tokio::test]
async fn an_attempt_that_was_answered_early_lets_its_connection_go() {
    let (listener, address) = listen().await;
    let (_go, never) = watch::channel(false);
    let (_, client) = client(64 * CHUNK, false);
    let (_, body) = source(8, never);
    let call = tokio::spawn(client.oneshot(put(address, body)));

    let (mut first, _) = listener.accept().await.expect("the first attempt");
    let mut buffer = vec![0; CHUNK];
    first.read_exact(&mut buffer).await.expect("its head");
    first.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await.expect("it reads");
    let (_second, _) = listener.accept().await.expect("the second attempt");
    // The rest of what was sent, and the end: nobody is going to use the connection again.
    let end = async { while first.read(&mut buffer).await.is_ok_and(|n| n > 0) {} };
    timeout(secs(10), end).await.expect("the connection is still open");
    call.abort();
}

#[tokio::test]
async fn a_body_that_fails_by_itself_is_not_sent_again() {
    let server = Server::start().await;
    let (stats, client) = client(64 * CHUNK, false);
    let frames = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(BoxError::from("the disk is gone"))];
    let error = client.oneshot(put(server.address, StreamBody::new(stream::iter(frames)))).await.expect_err("half");
    let mut sources = std::iter::successors(error.source(), |&error| error.source());
    assert!(sources.any(|error| error.to_string() == "the disk is gone"), "{error:?}");
    assert_eq!((server.requests().len(), stats.counts().retries), (0, 0));
}

/// A proxy that sends what comes in on to `to`, by a client with retries; it never has a body in its hands.
async fn proxy(to: SocketAddr) -> (RetryStats, SocketAddr) {
    let (stats, client) = client::<Incoming>(64 * CHUNK, false);
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let client = client.clone();
            let forward = service_fn(move |mut request: Request<Incoming>| {
                *request.uri_mut() = format!("http://{to}{}", request.uri().path()).parse().expect("a URI");
                client.clone().oneshot(request)
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), forward));
        }
    });
    (stats, address)
}

#[tokio::test]
async fn what_a_proxy_passes_on_is_replayed_when_the_line_behind_it_breaks() {
    let server = Server::start().await;
    let line = Line::to(server.address, 2 * CHUNK).await;
    let (stats, proxy) = proxy(line.near).await;
    let (out, body) = source(8, line.broken.clone());
    let plain = Client::builder(TokioExecutor::new()).build_http();
    let response = plain.request(put(proxy, Box::pin(body))).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let echo = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(echo == whole(8), "{} bytes", echo.len());
    assert_eq!((out.load(Ordering::SeqCst), stats.counts().recovered), (8, 1));
    assert_eq!(server.requests().first().map(|request| request.uri().path().to_owned()).as_deref(), Some("/file"));

    server.answers([status(503)]);
    let response = plain.request(put(proxy, Box::pin(source(2, line.broken).1))).await.expect("an answer");
    assert_eq!((response.status(), server.requests().len()), (StatusCode::OK, 2));
}
