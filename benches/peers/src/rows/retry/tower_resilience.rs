//! It always sleeps, so it has no column without timers.

use super::{RETRIES, WAIT, flaky};
use crate::caller::{Req, inner};
use crate::rows::{Column, Row, Setup, tower_resilience};
use std::time::Duration;
use tower_layer::Layer;
use tower_resilience_retry::RetryLayer;

/// Its maximum includes the first attempt.
fn layer<E: Send + 'static>(delay: Duration) -> RetryLayer<Req, u32, E> {
    RetryLayer::<Req, u32, E>::builder().max_attempts(RETRIES as usize + 1).fixed_backoff(delay).build()
}

pub fn row() -> Row {
    Row::empty("tower-resilience-retry", "tower-resilience-retry 0.14.0")
        .service(Column::FirstTry, || layer(Duration::ZERO).layer(inner()))
        .service_waits(|| layer(WAIT).layer(flaky()))
}

pub fn stack() -> Row {
    Row::empty("tower-resilience-both", "tower-resilience-retry over its breaker")
        .service(Column::Stacked, || layer(Duration::ZERO).layer(tower_resilience::service(Setup::STEADY, false)))
}
