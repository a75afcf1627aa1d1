//! Where a breaker's time comes from.
//!
//! ```
//! use std::time::Duration;
//! use fusebox::clock::{ManualClock, Timestamp};
//! use fusebox::{CircuitBreaker, CircuitBreakerConfig};
//!
//! let clock = ManualClock::new();
//! let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").clock(clock.clone()).build()?);
//! breaker.trip()?;
//! clock.advance(Duration::from_secs(30)); // the cooldown is over at once
//! assert!(breaker.acquire()?.is_probe());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::backoff::mix;
use crate::time::nanos;

pub use crate::time::Timestamp;

/// A source of time for a breaker. Default: [`SystemClock`]; for tests: [`ManualClock`].
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Clock, clock::Timestamp};
///
/// /// The time of a simulation that runs in steps of a millisecond.
/// #[derive(Clone, Debug, Default)]
/// struct Steps(Arc<AtomicU64>);
///
/// impl Clock for Steps {
///     fn now(&self) -> Timestamp {
///         Timestamp::from_nanos(self.0.load(Ordering::SeqCst) * 1_000_000)
///     }
/// }
///
/// let steps = Steps::default();
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").clock(steps.clone()).build()?);
/// breaker.trip()?;
/// steps.0.store(10_000, Ordering::SeqCst);
/// assert_eq!(breaker.retry_after(), Some(Duration::from_secs(20)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the present time. It should not step back; where it does, the breaker treats the step as a pause.
    fn now(&self) -> Timestamp;
}

/// The operating system's monotonic clock. With the feature `testing` it is `tokio::time`'s, so that a paused runtime
/// (`tokio::time::pause`, `#[tokio::test(start_paused = true)]`) moves breakers as well.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{Clock, clock::SystemClock};
///
/// let clock = SystemClock::default();
/// let start = clock.now();
/// let took = clock.now().since(start); // good for durations; the number itself means nothing
/// assert!(took < Duration::from_secs(3600));
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "there is nothing to it but its type")]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        system_now()
    }
}

/// A clock that stands still until it is told to move. Clones share the time.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, State};
///
/// let clock = ManualClock::new();
/// let config = CircuitBreakerConfig::builder("payments").cooldown(Duration::from_secs(30)).clock(clock.clone()).build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.trip()?;
/// assert!(breaker.acquire().is_err());
///
/// clock.advance(Duration::from_secs(30));
/// breaker.acquire()?.success();
/// assert_eq!(breaker.state(), State::Closed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock {
    now: Arc<AtomicU64>,
}

impl ManualClock {
    /// Makes a clock that shows [`Timestamp::ZERO`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now() + by);
    }

    /// Sets the clock, also backward.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{Clock, ManualClock, clock::Timestamp};
    ///
    /// let clock = ManualClock::new();
    /// let before = clock.now();
    /// clock.advance(Duration::from_secs(60));
    /// clock.set(before); // as when a virtual machine is restored
    /// assert_eq!(clock.now(), Timestamp::ZERO);
    /// ```
    pub fn set(&self, to: Timestamp) {
        self.now.store(to.as_nanos(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.now.load(Ordering::SeqCst))
    }
}

/// A breaker's clock: the system's, reached without a pointer, or another.
#[derive(Clone, Debug, Default)]
pub(crate) enum ClockSource {
    #[default]
    System,
    /// The system's, up to [`COARSE_LAG`] late, at a third of the price.
    Coarse,
    Other(Arc<dyn Clock>),
}

impl ClockSource {
    /// A user's clock; the system's by its own name is the system's.
    pub(crate) fn of(clock: impl Clock) -> Self {
        let any: &dyn Any = &clock;
        if any.is::<SystemClock>() { Self::System } else { Self::Other(Arc::new(clock)) }
    }

