//! Every stack of layers, behind every way of Tower's to hold a service, around the clients and servers that people have:
//! one call that succeeds, read to its end, is that for everything that counts calls.
//!
//! | | |
//! |---|---|
//! | clients | hyper-util's legacy client, `reqwest::Client`, tonic's `Channel` |
//! | servers | axum's `Router`, tonic's `Server` |
//! | stacks | retry, breaker, each over the other, retry over breaker over retry, breaker over breaker, breakers by key |
//! | | a breaker that is waited for, one that counts from the end of uploads |
//! | | fallback over both, the presets of `SafetyNet`, one that is built, one with uploads |
//! | retries | without limits of time, with a deadline |
//! | breakers | at the head (HTTP), at the end (HTTP, gRPC) |
//! | held | in a `Buffer`, `BoxService`, `BoxCloneService`, `BoxCloneSyncService`, behind a timeout, a concurrency limit |
//! | | and `LoadShed`; in a task of its own |
//!
//! Each client takes each of the stacks, held in each of the ways. A type that does not fit does not compile.
#![cfg(all(feature = "axum", feature = "grpc", feature = "reqwest"))]

use std::convert::Infallible;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use fusebox::circuit_breaker::{GuardedBody, UploadBody};
use fusebox::retry::{RetryStats, TimedOut};
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, EventKind, FallbackLayer, Outcome, Registry,
    RetryConfig, RetryConfigBuilder, RetryLayer, SafetyNet, backoff, classify, grpc, key, web,
};
use futures::future::BoxFuture;
use futures::{FutureExt, stream};
use http::{HeaderMap, Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tonic::body::Body as TonicBody;
use tower::util::{BoxCloneService, BoxCloneSyncService, BoxService};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::grpc::prices::{PricesClient, PricesServer};
use crate::grpc::{Shop, channel, incoming, shop};
use crate::servers::serve;
use crate::support::{Record, ms, secs};

/// What counts the calls of one stack.
#[derive(Clone, Default)]
struct Counts {
    stats: RetryStats,
    /// How the breakers' calls ended.
    ended: Record<Outcome>,
}

impl Counts {
    fn retry(&self) -> RetryConfigBuilder {
        RetryConfig::builder().backoff(backoff::fixed(ms(0))).stats(self.stats.clone())
    }

    fn untimed(&self) -> RetryConfig {
        self.retry().build().expect("it works")
    }

    fn timed(&self) -> RetryConfig<fusebox::retry::Timed> {
        self.retry().deadline(secs(60)).attempt_timeout(secs(50)).build().expect("it works")
    }

    fn breaker(&self) -> CircuitBreakerConfig {
        breaker_of(&self.ended, "shop")
    }

    fn registry(&self) -> Registry {
        let ended = self.ended.clone();
        Registry::new(move |name| Ok(breaker_of(&ended, name)))
    }
}

fn breaker_of(ended: &Record<Outcome>, name: &str) -> CircuitBreakerConfig {
    let ended = ended.clone();
    let listener = move |event: &fusebox::Event| {
        if let EventKind::Ended { outcome, .. } = event.kind() {
            ended.add(outcome);
        }
    };
    CircuitBreakerConfig::builder(name).call_events(true).on_event(listener).build().expect("it works")
}

/// What a caller has seen of an answer.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

/// An answer that a caller reads to its end.
trait Answer: Send + 'static {
    fn read(self) -> impl Future<Output = Seen> + Send;
}

impl<B> Answer for Response<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    async fn read(self) -> Seen {
        let status = self.status().as_u16();
        let body = self.into_body().collect().await.map_err(Into::into).expect("a body to its end");
        let trailers = body.trailers().cloned();
        Seen { status, body: body.to_bytes(), trailers }
    }
}

impl Answer for reqwest::Response {
    async fn read(self) -> Seen {
        let status = self.status().as_u16();
        Seen { status, body: self.bytes().await.expect("a body to its end"), trailers: None }
    }
}

