use super::{Row, Setup};
use crate::caller::{Caller, Outcome, Plain, Req, drive, inner};
use crate::memory::Memory;
use recloser::{AsyncRecloser, Error, Recloser};
use tower_service::Service;

pub fn breaker(setup: Setup) -> AsyncRecloser {
    AsyncRecloser::from(
        Recloser::custom()
            .error_rate(0.5)
            .closed_len(setup.calls as usize)
            .half_open_len(1)
            .open_wait(setup.cooldown)
            .build(),
    )
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
    Row::new("recloser", "recloser 1.4.0, async, last 100", build)
}

pub fn memory() -> [Memory; 2] {
    [
        Memory::alone("recloser-alone", "recloser, last 100, one alone", || breaker(Setup::STEADY)),
        Memory::by_host("recloser", "recloser, last 100", || build(Setup::STEADY)),
    ]
}
