//! Circuit breaking as Tower middleware.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod breaker;
mod circuit;
pub mod classify;
mod clock;
mod error;
#[cfg(feature = "http")]
pub mod http;
pub mod middleware;
mod sync;
mod time;

pub use breaker::{
    CallError, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Classified, Event, EventKind, Events,
    NameTaken, Overridden, Permit, Recent, Registry, Rejected, Snapshot, Wrapped, rejection,
};
pub use circuit::{
    Call, Combined, Cooldown, CooldownContext, Counted, Detector, Evidence, Generation, Horizon, LoadError, Outcome,
    Override, OverrideKind, PartTally, ProbeTally, Probes, RejectReason, Run, State, Tally, TransitionReason,
    detector as detect,
};
pub use classify::{AtHead, Classify, Scope};
pub use clock::{Clock, ManualClock, SystemClock};
pub use error::{BoxError, ConfigError};
#[cfg(feature = "http")]
pub use http::key;
pub use middleware::circuit_breaker::{CircuitBreakerLayer, CircuitBreakerService};
pub use time::Timestamp;
