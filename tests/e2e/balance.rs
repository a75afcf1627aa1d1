//! tower's balance over real servers.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fusebox::{BoxError, CircuitBreaker, CircuitBreakerLayer, State, classify, detect};
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::timeout;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::servers::{Server, status};
use crate::support::{config, ms, secs};

/// A client of one server that waits while its circuit is open, which two failures in a row bring about.
fn endpoint(
    address: SocketAddr,
    cooldown: Duration,
) -> (CircuitBreaker, PendingRequests<impl Service<&'static str, Response = Response<Incoming>, Error = BoxError>>) {
    let breaker = CircuitBreaker::new(config(|b| b.detector(detect::consecutive_failures(2)).cooldown(cooldown)));
    let client = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::from(breaker.clone()).classify(classify::http()).wait_when_open())
        .map_request(move |path| {
            Request::get(format!("http://{address}{path}")).body(Empty::<Bytes>::new()).expect("a request")
        })
        .service(Client::builder(TokioExecutor::new()).build_http());
    (breaker, PendingRequests::new(client, CompleteOnResponse::default()))
}

/// Five servers with their breakers, and a client over all of them. The first one is ill.
async fn five(
    cooldown: Duration,
) -> (Vec<Server>, Vec<CircuitBreaker>, impl Service<&'static str, Response = Response<Incoming>, Error = BoxError>) {
    let mut servers = Vec::new();
    for _ in 0..5 {
        servers.push(Server::start().await);
    }
    let (breakers, endpoints): (Vec<_>, Vec<_>) =
        servers.iter().map(|server| endpoint(server.address, cooldown)).unzip();
    servers[0].answers(vec![status(502); 1000]);
    (servers, breakers, Balance::new(ServiceList::new::<&str>(endpoints)))
}

/// Makes a call; says whether it failed.
async fn fails<S>(balance: &mut S) -> bool
where
    S: Service<&'static str, Response = Response<Incoming>, Error = BoxError>,
{
    let response = balance.ready().await.expect("somebody is there").call("/prices").await;
    response.expect("nobody is rejected").status().is_server_error()
}

async fn failures<S>(balance: &mut S, calls: usize) -> usize
where
    S: Service<&'static str, Response = Response<Incoming>, Error = BoxError>,
{
    let mut failures = 0;
    for _ in 0..calls {
        failures += usize::from(fails(balance).await);
    }
    failures
}

#[tokio::test]
async fn an_ill_server_drops_out_and_an_operator_brings_it_back() {
    let (servers, breakers, mut balance) = five(secs(3600)).await;
    assert_eq!(failures(&mut balance, 200).await, 2);
    let open: Vec<_> = breakers.iter().map(CircuitBreaker::is_open).collect();
    assert_eq!(open, [true, false, false, false, false]);
    assert_eq!(servers[0].requests().len(), 2);
    servers[0].answers([]);
    assert_eq!((failures(&mut balance, 100).await, servers[0].requests().len()), (0, 0), "nobody has noticed");

    breakers[0].reset().expect("no override stands");
    assert_eq!(failures(&mut balance, 200).await, 0);
    let shares: Vec<_> = servers.iter().map(|server| server.requests().len()).collect();
    assert!(shares[0] > 5, "{shares:?}");
}

#[tokio::test]
async fn an_ill_server_is_probed_and_returns_when_it_is_well() {
    let (servers, breakers, mut balance) = five(ms(10)).await;
    let (mut failed, mut asked) = (0, 0);
    let probed = async {
        // Two failures open the circuit; the others are probes, one after each cooldown.
        while asked < 5 {
            failed += failures(&mut balance, 1).await;
            asked += servers[0].requests().len();
        }
    };
    timeout(secs(20), probed).await.expect("nobody probes");
    assert_eq!(failed, asked, "the others are well");

    servers[0].answers([]);
    let closed = async {
        while breakers[0].state() != State::Closed {
            assert!(!fails(&mut balance).await);
        }
    };
    timeout(secs(20), closed).await.expect("it does not return");
    servers[0].requests();
    assert_eq!(failures(&mut balance, 200).await, 0);
    assert!(servers[0].requests().len() > 5, "it takes its share");
}
