//! A cap on retries overall, so that retries do not multiply the load on a dependency that is already failing.

use std::array;
use std::fmt;
use std::sync::Arc;
#[cfg(feature = "counts")]
use std::sync::Weak;
use std::time::Duration;

use crate::clock::{Clock, ClockSource};
use crate::error::ConfigError;
use crate::explanation::percent;
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use crate::time::nanos;

/// A cap on retries as a share of traffic. Clones are the same budget: give one to every layer that calls the same
/// dependency.
///
/// Two kinds:
///
/// - [`ratio`](Self::ratio): over the last ten seconds, counted by tenths of them, there are at most `ratio` retries
///   for each request, and a reserve.
/// - [`tokens`](Self::tokens): gRPC's retry throttling, which stops retries while more attempts fail than a share of the
///   successes makes up for.
///
/// Both are exact, from any number of threads, and cost nothing while idle.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{Budget, RetryConfig, RetryLayer};
///
/// let budget = Budget::ratio(0.2).reserve_per_second(10); // one retry for five requests, and ten a second besides
/// let reads = RetryLayer::new(RetryConfig::builder().budget(budget.clone()).build()?);
/// let writes = RetryLayer::new(RetryConfig::builder().max_retries(1).budget(budget).build()?);
/// # let _ = (reads, writes);
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
///
/// For a retry loop of your own:
///
/// ```
/// use fusebox::Budget;
///
/// let budget = Budget::ratio(0.6);
/// (0..100).for_each(|_| budget.request());
/// assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 60);
/// ```
#[derive(Clone)]
pub struct Budget {
    kind: Kind,
    /// A setting that this kind does not have and that was set; to be refused.
    misplaced: Option<&'static str>,
}

#[derive(Clone)]
enum Kind {
    Ratio(Arc<Ratio>),
    Tokens(Arc<Tokens>),
}

/// A budget that a scrape looks at while something spends from it.
#[cfg(feature = "counts")]
#[derive(Clone, Debug)]
pub(super) enum WatchedBudget {
    Ratio(Weak<Ratio>),
    Tokens(Weak<Tokens>),
}

#[cfg(feature = "counts")]
impl WatchedBudget {
    pub(super) fn of(budget: &Budget) -> Self {
        match &budget.kind {
            Kind::Ratio(ratio) => Self::Ratio(Arc::downgrade(ratio)),
            Kind::Tokens(tokens) => Self::Tokens(Arc::downgrade(tokens)),
        }
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ratio(a), Self::Ratio(b)) => a.ptr_eq(b),
            (Self::Tokens(a), Self::Tokens(b)) => a.ptr_eq(b),
            _ => false,
        }
    }

    /// How many retries it allows now; `None` where nothing spends from it any more.
    pub(super) fn available(&self) -> Option<u64> {
        match self {
            Self::Ratio(ratio) => Some(ratio.upgrade()?.available()),
            Self::Tokens(tokens) => Some(tokens.upgrade()?.available()),
        }
    }
}

impl Budget {
    /// Allows at most `ratio` retries for each request, over the last ten seconds. 0.2 is one retry for five requests.
    /// From 0 to 1,000.
    ///
    /// A client with little traffic has little to spend; see [`reserve_per_second`](Self::reserve_per_second).
    #[must_use]
    pub fn ratio(ratio: f64) -> Self {
        let settings = RatioSettings { ratio, reserve: 0, window: Duration::from_secs(10), clock: ClockSource::Coarse };
        Self { kind: Kind::Ratio(Arc::new(Ratio::new(settings))), misplaced: None }
    }

    /// Allows so many retries a second besides those that the ratio earns. Default: 0. Only for [`ratio`](Self::ratio): with
    /// tokens it is refused when the retry is built.
    ///
    /// Settings belong before the first clone: what this returns is a budget of its own.
    ///
    /// ```
    /// use fusebox::Budget;
    ///
    /// let budget = Budget::ratio(0.1).reserve_per_second(1);
    /// assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10, "ten seconds' reserve, without any traffic");
    /// ```
    #[must_use]
    pub fn reserve_per_second(self, retries: u32) -> Self {
        self.with("budget.reserve_per_second", |settings| settings.reserve = retries)
    }

