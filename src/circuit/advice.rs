//! What a breaker advises, as users see it.

use std::fmt;
#[cfg(feature = "fleet")]
use std::time::Duration;

/// What a breaker, or the instances that share it, would be better off with.
///
/// Told by [`EventKind::Advice`](crate::EventKind::Advice), each kind once by each instance that finds it. The breaker works: but
/// for [`OutcomesUnheeded`](Self::OutcomesUnheeded), what was configured is done.
///
/// ```
/// # #[cfg(feature = "fleet")]
/// # tokio_test::block_on(async {
/// use std::sync::{mpsc, Arc};
/// use fusebox::{detect, store::MemoryStore, CircuitBreaker, CircuitBreakerConfig, EventKind};
///
/// let (advise, advised) = mpsc::channel();
/// let config = CircuitBreakerConfig::builder("payments")
///     .detector(detect::failure_rate(0.5).of_last(20_000))
///     .store(Arc::new(MemoryStore::new()))
///     .on_event(move |event| {
///         if let EventKind::Advice { advice, .. } = event.kind() {
///             advise.send(advice).unwrap();
///         }
///     })
///     .build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.flush().await;
/// let advice = advised.try_recv()?.to_string();
/// assert!(advice.starts_with("the rule looks at the newest 20000 calls"), "{advice}");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// More than 300 instances put their calls together. Each question is answered by all of them, so the breaker's
    /// operations grow with their number; [`Fleet::votes`](crate::fleet::Fleet::votes) costs nothing until an instance
    /// trips.
    #[cfg(feature = "fleet")]
    #[non_exhaustive]
    ManyInstances {
        /// How many have told of their calls within a minute.
        instances: u32,
    },
    /// The rule looks at so few of the newest calls that their order is not known. The fleet has them in less than
    /// twice the time within which the order of calls of several instances is not known: which calls are the newest is
    /// not known either. The rule is met one failure later than by a breaker that sees all calls, and it is met by
    /// chance more often than one over a time.
    #[cfg(feature = "fleet")]
    #[non_exhaustive]
    ShortWindow {
        /// How many calls it looks at.
        calls: u64,
        /// In what time the fleet has as many.
        span: Duration,
    },
    /// The rule looks at more than 10,000 of the newest calls. Of the older ones it is kept how many there were, and
    /// what comes late for them is forgotten.
    #[cfg(feature = "fleet")]
    #[non_exhaustive]
    LongWindow {
        /// How many calls it looks at.
        calls: u64,
    },
    /// No detector was given. The default, 5 failures within 60 s, is meant for one process: here it counts the
    /// failures of all instances, and of 50,000 calls 5 failures are 0.01 %. Give a rate with a least number of calls,
    /// such as [`failure_rate(0.5).within(60 s).min_calls(20)`](crate::detect::failure_rate); or let each instance
    /// judge its own calls, by [`Fleet::votes`](crate::fleet::Fleet::votes). Told by the first breaker of a registry,
    /// and by each that is in none.
    #[cfg(feature = "fleet")]
    DefaultRule,
    /// The configuration has `outcomes` that no classifier heeds.
    ///
    /// Nothing had asked for its [`outcomes`](crate::CircuitBreakerConfigBuilder::outcomes) when the breaker was made,
    /// so what they say is not done. [`CircuitBreakerLayer::http`](crate::CircuitBreakerLayer), `::grpc` and
    /// `::reqwest` heed them. Any other classifier is given them before the breaker is made, such as
    /// `classify::http().outcomes(config.outcomes())`, or one of your own that asks
    /// [`CircuitBreakerConfig::outcomes`](crate::CircuitBreakerConfig::outcomes); that of a registry from a file, by
    /// `Settings::outcomes`. Told by the first breaker of a registry, and by each that is in none.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use fusebox::circuit_breaker::Advice;
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, EventKind, classify::Outcomes};
    ///
    /// let (advise, advised) = mpsc::channel();
    /// let config = CircuitBreakerConfig::builder("payments")
    ///     .outcomes(Outcomes::new().failures(["404"])?)
    ///     .on_event(move |event| {
    ///         if let EventKind::Advice { advice, .. } = event.kind() {
    ///             advise.send(advice).unwrap();
    ///         }
    ///     })
    ///     .build()?;
    /// let _layer = CircuitBreakerLayer::new(config); // judges errors, and knows of no status
    /// assert_eq!(advised.try_recv()?, Advice::OutcomesUnheeded);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    OutcomesUnheeded,
}

impl Advice {
    /// Returns the kind of advice in snake case, as a metrics label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            #[cfg(feature = "fleet")]
            Self::ManyInstances { .. } => "many_instances",
            #[cfg(feature = "fleet")]
            Self::ShortWindow { .. } => "short_window",
            #[cfg(feature = "fleet")]
            Self::LongWindow { .. } => "long_window",
            #[cfg(feature = "fleet")]
            Self::DefaultRule => "default_rule",
            Self::OutcomesUnheeded => "outcomes_unheeded",
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            #[cfg(feature = "fleet")]
            Self::ManyInstances { instances } => {
                write!(f, "{instances} instances put their calls together, up to 300 are cheap: use Fleet::votes")
            }
            #[cfg(feature = "fleet")]
            Self::ShortWindow { calls, span } => {
                write!(
                    f,
                    "the fleet has the newest {calls} calls within {span:.1?}, and their order is not known: use a rule over a time"
                )
            }
            #[cfg(feature = "fleet")]
            Self::LongWindow { calls } => {
                write!(
                    f,
                    "the rule looks at the newest {calls} calls, at most 10,000 are known well: use a rule over a time"
                )
            }
            #[cfg(feature = "fleet")]
            Self::DefaultRule => f.write_str(
                "no detector was given, and the default counts the failures of all instances: use a rate with min_calls",
            ),
            Self::OutcomesUnheeded => f.write_str(
                "the configuration's `outcomes` are not heeded, no classifier has asked for them: use \
                 CircuitBreakerLayer::http or ::grpc, or classify::http().outcomes(config.outcomes())",
            ),
        }
    }
}
