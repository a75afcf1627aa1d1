//! `reqwest::Client` as a service, and a breaker in its connector.

use std::future::pending;

use axum::Router;
use fusebox::classify::{self, Http};
use fusebox::retry::{CloneReqwest, RetryService};
use fusebox::{
    CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, CircuitBreakerService, ManualClock, Registry, Rejected,
    RetryConfig, RetryConfigBuilder, RetryLayer, SafetyNet, State, backoff, detect, key, rejection,
    retry::{RetryEvent, RetryEventKind, RetryStats, StopReason, TimeLimit, TimedOut, WhenRejected},
};
use reqwest::{Client, Method, Request};
use tokio::sync::mpsc;
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::servers::{Server, refusing, retry_after, serve, status};
use crate::support::{Record, config, failures, ms, secs, tripping_at};

/// What has to be written down to keep such a client in a struct.
type SafeClient = RetryService<CircuitBreakerService<Client, Http>, Http, CloneReqwest>;

/// Five retries at once, and a breaker that trips at `n` failures in a row.
fn client(n: u32, stats: &RetryStats) -> (CircuitBreaker, SafeClient) {
    let (breaker, _) = tripping_at(n);
    let retry = RetryConfig::builder().max_retries(5).backoff(backoff::fixed(ms(0))).stats(stats.clone());
    let client = ServiceBuilder::new()
        .layer(RetryLayer::reqwest(retry.build().expect("it works")))
        .layer(CircuitBreakerLayer::from(breaker.clone()).classify(classify::http()))
        .service(Client::new());
    (breaker, client)
}

fn request(method: Method, url: &str) -> Request {
    Request::new(method, url.parse().expect("a URL"))
}

#[tokio::test]
async fn retries_go_on_until_it_works_and_the_breaker_sees_every_attempt() {
    let server = Server::start().await;
    let stats = RetryStats::new();
    let (breaker, client) = client(3, &stats);
    server.answers([status(503), status(500)]);
    let mut put = request(Method::PUT, &server.url("/prices/7"));
    *put.body_mut() = Some("12.50".into());
    let response = client.oneshot(put).await.expect("the third attempt");
    assert_eq!((response.status().as_u16(), response.text().await.expect("a body").as_str()), (200, "12.50"));
    let requests = server.requests();
    assert_eq!(requests.iter().map(|request| &request.body()[..]).collect::<Vec<_>>(), [b"12.50"; 3]);
    assert_eq!((failures(&breaker), breaker.state()), (0, State::Closed), "two failures, then a success");
    let counts = stats.counts();
    assert_eq!((counts.calls, counts.attempts, counts.recovered), (1, 3, 1));
}

#[tokio::test]
async fn once_the_circuit_opens_there_is_no_further_attempt() {
    let server = Server::start().await;
    let stats = RetryStats::new();
    let (breaker, client) = client(2, &stats);
    server.answers(vec![status(503); 10]);
    for sent in [2, 0] {
        let error = client.clone().oneshot(request(Method::GET, &server.url("/"))).await.expect_err("open");
        assert_eq!(rejection(&*error).map(Rejected::name).as_deref(), Some("test"));
        assert_eq!(server.requests().len(), sent);
    }
    assert!(breaker.is_open());
    assert_eq!((stats.counts().retries, stats.counts().rejected), (2, 2));
}

#[tokio::test]
async fn an_order_is_sent_once_unless_it_says_that_twice_is_fine() {
    let server = Server::start().await;
    let (_, client) = client(9, &RetryStats::new());
    server.answers([status(503)]);
    let response = client.clone().oneshot(request(Method::POST, &server.url("/orders"))).await.expect("an answer");
    assert_eq!((response.status().as_u16(), server.requests().len()), (503, 1));

    server.answers([status(503)]);
    let mut order = request(Method::POST, &server.url("/orders"));
    order.headers_mut().insert("idempotency-key", "7f3a".parse().expect("a header"));
    let response = client.oneshot(order).await.expect("an answer");
    assert_eq!((response.status().as_u16(), server.requests().len()), (200, 2));
}

