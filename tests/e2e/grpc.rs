//! tonic's clients and servers.

use std::collections::VecDeque;
use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use fusebox::classify::{self, Grpc};
use fusebox::retry::{ReplayGrpc, RetryService};
use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, CircuitBreakerService, ManualClock, Registry,
    Rejected, RetryConfig, RetryLayer, SafetyNet, State, backoff, detect, grpc, key, rejection,
    retry::{RetryEventKind, RetryStats, StopReason},
    safety_net::GrpcClient,
};
use futures::{StreamExt, poll, stream};
use tokio::time::timeout;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, server::TcpIncoming};
use tonic::{Code, Request, Response, Status};
use tower::{Layer, ServiceBuilder};

use crate::servers::refusing;
use crate::support::{Record, breaker, config, failures, ms, secs, tripping_at};
use prices::{PriceStream, Prices, PricesClient, PricesServer};

#[path = "../../examples/grpc/prices.rs"]
pub(crate) mod prices;

const PUSHBACK: &str = "grpc-retry-pushback-ms";

pub(crate) enum Answer {
    Fails(Status),
    Hangs,
}

/// A service that gives the answers it was told, then a price; and remembers what came with the calls.
#[derive(Clone, Default)]
pub(crate) struct Shop {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    streams: Arc<Mutex<VecDeque<PriceStream>>>,
    pub(crate) calls: Record<(String, MetadataMap)>,
}

impl Shop {
    pub(crate) fn next_answers(&self, answers: impl IntoIterator<Item = Answer>) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers.into_iter().collect();
    }

    pub(crate) fn fails(&self, statuses: impl IntoIterator<Item = Status>) {
        self.next_answers(statuses.into_iter().map(Answer::Fails));
    }

    /// The next stream that is watched: these, and then the end, unless it `hangs`.
    pub(crate) fn streams(&self, items: impl IntoIterator<Item = Result<&'static str, Status>>, hangs: bool) {
        let items: Vec<_> = items.into_iter().map(|item| item.map(ToOwned::to_owned)).collect();
        let rest = stream::iter(hangs.then_some(())).then(|()| pending());
        let all = Box::pin(stream::iter(items).chain(rest));
        self.streams.lock().unwrap_or_else(PoisonError::into_inner).push_back(all);
    }

    /// The calls since it was last asked.
    pub(crate) fn calls(&self) -> usize {
        self.calls.take().len()
    }
}

impl Prices for Shop {
    async fn get(&self, sku: Request<String>) -> Result<Response<String>, Status> {
        self.calls.add((sku.get_ref().clone(), sku.metadata().clone()));
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        match answer {
            None => Ok(Response::new("12.50".to_owned())),
            Some(Answer::Fails(status)) => Err(status),
            Some(Answer::Hangs) => pending().await,
        }
    }

    async fn watch(&self, sku: Request<String>) -> Result<Response<PriceStream>, Status> {
        self.calls.add((sku.get_ref().clone(), sku.metadata().clone()));
        let stream = self.streams.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        Ok(Response::new(stream.unwrap_or_else(|| Box::pin(stream::iter([Ok("12.50".to_owned())])))))
    }
}

/// Where a server is to listen.
pub(crate) fn incoming() -> (TcpIncoming, SocketAddr) {
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = incoming.local_addr().expect("bound");
    (incoming, address)
}

pub(crate) fn channel(to: SocketAddr) -> Channel {
    Endpoint::new(format!("http://{to}")).expect("a URI").connect_lazy()
}

