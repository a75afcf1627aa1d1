use super::{Row, Setup};
use crate::caller::{Caller, Outcome, Plain, Req, drive, inner};
use crate::memory::Memory;
use failsafe::futures::CircuitBreaker;
use failsafe::{Config, Error, backoff, failure_policy};
use tower_service::Service;

/// It has no window of calls: consecutive failures is its nearest policy, and less work.
fn breaker(setup: Setup) -> impl CircuitBreaker + Clone + Send + Sync {
    let policy = failure_policy::consecutive_failures(setup.calls / 2, backoff::constant(setup.cooldown));
    Config::new().failure_policy(policy).build()
}

pub fn build(setup: Setup) -> impl Caller + Sync {
    let breaker = breaker(setup);
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

pub fn memory() -> [Memory; 2] {
    [
        Memory::alone("failsafe-alone", "failsafe, consecutive failures, one alone", || breaker(Setup::STEADY)),
        Memory::by_host("failsafe", "failsafe, consecutive failures", || build(Setup::STEADY)),
    ]
}