/// Makes the call in a task of its own.
async fn look<S, Req>(service: S, request: Req) -> Seen
where
    S: Service<Req, Response: Answer, Error: Into<BoxError>, Future: Send> + Send + 'static,
    Req: Send + 'static,
{
    let call = async { service.oneshot(request).await.map_err(Into::into).expect("an answer").read().await };
    tokio::spawn(call).await.expect("no panic")
}

/// An answer that is being read.
type Reading = BoxFuture<'static, Seen>;

impl Answer for Reading {
    async fn read(self) -> Seen {
        self.await
    }
}

type AnyService<Req> = BoxService<Req, Reading, BoxError>;

/// The ways to hold a service.
fn ways<Req: Send + 'static>(
    service: &BoxCloneSyncService<Req, Reading, BoxError>,
) -> [(&'static str, AnyService<Req>); 9] {
    let (it, around) = (|| service.clone(), ServiceBuilder::new);
    [
        ("in a box that is cloned", it().boxed()),
        ("Buffer", around().buffer(4).service(it()).boxed()),
        ("BoxCloneService", BoxCloneService::new(it()).boxed()),
        ("BoxService", AnyService::new(it()).boxed()),
        ("boxed_clone", it().boxed_clone().boxed()),
        ("timeout", around().timeout(secs(60)).service(it()).boxed()),
        ("concurrency limit", around().concurrency_limit(1).service(it()).boxed()),
        ("LoadShed", around().load_shed().service(it()).boxed()),
        (
            "all of them",
            around().load_shed().buffer(4).timeout(secs(60)).concurrency_limit(1).service(it().boxed_clone()).boxed(),
        ),
    ]
}

/// A stack of so many retries and breakers, with what counts its calls.
struct Stack<S> {
    name: &'static str,
    service: S,
    counts: Counts,
    retries: u64,
    breakers: usize,
    /// One that tells nothing of its calls.
    preset: Option<CircuitBreaker>,
    /// The calls so far.
    calls: AtomicU64,
}

impl<S> Stack<S> {
    fn new(name: &'static str, service: S, counts: Counts, (retries, breakers): (u64, usize)) -> Self {
        Self { name, service, counts, retries, breakers, preset: None, calls: AtomicU64::new(0) }
    }

    /// Calls it as it is, then held in all the ways. Whatever meets these bounds fits each of them by its type; so that they
    /// need not be compiled for every stack, it is in a box already when they hold it.
    async fn hold<Req>(&self, request: impl Fn() -> Req, expected: &Seen)
    where
        S: Service<Req, Response: Answer, Error: Into<BoxError> + Send + Sync, Future: Send> + Clone + Send + Sync,
        S: 'static,
        Req: Send + 'static,
    {
        let boxed = self.service.clone().map_response(|answer| answer.read().boxed()).map_err(Into::into);
        for (held, service) in ways(&BoxCloneSyncService::new(boxed)) {
            self.see(held, &look(service, request()).await, expected);
        }
    }

    /// One call was made since the last time, it was seen so, and counted once by each.
    #[track_caller]
    fn see(&self, held: &str, seen: &Seen, expected: &Seen) {
        let what = format!("{}, {held}", self.name);
        assert_eq!(seen, expected, "{what}");
        let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        assert_eq!(self.counts.ended.take(), vec![Outcome::Success; self.breakers], "{what}");
        let counts = self.counts.stats.counts();
        assert_eq!((counts.calls, counts.attempts), (calls * self.retries, calls * self.retries), "{what}");
        assert_eq!((counts.retries, counts.recovered, counts.deadline), (0, 0, 0), "{what}");
        if let Some(preset) = &self.preset {
            let tally = preset.snapshot().detectors[0].tally;
            assert_eq!((tally.count(), tally.calls()), (0, Some(calls)), "{what}");
        }
    }
}

/// Makes every stack around a client. `$breaker` makes the layer of a breaker out of its configuration, `$keyed` that of
/// breakers by key out of a registry; `$wrap` the body of an upload; `$through` makes the calls.
macro_rules! every_stack {
    ($preset:ident, $client:expr, $breaker:expr, $keyed:expr, $wrap:expr, $through:ident($($to:expr),*)) => {{
        macro_rules! stack {
            ($name:literal, $retries:literal, $breakers:literal, |$counts:ident| $service:expr) => {{
                let $counts = Counts::default();
                let service = $service;
                $through(Stack::new($name, service, $counts, ($retries, $breakers)), $($to),*).await;
            }};
        }
        stack!("retry", 1, 0, |c| RetryLayer::$preset(c.untimed()).layer($client));
        stack!("timed retry", 1, 0, |c| RetryLayer::$preset(c.timed()).layer($client));
        stack!("breaker", 0, 1, |c| $breaker(c.breaker()).layer($client));
        stack!("retry over breaker", 1, 1, |c| {
            RetryLayer::$preset(c.untimed()).layer($breaker(c.breaker()).layer($client))
        });
        stack!("timed retry over breaker", 1, 1, |c| {
            RetryLayer::$preset(c.timed()).layer($breaker(c.breaker()).layer($client))
        });
        stack!("breaker over retry", 1, 1, |c| {
            $breaker(c.breaker()).layer(RetryLayer::$preset(c.untimed()).layer($client))
        });
        stack!("breaker over timed retry", 1, 1, |c| {
            $breaker(c.breaker()).layer(RetryLayer::$preset(c.timed()).layer($client))
        });
        stack!("retry over breaker over retry", 2, 1, |c| {
            let inner = RetryLayer::$preset(c.untimed()).layer($client);
            RetryLayer::$preset(c.timed()).layer($breaker(c.breaker()).layer(inner))
        });
        stack!("breaker over breaker", 0, 2, |c| $breaker(c.breaker()).layer($breaker(c.breaker()).layer($client)));
        stack!("breakers by key", 0, 1, |c| $keyed(c.registry()).layer($client));
        stack!("retry over breakers by key", 1, 1, |c| {
            RetryLayer::$preset(c.untimed()).layer($keyed(c.registry()).layer($client))
        });
        stack!("waiting breaker", 0, 1, |c| $breaker(c.breaker()).wait_when_open().layer($client));
        stack!("timed retry over waiting breaker", 1, 1, |c| {
            RetryLayer::$preset(c.timed()).layer($breaker(c.breaker()).wait_when_open().layer($client))
        });
        stack!("breaker of uploads", 0, 1, |c| $breaker(c.breaker()).upload($wrap).layer($client));
        stack!("timed retry over breakers of uploads by key", 1, 1, |c| {
            RetryLayer::$preset(c.timed()).layer($keyed(c.registry()).upload($wrap).layer($client))
        });
        stack!("fallback over retry over breaker", 1, 1, |c| {
            let stack = RetryLayer::$preset(c.untimed()).layer($breaker(c.breaker()).layer($client));
            FallbackLayer::new(|error: BoxError| async { Err(error) }).layer(stack)
        });
        let net = SafetyNet::$preset("shop").expect("a name");
        let mut preset = Stack::new("the preset", net.layer($client), Counts::default(), (0, 0));
        preset.preset = net.breaker().cloned();
        $through(preset, $($to),*).await;
        stack!("a net that is built", 1, 1, |c| {
            let net = SafetyNet::builder().fallback(|error: BoxError| async { Err(error) });
            net.retry(RetryLayer::$preset(c.timed())).breaker($breaker(c.breaker())).build().layer($client)
        });
        stack!("a net that is built with uploads", 1, 1, |c| {
            let net = SafetyNet::builder().retry(RetryLayer::$preset(c.untimed()));
            net.breaker($breaker(c.breaker()).upload($wrap)).build().layer($client)
        });
    }};
}

// HTTP

/// Sends the request's body back in pieces, with how many there are.
async fn echo(request: Request<AxumBody>) -> AxumBody {
    let body = axum::body::to_bytes(request.into_body(), 1024).await.expect("a short body");
    let pieces: Vec<_> = body.chunks(2).map(|piece| Ok::<_, Infallible>(Bytes::copy_from_slice(piece))).collect();
    AxumBody::from_stream(stream::iter(pieces))
}

fn echoed() -> Seen {
    Seen { status: 200, body: "12.50".into(), trailers: None }
}

fn hyper_client<B>() -> Client<HttpConnector, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).build_http()
}

