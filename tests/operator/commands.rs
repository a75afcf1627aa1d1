//! What an operator commands, two running instances do, and what it shows is what they say.

use fusebox::circuit_breaker::{OverrideKind, TransitionReason};
use fusebox::fleet::{Fleet, FleetChange, OperatorError};
use fusebox::{Cooldown, Override, State};

use super::both::on_all;
use super::*;

fn states(change: &FleetChange) -> (Option<State>, Option<State>, bool) {
    let state = |row: &Option<FleetBreaker>| row.as_ref().and_then(FleetBreaker::state);
    (state(&change.before), state(&change.after), change.changed)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_running_instances_follow_each_command() {
    use State::{Closed, Open};
    on_all(async |raw| {
        let bed = Bed::new(&raw).await;
        let Bed { operator, .. } = &bed;
        let seen = bed.agree("at the start").await;
        assert_eq!((seen.state, seen.failures), (Closed, 1), "{raw:?}");

        let hour = Duration::from_secs(3_600);
        assert_eq!(states(&operator.trip_for(NAME, hour).await.expect("trips")), (Some(Closed), Some(Open), true));
        let seen = bed.agree("tripped for an hour").await;
        assert_eq!((seen.reason, seen.cooldown), (Some(TransitionReason::Tripped), Some(hour)));
        assert!(seen.retry_after.is_some_and(|wait| wait + Duration::from_secs(30) > hour), "{seen:?}");
        let again = operator.trip(NAME).await.expect("is open");
        assert_eq!(states(&again), (Some(Open), Some(Open), false), "one that is open is not tripped");

        assert_eq!(states(&operator.reset(NAME).await.expect("resets")), (Some(Open), Some(Closed), true));
        let seen = bed.agree("reset").await;
        assert_eq!((seen.reason, seen.failures, seen.openings), (Some(TransitionReason::Reset), 0, 0));

        let order = Override::force_open("incident 7").by("ana").expires_after(hour);
        assert_eq!(states(&operator.set_override(NAME, order).await.expect("holds")), (Some(Closed), Some(Open), true));
        let seen = bed.agree("forced open").await;
        let standing = seen.overridden.as_ref().expect("stands");
        assert_eq!((standing.kind(), standing.reason()), (OverrideKind::ForcedOpen, "incident 7"));
        assert_eq!(standing.by(), Some("ana"));
        assert!(seen.override_ends_in.is_some_and(|left| left <= hour && left + Duration::from_secs(30) > hour));
        let rejected = bed.fleet[1].acquire().expect_err("forced open").to_string();
        assert!(rejected.contains("incident 7 (by ana)"), "{rejected}");
        for refused in [operator.reset(NAME).await, operator.trip(NAME).await] {
            let error = refused.expect_err("stands");
            assert!(
                matches!(&error, OperatorError::Overridden { order, .. } if order.by() == Some("ana")),
                "{error:?}"
            );
            assert_eq!(
                error.to_string(),
                "`pay/ments` is overridden (forced open: incident 7 (by ana)): resume it first"
            );
        }

        operator.set_override(NAME, Override::disable("load test")).await.expect("holds");
        let seen = bed.agree("disabled").await;
        assert_eq!((seen.state, seen.override_ends_in), (Closed, None));
        operator.set_override(NAME, Override::dry_run("new limits")).await.expect("holds");
        let seen = bed.agree("in a dry run").await;
        assert_eq!(seen.overridden.map(|standing| standing.kind()), Some(OverrideKind::DryRun));

        assert_eq!(states(&operator.resume(NAME).await.expect("resumes")), (Some(Closed), Some(Closed), true));
        let seen = bed.agree("resumed").await;
        assert_eq!((seen.overridden, seen.reason), (None, Some(TransitionReason::Resumed)));
        let again = operator.resume(NAME).await.expect("nothing is left to end");
        assert!(!again.changed, "{again:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_without_a_cooldown_lasts_as_long_as_the_fleets_own_rule_says() {
    on_all(async |raw| {
        let bed = Bed::new(&raw).await;
        let began = now();
        let change = bed.operator.trip(NAME).await.expect("trips");
        let after = snapshot(change.after.as_ref().expect("is there"));
        assert!(after.awaits_cooldown() && after.retry_after.is_none() && after.cooldown.is_none(), "{after:?}");
        let shown = change.after.as_ref().map(ToString::to_string);
        let said = "pay/ments: open (tripped by command), for as long as the first instance says";
        assert_eq!(shown.as_deref(), Some(said));

        let seen = bed.agree("tripped").await;
        let took = began.elapsed();
        assert_eq!((seen.state, seen.cooldown), (State::Open, Some(SECONDS_77)), "{raw:?}");
        assert_eq!((seen.generation, seen.openings), (after.generation, 1), "it is the same opening");
        let left = seen.retry_after.expect("known by now");
        assert!(left <= SECONDS_77 && left + took + Duration::from_millis(50) >= SECONDS_77, "{left:?} {took:?}");
        assert!(bed.fleet.iter().all(|breaker| breaker.acquire().is_err()));
    })
    .await;
}

/// Each trip is one more opening of theirs, also by an operator's command.
#[tokio::test(flavor = "multi_thread")]
async fn cooldowns_that_grow_go_on_growing() {
    let grows = Cooldown::exponential(Duration::from_secs(10)..=Duration::from_secs(300)).jitter(0.0);
    on_all(async |raw| {
        let bed = Bed::with(&raw, |builder| usual(builder).cooldown(grows.clone())).await;
        for seconds in [10, 20, 40] {
            bed.operator.trip(NAME).await.expect("trips");
            let seen = bed.agree("tripped").await;
            assert_eq!(seen.cooldown, Some(Duration::from_secs(seconds)), "{raw:?}");
            // Ends without success: nothing shows that it is well.
            bed.operator.set_override(NAME, Override::disable("x")).await.expect("holds");
            bed.operator.resume(NAME).await.expect("resumes");
            bed.agree("resumed").await;
        }
        bed.operator.reset(NAME).await.expect("resets");
        bed.agree("reset").await;
        bed.operator.trip(NAME).await.expect("trips");
        assert_eq!(bed.agree("tripped").await.cooldown, Some(Duration::from_secs(10)), "a reset forgets it");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_no_instance_runs_the_first_that_starts_says_for_how_long() {
    on_all(async |raw| {
        let operator = operator(raw.store().await);
        operator.trip(NAME).await.expect("trips");
        tokio::time::sleep(Duration::from_millis(300)).await;
        let waits = snapshot(&operator.get(NAME).await.expect("answers").expect("is there"));
        assert!(waits.awaits_cooldown(), "{waits:?}");
        let breaker = instance(&raw, usual).await;
        breaker.flush().await;
        until("it is open", || breaker.state() == State::Open).await;
        let bed = Bed { fleet: [breaker, instance(&raw, usual).await], operator };
        let seen = bed.agree("the first has said it").await;
        assert_eq!(seen.cooldown, Some(SECONDS_77));
        assert!(seen.retry_after.is_some_and(|left| left + Duration::from_millis(300) < SECONDS_77), "{seen:?}");
    })
    .await;
}

/// It says for itself how long that is, as none is there to write it.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_may_only_read_follows_a_trip_all_the_same() {
    let both::Raw::Redis(server) = both::Raw::redis().await else { panic!("it is Redis") };
    let raw = both::Raw::Redis(server.clone());
    let operator = operator(raw.store().await);
    operator.reset(NAME).await.expect("makes it");
    server
        .command("ACL SETUSER looker on >pw ~fb:* &* -@all +hmget +scan +ping +hstrlen +exists +time +subscribe")
        .await;
    let url = server.url().replace("redis://", "redis://looker:pw@");
    let store = Arc::new(fusebox::store::RedisStore::connect(url).await.expect("may look"));
    let breaker =
        CircuitBreaker::new(usual(CircuitBreakerConfig::builder(NAME).store(store)).build().expect("a config"));
    breaker.flush().await;
    operator.trip(NAME).await.expect("trips");
    until("it is open", || breaker.state() == State::Open).await;
    assert!(breaker.retry_after().is_some_and(|left| left > Duration::from_secs(60)), "{:?}", breaker.snapshot());
    let writer = instance(&raw, |builder| usual(builder).cooldown(Cooldown::fixed(Duration::from_secs(3_600)))).await;
    until("it takes over what another has written", || {
        breaker.retry_after().is_some_and(|left| left > Duration::from_secs(3_000))
    })
    .await;
    assert_eq!(writer.state(), State::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_that_votes_follows_as_well() {
    on_all(async |raw| {
        let bed = Bed::with(&raw, |builder| usual(builder).fleet(Fleet::votes(2))).await;
        bed.operator.clone().create_missing().trip(NAME).await.expect("trips");
        assert_eq!(bed.agree("tripped").await.cooldown, Some(SECONDS_77), "{raw:?}");
        bed.operator.reset(NAME).await.expect("resets");
        assert_eq!(bed.agree("reset").await.state, State::Closed);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_instances_decide_is_what_an_operator_sees() {
    on_all(async |raw| {
        let bed = Bed::new(&raw).await;
        for _ in 0..2 {
            bed.fleet[1].acquire().expect("closed").failure();
        }
        until("it opens", || bed.fleet[1].state() == State::Open).await;
        let seen = bed.agree("opened by its failures").await;
        assert!(matches!(seen.reason, Some(TransitionReason::Detected(_))), "{seen:?}");
        let verdict = seen.verdict.expect("a verdict");
        assert_eq!((verdict.tally.count(), verdict.silent), (3, 0));
        assert!(seen.bytes > 0 && seen.written_ago.is_some() && seen.rules == 1, "{seen:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_whose_time_is_over_is_shown_as_over() {
    on_all(async |raw| {
        let operator = operator(raw.store().await);
        let order = Override::force_open("deploy").expires_after(Duration::from_millis(300));
        operator.set_override(NAME, order).await.expect("holds");
        tokio::time::sleep(Duration::from_millis(400)).await;
        let seen = snapshot(&operator.get(NAME).await.expect("answers").expect("is there"));
        assert_eq!((seen.state, seen.reason), (State::Closed, Some(TransitionReason::OverrideExpired)), "{raw:?}");
        let breaker = instance(&raw, usual).await;
        breaker.flush().await;
        assert_eq!(breaker.state(), State::Closed, "as each instance says");
        assert!(operator.trip(NAME).await.expect("nothing stands").changed);
    })
    .await;
}
