//! axum routers with breakers in them and retries in front of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::routing::{get, put};
use bytes::Bytes;
use fusebox::{
    CircuitBreakerConfig, CircuitBreakerLayer, EventKind, ManualClock, Registry, RetryConfig, RetryLayer,
    State as Circuit, backoff, classify, detect, key, retry::Attempt,
};
use futures::stream;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tower::make::Shared;
use tower::{Layer, ServiceExt};

use crate::servers::{listen, serve};
use crate::support::{Record, ms, secs};

fn plain_client() -> Client<HttpConnector, Full<Bytes>> {
    Client::builder(TokioExecutor::new()).build_http()
}

/// The status, and after how long to come back.
fn in_short(response: &Response<Incoming>) -> (u16, Option<&str>) {
    let wait = response.headers().get("retry-after").map(|wait| wait.to_str().expect("text"));
    (response.status().as_u16(), wait)
}

/// How often the route of prices was asked; it fails for the skus from 100 on.
#[derive(Clone, Default)]
struct Shop(Arc<AtomicUsize>);

async fn price(State(shop): State<Shop>, Path(sku): Path<u32>) -> Result<String, StatusCode> {
    shop.0.fetch_add(1, Ordering::SeqCst);
    if sku < 100 { Ok(sku.to_string()) } else { Err(StatusCode::BAD_GATEWAY) }
}

#[tokio::test]
async fn each_route_has_a_breaker_and_answers_503_for_itself() {
    let clock = ManualClock::new();
    let template_clock = clock.clone();
    let registry = Registry::new(move |route| {
        let builder = CircuitBreakerConfig::builder(route).detector(detect::consecutive_failures(2));
        builder.clock(template_clock.clone()).build()
    });
    let shop = Shop::default();
    let app = Router::new()
        .route("/prices/{sku}", get(price))
        .route("/stock/{sku}", get(|| async { "40" }))
        .route_layer(
            CircuitBreakerLayer::keyed(registry.clone(), key::matched_path())
                .classify(classify::http())
                .respond_with(fusebox::web::unavailable),
        )
        .with_state(shop.clone());
    let address = serve(app).await;
    let client = plain_client();
    let ask = async |path: &str| {
        let uri = format!("http://{address}{path}").parse().expect("a URI");
        let response = client.get(uri).await.expect("an answer");
        let (status, wait) = in_short(&response);
        (status, wait.map(ToOwned::to_owned))
    };
    assert_eq!(ask("/prices/1").await, (200, None));
    assert_eq!(ask("/prices/100").await, (502, None));
    assert_eq!(ask("/prices/101").await, (502, None));
    assert_eq!(ask("/prices/1").await, (503, Some("30".to_owned())), "whatever the sku");
    assert_eq!(ask("/stock/1").await, (200, None));
    assert_eq!(ask("/nowhere").await, (404, None));
    assert_eq!(ask("/prices/many").await, (503, Some("30".to_owned())), "before the handler looks at it");
    assert_eq!(shop.0.load(Ordering::SeqCst), 3);
    assert_eq!(registry.len(), 2, "routes, not paths");

    clock.advance(secs(30));
    assert_eq!(ask("/prices/2").await, (200, None), "the probe");
    assert_eq!(registry.get("/prices/{sku}").map(|breaker| breaker.state()), Some(Circuit::Closed));
}

/// A registry that writes down what its breakers tell besides calls and changes of state; it refuses what is under `/bad`.
fn told_registry() -> (Registry, Record<(String, EventKind)>) {
    let told = Record::default();
    let list = told.clone();
    let registry = Registry::new(move |route| {
        let (list, rate) = (list.clone(), if route.starts_with("/bad") { 7.0 } else { 0.5 });
        CircuitBreakerConfig::builder(route)
            .detector(detect::failure_rate(rate).of_last(2).min_calls(2))
            .on_event(move |event| {
                if !matches!(event.kind(), EventKind::Ended { .. } | EventKind::StateChanged { .. }) {
                    list.add((event.name().to_owned(), event.kind()));
                }
            })
            .build()
    });
    (registry, told)
}

/// Everything but `/prices/{sku}` fails; the layer is around all of it.
async fn shop_with_more(
    breakers: impl Layer<
        axum::routing::Route,
        Service: tower::Service<
            Request<Body>,
            Response: axum::response::IntoResponse,
            Error: Into<std::convert::Infallible>,
            Future: Send,
        > + Clone
                     + Send
                     + Sync
                     + 'static,
    > + Clone
    + Send
    + Sync
    + 'static,
) -> impl AsyncFn(&str) -> u16 {
    let down = || async { StatusCode::BAD_GATEWAY };
    let app = Router::new()
        .route("/prices/{sku}", get(|| async { "12.50" }))
        .route("/bad/{sku}", get(down))
        .nest_service("/pages", get(down))
        .fallback(get(down))
        .layer(breakers);
    let address = serve(app).await;
    let client = plain_client();
    async move |path: &str| {
        let uri = format!("http://{address}{path}").parse().expect("a URI");
        client.get(uri).await.expect("an answer").status().as_u16()
    }
}

