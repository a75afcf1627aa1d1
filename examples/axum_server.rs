//! An axum server with one breaker per route: `cargo run --example axum_server --features axum`.
//!
//! Two routes, each with a dependency of its own. When the one of `/prices/{sku}` fails, that route's breaker opens and
//! answers 503 with `Retry-After` by itself; `/stock/{sku}` knows nothing of it. After the time that `Retry-After` said,
//! the first request goes through as a probe and closes the circuit.
//!
//! The layer needs no `HandleErrorLayer`: with `respond_with` a rejection is a response, and the router stays
//! infallible. The breakers' names are the routes as they were declared, so `/prices/1` and `/prices/2` share one.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::{Router, routing::get};
use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, EventKind, Registry, classify, detect, key};
use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// What `/prices/{sku}` asks for its answers.
#[derive(Clone, Default)]
struct PriceDatabase {
    is_down: Arc<AtomicBool>,
}

async fn price(State(database): State<PriceDatabase>, Path(sku): Path<u32>) -> Result<String, StatusCode> {
    if database.is_down.load(Ordering::Relaxed) {
        return Err(StatusCode::BAD_GATEWAY);
    }
    Ok(format!("{} cents", 100 + sku))
}

async fn stock(Path(sku): Path<u32>) -> String {
    format!("{} left", 10 * sku)
}

fn app(database: PriceDatabase, registry: Registry) -> Router {
    let breakers = CircuitBreakerLayer::keyed_by(registry, key::matched_path())
        .classify(classify::http())
        .respond_with(fusebox::web::unavailable);
    Router::new()
        .route("/prices/{sku}", get(price))
        .route("/stock/{sku}", get(stock))
        .layer(breakers)
        .with_state(database)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let registry = Registry::new(|route| {
        CircuitBreakerConfig::builder(route)
            .detector(detect::failures(3).of_last(10))
            .cooldown(Duration::from_secs(1))
            .on_event(|event| {
                if let EventKind::StateChanged { .. } = event.kind() {
                    println!("    {event}");
                }
            })
            .build()
    });
    let database = PriceDatabase::default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let client = Caller { http: Client::builder(TokioExecutor::new()).build_http(), to: listener.local_addr()? };
    let app = app(database.clone(), registry.clone());
    tokio::spawn(async { axum::serve(listener, app).await });

    println!("All is well:");
    client.get("/prices/1").await?;
    client.get("/stock/1").await?;

    println!("\nThe price database goes down. Its third failure opens the circuit of that route only:");
    database.is_down.store(true, Ordering::Relaxed);
    for path in ["/prices/1", "/prices/2", "/prices/3", "/prices/4", "/stock/4"] {
        client.get(path).await?;
    }

    println!("\nThe database is back, but nobody has told the breaker:");
    database.is_down.store(false, Ordering::Relaxed);
    let wait = client.get("/prices/5").await?;

    println!("\nAfter the {} s that Retry-After said, a request goes through as a probe:", wait.unwrap_or_default());
    sleep(Duration::from_secs(wait.unwrap_or_default())).await;
    client.get("/prices/5").await?;
    client.get("/prices/6").await?;

    println!("\nThe breakers:");
    let mut breakers: Vec<_> = registry.iter().map(|breaker| breaker.snapshot().to_string()).collect();
    breakers.sort();
    breakers.iter().for_each(|breaker| println!("    {breaker}"));
    Ok(())
}

struct Caller {
    http: Client<HttpConnector, String>,
    to: SocketAddr,
}

impl Caller {
    /// Prints the answer, and returns after how many seconds to come back, if it says so.
    async fn get(&self, path: &str) -> Result<Option<u64>, BoxError> {
        let request = Request::get(format!("http://{}{path}", self.to)).body(String::new())?;
        let (head, body) = self.http.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        let wait = head.headers.get(RETRY_AFTER).map(|wait| wait.to_str()).transpose()?;
        let hint = wait.map(|wait| format!("retry-after: {wait}")).unwrap_or_default();
        let line = format!("  GET {path:<10} {:<26}{}{hint}", head.status.to_string(), String::from_utf8_lossy(&body));
        println!("{}", line.trim_end());
        Ok(wait.map(str::parse).transpose()?)
    }
}
