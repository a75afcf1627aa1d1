//! Delay curves: how waits grow, and how they are spread so that callers do not come back all at once.

mod exponential;
mod jitter;

pub(crate) use exponential::Exponential;
pub(crate) use jitter::{draw, spread};
