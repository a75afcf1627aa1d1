//! A breaker's configuration in plain words.

use super::config::CircuitBreakerConfig;
use crate::circuit::{Override, Rules, detector as detect};
use crate::explanation::Explanation;

impl CircuitBreakerConfig {
    /// Says what the configuration does, in plain words, a rule in each line.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{detect, CircuitBreakerConfig, Cooldown, Probes};
    ///
    /// let s = Duration::from_secs;
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .detector(detect::consecutive_failures(5).or(detect::failure_rate(0.5).within(s(60)).min_calls(20)))
    ///     .cooldown(s(30))
    ///     .probes(Probes::consecutive(2))
    ///     .abandoned_after(s(10))
    ///     .build()?;
    /// assert_eq!(config.explain().to_string(), "\
    /// opens when any of these holds:
    ///   - 5 calls in a row failed
    ///   - at least 50 % of the calls within 60s failed, not before 20 calls
    ///   asked after each call that has failed: a good one that completes the least number opens nothing
    /// stays open for 30s, or for as long as a `Retry-After` of the dependency says, if that is longer, up to 300s
    /// then sends 2 probes, one at a time: 2 successes close it, any failure opens it again
    ///   a probe has 30s to answer, later is a failure
    /// counts a call that is given up after waiting 10s or longer as a failure, one given up sooner neither way
    ///   three probes in a row that are given up without an answer open it again");
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub fn explain(&self) -> Explanation {
        let mut lines = Vec::new();
        let rules = &self.settings.rules;
        lines.extend(self.settings.initial_override.as_ref().map(held));
        detect::explain(&*self.detector, &mut lines);
        rules.cooldown.explain(rules.retry_after_cap, &mut lines);
        rules.probes.explain(&mut lines);
        lines.push(given_up(rules));
        lines.push("  three probes in a row that are given up without an answer open it again".to_owned());
        if let Some(outcomes) = &self.settings.outcomes {
            lines.push(format!("behind a layer for HTTP or gRPC, {}", outcomes.explain()));
        }
        #[cfg(feature = "fleet")]
        if let Some(store) = &self.settings.store {
            let store = crate::guard::guarded(|| store.describe()).unwrap_or_default();
            let fleet = self.settings.fleet.clone().unwrap_or_default();
            fleet.explain(&store, &mut lines);
            if self.settings.has_default_rule && fleet.is_pooled() {
                lines.push(
                    "  its rule is the default, meant for one process: choose a rate with a least number of calls"
                        .into(),
                );
            }
        }
        Explanation::new(lines)
    }
}

/// How a breaker is held from the start, and until when.
fn held(order: &Override) -> String {
    let until = order.lasts().map_or_else(|| "until an operator resumes".to_owned(), |lasts| format!("for {lasts:?}"));
    format!("is held from the start, by this instance alone and {until}: {order}")
}

fn given_up(rules: &Rules) -> String {
    match rules.abandoned_after {
        Some(limit) => {
            format!(
                "counts a call that is given up after waiting {limit:?} or longer as a failure, one given up sooner neither way"
            )
        }
        None => {
            "counts a call that is given up neither way, however long it ran: one that hangs opens nothing".to_owned()
        }
    }
}
