//! What a breaker is made from.

use std::fmt;
use std::sync::Arc;

use super::settings::Settings;
use crate::circuit::Detector;
use crate::classify::Outcomes;

/// What a breaker is made from: its name, its detector and its rules, all checked.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{detect, CircuitBreakerConfig};
///
/// let defaults = CircuitBreakerConfig::new("search");
/// let mine = CircuitBreakerConfig::builder("payments")
///     .detector(detect::failure_rate(0.5).of_last(100).min_calls(20))
///     .cooldown(Duration::from_secs(10))
///     .build()?;
/// assert_eq!((defaults.name(), mine.name()), ("search", "payments"));
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
///
/// It can be cloned and [named](Self::named) anew, so that one serves as the template of many: see
/// [`Registry::of`](crate::Registry::of).
///
/// With the feature `serde` it comes from any format and, by crates such as `config` or `figment`, from the environment: by
/// itself, or from one whole file of [`settings`](settings/index.html). Durations carry their unit and unknown fields
/// are refused:
///
/// ```toml
/// name = "payments"
/// cooldown = { min = "5s", max = "5m" }     # or "30s"
/// probes = { needed = 3, of = 5, concurrent = 2, deadline = "30s" }
/// abandoned_after = "10s"
///
/// [detector]                                # failures, failure_rate, slow_call_rate, consecutive_failures,
/// any = [                                   # any, all; also c-breaker's time_based, sliding_window, combined
///     { type = "failure_rate", rate = 0.5, of_last = 100, min_calls = 20 },
///     { type = "slow_call_rate", rate = 0.8, slower_than = "2s", within = "60s" },
/// ]
/// ```
///
/// # Default
///
/// | setting | default |
/// |---|---|
/// | `detector` | `failures(5).within(60s)` |
/// | `cooldown` | 30 s |
/// | `probes` | `Probes::one()`, each with 30 s to answer |
/// | `retry_after_cap` | 5 min |
/// | `abandoned_after` | off |
/// | `execution_log` | what the detector's own window holds |
/// | `call_events` | off |
/// | `initial_override` | off |
/// | `outcomes` | off |
/// | `clock` | the system's |
///
/// The default detector is meant for one process. Where a store shares the state of a fleet, it counts the failures of all
/// instances: choose a rate with a least number of calls there.
#[derive(Clone)]
pub struct CircuitBreakerConfig {
    pub(super) name: Arc<str>,
    pub(super) detector: Box<dyn Detector>,
    pub(super) settings: Arc<Settings>,
}

impl CircuitBreakerConfig {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns what counts otherwise than a classifier says by itself; see
    /// [`outcomes`](crate::CircuitBreakerConfigBuilder::outcomes).
    ///
    /// The code that asks is taken to heed them. Where none has asked by the time that a breaker is made, the breaker
    /// [says so](crate::circuit_breaker::Advice::OutcomesUnheeded).
    #[must_use]
    pub fn outcomes(&self) -> Outcomes {
        if let Some(asked) = &self.settings.asked {
            asked.mark();
        }
        self.settings.outcomes.as_deref().copied().unwrap_or_default()
    }
}

impl fmt::Debug for CircuitBreakerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.settings.rules;
        let mut text = f.debug_struct("CircuitBreakerConfig");
        text.field("name", &self.name)
            .field("detector", &self.detector)
            .field("cooldown", &rules.cooldown)
            .field("probes", &rules.probes)
            .field("retry_after_cap", &rules.retry_after_cap)
            .field("abandoned_after", &rules.abandoned_after)
            .field("execution_log", &rules.log)
            .field("call_events", &self.settings.every_call)
            .field("initial_override", &self.settings.initial_override)
            .field("outcomes", &self.settings.outcomes)
            .field("clock", &self.settings.clock)
            .field("listeners", &self.settings.listeners);
        #[cfg(feature = "fleet")]
        if let Some(store) = &self.settings.store {
            text.field("store", store).field("fleet", &self.settings.fleet.clone().unwrap_or_default());
        }
        text.finish()
    }
}
