//! Places among the probes are the fleet's.

use super::*;
use crate::circuit::ProbeRound;
use crate::circuit::TransitionReason;

fn result(record: &Record, probe: Probed) -> Vec<u8> {
    Batch { generation: record.generation(), calls: None, probes: vec![probe], vote: None }.save()
}

fn leases(record: &Record) -> usize {
    record.machine.history().round.as_ref().map_or(0, |round| round.in_flight() as usize)
}

/// What machines do with a record, in any order.
#[derive(Clone, Copy, Debug)]
enum Act {
    Ask,
    End(usize, Option<bool>),
    Accept(usize),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<(usize, Act)>> {
    let act = prop_oneof![
        4 => Just(Act::Ask),
        3 => (0_usize..8, prop_oneof![Just(None), Just(Some(false)), Just(Some(true))]).prop_map(|(n, end)| Act::End(n, end)),
        1 => (0_usize..8).prop_map(Act::Accept),
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
        let mut granted: Vec<(Generation, u32)> = Vec::new();
        for (who, act) in acts {
            let before = shared.record.clone();
            match act {
                Act::Ask => {
                    let merged = shared.order(&mut machines[who], Command::Lease);
                    for lease in merged.granted {
                        prop_assert!(!granted.contains(&(shared.record.generation(), lease)), "each lease is given once");
                        granted.push((shared.record.generation(), lease));
                    }
                    if !merged.changed {
                        prop_assert_eq!(&shared.record, &before);
                    }
                }
                Act::End(n, end) => {
                    let Some((generation, lease)) = granted.get(n % granted.len().max(1)).copied() else { continue };
                    let probe = Probed::ended(lease, end, None);
                    let batch = Batch { generation, calls: None, probes: vec![probe], vote: None }.save();
                    shared.merge(&mut machines[who], &[batch], &[]);
                }
                Act::Accept(n) => {
                    let Some((generation, lease)) = granted.get(n % granted.len().max(1)).copied() else { continue };
                    let batch = Batch { generation, calls: None, probes: vec![Probed::accepted(lease)], vote: None }.save();
                    shared.merge(&mut machines[who], &[batch], &[]);
                }
                Act::Wait(time) => {
                    shared.now = shared.now + ms(time);
                    shared.merge(&mut machines[who], &[], &[]);
                }
            }
            prop_assert!(leases(&shared.record) <= concurrent as usize);
            if shared.record.state() != State::HalfOpen {
                prop_assert_eq!(leases(&shared.record), 0, "a round that is over has no places");
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
            let leases: Vec<u32> = (0..4).flat_map(|_| shared.order(&mut one, Command::Lease).granted).collect();
            for n in order {
                let batch = result(&shared.record, Probed::ended(leases[*n], Some(results[*n]), None));
                shared.merge(&mut one, &[batch], &[]);
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
    let early = shared.order(&mut one, Command::Lease);
    assert!(early.granted.is_empty() && !early.changed);
    shared.now = shared.record.machine.history().open_until;
    let merged = shared.order(&mut one, Command::Lease);
    assert!(merged.began && merged.granted.len() == 1);
    assert_eq!(shared.record.state(), State::HalfOpen);
    assert!(!shared.order(&mut one, Command::Lease).changed, "a refusal writes nothing");
}

#[test]
fn an_expired_lease_reopens_with_a_longer_cooldown() {
    let mut one = Instance::probing(1, Probes::one().deadline(ms(5_000)));
    one.rules.cooldown = crate::circuit::Cooldown::exponential(ms(1_000)..=ms(60_000));
    let mut shared = Shared::cooled_down(&mut one);
    shared.order(&mut one, Command::Lease);
    shared.now = shared.now + ms(4_999);
    assert!(!shared.merge(&mut one, &[], &[]).changed);
    shared.now = shared.now + ms(1);
    assert!(shared.merge(&mut one, &[], &[]).began, "the next look");
    assert_eq!(
        (shared.record.state(), shared.record.machine.history().reason),
        (State::Open, Some(TransitionReason::ProbeExpired))
    );
    assert!(shared.record.machine.history().cooldown > ms(1_700), "{:?}", shared.record.machine.history().cooldown);
}

#[test]
fn a_lease_whose_answer_has_begun_has_succeeded_at_its_deadline() {
    let mut one = Instance::probing(1, Probes::one().deadline(ms(5_000)));
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.order(&mut one, Command::Lease).granted[0];
    let batch = result(&shared.record, Probed::accepted(lease));
    shared.merge(&mut one, &[batch], &[]);
    assert_eq!(shared.record.state(), State::HalfOpen, "it has not ended");
    shared.now = shared.now + ms(5_000);
    shared.merge(&mut one, &[], &[]);
    assert_eq!(
        (shared.record.state(), shared.record.machine.history().reason),
        (State::Closed, Some(TransitionReason::ProbesSucceeded))
    );
}

#[test]
fn a_lease_that_is_given_back_is_free_for_the_next() {
    let (mut one, mut other) = (Instance::probing(1, Probes::one()), Instance::probing(2, Probes::one()));
    let mut shared = Shared::cooled_down(&mut one);
    let lease = shared.order(&mut one, Command::Lease).granted[0];
    assert!(shared.order(&mut other, Command::Lease).granted.is_empty());
    let batch = result(&shared.record, Probed::ended(lease, None, None));
    shared.merge(&mut other, &[batch], &[]);
    assert_eq!(shared.record.state(), State::HalfOpen);
    let next = shared.order(&mut other, Command::Lease).granted;
    assert!(next.len() == 1 && next[0] != lease, "what the first holder says later is void");
    let late = result(&shared.record, Probed::ended(lease, Some(true), None));
    assert!(!shared.merge(&mut one, &[late], &[]).changed);
}

#[test]
fn a_call_is_a_probe_with_the_lease_in_hand_and_only_then() {
    let (mut one, mut other) = (Instance::probing(1, Probes::one()), Instance::probing(2, Probes::one()));
    let mut shared = Shared::cooled_down(&mut one);
    for instance in [&mut one, &mut other] {
        instance.apply(&shared.record, &[], at(0));
        assert!(!instance.call(Outcome::Success, shared.now), "no lease, no call");
        assert!(instance.replica.wants_lease(shared.now), "but a call wants one");
    }
    shared.commit(&mut other, &[Command::Lease]);
    one.apply(&shared.record, &[], shared.now);
    assert!(!one.call(Outcome::Success, shared.now));
    assert!(other.call(Outcome::Success, shared.now));
    assert!(other.is_urgent(shared.now));
    shared.commit(&mut other, &[]);
    assert_eq!(shared.record.state(), State::Closed);
}

#[test]
fn a_lease_in_hand_goes_back_when_nobody_uses_it() {
    let mut one = Instance::probing(1, Probes::one());
    let mut shared = Shared::cooled_down(&mut one);
    one.apply(&shared.record, &[], at(0));
    shared.commit(&mut one, &[Command::Lease]);
    assert_eq!(leases(&shared.record), 1);
    shared.now = one.replica.round().and_then(ProbeRound::idle_at).expect("the engine is to look then");
    assert!(one.is_urgent(shared.now));
    shared.commit(&mut one, &[]);
    assert_eq!((leases(&shared.record), shared.record.state()), (0, State::HalfOpen));
}

#[test]
fn no_more_leases_are_out_than_a_record_can_hold() {
    let mut one = Instance::probing(1, Probes::ratio(1 << 16, 1 << 16).concurrent(1 << 16));
    let mut shared = Shared::cooled_down(&mut one);
    let commands = vec![Command::Lease; 3_000];
    let granted = shared.merge(&mut one, &[], &commands).granted;
    assert_eq!(granted.len(), 1_024);
}
