//! One client, many hosts, a breaker for each: `cargo run --example keyed_hosts --features http`.
//!
//! Three servers on this machine; one of them is sick. All requests go through one hyper client with one layer, which
//! finds the breaker by the host and port in the request's URI. The sick host's breaker opens, the other two hosts do
//! not notice. Breakers are made from a template when a host is first seen.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::{Router, routing::get};
use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry, classify, detect, key};
use http::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};

async fn server(status: StatusCode) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/", get(move || async move { status }));
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}

/// What came of the requests to one host.
#[derive(Default)]
struct Counts {
    answered: u32,
    failed: u32,
    rejected: u32,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let registry = Registry::new(|host| {
        CircuitBreakerConfig::builder(host)
            .detector(detect::failure_rate(0.5).of_last(10))
            .cooldown(Duration::from_secs(10))
            .build()
    })
    .max(1_000);

    let client = Client::builder(TokioExecutor::new()).build_http::<String>();
    let mut client = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::keyed_by(registry.clone(), key::authority()).classify(classify::http()))
        .service(client);

    let hosts = [
        ("healthy", server(StatusCode::OK).await?),
        ("sick", server(StatusCode::INTERNAL_SERVER_ERROR).await?),
        ("healthy", server(StatusCode::OK).await?),
    ];
    println!("20 requests to each of three hosts, in turn:\n");
    let mut counts: [Counts; 3] = Default::default();
    for _ in 0..20 {
        for ((_, host), counts) in hosts.iter().zip(&mut counts) {
            let request = Request::get(format!("http://{host}/")).body(String::new())?;
            // A rejection is an error of the call, with the breaker and the reason in it.
            match client.ready().await?.call(request).await {
                Ok(response) if response.status().is_success() => counts.answered += 1,
                Err(error) if fusebox::rejection(&*error).is_some() => counts.rejected += 1,
                _ => counts.failed += 1,
            }
        }
    }

    println!("  {:<17}{:<9}{:>9}{:>9}{:>10}", "host", "", "answered", "failed", "rejected");
    for ((health, host), Counts { answered, failed, rejected }) in hosts.iter().zip(counts) {
        println!("  {:<17}{health:<9}{answered:>9}{failed:>9}{rejected:>10}", host.to_string());
    }
    println!("\nThe registry has made {} breakers:\n", registry.len());
    let mut breakers: Vec<_> = registry.iter().collect();
    breakers.sort_by_key(fusebox::CircuitBreaker::name);
    for breaker in breakers {
        println!("  {}", breaker.snapshot());
    }
    Ok(())
}
