//! Readiness for a balancer, over HTTP and gRPC: `cargo run --example health --features axum,grpc`.
//!
//! An open circuit is a dependency's trouble: the instance says `degraded` and stays, since another instance would fare no
//! better. Only a breaker that is named critical takes it out, and this one shares its state with no fleet, so it does so
//! whenever it is open. With a store it would do so only if it were open for this instance alone.
//!
//! `/live` says that the process runs, and nothing else: what is killed for a dependency starts again with the same one.
//! Over gRPC the service is told of by its name; the server as a whole, which is the empty name, stays SERVING.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::{Router, routing::get};
use fusebox::health::{Health, Status};
use fusebox::{BoxError, CircuitBreaker, CircuitBreakerConfig};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tonic::transport::{Endpoint, Server, server::TcpIncoming};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_health::{ServingStatus, server::HealthReporter};

const SHOP: &str = "shop.Prices";

fn http(health: Health) -> Router {
    Router::new().route("/ready", get(move || ready(health.check()))).route("/live", get(|| ready("alive")))
}

/// Tells gRPC's own health service what there is to tell, as often as a balancer would ask.
async fn tell(reporter: HealthReporter, health: Health) {
    loop {
        let status = match health.check().status {
            Status::Up | Status::Degraded => ServingStatus::Serving,
            Status::Down => ServingStatus::NotServing,
        };
        reporter.set_service_status(SHOP, status).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let [search, database] = ["search", "database"].map(|name| CircuitBreaker::new(CircuitBreakerConfig::new(name)));
    let health = Health::process().critical(["database"]);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let http_address = listener.local_addr()?;
    let app = http(health.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });

    let (reporter, service) = tonic_health::server::health_reporter();
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let grpc_address = incoming.local_addr()?;
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
    tokio::spawn(tell(reporter, health));

    let show = async |what: &str| {
        // Longer than it takes until gRPC's service has been told.
        tokio::time::sleep(Duration::from_millis(200)).await;
        println!("{what}");
        ask_http(http_address).await?;
        ask_grpc(grpc_address).await
    };
    show("All is well:").await?;
    search.trip()?;
    show("\nThe search is down, for every instance alike:").await?;
    database.trip()?;
    show("\nThe database is, without which this instance is of no use:").await?;
    database.reset()?;
    search.reset()?;
    show("\nBoth are back:").await
}

async fn ask_http(address: SocketAddr) -> Result<(), BoxError> {
    let client: Client<HttpConnector, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    for path in ["/ready", "/live"] {
        let response = client.request(Request::get(format!("http://{address}{path}")).body(Empty::new())?).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&body);
        println!("  GET {path:7} {status}  {}", text.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    Ok(())
}

async fn ask_grpc(address: SocketAddr) -> Result<(), BoxError> {
    let mut client = HealthClient::new(Endpoint::new(format!("http://{address}"))?.connect().await?);
    for service in [SHOP, ""] {
        let answer = client.check(HealthCheckRequest { service: service.to_owned() }).await?;
        println!("  Check({service:?})  {}", answer.into_inner().status().as_str_name());
    }
    Ok(())
}
