use super::{Row, Setup};
use crate::caller::{Caller, Outcome, Plain, Req, drive, inner};
use failsafe::futures::CircuitBreaker;
use failsafe::{Config, Error, backoff, failure_policy};
use tower_service::Service;

/// It has no window of calls: consecutive failures is its nearest policy, and less work.
fn build(setup: Setup) -> impl Caller + Sync {
    let policy = failure_policy::consecutive_failures(setup.calls / 2, backoff::constant(setup.cooldown));
    let breaker = Config::new().failure_policy(policy).build();
    let mut service = inner();
    Plain(move |req: Req| match drive(breaker.call(service.call(req))) {
        Ok(answer) => {
            std::hint::black_box(answer);
            Outcome::Ok
        }
        Err(Error::Inner(_)) => Outcome::Failed,
        Err(Error::Rejected) => Outcome::Rejected,
    })
}

pub fn row() -> Row {
    Row::new("failsafe", "failsafe 1.3.0, async, consecutive failures", build)
}
