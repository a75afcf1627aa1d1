//! The handle of a breaker.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::call::{CallError, Classified, Wrapped};
use super::config::CircuitBreakerConfig;
use super::core::{Contents, Core};
use super::events::Events;
use super::permit::{AtSight, Permit};
use super::registry::{NameTaken, Registry};
use super::rejected::Rejected;
use super::settings::Settings;
use super::slots;
use super::snapshot::Snapshot;
use crate::circuit::{Decision, Detector, Input, Override, State};
use crate::classify::{Errors, errors};
use crate::text::OneLine;

/// A circuit breaker. Clones are the same breaker.
///
/// ```
/// use fusebox::{CallError, CircuitBreaker, CircuitBreakerConfig};
///
/// # futures::executor::block_on(async {
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// match breaker.call(|| async { "42".parse::<u32>() }).await {
///     Ok(answer) => assert_eq!(answer, 42),
///     Err(CallError::Rejected(rejected)) => println!("not even asked: {rejected}"),
///     Err(CallError::Inner(error)) => println!("asked, and failed: {error}"),
/// }
/// # })
/// ```
pub struct CircuitBreaker {
    core: &'static Core,
}

impl CircuitBreaker {
    /// Makes a breaker, closed.
    #[must_use]
    pub fn new(config: CircuitBreakerConfig) -> Self {
        let CircuitBreakerConfig { name, detector, settings } = config;
        Self::with_settings(name, detector, settings)
    }

    pub(super) fn with_settings(name: Arc<str>, detector: Box<dyn Detector>, settings: Arc<Settings>) -> Self {
        let core = slots::occupy(Contents { name, detector, settings });
        core.handles.store(1, Ordering::Relaxed);
        Self { core }
    }

    /// A handle to the breaker that lives in `core`, unless its last user is gone.
    pub(super) fn upgrade(core: &'static Core) -> Option<Self> {
        let more = |handles| (handles > 0).then(|| handles + 1);
        core.handles.fetch_update(Ordering::Acquire, Ordering::Relaxed, more).ok().map(|_| Self { core })
    }

