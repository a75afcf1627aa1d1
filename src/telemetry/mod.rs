//! What every breaker of the process has counted, and how it stands: for metrics.
//!
//! Nothing is registered and nothing is pushed: a [`Collector`] walks over all breakers when it is asked, so a call pays for
//! metrics by one plain store. A library of metrics takes what the collector finds by a [`Sink`].
//!
//! ```
//! use fusebox::telemetry::{Collector, Family, Sink, Value};
//! use fusebox::{CircuitBreaker, CircuitBreakerConfig};
//!
//! /// How many calls have failed in the whole process.
//! #[derive(Default)]
//! struct Failures {
//!     is_about_calls: bool,
//!     sum: u64,
//! }
//!
//! impl Sink for Failures {
//!     fn family(&mut self, family: &'static Family) {
//!         self.is_about_calls = family.dotted_name() == "fusebox.breaker.calls";
//!     }
//!     fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
//!         if let (true, true, Value::Count(count)) =
//!             (self.is_about_calls, labels.contains(&("outcome", "failure")), value)
//!         {
//!             self.sum += count;
//!         }
//!     }
//! }
//!
//! let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
//! breaker.acquire()?.failure();
//! let mut failures = Failures::default();
//! Collector::process().collect(&mut failures);
//! assert_eq!(failures.sum, 1);
//! # Ok::<(), fusebox::Rejected>(())
//! ```
//!
//! # What it finds
//!
//! Names as Prometheus has them. OpenTelemetry's are `fusebox.breaker.calls` and so on, with the unit beside.
//!
//! | family | labels besides `breaker`, `registry` | says |
//! |---|---|---|
//! | `fusebox_breaker_calls_total` | `outcome`: success, failure, ignored, cancelled | calls that have ended |
//! | `fusebox_breaker_slow_calls_total` | | successes and failures among them that were slow |
//! | `fusebox_breaker_rejected_calls_total` | `reason`: [`RejectReason`](crate::circuit_breaker::RejectReason) | calls that were rejected |
//! | `fusebox_breaker_transitions_total` | `from`, `to`, `cause`: [`TransitionReason`](crate::circuit_breaker::TransitionReason), `origin` | changes of state. Also a short one, which no gauge shows. Over a fleet, sum those with `origin="decided"` |
//! | `fusebox_breaker_would_open_total` | | trips that a dry run has kept from happening |
//! | `fusebox_breaker_detector_panics_total` | | panics of the detector |
//! | `fusebox_breaker_state` | `state`: closed, open, half_open | 1 for the state it is in |
//! | `fusebox_breaker_override` | `kind`: forced_open, disabled, dry_run | 1 for the override that stands |
//! | `fusebox_breaker_last_transition_timestamp_seconds` | | when the state last changed; absent before the first time |
//! | `fusebox_breaker_info` | `rule`, `mode`: local, pooled, votes | 1 |
//! | `fusebox_breaker_tally` | `part` of the rule: 0, 1 and so on, `counted`: failures, slow_calls | what is in the window |
//! | `fusebox_breaker_tally_calls` | `part` | among how many calls; absent where only bad ones are counted, and while there is no bad one |
//! | `fusebox_breaker_tally_limit` | `part` | so many of what it counts open the circuit; of a rule about a share, among the calls that it counts now. Absent for detectors that tell no [shape](crate::detect::Detector::shape) |
//! | `fusebox_breaker_probes_in_flight` | | probes on their way |
//! | `fusebox_registry_breakers` | `state`; no `breaker` | breakers in it |
//! | `fusebox_registry_overridden_breakers` | `kind`; no `breaker` | breakers in it that are overridden |
//! | `fusebox_registry_overflowed_total`, `_forgotten_total`, `_unguarded_total` | no `breaker` | as [`overflowed`](crate::Registry::overflowed), breakers that gave way, [`unguarded`](crate::Registry::unguarded) |
//! | `fusebox_registry_keys_left_out` | no `breaker` | breakers that are not closed, beyond those that have series |
//! | `fusebox_retry_calls_total`, `_attempts_total`, `_rejected_attempts_total`, `_retries_total`, `_recovered_total`, `_delay_seconds_total` | `retry` instead: the name of [`RetryStats`](crate::retry::RetryStats) | as [`RetryCounts`](crate::retry::RetryCounts) |
//! | `fusebox_retry_budget_available` | `retry` | retries that the [budget](crate::Budget) allows now; absent where there is none |
//! | `fusebox_retry_stopped_total` | `retry`, `reason`: [`StopReason`](crate::retry::StopReason) | calls that ended without success |
//! | `fusebox_news_lost_total` | none | events that were lost on the way to listeners and readers that were [too slow](crate::EventKind::Missed) |
//!
//! With the feature `fleet`, for breakers that share their state over a store:
//!
//! | family | labels | says |
//! |---|---|---|
//! | `fusebox_store_operations_total` | `store`: in [its own words](../store/trait.Store.html#method.describe), `operation`: load, changes, commit, `result`: ok, of a commit applied, conflict, duplicate, queued, combine, fenced, or a [`StoreError`](../store/enum.StoreError.html) | what this process has asked of it. One load asks for many records: one key in trouble is its result |
//! | `fusebox_store_operation_duration_seconds_total` | `store`, `operation` | how long that took: the mean is its rate, divided by that of the operations |
//! | `fusebox_store_up` | `store` | 0 while it is away |
//! | `fusebox_store_outages_total` | `store` | how often it was found to be away |
//! | `fusebox_fleet_last_heard_timestamp_seconds` | `breaker`, `registry` | when the store was last heard of; the oldest of a registry's. Absent before the first time |
//! | `fusebox_fleet_waiting_calls` | `breaker`, `registry` | calls that the store does not know of yet |
//! | `fusebox_fleet_forgotten_calls_total` | `breaker`, `registry` | calls that it will never know of, because it was away too long |
//! | `fusebox_fleet_votes` | `breaker`, `registry` | votes that stand, where the fleet votes |
//! | `fusebox_fleet_config_drift` | `breaker`, `registry` | breakers whose fleet also judges by another rule |
//! | `fusebox_fleet_record_troubles` | `breaker`, `registry` | breakers that something is wrong with in the store, which answers for others |
//!
//! A breaker that the application makes has all series, with its name as `breaker` and an empty `registry`. Two of one name
//! are one: counters add up, and states count.
//!
//! The breakers of a [`Registry`](crate::Registry) are together one set of counters, with an empty `breaker` and the registry's
//! [name](crate::Registry::named), since keys may be without number. Those of them that are not closed have series of
//! `fusebox_breaker_state`, with their name and `state` open or half_open, at most 100: see [`Keys`].
//!
//! # Counters never fall
//!
//! They go on when a registry forgets a breaker, when a thread ends, and when a breaker is dropped and made again under its
//! name; of names that went, the last 1,024 are remembered. A call that ends after its breaker was dropped counts as well,
//! unless its breaker's place in memory is another's by then: at least a thousand breakers later.

mod breakers;
mod collector;
mod family;
#[cfg(feature = "fleet")]
mod fleets;
#[cfg(any(feature = "prometheus-client", feature = "metrics", feature = "opentelemetry"))]
mod gathered;
#[cfg(feature = "metrics")]
mod metrics_facade;
mod news;
#[cfg(feature = "opentelemetry")]
mod opentelemetry;
#[cfg(feature = "prometheus-client")]
mod prometheus_client;
mod registries;
mod retries;
mod sink;
#[cfg(feature = "fleet")]
mod stores;

pub use collector::{Collector, Keys};
pub use family::{Family, Kind, Unit, Value};
#[cfg(feature = "opentelemetry")]
pub use opentelemetry::Observed;
pub use sink::Sink;
