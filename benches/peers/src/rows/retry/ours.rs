use super::{RETRIES, WAIT, counted, flaky, tower};
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

/// The default, and a budget that pays so many retries for each call.
fn budgeted(config: RetryConfigBuilder, ratio: u32, service: Inner) -> RetryService<Inner> {
    plain(config.budget(Budget::ratio(ratio.into())), service)
}

pub fn rows() -> [Row; 3] {
    [
        Row::empty(DEFAULT, "**fusebox** retry, default")
            .service(Column::FirstTry, || RetryLayer::new(RetryConfig::default()).layer(inner()))
            .service(Column::TwoRetries, || plain(fixed(Duration::ZERO), flaky()))
            .service_waits(|| plain(fixed(WAIT), flaky())),
        Row::empty("fusebox-retry-budget", "**fusebox** retry, default and a budget")
            .service(Column::FirstTry, || budgeted(RetryConfig::builder(), RETRIES, inner()))
            .service(Column::TwoRetries, || budgeted(fixed(Duration::ZERO), RETRIES, flaky()))
            .service_waits(|| budgeted(fixed(WAIT), RETRIES, flaky()))
            .unpaid(|| budgeted(fixed(Duration::ZERO), 0, counted())),
        Row::empty("fusebox-retry-full", "**fusebox** retry, deadline, attempt timeout, budget")
            .service(Column::FirstTry, || full(RetryConfig::builder(), inner()))
            .service(Column::TwoRetries, || full(fixed(Duration::ZERO), flaky()))
            .service_waits(|| full(fixed(WAIT), flaky())),
    ]
}

pub fn stacks() -> [Row; 3] {
    let breaker = || CircuitBreakerLayer::new(ours::last_calls("api", Setup::STEADY).unwrap());
    let retry = || RetryLayer::new(RetryConfig::default());
    [
        Row::empty("tower-retry-fusebox", "tower::retry over **fusebox** breaker")
            .service(Column::Stacked, move || tower::over(breaker().map_rejection(|_| Boom::OPEN).layer(inner()))),
        Row::empty(STACK, "**fusebox** retry over **fusebox** breaker, typed rejection")
            .service(Column::Stacked, move || retry().layer(breaker().map_rejection(ours::open).layer(inner()))),
        Row::empty("fusebox-both-boxed", "the same, boxed errors")
            .service(Column::Stacked, move || retry().layer(breaker().layer(inner()))),
    ]
}
