//! A gateway, as a service has it: `cargo run --example gateway --all-features`.
//!
//! In front axum; behind it two services over HTTP, by reqwest, and one over gRPC, by tonic. One file, `gateway.toml`, says
//! what guards them: a breaker for each host, one for the gRPC service, retries with a budget and a deadline. The breakers
//! keep their state in memory, or where `FUSEBOX_STORE_URL` says: `redis://..` or `postgres://..`, and then all instances of
//! the gateway share it.
//!
//! `gateway.rs` is what there is to copy. The example starts the services itself, breaks one after the other, and prints
//! what a caller of the gateway sees, how often the service was asked, and what the breakers do. It ends with an error
//! where that is not what it announces.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

mod callers;
mod gateway;
#[path = "../grpc/prices.rs"]
#[expect(dead_code, reason = "the gateway asks for one price at a time")]
mod prices;
mod upstreams;

use std::time::Duration;

use fusebox::settings::Settings;
use fusebox::{BoxError, State, env};
use tokio::time::sleep;
use tonic::transport::Endpoint;

use callers::{Callers, show};
use gateway::Gateway;
use upstreams::{Health, Upstream};

const WITH_ALL: &str = "107 cents, 70 left, 3 stars";
const WITHOUT_REVIEWS: &str = "107 cents, 70 left, no reviews today";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let (prices, stock, reviews) = (Upstream::new("prices"), Upstream::new("stock"), Upstream::new("reviews"));
    let channel = Endpoint::new(format!("http://{}", prices.serve_grpc()?))?.connect_lazy();
    // What would go on by itself is the layers' to decide: retries and redirects. A body has time of its own.
    let client = reqwest::Client::builder()
        .retry(reqwest::retry::never())
        .redirect(reqwest::redirect::Policy::none())
        .read_timeout(Duration::from_secs(2))
        .resolve("stock.internal", stock.serve_http(|sku| format!("{} left", 10 * sku)).await?)
        .resolve("reviews.internal", reviews.serve_http(|sku| format!("{} stars", 1 + sku % 5)).await?)
        .build()?;

    let store = env::store().await?;
    println!("The breakers' state is in {store}.");
    let settings: Settings = toml::from_str(include_str!("gateway.toml"))?;
    let settings = settings.store(store.into()).each(|breaker| {
        breaker.on_state_change(|breaker, old, new| println!("    {}: {old} -> {new}", breaker.name()))
    });
    let gateway = Gateway::new(&settings, client, channel)?;
    let callers = Callers::of(gateway.clone()).await?;

    println!("\nAll is well:");
    show(&callers.send(4).await?, &[&prices, &stock, &reviews]);
    check(callers.get().await?.is(200, WITH_ALL), "a product with all that there is to say")?;

    println!("\nReviews fall ill. Every answer goes without, and soon they are not asked any more:");
    reviews.is_now(Health::Ill);
    let answers = callers.send(12).await?;
    let asked = show(&answers, &[&reviews]);
    check(answers.iter().all(|answer| answer.is(200, WITHOUT_REVIEWS)), "every product without its reviews")?;
    check(asked < 12, "a circuit that opens")?;

    println!("\nThe stock hangs. Callers wait for it, until the circuit opens:");
    stock.is_now(Health::Hanging);
    let answers = callers.send(20).await?;
    show(&answers, &[&stock]);
    check(answers[0].status == 504, "time runs out")?;
    check(answers.iter().filter(|answer| answer.says_when_to_come_back()).count() >= 10, "a circuit that opens")?;

    println!("\nThe prices fall ill, over gRPC. Their rejections are told like any other:");
    prices.is_now(Health::Ill);
    let answers = callers.send(20).await?;
    show(&answers, &[&prices]);
    check(answers[0].status == 502, "the service's own status")?;
    check(answers.iter().filter(|answer| answer.says_when_to_come_back()).count() >= 10, "a circuit that opens")?;

    println!("\nAll are well again. After the cooldowns, a call to each is the probe:");
    for upstream in [&prices, &stock, &reviews] {
        upstream.is_now(Health::Well);
    }
    let mut answers = callers.send(1).await?;
    while answers.len() < 100 && !answers.last().is_some_and(|last| last.is(200, WITH_ALL)) {
        sleep(Duration::from_millis(200)).await;
        answers.extend(callers.send(1).await?);
    }
    show(&answers, &[&prices, &stock, &reviews]);
    check(answers.last().is_some_and(|last| last.is(200, WITH_ALL)), "all that there is to say")?;

    println!("\nThe breakers:");
    for breaker in gateway.breakers() {
        println!("    {}", breaker.snapshot());
        check(breaker.state() == State::Closed, "a circuit that has closed")?;
    }
    Ok(())
}

/// The example is its own test.
fn check(holds: bool, what: &str) -> Result<(), BoxError> {
    if holds { Ok(()) } else { Err(format!("the example does not do what it announces: {what}").into()) }
}
