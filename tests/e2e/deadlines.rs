//! 60: the caller's own deadline, as real clients send it and real servers see it.

use std::time::Duration;

use bytes::Bytes;
use fusebox::retry::{Deadline, ReplayBody};
use fusebox::{RetryConfig, RetryConfigBuilder, RetryLayer, backoff, retry::StopReason};
use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt};

use crate::servers::listen;
use crate::support::{Record, ms, secs};

/// Retries after so long, and says why it stopped.
fn told(wait: Duration) -> (RetryConfig, Record<StopReason>) {
    let reasons = Record::default();
    let told = reasons.clone();
    let builder: RetryConfigBuilder = RetryConfig::builder().backoff(backoff::fixed(wait)).on_event(move |event| {
        if let fusebox::retry::RetryEventKind::Stopped { reason, .. } = event.kind() {
            told.add(reason);
        }
    });
    (builder.build().expect("it works"), reasons)
}

/// A server of HTTP/1 that remembers every byte of a request, and answers 503, then 200.
async fn listening() -> (std::net::SocketAddr, Record<Vec<u8>>) {
    let (listener, address) = listen().await;
    let requests = Record::default();
    let seen = requests.clone();
    tokio::spawn(async move {
        for status in ["503 Busy", "503 Busy", "200 OK"] {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n12.50") {
                request.push(stream.read_u8().await.expect("the whole request"));
            }
            seen.add(request);
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.expect("the client listens");
        }
    });
    (address, requests)
}

#[track_caller]
fn three_times_the_same(requests: &Record<Vec<u8>>) {
    let requests: Vec<_> =
        requests.take().iter().map(|request| String::from_utf8_lossy(request).into_owned()).collect();
    assert_eq!(requests.len(), 3);
    assert!(requests[0].starts_with("PUT /prices/7 HTTP/1.1\r\n"), "{}", requests[0]);
    assert_eq!((&requests[1], &requests[2]), (&requests[0], &requests[0]), "byte by byte");
}

fn put(url: &str) -> Request<Full<Bytes>> {
    Request::put(url).body("12.50".into()).expect("a request")
}

#[tokio::test]
async fn c60_attempts_of_hypers_client_add_nothing_to_the_request() {
    let (address, requests) = listening().await;
    let (config, _reasons) = told(ms(1));
    let client: Client<_, ReplayBody<Full<Bytes>>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = put(&format!("http://{address}/prices/7"));
    request.extensions_mut().insert(Deadline::within(secs(600)));
    let answer = RetryLayer::http(config).layer(client).oneshot(request).await.expect("the third attempt");
    assert_eq!(answer.status(), 200);
    three_times_the_same(&requests);
}

