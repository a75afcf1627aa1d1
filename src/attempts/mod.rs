//! Trying again: what to do after an attempt failed. Knows neither Tower nor HTTP.

mod budget;
mod builder;
mod config;
mod deliver;
mod event;
mod explain;
#[cfg(all(test, fusebox_loom))]
mod loom_tests;
#[cfg(feature = "http")]
mod open_call;
mod policy;
mod rest;
mod rules;
mod run;
mod start;
mod stats;
mod timeouts;
mod verdict;
mod wait;

pub use budget::Budget;
pub use builder::RetryConfigBuilder;
pub use config::RetryConfig;
pub use event::{RetryEvent, RetryEventKind, StopReason};
pub use policy::WhenRejected;
pub use stats::{RetryCounts, RetryStats};
pub use timeouts::{MapTimeout, OnTimeout, TimeLimit, Timed, TimedOut, Timeouts, Untimed};

#[cfg(feature = "http")]
pub(crate) use deliver::Head;
pub(crate) use deliver::{AnyAnswer, Deliver, Delivered};
#[cfg(feature = "http")]
pub(crate) use open_call::OpenCall;
#[cfg(feature = "http")]
pub(crate) use rest::Rest;
pub(crate) use rules::Repeat;
pub(crate) use run::{Run, Source, run_blocking};
pub(crate) use start::{OwnDeadline, Waited};
pub(crate) use timeouts::Limits;
