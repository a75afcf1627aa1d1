//! A retry's deadline over bodies that stall: what users' clients and servers make of it, over real sockets.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use fusebox::retry::{ReplayBody, TimeLimit, Timed, TimedOut};
use fusebox::{RetryConfig, RetryLayer};
use futures::{StreamExt, stream};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use tower::{Layer, ServiceExt};

use crate::servers::serve;
use crate::support::{secs, timer_now};

/// Long enough for a head to be there by then, wherever the test runs.
const DEADLINE: Duration = secs(2);

fn limits() -> RetryConfig<Timed> {
    RetryConfig::builder().max_retries(0).deadline(DEADLINE).build().expect("it works")
}

/// Some bytes, and no end.
fn endless() -> Body {
    Body::from_stream(stream::iter([Ok::<_, std::io::Error>("some")]).chain(stream::pending()))
}

/// A server whose bodies stall.
async fn stalling() -> SocketAddr {
    serve(Router::new().fallback(|| async { endless() })).await
}

fn get(from: SocketAddr) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{from}/")).body(Empty::new()).expect("a request")
}

/// Awaits what takes no longer than the deadline, and a while.
async fn soon<F: Future>(future: F) -> F::Output {
    timeout(secs(60), future).await.expect("it does not hang")
}

/// The timeout among what an error has for its sources.
fn timed_out<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a TimedOut> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        link = error.source();
    }
    None
}

#[tokio::test]
async fn hypers_client_gets_an_error_at_the_deadline() {
    let address = stalling().await;
    for h2 in [false, true] {
        let client: Client<HttpConnector, ReplayBody<Empty<Bytes>>> =
            Client::builder(TokioExecutor::new()).http2_only(h2).build_http();
        let began = timer_now();
        let response = soon(RetryLayer::http(limits()).layer(client).oneshot(get(address))).await.expect("a head");
        let mut body = response.into_body();
        let first = soon(body.frame()).await.expect("a frame").expect("in time");
        assert_eq!(first.into_data().expect("data"), "some");
        let error = soon(body.frame()).await.expect("an end").expect_err("it stalls");
        assert!(began.elapsed() >= DEADLINE);
        assert_eq!(timed_out(&*error).map(TimedOut::limit), Some(TimeLimit::Deadline), "h2: {h2}, {error:?}");
        assert!(soon(body.frame()).await.is_none());
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn a_router_whose_handler_stalls_cuts_the_response_off() {
    use axum::error_handling::HandleErrorLayer;

    let late = |error: fusebox::BoxError| async move { (StatusCode::GATEWAY_TIMEOUT, error.to_string()) };
    let layer = tower::ServiceBuilder::new()
        .layer(HandleErrorLayer::new(late))
        .layer(RetryLayer::http(limits()).body(Body::new));
    let address = serve(Router::new().fallback(|| async { endless() }).layer(layer)).await;
    let client: Client<HttpConnector, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let began = timer_now();
    let response = soon(client.request(get(address))).await.expect("a head");
    assert_eq!(response.status(), StatusCode::OK);
    let mut body = response.into_body();
    let first = soon(body.frame()).await.expect("a frame").expect("in time");
    assert_eq!(first.into_data().expect("data"), "some");
    soon(body.frame()).await.expect("an end").expect_err("it does not look whole");
    assert!(began.elapsed() >= DEADLINE);
}

#[cfg(feature = "reqwest")]
mod through_reqwest {
    use axum::http::header::LOCATION;
    use reqwest::Method;

    use super::*;
    use crate::servers::Server;

    fn request(method: Method, url: &str) -> reqwest::Request {
        reqwest::Request::new(method, url.parse().expect("a URL"))
    }

    #[tokio::test]
    async fn reqwests_client_gets_an_error_at_the_deadline() {
        let address = stalling().await;
        let url = format!("http://{address}/");
        let client = RetryLayer::reqwest(limits()).layer(reqwest::Client::new());
        let began = timer_now();
        let mut response = soon(client.oneshot(request(Method::GET, &url))).await.expect("a head");
        assert_eq!(soon(response.chunk()).await.expect("in time").expect("a chunk"), "some");
        let error = soon(response.chunk()).await.expect_err("it stalls");
        assert!(began.elapsed() >= DEADLINE);
        assert_eq!(timed_out(&error).map(TimedOut::limit), Some(TimeLimit::Deadline), "{error:?}");
    }

    #[tokio::test]
    async fn a_response_of_reqwest_is_otherwise_as_it_was() {
        let server = Server::start().await;
        let there = server.url("/there");
        let to = there.clone();
        let redirect = move || async move { (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, to)]) };
        let here = serve(Router::new().fallback(redirect)).await;
        let client = RetryLayer::reqwest(limits()).layer(reqwest::Client::new());
        let mut put = request(Method::PUT, &format!("http://{here}/"));
        *put.body_mut() = Some("12.50".into());
        let response = soon(client.oneshot(put)).await.expect("an answer");
        assert_eq!(response.url().as_str(), there, "where it came from in the end");
        assert_eq!((response.status(), response.version()), (StatusCode::OK, http::Version::HTTP_11));
        assert_eq!((response.content_length(), &response.headers()["content-length"]), (Some(5), &5.into()));
        assert_eq!(response.remote_addr(), Some(server.address));
        assert_eq!(soon(response.text()).await.expect("a body"), "12.50");
    }

    #[tokio::test]
    async fn a_service_that_has_read_the_response_gives_what_it_likes() {
        let server = Server::start().await;
        let classify = |result: &Result<String, reqwest::Error>| match result {
            Ok(_) => fusebox::Outcome::Success,
            Err(_) => fusebox::Outcome::Failure,
        };
        let read = tower::ServiceBuilder::new().and_then(|response: reqwest::Response| response.text());
        let client = RetryLayer::reqwest(limits()).classify(classify).layer(read.service(reqwest::Client::new()));
        let mut put = request(Method::PUT, &server.url("/prices/7"));
        *put.body_mut() = Some("12.50".into());
        assert_eq!(soon(client.oneshot(put)).await.expect("an answer"), "12.50");
    }
}

