//! Places among the probes are the fleet's.
#![expect(clippy::panic, reason = "a test fails loudly")]

use super::*;
use crate::circuit::detector::{consecutive_failures, slow_call_rate};
use crate::circuit::{Hold, Slowness, TransitionReason};
use crate::replica::clocks::before;
use crate::replica::poll::Request;

fn running(shared: &Shared) -> usize {
    let round = shared.record.machine.history().round.as_ref();
    round.map_or(0, |round| round.leases.iter().filter(|lease| lease.held != Hold::InHand).count())
}

/// What machines do with a record, in any order.
#[derive(Clone, Copy, Debug)]
enum Act {
    Ask(bool),
    End(usize, ProbeNews),
    Begin(usize),
    Accept(usize, u8),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        4 => any::<bool>().prop_map(Act::Ask),
        3 => (0_usize..8, prop::sample::select(ENDS)).prop_map(|(n, end)| Act::End(n, end)),
        2 => (0_usize..8).prop_map(Act::Begin),
        1 => (0_usize..8, 0_u8..16).prop_map(|(n, slow)| Act::Accept(n, slow)),
        1 => (0_u64..20_000).prop_map(Act::Wait),
    ];
    prop::collection::vec((0_usize..3, act), 1..60)
}

proptest! {
    #[test]
    fn never_are_more_leases_out_than_the_limit(concurrent in 1_u32..4, acts in acts()) {
        let probes = Probes::ratio(2, 4).concurrent(concurrent);
        let mut machines = [1, 2, 3].map(|writer| Instance::probing(writer, probes));
        let mut shared = Shared::cooled_down(&mut machines[0]);
        let mut seen: Vec<(Generation, u32, u64)> = Vec::new();
        for (who, act) in acts {
            let (before, now) = (shared.record.clone(), shared.now);
            // What an instance once had it may tell of for ever.
            let tell = |shared: &mut Shared, by: &mut Instance, n: usize, probed: &dyn Fn(u32) -> Probed| {
                if let Some((generation, lease, _)) = seen.get(n % seen.len().max(1)).copied() {
                    let batch = Batch { generation, telling: None, probes: vec![probed(lease)], vote: None }.save();
                    shared.merge(by, &[batch], &[]);
                }
            };
            let by = &mut machines[who];
            match act {
                Act::Ask(may_want) => {
                    let merged = shared.order(by, Command::Lease { may_want });
                    prop_assert!(merged.changed || shared.record == before, "a refusal writes nothing");
                }
                Act::End(n, news) => tell(&mut shared, by, n, &|lease| Probed::new(lease, news, now)),
                Act::Begin(n) => tell(&mut shared, by, n, &|lease| Probed::new(lease, ProbeNews::Began, now)),
                Act::Accept(n, slow) => tell(&mut shared, by, n, &|lease| Probed {
                    slow,
                    ..Probed::new(lease, ProbeNews::Accepted, now)
                }),
                Act::Wait(time) => {
                    shared.now = shared.now + ms(time);
                    shared.merge(by, &[], &[]);
                }
            }
            let generation = shared.record.generation();
            for (lease, owner) in shared.leases() {
                let known = seen.iter().find(|(of, id, _)| (*of, *id) == (generation, lease));
                prop_assert!(known.is_none_or(|(.., known)| *known == owner), "a lease has one owner for ever");
                if known.is_none() {
                    seen.push((generation, lease, owner));
                }
            }
            prop_assert!(shared.leases().len() <= concurrent as usize);
            if shared.record.state() != State::HalfOpen {
                prop_assert_eq!(shared.leases().len(), 0, "a round that is over has no places");
                prop_assert_eq!((shared.record.wants.len(), shared.record.handovers), (0, 0));
            }
        }
    }

    /// The same results in any order: the round counts them.
    #[test]
    fn results_count_in_any_order(
        results in prop::collection::vec(any::<bool>(), 4),
        order in Just((0_usize..4).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let probes = Probes::ratio(3, 5).concurrent(5);
        let fold = |order: &[usize]| {
            let mut one = Instance::probing(1, probes);
            let mut shared = Shared::cooled_down(&mut one);
            let leases: Vec<u32> = (0..4).filter_map(|_| shared.ask(&mut one, false)).collect();
            for n in order {
                let now = shared.now;
                let news = if results[*n] { ProbeNews::Failed } else { ProbeNews::Succeeded };
                shared.tell_probe(&mut one, Probed::new(leases[*n], news, now));
            }
            shared.record.state()
        };
        prop_assert_eq!(fold(&[0, 1, 2, 3]), fold(&order));
    }
}

#[test]
fn the_first_lease_ends_the_cooldown_and_not_before() {
    let mut one = Instance::probing(1, Probes::one());
    let mut shared = Shared::cooled_down(&mut one);
    shared.now = Timestamp::from_nanos(shared.now.as_nanos() - 1);
    assert!(!shared.order(&mut one, Command::Lease { may_want: true }).changed);
    shared.now = shared.record.machine.history().open_until;
    let merged = shared.order(&mut one, Command::Lease { may_want: true });
    assert!(merged.began && shared.leases() == [(0, 1)]);
    assert_eq!(shared.record.state(), State::HalfOpen);
    assert!(!shared.order(&mut one, Command::Lease { may_want: true }).changed, "it has one");
}

/// Recovery does not depend on traffic.
#[test]
fn an_unused_lease_has_no_deadline_and_costs_nothing() {
    let mut one = Instance::probing(1, Probes::one().deadline(ms(5_000)));
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.ask(&mut one, false).expect("a place");
    assert_eq!(shared.record.lease_until(lease), Some(Timestamp::MAX));
    let before = shared.record.clone();
    for _ in 0..3 {
        shared.now = shared.now + ms(365 * 24 * 3_600_000);
        assert!(!shared.merge(&mut one, &[], &[Command::Look]).changed);
    }
    assert_eq!(shared.record, before);
    one.apply(&shared.record, shared.now);
    assert!(one.call(Outcome::Success, shared.now), "the first call after three years is the probe");
    shared.commit(&mut one, &[]);
    assert_eq!(shared.record.state(), State::Closed);
}

#[test]
fn the_deadline_of_a_lease_begins_with_the_call_that_uses_it() {
    let mut one = Instance::probing(1, Probes::one().deadline(ms(5_000)));
    one.rules.cooldown = crate::circuit::Cooldown::exponential(ms(1_000)..=ms(60_000));
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.ask(&mut one, false).expect("a place");
    let called = shared.now + ms(100_000);
    // The news takes two seconds.
    shared.now = called + ms(2_000);
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Began, called));
    assert_eq!(shared.record.lease_until(lease), Some(called + ms(5_000)));
    shared.now = called + ms(4_999);
    assert!(!shared.merge(&mut one, &[], &[]).changed);
    shared.now = called + ms(5_000);
    assert!(shared.merge(&mut one, &[], &[]).began, "the next look");
    let history = shared.record.machine.history();
    assert_eq!((shared.record.state(), history.reason), (State::Open, Some(TransitionReason::ProbeExpired)));
    assert!(history.cooldown > ms(1_700), "longer than the first: {:?}", history.cooldown);
}

