//! Five servers, one of which falls ill: `cargo run --example balance --features http`.
//!
//! Tower's `Balance` asks each endpoint whether it is ready. With `wait_when_open`, one whose circuit is open is not: it
//! drops out of the balance, its share goes to the others, and after the cooldown a single request finds out whether it
//! is back. Nobody is rejected meanwhile.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::{Router, extract::State};
use bytes::Bytes;
use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, ConfigError, detect};
use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::balance::p2c::Balance;
use tower::discover::ServiceList;
use tower::load::{CompleteOnResponse, PendingRequests};
use tower::{Service, ServiceBuilder, ServiceExt};

const COOLDOWN: Duration = Duration::from_millis(500);

/// A client of one server that is not ready while its circuit is open.
fn endpoint(
    server: SocketAddr,
) -> Result<PendingRequests<impl Service<&'static str, Response = Response<Incoming>, Error = BoxError>>, ConfigError> {
    let config = CircuitBreakerConfig::builder(server.to_string())
        .detector(detect::consecutive_failures(2))
        .cooldown(COOLDOWN)
        .build()?;
    let client = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::http(config).wait_when_open())
        .map_request(move |path: &str| get(format!("http://{server}{path}")))
        .service(Client::builder(TokioExecutor::new()).build_http());
    Ok(PendingRequests::new(client, CompleteOnResponse::default()))
}

fn get(uri: String) -> Request<Empty<Bytes>> {
    Request::get(uri).body(Empty::new()).unwrap_or_default()
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut servers = Vec::new();
    for _ in 0..5 {
        servers.push(Server::start().await?);
    }
    let endpoints = servers.iter().map(|server| endpoint(server.address)).collect::<Result<Vec<_>, _>>()?;
    let mut balance = Balance::new(ServiceList::new::<&str>(endpoints));
    let third = &servers[2];

    println!("100 requests each time, and how many of them each server got:\n");
    println!("  {:<32}{:>4}{:>4}{:>4}{:>4}{:>4}  failed", "", 1, 2, 3, 4, 5);
    round("all are well", &mut balance, &servers).await?;
    third.is_ill.store(true, Ordering::Relaxed);
    round("3 falls ill", &mut balance, &servers).await?;
    round("its circuit is open", &mut balance, &servers).await?;
    sleep(COOLDOWN).await;
    round("a probe finds it ill", &mut balance, &servers).await?;
    third.is_ill.store(false, Ordering::Relaxed);
    sleep(COOLDOWN).await;
    round("a probe finds it well", &mut balance, &servers).await
}

/// Sends 100 requests, one after another, and prints who got them.
async fn round<C>(what: &str, client: &mut C, servers: &[Server]) -> Result<(), BoxError>
where
    C: Service<&'static str, Response = Response<Incoming>, Error = BoxError>,
{
    let mut failed = 0;
    for _ in 0..100 {
        let response = client.ready().await?.call("/prices").await?;
        failed += u32::from(response.status().is_server_error());
    }
    let asked = servers.iter().map(|server| format!("{:>4}", server.asked.swap(0, Ordering::Relaxed)));
    println!("  {what:<32}{}{failed:>8}", asked.collect::<String>());
    Ok(())
}

/// One of the servers.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    is_ill: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

async fn answer(State(server): State<Server>) -> StatusCode {
    server.asked.fetch_add(1, Ordering::Relaxed);
    if server.is_ill.load(Ordering::Relaxed) { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
}

impl Server {
    async fn start() -> Result<Self, BoxError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server = Self { address: listener.local_addr()?, is_ill: Arc::default(), asked: Arc::default() };
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        Ok(server)
    }
}
