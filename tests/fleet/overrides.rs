//! Operators speak to all instances at once.

use super::*;

#[tokio::test]
async fn a_command_reaches_every_instance() {
    let bed = Bed::new();
    let fleet: [_; 3] = bed.fleet(usual).await;
    fleet[0].breaker.trip().expect("no override");
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 3]);
    assert_eq!(fleet[2].breaker.snapshot().reason, Some(TransitionReason::Tripped));
    fleet[1].breaker.reset().expect("no override");
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 3]);
    assert_eq!(fleet[0].breaker.snapshot().reason, Some(TransitionReason::Reset));
}

#[tokio::test]
async fn an_override_stands_everywhere_with_its_reason_and_who_gave_it() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.set_override(Override::force_open("deploy 42").by("ana"));
    flush(&fleet).await;
    let order = fleet[1].breaker.snapshot().overridden.expect("an override");
    assert_eq!((order.reason(), order.by()), ("deploy 42", Some("ana")));
    assert_eq!(fleet[1].breaker.acquire().expect_err("forced open").reason(), RejectReason::ForcedOpen);
    assert!(fleet[1].breaker.trip().is_err() && fleet[1].breaker.reset().is_err());

    let late = bed.instance(usual);
    late.breaker.flush().await;
    assert_eq!(late.breaker.snapshot().overridden, Some(order), "also for who comes later");

    fleet[1].breaker.resume();
    flush(fleet.iter().chain([&late])).await;
    assert_eq!(states(fleet.iter().chain([&late])), [State::Closed; 3]);
    assert_eq!(fleet[0].breaker.snapshot().overridden, None);
    assert_eq!(fleet[0].breaker.snapshot().reason, Some(TransitionReason::Resumed));
}

#[tokio::test]
async fn an_override_ends_everywhere_at_its_time() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fail(&fleet[1].breaker, 2);
    fleet[0].breaker.set_override(Override::force_open("deploy 42").expires_after(secs(60)));
    flush(&fleet).await;
    bed.clock.advance(secs(59));
    assert_eq!(states(&fleet), [State::Open; 2]);
    bed.clock.advance(secs(1));
    assert_eq!(states(&fleet), [State::Closed; 2]);
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
    assert_eq!(fleet[1].breaker.snapshot().reason, Some(TransitionReason::OverrideExpired));
    assert_eq!(failures(&fleet[1].breaker), 0, "with an empty window");
}

/// A breaker without a store is the truth: one instance over a store tells of a dry run what it tells.
#[tokio::test]
async fn a_dry_run_of_one_instance_tells_what_a_breaker_without_a_store_tells() {
    for limit in [1_u32, 2, 3] {
        let bed = Bed::new();
        let detector = || detect::failures(limit).within(secs(60));
        let shared = bed.instance(|builder| builder.detector(detector()));
        let told: Record<Event> = Record::default();
        let list = told.clone();
        let alone = CircuitBreaker::new(support::config(|builder| {
            builder.detector(detector()).clock(bed.clock.clone()).on_event(move |event| list.add(event.clone()))
        }));
        shared.breaker.flush().await;
        for breaker in [&shared.breaker, &alone] {
            breaker.set_override(Override::dry_run("new limits"));
        }
        shared.breaker.flush().await;
        for _ in 0..6 {
            fail(&shared.breaker, 1);
            fail(&alone, 1);
            shared.breaker.flush().await;
        }
        let count = |events: &Record<Event>| kinds(&events.all(), |kind| matches!(kind, EventKind::WouldOpen { .. }));
        assert_eq!(count(&told), 6 / limit as usize);
        assert_eq!(count(&shared.events), count(&told), "failures({limit})");
    }
}