fn as_it_is<B>(body: UploadBody<B>) -> UploadBody<B> {
    body
}

async fn through_http<S>(stack: Stack<S>, to: std::net::SocketAddr)
where
    S: Service<Request<Full<Bytes>>, Response: Answer, Error: Into<BoxError> + Send + Sync, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    let put = || Request::put(format!("http://{to}/prices/7")).body(Full::from("12.50")).expect("a request");
    stack.hold(put, &echoed()).await;
}

#[tokio::test]
async fn around_the_client_of_hyper_util() {
    let to = serve(Router::new().fallback(any(echo))).await;
    let keyed = |registry| CircuitBreakerLayer::keyed_by(registry, key::authority()).classify(classify::http());
    every_stack!(http, hyper_client(), CircuitBreakerLayer::http, keyed, as_it_is, through_http(to));
}

#[tokio::test]
async fn around_the_client_of_hyper_util_to_the_end_of_the_body() {
    let to = serve(Router::new().fallback(any(echo))).await;
    let at_end = |config| CircuitBreakerLayer::http(config).classify(classify::http().at_end());
    let keyed = |registry| CircuitBreakerLayer::keyed_by(registry, key::host()).classify(classify::http().at_end());
    every_stack!(http, hyper_client(), at_end, keyed, as_it_is, through_http(to));
}

