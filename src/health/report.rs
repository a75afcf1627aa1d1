//! What a look at the process shows.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::breaker::Trouble;
use crate::circuit::{StandingOverride, State, StateScope, TransitionReason};
#[cfg(feature = "fleet")]
use crate::fleet::StoreState;
use crate::json::Json;
use crate::one_line::OneLine;

/// Whether this instance is fit.
///
/// ```
/// use fusebox::health::Status;
///
/// assert_eq!(Status::Degraded.as_str(), "degraded");
/// assert!(Status::Degraded.is_fit() && !Status::Down.is_fit());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(rename_all = "snake_case"))]
#[expect(clippy::exhaustive_enums, reason = "users match on all of them to answer in another protocol")]
pub enum Status {
    /// All circuits are closed, and all stores answer.
    Up,
    /// Something is wrong, and to send requests elsewhere would not help.
    Degraded,
    /// Requests fare better with another instance.
    Down,
}

impl Status {
    /// Returns `up`, `degraded` or `down`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// Tells whether the instance is to be sent requests: it is, unless it is down.
    #[must_use]
    pub const fn is_fit(self) -> bool {
        !matches!(self, Self::Down)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a look at the process showed. `Display` gives a line for a log, [`to_json`](Self::to_json) the body of an answer.
///
/// ```
/// use fusebox::health::Health;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// let payments = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// payments.trip()?;
/// let report = Health::process().check();
/// assert_eq!(report.to_string(), "degraded: payments is open (tripped by command)");
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// Whether this instance is fit.
    pub status: Status,
    /// The breakers whose circuit is not closed. Critical ones come first, then those made by hand, then those that have
    /// been so for longest.
    pub breakers: Vec<BreakerReport>,
    /// How many more there are.
    pub left_out: usize,
    /// The stores that breakers of this process share their state in.
    #[cfg(feature = "fleet")]
    pub stores: Vec<StoreReport>,
}

/// A breaker whose circuit is not closed.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BreakerReport {
    /// The name of the breaker.
    pub name: Arc<str>,
    /// The name of the registry that made it; empty where none did, or it has no name.
    pub registry: Arc<str>,
    /// Whether the instance was said to be of no use without it.
    pub critical: bool,
    /// Open or half-open.
    pub state: State,
    /// Whose state it is: this instance's, or the whole fleet's.
    pub scope: StateScope,
    /// Why; in words where it is written down.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_words"))]
    pub reason: Option<TransitionReason>,
    /// For how long it has been in this state.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of"))]
    pub in_state_for: Duration,
    /// How long until it lets a call through, where that is known and not now.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::time::seconds::of_option"))]
    pub retry_after: Option<Duration>,
    /// The override that holds it; in words where it is written down.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_words"))]
    pub overridden: Option<StandingOverride>,
}

/// A store that breakers of this process share their state in.
#[cfg(feature = "fleet")]
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct StoreReport {
    /// Which one, in [its own words](crate::store::Store::describe).
    pub store: Arc<str>,
    /// Why this instance is on its own, while it is.
    pub away: Option<Arc<str>>,
}

impl BreakerReport {
    pub(super) fn new(critical: bool, trouble: Trouble) -> Self {
        let Trouble { name, registry, state, scope, reason, lasts, retry_after, overridden, .. } = trouble;
        Self { name, registry, critical, state, scope, reason, in_state_for: lasts, retry_after, overridden }
    }

    fn json(&self) -> Json {
        let seconds = |duration: Duration| Json::Number(duration.as_secs_f64());
        Json::object([
            ("name", Json::text(&*self.name)),
            ("registry", Json::text(&*self.registry)),
            ("critical", Json::Bool(self.critical)),
            ("state", Json::text(self.state.as_str())),
            ("scope", Json::text(self.scope.as_str())),
            ("reason", self.reason.map_or(Json::Null, |reason| Json::text(reason.to_string()))),
            ("in_state_for", seconds(self.in_state_for)),
            ("retry_after", self.retry_after.map_or(Json::Null, seconds)),
            ("overridden", self.overridden.as_ref().map_or(Json::Null, |order| Json::text(order.to_string()))),
        ])
    }
}

impl fmt::Display for BreakerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}", OneLine(&self.name), self.state)?;
        match (&self.overridden, self.reason) {
            (Some(order), _) => write!(f, " ({order})"),
            (None, Some(reason)) => write!(f, " ({reason})"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(feature = "fleet")]
impl StoreReport {
    pub(super) fn new(state: StoreState) -> Self {
        let StoreState { store, away } = state;
        Self { store, away }
    }

    fn json(&self) -> Json {
        let away = self.away.as_ref().map_or(Json::Null, |away| Json::text(&**away));
        Json::object([("store", Json::text(&*self.store)), ("away", away)])
    }
}

impl Report {
    /// Returns it as JSON: with the feature `serde` it is written the same by any serializer. Times are in seconds.
    ///
    /// ```
    /// use fusebox::health::Health;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock};
    ///
    /// let config = CircuitBreakerConfig::builder("payments").clock(ManualClock::new()).build()?;
    /// let payments = CircuitBreaker::new(config);
    /// payments.trip()?;
    /// let json: serde_json::Value = serde_json::from_str(&Health::process().check().to_json())?;
    /// assert_eq!(json["status"], "degraded");
    /// assert_eq!(json["breakers"][0]["reason"], "tripped by command");
    /// assert_eq!(json["breakers"][0]["retry_after"].as_f64(), Some(30.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        let left_out = u64::try_from(self.left_out).unwrap_or(u64::MAX);
        let members = [
            ("status", Json::text(self.status.as_str())),
            ("breakers", Json::List(self.breakers.iter().map(BreakerReport::json).collect())),
            ("left_out", Json::Whole(left_out)),
            #[cfg(feature = "fleet")]
            ("stores", Json::List(self.stores.iter().map(StoreReport::json).collect())),
        ];
        Json::object(members).to_string()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)?;
        let mut separator = ": ";
        for breaker in &self.breakers {
            write!(f, "{separator}{breaker}")?;
            separator = ", ";
        }
        if self.left_out > 0 {
            write!(f, " and {} more", self.left_out)?;
        }
        #[cfg(feature = "fleet")]
        for store in &self.stores {
            if let Some(away) = &store.away {
                write!(f, "{separator}{} is away ({away})", store.store)?;
                separator = ", ";
            }
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
#[expect(clippy::ref_option, reason = "serde passes the field by reference")]
fn in_words<T: fmt::Display, S: serde::Serializer>(value: &Option<T>, to: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => to.serialize_some(&value.to_string()),
        None => to.serialize_none(),
    }
}
