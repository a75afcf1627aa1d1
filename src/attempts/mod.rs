//! Trying again: what to do after an attempt failed. Knows neither Tower nor HTTP.

mod attempt_end;
mod budget;
mod builder;
mod caller_deadline;
mod calls_counter;
mod config;
mod deliver;
mod event;
mod explain;
mod kept;
#[cfg(all(test, fusebox_loom))]
mod loom_tests;
#[cfg(feature = "http")]
mod open_call;
mod policy;
mod rules;
mod run;
mod stats;
mod time_left;
mod timed_out;
mod timeouts;
#[cfg(feature = "tracing")]
mod trace;
mod wait;

pub use budget::Budget;
pub use builder::RetryConfigBuilder;
pub use config::RetryConfig;
pub use event::{RetryEvent, RetryEventKind, StopReason};
pub use policy::WhenRejected;
pub use stats::{RetryCounts, RetryStats};
pub use timed_out::{TimeLimit, TimedOut};
pub use timeouts::{MapTimeout, OnTimeout, Timed, Timeouts, Untimed};

pub(crate) use caller_deadline::CallerDeadline;
#[cfg(feature = "http")]
pub(crate) use deliver::Head;
pub(crate) use deliver::{AnyAnswer, Deliver, Delivered};
#[cfg(feature = "http")]
pub(crate) use open_call::OpenCall;
pub(crate) use rules::Repeat;
pub(crate) use run::{Run, Source, run_blocking};
#[cfg(feature = "counts")]
pub(crate) use stats::budgets_by_name;
#[cfg(feature = "http")]
pub(crate) use time_left::Rest;
pub(crate) use timeouts::{Limits, Waited};
