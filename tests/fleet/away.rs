//! The store is away.

use super::*;

fn told(instance: &Instance) -> (usize, usize) {
    let events = instance.events.take();
    (kinds(&events, |kind| kind == EventKind::StoreDegraded), kinds(&events, |kind| kind == EventKind::StoreRecovered))
}

/// Each instance finds out by itself that its store is away.
async fn cut(instances: &[Instance], fault: Fault) {
    for instance in instances {
        instance.wire.set(fault);
        instance.breaker.flush().await;
        until("the instance is on its own", || {
            instance.breaker.snapshot().fleet.is_some_and(|fleet| fleet.away.is_some())
        })
        .await;
    }
}

async fn mend(instances: &[Instance]) {
    for instance in instances {
        instance.wire.set(Fault::None);
        instance.breaker.flush().await;
        until("the store answers again", || {
            instance.breaker.snapshot().fleet.is_some_and(|fleet| fleet.away.is_none())
        })
        .await;
    }
    flush(instances).await;
}

fn when_down(when_down: WhenDown) -> impl Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder {
    move |builder| usual(builder).fleet(Fleet::pooled().when_down(when_down))
}

#[tokio::test]
async fn without_its_store_an_instance_goes_on_by_itself_from_what_it_knew() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(when_down(WhenDown::Local)).await;
    fail(&fleet[0].breaker, 1);
    flush(&fleet).await;
    cut(&fleet, Fault::Unreachable).await;
    assert_eq!(fleet[1].breaker.snapshot().scope, StateScope::Fleet, "nothing has changed yet");
    fail(&fleet[1].breaker, 1);
    assert_eq!(states(&fleet), [State::Closed; 2]);
    fail(&fleet[1].breaker, 1);
    assert_eq!(states(&fleet), [State::Closed, State::Open], "with the one of the other: three");
    assert_eq!(fleet[1].breaker.snapshot().scope, StateScope::Instance);
    bed.clock.advance(secs(30));
    let permit = fleet[1].breaker.acquire().expect("its own probe");
    assert!(permit.is_probe());
    permit.success();
    assert_eq!(fleet[1].breaker.state(), State::Closed);
    mend(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
    assert_eq!(fleet[1].breaker.snapshot().scope, StateScope::Fleet);
}

#[tokio::test]
async fn what_an_instance_decided_alone_gives_way_to_the_fleets_state() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(when_down(WhenDown::Local)).await;
    cut(&fleet[..1], Fault::Unreachable).await;
    bed.clock.advance(secs(61));
    fleet[1].breaker.trip().expect("no override");
    fleet[1].breaker.flush().await;
    fleet[1].breaker.reset().expect("no override");
    fleet[1].breaker.flush().await;
    fail(&fleet[0].breaker, 3);
    assert_eq!(states(&fleet), [State::Open, State::Closed]);
    mend(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2], "a provisional trip never outranks the record");
}

#[tokio::test]
async fn failures_seen_while_the_store_was_away_count_when_it_is_back() {
    let bed = Bed::new();
    let fleet: [_; 3] = bed.fleet(when_down(WhenDown::Local)).await;
    cut(&fleet, Fault::Unreachable).await;
    for instance in &fleet {
        fail(&instance.breaker, 1);
    }
    assert_eq!(states(&fleet), [State::Closed; 3]);
    mend(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 3]);
}

#[tokio::test]
async fn who_admits_without_a_store_admits_everything_and_judges_nothing() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(when_down(WhenDown::Admit)).await;
    fleet[0].breaker.trip().expect("no override");
    flush(&fleet).await;
    cut(&fleet, Fault::Unreachable).await;
    fail(&fleet[1].breaker, 20);
    mend(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2], "the fleet's state was not theirs to change");
    fleet[0].breaker.reset().expect("no override");
    flush(&fleet).await;
    assert_eq!(failures(&fleet[1].breaker), 0);
}

#[tokio::test]
async fn who_rejects_without_a_store_rejects_everything() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(when_down(WhenDown::Reject)).await;
    cut(&fleet, Fault::Unreachable).await;
    assert_eq!(fleet[0].breaker.acquire().expect_err("the store is down").reason(), RejectReason::StoreDown);
    mend(&fleet).await;
    assert!(fleet[0].breaker.acquire().is_ok());
}

#[tokio::test]
async fn a_breaker_that_never_reached_its_store_works() {
    let bed = Bed::new();
    let one = bed.instance(when_down(WhenDown::Local));
    cut(std::slice::from_ref(&one), Fault::Refused).await;
    fail(&one.breaker, 3);
    assert!(one.breaker.is_open());
    let away = one.breaker.snapshot().fleet.and_then(|fleet| fleet.away);
    assert!(away.is_some_and(|why| why.contains("password")), "it says why");
}

#[tokio::test]
async fn degraded_and_recovered_are_told_once_per_change() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(when_down(WhenDown::Local)).await;
    assert_eq!(told(&fleet[0]), (0, 0), "what answers from the start has not recovered");
    for _ in 0..3 {
        cut(&fleet, Fault::Unreachable).await;
        for _ in 0..5 {
            flush(&fleet).await;
        }
        assert_eq!((told(&fleet[0]), told(&fleet[1])), ((1, 0), (1, 0)));
        mend(&fleet).await;
        flush(&fleet).await;
        assert_eq!((told(&fleet[0]), told(&fleet[1])), ((0, 1), (0, 1)));
    }
}

#[tokio::test]
async fn c59_flush_returns_where_the_store_is_away() {
    let bed = Bed::new();
    let one = bed.instance(usual);
    one.wire.set(Fault::Unreachable);
    fail(&one.breaker, 1);
    tokio::time::timeout(secs(20), one.breaker.flush()).await.expect("it returns");
}

#[tokio::test]
async fn an_override_given_while_the_store_was_away_reaches_the_others_later() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(when_down(WhenDown::Local)).await;
    cut(&fleet[..1], Fault::Unreachable).await;
    fleet[0].breaker.set_override(Override::force_open("incident 7"));
    assert_eq!(states(&fleet), [State::Open, State::Closed], "here at once");
    mend(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2]);
}

#[tokio::test]
async fn an_override_ends_when_it_was_meant_to_however_late_it_reaches_the_store() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(when_down(WhenDown::Local)).await;
    cut(&fleet[..1], Fault::Unreachable).await;
    fleet[0].breaker.set_override(Override::force_open("incident 7").expires_after(secs(60)));
    fleet[0].breaker.set_override(Override::disable("incident 8").expires_after(secs(10)));
    fleet[0].breaker.set_override(Override::force_open("incident 9").expires_after(secs(60)));
    bed.clock.advance(secs(40));
    mend(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2]);
    let left = fleet[1].breaker.retry_after().expect("forced open");
    assert!(left <= secs(20), "{left:?}");
    bed.clock.advance(secs(20));
    assert_eq!(states(&fleet), [State::Closed; 2]);
}
