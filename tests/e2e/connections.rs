//! What a retry does with the connections of HTTP/1: small answers that failed leave theirs alive, a misdirected
//! request goes over another one.
#![cfg(feature = "hyper")]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, RetryConfig, RetryLayer, backoff, classify,
};
use futures::{StreamExt, stream};
use http::{Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tower::{Layer, ServiceExt};

use crate::servers::listen;
use crate::support::{ms, secs};

type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

fn answer(status: u16, body: UnsyncBoxBody<Bytes, BoxError>) -> Answer {
    Response::builder().status(status).body(body).expect("a response")
}

fn short(text: &'static str) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::from(text).map_err(|never| match never {}).boxed_unsync()
}

/// A body in chunks, of no length that is told before.
fn chunked(chunks: usize, size: usize, ends: bool) -> UnsyncBoxBody<Bytes, BoxError> {
    let frames = stream::iter(0..chunks).map(move |_| Ok(Frame::data(Bytes::from(vec![b'x'; size]))));
    let end = stream::once(std::future::pending()).take(usize::from(!ends));
    StreamBody::new(frames.chain(end)).boxed_unsync()
}

/// A server whose answers depend on the connection and on the number of the request in all, both counted from 1; and
/// how many connections and requests there were.
async fn server(
    answers: impl Fn(u32, u32) -> Answer + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicU32>, Arc<AtomicU32>) {
    let (listener, address) = listen().await;
    let (connections, requests) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (seen, asked, answers) = (connections.clone(), requests.clone(), Arc::new(answers));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = seen.fetch_add(1, Ordering::SeqCst) + 1;
            let (asked, answers) = (asked.clone(), answers.clone());
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let number = asked.fetch_add(1, Ordering::SeqCst) + 1;
                let answer = answers(connection, number);
                async move {
                    request.into_body().collect().await.ok();
                    Ok::<_, Infallible>(answer)
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, connections, requests)
}

fn config(wait: Duration) -> RetryConfig {
    RetryConfig::builder().backoff(backoff::fixed(wait)).build().expect("it works")
}

/// What comes of a request through hyper-util's client.
async fn through_hyper(method: Method, to: SocketAddr, wait: Duration) -> u16 {
    let client = RetryLayer::http(config(wait)).layer(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::builder().method(method).uri(format!("http://{to}/")).body(Empty::<Bytes>::new());
    client.oneshot(request.expect("a request")).await.expect("an answer").status().as_u16()
}

#[cfg(feature = "reqwest")]
async fn through_reqwest(method: Method, to: SocketAddr, wait: Duration) -> u16 {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    let client = RetryLayer::reqwest(config(wait)).without_redirects().layer(client);
    let request = reqwest::Request::new(method, format!("http://{to}/").parse().expect("a URL"));
    client.oneshot(request).await.expect("an answer").status().as_u16()
}

/// What comes of it where others stand between the retry and the client, each with a body of its own around the client's:
/// a breaker, two of them, another retry. With the breaker nearest to the client, if there is one.
async fn through_others(status: u16, others: Others) -> (u16, u32, u32, Option<CircuitBreaker>) {
    // More than hyper reads by itself of a body that is dropped.
    let busy = || chunked(16, 1024, true);
    let first = move |_, number| if number == 1 { answer(status, busy()) } else { answer(200, short("fine")) };
    let (address, connections, requests) = server(first).await;
    let request = Request::get(format!("http://{address}/")).body(Empty::<Bytes>::new()).expect("a request");
    let retry = RetryLayer::http(config(ms(300)));
    let breaker = || {
        let layer = CircuitBreakerLayer::http(CircuitBreakerConfig::new("shop"));
        layer.classify(classify::http().at_end())
    };
    let near = breaker();
    let handle = near.breaker().clone();
    let (status, breaker) = match others {
        Others::Breaker => {
            (retry.layer(near.layer(client())).oneshot(request).await.map(|answer| head(&answer)), Some(handle))
        }
        Others::Breakers => {
            let far = breaker();
            (
                retry.layer(far.layer(near.layer(client()))).oneshot(request).await.map(|answer| head(&answer)),
                Some(handle),
            )
        }
        Others::Retry => {
            let once = RetryConfig::builder().max_retries(0).deadline(secs(60)).build().expect("it works");
            let answer = retry.layer(RetryLayer::http(once).layer(client())).oneshot(request).await;
            (answer.map(|answer| head(&answer)), None)
        }
        #[cfg(feature = "axum")]
        Others::Axum => {
            let boxed =
                tower::util::MapResponse::new(near.layer(client()), |r: Response<_>| r.map(axum::body::Body::new));
            (retry.layer(boxed).oneshot(request).await.map(|answer| head(&answer)), Some(handle))
        }
    };
    let counted = (connections.load(Ordering::SeqCst), requests.load(Ordering::SeqCst));
    (status.expect("an answer"), counted.0, counted.1, breaker)
}

fn client<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

/// What stands between a retry and the client.
#[derive(Clone, Copy, Debug)]
enum Others {
    Breaker,
    Breakers,
    Retry,
    #[cfg(feature = "axum")]
    Axum,
}

fn head<B>(response: &Response<B>) -> u16 {
    response.status().as_u16()
}

/// Answers the first request so, and the others well.
fn at_first(body: impl Fn() -> UnsyncBoxBody<Bytes, BoxError>) -> impl Fn(u32, u32) -> Answer {
    move |_, number| if number == 1 { answer(503, body()) } else { answer(200, short("fine")) }
}

#[tokio::test]
async fn a_small_answer_that_failed_leaves_its_connection_alive() {
    for body in [|| chunked(3, 100, true), || short("busy"), || chunked(16, 1024, true)] {
        let (address, connections, requests) = server(at_first(body)).await;
        assert_eq!(through_hyper(Method::GET, address, ms(300)).await, 200);
        assert_eq!((connections.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (1, 2));
        #[cfg(feature = "reqwest")]
        {
            let (address, connections, requests) = server(at_first(body)).await;
            assert_eq!(through_reqwest(Method::GET, address, ms(300)).await, 200);
            assert_eq!((connections.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (1, 2));
        }
    }
}

#[tokio::test]
async fn it_does_so_where_others_have_put_their_body_around_it() {
    for status in [503, 500, 429, 408] {
        for others in [
            Others::Breaker,
            Others::Breakers,
            Others::Retry,
            #[cfg(feature = "axum")]
            Others::Axum,
        ] {
            let (end, connections, requests, breaker) = through_others(status, others).await;
            assert_eq!((end, connections, requests), (200, 1, 2), "{status} through {others:?}");
            if let Some(breaker) = breaker {
                let failures = breaker.snapshot().detectors[0].tally.count();
                assert_eq!(failures, u64::from(status >= 500), "{status} through {others:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_long_or_never_ends_is_not_waited_for() {
    for body in [|| chunked(1024, 1024, true), || chunked(3, 100, false)] {
        let (address, connections, requests) = server(at_first(body)).await;
        assert_eq!(through_hyper(Method::GET, address, ms(50)).await, 200);
        assert_eq!((connections.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (2, 2));
        let (address, _, requests) = server(at_first(body)).await;
        assert_eq!(through_hyper(Method::GET, address, ms(0)).await, 200, "nothing is waited for without a wait");
        assert_eq!(requests.load(Ordering::SeqCst), 2);
    }
}

/// Its first connection leads to the wrong server.
fn misdirected() -> impl Fn(u32, u32) -> Answer {
    |connection, _| if connection == 1 { answer(421, short("not here")) } else { answer(200, short("here")) }
}

#[tokio::test]
async fn a_misdirected_request_goes_over_another_connection_once() {
    for method in [Method::GET, Method::POST] {
        let (address, connections, requests) = server(misdirected()).await;
        assert_eq!(through_hyper(method.clone(), address, ms(0)).await, 200, "{method}");
        assert_eq!((connections.load(Ordering::SeqCst), requests.load(Ordering::SeqCst)), (2, 2));
        let (address, _, requests) = server(|_, _| answer(421, short("nowhere"))).await;
        assert_eq!(through_hyper(method.clone(), address, ms(0)).await, 421, "{method}");
        assert_eq!(requests.load(Ordering::SeqCst), 2, "once");
    }
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn a_client_that_cannot_change_its_connection_is_not_asked_to() {
    let (address, _, requests) = server(misdirected()).await;
    assert_eq!(through_reqwest(Method::GET, address, ms(0)).await, 421);
    assert_eq!(requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_came_too_early_is_sent_once_more_whatever_the_method() {
    for method in [Method::GET, Method::POST] {
        let (address, _, requests) =
            server(|_, number| if number == 1 { answer(425, short("early")) } else { answer(200, short("fine")) })
                .await;
        assert_eq!(through_hyper(method.clone(), address, ms(0)).await, 200, "{method}");
        assert_eq!(requests.load(Ordering::SeqCst), 2);
        let (address, _, requests) = server(|_, _| answer(425, short("early"))).await;
        assert_eq!(through_hyper(method.clone(), address, ms(0)).await, 425, "{method}");
        assert_eq!(requests.load(Ordering::SeqCst), 2, "once");
        #[cfg(feature = "reqwest")]
        {
            let (address, _, requests) = server(|_, _| answer(425, short("early"))).await;
            assert_eq!(through_reqwest(method.clone(), address, ms(0)).await, 425, "{method}");
            assert_eq!(requests.load(Ordering::SeqCst), 2, "once");
        }
    }
}

#[tokio::test]
async fn a_request_that_timed_out_at_the_server_is_sent_again_where_it_is_idempotent() {
    for (method, status, attempts) in [(Method::GET, 200, 2), (Method::POST, 408, 1)] {
        let (address, _, requests) =
            server(|_, number| if number == 1 { answer(408, short("late")) } else { answer(200, short("fine")) }).await;
        assert_eq!(through_hyper(method.clone(), address, ms(0)).await, status, "{method}");
        assert_eq!(requests.load(Ordering::SeqCst), attempts, "{method}");
    }
}
