//! How a fleet shares a breaker.

use std::sync::Arc;
use std::time::Duration;

use crate::error::ConfigError;
use crate::one_line::OneLine;
use crate::replica::{Voter, WhenDown};

/// How the instances of a fleet share a breaker.
///
/// | | [`pooled`](Self::pooled) (default) | [`votes(k)`](Self::votes) |
/// |---|---|---|
/// | judged | all calls of all instances together | each instance its own |
/// | opens | for all, when the detector trips | an instance for itself at once, for all when `k` have |
/// | one bad instance of many | counts like any other | protects itself, the others go on |
/// | written while all is well | nothing, by any built-in detector | nothing |
///
/// A detector of your own that has no [`shape`](crate::detect::Detector::shape) sees all calls of all instances: that
/// costs at most one write each [`flush_interval`](Self::flush_interval) for each instance and breaker with traffic.
///
/// All instances should have the same configuration. While a deploy rolls, each rule is judged over what its own instances
/// have seen, and a verdict by either counts.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::fleet::{Fleet, WhenDown};
/// use fusebox::{store::MemoryStore, CircuitBreakerConfig};
///
/// let config = CircuitBreakerConfig::builder("payments")
///     .store(Arc::new(MemoryStore::new()))
///     .fleet(Fleet::votes(3).when_down(WhenDown::Local).instance_id("pod-7"))
///     .build()?;
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    pub(crate) mode: Mode,
    pub(crate) when_down: WhenDown,
    instance_id: Option<Arc<str>>,
    pub(crate) flush_interval: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Pooled,
    Votes(u32),
}

/// A record has room for some more votes than that.
const MAX_QUORUM: u32 = 256;

impl Fleet {
    /// The detector judges the calls of all instances together.
    #[must_use]
    pub const fn pooled() -> Self {
        Self::new(Mode::Pooled)
    }

    /// Each instance judges its own calls, and opens for itself when it trips. When `k` instances have, and none of their
    /// open periods is over, the circuit opens for all. With `k` = 1 the first to trip opens all; `k` is at most 256.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fusebox::{detect, fleet::Fleet, store::MemoryStore, CircuitBreaker, CircuitBreakerConfig, State};
    ///
    /// # tokio_test::block_on(async {
    /// let store = Arc::new(MemoryStore::new());
    /// let instance = |id: &str| {
    ///     let config = CircuitBreakerConfig::builder("payments")
    ///         .detector(detect::consecutive_failures(1))
    ///         .store(store.clone())
    ///         .fleet(Fleet::votes(2).instance_id(id));
    ///     Ok::<_, fusebox::ConfigError>(CircuitBreaker::new(config.build()?))
    /// };
    /// let (a, b, c) = (instance("a")?, instance("b")?, instance("c")?);
    /// a.flush().await;
    /// a.acquire()?.failure();
    /// a.flush().await;
    /// c.flush().await;
    /// assert_eq!((a.state(), c.state()), (State::Open, State::Closed), "one instance's trouble is its own");
    ///
    /// b.flush().await;
    /// b.acquire()?.failure();
    /// b.flush().await;
    /// c.flush().await;
    /// assert_eq!(c.state(), State::Open, "two of them are the dependency's");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[must_use]
    pub const fn votes(k: u32) -> Self {
        Self::new(Mode::Votes(k))
    }

    const fn new(mode: Mode) -> Self {
        Self { mode, when_down: WhenDown::Local, instance_id: None, flush_interval: Duration::from_secs(1) }
    }

    /// Sets what to do while the store is away. Default: [`WhenDown::Local`].
    #[must_use]
    pub const fn when_down(mut self, when_down: WhenDown) -> Self {
        self.when_down = when_down;
        self
    }

    /// Sets by which name this instance votes. Pooled breakers of the same `Fleet` have no votes. Default: the pod's
    /// name (`POD_NAME`), or else the host's, with a random number that the operating system draws for each start of a
    /// process and each store in it, also after a fork: no two instances are one voice, whatever their containers are
    /// called. Set it to a name that stays, such as that of the pod, where processes restart in place: an instance that
    /// crashes over and over is then one voice, not many.
    #[must_use]
    pub fn instance_id(mut self, id: impl AsRef<str>) -> Self {
        self.instance_id = Some(id.as_ref().into());
        self
    }

    /// Sets how often outcomes that are no failures are written. It is for a detector without a
    /// [`shape`](crate::detect::Detector::shape): 100 ms to 1 min. Default: 1 s. For built-in detectors they are not
    /// written while all is well, so it changes nothing. Failures are written within 100 to 200 ms (up to 5 s where the
    /// store is busy), and at once when they would open the circuit.
    #[must_use]
    pub const fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = interval;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if let Mode::Votes(quorum) = self.mode
            && !(1..=MAX_QUORUM).contains(&quorum)
        {
            return Err(ConfigError::new("fleet.votes", &quorum, format!("1 to {MAX_QUORUM}")));
        }
        if self.instance_id.as_ref().is_some_and(|id| id.is_empty() || id.len() > 255) {
            let given = self.instance_id.as_deref().map_or(0, str::len);
            return Err(ConfigError::new("fleet.instance_id", &format!("{given} bytes"), "1 to 255 bytes"));
        }
        let allowed = Duration::from_millis(100)..=Duration::from_secs(60);
        if !allowed.contains(&self.flush_interval) {
            let given = format!("{:?}", self.flush_interval);
            return Err(ConfigError::new("fleet.flush_interval", &given, "100ms to 1min"));
        }
        Ok(())
    }

    /// Says how the breaker is shared over that store.
    pub(crate) fn explain(&self, store: &str, lines: &mut Vec<String>) {
        let store = OneLine(store);
        lines.push(match self.mode {
            Mode::Pooled => format!("is shared over {store}: all instances' calls are judged together, and it opens for all"),
            Mode::Votes(1) => format!("is shared over {store}: each instance judges its own calls, and the first that opens opens for all"),
            Mode::Votes(k) => format!(
                "is shared over {store}: each instance judges its own calls and opens for itself, {k} that are open open for all"
            ),
        });
        lines.push(match self.when_down {
            WhenDown::Local => "  while the store is away, each instance goes on by itself".to_owned(),
            WhenDown::Admit => "  while the store is away, every call goes through and none is judged".to_owned(),
            WhenDown::Reject => "  while the store is away, every call is rejected".to_owned(),
        });
    }

    /// Tells whether the calls of all are judged together.
    pub(crate) fn is_pooled(&self) -> bool {
        self.mode == Mode::Pooled
    }

    /// Who votes, and how many it takes.
    pub(crate) fn voter(&self, unnamed: impl FnOnce() -> Arc<str>) -> Option<Voter> {
        let Mode::Votes(quorum) = self.mode else {
            return None;
        };
        Some(match &self.instance_id {
            Some(id) => Voter::new(id.clone(), quorum),
            None => Voter::drawn(unnamed(), quorum),
        })
    }
}

impl Default for Fleet {
    /// [`pooled`](Self::pooled).
    fn default() -> Self {
        Self::pooled()
    }
}
