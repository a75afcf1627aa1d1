//! Retries and a circuit breaker around reqwest: `cargo run --example reqwest_client --features reqwest`.
//!
//! `reqwest::Client` is a Tower service, so both are layers around it; `client` below is all it takes. The server on
//! this machine is first busy, then down, then well again. Requests that are safe to repeat are sent again, after the
//! time that `Retry-After` asks for; an order is sent once; and when the circuit opens, the retries stop at once.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use axum::{Router, extract::State};
use fusebox::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, ConfigError, EventKind, RetryConfig, RetryLayer, backoff,
    detect, rejection,
};
use http::{HeaderMap, HeaderValue, StatusCode, header::RETRY_AFTER};
use reqwest::{Method, Request, Response};
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::{Service, ServiceBuilder, ServiceExt};

const COOLDOWN: Duration = Duration::from_secs(1);

/// The whole of it: the retry outside, so that the breaker sees every attempt.
fn client(name: &str) -> Result<impl Service<Request, Response = Response, Error = BoxError>, ConfigError> {
    let retry = RetryConfig::builder()
        .max_retries(3)
        .backoff(backoff::exponential(Duration::from_millis(20)..=Duration::from_secs(1)))
        .on_event(|event| println!("    {event}"))
        .build()?;
    let breaker = CircuitBreakerConfig::builder(name)
        .detector(detect::consecutive_failures(3))
        .cooldown(COOLDOWN)
        .on_event(|event| {
            if let EventKind::StateChanged { .. } = event.kind() {
                println!("    {event}");
            }
        })
        .build()?;
    Ok(ServiceBuilder::new()
        .layer(RetryLayer::reqwest(retry))
        .layer(CircuitBreakerLayer::reqwest(breaker))
        .service(reqwest::Client::new()))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let shop = Shop::default();
    let address = shop.clone().open().await?;
    let (prices, orders) = (format!("{address}/prices"), format!("{address}/orders"));
    let mut client = client("shop")?;

    println!("The shop is busy for a moment, and says for how long:");
    shop.busy.store(1, Ordering::Relaxed);
    send(&mut client, Method::GET, &prices).await?;

    println!("\nBusy again. An order is sent once, because nobody knows what a second one would do:");
    shop.busy.store(1, Ordering::Relaxed);
    send(&mut client, Method::POST, &orders).await?;

    println!("\nThe shop is down. The third failure in a row opens the circuit, and the retries stop with it:");
    shop.is_down.store(true, Ordering::Relaxed);
    send(&mut client, Method::GET, &prices).await?;
    send(&mut client, Method::GET, &prices).await?;

    println!("\nThe shop is back. After the cooldown, the next request is the probe:");
    shop.is_down.store(false, Ordering::Relaxed);
    sleep(COOLDOWN).await;
    send(&mut client, Method::GET, &prices).await?;

    println!("\nThe shop was asked {} times.", shop.asked.load(Ordering::Relaxed));
    Ok(())
}

/// Prints what came of a request.
async fn send<C>(client: &mut C, method: Method, url: &str) -> Result<(), BoxError>
where
    C: Service<Request, Response = Response, Error = BoxError>,
{
    let request = Request::new(method, url.parse()?);
    let what = format!("{:<4} {}", request.method(), request.url().path());
    match client.ready().await?.call(request).await {
        Ok(response) => println!("  {what:<13} {}", response.status()),
        // The breaker's answer instead of the shop's.
        Err(error) => match rejection(&*error) {
            Some(rejected) => println!("  {what:<13} not sent: {rejected}"),
            None => println!("  {what:<13} failed: {error}"),
        },
    }
    Ok(())
}

/// The server.
#[derive(Clone, Default)]
struct Shop {
    is_down: Arc<AtomicBool>,
    /// How many requests it is too busy for.
    busy: Arc<AtomicU32>,
    asked: Arc<AtomicU32>,
}

async fn answer(State(shop): State<Shop>) -> Result<&'static str, (StatusCode, HeaderMap)> {
    shop.asked.fetch_add(1, Ordering::Relaxed);
    if shop.is_down.load(Ordering::Relaxed) {
        return Err((StatusCode::INTERNAL_SERVER_ERROR, HeaderMap::new()));
    }
    match shop.busy.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |busy| busy.checked_sub(1)) {
        Ok(_) => Err((StatusCode::SERVICE_UNAVAILABLE, HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from(1))]))),
        Err(_) => Ok("12.50"),
    }
}

impl Shop {
    /// Returns its address.
    async fn open(self) -> Result<String, BoxError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        tokio::spawn(async { axum::serve(listener, Router::new().fallback(answer).with_state(self)).await });
        Ok(format!("http://{address}"))
    }
}