    pub(crate) fn now(&self) -> Timestamp {
        match self {
            Self::System => system_now(),
            Self::Coarse => system_coarse(),
            Self::Other(clock) => clock.now(),
        }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::System, Self::System) | (Self::Coarse, Self::Coarse) => true,
            (Self::Other(a), Self::Other(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

/// How far the coarse clock may lag behind the exact one, at most.
pub(crate) const COARSE_LAG: Duration = Duration::from_nanos(COARSE_LAG_NANOS);
pub(crate) const COARSE_LAG_NANOS: u64 = 16_000_000;

#[cfg(all(target_os = "linux", not(feature = "testing")))]
mod system {
    use super::Timestamp;
    use rustix::time::{ClockId, clock_gettime};

    #[inline]
    fn read(id: ClockId) -> Timestamp {
        let t = clock_gettime(id);
        // Since the machine was started: never negative, and far from the end.
        Timestamp::from_nanos(
            t.tv_sec.cast_unsigned().wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec.cast_unsigned()),
        )
    }

    #[inline]
    pub(crate) fn system_now() -> Timestamp {
        read(ClockId::Monotonic)
    }

    /// A third of the price, and up to a timer tick late.
    #[inline]
    pub(crate) fn system_coarse() -> Timestamp {
        read(ClockId::MonotonicCoarse)
    }

    /// Whole seconds by it.
    #[inline]
    pub(crate) fn system_seconds() -> u64 {
        clock_gettime(ClockId::MonotonicCoarse).tv_sec.cast_unsigned()
    }
}

#[cfg(not(all(target_os = "linux", not(feature = "testing"))))]
mod system {
    use super::{Timestamp, nanos};
    use std::sync::OnceLock;
    use std::time::Instant;

    #[cfg(feature = "testing")]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn instant() -> Instant {
        tokio::time::Instant::now().into_std()
    }

    #[cfg(not(feature = "testing"))]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn instant() -> Instant {
        Instant::now()
    }

    pub(crate) fn system_now() -> Timestamp {
        static ORIGIN: OnceLock<Instant> = OnceLock::new();
        let now = instant();
        let passed = now.saturating_duration_since(*ORIGIN.get_or_init(|| now));
        Timestamp::from_nanos(nanos(passed))
    }

    pub(crate) fn system_coarse() -> Timestamp {
        system_now()
    }

    pub(crate) fn system_seconds() -> u64 {
        system_now().as_nanos() / 1_000_000_000
    }
}

pub(crate) use system::{system_coarse, system_now, system_seconds};

/// The wall clock, for people and for dates in headers; no rule depends on it.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// The wall clock's time since 1970, for stores that have no clock of their own, and for people.
#[cfg(any(feature = "fleet", feature = "counts"))]
pub(crate) fn wall_time() -> Timestamp {
    Timestamp::from_nanos(nanos(wall_clock().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
}

/// Milliseconds by a clock that no test turns, never zero: for threads that watch each other.
#[cfg(feature = "fleet")]
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn real_millis() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    let passed = Instant::now().saturating_duration_since(*ORIGIN.get_or_init(Instant::now));
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// A number that differs from process to process, for whatever needs chance.
pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::OnceLock;
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| RandomState::new().hash_one(nanos(Duration::MAX)))
}

/// A seed that is new each time. Each thread counts on its own: when a dependency fails, every call wants one.
pub(crate) fn fresh_seed() -> u64 {
    static THREADS: AtomicU64 = AtomicU64::new(0);
    thread_local!(static NEXT: Cell<Option<u64>> = const { Cell::new(None) });
    NEXT.with(|next| {
        let begin = || mix(seed().wrapping_add(THREADS.fetch_add(1, Ordering::Relaxed)));
        let seed = next.get().unwrap_or_else(begin);
        next.set(Some(seed.wrapping_add(1)));
        mix(seed)
    })
}

/// The time of Tokio's timers, for what is to end with one.
#[expect(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn timer_now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

/// Puts the thread to sleep.
#[expect(clippy::disallowed_methods, reason = "synchronous callers ask for it")]
pub(crate) fn sleep_blocking(wait: Duration) {
    if !wait.is_zero() {
        std::thread::sleep(wait);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_seeds_differ_within_a_thread_and_between_threads() {
        let draw = || (0..1_000).map(|_| fresh_seed()).collect::<Vec<_>>();
        let threads = [(); 4].map(|()| std::thread::spawn(draw));
        let mut seeds = draw();
        seeds.extend(threads.into_iter().flat_map(|thread| thread.join().expect("no panic")));
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 5_000);
    }

    #[test]
    fn the_coarse_clock_is_at_most_its_lag_behind() {
        for _ in 0..1000 {
            let (before, coarse, after) = (system_now(), system_coarse(), system_now());
            assert!(coarse <= after);
            assert!(coarse + COARSE_LAG >= before);
        }
    }
}
