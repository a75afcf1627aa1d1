//! Who is told what.

use super::*;

#[tokio::test]
async fn each_generation_of_the_fleet_is_decided_once_and_adopted_by_the_others() {
    let bed = Bed::new();
    let fleet: [_; 3] = bed.fleet(usual).await;
    for round in 0..3 {
        for instance in &fleet {
            fail(&instance.breaker, 1);
            instance.breaker.flush().await;
        }
        flush(&fleet).await;
        assert_eq!(states(&fleet), [State::Open; 3]);
        bed.clock.advance(secs(30));
        let prober = &fleet[round];
        probe(prober).await.failure();
        flush(&fleet).await;
        assert_eq!(states(&fleet), [State::Open; 3]);
        bed.clock.advance(secs(30));
        probe(prober).await.success();
        flush(&fleet).await;
        assert_eq!(states(&fleet), [State::Closed; 3]);
    }
    fleet[1].breaker.trip().expect("no override");
    flush(&fleet).await;
    fleet[2].breaker.reset().expect("no override");
    flush(&fleet).await;

    let mut told: HashMap<_, Vec<Origin>> = HashMap::new();
    let mut transitions = HashMap::new();
    for instance in &fleet {
        let mut newest = None;
        for event in instance.events.take() {
            if !matches!(event.kind(), EventKind::StateChanged { .. }) || event.scope() != StateScope::Fleet {
                continue;
            }
            told.entry(event.generation()).or_default().push(event.origin());
            let EventKind::StateChanged { to, .. } = event.kind() else { continue };
            assert_eq!(*transitions.entry(event.generation()).or_insert(to), to, "all see the same change");
            assert!(newest.replace(event.generation()) < Some(event.generation()), "generations grow");
        }
    }
    for (generation, origins) in &told {
        let decided = origins.iter().filter(|origin| **origin == Origin::Decided).count();
        assert_eq!(decided, 1, "generation {generation}: {origins:?}");
        assert!(origins.len() <= 3, "generation {generation} was told more than once: {origins:?}");
    }
    // What opens and what closes is told to everybody; who was on the way to somewhere may miss what lay between.
    let opened = transitions.values().filter(|to| **to == State::Open).count();
    assert_eq!(opened, 7, "three trips, three reopenings, one command");
}

#[tokio::test]
async fn an_event_tells_who_decided_and_whose_state_it_is() {
    let bed = Bed::new();
    let [one, other] = bed.fleet(usual).await;
    fail(&one.breaker, 2);
    one.breaker.flush().await;
    fail(&other.breaker, 1);
    flush([&other, &one]).await;
    let of = |instance: &Instance| {
        let events = instance.events.take();
        let changes: Vec<_> =
            events.into_iter().filter(|event| matches!(event.kind(), EventKind::StateChanged { .. })).collect();
        assert_eq!(changes.len(), 1, "{changes:?}");
        changes[0].clone()
    };
    let (adopted, decided) = (of(&one), of(&other));
    assert_eq!((decided.origin(), decided.scope()), (Origin::Decided, StateScope::Fleet));
    assert_eq!((adopted.origin(), adopted.scope()), (Origin::Adopted, StateScope::Fleet));
    assert_eq!(decided.generation(), adopted.generation());
    let EventKind::StateChanged { reason: TransitionReason::Detected(tally), .. } = adopted.kind() else {
        panic!("{adopted}");
    };
    assert_eq!(tally.count(), 3, "the failures of both");
}

#[tokio::test]
async fn a_snapshot_tells_how_the_instance_stands_with_its_fleet() {
    let bed = Bed::new();
    let alone = CircuitBreaker::new(support::config(|builder| builder));
    assert!(alone.snapshot().fleet.is_none());
    let [one, other] = bed.fleet(usual).await;
    // While the store is away nothing is told, however soon the engine looks.
    one.wire.set(Fault::Unreachable);
    fail(&one.breaker, 1);
    assert_eq!(one.breaker.snapshot().fleet.map(|fleet| fleet.waiting), Some(1));
    one.wire.set(Fault::None);
    until("it is told", || one.breaker.snapshot().fleet.is_some_and(|fleet| fleet.waiting == 0)).await;
    flush([&one, &other]).await;
    let snapshot = other.breaker.snapshot();
    let fleet = snapshot.fleet.expect("a fleet");
    assert_eq!((fleet.waiting, fleet.forgotten, fleet.votes, fleet.away), (0, 0, None, None));
    assert!(fleet.generation.is_some() && fleet.heard.is_some());
    assert_eq!((snapshot.scope, failures(&other.breaker)), (StateScope::Fleet, 1));
    bed.clock.advance(secs(5));
    assert_eq!(other.breaker.state(), State::Closed);
}

#[tokio::test]
async fn another_rule_in_the_fleet_is_told_once() {
    let bed = Bed::new();
    let (one, other) = (bed.instance(usual), bed.instance(|b| b.detector(detect::failures(7).within(secs(60)))));
    for _ in 0..2 {
        for _ in 0..2 {
            fail(&one.breaker, 1);
            flush([&one, &other]).await;
            fail(&other.breaker, 1);
            flush([&other, &one]).await;
        }
        one.breaker.reset().expect("no override");
        flush([&one, &other]).await;
    }
    for instance in [&one, &other] {
        assert_eq!(kinds(&instance.events.take(), |kind| kind == EventKind::ConfigDrift), 1);
    }
}

