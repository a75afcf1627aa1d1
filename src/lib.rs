//! Circuit breaking and retries as Tower middleware.
//!
//! A circuit breaker watches the calls to a dependency. When too many fail, it *opens* and rejects calls at once, so that
//! your callers get an answer and the dependency gets a rest; after a *cooldown* it lets a few *probes* through, and
//! closes when they succeed.
//!
//! # First five minutes
//!
//! ```
//! use std::time::Duration;
//! use fusebox::{detect, CircuitBreakerConfig, CircuitBreakerLayer};
//! use tower::{service_fn, ServiceBuilder, ServiceExt};
//!
//! # futures::executor::block_on(async {
//! # let client = service_fn(|request: &'static str| async move { Ok::<_, std::io::Error>(request.len()) });
//! let config = CircuitBreakerConfig::builder("payments") // its identity, in errors, events and metrics
//!     .detector(detect::failure_rate(0.5).of_last(100).min_calls(20))
//!     .cooldown(Duration::from_secs(30))
//!     .build()?; // says which setting is wrong, and what is allowed
//!
//! let service = ServiceBuilder::new().layer(CircuitBreakerLayer::new(config)).service(client);
//! assert_eq!(service.oneshot("charge").await?, 6);
//! # Ok::<(), fusebox::BoxError>(()) }).unwrap();
//! ```
//!
//! `CircuitBreakerConfig::new("payments")` takes every default: five failures within a minute open the circuit for 30 s,
//! then one probe decides.
//!
//! # Where to go from here
//!
//! | you want | look at |
//! |---|---|
//! | to understand closed, open, half-open, generations, probes | [`guide`] |
//! | another rule of when to open | [`detect`], [`detect::Detector`] for one of your own |
//! | to decide what counts as a failure | [`classify`] |
//! | an answer other than an error when the circuit is open | the table at [`CircuitBreakerLayer`] |
//! | failed calls made again | [`RetryLayer`], [`retry`], [`backoff`], [`Budget`] |
//! | an answer when all else failed | [`FallbackLayer`] |
//! | all of it as one layer, with numbers that do for most | [`SafetyNet`] |
//! | a breaker for each host, route, tenant | [`CircuitBreakerLayer::keyed`], [`key`], [`Registry`] |
//! | no Tower: futures, closures, synchronous code | [`CircuitBreaker`] |
//! | to see what it does | [`Snapshot`], [`Event`], [`CircuitBreaker::events`], [`circuit_breaker`] for what is in them |
//! | to read in words what a configuration does | [`CircuitBreakerConfig::explain`], [`RetryConfig::explain`] |
//! | to say whether this instance is fit to be sent requests | [`health`] |
//! | to take it in hand | [`CircuitBreaker::trip`], [`CircuitBreaker::reset`], [`Override`]; a whole fleet: [`fleet::Operator`](fleet/struct.Operator.html) |
//! | time under control in tests | [`ManualClock`], or the feature `testing` for paused Tokio time |
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | brings |
//! |---|---|
//! | `http` | [`classify::http`](classify/fn.http.html), `Retry-After`, keys by host, `web::unavailable`, `web::response_of`, [`CircuitBreakerLayer::http`](CircuitBreakerLayer), [`RetryLayer::http`](RetryLayer), [`SafetyNet::http`](SafetyNet) |
//! | `grpc` | [`classify::grpc`](classify/fn.grpc.html), the same three for `grpc`, `grpc::unavailable`, `grpc::status_of`; includes `http`, `hyper` |
//! | `reqwest` | the same three for `reqwest`, `classify::http` and keys for its responses and requests; includes `http`, `hyper` |
//! | `hyper` | errors of hyper, hyper-util and h2 told apart: whose fault it was, whether the request was processed |
//! | `tower` | the same for Tower's `LoadShed` and `Timeout` |
//! | `axum` | `key::matched_path`: one breaker per route; includes `http` |
//! | `fleet` | [`fleet`](fleet/index.html): breakers that share their state; [`store`](store/index.html): where, and a suite to test stores of your own |
//! | `redis` | [`store::RedisStore`](store/struct.RedisStore.html): what a fleet shares, in Redis or Valkey; includes `fleet` |
//! | `redis-tls` | the same over TLS; includes `redis` |
//! | `postgres` | [`store::PostgresStore`](store/struct.PostgresStore.html): one in PostgreSQL; includes `fleet` |
//! | `postgres-tls` | the same over TLS; includes `postgres` |
//! | `env` | [`env::store`](env/fn.store.html): the store that the environment names; includes `fleet` |
//! | `serde` | [`settings`](settings/index.html): breakers, retries and registries from a file or the environment; snapshots as data |
//! | `cli` | the program `fusebox`, which looks at a fleet and commands it: `cargo install fusebox --features cli`; of the library nothing that its other features do not bring |
//! | `counts` | what each breaker has counted, in its [`Snapshot`]; [`telemetry`](telemetry/index.html): all of it at once, for metrics |
//! | `prometheus-client` | the same as a collector of the crate `prometheus-client`; includes `counts` |
//! | `metrics` | the same published to the facade `metrics`; includes `counts` |
//! | `opentelemetry` | the same observed by OpenTelemetry (0.33, the API alone); includes `counts` |
//! | `tracing` | events for logs, in [this table](guide#logs-what-happened-and-why) |
//! | `testing` | the system clock follows `tokio::time`, so paused time works |
//!
//! # What it costs
//!
//! A healthy call costs two looks at one atomic word: no lock, no allocation, no clock, nothing written. See the README for
//! figures beside other crates and for the command that measures them.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod attempts;
pub mod backoff;
mod breaker;
mod circuit;
pub mod classify;
pub mod clock;
#[cfg(any(feature = "counts", all(test, fusebox_loom)))]
mod counts;
#[cfg(feature = "env")]
pub mod env;
mod error;
mod error_chain;
mod explanation;
#[cfg(feature = "fleet")]
pub mod fleet;
#[cfg(feature = "grpc")]
pub mod grpc;
mod guard;
pub mod guide;
pub mod health;
mod json;
pub mod key;
mod middleware;
mod one_line;
#[cfg(doctest)]
mod pages;
mod rejected;
mod renamed;
#[cfg(feature = "fleet")]
mod replica;
#[cfg(feature = "serde")]
pub mod settings;
#[cfg(feature = "fleet")]
pub mod store;
mod sync;
#[cfg(feature = "counts")]
pub mod telemetry;
mod text;
mod time;
#[cfg(feature = "http")]
pub mod web;