    pub(crate) const fn core(&self) -> &'static Core {
        self.core
    }

    /// Tells whether nobody else holds a handle.
    pub(super) fn is_only_handle(&self) -> bool {
        self.core.handles.load(Ordering::Acquire) == 1
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.core.name()
    }

    /// Returns the state. A look changes nothing: an open circuit whose cooldown is over stays open until a call asks.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").cooldown(Duration::ZERO).build()?);
    /// breaker.trip()?;
    /// assert_eq!(breaker.state(), State::Open, "although the cooldown is over");
    /// breaker.acquire()?.success();
    /// assert_eq!(breaker.state(), State::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn state(&self) -> State {
        self.core.state()
    }

    /// Tells whether the circuit is open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    /// Returns everything there is to see.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::of(self.core)
    }

    /// Asks for one call, by hand. Never waits.
    ///
    /// # Errors
    ///
    /// [`Rejected`] while the circuit is open, or half-open with all probes on their way.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// let permit = breaker.acquire()?;
    /// // make the call, then say how it ended:
    /// permit.success();
    ///
    /// breaker.trip()?;
    /// let rejected = breaker.acquire().unwrap_err();
    /// assert!(rejected.retry_after().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn acquire(&self) -> Result<Permit, Rejected> {
        self.core.acquire()
    }

    /// Leave to call a closed breaker that nobody times, for the price of a look.
    #[inline]
    pub(crate) fn acquire_at_sight(&self) -> Option<AtSight> {
        self.core.acquire_at_sight()
    }

    /// Calls `f` and awaits its future, if the circuit lets it.
    ///
    /// Every `Err` counts as a failure; for other rules see [`classify`](Self::classify).
    ///
    /// # Errors
    ///
    /// [`CallError::Rejected`] when `f` was not called, [`CallError::Inner`] with its own error otherwise.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives the call up, which counts neither way unless it ran for
    /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
    pub async fn call<F, Fut, T, E>(&self, f: F) -> Result<T, CallError<E>>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: 'static,
    {
        self.classify(errors()).call(f).await
    }

    /// Calls `f`, or when it is rejected, `fallback` with the rejection.
    ///
    /// # Errors
    ///
    /// The error of `f` or of `fallback`.
    ///
    /// # Cancel safety
    ///
    /// As [`call`](Self::call).
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// # futures::executor::block_on(async {
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("prices"));
    /// breaker.trip().unwrap();
    /// let price = breaker.call_or(|| async { Ok::<_, std::io::Error>(12) }, |_| async { Ok(10) }).await;
    /// assert_eq!(price.unwrap(), 10);
    /// # })
    /// ```
    pub async fn call_or<F, Fut, G, Alt, T, E>(&self, f: F, fallback: G) -> Result<T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        G: FnOnce(Rejected) -> Alt,
        Alt: Future<Output = Result<T, E>>,
        E: 'static,
    {
        match self.call(f).await {
            Ok(value) => Ok(value),
            Err(CallError::Inner(error)) => Err(error),
            Err(CallError::Rejected(rejected)) => fallback(rejected).await,
        }
    }

    /// Calls `f` from synchronous code.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("disk"));
    /// let manifest = breaker.call_blocking(|| std::fs::read_to_string("Cargo.toml"));
    /// assert!(manifest.is_ok());
    /// ```
    pub fn call_blocking<F, T, E>(&self, f: F) -> Result<T, CallError<E>>
    where
        F: FnOnce() -> Result<T, E>,
        E: 'static,
    {
        self.classify(errors()).call_blocking(f)
    }

    /// Decides with `classifier` what counts as a failure, for the calls made through what it returns.
    ///
    /// ```
    /// use fusebox::{classify, CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("disk"));
    /// let missing_is_fine = classify::errors().exclude(|e: &std::io::Error| e.kind() == std::io::ErrorKind::NotFound);
    /// let read = breaker.classify(missing_is_fine).call_blocking(|| std::fs::read_to_string("no such file"));
    /// assert!(read.is_err());
    /// assert!(breaker.snapshot().detectors.iter().all(|part| part.tally.count() == 0));
    /// ```
    pub fn classify<C>(&self, classifier: C) -> Classified<C> {
        Classified::new(self.clone(), classifier)
    }

    /// Wraps a function, asynchronous or not, so that every call of it goes through the breaker.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// async fn parse(text: &str) -> Result<u32, std::num::ParseIntError> {
    ///     text.parse()
    /// }
    ///
    /// # futures::executor::block_on(async {
    /// let guarded = CircuitBreaker::new(CircuitBreakerConfig::new("parser")).wrap(parse);
    /// assert_eq!(guarded.call("42").await.unwrap(), 42);
    /// assert_eq!(guarded.breaker().state(), State::Closed);
    /// # })
    /// ```
    pub fn wrap<F>(&self, f: F) -> Wrapped<F, Errors> {
        self.classify(errors()).wrap(f)
    }

    /// Opens the circuit, as if its detector had tripped; recovery goes on by itself. While open it changes nothing.
    ///
    /// # Errors
    ///
    /// [`Overridden`] while an override stands.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.trip()?;
    /// assert!(breaker.is_open());
    /// assert!(breaker.snapshot().to_string().starts_with("payments: open (tripped by command), retry in"));
    /// # Ok::<(), fusebox::Overridden>(())
    /// ```
    pub fn trip(&self) -> Result<(), Overridden> {
        self.command(Input::Trip)
    }

    /// Closes the circuit and forgets every outcome so far, also when it is closed already.
    ///
    /// # Errors
    ///
    /// [`Overridden`] while an override stands.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.acquire()?.failure();
    /// breaker.reset()?; // "we have fixed it, forget what was"
    /// assert_eq!(breaker.snapshot().detectors[0].tally.count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset(&self) -> Result<(), Overridden> {
        self.command(Input::Reset)
    }

    fn command(&self, input: Input<'_>) -> Result<(), Overridden> {
        match self.core.step(input).0 {
            Decision::Overridden => {
                let order = self.core.look(|body, _| body.machine.overridden().map(ToString::to_string)).flatten();
                Err(Overridden { breaker: self.name(), order: order.unwrap_or_default() })
            }
            _ => Ok(()),
        }
    }

    /// Takes hold of the breaker, in place of an override that may stand already.
    #[expect(clippy::needless_pass_by_value, reason = "an order is made for the breaker that it is given to")]
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.set_override(Override::dry_run("new limits"));
    /// breaker.set_override(Override::force_open("incident 7")); // takes its place
    /// assert!(breaker.acquire().is_err());
    /// breaker.resume();
    /// assert!(breaker.acquire().is_ok());
    /// ```
    pub fn set_override(&self, order: Override) {
        self.core.step(Input::Override(&order));
    }

    /// Ends the override, if one stands; the circuit is then closed with an empty window.
    pub fn resume(&self) {
        self.core.step(Input::Resume);
    }

    /// Returns the events from now on, as a stream.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on};
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.trip()?; // nobody listens yet
    /// let mut events = breaker.events();
    /// breaker.reset()?;
    /// let event = block_on(events.next()).unwrap();
    /// assert_eq!(event.to_string(), "payments: open -> closed (reset by command)");
    /// # Ok::<(), fusebox::Overridden>(())
    /// ```
    pub fn events(&self) -> Events {
        Events::new(self.core.hub())
    }

    /// Adds the breaker to [`Registry::global`].
    ///
    /// # Errors
    ///
    /// [`NameTaken`] when another breaker has that name there.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Registry};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.register()?; // now an admin page can find it
    /// assert_eq!(Registry::global().get("payments").unwrap().name(), breaker.name());
    /// # Ok::<(), fusebox::NameTaken>(())
    /// ```
    pub fn register(&self) -> Result<(), NameTaken> {
        Registry::global().insert(self)
    }

    /// Returns how long until the circuit, if open, lets a probe through, or until a forced-open one ends by itself;
    /// `None` while it is not open, or where an operator must end it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").clock(clock.clone()).build()?);
    /// assert_eq!(breaker.retry_after(), None);
    /// breaker.trip()?;
    /// clock.advance(Duration::from_secs(10));
    /// assert_eq!(breaker.retry_after(), Some(Duration::from_secs(20)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.core
            .look(|body, now| body.machine.until().map(|until| until.since(now)))
            .flatten()
            .filter(|_| self.is_open())
    }
}

impl Clone for CircuitBreaker {
    fn clone(&self) -> Self {
        self.core.handles.fetch_add(1, Ordering::Relaxed);
        Self { core: self.core }
    }
}

impl Drop for CircuitBreaker {
    fn drop(&mut self) {
        if self.core.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            slots::vacate(self.core);
        }
    }
}

impl fmt::Debug for CircuitBreaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("name", &self.name())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

/// A command was refused because an operator's override stands; end it with
/// [`resume`](CircuitBreaker::resume) first.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.set_override(Override::disable("load test").actor("ana"));
/// let overridden = breaker.trip().unwrap_err();
/// assert_eq!(
///     overridden.to_string(),
///     "circuit breaker `payments` is overridden (disabled: load test (by ana)): resume it first"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    breaker: Arc<str>,
    order: String,
}

impl Overridden {
    /// Returns the name of the breaker.
    #[must_use]
    pub fn breaker(&self) -> &str {
        &self.breaker
    }

    /// Returns the override that stands, in words.
    #[must_use]
    pub fn order(&self) -> &str {
        &self.order
    }
}

impl fmt::Display for Overridden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker `{}` is overridden ({}): resume it first", OneLine(&self.breaker), self.order)
    }
}

impl Error for Overridden {}
