//! A circuit breaker at work, in ten seconds: `cargo run --example quickstart`.
//!
//! Two equal HTTP servers on this machine get the same load from two equal clients. Both servers depend on something
//! that falls ill for four seconds. One client has a circuit breaker around it; the other has none. The timeline shows
//! what the callers of each of them see, and the table at the end sums it up.
//!
//! The breaker itself is a few lines, in `guarded`; the rest makes the weather.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its reader")]
#![expect(clippy::disallowed_methods, reason = "an example of real time")]

mod client;
mod report;
mod screen;
mod server;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use fusebox::{
    BoxError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, ConfigError, Event, EventKind, Outcome, State,
    detect,
};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{Instant, interval};
use tower::ServiceBuilder;

use client::{Answer, Call, HttpClient};
use report::Report;
use screen::Screen;
use server::Server;

/// How long the load lasts, and how many requests each client sends in a second.
const RUN: Duration = Duration::from_secs(10);
const RATE: u32 = 100;
const REQUESTS: u32 = 10 * RATE;
/// When the servers' dependency is ill.
const SICK: std::ops::Range<Duration> = Duration::from_millis(2500)..Duration::from_millis(6500);
/// How long a caller waits for an answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Puts the breaker around an HTTP client.
fn guarded(
    client: HttpClient,
    on_event: impl Fn(&Event) + Send + Sync + 'static,
) -> Result<(CircuitBreaker, impl client::Http), ConfigError> {
    let slow = Duration::from_millis(250);
    let config = CircuitBreakerConfig::builder("inventory")
        .detector(detect::failure_rate(0.5).of_last(20).or(detect::slow_call_rate(0.5).slower_than(slow).of_last(20)))
        .cooldown(Duration::from_millis(500))
        .on_event(on_event)
        .build()?;
    let layer = CircuitBreakerLayer::new(config).classify(|result: &Result<Answer, BoxError>| match result {
        Ok(answer) if !answer.status().is_server_error() => Outcome::Success,
        _ => Outcome::Failure,
    });
    let breaker = layer.breaker().clone();
    // The breaker is outside the timeout: a call that takes too long is a failure like any other.
    Ok((breaker, ServiceBuilder::new().layer(layer).timeout(PATIENCE).service(client)))
}

/// The same without.
fn unguarded(client: HttpClient) -> impl client::Http {
    ServiceBuilder::new().timeout(PATIENCE).service(client)
}

/// Which client.
#[derive(Clone, Copy)]
enum Side {
    With,
    Without,
}

/// What the clients and the breaker tell the screen.
enum News {
    Ended(Side, Call),
    Changed { at: Duration, from: State, to: State, line: String },
}

/// When it all began; everything is told in time since then.
#[derive(Clone, Copy)]
struct Start(Instant);

impl Start {
    fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    fn is_sick(self) -> bool {
        SICK.contains(&self.elapsed())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let start = Start(Instant::now());
    let (with, without) = (Server::start(start).await?, Server::start(start).await?);
    let (tell, mut news) = mpsc::unbounded_channel();

    let (breaker, service) = guarded(client::http(), changes(start, tell.clone()))?;
    load(Side::With, service, with.address(), start, tell.clone());
    load(Side::Without, unguarded(client::http()), without.address(), start, tell);

    let mut screen = Screen::new();
    let mut report = Report::new();
    let mut frames = interval(Duration::from_millis(100));
    while report.is_running() {
        tokio::select! {
            biased;
            Some(item) = news.recv() => match item {
                News::Ended(side, call) => {
                    report.add(side, call);
                    screen.count(side, call.end);
                }
                News::Changed { at, from, to, line } => {
                    report.changed(to);
                    screen.changed(at, from, to, &line);
                }
            },
            _ = frames.tick() => screen.frame(start.elapsed()),
        }
    }
    screen.close(start.elapsed());
    report.print(with.reached_while_sick(), without.reached_while_sick());
    report.verdict(breaker.state())
}

/// Starts a client's load.
fn load(side: Side, service: impl client::Http, to: SocketAddr, start: Start, tell: UnboundedSender<News>) {
    tokio::spawn(client::load(service, to, start, move |call| {
        // Nobody listens any more once all calls are in.
        tell.send(News::Ended(side, call)).ok();
    }));
}

/// Passes on the breaker's changes of state.
fn changes(start: Start, tell: UnboundedSender<News>) -> impl Fn(&Event) + Send + Sync + 'static {
    move |event| {
        if let EventKind::StateChanged { from, to, .. } = event.kind() {
            // Nobody listens any more once the screen is closed.
            tell.send(News::Changed { at: start.elapsed(), from, to, line: event.to_string() }).ok();
        }
    }
}
