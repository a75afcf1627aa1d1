//! What a breaker is made from.

use std::fmt;
use std::sync::Arc;

use super::builder::CircuitBreakerConfigBuilder;
use super::settings::Settings;
use crate::circuit::Detector;

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
/// With the feature `serde` it comes from any format and, by crates such as `config` or `figment`, from the
/// environment; durations carry their unit and unknown fields are refused:
///
/// ```toml
/// name = "payments"
/// cooldown = { min = "5s", max = "5m" }     # or "30s"
/// probes = { needed = 3, of = 5, concurrent = 2, deadline = "30s" }
/// abandoned_after = "10s"
///
/// [detector]                                # failures, failure_rate, slow_call_rate, consecutive_failures,
/// type = "any"                              # any, all; also c-breaker's time_based, sliding_window, combined
/// of = [
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
/// | `clock` | the system's |
pub struct CircuitBreakerConfig {
    pub(super) name: Arc<str>,
    pub(super) detector: Box<dyn Detector>,
    pub(super) settings: Arc<Settings>,
}

impl CircuitBreakerConfig {
    /// Takes the defaults. An empty name becomes `unnamed`; [`builder`](Self::builder) refuses it instead.
    ///
    /// ```
    /// use fusebox::CircuitBreakerConfig;
    ///
    /// assert_eq!(CircuitBreakerConfig::new("payments").name(), "payments");
    /// assert_eq!(CircuitBreakerConfig::new("").name(), "unnamed");
    /// assert!(CircuitBreakerConfig::builder("").build().is_err());
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let name = Some(name.into()).filter(|name| !name.is_empty());
        let (detector, mut settings) = CircuitBreakerConfigBuilder::defaults();
        settings.choose_clock(&*detector);
        Self { name: name.as_deref().unwrap_or("unnamed").into(), detector, settings: settings.into() }
    }

    /// Starts a configuration of your own. The name is the breaker's identity: in errors, events and metrics, and in the
    /// registry.
    pub fn builder(name: impl Into<String>) -> CircuitBreakerConfigBuilder {
        CircuitBreakerConfigBuilder::new(name.into())
    }

    /// Goes on building, for example to add listeners to a configuration that came from a file.
    ///
    /// ```
    /// use fusebox::CircuitBreakerConfig;
    ///
    /// let from_file = CircuitBreakerConfig::new("payments");
    /// let config = from_file.into_builder().on_event(|event| eprintln!("{event}")).build()?;
    /// assert_eq!(config.name(), "payments");
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn into_builder(self) -> CircuitBreakerConfigBuilder {
        CircuitBreakerConfigBuilder::from_config(self)
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for CircuitBreakerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = &self.settings.rules;
        f.debug_struct("CircuitBreakerConfig")
            .field("name", &self.name)
            .field("detector", &self.detector)
            .field("cooldown", &rules.cooldown)
            .field("probes", &rules.probes)
            .field("retry_after_cap", &rules.retry_after_cap)
            .field("abandoned_after", &rules.abandoned_after)
            .field("execution_log", &rules.log)
            .field("call_events", &self.settings.every_call)
            .field("clock", &self.settings.clock)
            .field("listeners", &self.settings.listeners)
            .finish()
    }
}
