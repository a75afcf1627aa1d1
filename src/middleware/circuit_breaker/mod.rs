//! The circuit breaker as a Tower layer.
//!
//! [`CircuitBreakerLayer`] is where to begin, or [`CircuitBreaker`](crate::CircuitBreaker) where there is no Tower; the
//! other types are what their methods take and return, here to be written down in signatures and fields:
//!
//! ```
//! use fusebox::circuit_breaker::{CircuitBreakerLayer, CircuitBreakerService, WaitService};
//! use fusebox::CircuitBreakerConfig;
//! use tower::Layer;
//!
//! struct Client; // some service
//!
//! enum Guarded {
//!     Rejecting(CircuitBreakerService<Client>),
//!     Waiting(WaitService<Client>),
//! }
//! fn guard(client: Client, wait: bool) -> Guarded {
//!     let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::new("payments"));
//!     match wait {
//!         true => Guarded::Waiting(layer.wait_when_open().layer(client)),
//!         false => Guarded::Rejecting(layer.layer(client)),
//!     }
//! }
//! assert!(matches!(guard(Client, true), Guarded::Waiting(_)));
//! assert!(matches!(guard(Client, false), Guarded::Rejecting(_)));
//! ```

mod future;
mod layer;
#[cfg(feature = "http")]
mod presets;
mod readiness;
mod reject;
mod select;
mod service;
#[cfg(feature = "http")]
mod upload;
mod wait;

pub use crate::breaker::{
    Apply, CallFuture, CallOrFuture, Classified, Events, NameTaken, Overridden, Recent, Watch, Wrapped,
};
#[cfg(feature = "counts")]
pub use crate::breaker::{Counts, RejectionCount, TransitionCount};
#[cfg(feature = "http")]
pub use crate::breaker::{GuardedBody, UploadBody};
pub use crate::circuit::{
    Advice, CooldownContext, Generation, Origin, OverrideKind, PartTally, ProbeTally, RejectReason, StandingOverride,
    StateScope, TransitionReason,
};
pub use crate::explanation::Explanation;
pub use future::ResponseFuture;
pub use layer::{BreakerLayer, CircuitBreakerLayer};
pub use readiness::{GiveBack, KeepsReadiness, ReleasesReadiness};
pub use reject::{Boxed, Fallback, MapRejection, OnReject, RespondWith};
#[doc(hidden)]
pub use select::{Breakers, ByAnyKey};
pub use select::{By, ByOwned, One, Select};
pub use service::CircuitBreakerService;
#[cfg(feature = "http")]
pub use upload::{UploadFuture, UploadLayer, UploadRequest, UploadService};
pub use wait::{WaitFuture, WaitLayer, WaitService};