async fn through_reqwest<S>(stack: Stack<S>, to: std::net::SocketAddr)
where
    S: Service<reqwest::Request, Response: Answer, Error: Into<BoxError> + Send + Sync, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    let put = || {
        let url = format!("http://{to}/prices/7").parse().expect("a URL");
        let mut put = reqwest::Request::new(reqwest::Method::PUT, url);
        *put.body_mut() = Some("12.50".into());
        put
    };
    stack.hold(put, &echoed()).await;
}

#[tokio::test]
async fn around_reqwests_client() {
    let to = serve(Router::new().fallback(any(echo))).await;
    let keyed = |registry| CircuitBreakerLayer::keyed_by(registry, key::host()).classify(classify::http());
    every_stack!(
        reqwest,
        reqwest::Client::new(),
        CircuitBreakerLayer::reqwest,
        keyed,
        reqwest::Body::wrap,
        through_reqwest(to)
    );
}

// gRPC

const GET: &str = "/shop.Prices/Get";

/// A message as gRPC frames it.
fn message(text: &str) -> Bytes {
    let length = u32::try_from(text.len()).expect("short").to_be_bytes();
    [&[0][..], &length, text.as_bytes()].concat().into()
}

/// The call as bytes, so that its trailers are seen; then by a generated client: one answer, and a stream of them.
async fn through_grpc<S, B>(stack: Stack<S>)
where
    S: Service<Request<TonicBody>, Response = Response<B>, Error: Into<BoxError> + Send + Sync, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    let request = || {
        let body = TonicBody::new(Full::new(message("7")));
        let request = Request::post(format!("http://shop{GET}")).header("content-type", "application/grpc");
        request.header("te", "trailers").body(body).expect("a request")
    };
    let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), "0".parse().expect("a value"))]);
    let expected = Seen { status: 200, body: message("12.50"), trailers: Some(trailers) };
    stack.hold(request, &expected).await;

    let (mut one, mut all) = (PricesClient::new(stack.service.clone()), PricesClient::new(stack.service.clone()));
    let price = tokio::spawn(async move { one.get("7").await }).await.expect("no panic").expect("a price");
    assert_eq!(price.into_inner(), "12.50");
    stack.see("in a generated client", &expected, &expected);
    let prices = tokio::spawn(async move {
        let mut prices = all.watch("7").await?.into_inner();
        let first = prices.message().await?;
        let rest = prices.message().await?;
        Ok::<_, tonic::Status>((first, rest))
    });
    let prices = prices.await.expect("no panic").expect("a stream");
    assert_eq!(prices, (Some("12.50".to_owned()), None));
    stack.see("in a generated client, a stream", &expected, &expected);
}