#[tokio::test]
async fn c60_hypers_client_makes_no_attempt_that_would_begin_after_the_deadline() {
    let (address, requests) = listening().await;
    let (config, reasons) = told(secs(3_600));
    let client: Client<_, ReplayBody<Full<Bytes>>> = Client::builder(TokioExecutor::new()).build_http();
    let mut request = put(&format!("http://{address}/prices/7"));
    request.extensions_mut().insert(Deadline::within(secs(600)));
    let answer = RetryLayer::http(config).layer(client).oneshot(request).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), requests.take().len()), (503, 1));
    assert_eq!(reasons.take(), [StopReason::Deadline]);
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use axum::Router;
    use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, SafetyNet};
    use reqwest::{Client, Method, Request};
    use std::future::pending;
    use tower::ServiceBuilder;

    use super::*;
    use crate::servers::serve;
    use crate::support::failures;

    fn put(url: &str, timeout: Duration) -> Request {
        let mut request = Request::new(Method::PUT, url.parse().expect("a URL"));
        *request.body_mut() = Some("12.50".into());
        *request.timeout_mut() = Some(timeout);
        request
    }

    fn client() -> Client {
        Client::builder().retry(reqwest::retry::never()).build().expect("a client")
    }

    #[tokio::test]
    async fn c60_attempts_of_reqwest_add_nothing_to_the_request_and_have_less_time_each() {
        let (address, requests) = listening().await;
        let (config, _reasons) = told(ms(20));
        let timeouts = Record::default();
        let seen = timeouts.clone();
        let client = ServiceBuilder::new()
            .layer(RetryLayer::reqwest(config))
            .layer(CircuitBreakerLayer::reqwest(CircuitBreakerConfig::new("prices")))
            .map_request(move |request: Request| {
                seen.add(request.timeout().copied().expect("it has one"));
                request
            })
            .service(client());
        let request = put(&format!("http://{address}/prices/7"), secs(600));
        let answer = client.oneshot(request).await.expect("the third attempt");
        assert_eq!(answer.status(), 200);
        three_times_the_same(&requests);
        let timeouts = timeouts.take();
        assert_eq!((timeouts.len(), timeouts[0]), (3, secs(600)));
        assert!(timeouts[1] <= ms(599_980) && timeouts[2] <= timeouts[1].saturating_sub(ms(20)), "{timeouts:?}");
        assert!(timeouts[2] > secs(1), "{timeouts:?}");
    }

    #[tokio::test]
    async fn c60_a_request_that_timed_out_is_not_sent_again() {
        let hanging = serve(Router::new().fallback(pending::<()>)).await;
        let (config, reasons) = told(ms(0));
        let request = put(&format!("http://{hanging}/"), ms(50));
        let error = RetryLayer::reqwest(config).layer(client()).oneshot(request).await.expect_err("it hangs");
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(reasons.take(), [StopReason::Deadline]);
    }

    /// At the deadline the client ends the attempt, and not the retry: so the breaker learns of it.
    #[tokio::test]
    async fn c60_a_timeout_of_the_request_is_a_failure_for_a_breaker_inside() {
        let hanging = serve(Router::new().fallback(pending::<()>)).await;
        let net = SafetyNet::reqwest("prices").expect("a name");
        let request = put(&format!("http://{hanging}/"), ms(50));
        let error = net.layer(client()).oneshot(request).await.expect_err("it hangs");
        assert!(error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout), "{error:?}");
        assert_eq!(failures(net.breaker().expect("it has one")), 1);
    }

    #[tokio::test]
    async fn c60_the_timeout_of_a_client_is_that_of_each_attempt() {
        let hanging = serve(Router::new().fallback(pending::<()>)).await;
        let (config, reasons) = told(ms(0));
        let client = Client::builder().timeout(ms(5)).build().expect("a client");
        let request = Request::new(Method::GET, format!("http://{hanging}/").parse().expect("a URL"));
        let error = RetryLayer::reqwest(config).layer(client).oneshot(request).await.expect_err("it hangs");
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(reasons.take(), [StopReason::MaxRetries]);
    }
}

#[cfg(feature = "grpc")]
mod of_grpc {
    use fusebox::SafetyNet;
    use http::uri::PathAndQuery;
    use tonic::client::GrpcService;
    use tonic::{Code, Response, Status};

    use super::*;
    use crate::grpc::{Answer, channel, shop};
    use crate::servers::Server;
    use crate::support::failures;
    use crate::text_codec::Text;

    async fn get<S>(service: S, timeout: Duration) -> Result<Response<String>, Status>
    where
        S: GrpcService<tonic::body::Body, ResponseBody: Send + 'static>,
        <S::ResponseBody as http_body::Body>::Error: Into<fusebox::BoxError>,
    {
        let mut client = tonic::client::Grpc::new(service);
        client.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let mut sku = tonic::Request::new("7");
        sku.metadata_mut().insert("trace", "8e03978e".parse().expect("metadata"));
        sku.set_timeout(timeout);
        client.unary(sku, PathAndQuery::from_static("/shop.Prices/Get"), Text).await
    }

    /// What tonic writes, which is microseconds here.
    fn micros(timeout: &str) -> Duration {
        let micros = timeout.strip_suffix('u').and_then(|micros| micros.parse().ok());
        Duration::from_micros(micros.unwrap_or_else(|| panic!("{timeout}")))
    }

