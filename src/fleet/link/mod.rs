//! One breaker's line to the store: what is on its way, what waits, and until when.

mod answer;
mod line;
mod plan;

pub(super) use line::{Link, Plan};
