//! The breaker as users hold it: configuration, handle, permits, events, registry.

mod alarm;
mod all;
mod asked;
mod builder;
mod call;
mod call_error;
mod call_future;
mod call_times;
mod cell;
#[cfg(feature = "counts")]
mod cell_view;
mod config;
mod control;
#[cfg(feature = "counts")]
mod counts;
mod events;
mod explain;
#[cfg(feature = "fleet")]
mod fleet;
mod guarded;
#[cfg(feature = "http")]
mod guarded_body;
mod handle;
mod home;
mod keyed;
#[cfg(all(test, fusebox_loom))]
mod loom_tests;
#[cfg(feature = "counts")]
mod named_breakers;
mod permit;
mod readers;
mod registration;
mod registry;
mod registry_contents;
#[cfg(feature = "counts")]
mod registry_counts;
mod registry_events;
#[cfg(feature = "counts")]
mod registry_list;
mod registry_name;
#[cfg(feature = "http")]
mod response_permit;
mod settings;
#[cfg(feature = "fleet")]
mod shared;
mod snapshot;
mod start_events;
#[cfg(feature = "counts")]
mod survey;
mod trouble;
mod unguarded;
#[cfg(feature = "http")]
mod upload;
mod waiter;
mod watch;

pub use builder::CircuitBreakerConfigBuilder;
pub use call::{Classified, Wrapped};
pub use call_error::CallError;
pub use call_future::{Apply, CallFuture, CallOrFuture};
pub use config::CircuitBreakerConfig;
#[cfg(feature = "counts")]
pub use counts::{Counts, RejectionCount, TransitionCount};
pub use events::{Event, EventKind, Events};
#[cfg(feature = "http")]
pub use guarded_body::GuardedBody;
pub use handle::{CircuitBreaker, Overridden};
pub use permit::Permit;
pub use registration::NameTaken;
pub use registry::Registry;
pub use snapshot::{Recent, Snapshot};
#[cfg(feature = "http")]
pub use upload::UploadBody;
pub use watch::Watch;

pub(crate) use alarm::Alarm;
pub(crate) use all::each;
#[cfg(feature = "serde")]
pub(crate) use asked::Asked;
pub(crate) use cell::Refusal;
#[cfg(all(feature = "counts", feature = "fleet"))]
pub(crate) use cell_view::FleetSight;
#[cfg(feature = "counts")]
pub(crate) use events::lost_news;
pub(crate) use guarded::Guarded;
#[cfg(feature = "counts")]
pub(crate) use survey::{Survey, SurveyedBreaker, SurveyedRegistry};
pub(crate) use trouble::{Sharing, Trouble};
#[cfg(feature = "http")]
pub(crate) use upload::{GuardedUpload, Upload};
pub(crate) use waiter::Waiter;