/// At release 0.1 they had no breaker, and nothing said so.
#[tokio::test]
async fn c71_what_axum_matches_no_route_for_shares_a_breaker_and_is_told_of() {
    let (registry, told) = told_registry();
    let breakers = CircuitBreakerLayer::keyed_by(registry.clone(), key::matched_path())
        .classify(classify::http())
        .respond_with(fusebox::web::unavailable);
    let ask = shop_with_more(breakers).await;
    assert_eq!(ask("/prices/1").await, 200);
    assert!(told.take().is_empty());
    assert_eq!((ask("/pages/about").await, ask("/nowhere").await), (502, 502));
    assert_eq!((ask("/pages/about").await, ask("/nowhere").await), (503, 503), "one circuit, and it is open");
    assert_eq!(ask("/prices/1").await, 200, "routes are apart");
    assert_eq!(told.take(), [(key::UNMATCHED.to_owned(), EventKind::FallbackKeyUsed)]);
    assert_eq!((registry.len(), registry.unguarded()), (2, 0));
    assert!(registry.get("(unmatched)").is_some_and(|breaker| breaker.is_open()));
}

#[tokio::test]
async fn what_axum_matches_no_route_for_may_have_a_name() {
    let (registry, told) = told_registry();
    let breakers = CircuitBreakerLayer::keyed(registry.clone(), key::matched_path_or("pages"))
        .classify(classify::http())
        .respond_with(fusebox::web::unavailable);
    let ask = shop_with_more(breakers).await;
    assert_eq!((ask("/pages/about").await, ask("/nowhere").await, ask("/pages/about").await), (502, 502, 503));
    assert!(registry.get("pages").is_some_and(|breaker| breaker.is_open()));
    assert!(told.take().is_empty(), "who has named it knows of it");
}

#[tokio::test]
async fn c71_a_route_that_the_template_refuses_is_told_of() {
    let (registry, told) = told_registry();
    let breakers = CircuitBreakerLayer::keyed_by(registry.clone(), key::matched_path())
        .fallback_key("rest")
        .classify(classify::http())
        .respond_with(fusebox::web::unavailable);
    let ask = shop_with_more(breakers).await;
    assert_eq!((ask("/bad/1").await, ask("/bad/2").await, ask("/bad/1").await), (502, 502, 503));
    assert!(registry.get("rest").is_some_and(|breaker| breaker.is_open()));
    let told: Vec<_> = told.take();
    let expected = [("/bad/{sku}", EventKind::TemplateFailed), ("rest", EventKind::FallbackKeyUsed)];
    assert_eq!(told, expected.map(|(name, kind)| (name.to_owned(), kind)));
}

/// Fails at first, then echoes; the header says which attempt it was.
async fn flaky(request: Request<Body>) -> (StatusCode, [(&'static str, String); 1], Body) {
    let Attempt(attempt) = Attempt::of(request.extensions());
    let status = if attempt < 3 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (status, [("attempt", attempt.to_string())], request.into_body())
}

fn retries() -> RetryConfig {
    RetryConfig::builder().backoff(backoff::fixed(ms(0))).build().expect("it works")
}

async fn text(body: impl http_body::Body<Error: std::fmt::Debug>) -> Bytes {
    body.collect().await.expect("a body").to_bytes()
}

#[tokio::test]
async fn a_router_is_a_service_that_a_retry_goes_around() {
    let router = Router::new().route("/file", put(flaky).post(flaky));
    let service = RetryLayer::http(retries()).body(Body::new).layer(router);
    let body = || Body::from_stream(stream::iter(["in ", "three ", "parts"].map(Ok::<_, std::io::Error>)));
    let request = Request::put("/file").body(body()).expect("a request");
    let response = service.clone().oneshot(request).await.expect("infallible");
    assert_eq!(
        (response.status(), &response.headers()["attempt"].clone()),
        (StatusCode::OK, &"3".parse().expect("text"))
    );
    assert_eq!(text(response.into_body()).await, "in three parts");
    let request = Request::post("/file").body(body()).expect("a request");
    assert_eq!(service.clone().oneshot(request).await.expect("infallible").status(), 503);

    // Its errors are still impossible, which is what `axum::serve` asks for.
    let (listener, address) = listen().await;
    tokio::spawn(async { axum::serve(listener, Shared::new(service)).await });
    let request = Request::put(format!("http://{address}/file")).body(Full::from("over a socket")).expect("a request");
    let response = plain_client().request(request).await.expect("an answer");
    assert_eq!((in_short(&response).0, text(response.into_body()).await), (200, "over a socket".into()));
}

#[tokio::test]
async fn a_retry_is_a_layer_of_a_router() {
    let retry = RetryLayer::http(retries()).body(Body::new);
    let address = serve(Router::new().route("/file", put(flaky)).layer(retry)).await;
    let request = Request::put(format!("http://{address}/file")).body(Full::from("7")).expect("a request");
    let response = plain_client().request(request).await.expect("an answer");
    assert_eq!((in_short(&response).0, text(response.into_body()).await), (200, "7".into()));
}