/// Says what `on_event` was told.
fn told(config: RetryConfigBuilder) -> (RetryConfig, mpsc::UnboundedReceiver<RetryEvent>) {
    let (tell, told) = mpsc::unbounded_channel();
    let config = config.on_event(move |event| tell.send(*event).expect("somebody listens")).build().expect("it works");
    (config, told)
}

fn wait_in(event: RetryEvent) -> std::time::Duration {
    match event.kind() {
        RetryEventKind::Retrying { after, .. } => after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn retry_after_in_seconds_is_heeded_up_to_its_cap() {
    let server = Server::start().await;
    let (config, _events) = told(RetryConfig::builder().backoff(backoff::fixed(ms(1))).retry_after_cap(ms(20)));
    server.answers([status(503), retry_after(503, "2")]);
    let client = RetryLayer::reqwest(config).layer(Client::new());
    let response = client.oneshot(request(Method::GET, &server.url("/"))).await.expect("an answer");
    assert_eq!((response.status().as_u16(), server.requests().len()), (503, 2), "longer than allowed");

    let (config, mut events) = told(RetryConfig::builder());
    server.answers([retry_after(429, "2")]);
    let client = RetryLayer::reqwest(config).layer(Client::new());
    let call = tokio::spawn(client.oneshot(request(Method::GET, &server.url("/"))));
    let wait = wait_in(events.recv().await.expect("an event"));
    assert!((secs(2)..=ms(2_200)).contains(&wait), "{wait:?}");
    // The test need not wait for that.
    call.abort();
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_and_opens_the_circuit() {
    let address = serve(Router::new().fallback(pending::<()>)).await;
    // Real time: only that the timeout comes no sooner than it is set to is counted on.
    let breaker = CircuitBreaker::new(config(|b| b.detector(detect::consecutive_failures(2)).abandoned_after(ms(40))));
    let retry = RetryConfig::builder().max_retries(1).backoff(backoff::fixed(ms(0))).attempt_timeout(ms(80));
    let client = ServiceBuilder::new()
        .layer(RetryLayer::reqwest(retry.build().expect("it works")))
        .layer(CircuitBreakerLayer::from(breaker.clone()).classify(classify::http()))
        .service(Client::new());
    let url = format!("http://{address}/");
    let error = client.clone().oneshot(request(Method::GET, &url)).await.expect_err("no answer");
    let timed_out = error.downcast_ref::<TimedOut>().expect("in time");
    assert_eq!((timed_out.limit(), timed_out.attempt()), (TimeLimit::Attempt, 2));
    assert!(breaker.is_open());
    let error = client.oneshot(request(Method::GET, &url)).await.expect_err("open");
    assert!(rejection(&*error).is_some());
}

#[tokio::test]
async fn a_layer_for_reqwest_brings_its_classifier_and_keeps_the_clients_errors() {
    let server = Server::start().await;
    let detector = detect::consecutive_failures(2);
    let layer = CircuitBreakerLayer::reqwest(config(|b| b.detector(detector)));
    let (breaker, client) = (layer.breaker().clone(), layer.layer(Client::new()));
    let get = |url: String| client.clone().oneshot(request(Method::GET, &url));
    server.answers([status(404), status(503), status(503)]);
    for (code, state) in [(404, State::Closed), (503, State::Closed), (503, State::Open)] {
        let answer = get(server.url("/")).await.expect("an answer");
        assert_eq!((answer.status().as_u16(), breaker.state()), (code, state));
    }
    let error = get(server.url("/")).await.expect_err("open");
    assert!(rejection(&*error).is_some() && server.requests().len() == 3);

    breaker.reset().expect("no override stands");
    for _ in 0..3 {
        let error = get("ftp://prices.example/".to_owned()).await.expect_err("no such scheme");
        assert!(error.downcast::<reqwest::Error>().expect("the client's own").is_builder());
    }
    let (_socket, address) = refusing();
    for state in [State::Closed, State::Open] {
        let error = get(format!("http://{address}/")).await.expect_err("refused");
        assert!(error.is::<reqwest::Error>());
        assert_eq!(breaker.state(), state, "that is the dependency's, a scheme is not");
    }
}

#[tokio::test]
async fn one_host_has_one_breaker_however_its_url_is_written() {
    let server = Server::start().await;
    let registry = Registry::new(|host| {
        let builder = CircuitBreakerConfig::builder(host).detector(detect::consecutive_failures(3));
        builder.clock(ManualClock::new()).build()
    });
    let names = ["api.example", "api.example.", "other.example"];
    let resolving = names.iter().fold(Client::builder(), |client, name| client.resolve(name, server.address));
    let layer = CircuitBreakerLayer::keyed_by(registry.clone(), key::host()).classify(classify::http());
    let client = layer.layer(resolving.build().expect("a client"));
    let port = server.address.port();
    let get = |host: &str| client.clone().oneshot(request(Method::GET, &format!("http://{host}:{port}/")));
    server.answers(vec![status(503); 3]);
    for same in ["api.example", "API.Example", "ana:secret@api.example."] {
        assert_eq!(get(same).await.expect("an answer").status(), 503, "{same}");
    }
    let error = get("Api.Example").await.expect_err("open");
    assert_eq!(rejection(&*error).map(Rejected::name).as_deref(), Some("api.example"));
    assert_eq!(get("other.example").await.expect("an answer").status(), 200, "it is well");
    assert_eq!((registry.len(), server.requests().len()), (2, 4));
}

#[tokio::test]
async fn the_preset_is_told_how_to_send_again() {
    let (socket, address) = refusing();
    let net = SafetyNet::reqwest("prices").expect("a name");
    let post = || request(Method::POST, &format!("http://{address}/orders"));
    let breaker = net.breaker().expect("it has one").clone();
    net.layer(Client::new()).oneshot(post()).await.expect_err("refused");
    assert_eq!(failures(&breaker), 1, "it might have been redirected");
    let net = net.map_retry(RetryLayer::without_redirects);
    net.layer(Client::new()).oneshot(post()).await.expect_err("refused");
    assert_eq!(failures(&breaker), 1 + 3, "three attempts, as nothing was processed");
    drop(socket);
}

#[cfg(feature = "testing")]
#[tokio::test(start_paused = true)]
async fn to_the_preset_a_server_that_hangs_has_failed_when_the_attempt_is_over() {
    let asked = Record::default();
    let list = asked.clone();
    let hang = move || {
        list.add(());
        pending::<()>()
    };
    let address = serve(Router::new().fallback(hang)).await;
    let net = SafetyNet::reqwest("prices").expect("a name");
    let breaker = net.breaker().expect("it has one").clone();
    let client = net.layer(Client::new());
    let get = || client.clone().oneshot(request(Method::GET, &format!("http://{address}/")));
    assert!(tokio::time::timeout(ms(10_150), get()).await.is_err(), "the second attempt is on its way");
    assert_eq!((asked.take().len(), failures(&breaker)), (2, 1), "and the first has failed, within 10 s");

    let error = get().await.expect_err("no answer");
    assert!(error.is::<TimedOut>(), "{error:?}");
    assert_eq!((asked.take().len(), failures(&breaker)), (3, 3), "each of the attempts in the last 30 s");
    let calls = (0..20).map(|_| get());
    let ends = futures::future::join_all(calls).await;
    assert!(ends.into_iter().all(|end| rejection(&*end.expect_err("open")).is_some()));
    assert_eq!((asked.take().len(), breaker.state()), (20, State::Open));
}

#[tokio::test]
async fn the_preset_sends_again_what_is_safe_to_send_twice_and_leaves_out_what_it_is_told() {
    let server = Server::start().await;
    let net = SafetyNet::reqwest("prices").expect("a name").exclude(reqwest::Error::is_timeout);
    let breaker = net.breaker().expect("it has one").clone();
    server.answers([status(503)]);
    let answer = net.layer(Client::new()).oneshot(request(Method::GET, &server.url("/"))).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), server.requests().len(), failures(&breaker)), (200, 2, 1));
    server.answers([status(503)]);
    let answer = net.layer(Client::new()).oneshot(request(Method::POST, &server.url("/"))).await.expect("an answer");
    assert_eq!((answer.status().as_u16(), server.requests().len(), failures(&breaker)), (503, 1, 2));

    // Its own timeout, which the caller has set for a reason, and a hundred of them.
    let hanging = serve(Router::new().fallback(pending::<()>)).await;
    let hasty = net.layer(Client::builder().timeout(ms(5)).build().expect("a client"));
    let calls = (0..100).map(|_| hasty.clone().oneshot(request(Method::GET, &format!("http://{hanging}/"))));
    for end in futures::future::join_all(calls).await {
        let error = end.expect_err("no answer").downcast::<reqwest::Error>().expect("the client's own");
        assert!(error.is_timeout(), "not tried again, not rejected: {error:?}");
    }
    assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 2));
}

