//! Building a configuration.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "serde")]
use super::asked::Asked;
use super::config::CircuitBreakerConfig;
use super::events::{Event, EventListener, Listener, Subject};
use super::handle::CircuitBreaker;
use super::settings::Settings;
use crate::circuit::{Cooldown, Detector, Override, Probes, Slowness, State, detector as detect};
use crate::classify::Outcomes;
use crate::clock::{Clock, ClockSource};
use crate::error::ConfigError;
#[cfg(feature = "fleet")]
use crate::fleet::Fleet;
#[cfg(feature = "fleet")]
use crate::store::Store;

/// Builds a [`CircuitBreakerConfig`]; see there for the defaults.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{detect, CircuitBreakerConfig, Probes};
///
/// let config = CircuitBreakerConfig::builder("search")
///     .detector(detect::failure_rate(0.5).within(Duration::from_secs(60)))
///     .cooldown(Duration::from_secs(10))
///     .probes(Probes::consecutive(2))
///     .build()?;
/// assert_eq!(config.name(), "search");
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `.build()`"]
pub struct CircuitBreakerConfigBuilder {
    name: String,
    detector: Box<dyn Detector>,
    settings: Settings,
}

/// What a breaker is called that was given no name.
const UNNAMED: &str = "unnamed";

fn given_or_unnamed(name: &str) -> Arc<str> {
    Arc::from(if name.is_empty() { UNNAMED } else { name })
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
        let (detector, mut settings) = CircuitBreakerConfigBuilder::defaults();
        settings.choose_clock(&*detector);
        Self { name: given_or_unnamed(&name.into()), detector, settings: settings.into() }
    }

    /// Gives it another name. An empty one becomes `unnamed`, as in [`new`](Self::new).
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let template = CircuitBreakerConfig::template().cooldown(Duration::from_secs(5)).build()?;
    /// let payments = CircuitBreaker::new(template.clone().named("payments"));
    /// let search = CircuitBreaker::new(template.named("search"));
    /// assert_eq!((&*payments.name(), &*search.name()), ("payments", "search"));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub fn named(mut self, name: impl AsRef<str>) -> Self {
        self.name = given_or_unnamed(name.as_ref());
        self
    }

    /// Starts a configuration that breakers of other names are made from. They are made by [`named`](Self::named) or by
    /// a [registry](crate::Registry::of). Its own name is `unnamed`.
    pub fn template() -> CircuitBreakerConfigBuilder {
        CircuitBreakerConfigBuilder::new(UNNAMED.to_owned())
    }

    /// Starts a configuration of your own. The name is the breaker's identity: in errors, events and metrics, and in the
    /// registry.
    pub fn builder(name: impl Into<String>) -> CircuitBreakerConfigBuilder {
        CircuitBreakerConfigBuilder::new(name.into())
    }

    /// Goes on building from this configuration. For example to add listeners to one that came from a file.
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
        let settings = Settings {
            #[cfg(feature = "fleet")]
            has_default_rule: true,
            ..Settings::default()
        };
        (Box::new(detect::failures(5).within(Duration::from_secs(60))), settings)
    }

    /// Sets what decides a trip. See [`detect`](crate::detect), or give a [`Detector`] of your own, boxed or not.
    ///
    /// ```
    /// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// let config = CircuitBreakerConfig::builder("payments").detector(detect::consecutive_failures(2)).build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.acquire()?.failure();
    /// breaker.acquire()?.failure();
    /// assert_eq!(breaker.state(), State::Open);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn detector(mut self, detector: impl Into<Box<dyn Detector>>) -> Self {
        self.detector = detector.into();
        #[cfg(feature = "fleet")]
        {
            self.settings.has_default_rule = false;
        }
        self
    }

    /// Sets how long the circuit stays open. A [`Duration`] (zero is legal) or a [`Cooldown`] that grows.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let config = CircuitBreakerConfig::builder("payments").cooldown(Duration::ZERO).build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.trip()?;
    /// assert!(breaker.acquire()?.is_probe(), "the very next call");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cooldown(mut self, cooldown: impl Into<Cooldown>) -> Self {
        self.settings.rules.cooldown = cooldown.into();
        self
    }

    /// Sets how many probes go out while half-open and what they must show.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Probes, State};
    ///
    /// let config =
    ///     CircuitBreakerConfig::builder("payments").cooldown(Duration::ZERO).probes(Probes::consecutive(2)).build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.trip()?;
    /// breaker.acquire()?.success();
    /// assert_eq!(breaker.state(), State::HalfOpen, "one of two");
    /// breaker.acquire()?.success();
    /// assert_eq!(breaker.state(), State::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn probes(mut self, probes: Probes) -> Self {
        self.settings.rules.probes = probes;
        self
    }

    /// Counts a call that is given up after at least this long as a failure. Given up is a call whose future or permit
    /// is dropped.
    ///
    /// A dependency that hangs never answers; what ends the call is a timeout further out, and all the breaker sees is
    /// that the call was dropped. Without this setting a drop is evidence of nothing (but for three probes in a row), and a
    /// hung dependency behind an outer timeout would never trip. Set it a little below that timeout. Drops sooner than
    /// that still count neither way: they are users who closed the tab.
    ///
    /// Where the end of a response is watched (`classify::grpc()`), the limit counts anew after the head: from the first
    /// poll of the body that finds nothing, until its next frame. So a reader who leaves a stream that goes on has seen no
    /// failure, however old the stream is, nor has one who did not ask for more; one who leaves after so long a silence
    /// has. Set it above the longest silence that is usual there.
    ///
    /// **It needs a timeout.** A breaker has no timer of its own: a call that hangs and that nothing ends is never
    /// seen, with this setting or without, as it is neither over nor given up. Every dependency that can hang needs a
    /// limit of time on one side of the breaker:
    ///
    /// - outside, with this setting:
    ///   [`RetryConfigBuilder::attempt_timeout`](crate::RetryConfigBuilder::attempt_timeout), Tower's `Timeout`, a
    ///   server's own limit for its requests;
    /// - inside, without it, because there the timeout is an error like any other: Tower's `Timeout` below the breaker,
    ///   `reqwest::ClientBuilder::timeout`, tonic's `Endpoint::timeout`, PostgreSQL's `statement_timeout`;
    /// - by [`SafetyNet`](crate::SafetyNet)'s presets, which have both numbers.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, RetryConfig, RetryLayer};
    /// use tower::ServiceBuilder;
    ///
    /// # let client = tower::service_fn(|_: u32| async { Ok::<_, fusebox::BoxError>(()) });
    /// let retry = RetryConfig::builder().attempt_timeout(Duration::from_secs(2)).build()?; // drops a call that hangs ..
    /// let limit = Duration::from_millis(1_900);
    /// let config = CircuitBreakerConfig::builder("search").abandoned_after(limit).build()?; // .. a failure
    /// let service = ServiceBuilder::new()
    ///     .layer(RetryLayer::new(retry))
    ///     .layer(CircuitBreakerLayer::new(config))
    ///     .service(client);
    /// # let _ = service;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    ///
    /// The [guide](crate::guide#a-call-that-nothing-ends) shows what becomes of it, and the other way. Without Tower:
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

    /// Sets how long a `Retry-After` may keep the circuit open at most. It is the dependency's word on when to come
    /// back. Zero: it is not asked.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{detect, CircuitBreaker, CircuitBreakerConfig, ManualClock, Outcome};
    ///
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .detector(detect::failures(1).of_last(10))
    ///     .retry_after_cap(Duration::from_secs(60))
    ///     .clock(ManualClock::new())
    ///     .build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.acquire()?.report(Outcome::FailureAfter(Duration::from_secs(86_400))); // come back tomorrow
    /// assert_eq!(breaker.retry_after(), Some(Duration::from_secs(60)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.settings.rules.retry_after_cap = cap;
        self
    }

    /// Keeps the last `calls` outcomes for [`Snapshot::recent`](crate::Snapshot::recent). They are kept over all states
    /// and whatever the detector; at most 1,048,576. It then has to see every success, so healthy calls are no longer
    /// free.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Outcome};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").execution_log(3).build()?);
    /// for outcome in [Outcome::Success, Outcome::Failure, Outcome::Success, Outcome::Success] {
    ///     breaker.acquire()?.report(outcome);
    /// }
    /// assert_eq!(breaker.snapshot().recent.to_string(), "FSS");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn execution_log(mut self, calls: u32) -> Self {
        self.settings.rules.log = calls;
        self
    }

    /// Calls `f` with the breaker, the old and the new state at each change.
    ///
    /// Listeners run in order, after the change, outside every lock, on the thread that brought the change about; they
    /// may call the breaker, and a panic in one stops neither the breaker nor the other listeners.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// let (tell, told) = mpsc::channel();
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .on_state_change(move |breaker, from, to| tell.send((breaker.name(), from, to)).unwrap())
    ///     .build()?;
    /// CircuitBreaker::new(config).trip()?;
    /// assert_eq!(told.recv()?, ("payments".into(), State::Closed, State::Open));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn on_state_change(mut self, f: impl Fn(&CircuitBreaker, State, State) + Send + Sync + 'static) -> Self {
        let f = move |subject: Subject<'_>, from, to| {
            if let Some(breaker) = CircuitBreaker::of(subject) {
                f(&breaker, from, to);
            }
        };
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
        self.settings.listeners.push(Listener::Event(Arc::new(EventListener::new(f))));
        self
    }

    /// Makes events of every call. Those are successes, ignored and cancelled calls and rejections as well. Costs a
    /// lock and an event per call.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on};
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, EventKind, Outcome};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").call_events(true).build()?);
    /// let mut events = breaker.events();
    /// breaker.acquire()?.success();
    /// let event = block_on(events.next()).unwrap();
    /// assert!(matches!(event.kind(), EventKind::Ended { outcome: Outcome::Success, .. }));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn call_events(mut self, on: bool) -> Self {
        self.settings.every_call = on;
        self
    }

    /// Holds each breaker in a state from the start, by this instance alone. Default: none.
    ///
    /// It is as if [`set_override`](CircuitBreaker::set_override) had been called before the first call, and told as an
    /// event like that. It ends like any other: when it expires, counted from when the breaker was made, or by
    /// [`resume`](CircuitBreaker::resume). A breaker with a store neither tells nor heeds its fleet until then: what
    /// one instance is configured to do is no order to the others, and does not undo theirs.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override};
    ///
    /// let trial = Override::dry_run("new limits");
    /// let config = CircuitBreakerConfig::builder("payments").initial_override(trial.clone()).build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// assert!(breaker.snapshot().overridden.is_some_and(|standing| standing == trial));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn initial_override(mut self, order: Override) -> Self {
        self.settings.initial_override = Some(order);
        self
    }

    /// Counts statuses and errors otherwise than a classifier does by itself. Default: none.
    ///
    /// [`CircuitBreakerLayer::http`](crate::CircuitBreakerLayer), `::grpc` and `::reqwest` heed them. A layer with a
    /// classifier of your own, and a breaker without a layer, do not: there give them to
    /// `classify::http().outcomes(..)`, or ask [`CircuitBreakerConfig::outcomes`]. Where nothing has asked for them by
    /// the time that a breaker is made, the event
    /// [`Advice`](crate::circuit_breaker::Advice::OutcomesUnheeded) says so, once.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, Outcome, classify::Outcomes};
    ///
    /// let outcomes = Outcomes::new().failures(["429"])?.ignored(["500"])?;
    /// let config = CircuitBreakerConfig::builder("payments").outcomes(outcomes).build()?;
    /// assert_eq!(config.outcomes().of_status(429), Some(Outcome::Failure));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    pub fn outcomes(mut self, outcomes: Outcomes) -> Self {
        self.settings.outcomes = Some(Box::new(outcomes));
        self
    }

    /// Whether the outcomes are asked for is known elsewhere.
    #[cfg(feature = "serde")]
    pub(crate) fn asked(mut self, asked: Asked) -> Self {
        self.settings.asked = Some(asked);
        self
    }

    /// Sets the source of time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").clock(clock.clone()).build()?);
    /// breaker.trip()?;
    /// clock.advance(Duration::from_secs(29));
    /// assert_eq!(breaker.retry_after(), Some(Duration::from_secs(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings.clock = ClockSource::of(clock);
        self
    }

    /// Shares the breaker's state through this store. Every breaker of the same name over the same store has it: in
    /// this process, and in every other one. Default: with none. See [`fleet`](crate::fleet) for what that means, and
    /// [`fleet(..)`](Self::fleet) for how.
    ///
    /// Give it a [`detector`](Self::detector) too. The default, `failures(5).within(60 s)`, is meant for one process:
    /// over a store it counts the failures of all instances, and 5 of 50,000 calls, 0.01 %, open the circuit for all.
    /// For a fleet take a rate with a least number of calls, as here. Where none is given, an
    /// [`Advice`](crate::fleet::Advice::DefaultRule) says so, once.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::time::Duration;
    /// use fusebox::{detect, store::MemoryStore, CircuitBreakerConfig};
    ///
    /// let store = Arc::new(MemoryStore::new()); // or Redis, Postgres, one of your own
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .detector(detect::failure_rate(0.5).within(Duration::from_secs(60)).min_calls(20))
    ///     .store(store)
    ///     .build()?;
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[cfg(feature = "fleet")]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.settings.store = Some(store);
        self
    }

    /// Sets how the state is shared. Default: [`Fleet::pooled`](crate::fleet::Fleet::pooled). Needs a
    /// [`store`](Self::store).
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fusebox::{fleet::Fleet, store::MemoryStore, CircuitBreakerConfig};
    ///
    /// let config = CircuitBreakerConfig::builder("payments").fleet(Fleet::votes(3));
    /// assert!(config.build().unwrap_err().to_string().contains("`store`"), "with whom?");
    /// let store = Arc::new(MemoryStore::new());
    /// assert!(CircuitBreakerConfig::builder("payments").store(store).fleet(Fleet::votes(3)).build().is_ok());
    /// ```
    #[cfg(feature = "fleet")]
    pub fn fleet(mut self, fleet: Fleet) -> Self {
        self.settings.fleet = Some(fleet);
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    ///
    /// The first setting that cannot work: its name, the value that was given, and what is allowed.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, Probes};
    ///
    /// let error = CircuitBreakerConfig::builder("payments").probes(Probes::ratio(6, 5)).build().unwrap_err();
    /// assert_eq!(error.to_string(), "`probes` is 6, allowed is 1 to 5 successes of 5");
    /// ```
    pub fn build(self) -> Result<CircuitBreakerConfig, ConfigError> {
        let Self { name, detector, mut settings } = self;
        if name.is_empty() {
            return Err(ConfigError::no_name());
        }
        detector.check()?;
        #[cfg(feature = "fleet")]
        settings.check_sharing()?;
        #[cfg(feature = "fleet")]
        if settings.store.is_some() {
            settings.rules.cooldown = settings.rules.cooldown.in_fleet();
        }
        settings.rules.slowness = Slowness::of(&*detector);
        settings.rules.check()?;
        settings.choose_clock(&*detector);
        if settings.outcomes.is_some() {
            settings.asked.get_or_insert_default();
        }
        Ok(CircuitBreakerConfig { name: name.into(), detector, settings: settings.into() })
    }
}
