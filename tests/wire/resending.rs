//! What a retry and a breaker do about it, counted at the server.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use fusebox::retry::ReplayBody;
use fusebox::{
    BoxError, Budget, CircuitBreaker, CircuitBreakerLayer, RetryConfig, RetryLayer, State, backoff, classify,
    retry::{RetryCounts, RetryStats},
};
use futures::future::BoxFuture;
use h2::Reason;
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpSocket, TcpStream};
use tower::util::BoxCloneService;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use crate::bodies::{Body, broken, whole};
use crate::connecting::post;
use crate::servers::{Answer, H2, refusing, silent};
use crate::support::{failures, ms, tripping_at};

/// A socket that listens once something was refused there, and a server for it.
#[derive(Clone)]
struct LateServer {
    socket: Arc<Mutex<Option<TcpSocket>>>,
    server: H2,
}

impl LateServer {
    fn new() -> Self {
        let (socket, address) = refusing();
        Self { socket: Arc::new(Mutex::new(Some(socket))), server: H2::at(address, []) }
    }

    fn begins(&self) {
        if let Some(socket) = self.socket.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.server.run(socket.listen(16).expect("it is bound"));
        }
    }

    /// Connects, and lets the server begin where that is refused.
    fn connector(
        &self,
    ) -> impl Service<
        Uri,
        Response = TokioIo<TcpStream>,
        Error = BoxError,
        Future = BoxFuture<'static, Result<TokioIo<TcpStream>, BoxError>>,
    > + Clone
    + Send
    + Sync
    + 'static {
        let late = self.clone();
        service_fn(move |uri: Uri| -> BoxFuture<'static, _> {
            let late = late.clone();
            Box::pin(async move {
                let connected = HttpConnector::new().oneshot(uri).await;
                if connected.is_err() {
                    late.begins();
                }
                connected.map_err(BoxError::from)
            })
        })
    }
}

/// Three retries without any wait, and no budget for any.
fn config(stats: &RetryStats) -> RetryConfig {
    let budget = Budget::ratio(0.0);
    let builder = RetryConfig::builder().backoff(backoff::fixed(ms(0))).budget(budget).stats(stats.clone());
    builder.build().expect("it works")
}

/// The pooled client within a breaker that trips at five failures in a row, within retries.
struct Guarded {
    breaker: CircuitBreaker,
    stats: RetryStats,
    client: BoxCloneService<Request<Body>, Response<Incoming>, BoxError>,
}

impl Guarded {
    fn new<C>(connector: C, h2: bool) -> Self
    where
        C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
    {
        let (breaker, _) = tripping_at(5);
        let stats = RetryStats::new();
        let client: Client<C, ReplayBody<Body>> = Client::builder(TokioExecutor::new()).http2_only(h2).build(connector);
        let client = ServiceBuilder::new()
            .layer(RetryLayer::http(config(&stats)))
            .layer(CircuitBreakerLayer::from(breaker.clone()).classify(classify::http()))
            .service(client);
        Self { breaker, stats, client: BoxCloneService::new(client) }
    }

