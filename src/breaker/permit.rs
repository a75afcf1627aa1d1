//! Permission to make one call.

use std::mem::ManuallyDrop;

use super::call_times::CallTimes;
use super::cell::BreakerCell;
#[cfg(feature = "http")]
use super::response_permit::ResponsePermit;
use crate::circuit::{Generation, Outcome, PermitId};
use crate::time::Timestamp;

/// Permission to make one call, and the duty to say how it ended.
///
/// It reports exactly once: by [`success`](Self::success), [`failure`](Self::failure) or [`report`](Self::report), or
/// when it is dropped. A drop is [`Cancelled`](Outcome::Cancelled), evidence of nothing, unless the call had run for
/// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after); a drop while the thread panics is a failure.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// let permit = breaker.acquire()?;
/// let answer = "42".parse::<u32>();
/// match &answer {
///     Ok(_) => permit.success(),
///     Err(_) => permit.failure(),
/// }
/// assert_eq!(breaker.snapshot().detectors[0].tally.to_string(), "0 failures");
/// # Ok::<(), fusebox::Rejected>(())
/// ```
#[derive(Debug)]
#[must_use = "a permit that is dropped at once reports a cancelled call"]
pub struct Permit {
    cell: &'static BreakerCell,
    generation: Generation,
    /// The probe's lease; [`NO_LEASE`] for other calls.
    lease: u32,
    started: Timestamp,
}

/// As the start of a call: it has not begun. Whatever becomes of such a permit, no call was given up.
pub(super) const RESERVED: Timestamp = Timestamp::MAX;

const NO_LEASE: u32 = u32::MAX;

impl Permit {
    #[inline]
    pub(super) fn new(cell: &'static BreakerCell, id: PermitId, started: Timestamp) -> Self {
        Self { cell, generation: id.generation, lease: id.lease.unwrap_or(NO_LEASE), started }
    }

    /// Marks a permit whose call has not begun.
    pub(super) fn reserved(mut self) -> Self {
        self.started = RESERVED;
        self
    }

    #[inline]
    fn id(&self) -> PermitId {
        PermitId { generation: self.generation, lease: Some(self.lease).filter(|lease| *lease != NO_LEASE) }
    }

    /// Reports that the dependency did its job.
    #[inline]
    pub fn success(self) {
        self.report(Outcome::Success);
    }

    /// Reports that the dependency failed.
    #[inline]
    pub fn failure(self) {
        self.report(Outcome::Failure);
    }

    /// Reports how the call ended.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Outcome};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.acquire()?.report(Outcome::Ignored); // the card was declined: nothing is wrong with the dependency
    /// breaker.acquire()?.report(Outcome::Failure);
    /// drop(breaker.acquire()?); // as if cancelled
    /// assert_eq!(breaker.snapshot().detectors[0].tally.to_string(), "1 failure");
    /// # Ok::<(), fusebox::Rejected>(())
    /// ```
    #[inline]
    pub fn report(self, outcome: Outcome) {
        let this = ManuallyDrop::new(self);
        if matches!(outcome, Outcome::Success)
            && (this.cell.absorbs_success_of(this.generation)
                || !this.is_probe() && this.cell.count_success(this.generation, this.started))
        {
            return;
        }
        this.cell.report(this.id(), outcome, CallTimes::of(this.started));
    }

    /// Tells whether the call is a probe of a half-open circuit.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.lease != NO_LEASE
    }

    /// Returns the generation that admitted the call. When the breaker is in another one by the time the call ends, the
    /// outcome changes nothing.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").cooldown(Duration::ZERO).build()?);
    /// let slow = breaker.acquire()?;
    /// breaker.trip()?;
    /// let probe = breaker.acquire()?;
    /// assert!(probe.is_probe() && !slow.is_probe());
    /// assert!(slow.generation() < probe.generation());
    /// slow.success(); // changes nothing
    /// assert_eq!(breaker.state(), State::HalfOpen);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Tells whether the call may still be made: the breaker is in the generation that admitted it, and the place of a
    /// probe is held.
    pub(crate) fn is_held(&self) -> bool {
        self.cell.generation() == self.generation && (!self.is_probe() || self.cell.holds(self.id()))
    }

    /// The dependency has answered, and the rest of the response is on its way: where the call is a probe that outlives its
    /// deadline, it has not failed. It is as slow as it is now.
    #[cfg(feature = "http")]
    pub(crate) fn accept(self) -> ResponsePermit {
        let head = if self.is_probe() { self.cell.accept(self.id(), self.started) } else { self.cell.now_if_timed() };
        let this = ManuallyDrop::new(self);
        let times = CallTimes::of(this.started).goes_on(head.unwrap_or(this.started));
        ResponsePermit::new(this.cell, this.id(), times)
    }

    /// When the call began, and where its time comes from; `None` where no rule asks how long calls take.
    #[cfg(feature = "http")]
    pub(super) fn timed(&self) -> Option<(&'static BreakerCell, Timestamp)> {
        self.cell.is_timed().then_some((self.cell, self.started))
    }

    /// Moves the time from which the call counts.
    #[cfg(feature = "http")]
    pub(super) const fn count_from(&mut self, started: Timestamp) {
        self.started = started;
    }

    /// Begins the call of a reserved permit; `None` when the reservation is no longer good.
    pub(crate) fn begin(self) -> Option<Self> {
        let started = self.cell.begin(self.id())?;
        let mut this = self;
        this.started = started;
        Some(this)
    }
}

/// A permit in the making, for the moment between admission at sight and the call's future. Two words that stay in
/// registers, where a permit would be copied through memory. It is dropped only when the call panics: a failure.
#[derive(Debug)]
pub(crate) struct AtSight {
    cell: &'static BreakerCell,
    generation: Generation,
}

impl AtSight {
    #[inline]
    pub(super) const fn new(cell: &'static BreakerCell, generation: Generation) -> Self {
        Self { cell, generation }
    }

    #[inline]
    pub(crate) fn into_permit(self) -> Permit {
        let this = ManuallyDrop::new(self);
        Permit { cell: this.cell, generation: this.generation, lease: NO_LEASE, started: Timestamp::ZERO }
    }
}

impl Drop for AtSight {
    #[cold]
    fn drop(&mut self) {
        let id = PermitId { generation: self.generation, lease: None };
        self.cell.report(id, Outcome::Failure, CallTimes::of(Timestamp::ZERO));
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Permit {
    #[cold]
    fn give_up(&self) {
        // A call that has not begun cannot have panicked.
        let panicked = self.started != RESERVED && std::thread::panicking();
        let outcome = if panicked { Outcome::Failure } else { Outcome::Cancelled };
        self.cell.report(self.id(), outcome, CallTimes::of(self.started));
    }
}
