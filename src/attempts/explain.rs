//! A retry's configuration in plain words.

use super::config::RetryConfig;
use super::policy::{Plain, Shared, WhenRejected};
use super::timeouts::{Timed, Timeouts};
use crate::explanation::Explanation;

impl<T: Timeouts> RetryConfig<T> {
    /// Says what the configuration does, in plain words, a rule in each line.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{Budget, RetryConfig};
    ///
    /// let config = RetryConfig::builder()
    ///     .budget(Budget::ratio(0.2).reserve_per_second(10))
    ///     .deadline(Duration::from_secs(10))
    ///     .build()?;
    /// assert_eq!(config.explain().to_string(), "\
    /// makes up to 3 retries after the first attempt
    /// waits 100ms at first, 2 times as long before each retry that follows, at most 10s; by chance less, down to nothing
    /// makes no more retries in all than 20 % of the requests of the last 10s, and 10 a second besides
    /// gives all attempts and waits 10s together
    /// waits for as long as a `Retry-After` of the dependency says, if that is longer; one beyond 300s ends the retries
    /// returns a circuit breaker's rejection at once");
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let Plain { max_retries, when_rejected, curve, .. } = self.policy.plain();
        if *max_retries == 0 {
            return Explanation::new([vec!["makes no retries".to_owned()], times(self.timeouts.limits())].concat());
        }
        let shared = self.policy.shared();
        let mut lines = vec![match max_retries {
            1 => "makes 1 retry after the first attempt".to_owned(),
            retries => format!("makes up to {retries} retries after the first attempt"),
        }];
        lines.push(match shared.and_then(|shared| shared.backoff.as_ref()) {
            Some(_) => "waits as a backoff of its own says, and ends with it".to_owned(),
            None => curve.explain(),
        });
        lines.push(in_all(shared));
        lines.extend(times(self.timeouts.limits()));
        lines.push(asked_for(self.policy.plain()));
        lines.push(rejected(*when_rejected).to_owned());
        Explanation::new(lines)
    }
}

/// What limits the retries of all calls together.
fn in_all(shared: Option<&Shared>) -> String {
    match shared.and_then(|shared| shared.budget.as_ref()) {
        Some(budget) => budget.explain(),
        None => "has no budget: nothing limits the retries of all calls together".to_owned(),
    }
}

fn times(limits: Timed) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(limits.attempt.map(|limit| format!("gives each attempt {limit:?}")));
    lines.push(match limits.deadline {
        Some(limit) => format!("gives all attempts and waits {limit:?} together"),
        None if limits.attempt.is_some() => {
            "has no deadline: a call takes no longer than its attempts and waits together".to_owned()
        }
        None => "has no deadline: nothing limits the time of a call".to_owned(),
    });
    lines
}

fn asked_for(plain: &Plain) -> String {
    let cap = plain.retry_after_cap();
    if cap.is_zero() {
        return "ends the retries where the dependency sends a `Retry-After`".to_owned();
    }
    format!(
        "waits for as long as a `Retry-After` of the dependency says, if that is longer; one beyond {cap:?} ends the retries"
    )
}

const fn rejected(when: WhenRejected) -> &'static str {
    match when {
        WhenRejected::Return => "returns a circuit breaker's rejection at once",
        WhenRejected::Wait => "waits after a circuit breaker's rejection until the breaker may let a call through",
        WhenRejected::Retry => "retries a circuit breaker's rejection like any other failure",
    }
}