#[tokio::test]
async fn a_fleet_is_advised_once_about_a_rule_that_it_cannot_judge_well() {
    let bed = Bed::new();
    let long = |b: CircuitBreakerConfigBuilder| b.detector(detect::failure_rate(0.5).of_last(20_000));
    let (one, other) = (bed.instance(long), bed.instance(long));
    for _ in 0..3 {
        fail(&one.breaker, 1);
        flush([&one, &other]).await;
    }
    for instance in [&one, &other] {
        let events = instance.events.take();
        let advised: Vec<_> = events
            .iter()
            .filter_map(
                |event| if let EventKind::Advice { advice, .. } = event.kind() { Some((event, advice)) } else { None },
            )
            .collect();
        let [(event, Advice::LongWindow { calls: 20_000, .. })] = advised[..] else {
            panic!("{advised:?}");
        };
        assert_eq!(
            event.to_string(),
            "test: advice: the rule looks at the newest 20000 calls, at most 10,000 are known well: use a rule over a time"
        );
    }
}

#[tokio::test]
async fn a_vote_opens_the_instance_and_a_quorum_the_fleet() {
    let bed = Bed::new();
    let voting = |id: &'static str| {
        move |builder: CircuitBreakerConfigBuilder| usual(builder).fleet(Fleet::votes(2).instance_id(id))
    };
    let fleet = [bed.instance(voting("a")), bed.instance(voting("b")), bed.instance(voting("c"))];
    flush(&fleet).await;
    fail(&fleet[0].breaker, 3);
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open, State::Closed, State::Closed]);
    assert_eq!(fleet[0].breaker.snapshot().scope, StateScope::Instance);
    assert_eq!(fleet[1].breaker.snapshot().fleet.and_then(|fleet| fleet.votes), Some(1));
    bed.clock.advance(secs(10));
    fail(&fleet[1].breaker, 3);
    flush(&fleet).await;
    assert_eq!(states(&fleet), [State::Open; 3]);
    assert_eq!(fleet[2].breaker.snapshot().reason, Some(TransitionReason::Voted(2)));
    assert_eq!(fleet[0].breaker.snapshot().scope, StateScope::Fleet);
}

#[tokio::test]
async fn a_vote_that_is_over_counts_no_more() {
    let bed = Bed::new();
    let voting = |id: &'static str| {
        move |builder: CircuitBreakerConfigBuilder| usual(builder).fleet(Fleet::votes(2).instance_id(id))
    };
    let fleet = [bed.instance(voting("a")), bed.instance(voting("b"))];
    flush(&fleet).await;
    fail(&fleet[0].breaker, 3);
    flush(&fleet).await;
    bed.clock.advance(secs(30));
    fail(&fleet[1].breaker, 3);
    flush(&fleet).await;
    assert_eq!(fleet[1].breaker.snapshot().scope, StateScope::Instance, "one voice at a time is no quorum");
    // Its own probe, without asking anybody.
    let permit = fleet[0].breaker.acquire().expect("its cooldown is over");
    assert!(permit.is_probe());
    permit.success();
    assert_eq!(fleet[0].breaker.state(), State::Closed);
}

#[test]
fn a_quorum_that_no_record_can_hold_is_refused() {
    let build = |k| {
        let handle: Arc<dyn Store> = Arc::new(MemoryStore::new());
        CircuitBreakerConfig::builder("test").store(handle).fleet(Fleet::votes(k)).build()
    };
    for k in [0, 257, u32::MAX] {
        let error = build(k).expect_err("no such quorum");
        assert_eq!(error.field(), "fleet.votes");
    }
    assert!(build(1).is_ok() && build(256).is_ok());
}

/// The default detector suits one process: who shares its state is told so, once for all breakers of one template.
#[tokio::test]
async fn a_fleet_without_a_detector_is_advised_once() {
    let advised = |config: &dyn Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder| {
        let (bed, events) = (Bed::new(), Record::default());
        let (store, list): (Arc<dyn Store>, Record<Event>) = (Arc::new(Wire::over(&bed.store)), events.clone());
        let listen = move |builder: CircuitBreakerConfigBuilder| {
            let list = list.clone();
            builder.store(store.clone()).on_event(move |event| list.add(event.clone()))
        };
        (config(listen(CircuitBreakerConfig::builder("a"))), events)
    };
    let count = |events: &Record<Event>| {
        kinds(&events.take(), |kind| matches!(kind, EventKind::Advice { advice: Advice::DefaultRule, .. }))
    };
    type Change = fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder;
    let cases: [(Change, usize); 3] = [
        (|builder| builder, 1),
        (|builder| builder.detector(detect::failures(5).within(secs(60))), 0),
        (|builder| builder.fleet(Fleet::votes(3)), 0),
    ];
    for (change, expected) in cases {
        let (config, events) = advised(&change);
        let breaker = CircuitBreaker::new(config.build().expect("works"));
        for _ in 0..3 {
            fail(&breaker, 1);
            breaker.flush().await;
        }
        assert_eq!(count(&events), expected);
    }

    // Beyond `max` are overflow breakers.
    for max in [3, 1, 0] {
        let (bed, events) = (Bed::new(), Record::default());
        let (store, list): (Arc<dyn Store>, Record<Event>) = (Arc::new(Wire::over(&bed.store)), events.clone());
        let registry = Registry::new(move |name| {
            let (list, config) = (list.clone(), CircuitBreakerConfig::builder(name));
            config.store(store.clone()).on_event(move |event| list.add(event.clone())).build()
        });
        let registry = registry.max(max);
        let breakers = ["a", "b", "c"].map(|name| registry.breaker(name).expect("works"));
        for breaker in &breakers {
            fail(breaker, 1);
            registry.flush().await;
        }
        assert_eq!(count(&events), 1, "{max}");
    }
}