#[tokio::test]
async fn around_tonics_channel() {
    let (_shop, channel) = shop();
    let keyed = |registry| CircuitBreakerLayer::keyed(registry, key::grpc_method()).classify(classify::grpc());
    every_stack!(grpc, channel.clone(), CircuitBreakerLayer::grpc, keyed, TonicBody::new, through_grpc());
}

// Servers

/// What the client of a server sees that has no layers of its own.
async fn ask(to: std::net::SocketAddr) -> Seen {
    let put = Request::put(format!("http://{to}/prices/7")).body(Full::<Bytes>::from("12.50")).expect("a request");
    look(hyper_client(), put).await
}

#[tokio::test]
async fn in_axums_router() {
    macro_rules! serves {
        ($name:literal, $retries:literal, $breakers:literal, |$counts:ident| $layer:expr) => {{
            let $counts = Counts::default();
            let routes = Router::new().route("/prices/{sku}", any(echo));
            let (layer, for_routes) = ($layer, $layer);
            let apps = [("layer", routes.clone().layer(layer)), ("route_layer", routes.route_layer(for_routes))];
            let stack = Stack::new($name, (), $counts, ($retries, $breakers));
            for (how, app) in apps {
                stack.see(how, &ask(serve(app).await).await, &echoed());
            }
        }};
    }
    /// Infallible as it is.
    fn late(_: TimedOut) -> Infallible {
        unreachable!("nothing is late here")
    }
    let guarded = |config| CircuitBreakerLayer::http(config).respond_with(web::unavailable);
    let at_end = |config| {
        let layer = CircuitBreakerLayer::http(config).classify(classify::http().at_end());
        layer.respond_with(web::unavailable::<GuardedBody<AxumBody, _>>)
    };
    serves!("breaker", 0, 1, |c| guarded(c.breaker()));
    serves!("breaker of uploads", 0, 1, |c| guarded(c.breaker()).upload(AxumBody::new));
    serves!("breaker at the end", 0, 1, |c| at_end(c.breaker()));
    serves!("retry", 1, 0, |c| RetryLayer::http(c.untimed()).body(AxumBody::new));
    serves!("timed retry", 1, 0, |c| RetryLayer::http(c.timed()).map_timeout(late).body(AxumBody::new));
    serves!("retry over breaker", 1, 1, |c| {
        (RetryLayer::http(c.untimed()).body(AxumBody::new), guarded(c.breaker()))
    });
    serves!("breaker at the end over timed retry", 1, 1, |c| {
        let retry = RetryLayer::http(c.timed()).map_timeout(late).body(AxumBody::new);
        let breaker = CircuitBreakerLayer::http(c.breaker()).classify(classify::http().at_end());
        (breaker.respond_with(web::unavailable), retry)
    });
    serves!("breakers by route", 0, 1, |c| {
        let layer = CircuitBreakerLayer::keyed(c.registry(), key::matched_path()).classify(classify::http());
        layer.respond_with(web::unavailable)
    });
    serves!("breakers by route, at the end", 0, 1, |c| {
        let layer = CircuitBreakerLayer::keyed(c.registry(), key::matched_path()).classify(classify::http().at_end());
        layer.respond_with(web::unavailable)
    });
}

#[tokio::test]
async fn in_tonics_server() {
    let counts = Counts::default();
    let breaker = CircuitBreakerLayer::grpc(counts.breaker()).respond_with(grpc::unavailable);
    let methods = CircuitBreakerLayer::keyed(counts.registry(), key::grpc_method()).classify(classify::grpc());
    let (to, address) = incoming();
    let server = tonic::transport::Server::builder()
        .layer(breaker)
        .layer(methods.respond_with(grpc::unavailable))
        .add_service(PricesServer::new(Shop::default()));
    tokio::spawn(server.serve_with_incoming(to));
    through_grpc(Stack::new("breakers", channel(address), counts, (0, 2))).await;
}