    /// Sets how long a request earns. Default: 10 s. At least 1 s. Only for [`ratio`](Self::ratio): with tokens it is
    /// refused when the retry is built.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{Budget, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let budget = Budget::ratio(1.0).window(Duration::from_secs(60)).clock(clock.clone());
    /// budget.request();
    /// clock.advance(Duration::from_secs(50));
    /// assert!(budget.withdraw());
    /// ```
    #[must_use]
    pub fn window(self, window: Duration) -> Self {
        self.with("budget.window", |settings| settings.window = window)
    }

    /// Sets the source of time. Default: the system's. Only for [`ratio`](Self::ratio): tokens know no time, and with
    /// them it is refused when the retry is built.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{Budget, ManualClock};
    ///
    /// let clock = ManualClock::new();
    /// let budget = Budget::ratio(1.0).clock(clock.clone());
    /// budget.request();
    /// clock.advance(Duration::from_secs(11));
    /// assert!(!budget.withdraw(), "that was too long ago");
    /// ```
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        let clock = match ClockSource::of(clock) {
            ClockSource::System | ClockSource::Coarse => ClockSource::Coarse,
            other @ ClockSource::Other(_) => other,
        };
        self.with("budget.clock", |settings| settings.clock = clock)
    }

    /// Sets something that only a ratio has; tokens remember which, to be refused.
    fn with(self, setting: &'static str, set: impl FnOnce(&mut RatioSettings)) -> Self {
        match &self.kind {
            Kind::Ratio(ratio) => {
                let mut settings = ratio.settings.clone();
                set(&mut settings);
                Self { kind: Kind::Ratio(Arc::new(Ratio::new(settings))), misplaced: None }
            }
            Kind::Tokens(_) => Self { misplaced: Some(setting), ..self },
        }
    }

    /// Throttles retries as gRPC does (proposal A6), by tokens. It begins with `max_tokens`; a failed attempt takes
    /// one, a success gives `ratio` back, and there are no retries unless more than half are left. `max_tokens` from 1
    /// to 1,000; `ratio` above 0, exact to three decimals.
    ///
    /// What takes a token is an attempt that could be made again, whether it is or not, and one whose dependency asks for
    /// no other ([`Retry::Refused`](crate::classify::Retry::Refused)). A request that was not processed takes none where it
    /// is sent again for nothing. With [`classify::grpc`](crate::classify), OK is the only status that gives some back.
    ///
    /// ```
    /// use fusebox::Budget;
    ///
    /// let budget = Budget::tokens(10, 0.5);
    /// let mut retries = 0;
    /// for _ in 0..10 {
    ///     budget.failure();
    ///     retries += u32::from(budget.withdraw());
    /// }
    /// assert_eq!(retries, 4); // 9, 8, 7, 6 tokens, then no more than half
    /// ```
    #[must_use]
    pub fn tokens(max_tokens: u32, ratio: f64) -> Self {
        Self { kind: Kind::Tokens(Arc::new(Tokens::new(max_tokens, ratio))), misplaced: None }
    }

    /// A request is being made, retries not counted.
    pub fn request(&self) {
        if let Kind::Ratio(ratio) = &self.kind {
            ratio.request();
        }
    }

    /// An attempt succeeded.
    ///
    /// ```
    /// use fusebox::Budget;
    ///
    /// let budget = Budget::tokens(2, 1.0);
    /// budget.failure();
    /// assert!(!budget.withdraw(), "one of two is not more than half");
    /// budget.success();
    /// assert!(budget.withdraw());
    /// ```
    pub fn success(&self) {
        if let Kind::Tokens(tokens) = &self.kind {
            tokens.success();
        }
    }

    /// Notes that an attempt failed in a way that a retry might mend. Whether there will be a retry makes no
    /// difference.
    pub fn failure(&self) {
        if let Kind::Tokens(tokens) = &self.kind {
            tokens.failure();
        }
    }

    /// Takes the leave for one retry; `false`: there must be none now.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        match &self.kind {
            Kind::Ratio(ratio) => ratio.withdraw(),
            Kind::Tokens(tokens) => tokens.allows(),
        }
    }

    /// Tells whether [`success`](Self::success) does anything.
    pub(crate) const fn counts_successes(&self) -> bool {
        matches!(self.kind, Kind::Tokens(_))
    }

    /// Gives the leave back: the retry could not be made.
    pub(crate) fn refund(&self) {
        if let Kind::Ratio(ratio) = &self.kind {
            ratio.refund();
        }
    }

    /// Returns how many retries could be made at once.
    ///
    /// ```
    /// use fusebox::Budget;
    ///
    /// let budget = Budget::ratio(0.5);
    /// (0..10).for_each(|_| budget.request());
    /// assert!(budget.withdraw());
    /// assert_eq!(budget.available(), 4);
    /// ```
    #[must_use]
    pub fn available(&self) -> u64 {
        match &self.kind {
            Kind::Ratio(ratio) => ratio.available(),
            Kind::Tokens(tokens) => tokens.available(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Some(setting) = self.misplaced {
            return Err(ConfigError::new(
                setting,
                &"set on a budget of tokens",
                "nothing here: it is for `Budget::ratio`",
            ));
        }
        match &self.kind {
            Kind::Ratio(ratio) => ratio.settings.check(),
            Kind::Tokens(tokens) => tokens.check(),
        }
    }
}

impl Budget {
    /// Says what it allows.
    pub(super) fn explain(&self) -> String {
        match &self.kind {
            Kind::Ratio(ratio) => {
                let RatioSettings { ratio, reserve, window, .. } = &ratio.settings;
                let besides = if *reserve > 0 { format!(", and {reserve} a second besides") } else { String::new() };
                let share = percent(*ratio);
                format!("makes no more retries in all than {share} of the requests of the last {window:?}{besides}")
            }
            Kind::Tokens(tokens) => format!(
                "makes no retries unless more than half of {} tokens are left: a failed attempt takes one, a success gives {} back",
                tokens.max_tokens, tokens.ratio
            ),
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Ratio(ratio) => {
                write!(f, "budget {} of requests", ratio.settings.ratio)?;
                match ratio.settings.reserve {
                    0 => Ok(()),
                    reserve => write!(f, " + {reserve}/s"),
                }
            }
            Kind::Tokens(tokens) => {
                let plural = if tokens.max_tokens == 1 { "" } else { "s" };
                write!(f, "budget {} token{plural}, {} per success", tokens.max_tokens, tokens.ratio)
            }
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}, {} available", self.available())
    }
}

/// The window is counted in so many parts; what falls out of it leaves by a part at a time.
const PARTS: usize = 10;

#[derive(Clone)]
pub(super) struct RatioSettings {
    ratio: f64,
    reserve: u32,
    window: Duration,
    clock: ClockSource,
}

impl RatioSettings {
    fn check(&self) -> Result<(), ConfigError> {
        if !(0.0..=1_000.0).contains(&self.ratio) {
            return Err(ConfigError::new("budget.ratio", &self.ratio, "a number from 0 to 1000"));
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&self.window) {
            let given = format!("{:?}", self.window);
            return Err(ConfigError::new("budget.window", &given, "from 1s to one day"));
        }
        Ok(())
    }
}

/// Requests are counted without a lock, because every request comes by; retries under one, because that makes
/// "are there fewer than allowed" and "one more" a single step.
pub(super) struct Ratio {
    settings: RatioSettings,
    /// Retries for a million requests.
    per_million: u64,
    reserve: u64,
    part: u64,
    /// Part of the window (upper half) and requests in it (lower half).
    requests: [AtomicU64; PARTS],
    /// The same for retries.
    retries: Mutex<[u64; PARTS]>,
}

const COUNT_BITS: u32 = 32;
const COUNT: u64 = (1 << COUNT_BITS) - 1;
/// Far beyond what a second can hold; counting further could reach the upper half.
const MOST: u64 = COUNT / 2;

impl Ratio {
    fn new(settings: RatioSettings) -> Self {
        let window = nanos(settings.window).max(1_000);
        let seconds = settings.window.as_secs_f64();
        Self {
            per_million: whole(settings.ratio * 1e6),
            reserve: whole(f64::from(settings.reserve) * seconds),
            part: window / PARTS as u64,
            requests: array::from_fn(|_| AtomicU64::new(0)),
            retries: Mutex::new([0; PARTS]),
            settings,
        }
    }

    /// The present part of time, counted from 1: zero is "never".
    fn now(&self) -> u64 {
        (self.settings.clock.now().as_nanos() / self.part + 1) & COUNT
    }

    fn request(&self) {
        let now = self.now();
        let place = &self.requests[index(now)];
        let seen = place.load(Ordering::Relaxed);
        if age(now, seen) == 0 {
            if seen & COUNT < MOST {
                place.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        // Another caller may have looked at the clock a little later and begun the part already.
        let next = |seen| match is_near(now, seen) && age(now, seen) <= 0 {
            true => (seen & COUNT < MOST).then_some(seen + 1),
            false => Some(now << COUNT_BITS | 1),
        };
        place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok();
    }

    /// How many retries the window allows, and how many it has.
    fn account(&self, now: u64, retries: &[u64; PARTS]) -> (u64, u64) {
        let sum = |counts: &mut dyn Iterator<Item = u64>| -> u64 {
            counts.filter(|&count| is_near(now, count)).map(|count| count & COUNT).sum()
        };
        let requests = sum(&mut self.requests.iter().map(|count| count.load(Ordering::Relaxed)));
        // Where that saturates, it is hundreds of times what a window can hold.
        let earned = requests.saturating_mul(self.per_million) / 1_000_000;
        (earned.saturating_add(self.reserve), sum(&mut retries.iter().copied()))
    }

    fn withdraw(&self) -> bool {
        let mut retries = lock(&self.retries);
        let now = self.now();
        let (allowed, made) = self.account(now, &retries);
        if made >= allowed {
            return false;
        }
        let place = &mut retries[index(now)];
        let is_begun = is_near(now, *place) && age(now, *place) <= 0;
        *place = if is_begun { *place + 1 } else { now << COUNT_BITS | 1 };
        true
    }

    fn refund(&self) {
        let mut retries = lock(&self.retries);
        // The newest one; which does not matter.
        if let Some(place) = retries.iter_mut().filter(|count| **count & COUNT > 0).max_by_key(|count| **count) {
            *place -= 1;
        }
    }

    fn available(&self) -> u64 {
        let retries = lock(&self.retries);
        let (allowed, made) = self.account(self.now(), &retries);
        allowed.saturating_sub(made)
    }
}

fn index(part: u64) -> usize {
    usize::try_from(part % PARTS as u64).unwrap_or(0)
}

/// Tells whether a count is of the window. One from far ahead is of a clock that has stepped back since.
fn is_near(now: u64, count: u64) -> bool {
    age(now, count).unsigned_abs() < PARTS as u64
}

/// How many parts ago a count was begun; negative when its clock was ahead.
fn age(now: u64, count: u64) -> i64 {
    let begun = count >> COUNT_BITS;
    now.cast_signed() - begun.cast_signed()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from f64 saturates; NaN is 0")]
fn whole(number: f64) -> u64 {
    number.round() as u64
}

/// Thousandths, as in gRPC.
const TOKEN: u64 = 1_000;

pub(super) struct Tokens {
    max_tokens: u32,
    ratio: f64,
    /// In thousandths of a token.
    left: AtomicU64,
}

impl Tokens {
    fn new(max_tokens: u32, ratio: f64) -> Self {
        let left = AtomicU64::new(u64::from(max_tokens) * TOKEN);
        Self { max_tokens, ratio, left }
    }

    fn check(&self) -> Result<(), ConfigError> {
        if !(1..=1_000).contains(&self.max_tokens) {
            return Err(ConfigError::new("budget.max_tokens", &self.max_tokens, "1 to 1000"));
        }
        if !(self.ratio >= 0.001 && self.ratio <= 1_000.0) {
            return Err(ConfigError::new("budget.token_ratio", &self.ratio, "a number from 0.001 to 1000"));
        }
        Ok(())
    }

    fn most(&self) -> u64 {
        u64::from(self.max_tokens) * TOKEN
    }

    fn success(&self) {
        let (most, more) = (self.most(), whole(self.ratio * 1e3));
        let next = |left: u64| (left < most).then(|| left.saturating_add(more).min(most));
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok();
    }

    fn failure(&self) {
        let next = |left: u64| Some(left.saturating_sub(TOKEN));
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok();
    }

    fn allows(&self) -> bool {
        self.left.load(Ordering::Relaxed) > self.most() / 2
    }

    fn available(&self) -> u64 {
        self.left.load(Ordering::Relaxed).saturating_sub(self.most() / 2).div_ceil(TOKEN)
    }
}
