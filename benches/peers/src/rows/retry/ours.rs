use super::{RETRIES, WAIT, flaky, tower};
use crate::caller::{Boom, Inner, inner};
use crate::rows::{Column, Row, Setup, ours};
use fusebox::classify::Errors;
use fusebox::retry::{Cloned, Timed};
use fusebox::{Budget, CircuitBreakerLayer, RetryConfig, RetryConfigBuilder, RetryLayer, RetryService, backoff};
use std::time::Duration;
use tower_layer::Layer;

pub const DEFAULT: &str = "fusebox-retry";
pub const STACK: &str = "fusebox-both";

/// Everything that is off by default and costs a successful call something; the budget always pays.
fn full(config: RetryConfigBuilder, service: Inner) -> RetryService<Inner, Errors, Cloned, Timed> {
    let config = config
        .deadline(Duration::from_secs(30))
        .attempt_timeout(Duration::from_secs(5))
        .budget(Budget::ratio(RETRIES.into()))
        .build();
    RetryLayer::new(config.unwrap()).layer(service)
}

fn plain(config: RetryConfigBuilder, service: Inner) -> RetryService<Inner> {
    RetryLayer::new(config.build().unwrap()).layer(service)
}

fn fixed(delay: Duration) -> RetryConfigBuilder {
    RetryConfig::builder().max_retries(RETRIES).backoff(backoff::fixed(delay))
}

pub fn rows() -> [Row; 2] {
    [
        Row::retry(DEFAULT, "**fusebox** retry, default")
            .service(Column::FirstTry, || RetryLayer::new(RetryConfig::default()).layer(inner()))
            .service(Column::TwoRetries, || plain(fixed(Duration::ZERO), flaky()))
            .service_waits(|| plain(fixed(WAIT), flaky())),
        Row::retry("fusebox-retry-full", "**fusebox** retry, deadline, attempt timeout, budget")
            .service(Column::FirstTry, || full(RetryConfig::builder(), inner()))
            .service(Column::TwoRetries, || full(fixed(Duration::ZERO), flaky()))
            .service_waits(|| full(fixed(WAIT), flaky())),
    ]
}

pub fn stacks() -> [Row; 3] {
    let breaker = || CircuitBreakerLayer::new(ours::last_calls("api", Setup::STEADY).unwrap());
    let retry = || RetryLayer::new(RetryConfig::default());
    [
        Row::retry("tower-retry-fusebox", "tower::retry over **fusebox** breaker")
            .service(Column::Stacked, move || tower::over(breaker().map_rejection(|_| Boom::OPEN).layer(inner()))),
        Row::retry(STACK, "**fusebox** retry over **fusebox** breaker, typed rejection")
            .service(Column::Stacked, move || retry().layer(breaker().map_rejection(ours::open).layer(inner()))),
        Row::retry("fusebox-both-boxed", "the same, boxed errors")
            .service(Column::Stacked, move || retry().layer(breaker().layer(inner()))),
    ]
}
