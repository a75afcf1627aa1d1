//! The handle of a breaker.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::cell::{BreakerCell, CellRef, Contents, Refusal};
use super::config::CircuitBreakerConfig;
#[cfg(not(feature = "fleet"))]
use super::control::Control;
use super::events::{Channel, Events, Subject};
use super::home::Home;
use super::permit::{AtSight, Permit};
use super::settings::Settings;
use super::start_events::StartEvents;
use crate::circuit::{Decision, Detector, Input, Override, State};
use crate::one_line::OneLine;
use crate::rejected::Rejected;

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
#[derive(Clone)]
pub struct CircuitBreaker {
    cell: CellRef,
}

impl CircuitBreaker {
    /// Makes a breaker, closed.
    #[must_use]
    pub fn new(config: CircuitBreakerConfig) -> Self {
        let CircuitBreakerConfig { name, detector, settings } = config;
        let start = StartEvents::of(&settings);
        let breaker = Self::with_settings(name, detector, settings, Home::Name);
        start.tell(breaker.cell());
        breaker
    }

    pub(super) fn with_settings(
        name: Arc<str>,
        detector: Box<dyn Detector>,
        settings: Arc<Settings>,
        home: Home,
    ) -> Self {
        let cell = BreakerCell::alloc(Contents {
            name,
            detector,
            settings,
            home,
            #[cfg(feature = "fleet")]
            take_control: super::fleet::join,
            #[cfg(not(feature = "fleet"))]
            take_control: |_, _, machine, _, _| Control::Solo(machine),
        });
        Self { cell }
    }

    /// A handle to the breaker that an event is about.
    pub(super) fn of(subject: Subject<'_>) -> Option<Self> {
        subject.downcast_ref().map(|cell: &CellRef| Self { cell: cell.clone() })
    }

    #[inline]
    pub(super) const fn cell(&self) -> &'static BreakerCell {
        self.cell.get()
    }

    /// Tells whether there is no other handle.
    pub(super) fn is_only_handle(&self) -> bool {
        self.cell.is_only()
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        self.cell().name()
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
        self.cell().state()
    }

    /// Tells whether the circuit is open. Not whether a call would be admitted: an open circuit whose cooldown is over takes
    /// one, as its first probe, and a caller that makes no call while this says yes never lets it recover. To ask before a
    /// call, see [`would_admit`](Self::would_admit).
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.state() == State::Open
    }

    /// Tells whether a call would be admitted now. No place is taken and nothing is counted.
    ///
    /// It is exact for a call that is made before anything else happens; another caller may be faster. The best way to find
    /// out is to make the call. Like any [look](Self::snapshot), it notices what time has ended: an override, or a
    /// probe that outlived its deadline. Where a fleet gives out the places of probes and this instance has none, it
    /// asks for one, as a rejected call does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, State};
    ///
    /// let clock = ManualClock::new();
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").clock(clock.clone()).build()?);
    /// assert!(breaker.would_admit());
    /// breaker.trip()?;
    /// assert!(!breaker.would_admit());
    /// clock.advance(Duration::from_secs(30));
    /// assert!(breaker.would_admit() && breaker.is_open(), "the next call is the first probe");
    ///
    /// let probe = breaker.acquire()?;
    /// assert!(!breaker.would_admit() && !breaker.is_open(), "the only probe is on its way");
    /// probe.success();
    /// assert!(breaker.would_admit());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn would_admit(&self) -> bool {
        self.refusal().is_none()
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
        self.cell().acquire()
    }

    /// Permission to call a closed breaker whose calls are not timed, for the price of a look.
    #[inline]
    pub(crate) fn acquire_at_sight(&self) -> Option<AtSight> {
        self.cell().acquire_at_sight()
    }

    /// Tells, without asking for one, whether a call would surely be rejected now, and how.
    #[inline]
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        self.cell().refusal()
    }

    /// The rejection of a call that was promised one when the service was asked whether it is ready.
    #[inline]
    pub(crate) fn reject_as_promised(&self, promise: Refusal) -> Rejected {
        self.cell().reject_as_promised(promise)
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
    /// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
    /// ```
    pub fn trip(&self) -> Result<(), Overridden> {
        self.command(Input::Trip)
    }

    /// Closes the circuit and forgets every outcome so far. It does so also when it is closed already.
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
        match self.cell().step(input).0 {
            Decision::Overridden => {
                let order =
                    self.cell().look(|body, _| body.control.machine().overridden().map(ToString::to_string)).flatten();
                Err(Overridden { name: self.name(), order: order.unwrap_or_default() })
            }
            _ => Ok(()),
        }
    }

    /// Takes hold of the breaker, in place of an override that may stand already.
    ///
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
    #[expect(clippy::needless_pass_by_value, reason = "an order is made for the breaker that it is given to")]
    pub fn set_override(&self, order: Override) {
        self.cell().step(Input::Override(&order));
    }

    /// Ends the override, if one stands. The circuit is then closed with an empty window.
    pub fn resume(&self) {
        self.cell().step(Input::Resume);
    }

    /// Returns the events from now on, as a stream.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on};
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.trip()?; // before the stream
    /// let mut events = breaker.events();
    /// breaker.reset()?;
    /// let event = block_on(events.next()).unwrap();
    /// assert_eq!(event.to_string(), "payments: open -> closed (reset by command)");
    /// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
    /// ```
    pub fn events(&self) -> Events {
        Events::new(self.cell().notifier(), Channel::of_one())
    }

    /// Sends what the store does not know yet, and fetches what it knows. It is for shared breakers: call it before a
    /// process ends, and in tests. Returns as well when the store is away. Without a store there is nothing to do.
    ///
    /// A lease for a probe that no call has used goes back; one that a call asked for within the last second is fetched.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the waiting.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// # tokio_test::block_on(async {
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.acquire()?.failure();
    /// breaker.flush().await; // nothing to do here
    /// # Ok::<(), fusebox::Rejected>(()) }).unwrap();
    /// ```
    #[cfg(feature = "fleet")]
    pub async fn flush(&self) {
        if let Some(flushed) = self.cell().flush() {
            flushed.await;
        }
    }

    /// Returns how long until an open circuit lets a probe through. For one that is forced open it is the time until
    /// that ends by itself; `None` while the circuit is not open, or where an operator must end it.
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
        self.cell()
            .look(|body, now| body.control.view().until().map(|until| until.since(now)))
            .flatten()
            .filter(|_| self.is_open())
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

/// A command was refused because an operator's override stands. End it with [`resume`](CircuitBreaker::resume) first.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Override};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.set_override(Override::disable("load test").by("ana"));
/// let overridden = breaker.trip().unwrap_err();
/// assert_eq!(
///     overridden.to_string(),
///     "circuit breaker `payments` is overridden (disabled: load test (by ana)): resume it first"
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overridden {
    name: Arc<str>,
    order: String,
}

impl Overridden {
    /// Returns the name of the breaker.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name of the breaker.
    #[must_use]
    #[deprecated(since = "0.2.0", note = "it is called `name`")]
    pub fn breaker(&self) -> &str {
        self.name()
    }

    /// Returns the override that stands, in words.
    #[must_use]
    pub fn order(&self) -> &str {
        &self.order
    }
}

impl fmt::Display for Overridden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "circuit breaker `{}` is overridden ({}): resume it first", OneLine(&self.name), self.order)
    }
}

impl Error for Overridden {}
