//! Whether this instance is fit to be sent requests, as a load balancer or an orchestrator asks.
//!
//! An open circuit is a dependency's trouble. If every instance that has one reported itself unfit, one sick dependency
//! would take the whole fleet out of the balancer, and with it all that still works. So an open circuit is *degraded*,
//! which is told, and fit. An instance is *down* only for breakers that are named [critical](Health::critical), and only
//! where leaving helps:
//!
//! | a critical breaker | is | because |
//! |---|---|---|
//! | shares its state, and is open for the whole fleet | degraded | the dependency is bad: any other instance fares no better |
//! | shares its state by [votes](../fleet/struct.Fleet.html#method.votes), and is open for this instance alone | down | this instance is bad: the others go on |
//! | shares its state, and its store is away | degraded | what the others see is not known |
//! | shares no state, and is open | down | as its owner asked by naming it |
//! | is held open by an operator | degraded | that says nothing of this instance |
//! | is open, and its cooldown is over, or half-open | degraded | only a call can show that it has recovered: an instance that is never sent one would never come back |
//!
//! [`web::health`](../web/fn.health.html) (feature `http`) makes the answer of it, 200 or 503; with the feature `axum` a
//! [`Report`] is one itself. Ask it for *readiness*. Never ask it for liveness: what is killed for it starts again with the
//! same dependency.
//!
//! ```
//! use fusebox::health::{Health, Status};
//! use fusebox::{CircuitBreaker, CircuitBreakerConfig};
//!
//! let health = Health::process().critical(["database"]);
//! let search = CircuitBreaker::new(CircuitBreakerConfig::new("search"));
//! assert_eq!(health.check().status, Status::Up);
//! search.trip()?;
//! let report = health.check();
//! assert_eq!(report.status, Status::Degraded, "told, and fit");
//! assert_eq!(&*report.breakers[0].name, "search");
//!
//! let database = CircuitBreaker::new(CircuitBreakerConfig::new("database"));
//! database.trip()?;
//! assert_eq!(health.check().status, Status::Down);
//! # Ok::<(), fusebox::circuit_breaker::Overridden>(())
//! ```

mod check;
mod report;

pub use check::Health;
#[cfg(feature = "fleet")]
pub use report::StoreReport;
pub use report::{BreakerReport, Report, Status};
