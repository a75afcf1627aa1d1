//! The settings a breaker is judged by, apart from its detector.

use std::time::Duration;

use super::window::CountWindow;
use super::{Cooldown, Outcome, Probes, Slowness};
use crate::error::ConfigError;

/// The settings a breaker is judged by, apart from its detector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rules {
    pub(crate) cooldown: Cooldown,
    pub(crate) probes: Probes,
    /// No `Retry-After` keeps a circuit open longer than this.
    pub(crate) retry_after_cap: Duration,
    /// A call given up after the dependency was silent for at least this long is a failure.
    pub(crate) abandoned_after: Option<Duration>,
    /// What the detector takes for slow, kept here because it is asked of probes too.
    pub(crate) slowness: Slowness,
    /// How many outcomes the execution log holds; 0 is what the detector's window holds anyway.
    pub(crate) log: u32,
}

impl Rules {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.cooldown.check()?;
        self.probes.check()?;
        if self.abandoned_after == Some(Duration::ZERO) {
            return Err(ConfigError::new("abandoned_after", &"0s", "more than zero"));
        }
        if self.log > CountWindow::MAX_SIZE {
            return Err(ConfigError::new(
                "execution_log",
                &self.log,
                format!("at most {} calls", CountWindow::MAX_SIZE),
            ));
        }
        Ok(())
    }

    /// Tells whether a rule asks how long calls take.
    pub(crate) fn needs_duration(&self) -> bool {
        self.abandoned_after.is_some() || self.slowness.least().is_some()
    }

    /// How far off times may be: a sixty-fourth of the shortest one that matters, zero where durations are measured.
    pub(crate) fn time_tolerance(&self) -> Duration {
        if self.needs_duration() {
            return Duration::ZERO;
        }
        self.cooldown.time_tolerance().min(self.probes.time_tolerance())
    }

    /// Tells whether a call that took this long is slow.
    pub(crate) fn is_slow(&self, took: Option<Duration>) -> bool {
        self.slowness.passed(took) > 0
    }

    /// What a call counts as that ended so after such a time of silence: one that was given up too late has failed.
    pub(crate) fn counts_as(&self, outcome: Outcome, silence: Option<Duration>) -> Outcome {
        let is_late = self.abandoned_after.zip(silence).is_some_and(|(limit, silence)| silence >= limit);
        if outcome == Outcome::Cancelled && is_late { Outcome::Failure } else { outcome }
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            cooldown: Cooldown::default(),
            probes: Probes::default(),
            retry_after_cap: Duration::from_secs(300),
            abandoned_after: None,
            slowness: Slowness::default(),
            log: 0,
        }
    }
}