#[cfg(feature = "grpc")]
mod through_tonic {
    use fusebox::{Budget, retry::RetryStats};
    use tonic::{Code, Status};

    use super::*;
    use crate::grpc::prices::PricesClient;
    use crate::grpc::shop;

    #[tokio::test]
    async fn tonics_client_sees_deadline_exceeded() {
        let (shop, channel) = shop();
        shop.streams([Ok("12.50")], true);
        let began = timer_now();
        let mut client = PricesClient::new(RetryLayer::grpc(limits()).layer(channel));
        let mut prices = soon(client.watch("7")).await.expect("headers").into_inner();
        assert_eq!(soon(prices.message()).await.expect("a price").as_deref(), Some("12.50"));
        let status = soon(prices.message()).await.expect_err("it stalls");
        assert!(began.elapsed() >= DEADLINE);
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
        assert_eq!(timed_out(&status).map(TimedOut::limit), Some(TimeLimit::Deadline));
    }

    #[tokio::test]
    async fn c61_what_tonics_client_reads_in_trailers_is_what_the_budget_counts() {
        let (shop, channel) = shop();
        let (budget, stats) = (Budget::tokens(10, 1.0), RetryStats::new());
        let config = RetryConfig::builder().budget(budget.clone()).stats(stats.clone()).build().expect("it works");
        let mut client = PricesClient::new(RetryLayer::grpc(config).layer(channel));
        shop.streams([Ok("1"), Err(Status::unavailable("restarting"))], false);
        let mut prices = soon(client.watch("7")).await.expect("headers").into_inner();
        assert_eq!(soon(prices.message()).await.expect("a price").as_deref(), Some("1"));
        assert_eq!((budget.available(), stats.counts().attempts), (5, 0), "not known yet");
        assert_eq!(soon(prices.message()).await.expect_err("restarting").code(), Code::Unavailable);
        assert_eq!((budget.available(), stats.counts().attempts), (4, 1));

        shop.streams([Ok("1")], true);
        let mut prices = soon(client.watch("7")).await.expect("headers").into_inner();
        assert_eq!(soon(prices.message()).await.expect("a price").as_deref(), Some("1"));
        drop(prices);
        assert_eq!((budget.available(), stats.counts().attempts), (4, 1), "its reader has left");

        assert_eq!(soon(client.get("7")).await.expect("a price").into_inner(), "12.50");
        assert_eq!((budget.available(), stats.counts().attempts), (5, 2));
    }
}