/// A server without breakers, and a channel to it.
pub(crate) fn shop() -> (Shop, Channel) {
    let shop = Shop::default();
    let (incoming, address) = incoming();
    let server = tonic::transport::Server::builder().add_service(PricesServer::new(shop.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    (shop, channel(address))
}

/// A client with a breaker.
pub(crate) fn guarded(
    breaker: &CircuitBreaker,
    channel: Channel,
) -> PricesClient<CircuitBreakerService<Channel, Grpc>> {
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    PricesClient::new(layer.layer(channel))
}

pub(crate) fn pushback(status: &Status) -> Option<&str> {
    status.metadata().get(PUSHBACK).map(|ms| ms.to_str().expect("text"))
}

fn with_pushback(mut status: Status, ms: &'static str) -> Status {
    status.metadata_mut().insert(PUSHBACK, ms.parse().expect("metadata"));
    status
}

// The client's breaker

#[tokio::test]
async fn a_status_of_the_server_comes_through_as_it_is() {
    let (shop, channel) = shop();
    let (breaker, _) = tripping_at(2);
    let mut client = guarded(&breaker, channel);
    assert_eq!(client.get("7").await.expect("a price").into_inner(), "12.50");

    let mut sent = Status::with_details(Code::NotFound, "no such price: \u{fc}", Bytes::from_static(&[1, 0, 2]));
    sent.metadata_mut().insert("aisle", "7".parse().expect("metadata"));
    shop.fails([sent.clone(), sent, Status::internal("a bug")]);
    for _ in 0..2 {
        let status = client.get("none").await.expect_err("not found");
        assert_eq!((status.code(), status.message()), (Code::NotFound, "no such price: \u{fc}"));
        let aisle = status.metadata().get("aisle").map(|aisle| aisle.as_bytes());
        assert_eq!((status.details(), aisle), (&[1, 0, 2][..], Some(&b"7"[..])));
    }
    assert_eq!(failures(&breaker), 0, "an answer is an answer");
    let status = client.get("7").await.expect_err("a bug");
    assert_eq!((status.code(), status.message(), failures(&breaker)), (Code::Internal, "a bug", 1));
}

#[tokio::test]
async fn a_failure_that_is_in_the_trailers_only_opens_the_circuit() {
    let (shop, channel) = shop();
    let (breaker, _) = tripping_at(1);
    let mut client = guarded(&breaker, channel);
    shop.streams([Ok("1"), Ok("2"), Err(Status::data_loss("torn"))], false);
    let mut prices = client.watch("7").await.expect("headers").into_inner();
    for price in ["1", "2"] {
        assert_eq!(prices.message().await.expect("a price").as_deref(), Some(price));
        assert_eq!(breaker.state(), State::Closed);
    }
    let status = prices.message().await.expect_err("torn");
    assert_eq!((status.code(), status.message()), (Code::DataLoss, "torn"));
    assert!(breaker.is_open());
}

#[tokio::test]
async fn a_stream_is_a_probe_until_its_trailers_are_in() {
    let (shop, channel) = shop();
    let (breaker, clock) = tripping_at(1);
    let mut client = guarded(&breaker, channel);
    breaker.trip().expect("no override stands");
    clock.advance(secs(30));
    shop.streams([Ok("1")], false);
    let mut prices = client.watch("7").await.expect("the probe").into_inner();
    assert_eq!(prices.message().await.expect("a price").as_deref(), Some("1"));
    assert_eq!(breaker.state(), State::HalfOpen);
    assert_eq!(client.get("7").await.expect_err("one probe").code(), Code::Unavailable);
    assert_eq!(prices.message().await.expect("the end"), None);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test]
async fn a_stream_that_is_dropped_counts_when_it_hung_long_enough() {
    let (shop, channel) = shop();
    let (breaker, clock) = breaker(|b| b.detector(detect::consecutive_failures(1)).abandoned_after(secs(10)));
    let mut client = guarded(&breaker, channel);
    for (hangs, state) in [(secs(9), State::Closed), (secs(10), State::Open)] {
        shop.streams([Ok("1")], true);
        let mut prices = client.watch("7").await.expect("headers").into_inner();
        assert_eq!(prices.message().await.expect("a price").as_deref(), Some("1"));
        assert!(poll!(pin!(prices.message())).is_pending(), "it waits for more");
        clock.advance(hangs);
        drop(prices);
        assert_eq!(breaker.state(), state, "{hangs:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_opens_the_circuit() {
    let (_socket, address) = refusing();
    let (breaker, _) = tripping_at(2);
    let mut client = guarded(&breaker, channel(address));
    for _ in 0..2 {
        let status = client.get("7").await.expect_err("nobody is there");
        assert_eq!((status.code(), rejection(&status).is_some()), (Code::Unavailable, false));
    }
    assert!(breaker.is_open());
    let status = client.get("7").await.expect_err("not tried");
    assert_eq!((status.code(), rejection(&status).is_some()), (Code::Unavailable, true));
}

// What a rejected call gets

/// Makes calls while the circuit is open; none of them may reach the shop.
async fn is_rejected_with_pushback<T>(client: &mut PricesClient<T>, shop: &Shop) -> Status
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    let stream = client.watch("7").await.expect_err("open");
    let unary = client.get("7").await.expect_err("open");
    for status in [&stream, &unary] {
        assert_eq!((status.code(), pushback(status)), (Code::Unavailable, Some("30000")), "{status:?}");
        assert!(status.message().starts_with("circuit breaker `"), "{status:?}");
    }
    assert_eq!(shop.calls(), 0);
    unary
}

#[tokio::test]
async fn a_client_sees_unavailable_with_pushback_in_either_mode() {
    let (shop, channel) = shop();
    let (breaker, _) = tripping_at(1);
    breaker.trip().expect("no override stands");
    let status = is_rejected_with_pushback(&mut guarded(&breaker, channel.clone()), &shop).await;
    assert_eq!(rejection(&status).map(Rejected::name).as_deref(), Some("test"));

    let layer = CircuitBreakerLayer::from(breaker).classify(classify::grpc()).respond_with(grpc::unavailable);
    is_rejected_with_pushback(&mut PricesClient::new(layer.layer(channel)), &shop).await;
}

#[tokio::test]
async fn a_layer_for_grpc_brings_its_classifier() {
    let (shop, channel) = shop();
    let clock = ManualClock::new();
    let layer = CircuitBreakerLayer::grpc(config(|b| b.detector(detect::consecutive_failures(2)).clock(clock)));
    let (breaker, mut client) = (layer.breaker().clone(), PricesClient::new(layer.layer(channel)));
    let bug = || Status::internal("a bug");
    shop.fails([Status::not_found("no such price"), Status::resource_exhausted("your quota"), bug(), bug()]);
    for state in [State::Closed, State::Closed, State::Closed, State::Open] {
        client.get("7").await.expect_err("a status");
        assert_eq!(breaker.state(), state);
    }
    shop.calls();
    let status = is_rejected_with_pushback(&mut client, &shop).await;
    assert_eq!(rejection(&status).map(Rejected::name).as_deref(), Some("test"));
}

#[tokio::test]
async fn a_server_answers_unavailable_with_pushback_in_either_mode() {
    let (breaker, _) = tripping_at(1);
    let boxed = || CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    let shop = Shop::default();
    let (responding_at, responding) = incoming();
    let (boxing_at, boxing) = incoming();
    let mut server = tonic::transport::Server::builder().layer(boxed().respond_with(grpc::unavailable));
    tokio::spawn(server.add_service(PricesServer::new(shop.clone())).serve_with_incoming(responding_at));
    let mut server = tonic::transport::Server::builder().layer(boxed());
    tokio::spawn(server.add_service(PricesServer::new(shop.clone())).serve_with_incoming(boxing_at));
    for address in [responding, boxing] {
        let mut client = PricesClient::new(channel(address));
        assert_eq!(client.get("7").await.expect("a price").into_inner(), "12.50");
        shop.fails([Status::internal("a bug")]);
        assert_eq!(client.get("7").await.expect_err("a bug").message(), "a bug");
        assert_eq!((breaker.is_open(), shop.calls()), (true, 2));
        is_rejected_with_pushback(&mut client, &shop).await;
        breaker.reset().expect("no override stands");
    }
}

#[tokio::test]
async fn a_server_has_a_breaker_for_each_method() {
    let registry = Registry::new(|method| {
        let builder = CircuitBreakerConfig::builder(method).detector(detect::consecutive_failures(1));
        builder.clock(ManualClock::new()).build()
    });
    let layer = CircuitBreakerLayer::keyed(registry.clone(), key::grpc_method())
        .classify(classify::grpc())
        .respond_with(grpc::unavailable);
    let (shop, (incoming, address)) = (Shop::default(), incoming());
    let server = tonic::transport::Server::builder().layer(layer).add_service(PricesServer::new(shop.clone()));
    tokio::spawn(server.serve_with_incoming(incoming));
    let mut client = PricesClient::new(channel(address));
    shop.streams([Ok("1"), Err(Status::internal("torn"))], false);
    let mut prices = client.watch("7").await.expect("headers").into_inner();
    assert_eq!(prices.message().await.expect("a price").as_deref(), Some("1"));
    assert_eq!(prices.message().await.expect_err("torn").code(), Code::Internal);
    let status = client.watch("7").await.expect_err("open");
    assert_eq!((status.code(), pushback(&status)), (Code::Unavailable, Some("30000")));
    assert_eq!(client.get("7").await.expect("a price").into_inner(), "12.50");
    let states = ["shop.Prices/Watch", "shop.Prices/Get"].map(|name| registry.get(name).map(|b| b.state()));
    assert_eq!(states, [Some(State::Open), Some(State::Closed)]);
    assert_eq!(shop.calls(), 2);
}

// Retries

type Retrying = PricesClient<RetryService<Channel, Grpc, ReplayGrpc>>;

/// Three retries, and what they say of themselves.
fn retrying(channel: Channel) -> (Record<RetryEventKind>, Retrying) {
    let events = Record::default();
    let list = events.clone();
    let config = RetryConfig::builder().backoff(backoff::fixed(ms(0))).on_event(move |event| list.add(event.kind()));
    (events, PricesClient::new(RetryLayer::grpc(config.build().expect("it works")).layer(channel)))
}

fn stopped(events: &Record<RetryEventKind>) -> Option<StopReason> {
    events.take().into_iter().find_map(|kind| match kind {
        RetryEventKind::Stopped { reason, .. } => Some(reason),
        _ => None,
    })
}

#[tokio::test]
async fn unavailable_is_tried_again_and_the_server_is_told_how_often() {
    let (shop, channel) = shop();
    let (_, mut client) = retrying(channel);
    shop.fails([Status::unavailable("restarting"), Status::unavailable("restarting")]);
    assert_eq!(client.get("7").await.expect("the third attempt").into_inner(), "12.50");
    let calls = shop.calls.take();
    let told = calls.iter().map(|(sku, metadata)| {
        let attempts = metadata.get("grpc-previous-rpc-attempts").map(|n| n.to_str().expect("text"));
        (sku.as_str(), attempts)
    });
    assert_eq!(told.collect::<Vec<_>>(), [("7", None), ("7", Some("1")), ("7", Some("2"))]);

    shop.fails(vec![Status::unavailable("gone"); 9]);
    let status = client.get("7").await.expect_err("no retries left");
    assert_eq!((status.code(), status.message(), shop.calls()), (Code::Unavailable, "gone", 4));
}

#[tokio::test]
async fn pushback_says_when_and_whether() {
    let (shop, channel) = shop();
    let (events, mut client) = retrying(channel);
    shop.fails([with_pushback(Status::unavailable("busy"), "7")]);
    assert_eq!(client.get("7").await.expect("the second attempt").into_inner(), "12.50");
    let waits: Vec<_> = events
        .take()
        .into_iter()
        .filter_map(|kind| match kind {
            RetryEventKind::Retrying { after, .. } => Some(after),
            _ => None,
        })
        .collect();
    assert_eq!((waits, shop.calls()), (vec![ms(7)], 2));

    shop.fails([with_pushback(Status::unavailable("do not come back"), "-1")]);
    let status = client.get("7").await.expect_err("it said so");
    assert_eq!((status.message(), shop.calls()), ("do not come back", 1));
    assert_eq!(stopped(&events), Some(StopReason::NotRetryable));
}

#[tokio::test]
async fn what_is_no_outage_or_has_begun_is_not_tried_again() {
    let (shop, channel) = shop();
    let (_, mut client) = retrying(channel);
    for status in [Status::internal("a bug"), Status::not_found("no such price"), Status::cancelled("enough")] {
        let code = status.code();
        shop.fails([status]);
        assert_eq!((client.get("7").await.expect_err("failed").code(), shop.calls()), (code, 1));
    }
    shop.streams([Ok("1"), Err(Status::unavailable("restarting"))], false);
    let mut prices = client.watch("7").await.expect("headers").into_inner();
    assert_eq!(prices.message().await.expect("a price").as_deref(), Some("1"));
    assert_eq!(prices.message().await.expect_err("restarting").code(), Code::Unavailable);
    assert_eq!(shop.calls(), 1);
}

#[tokio::test]
async fn an_attempt_without_an_answer_is_deadline_exceeded() {
    let (shop, channel) = shop();
    let config = RetryConfig::builder().max_retries(1).backoff(backoff::fixed(ms(0))).attempt_timeout(ms(50));
    let channel = RetryLayer::grpc(config.build().expect("it works")).layer(channel);
    shop.next_answers([Answer::Hangs, Answer::Hangs, Answer::Hangs]);
    let status = PricesClient::new(channel).get("7").await.expect_err("it hangs");
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
}

#[tokio::test]
async fn retries_stop_at_a_breaker_in_the_channel_in_either_mode() {
    let (shop, channel) = shop();
    let (breaker, _) = tripping_at(2);
    let stats = RetryStats::new();
    let retry =
        || RetryConfig::builder().backoff(backoff::fixed(ms(0))).stats(stats.clone()).build().expect("it works");
    let layer = CircuitBreakerLayer::from(breaker.clone()).classify(classify::grpc());
    let boxed = ServiceBuilder::new().layer(RetryLayer::grpc(retry())).layer(layer.clone()).service(channel.clone());
    let mut client = PricesClient::new(boxed);
    shop.fails(vec![Status::unavailable("gone"); 9]);
    let status = client.get("7").await.expect_err("open");
    assert_eq!((rejection(&status).is_some(), pushback(&status), shop.calls()), (true, Some("30000"), 2));
    assert_eq!((stats.counts().retries, stats.counts().rejected), (2, 1));
    is_rejected_with_pushback(&mut client, &shop).await;

    let responding = ServiceBuilder::new()
        .layer(RetryLayer::grpc(retry()))
        .layer(layer.respond_with(grpc::unavailable))
        .service(channel);
    is_rejected_with_pushback(&mut PricesClient::new(responding), &shop).await;
    assert_eq!(stats.counts().retries, 2, "nobody tried again");
}

#[tokio::test]
async fn retries_of_whole_calls_stop_at_a_breaker_in_the_channel() {
    let (shop, channel) = shop();
    let (breaker, _) = tripping_at(2);
    let client = guarded(&breaker, channel);
    let stats = RetryStats::new();
    let config = RetryConfig::builder().backoff(backoff::fixed(ms(0))).stats(stats.clone()).build().expect("it works");
    let retry = RetryLayer::new(config).classify(classify::grpc());
    shop.fails(vec![Status::unavailable("gone"); 9]);
    let call = retry.call(|| {
        let mut client = client.clone();
        async move { client.get("7").await }
    });
    // A rejection that is not recognised is waited for, by its pushback.
    let status = timeout(secs(10), call).await.expect("at once").expect_err("open");
    assert_eq!((rejection(&status).is_some(), shop.calls()), (true, 2));
    assert_eq!(stats.counts().rejected, 1);
}

// The safety net

#[tokio::test]
async fn the_preset_goes_around_a_channel() {
    let (shop, channel) = shop();
    let net = SafetyNet::grpc("prices").expect("it works");
    let mut client: PricesClient<<GrpcClient as Layer<Channel>>::Service> = PricesClient::new(net.layer(channel));
    shop.fails([with_pushback(Status::unavailable("restarting"), "1")]);
    assert_eq!(client.get("7").await.expect("the second attempt").into_inner(), "12.50");
    assert_eq!(shop.calls(), 2);
    shop.fails([Status::not_found("no such price")]);
    assert_eq!(client.get("7").await.expect_err("not found").message(), "no such price");
    let mut prices = client.clone().watch("7").await.expect("headers").into_inner();
    assert_eq!(prices.message().await.expect("a price").as_deref(), Some("12.50"));
    assert_eq!(prices.message().await.expect("the end"), None);

    // It judges 20 calls, of which it has seen four.
    shop.fails(vec![Status::internal("a bug"); 20]);
    shop.calls();
    for _ in 0..16 {
        assert_eq!(client.get("7").await.expect_err("a bug").message(), "a bug");
    }
    let status = client.get("7").await.expect_err("open");
    assert_eq!(rejection(&status).map(Rejected::name).as_deref(), Some("prices"));
    assert!(pushback(&status).is_some(), "{status:?}");
    assert_eq!(shop.calls(), 16);
}
