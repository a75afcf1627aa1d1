//! Building a configuration.

use std::sync::Arc;
use std::time::Duration;

use super::config::CircuitBreakerConfig;
use super::event::Event;
use super::handle::CircuitBreaker;
use super::settings::{Listener, Settings};
use crate::circuit::{Cooldown, Detector, Probes, State, detector as detect};
use crate::clock::{Clock, ClockSource};
use crate::error::ConfigError;

/// Builds a [`CircuitBreakerConfig`]; see there for the defaults.
#[derive(Debug)]
#[must_use = "call `.build()`"]
pub struct CircuitBreakerConfigBuilder {
    name: String,
    detector: Box<dyn Detector>,
    settings: Settings,
}

impl CircuitBreakerConfigBuilder {
    pub(super) fn new(name: String) -> Self {
        let (detector, settings) = Self::defaults();
        Self { name, detector, settings }
    }

    pub(super) fn from_config(config: CircuitBreakerConfig) -> Self {
        let CircuitBreakerConfig { name, detector, settings } = config;
        Self { name: name.to_string(), detector, settings: Arc::unwrap_or_clone(settings) }
    }

    pub(super) fn defaults() -> (Box<dyn Detector>, Settings) {
        (Box::new(detect::failures(5).within(Duration::from_secs(60))), Settings::default())
    }

    /// Sets what decides a trip: see [`detect`](crate::detect), or a [`Detector`] of your own.
    pub fn detector(self, detector: impl Detector) -> Self {
        self.boxed_detector(Box::new(detector))
    }

    pub(super) fn boxed_detector(mut self, detector: Box<dyn Detector>) -> Self {
        self.detector = detector;
        self
    }

    /// Sets how long the circuit stays open: a [`Duration`] (zero is legal) or a [`Cooldown`] that grows.
    pub fn cooldown(mut self, cooldown: impl Into<Cooldown>) -> Self {
        self.settings.rules.cooldown = cooldown.into();
        self
    }

    /// Sets how many probes go out while half-open and what they must show.
    pub const fn probes(mut self, probes: Probes) -> Self {
        self.settings.rules.probes = probes;
        self
    }

    /// Counts a call that is given up (its future or permit dropped) after at least this long as a failure.
    ///
    /// A dependency that hangs never answers; what ends the call is a timeout further out, and all the breaker sees is
    /// that the call was dropped. Without this setting a drop is evidence of nothing, and a hung dependency behind an
    /// outer timeout would never trip. Set it a little below that timeout. Drops sooner than that still count neither
    /// way: they are users who closed the tab.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, ManualClock, State};
    ///
    /// let clock = ManualClock::new();
    /// let config = CircuitBreakerConfig::builder("search")
    ///     .detector(detect::failures(1).of_last(10))
    ///     .abandoned_after(Duration::from_secs(10))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let breaker = CircuitBreaker::new(config);
    ///
    /// let hanging = breaker.acquire()?;
    /// clock.advance(Duration::from_secs(10));
    /// drop(hanging);
    /// assert_eq!(breaker.state(), State::Open);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn abandoned_after(mut self, limit: Duration) -> Self {
        self.settings.rules.abandoned_after = Some(limit);
        self
    }

    /// Sets the longest time that a `Retry-After` of the dependency may keep the circuit open. Zero: it is not asked.
    pub const fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.settings.rules.retry_after_cap = cap;
        self
    }

    /// Keeps the last `calls` outcomes for [`Snapshot::recent`](crate::Snapshot::recent), over all states and
    /// whatever the detector. It then has to see every success, so healthy calls are no longer free.
    pub const fn execution_log(mut self, calls: u32) -> Self {
        self.settings.rules.log = calls;
        self
    }

    /// Calls `f` with the breaker, the old and the new state whenever the state changed.
    ///
    /// Listeners run in order, after the change, outside every lock, on the thread that brought the change about; they
    /// may call the breaker, and a panic in one stops neither the breaker nor the other listeners.
    pub fn on_state_change(mut self, f: impl Fn(&CircuitBreaker, State, State) + Send + Sync + 'static) -> Self {
        self.settings.listeners.push(Listener::State(Arc::new(f)));
        self
    }

    /// Calls `f` with every [`Event`]; runs like [`on_state_change`](Self::on_state_change).
    ///
    /// Among the events is the end of every failed call and of every probe. To log changes only:
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, EventKind};
    ///
    /// CircuitBreakerConfig::builder("payments").on_event(|event| {
    ///     if matches!(event.kind(), EventKind::StateChanged { .. }) {
    ///         eprintln!("{event}");
    ///     }
    /// });
    /// ```
    pub fn on_event(mut self, f: impl Fn(&Event) + Send + Sync + 'static) -> Self {
        self.settings.listeners.push(Listener::Event(Arc::new(f)));
        self
    }

    /// Makes events of every success, ignored and cancelled call and every rejection as well. Costs a lock and an event
    /// per call.
    pub const fn call_events(mut self, on: bool) -> Self {
        self.settings.every_call = on;
        self
    }

    /// Sets the source of time.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = ClockSource::Other(Arc::new(clock));
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work: its name, the value that was given, and what is allowed.
    pub fn build(self) -> Result<CircuitBreakerConfig, ConfigError> {
        let Self { name, detector, mut settings } = self;
        if name.is_empty() {
            return Err(ConfigError::new("name", &"empty", "any text that is not empty"));
        }
        detector.check()?;
        settings.rules.slow_after = detector.slow_after();
        settings.rules.check()?;
        settings.choose_clock(&*detector);
        Ok(CircuitBreakerConfig { name: name.into(), detector, settings: settings.into() })
    }
}
