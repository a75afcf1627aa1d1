//! What a service says when it is asked whether it is ready, is what its breaker would say: it rejects at once, for the same
//! reason, although the service inside of it is busy.

use std::task::{Context, Poll, Waker};

use fusebox::Rejected;
use futures::FutureExt;

use super::*;

/// It has all hands full.
#[derive(Clone, Debug)]
struct Busy;

impl Service<()> for Busy {
    type Response = ();
    type Error = fusebox::BoxError;
    type Future = std::future::Ready<Result<(), fusebox::BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Pending
    }

    fn call(&mut self, (): ()) -> Self::Future {
        panic!("it is not ready")
    }
}

fn rejected(instance: &Instance) -> Rejected {
    let mut service = CircuitBreakerLayer::from(instance.breaker.clone()).layer(Busy);
    let is_ready = service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!(is_ready, "it is ready to reject: {:?}", instance.breaker.snapshot());
    match service.call(()).now_or_never() {
        Some(Err(error)) => *error.downcast().expect("a rejection"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn same(instance: &Instance, reason: RejectReason, longest: std::time::Duration) {
    for rejected in [rejected(instance), instance.breaker.acquire().expect_err("it rejects")] {
        assert_eq!(rejected.reason(), reason);
        let wait = rejected.retry_after().expect("when to come back");
        assert!(!wait.is_zero() && wait <= longest, "{wait:?}");
    }
}

#[tokio::test]
async fn while_the_store_is_away() {
    let bed = Bed::new();
    let [one] = bed.fleet(|builder| usual(builder).fleet(Fleet::pooled().when_down(WhenDown::Reject))).await;
    one.wire.set(Fault::Unreachable);
    one.breaker.flush().await;
    until("it rejects", || one.breaker.acquire().is_err()).await;
    same(&one, RejectReason::StoreDown, secs(1));
}

#[tokio::test]
async fn while_another_instance_probes() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fail(&fleet[0].breaker, 3);
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2]);
    bed.clock.advance(secs(30));
    let permit = probe(&fleet[0]).await;
    flush(&fleet).await;
    let (promised, asked) = (rejected(&fleet[1]), fleet[1].breaker.acquire().expect_err("it rejects"));
    assert_eq!([promised.reason(), asked.reason()], [RejectReason::ProbesBusy; 2]);
    assert!(asked.retry_after().is_some(), "the other's probe may have ended by the next poll");
    permit.success();
}

#[tokio::test]
async fn while_the_lease_of_a_probe_is_on_its_way() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fail(&fleet[0].breaker, 3);
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2]);
    fleet[1].wire.set(Fault::Conflict);
    bed.clock.advance(secs(30));
    same(&fleet[1], RejectReason::AwaitingLease, secs(1));
}

/// The calls of this instance meet the rule, and the store takes nothing of it.
#[tokio::test]
async fn while_a_verdict_is_awaited() {
    let bed = Bed::new();
    let [one, other] =
        bed.fleet(|builder| builder.detector(detect::failure_rate(0.5).within(secs(60)).min_calls(3))).await;
    succeed(&other.breaker, 1);
    one.wire.set(Fault::Conflict);
    fail(&one.breaker, 3);
    bed.clock.advance(ms(100));
    same(&one, RejectReason::AwaitingVerdict, secs(3));
}

/// It had the fleet's only place for the 30 s of a probe's deadline.
#[tokio::test]
async fn a_service_that_is_ready_and_idle_leaves_the_probe_to_another_instance() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fail(&fleet[0].breaker, 3);
    flush(&fleet).await;
    bed.clock.advance(secs(30));
    let layer = CircuitBreakerLayer::from(fleet[0].breaker.clone()).wait_when_open();
    let mut idle = layer.layer(tower::service_fn(|(): ()| ready(Ok::<_, fusebox::BoxError>(()))));
    let has_lease = tokio::time::timeout(secs(20), idle.ready()).await;
    assert!(has_lease.is_ok_and(|ready| ready.is_ok()));
    flush(&fleet).await;
    assert!(fleet[1].breaker.acquire().is_err(), "the place is reserved");
    bed.clock.advance(ms(100));
    probe(&fleet[1]).await.success();
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
    assert!(idle.ready().await.expect("closed").call(()).await.is_ok());
}

/// A call that is made is worth more than one to come, without the time that a reservation has.
#[tokio::test]
async fn a_service_that_is_ready_and_idle_leaves_the_probe_to_a_call_of_its_own_instance() {
    let bed = Bed::new();
    let fleet: [_; 1] = bed.fleet(usual).await;
    fail(&fleet[0].breaker, 3);
    flush(&fleet).await;
    bed.clock.advance(secs(30));
    let layer = CircuitBreakerLayer::from(fleet[0].breaker.clone()).wait_when_open();
    let mut idle = layer.layer(tower::service_fn(|(): ()| ready(Ok::<_, fusebox::BoxError>(()))));
    let has_lease = tokio::time::timeout(secs(20), idle.ready()).await;
    assert!(has_lease.is_ok_and(|ready| ready.is_ok()));
    flush(&fleet).await;
    // The clock stands still: no reservation is over.
    probe(&fleet[0]).await.success();
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed]);
}
