//! Calls through breakers that are shared.

use super::*;

#[tokio::test]
async fn outcomes_from_before_a_transition_change_nothing() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    let early: Vec<_> = (0..5).map(|_| fleet[0].breaker.acquire().expect("closed")).collect();
    fleet[1].breaker.trip().expect("no override");
    flush(&fleet).await;
    fleet[1].breaker.reset().expect("no override");
    flush(&fleet).await;
    for permit in early {
        permit.failure();
    }
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Closed; 2]);
    assert_eq!((failures(&fleet[0].breaker), failures(&fleet[1].breaker)), (0, 0));
}

#[tokio::test]
async fn the_fleet_has_one_probe_at_a_time() {
    let bed = Bed::new();
    let fleet: [_; 3] = bed.fleet(usual).await;
    fleet[0].breaker.trip().expect("no override");
    flush(&fleet).await;
    bed.clock.advance(secs(30));
    let permit = probe(&fleet[1]).await;
    for instance in &fleet {
        assert!(instance.breaker.acquire().is_err());
        instance.breaker.flush().await;
        assert!(instance.breaker.acquire().is_err(), "the place is taken");
    }
    // Those who asked have gone elsewhere.
    bed.clock.advance(secs(2));
    drop(permit);
    fleet[1].breaker.flush().await;
    let next = probe(&fleet[2]).await;
    next.success();
    flush([&fleet[2], &fleet[0], &fleet[1]]).await;
    assert_eq!(states(&fleet), [State::Closed; 3]);
}

#[tokio::test]
async fn a_probe_that_nobody_ends_fails_at_its_deadline() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.trip().expect("no override");
    flush(&fleet).await;
    bed.clock.advance(secs(30));
    let permit = probe(&fleet[0]).await;
    bed.clock.advance(secs(30));
    assert!(fleet[1].breaker.acquire().is_err());
    flush([&fleet[1], &fleet[0]]).await;
    assert_eq!(states(&fleet), [State::Open; 2]);
    assert_eq!(fleet[1].breaker.snapshot().reason, Some(TransitionReason::ProbeExpired));
    permit.success();
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 2], "too late");
}

#[tokio::test]
async fn probes_that_hang_and_are_given_up_by_several_instances_reopen_the_fleet() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    fleet[0].breaker.trip().expect("no override");
    flush(&fleet).await;
    bed.clock.advance(secs(30));
    for (who, state) in [(0, State::HalfOpen), (1, State::HalfOpen), (0, State::Open)] {
        let hanging = probe(&fleet[who]).await;
        bed.clock.advance(secs(2));
        drop(hanging);
        flush([&fleet[who], &fleet[0], &fleet[1]]).await;
        assert_eq!(states(&fleet), [state; 2]);
    }
    assert_eq!(fleet[1].breaker.snapshot().reason, Some(TransitionReason::ProbesGivenUp));
}

/// A host that is gone takes many breakers with it. The instances of each know one end of its cooldown; the breakers do
/// not all probe together.
#[tokio::test]
async fn the_cooldowns_of_a_fleets_breakers_end_apart_unless_they_are_fixed() {
    let bed = Bed::new();
    let waits = async |cooldown: fn() -> Cooldown, prefix: &str| {
        let mut waits = Vec::new();
        for nth in 0..40 {
            let named = || {
                let store: Arc<dyn Store> = Arc::new(bed.store.clone());
                let builder = CircuitBreakerConfig::builder(format!("{prefix}-{nth}")).cooldown(cooldown());
                CircuitBreaker::new(builder.clock(bed.clock.clone()).store(store).build().expect("a configuration"))
            };
            let (here, there) = (named(), named());
            here.flush().await;
            there.flush().await;
            here.trip().expect("no override");
            here.flush().await;
            there.flush().await;
            let wait = here.retry_after().expect("open");
            assert_eq!(there.retry_after(), Some(wait), "one end for all");
            waits.push(wait);
        }
        waits.sort();
        waits
    };
    let plain = waits(|| secs(30).into(), "plain").await;
    assert!(plain.iter().all(|wait| (secs(27)..=secs(30)).contains(wait)), "{plain:?}");
    assert!(plain[39].saturating_sub(plain[0]) > secs(1), "{plain:?}");
    let most = (0..30).map(|tenth| {
        let from = secs(27) + ms(100) * tenth;
        plain.iter().filter(|wait| (from..from + ms(100)).contains(*wait)).count()
    });
    assert!(most.max() < Some(10), "{plain:?}");
    assert_eq!(waits(|| Cooldown::fixed(secs(30)), "fixed").await, vec![secs(30); 40]);
}

