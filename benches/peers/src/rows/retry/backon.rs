//! backon retries a closure, so what is made for each call includes the policy.

use super::{RETRIES, WAIT, flaky};
use crate::caller::{Caller, Inner, Outcome, Plain, Req, drive, inner, weight};
use crate::rows::{Column, Row, Setup, recloser};
use backon::{ConstantBuilder, Retryable};
use std::future::{Ready, ready};
use std::hint::black_box;
use std::time::Duration;
use tower_service::Service;

fn policy(delay: Duration) -> ConstantBuilder {
    ConstantBuilder::default().with_delay(delay).with_max_times(RETRIES as usize)
}

fn at_once(_: Duration) -> Ready<()> {
    ready(())
}

fn outcome<E>(result: Result<u32, E>) -> Outcome {
    match result {
        Ok(answer) => {
            black_box(answer);
            Outcome::Ok
        }
        Err(_) => Outcome::Failed,
    }
}

fn over(mut service: Inner) -> impl Caller {
    Plain(move |req: Req| {
        outcome(drive((|| service.call(black_box(req))).retry(policy(Duration::ZERO)).sleep(at_once)))
    })
}

pub fn row() -> Row {
    Row::empty("backon", "backon 1.6.0")
        .column(Column::FirstTry, || over(inner()))
        .weighing(|| {
            let (mut service, req) = (inner(), Req::ok(0));
            weight(move || (move || service.call(req)).retry(policy(Duration::ZERO)).sleep(at_once))
        })
        .column(Column::TwoRetries, || over(flaky()))
        .waits(|| {
            let mut service = flaky();
            async move |req| {
                let call = || service.call(black_box(req));
                call.retry(policy(WAIT)).sleep(tokio::time::sleep).await.is_ok()
            }
        })
        .weighing(|| {
            let (mut service, req) = (inner(), Req::ok(0));
            weight(move || (move || service.call(req)).retry(policy(WAIT)).sleep(tokio::time::sleep))
        })
}

pub fn stack() -> Row {
    Row::empty("backon-recloser", "backon over recloser")
        .column(Column::Stacked, || {
            let breaker = recloser::breaker(Setup::STEADY);
            let mut service = inner();
            Plain(move |req: Req| {
                let call = || breaker.call(service.call(black_box(req)));
                outcome(drive(call.retry(policy(Duration::ZERO)).sleep(at_once)))
            })
        })
        .weighing(|| {
            let (breaker, mut service, req) = (recloser::breaker(Setup::STEADY), inner(), Req::ok(0));
            weight(|| (|| breaker.call(service.call(req))).retry(policy(Duration::ZERO)).sleep(at_once))
        })
}