#[tokio::test]
async fn a_dry_run_of_the_fleet_lets_calls_through_and_tells_that_it_would_have_opened() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.set_override(Override::dry_run("new limits"));
    flush(&fleet).await;
    fail(&fleet[0].breaker, 2);
    fleet[0].breaker.flush().await;
    fail(&fleet[1].breaker, 1);
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
    let told = |instance: &Instance| kinds(&instance.events.take(), |kind| matches!(kind, EventKind::WouldOpen { .. }));
    assert_eq!(told(&fleet[0]) + told(&fleet[1]), 1, "by whoever found out");
}

#[tokio::test]
async fn disabled_for_all_nothing_is_recorded() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.set_override(Override::disable("load test"));
    flush(&fleet).await;
    fail(&fleet[1].breaker, 50);
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
    assert_eq!(failures(&fleet[0].breaker), 0);
}

// From the start, by one instance's configuration

#[tokio::test]
async fn what_one_instance_is_configured_to_is_no_order_to_the_others() {
    for order in [Override::force_open("here only"), Override::disable("here only"), Override::dry_run("here only")] {
        let bed = Bed::new();
        let fleet: [_; 2] = bed.fleet(usual).await;
        let held = bed.instance(|b| usual(b).initial_override(order.clone()));
        flush(fleet.iter().chain([&held])).await;
        assert!(held.breaker.snapshot().overridden.is_some_and(|standing| standing == order));
        assert_eq!(fleet[0].breaker.snapshot().overridden, None, "{order}");
        let rejects = order.kind() == fusebox::circuit_breaker::OverrideKind::ForcedOpen;
        for _ in 0..10 {
            assert_eq!(held.breaker.acquire().map(fusebox::Permit::failure).is_err(), rejects);
        }
        flush(fleet.iter().chain([&held])).await;
        assert_eq!(states(&fleet), [State::Closed; 2], "{order}: nor are its calls told");
        assert_eq!((held.wire.loads(), held.wire.commits()), (0, 0), "{order}");
        fail(&fleet[0].breaker, 3);
        flush(fleet.iter().chain([&held])).await;
        assert_eq!(states(&fleet), [State::Open; 2]);
        let state = if rejects { State::Open } else { State::Closed };
        assert_eq!(held.breaker.state(), state, "nor does it heed theirs");
        // Then it is one of them.
        held.breaker.resume();
        held.breaker.flush().await;
        assert_eq!(held.breaker.state(), State::Open, "{order}");
        assert_eq!(held.breaker.snapshot().overridden, None);
        assert!(held.breaker.snapshot().fleet.is_some());
    }
}

#[tokio::test]
async fn an_instance_held_for_a_while_joins_when_that_is_over_and_undoes_no_order_of_the_fleet() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    let held = bed.instance(|b| usual(b).initial_override(Override::disable("here only").expires_after(secs(60))));
    fleet[0].breaker.set_override(Override::force_open("for all"));
    flush(fleet.iter().chain([&held])).await;
    fail(&held.breaker, 1);
    bed.clock.advance(secs(60));
    held.breaker.acquire().expect("it knows nothing of the fleet yet").failure();
    flush(fleet.iter().chain([&held])).await;
    for instance in fleet.iter().chain([&held]) {
        let standing = instance.breaker.snapshot().overridden.expect("the fleet's");
        assert_eq!(standing.reason(), "for all");
    }
    fleet[1].breaker.resume();
    flush(fleet.iter().chain([&held])).await;
    fail(&held.breaker, 3);
    flush(fleet.iter().chain([&held])).await;
    assert_eq!(states(fleet.iter().chain([&held])), [State::Open; 3], "its calls count for all");
}

#[tokio::test]
async fn a_breaker_that_is_dropped_while_it_is_held_leaves_nothing() {
    let bed = Bed::new();
    let held = bed.instance(|b| usual(b).initial_override(Override::disable("here only")));
    drop(held.breaker);
    let other = bed.instance(usual);
    other.breaker.flush().await;
    assert_eq!(bed.stored().await.version.0, 0, "nothing was written");
    assert_eq!(other.breaker.state(), State::Closed);
}