    #[tokio::test]
    async fn c60_a_tonic_server_sees_what_is_left_with_each_attempt() {
        let (shop, channel) = shop();
        shop.fails([Status::unavailable("busy"), Status::unavailable("busy")]);
        let (config, _reasons) = told(ms(20));
        let price = get(RetryLayer::grpc(config).layer(channel), secs(60)).await.expect("the third attempt");
        assert_eq!(price.into_inner(), "12.50");
        let calls = shop.calls.take();
        let timeout = |metadata: &tonic::metadata::MetadataMap| {
            metadata.get("grpc-timeout").expect("it is sent").to_str().expect("text").to_owned()
        };
        let timeouts: Vec<_> = calls.iter().map(|(_, metadata)| timeout(metadata)).collect();
        assert_eq!((timeouts.len(), timeouts[0].as_str()), (3, "60000000u"));
        let [first, second, third] = [0, 1, 2].map(|n: usize| micros(&timeouts[n]));
        assert!(second <= first.saturating_sub(ms(20)) && third <= second.saturating_sub(ms(20)), "{timeouts:?}");
        assert!(third > secs(1), "{timeouts:?}");
    }

    #[tokio::test]
    async fn c60_tonic_makes_no_attempt_that_would_begin_after_the_deadline() {
        let (shop, channel) = shop();
        shop.fails([Status::unavailable("busy")]);
        let (config, reasons) = told(secs(3_600));
        let status = get(RetryLayer::grpc(config).layer(channel), secs(60)).await.expect_err("one attempt");
        assert_eq!((status.code(), status.message(), shop.calls()), (Code::Unavailable, "busy", 1));
        assert_eq!(reasons.take(), [StopReason::Deadline]);
    }

    /// At the deadline the channel ends the attempt, and not the retry: so the breaker learns of it.
    #[tokio::test]
    async fn c60_a_deadline_that_passes_is_a_failure_for_a_breaker_inside() {
        let (shop, channel) = shop();
        let net = SafetyNet::grpc("prices").expect("a name");
        get(net.layer(channel.clone()), secs(60)).await.expect("a price, and a connection");
        shop.next_answers([Answer::Hangs]);
        get(net.layer(channel), ms(100)).await.expect_err("it hangs");
        assert_eq!(failures(net.breaker().expect("it has one")), 1);
    }

    #[tokio::test]
    async fn c60_attempts_add_the_deadline_that_is_left_and_their_number_to_what_is_sent() {
        let server = Server::start().await;
        let says = |code: &str| {
            let answer =
                http::Response::builder().header("content-type", "application/grpc").header("grpc-status", code);
            answer.body(()).expect("a response")
        };
        server.answers([says("14"), says("14"), says("0")]);
        let net = SafetyNet::grpc("prices").expect("a name");
        let price = get(net.layer(channel(server.address)), secs(60)).await.expect("the third attempt");
        assert_eq!(price.into_inner(), "7", "the server says what it was asked");
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        let first: Vec<_> = requests[0].headers().iter().collect();
        assert_eq!(requests[0].headers()["grpc-timeout"], "60000000u");
        for (n, request) in requests.iter().enumerate().skip(1) {
            let (said, number) = (&request.headers()["grpc-timeout"], http::HeaderValue::from(n));
            assert!(micros(said.to_str().expect("text")) < secs(60), "{said:?}");
            let (name, previous) =
                ("grpc-timeout".parse().expect("a name"), "grpc-previous-rpc-attempts".parse().expect("one"));
            let mut expected = first.clone();
            for header in expected.iter_mut().filter(|(header, _)| **header == name) {
                *header = (&name, said);
            }
            expected.push((&previous, &number));
            let sent: Vec<_> = request.headers().iter().collect();
            let sorted = |mut headers: Vec<(&http::HeaderName, &http::HeaderValue)>| {
                headers.sort_by_key(|(name, _)| name.as_str().to_owned());
                format!("{headers:?}")
            };
            assert_eq!(sorted(sent), sorted(expected));
            let line = |request: &Request<Bytes>| (request.method().clone(), request.uri().clone(), request.version());
            assert_eq!((line(request), request.body()), (line(&requests[0]), requests[0].body()));
        }
    }
}
