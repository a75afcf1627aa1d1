//! The breaker as users hold it: configuration, handle, permits, events, registry.

mod admission;
mod builder;
mod call;
mod channel;
mod config;
#[cfg(feature = "serde")]
mod config_file;
mod core;
mod event;
mod events;
mod guarded;
#[cfg(feature = "http")]
mod guarded_body;
mod handle;
mod hub;
mod inspect;
#[cfg(all(test, fusebox_loom))]
mod loom_tests;
#[cfg(feature = "fleet")]
mod membership;
mod pending;
mod permit;
mod registry;
mod rejected;
mod report;
mod settings;
mod slots;
mod snapshot;
mod waiter;
mod watch;
mod word;

pub use builder::CircuitBreakerConfigBuilder;
pub use call::{CallError, Classified, Wrapped};
pub use config::CircuitBreakerConfig;
pub use event::{Event, EventKind};
pub use events::Events;
#[cfg(feature = "http")]
pub use guarded_body::GuardedBody;
pub use handle::{CircuitBreaker, Overridden};
pub use permit::Permit;
pub use registry::{NameTaken, Registry};
pub use rejected::{Rejected, rejection};
pub use snapshot::{Recent, Snapshot};
pub use watch::Watch;

pub(crate) use admission::Refusal;
pub(crate) use guarded::Guarded;
pub(crate) use rejected::rejection_in;
pub(crate) use waiter::Waiter;