pub use attempts::{Budget, RetryConfig, RetryConfigBuilder};
pub use backoff::Jitter;
pub use breaker::{
    CallError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Event, EventKind, Permit, Registry,
    Snapshot,
};
pub use circuit::{Cooldown, Outcome, Override, Probes, State, detector as detect};
pub use classify::Classify;
pub use clock::{Clock, ManualClock};
pub use error::{BoxError, ConfigError};
pub use middleware::circuit_breaker;
pub use middleware::circuit_breaker::{CircuitBreakerLayer, CircuitBreakerService};
pub use middleware::fallback;
pub use middleware::fallback::FallbackLayer;
pub use middleware::retry;
pub use middleware::retry::{RetryLayer, RetryService};
pub use middleware::safety_net;
pub use middleware::safety_net::SafetyNet;
pub use rejected::{Rejected, rejection};
#[doc(hidden)]
#[expect(deprecated, reason = "for those who come from 0.1.0")]
pub use renamed::{
    Call, Classified, Combined, CooldownContext, Counted, Events, Evidence, Generation, Horizon, LoadError, NameTaken,
    Origin, Overridden, OverrideKind, PartTally, ProbeTally, Recent, RejectReason, Run, StateScope, SystemClock, Tally,
    Timestamp, TransitionReason, Wrapped,
};