/// A client whose connector has a breaker that trips at two failures in a row.
fn guarded_connector() -> (CircuitBreaker, Client) {
    let (breaker, _) = tripping_at(2);
    let layer = CircuitBreakerLayer::from(breaker.clone());
    (breaker, Client::builder().connector_layer(layer).build().expect("a client"))
}

#[tokio::test]
async fn a_breaker_in_the_connector_opens_on_refused_connections() {
    let (_socket, address) = refusing();
    let (breaker, client) = guarded_connector();
    let url = format!("http://{address}/");
    for _ in 0..2 {
        let error = client.get(&url).send().await.expect_err("nobody is there");
        assert!(error.is_connect() && rejection(&error).is_none(), "{error:?}");
    }
    assert!(breaker.is_open());
    let error = client.get(&url).send().await.expect_err("not tried");
    assert!(error.is_connect());
    let rejected = rejection(&error).expect("in the chain of sources");
    assert_eq!((&*rejected.name(), rejected.retry_after()), ("test", Some(secs(30))));
}

#[tokio::test]
async fn a_breaker_in_the_connector_counts_connections_and_not_requests() {
    let server = Server::start().await;
    let (breaker, client) = guarded_connector();
    server.answers(vec![status(500); 5]);
    for _ in 0..5 {
        assert_eq!(client.get(server.url("/")).send().await.expect("an answer").status(), 500);
    }
    assert_eq!((breaker.state(), failures(&breaker)), (State::Closed, 0));
    breaker.trip().expect("no override stands");
    let kept = client.get(server.url("/")).send().await.expect("an answer");
    assert_eq!(kept.status(), 200, "the connection that is there does no harm");
}

#[tokio::test]
async fn retries_around_a_client_stop_at_the_breaker_in_its_connector() {
    let (_socket, address) = refusing();
    let (breaker, client) = guarded_connector();
    let events = Record::default();
    let list = events.clone();
    let retry = RetryConfig::builder()
        .max_retries(5)
        .backoff(backoff::fixed(ms(0)))
        .when_rejected(WhenRejected::Return)
        .on_event(move |event| list.add(event.kind()));
    let client = RetryLayer::reqwest(retry.build().expect("it works")).layer(client);
    let error = client.oneshot(request(Method::GET, &format!("http://{address}/"))).await.expect_err("nobody is there");
    assert!(rejection(&error).is_some() && breaker.is_open());
    let stopped = events.take().into_iter().filter_map(|kind| match kind {
        RetryEventKind::Stopped { reason, .. } => Some(reason),
        _ => None,
    });
    assert_eq!(stopped.collect::<Vec<_>>(), [StopReason::Rejected]);
}
