//! gRPC with tonic, breakers and retries on both sides: `cargo run --example grpc --features grpc`.
//!
//! A gRPC call can fail in its last bytes: the server sends prices and then, in the trailers, a status. The client's
//! breaker therefore stays with the call to its end. A rejected call is UNAVAILABLE and says in its metadata when to come
//! back, on a client and on a server, and a status of the server comes through as it is.
//!
//! `client`, `serve` and `answer_over_http` are what there is to copy; `prices.rs` stands for the generated code.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

mod prices;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fusebox::circuit_breaker::{Boxed, One, ReleasesReadiness};
use fusebox::classify::{self, Grpc};
use fusebox::retry::{ReplayGrpc, RetryConfig, RetryLayer, RetryService};
use fusebox::{
    BoxError, CircuitBreakerConfig, CircuitBreakerLayer, CircuitBreakerService, ConfigError, EventKind, Registry,
    backoff, detect, grpc, key, web,
};
use futures::{TryStreamExt, stream};
use tonic::transport::{Channel, Endpoint, Server, server::TcpIncoming};
use tonic::{Request, Response, Status, Streaming};
use tower::ServiceBuilder;

use prices::{PriceStream, Prices, PricesClient, PricesServer};

fn breaker(name: &str) -> Result<CircuitBreakerConfig, ConfigError> {
    CircuitBreakerConfig::builder(name)
        .detector(detect::consecutive_failures(2))
        .on_event(|event| {
            if let EventKind::StateChanged { .. } = event.kind() {
                println!("    {event}");
            }
        })
        .build()
}

/// A channel with retries and a breaker around it: goes wherever a `Channel` goes.
type SafeChannel = RetryService<CircuitBreakerService<Channel, Grpc, Boxed, One, ReleasesReadiness>, Grpc, ReplayGrpc>;

fn client(channel: Channel) -> Result<PricesClient<SafeChannel>, ConfigError> {
    let retry = RetryConfig::builder()
        .backoff(backoff::fixed(Duration::from_millis(10)))
        .on_event(|event| println!("    {event}"))
        .build()?;
    let channel = ServiceBuilder::new()
        .layer(RetryLayer::grpc(retry))
        .layer(CircuitBreakerLayer::grpc(breaker("shop")?))
        .service(channel);
    Ok(PricesClient::new(channel))
}

/// A server with a breaker for each method.
fn serve(shop: Shop) -> Result<SocketAddr, BoxError> {
    let breakers = CircuitBreakerLayer::keyed_by(Registry::new(breaker), key::grpc_method())
        .classify(classify::grpc())
        .respond_with(grpc::unavailable);
    let incoming = TcpIncoming::bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let address = incoming.local_addr()?;
    tokio::spawn(Server::builder().layer(breakers).add_service(PricesServer::new(shop)).serve_with_incoming(incoming));
    Ok(address)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let shop = Shop::default();
    let address = serve(shop.clone())?;
    let channel = Endpoint::new(format!("http://{address}"))?.connect_lazy();
    let mut guarded = client(channel.clone())?;
    let mut plain = PricesClient::new(channel);

    println!("The client's side. A status of the server comes through as it is, and counts as an answer:");
    show("Get(7)", guarded.get("7").await);
    show("Get(none)", guarded.get("none").await);

    println!("\nThe server restarts, and the call is made again:");
    shop.is_restarting.store(true, Ordering::Relaxed);
    show("Get(7)", guarded.get("7").await);

    println!("\nStreams break off. Their status is in the trailers only, and the breaker has waited for it:");
    shop.is_cut_off.store(true, Ordering::Relaxed);
    show("Watch(7)", all(guarded.watch("7").await).await);
    show("Watch(7)", all(guarded.watch("7").await).await);
    println!("\nThe circuit is open: UNAVAILABLE, and nothing is sent:");
    show("Get(7)", guarded.get("7").await);

    println!("\nThe server's side, for a client without breakers. Watch has opened there too, Get has not:");
    shop.is_cut_off.store(false, Ordering::Relaxed);
    show("Watch(7)", all(plain.watch("7").await).await);
    show("Get(7)", plain.get("7").await);
    Ok(())
}

fn show(call: &str, result: Result<Response<String>, Status>) {
    match result {
        Ok(answer) => println!("  {call:<10} {}", answer.into_inner()),
        Err(status) => {
            let pushback = status.metadata().get("grpc-retry-pushback-ms").and_then(|wait| wait.to_str().ok());
            let hint = pushback.map(|ms| format!(" (pushback: {ms} ms)")).unwrap_or_default();
            println!("  {call:<10} {:?}: {}{hint}", status.code(), status.message());
            if let Some(answer) = answer_over_http(&status) {
                let wait = answer.headers().get("retry-after").and_then(|wait| wait.to_str().ok());
                let wait = wait.map(|seconds| format!(", Retry-After: {seconds}")).unwrap_or_default();
                println!("             a gateway answers {}{wait}", answer.status());
            }
        }
    }
}

/// What a handler of an HTTP gateway answers before it looks at the status. A rejection of the client's breaker is
/// within it, and an error type with `#[from] Status` would make a 502 of that, as of all that the server says. (A
/// handler of a gRPC service returns the status as it is, or has one made of any other error by `grpc::status_of`.)
fn answer_over_http(status: &Status) -> Option<http::Response<String>> {
    web::response_of(status)
}

/// Reads all prices, which is when the status is known.
async fn all(prices: Result<Response<Streaming<String>>, Status>) -> Result<Response<String>, Status> {
    let prices: Vec<_> = prices?.into_inner().try_collect().await?;
    Ok(Response::new(prices.join(", ")))
}

/// What is behind the server.
#[derive(Clone, Default)]
struct Shop {
    is_restarting: Arc<AtomicBool>,
    is_cut_off: Arc<AtomicBool>,
}

impl Prices for Shop {
    async fn get(&self, sku: Request<String>) -> Result<Response<String>, Status> {
        if self.is_restarting.swap(false, Ordering::Relaxed) {
            return Err(Status::unavailable("back in a second"));
        }
        match sku.get_ref().parse::<u32>() {
            Ok(sku) => Ok(Response::new(format!("{} cents", 100 + sku))),
            Err(_) => Err(Status::not_found("no such price")),
        }
    }

    async fn watch(&self, _sku: Request<String>) -> Result<Response<PriceStream>, Status> {
        let end = if self.is_cut_off.load(Ordering::Relaxed) {
            Err(Status::internal("lost the warehouse"))
        } else {
            Ok("109 cents".to_owned())
        };
        let prices = [Ok("107 cents".to_owned()), Ok("108 cents".to_owned()), end];
        Ok(Response::new(Box::pin(stream::iter(prices))))
    }
}