    fn plain(h2: bool) -> Self {
        Self::new(HttpConnector::new(), h2)
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, BoxError> {
        self.client.clone().oneshot(request).await
    }
}

fn attempts(stats: &RetryStats) -> (u64, u64) {
    let RetryCounts { calls, attempts, .. } = stats.counts();
    (calls, attempts)
}

#[tokio::test]
async fn c63_what_is_the_callers_own_is_not_sent_again_and_opens_no_circuit() {
    let (kept, nothing) = refusing();
    let guarded = Guarded::plain(false);
    let hanging = silent().await;
    for n in 0..10 {
        let request = match n % 2 {
            0 => Request::put(format!("http://{hanging}/")).body(broken(io::Error::other("the file is gone"))),
            _ => Request::put(format!("https://{nothing}/")).body(whole("price")),
        };
        guarded.send(request.expect("a request")).await.expect_err("it cannot be sent");
    }
    assert_eq!(attempts(&guarded.stats), (10, 10));
    assert_eq!((failures(&guarded.breaker), guarded.breaker.state()), (0, State::Closed));
    drop(kept);
}

#[tokio::test]
async fn c66_an_order_is_sent_again_where_nothing_listened_yet() {
    let late = LateServer::new();
    let guarded = Guarded::new(late.connector(), true);
    let response = guarded.send(post(&late.server.url(), whole("order"))).await.expect("the second attempt");
    assert_eq!((response.status().as_u16(), late.server.requests()), (200, 1));
    assert_eq!(attempts(&guarded.stats), (1, 2), "without any budget");
}

#[tokio::test]
async fn c66_an_order_is_sent_again_where_its_stream_was_not_processed() {
    for answer in [Answer::Reset(Reason::REFUSED_STREAM), Answer::GoAway { last: 0 }] {
        let server = H2::start([answer]).await;
        let guarded = Guarded::plain(true);
        let response = guarded.send(post(&server.url(), whole("order"))).await.expect("the second attempt");
        assert_eq!((response.status().as_u16(), server.requests()), (200, 2), "{answer:?}");
        assert_eq!(attempts(&guarded.stats), (1, 2), "{answer:?}");
    }
}

#[tokio::test]
async fn an_order_that_may_have_been_processed_is_sent_once() {
    let perhaps = [
        Answer::Reset(Reason::INTERNAL_ERROR),
        Answer::Reset(Reason::CANCEL),
        Answer::GoAway { last: 1 },
        Answer::Close,
    ];
    for answer in perhaps {
        let server = H2::start([answer]).await;
        let guarded = Guarded::plain(true);
        guarded.send(post(&server.url(), whole("order"))).await.expect_err("the only attempt");
        assert_eq!((attempts(&guarded.stats), server.requests()), ((1, 1), 1), "{answer:?}");
    }
}

#[cfg(feature = "reqwest")]
mod reqwest {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use ::reqwest::{Client, ClientBuilder, Method, Request, redirect, retry};
    use tokio::io::AsyncWriteExt;
    use tower::Layer;

    use super::*;
    use crate::servers::each;

    fn builder() -> ClientBuilder {
        Client::builder().http2_prior_knowledge().redirect(redirect::Policy::none())
    }

    fn order(to: &str) -> Request {
        let mut order = Request::new(Method::POST, to.parse().expect("a URL"));
        *order.body_mut() = Some("order".into());
        order
    }

    /// What becomes of an order: its status, attempts, and requests at the server.
    async fn sent(client: Client, answers: &[Answer]) -> (Option<u16>, u64, usize) {
        let server = H2::start(answers.iter().copied()).await;
        let stats = RetryStats::new();
        let client = RetryLayer::reqwest(config(&stats)).without_redirects().layer(client);
        let result = client.oneshot(order(&server.url())).await;
        (result.ok().map(|response| response.status().as_u16()), stats.counts().attempts, server.requests())
    }

    #[tokio::test]
    async fn c66_an_order_is_sent_again_where_its_stream_was_not_processed() {
        let client = || builder().retry(retry::never()).build().expect("a client");
        for answer in [Answer::Reset(Reason::REFUSED_STREAM), Answer::GoAway { last: 0 }] {
            assert_eq!(sent(client(), &[answer]).await, (Some(200), 2, 2), "{answer:?}");
        }
        assert_eq!(
            sent(client(), &[Answer::Reset(Reason::REFUSED_STREAM); 2]).await,
            (None, 2, 2),
            "there is no budget"
        );
        assert_eq!(sent(client(), &[Answer::Reset(Reason::INTERNAL_ERROR)]).await, (None, 1, 1));
    }

    /// reqwest follows redirects, and its errors do not tell that it did.
    #[tokio::test]
    async fn an_order_that_was_processed_is_not_sent_again_because_of_where_it_led_to() {
        let (_kept, nothing) = refusing();
        let orders = Arc::new(AtomicUsize::new(0));
        let counter = orders.clone();
        let shop = each(move |mut stream| {
            counter.fetch_add(1, Ordering::SeqCst);
            let to = format!("location: http://{nothing}/orders/7");
            let answer = format!("HTTP/1.1 303 See Other\r\n{to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            async move {
                stream.readable().await.expect("an order");
                stream.write_all(answer.as_bytes()).await.expect("the client listens");
                stream.shutdown().await.ok();
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
            }
        })
        .await;
        let stats = RetryStats::new();
        let client = RetryLayer::reqwest(config(&stats)).layer(Client::new());
        client.oneshot(order(&format!("http://{shop}/orders"))).await.expect_err("the page is not to be had");
        assert_eq!((attempts(&stats), orders.load(Ordering::SeqCst)), ((1, 1), 1));
    }

