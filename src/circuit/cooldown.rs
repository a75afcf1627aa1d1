//! How long a circuit stays open.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use super::machine_state::History;
use super::recovery::resolution;
use crate::backoff::{Exponential, Jitter, Linear, exponential, linear};
use crate::error::ConfigError;
use crate::explanation::percent;
use crate::guard::guarded;

/// How long an open circuit rejects before it lets a probe through.
///
/// A plain [`Duration`] is always the same cooldown; zero is legal and means that the very next call is a probe. Where a
/// fleet shares the breaker, up to ten percent of it are taken off by chance, so that the breakers of one fleet that have
/// opened together do not all probe together; [`Cooldown::fixed`] is exact there, too. (All instances have a breaker's
/// cooldown end in the same moment. Its probes are no crowd: the fleet gives out as many places as there are for one
/// breaker.)
///
/// What depends on chance differs from breaker to breaker, also within one process and one moment.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreakerConfig, Cooldown};
///
/// let s = Duration::from_secs;
/// CircuitBreakerConfig::builder("a").cooldown(s(10));
/// CircuitBreakerConfig::builder("b").cooldown(Cooldown::exponential(s(5)..=s(300)));
/// CircuitBreakerConfig::builder("c").cooldown(Cooldown::linear(s(5)..=s(60), s(5)));
/// CircuitBreakerConfig::builder("d").cooldown(Cooldown::with(move |ctx| s(5) * (1 + ctx.reopenings())));
/// assert_eq!(Cooldown::from(s(30)), Cooldown::default());
/// ```
#[derive(Clone)]
pub struct Cooldown {
    curve: Curve,
    /// Of a cooldown that is no curve: by what part of it chance shortens it. `None`: as the breaker has it.
    jitter: Option<f64>,
    healthy_after: Option<Duration>,
    /// Set where it has no meaning; to be refused.
    misplaced_factor: Option<f64>,
}

/// Jitter of cooldowns for which nothing was said, where there is some.
const USUAL_JITTER: f64 = 0.1;

#[derive(Clone)]
enum Curve {
    Fixed(Duration),
    Exponential(Exponential),
    Linear(Linear),
    With(Arc<dyn Fn(&CooldownContext) -> Duration + Send + Sync>),
}

/// What a cooldown may depend on.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Cooldown, ManualClock, circuit_breaker::CooldownContext};
///
/// /// What the dependency asks for, else 5 s more with each reopening; up to 1 s of it by chance.
/// fn wait(ctx: &CooldownContext) -> Duration {
///     let base = ctx.retry_after().unwrap_or(Duration::from_secs(5) * (1 + ctx.reopenings()));
///     base + Duration::from_secs(1).mul_f64(ctx.draw())
/// }
///
/// let config = CircuitBreakerConfig::builder("payments").cooldown(Cooldown::with(wait)).clock(ManualClock::new());
/// let breaker = CircuitBreaker::new(config.build()?);
/// breaker.trip()?;
/// assert!((5.0..6.0).contains(&breaker.retry_after().unwrap().as_secs_f64()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CooldownContext {
    reopenings: u32,
    retry_after: Option<Duration>,
    draw: f64,
}

impl CooldownContext {
    /// Returns how many times the circuit has opened since it was last healthy. This time does not count.
    #[must_use]
    pub const fn reopenings(&self) -> u32 {
        self.reopenings
    }

    /// Returns when the dependency asked to be called again. `None` where the failure that opened the circuit did not
    /// say so.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns a random number from 0 up to, not including, 1: new for every cooldown.
    #[must_use]
    pub const fn draw(&self) -> f64 {
        self.draw
    }
}