#[test]
fn no_clock_makes_a_deadline_begin_later_than_now() {
    let mut one = Instance::probing(1, Probes::one().deadline(ms(5_000)));
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.ask(&mut one, false).expect("a place");
    let ahead = shared.now + ms(3_600_000);
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Began, ahead));
    assert_eq!(shared.record.lease_until(lease), Some(shared.now + ms(5_000)));
}

#[test]
fn a_probe_whose_answer_has_begun_has_succeeded_soon_and_long_before_its_deadline() {
    let mut one = Instance::probing(1, Probes::one().deadline(ms(30_000)));
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.ask(&mut one, false).expect("a place");
    let now = shared.now;
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Began, now));
    shared.tell_probe(&mut one, Probed::new(lease, ProbeNews::Accepted, now));
    assert_eq!(shared.record.state(), State::HalfOpen, "it may still fail at once");
    shared.now = now + ms(1_000);
    shared.merge(&mut one, &[], &[]);
    let reason = shared.record.machine.history().reason;
    assert_eq!((shared.record.state(), reason), (State::Closed, Some(TransitionReason::ProbesSucceeded)));
}

#[test]
fn a_probe_that_fails_after_its_answer_began_has_failed() {
    let mut one = Instance::probing(1, Probes::one());
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.ask(&mut one, false).expect("a place");
    let now = shared.now;
    for news in [ProbeNews::Began, ProbeNews::Accepted, ProbeNews::Failed] {
        shared.tell_probe(&mut one, Probed::new(lease, news, now));
    }
    let reason = shared.record.machine.history().reason;
    assert_eq!((shared.record.state(), reason), (State::Open, Some(TransitionReason::ProbeFailed)));
}