    #[tokio::test]
    async fn reqwest_sends_some_orders_again_by_itself() {
        let client = || builder().build().expect("a client");
        let refused = [Answer::Reset(Reason::REFUSED_STREAM); 3];
        assert_eq!(sent(client(), &refused[..1]).await, (Some(200), 1, 2));
        assert_eq!(sent(client(), &refused[..2]).await, (Some(200), 1, 3));
        assert_eq!(sent(client(), &refused).await, (Some(200), 2, 4), "twice, and then it is the retry's");
        assert_eq!(sent(client(), &[Answer::GoAway { last: 0 }]).await, (Some(200), 1, 2));
        assert_eq!(sent(client(), &[Answer::Reset(Reason::INTERNAL_ERROR)]).await, (None, 1, 1));
    }

    #[tokio::test]
    async fn c66_an_order_is_sent_again_where_nothing_listened_yet() {
        let late = LateServer::new();
        let begins = late.clone();
        let layer = ServiceBuilder::new().map_err(move |error: BoxError| {
            begins.begins();
            error
        });
        let client = builder().retry(retry::never()).connector_layer(layer.into_inner()).build().expect("a client");
        let stats = RetryStats::new();
        let client = RetryLayer::reqwest(config(&stats)).without_redirects().layer(client);
        let response = client.oneshot(order(&late.server.url())).await.expect("the second attempt");
        assert_eq!((response.status().as_u16(), late.server.requests()), (200, 1));
        assert_eq!(attempts(&stats), (1, 2));
    }

    #[tokio::test]
    async fn c63_what_is_the_callers_own_is_not_sent_again_and_opens_no_circuit() {
        let (breaker, _) = tripping_at(5);
        let stats = RetryStats::new();
        let client = ServiceBuilder::new()
            .layer(RetryLayer::reqwest(config(&stats)))
            .layer(CircuitBreakerLayer::from(breaker.clone()).classify(classify::http()))
            .service(Client::new());
        let endless = crate::servers::saying("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
        for n in 0..10 {
            let url = if n % 2 == 0 { "ftp://prices.example/".to_owned() } else { format!("http://{endless}/") };
            let request = Request::new(Method::GET, url.parse().expect("a URL"));
            client.clone().oneshot(request).await.expect_err("it cannot be sent");
        }
        assert_eq!(attempts(&stats), (10, 10));
        assert_eq!((failures(&breaker), breaker.state()), (0, State::Closed));
    }
}

#[cfg(feature = "grpc")]
mod grpc {
    use tower::Layer;

    use super::*;
    use crate::tonic::{call, endpoint};

    #[tokio::test]
    async fn c66_a_call_is_made_again_where_nothing_listened_yet() {
        let late = LateServer::new();
        let stats = RetryStats::new();
        let channel = endpoint(late.server.address).connect_with_connector_lazy(late.connector());
        call(RetryLayer::grpc(config(&stats)).layer(channel), "order").await.expect("the second attempt");
        assert_eq!((attempts(&stats), late.server.requests()), ((1, 2), 1));
    }

    #[tokio::test]
    async fn c66_a_call_is_made_again_where_its_stream_was_not_processed() {
        for answer in [Answer::Reset(Reason::REFUSED_STREAM), Answer::GoAway { last: 0 }] {
            let server = H2::start([answer]).await;
            let stats = RetryStats::new();
            call(RetryLayer::grpc(config(&stats)).layer(endpoint(server.address).connect_lazy()), "order")
                .await
                .expect("the second attempt");
            assert_eq!((attempts(&stats), server.requests()), ((1, 2), 2), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn c63_what_is_the_callers_own_is_not_sent_again_and_opens_no_circuit() {
        let server = H2::start([Answer::Hang; 10]).await;
        let (breaker, _) = tripping_at(5);
        let stats = RetryStats::new();
        let client = ServiceBuilder::new()
            .layer(RetryLayer::grpc(config(&stats)))
            .layer(CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc()))
            .service(endpoint(server.address).connect_lazy());
        for _ in 0..10 {
            call(client.clone(), "").await.expect_err("it cannot be encoded");
        }
        assert_eq!(attempts(&stats), (10, 10));
        assert_eq!((failures(&breaker), breaker.state()), (0, State::Closed));
    }
}