impl Cooldown {
    /// Always the same cooldown, exactly, in a fleet too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Cooldown};
    ///
    /// let exact = Cooldown::fixed(Duration::from_secs(30));
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("payments").cooldown(exact).build()?);
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub const fn fixed(duration: Duration) -> Self {
        Self { curve: Curve::Fixed(duration), jitter: Some(0.0), healthy_after: None, misplaced_factor: None }
    }

    /// That of a breaker for which none was said.
    pub(super) const USUAL: Duration = Duration::from_secs(30);

    const fn of(curve: Curve) -> Self {
        Self { curve, jitter: None, healthy_after: None, misplaced_factor: None }
    }

    /// Starts at the lower end and doubles with each reopening. It grows up to the upper end, with 10 % jitter.
    ///
    /// The growth is forgotten once the circuit stayed closed, with calls that succeed, for as long as the last
    /// cooldown (see [`healthy_after`](Self::healthy_after)), not at the first close: a dependency that flaps keeps its
    /// longer cooldowns, and one that is not called does too.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Cooldown, ManualClock};
    ///
    /// let (s, clock) = (Duration::from_secs, ManualClock::new());
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .cooldown(Cooldown::exponential(s(5)..=s(300)).jitter(0.0))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.trip()?;
    /// for cooldown in [s(5), s(10), s(20), s(40)] {
    ///     assert_eq!(breaker.retry_after(), Some(cooldown));
    ///     clock.advance(cooldown);
    ///     breaker.acquire()?.failure(); // the probe fails, the circuit reopens
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn exponential(range: RangeInclusive<Duration>) -> Self {
        Self::of(Curve::Exponential(exponential(range).jitter(Jitter::Proportional(USUAL_JITTER))))
    }

    /// Starts at the lower end and grows by `step` with each reopening. It grows up to the upper end, with 10 % jitter.
    ///
    /// When the growth is forgotten [`healthy_after`](Self::healthy_after) says.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Cooldown, ManualClock};
    ///
    /// let (s, clock) = (Duration::from_secs, ManualClock::new());
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .cooldown(Cooldown::linear(s(5)..=s(20), s(5)).jitter(0.0))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// breaker.trip()?;
    /// for cooldown in [s(5), s(10), s(15), s(20), s(20)] {
    ///     assert_eq!(breaker.retry_after(), Some(cooldown));
    ///     clock.advance(cooldown);
    ///     breaker.acquire()?.failure(); // the probe fails, the circuit reopens
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn linear(range: RangeInclusive<Duration>, step: Duration) -> Self {
        Self::of(Curve::Linear(linear(range, step).jitter(Jitter::Proportional(USUAL_JITTER))))
    }

    /// Asks a function each time the circuit opens.
    ///
    /// How often the circuit has reopened is forgotten once it stayed closed, with calls that succeed, for as long as
    /// the last cooldown, and for 1 s at least (see [`healthy_after`](Self::healthy_after)).
    ///
    /// It runs under the breaker's lock, so it should compute and return. If it panics, the circuit opens for 30 s.
    #[must_use]
    pub fn with(f: impl Fn(&CooldownContext) -> Duration + Send + Sync + 'static) -> Self {
        Self::of(Curve::With(Arc::new(f)))
    }

    /// Sets the factor from one cooldown to the next. Default: 2. Only for [`exponential`](Self::exponential);
    /// elsewhere it is refused when the breaker is built.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreakerConfig, Cooldown};
    ///
    /// let s = Duration::from_secs;
    /// let steep = Cooldown::exponential(s(1)..=s(100)).factor(10.0); // 1 s, 10 s, 100 s, 100 s
    /// assert!(CircuitBreakerConfig::builder("payments").cooldown(steep).build().is_ok());
    /// let nothing_grows = Cooldown::fixed(s(1)).factor(10.0);
    /// let error = CircuitBreakerConfig::builder("payments").cooldown(nothing_grows).build().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "`cooldown.factor` is 10, allowed is nothing here: only `Cooldown::exponential` has a factor"
    /// );
    /// ```
    #[must_use]
    pub const fn factor(mut self, factor: f64) -> Self {
        if let Curve::Exponential(delays) = &mut self.curve {
            *delays = delays.factor(factor);
        } else {
            self.misplaced_factor = Some(factor);
        }
        self
    }

    /// Sets how far chance moves a cooldown, as a fraction of it. Up to so much is taken off a fixed one or a
    /// function's; one that grows is moved either way, within its range. Default: 0.1 for one that grows and, in a
    /// fleet, for a plain [`Duration`]; else none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Cooldown, ManualClock};
    ///
    /// let s = Duration::from_secs;
    /// for (cooldown, range) in [
    ///     (Cooldown::fixed(s(10)).jitter(0.5), s(5)..=s(10)),
    ///     (Cooldown::exponential(s(10)..=s(300)).jitter(0.5), s(10)..=s(15)), // never below 10 s
    ///     (Cooldown::exponential(s(10)..=s(10)).jitter(0.5), s(5)..=s(10)),   // but where that is the upper end as well
    /// ] {
    ///     let config = CircuitBreakerConfig::builder("payments").cooldown(cooldown).clock(ManualClock::new());
    ///     let breaker = CircuitBreaker::new(config.build()?);
    ///     breaker.trip()?;
    ///     assert!(range.contains(&breaker.retry_after().unwrap()));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn jitter(mut self, fraction: f64) -> Self {
        if let Curve::Exponential(delays) = &mut self.curve {
            *delays = delays.jitter(Jitter::Proportional(fraction));
        } else if let Curve::Linear(delays) = &mut self.curve {
            *delays = delays.jitter(Jitter::Proportional(fraction));
        } else {
            self.jitter = Some(fraction);
        }
        self
    }

    /// The same for a breaker that a fleet shares.
    #[cfg(feature = "fleet")]
    pub(crate) const fn in_fleet(mut self) -> Self {
        if let (Curve::Fixed(_), None) = (&self.curve, self.jitter) {
            self.jitter = Some(USUAL_JITTER);
        }
        self
    }

    /// Sets how long the circuit must stay healthy before its growth is forgotten.
    ///
    /// Default: as long as the last cooldown, and at least 1 s where that may be zero (a range that begins with zero, or a
    /// function's: [`with`](Self::with)). Zero: it is forgotten as soon as the circuit closes. A fixed cooldown does not grow,
    /// and with this it is refused when the breaker is built. Healthy is a circuit that is closed, with calls that succeed.
    ///
    /// The time from the closing to the newest success counts. Where successes are further apart than a sixteenth of the
    /// period, a sixteenth counts for each, so a dependency that is rarely called takes sixteen successes, and a silent
    /// period forgets nothing. In a fleet this is the time of the first instance that has seen so much by its own
    /// calls; it tells the others.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Cooldown, ManualClock};
    ///
    /// let (s, clock) = (Duration::from_secs, ManualClock::new());
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .cooldown(Cooldown::exponential(s(5)..=s(300)).jitter(0.0).healthy_after(s(60)))
    ///     .clock(clock.clone())
    ///     .build()?;
    /// let breaker = CircuitBreaker::new(config);
    /// let call_for = |seconds| {
    ///     for _ in 0..seconds {
    ///         clock.advance(s(1));
    ///         breaker.acquire()?.success();
    ///     }
    ///     Ok::<_, fusebox::Rejected>(())
    /// };
    /// for (called_for, silent_for, cooldown) in [(0, 0, 5), (50, 0, 10), (0, 3600, 20), (62, 0, 5)] {
    ///     call_for(called_for)?;
    ///     clock.advance(s(silent_for));
    ///     breaker.trip()?;
    ///     assert_eq!(breaker.retry_after(), Some(s(cooldown)));
    ///     clock.advance(s(cooldown));
    ///     breaker.acquire()?.success();
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub const fn healthy_after(mut self, period: Duration) -> Self {
        self.healthy_after = Some(period);
        self
    }

    /// How long the circuit must have been healthy before the growth that led to its last cooldown is forgotten;
    /// `None`: at once.
    pub(super) fn recovers_after(&self, history: &History) -> Option<Duration> {
        let grows = !matches!(self.curve, Curve::Fixed(_)) && history.openings > 0;
        let period = self.healthy_after.unwrap_or_else(|| history.cooldown.max(self.least_healthy_time()));
        (grows && !period.is_zero()).then_some(period)
    }

    /// Unless a period is set, it is no shorter than this. What begins with zero would be forgotten before it grows.
    fn least_healthy_time(&self) -> Duration {
        let begins_with_zero = match &self.curve {
            Curve::Fixed(_) => false,
            Curve::Exponential(delays) => delays.min().is_zero(),
            Curve::Linear(delays) => delays.min().is_zero(),
            // Perhaps.
            Curve::With(_) => true,
        };
        if begins_with_zero { Duration::from_secs(1) } else { Duration::ZERO }
    }

    /// How exactly times of successes must be known while it matters for how long the circuit is healthy.
    pub(crate) fn time_resolution(&self) -> Option<Duration> {
        let shortest = match &self.curve {
            Curve::Fixed(_) => return None,
            Curve::Exponential(delays) => delays.min(),
            Curve::Linear(delays) => delays.min(),
            Curve::With(_) => Duration::ZERO,
        };
        let period = self.healthy_after.unwrap_or_else(|| shortest.max(self.least_healthy_time()));
        // What is forgotten at once depends on no success.
        (!period.is_zero()).then(|| resolution(period))
    }

    pub(super) fn time_tolerance(&self) -> Duration {
        match &self.curve {
            // Over at once by any clock.
            Curve::Fixed(Duration::ZERO) => Duration::MAX,
            Curve::Fixed(d) => self.shortened(*d, 1.0) / 64,
            Curve::Exponential(delays) => delays.min() / 64,
            Curve::Linear(delays) => delays.min() / 64,
            Curve::With(_) => Duration::ZERO,
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(factor) = self.misplaced_factor {
            let allowed = "nothing here: only `Cooldown::exponential` has a factor";
            return Err(ConfigError::new("cooldown.factor", &factor, allowed));
        }
        if let (Curve::Fixed(_), Some(period)) = (&self.curve, self.healthy_after) {
            let allowed = "nothing here: a fixed cooldown has no growth to forget";
            return Err(ConfigError::new("cooldown.healthy_after", &format!("{period:?}"), allowed));
        }
        match &self.curve {
            Curve::Exponential(delays) => delays.check("cooldown", "cooldown.jitter"),
            Curve::Linear(delays) => delays.check("cooldown", "cooldown.step", "cooldown.jitter"),
            Curve::Fixed(_) | Curve::With(_) => {
                Jitter::Proportional(self.jitter.unwrap_or_default()).check("cooldown.jitter")
            }
        }
    }

    /// A cooldown less the part that chance takes.
    fn shortened(&self, cooldown: Duration, draw: f64) -> Duration {
        match self.jitter {
            Some(fraction) if fraction > 0.0 => {
                let less = cooldown.as_secs_f64() * (1.0 - fraction * draw).max(0.0);
                // The longest one is a little longer as a floating-point number.
                Duration::try_from_secs_f64(less).unwrap_or(cooldown)
            }
            _ => cooldown,
        }
    }

    /// Says how long the circuit stays open.
    pub(crate) fn explain(&self, retry_after_cap: Duration, lines: &mut Vec<String>) {
        let asked = match retry_after_cap {
            Duration::ZERO => String::new(),
            cap => {
                format!(", or for as long as a `Retry-After` of the dependency says, if that is longer, up to {cap:?}")
            }
        };
        let chance = match self.jitter {
            Some(fraction) if fraction > 0.0 => format!(", by chance up to {} less", percent(fraction)),
            _ => String::new(),
        };
        let (each, next) = ("", "with each opening that follows");
        lines.push(match &self.curve {
            Curve::Fixed(Duration::ZERO) => format!("stays open until the next call, which is a probe{asked}"),
            Curve::Fixed(cooldown) => format!("stays open for {cooldown:?}{chance}{asked}"),
            Curve::Exponential(delays) => format!("stays open for {}{asked}", delays.explain(each, next)),
            Curve::Linear(delays) => format!("stays open for {}{asked}", delays.explain(each, next)),
            Curve::With(_) => format!("stays open for as long as a function says{chance}{asked}"),
        });
        if matches!(self.curve, Curve::Exponential(_) | Curve::Linear(_)) {
            let healthy = match self.healthy_after {
                Some(period) => format!("{period:?}"),
                None => "as long as it was open last".to_owned(),
            };
            lines.push(format!(
                "  begins with the shortest again once it stayed closed, with good calls, for {healthy}"
            ));
        }
    }

    /// The cooldown after `reopenings` earlier ones.
    pub(super) fn delay(&self, reopenings: u32, retry_after: Option<Duration>, draw: f64) -> Duration {
        match &self.curve {
            Curve::Fixed(d) => self.shortened(*d, draw),
            Curve::Exponential(delays) => delays.delay(reopenings, draw),
            Curve::Linear(delays) => delays.delay(reopenings, draw),
            Curve::With(f) => {
                let context = CooldownContext { reopenings, retry_after, draw };
                let cooldown = guarded(|| f(&context)).unwrap_or(Self::USUAL);
                // The function may have used the draw: its lower half is another one.
                self.shortened(cooldown, (draw * 65_536.0).fract())
            }
        }
    }
}