#[test]
fn a_lease_that_is_given_back_is_free_for_the_next() {
    let (mut one, mut other) = (Instance::probing(1, Probes::one()), Instance::probing(2, Probes::one()));
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.ask(&mut one, false).expect("a place");
    assert_eq!(shared.ask(&mut other, false), None);
    let now = shared.now;
    shared.tell_probe(&mut other, Probed::new(lease, ProbeNews::Ended, now));
    assert_eq!(shared.record.state(), State::HalfOpen);
    let next = shared.ask(&mut other, false).expect("it is free");
    assert_ne!(next, lease, "what the first holder says later is void");
    for news in [ProbeNews::Began, ProbeNews::Accepted].iter().chain(ENDS).copied() {
        let before = shared.record.clone();
        assert!(!shared.tell_probe(&mut one, Probed::new(lease, news, now)).changed, "{news:?}");
        assert_eq!(shared.record, before);
    }
}

#[test]
fn a_call_is_a_probe_with_the_lease_in_hand_and_only_then() {
    let (mut one, mut other) = (Instance::probing(1, Probes::one()), Instance::probing(2, Probes::one()));
    let mut shared = Shared::cooled_down(&mut one);
    for instance in [&mut one, &mut other] {
        instance.apply(&shared.record, at(0));
        assert!(!instance.call(Outcome::Success, shared.now), "no lease, no call");
        assert!(instance.replica.wants_lease(shared.now), "but a call wants one");
    }
    shared.commit(&mut other, &[Command::Lease { may_want: false }]);
    one.apply(&shared.record, shared.now);
    assert!(!one.call(Outcome::Success, shared.now));
    assert!(other.call(Outcome::Success, shared.now));
    assert!(other.is_urgent());
    shared.commit(&mut other, &[]);
    assert_eq!(shared.record.state(), State::Closed);
}