#[tokio::test]
async fn registries_share_by_name() {
    let bed = Bed::new();
    let registry = || {
        let (handle, clock): (Arc<dyn Store>, _) = (Arc::new(bed.store.clone()), bed.clock.clone());
        Registry::new(move |name| {
            usual(CircuitBreakerConfig::builder(name)).clock(clock.clone()).store(handle.clone()).build()
        })
    };
    let (here, there) = (registry(), registry());
    for name in ["tenant-7", "tenant-8"] {
        here.breaker(name).expect("a breaker").flush().await;
        there.breaker(name).expect("a breaker").flush().await;
    }
    fail(&here.breaker("tenant-7").expect("a breaker"), 3);
    here.breaker("tenant-7").expect("a breaker").flush().await;
    there.breaker("tenant-7").expect("a breaker").flush().await;
    there.breaker("tenant-8").expect("a breaker").flush().await;
    assert!(there.breaker("tenant-7").expect("a breaker").is_open());
    assert!(!there.breaker("tenant-8").expect("a breaker").is_open());
    assert!(there.remove("tenant-7").is_some());
    let again = there.breaker("tenant-7").expect("a breaker");
    again.flush().await;
    assert!(again.is_open(), "what a registry forgets the store knows");
}

#[test]
fn blocking_callers_share_too() {
    let bed = Bed::new();
    let fleet = [bed.instance(usual), bed.instance(usual)];
    let flushed = || futures::executor::block_on(flush(&fleet));
    flushed();
    for n in 0..3 {
        let failed = fleet[n % 2].breaker.call_blocking(|| "x".parse::<u32>());
        assert!(matches!(failed, Err(CallError::Inner(_))), "{failed:?}");
        flushed();
    }
    for instance in &fleet {
        let rejected = instance.breaker.call_blocking(|| "1".parse::<u32>());
        assert!(matches!(rejected, Err(CallError::Rejected(_))), "{rejected:?}");
    }
}

#[tokio::test]
async fn who_waits_for_the_circuit_gets_the_probe_and_the_others_follow() {
    let store = MemoryStore::new();
    let layer = || {
        let handle: Arc<dyn Store> = Arc::new(store.clone());
        let config = usual(CircuitBreakerConfig::builder("test")).cooldown(ms(200)).store(handle).build();
        CircuitBreakerLayer::new(config.expect("a configuration")).wait_when_open()
    };
    let (one, other) = (layer(), layer());
    one.breaker().flush().await;
    other.breaker().flush().await;
    one.breaker().trip().expect("no override");
    one.breaker().flush().await;
    other.breaker().flush().await;
    assert!(other.breaker().is_open());

    let answer = |layer: &fusebox::circuit_breaker::WaitLayer| {
        let service = tower::service_fn(|n: u32| async move { Ok::<_, fusebox::BoxError>(2 * n) });
        let mut service = layer.layer(service);
        async move { service.ready().await?.call(21).await }
    };
    let both = async { tokio::join!(answer(&one), answer(&other)) };
    let (here, there) = tokio::time::timeout(secs(20), both).await.expect("nobody waits for ever");
    assert_eq!((here.expect("it is back"), there.expect("here too")), (42, 42));
    until("both are closed", || !one.breaker().is_open() && !other.breaker().is_open()).await;
}

#[tokio::test]
async fn a_breaker_whose_handles_are_gone_leaves_the_fleet() {
    let bed = Bed::new();
    let fleet: [_; 2] = bed.fleet(usual).await;
    let wire = fleet[0].wire.clone();
    let [one, other] = fleet;
    drop(one);
    let commits = wire.commits();
    other.breaker.trip().expect("no override");
    other.breaker.flush().await;
    assert_eq!(wire.commits(), commits);
    let again = bed.instance(usual);
    again.breaker.flush().await;
    assert!(again.breaker.is_open());
}
