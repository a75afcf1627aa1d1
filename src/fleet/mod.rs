//! Sharing a breaker's state with every instance of an application.
//!
//! Give a breaker a [`Store`](crate::store::Store) and it shares its state with every breaker of the same name over the same
//! store: they trip, probe and recover as one. [`Fleet`] says how.
//!
//! ```
//! use std::sync::Arc;
//! use fusebox::{store::MemoryStore, CircuitBreaker, CircuitBreakerConfig, State};
//!
//! # tokio_test::block_on(async {
//! let store = Arc::new(MemoryStore::new()); // for a fleet of processes: Redis, Postgres, or a store of your own
//! let instance = || {
//!     let config = CircuitBreakerConfig::builder("payments").store(store.clone()).build()?;
//!     Ok::<_, fusebox::ConfigError>(CircuitBreaker::new(config))
//! };
//! let (one, another) = (instance()?, instance()?);
//! one.flush().await; // both know the store; nothing else needs to be waited for
//! another.flush().await;
//!
//! for _ in 0..3 {
//!     one.acquire()?.failure();
//! }
//! for _ in 0..2 {
//!     another.acquire()?.failure(); // five within a minute, by default
//! }
//! one.flush().await;
//! another.flush().await;
//! one.flush().await;
//! assert_eq!((one.state(), another.state()), (State::Open, State::Open));
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # Commands
//!
//! [`trip`](crate::CircuitBreaker::trip), [`reset`](crate::CircuitBreaker::reset) and
//! [overrides](crate::CircuitBreaker::set_override) take effect here at once, and in the whole fleet as soon as the
//! store has them; the instance that gave one tells of both. Given while the store is away, an override reaches the
//! fleet when the store is back, with what is left of its time; to trip and to reset are void after a minute.
//!
//! A program that has none of the application's breakers looks and commands over the store alone: [`Operator`].
//!
//! # What no call ever does
//!
//! No call waits for the store, not even a probe. Calls look at this instance's view of the fleet; an engine on a thread of
//! its own, one for each store, tells the others what this instance has seen and learns what they decided. Where the
//! store is slow, down, wiped or wrong, calls go on: see [`WhenDown`].

mod config;
mod engine;
mod flushes;
mod hearing;
mod identity;
mod impairments;
mod keys;
mod loads;
mod member;
mod members;
#[cfg(feature = "counts")]
mod operation_counts;
mod operator;
mod outages;
mod polls;
mod pulse;
mod scheduler;
#[cfg(all(test, not(fusebox_loom)))]
mod simulation;
mod store_health;
mod token_bucket;
mod watchdog;

pub use crate::circuit::{Advice, Verdict};
pub use crate::replica::{FleetStatus, WhenDown};
pub use config::Fleet;
pub use engine::flush;
pub use operator::{
    FleetBreaker, FleetChange, FleetFilter, FleetProbes, FleetRecord, FleetSnapshot, FleetTransition, FleetWatch,
    Operator, OperatorError, RecordTrouble, RecordTroubleKind, Right, StoreCheck,
};

pub(crate) use engine::{Engine, Found, Message, StoreState, stores};
pub(crate) use identity::random;
pub(crate) use member::{Member, MemberId};
#[cfg(feature = "counts")]
pub(crate) use operation_counts::{Operation, OperationCounts};