/// An instance that fetches its lease by itself makes the first call after the cooldown a probe.
#[test]
fn an_instance_that_had_calls_fetches_its_lease_when_the_cooldown_ends() {
    let (mut one, mut idle) =
        (Instance::new(1, Box::new(failures(1).within(ms(1_000)))), Instance::probing(2, Probes::one()));
    let mut shared = Shared::new();
    one.poll(&mut shared);
    idle.poll(&mut shared);
    one.call(Outcome::Failure, at(1));
    shared.now = at(2);
    assert!(one.look(&mut shared));
    assert_eq!(shared.record.state(), State::Open);
    idle.poll(&mut shared);
    let over = shared.record.machine.history().open_until;
    let polled = one.turn(shared.now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
    assert_eq!(polled.wake_at, Some(over), "it has the engine look then");
    // At most so long it waits, so that not all ask in one moment.
    for passed in [0, 50] {
        shared.now = over + ms(passed);
        idle.look(&mut shared);
        one.look(&mut shared);
    }
    assert_eq!(shared.leases(), [(0, 1)], "an instance without calls has none");
    assert!(one.call(Outcome::Success, shared.now));
    assert_eq!(running(&shared), 0, "nothing was told yet");
}

/// It waited for a second, because all places seemed taken.
#[test]
fn an_instance_that_asks_before_the_cooldown_is_over_by_the_stores_clock_asks_again_when_it_is() {
    let mut one = Instance::new(1, Box::new(failures(1).within(ms(1_000))));
    let mut shared = Shared::new();
    one.poll(&mut shared);
    one.call(Outcome::Failure, at(1));
    shared.now = at(2);
    assert!(one.look(&mut shared));
    let over = shared.record.machine.history().open_until;
    // Since then it has learnt that the store's clock is behind what it took it for.
    one.set_clock(over, before(over, ms(120)));
    let mut now = over;
    while shared.leases().is_empty() {
        let polled = one.turn(now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
        if let Some(Request::Commit(commit)) = polled.request {
            shared.record = Record::load(&commit.record).expect("its own bytes");
            break;
        }
        now = polled.wake_at.expect("it asks again");
        assert!(now <= over + ms(200), "it waits until {now:?}");
    }
    assert_eq!(shared.leases(), [(0, 1)]);
    assert!(before(now, ms(120)) >= over, "not before");
}

#[test]
fn no_more_leases_are_out_than_a_record_can_hold() {
    let mut one = Instance::probing(1, Probes::ratio(1 << 16, 1 << 16).concurrent(1 << 16));
    let mut shared = Shared::cooled_down(&mut one);
    let commands = vec![Command::Lease { may_want: true }; 3_000];
    shared.merge(&mut one, &[], &commands);
    assert_eq!(shared.leases().len(), 1_024);
}

/// Each instance sees a call or two that hang, the fleet sees three.
#[test]
fn probes_that_are_given_up_count_together_whichever_instances_make_them() {
    let mut fleet = [1, 2, 3].map(|writer| Instance::probing(writer, Probes::one()));
    let mut shared = Shared::cooled_down(&mut fleet[0]);
    let mut probe = |who: usize, outcome: Outcome| {
        let (one, now) = (&mut fleet[who], shared.now);
        shared.ask(one, false).expect("a place");
        one.apply(&shared.record, now);
        assert!(one.call(outcome, now));
        shared.commit(one, &[]);
        shared.record.machine.history().reason.filter(|_| shared.record.state() == State::Open)
    };
    assert_eq!(probe(0, Outcome::Cancelled), None);
    assert_eq!(probe(1, Outcome::Cancelled), None);
    assert_eq!(probe(2, Outcome::Ignored), None, "an answer that says nothing is an answer");
    for who in [1, 0] {
        assert_eq!(probe(who, Outcome::Cancelled), None);
    }
    assert_eq!(probe(2, Outcome::Cancelled), Some(TransitionReason::ProbesGivenUp));
}

#[test]
fn a_lease_that_is_given_back_unused_or_once_it_was_answered_is_no_probe_that_was_given_up() {
    let mut one = Instance::probing(1, Probes::one());
    let mut shared = Shared::cooled_down(&mut one);
    let mut probe = |told: &[ProbeNews]| {
        let (lease, now) = (shared.ask(&mut one, false).expect("a place"), shared.now);
        for news in told {
            shared.tell_probe(&mut one, Probed::new(lease, *news, now));
        }
        shared.record.state()
    };
    for _ in 0..2 {
        assert_eq!(probe(&[ProbeNews::Began, ProbeNews::GivenUp]), State::HalfOpen);
        assert_eq!(probe(&[ProbeNews::Began, ProbeNews::GivenUp]), State::HalfOpen);
        // It was reserved, which the fleet is told as begun, or lay in a hand.
        assert_eq!(probe(&[ProbeNews::Began, ProbeNews::Ended]), State::HalfOpen);
        assert_eq!(probe(&[ProbeNews::Ended]), State::HalfOpen);
        assert_eq!(probe(&[ProbeNews::Began, ProbeNews::Accepted, ProbeNews::GivenUp]), State::HalfOpen);
    }
    assert_eq!(probe(&[ProbeNews::Began, ProbeNews::GivenUp]), State::HalfOpen);
    assert_eq!(probe(&[ProbeNews::Ended]), State::HalfOpen);
    assert_eq!(probe(&[ProbeNews::Began, ProbeNews::GivenUp]), State::HalfOpen);
    assert_eq!(probe(&[ProbeNews::Began, ProbeNews::GivenUp]), State::Open, "none has answered in between");
}

/// One of two failed, or half of the calls were slow.
fn slow_or_failed() -> (Box<dyn Detector>, Rules) {
    let slow = slow_call_rate(0.5).slower_than(ms(100)).of_last(10).min_calls(2);
    let detector = consecutive_failures(2).or(slow);
    let rules = Rules { slowness: Slowness::of(&detector), probes: Probes::one(), ..Rules::default() };
    (Box::new(detector), rules)
}

/// Two calls open the fleet; then one probe is slow, and an instance tells that did not see why the circuit opened.
fn slow_probe_after(outcome: Outcome, took: u64, voting: bool) -> State {
    let mut fleet = [1, 2].map(|writer| {
        let (detector, rules) = slow_or_failed();
        let voter = voting.then(|| Voter::new(format!("voter-{writer}").into(), 1));
        Instance::made(writer, detector, rules, voter)
    });
    let mut shared = Shared::opened_by(&mut fleet, outcome, took);
    // It has just started, and knows the record only.
    let (detector, rules) = slow_or_failed();
    let mut new = Instance::made(3, detector, rules, voting.then(|| Voter::new("voter-3".into(), 1)));
    shared.ask(&mut new, false).expect("a place");
    new.apply(&shared.record, shared.now);
    let Decision::Admitted(permit) = new.step(Input::Acquire { reserve: false }, shared.now) else {
        panic!("its lease is in hand");
    };
    new.step(Input::Report { permit, outcome: Outcome::Success, took: Some(ms(100)) }, shared.now);
    shared.commit(&mut new, &[]);
    shared.record.state()
}

#[test]
fn a_slow_probe_counts_against_the_dependency_where_slow_calls_opened_the_fleet() {
    for voting in [false, true] {
        assert_eq!(slow_probe_after(Outcome::Success, 100, voting), State::Open, "votes: {voting}");
        assert_eq!(slow_probe_after(Outcome::Failure, 1, voting), State::Closed, "votes: {voting}");
    }
}

/// Each instance sees one slow probe, the record sees two of two.
#[test]
fn slow_probes_of_all_instances_meet_the_rule_together() {
    let mut fleet = [1, 2].map(|writer| {
        let (detector, rules) = slow_or_failed();
        Instance::made(writer, detector, Rules { probes: Probes::consecutive(3), ..rules }, None)
    });
    let mut shared = Shared::cooled_down(&mut fleet[0]);
    for (one, state) in fleet.iter_mut().zip([State::HalfOpen, State::Open]) {
        let (lease, now) = (shared.ask(one, false).expect("a place"), shared.now);
        shared.tell_probe(one, Probed::new(lease, ProbeNews::Began, now));
        shared.tell_probe(one, Probed { slow: 1, ..Probed::new(lease, ProbeNews::Succeeded, now) });
        assert_eq!(shared.record.state(), state);
    }
    assert!(shared.record.machine.history().slowness_counts);
}

/// An instance sees that it is too long although it has no lease, and says so once.
#[test]
fn a_half_open_period_that_lasts_too_long_ends_for_the_whole_fleet() {
    let probes = Probes::consecutive(2).decide_within(ms(10_000));
    let (mut one, mut other) = (Instance::probing(1, probes), Instance::probing(2, probes));
    let mut shared = Shared::cooled_down(&mut one);
    one.poll(&mut shared);
    other.poll(&mut shared);
    let began = shared.now;
    shared.ask(&mut one, false).expect("a place");
    one.apply(&shared.record, began);
    other.apply(&shared.record, began);
    assert!(one.call(Outcome::Success, began + ms(1_000)));
    shared.commit(&mut one, &[]);
    shared.now = began + ms(9_999);
    other.poll(&mut shared);
    assert!(!other.call(Outcome::Success, shared.now));
    other.look(&mut shared);
    assert_eq!(shared.record.state(), State::HalfOpen);
    shared.now = began + ms(10_000);
    for _ in 0..3 {
        assert!(!other.call(Outcome::Success, shared.now));
    }
    assert!(other.look(&mut shared));
    let reason = shared.record.machine.history().reason;
    assert_eq!((shared.record.state(), reason), (State::Open, Some(TransitionReason::HalfOpenTooLong)));
    assert!(!other.look(&mut shared), "once");
    one.poll(&mut shared);
    assert_eq!(one.replica.machine().state(), State::Open);
}
