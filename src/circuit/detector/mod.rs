//! What decides a trip.
//!
//! Start with one of the functions here, say over which calls it judges, and combine with `.or(..)` and `.and(..)`:
//!
//! ```
//! use std::time::Duration;
//! use fusebox::detect;
//!
//! let s = Duration::from_secs;
//! detect::failures(5).within(s(60));                                // five failures within a minute
//! detect::failures(3).of_last(10);                                  // three of the last ten calls
//! detect::failure_rate(0.5).of_last(100).min_calls(20);             // half of the last hundred
//! detect::failure_rate(0.5).within(s(60)).min_calls(100);           // half of the last minute's calls
//! detect::slow_call_rate(0.8).slower_than(s(2)).within(s(60));      // 80 % took two seconds or longer
//! detect::consecutive_failures(5);
//! detect::failures(5).within(s(60)).or(detect::failure_rate(0.5).of_last(20));
//! ```
//!
//! Thresholds are met by equality (`>=`). A verdict is given after a failure or a slow call only, never after a plain
//! success: what a success brings about waits for the next failure.

mod combined;
mod consecutive;
mod contract;
mod failure_times;
mod judged;
#[cfg(test)]
mod never_trips;
mod of_last;
mod rates;
mod shape;
mod tally;
mod within;
mod words;

pub use super::codec::LoadError;
pub use super::evidence::Evidence;
pub use super::horizon::Horizon;
pub use super::outcome::Call;
pub use super::run::Run;
pub use combined::Combined;
pub use consecutive::{ConsecutiveFailures, consecutive_failures};
pub use contract::{BoxedClone, Detector};
pub use failure_times::FailureTimes;
pub use of_last::OfLast;
pub use rates::{FailureRate, Failures, SlowCallRate, SlowCallRateOver, failure_rate, failures, slow_call_rate};
#[cfg(feature = "fleet")]
pub(crate) use shape::Limit;
pub use shape::{Over, Shape, Threshold};
pub use tally::{Counted, PartTally, Tally};
pub use within::Within;

pub(crate) use words::explain;

#[cfg(test)]
pub(crate) use never_trips::never_trips;