impl Default for Cooldown {
    /// 30 s.
    fn default() -> Self {
        Self::USUAL.into()
    }
}

impl From<Duration> for Cooldown {
    fn from(d: Duration) -> Self {
        Self::of(Curve::Fixed(d))
    }
}

impl PartialEq for Cooldown {
    /// Functions are equal when they are the same function object.
    fn eq(&self, other: &Self) -> bool {
        let curve = match (&self.curve, &other.curve) {
            (Curve::Fixed(a), Curve::Fixed(b)) => a == b,
            (Curve::Exponential(a), Curve::Exponential(b)) => a == b,
            (Curve::Linear(a), Curve::Linear(b)) => a == b,
            (Curve::With(a), Curve::With(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        let settings = |this: &Self| (this.jitter, this.healthy_after, this.misplaced_factor);
        curve && settings(self) == settings(other)
    }
}

impl fmt::Debug for Cooldown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.curve {
            Curve::Fixed(d) => write!(f, "{d:?}")?,
            Curve::Exponential(delays) => return write!(f, "{delays}"),
            Curve::Linear(delays) => return write!(f, "{delays}"),
            Curve::With(_) => f.write_str("with(..)")?,
        }
        match self.jitter {
            Some(fraction) if fraction > 0.0 => write!(f, ", jitter {fraction}"),
            _ => Ok(()),
        }
    }
}
