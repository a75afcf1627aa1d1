//! Votes are of a name, counted once, and end by themselves.

use super::*;
use crate::circuit::TransitionReason;
use crate::circuit::detector::consecutive_failures;

fn vote(voter: u64, cast: u64, until: u64) -> Vote {
    Vote { voter: format!("voter-{voter}").into(), cast: at(cast), until: at(until), by_slowness: false }
}

fn batch(record: &Record, vote: Vote) -> Vec<u8> {
    Batch { generation: record.generation(), telling: None, probes: Vec::new(), vote: Some(vote) }.save()
}

proptest! {
    #[test]
    fn any_order_and_any_number_of_times_is_the_same(
        given in prop::collection::vec((0_u64..6, 0_u64..50_000, 0_u64..90_000), 1..20)
            .prop_filter("one voter has one vote at a time", |given| {
                let times: std::collections::BTreeSet<_> = given.iter().map(|(voter, cast, _)| (voter, cast)).collect();
                times.len() == given.len()
            }),
        shuffled in Just((0_usize..40).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let now = at(50_000);
        let (mut once, mut often) = (Shared::at(now).record, Shared::at(now).record);
        for (voter, cast, until) in &given {
            once.vote(&vote(*voter, *cast, *until), now);
        }
        for n in shuffled {
            let (voter, cast, until) = given[n % given.len()];
            often.vote(&vote(voter, cast, until), now);
        }
        // What is over says nothing; what was taken back must only outlive what it takes back.
        prop_assert_eq!(once.live_votes(now), often.live_votes(now));
        for later in [0, 10_000, 30_000, 45_000] {
            let later = at(50_000 + later);
            prop_assert_eq!(once.live_votes(later), often.live_votes(later));
        }
    }
}

#[test]
fn one_less_than_the_quorum_never_opens_and_the_quorum_does() {
    for quorum in 1..6 {
        let mut one = Instance::voting(0, patient(), quorum);
        let mut shared = Shared::at(at(1));
        for voter in 1..u64::from(quorum) {
            for _ in 0..3 {
                let batch = batch(&shared.record, vote(voter, 1, 30_000));
                assert!(!shared.merge(&mut one, &[batch], &[]).began, "{voter} of {quorum}");
            }
        }
        let batch = batch(&shared.record, vote(u64::from(quorum), 1, 30_000));
        assert!(shared.merge(&mut one, &[batch], &[]).began);
        assert_eq!(shared.record.state(), State::Open);
        assert_eq!(shared.record.machine.history().reason, Some(TransitionReason::Voted(quorum)));
        assert!(shared.record.votes.is_empty(), "the next round of votes is one of its own");
    }
}

#[test]
fn a_vote_ends_with_its_voters_open_period() {
    let mut one = Instance::voting(0, patient(), 2);
    let mut shared = Shared::at(at(1));
    let first = batch(&shared.record, vote(1, 1, 30_000));
    shared.merge(&mut one, &[first], &[]);
    shared.now = at(30_000);
    assert_eq!(shared.record.live_votes(shared.now), 0, "at its end it is over");
    let second = batch(&shared.record, vote(2, 30_000, 60_000));
    shared.merge(&mut one, &[second], &[]);
    assert_eq!(shared.record.state(), State::Closed);
    shared.now = at(40_000);
    let again = batch(&shared.record, vote(1, 40_000, 70_000));
    shared.merge(&mut one, &[again], &[]);
    assert_eq!(shared.record.state(), State::Open);
}

#[test]
fn what_is_taken_back_stays_so_when_the_vote_comes_again() {
    let mut one = Instance::voting(0, patient(), 2);
    let mut shared = Shared::at(at(10));
    let (yes, no) = (vote(1, 1, 30_000), vote(1, 5, 5));
    let batches = [yes.clone(), no, yes].map(|vote| batch(&shared.record, vote));
    shared.merge(&mut one, &batches, &[]);
    assert_eq!(shared.record.live_votes(shared.now), 0);
    let other = batch(&shared.record, vote(2, 6, 30_000));
    assert!(!shared.merge(&mut one, &[other], &[]).began);
}

#[test]
fn an_instance_that_trips_votes_and_takes_it_back_with_its_reset() {
    let mut one = Instance::voting(1, Box::new(consecutive_failures(1)), 2);
    let mut shared = Shared::new();
    shared.commit(&mut one, &[]);
    one.call(Outcome::Failure, at(0));
    assert_eq!(one.replica.machine().state(), State::Open, "it protects itself at once");
    shared.commit(&mut one, &[]);
    assert_eq!((shared.record.live_votes(at(0)), shared.record.state()), (1, State::Closed));
    // In the same moment, by its clock.
    one.step(Input::Reset, at(0));
    shared.commit(&mut one, &[]);
    assert_eq!(shared.record.live_votes(at(0)), 0);
}

#[test]
fn a_later_vote_counts_whatever_became_of_the_clocks() {
    let mut one = Instance::voting(1, Box::new(consecutive_failures(1)), 2);
    let mut shared = Shared::new();
    shared.now = at(1_000);
    shared.commit(&mut one, &[]);
    one.call(Outcome::Failure, at(1_000));
    shared.commit(&mut one, &[]);
    // The store answered late, so its time was taken for later than it is.
    shared.now = at(900);
    one.step(Input::Reset, at(1_010));
    let taken = one.take_batch(at(1_010), at(900)).expect("it is taken back");
    shared.merge(&mut one, &[taken], &[]);
    assert_eq!(shared.record.live_votes(shared.now), 0);
    one.call(Outcome::Failure, at(1_011));
    let taken = one.take_batch(at(1_011), at(901)).expect("and given again");
    shared.merge(&mut one, &[taken], &[]);
    assert_eq!(shared.record.live_votes(at(901)), 1);
    assert_eq!(shared.record.live_votes(at(29_900)), 1, "for as long as it is open");
}

#[test]
fn the_newest_of_very_many_votes_are_kept() {
    let mut record = Shared::new().record;
    for n in 0..3_000 {
        // The newest come first in the alphabet.
        let voter = format!("{:04}", 9_999 - n).into();
        record.vote(&Vote { voter, cast: at(n), until: at(90_000), by_slowness: false }, at(n));
    }
    assert!(record.votes.iter().any(|vote| vote.cast == at(2_999)));
    assert!(record.live_votes(at(3_000)) >= 256, "as many as any quorum asks for");
    assert!(record.save().len() < 64 * 1_024);
}

#[test]
fn a_voter_with_a_long_name_is_told_from_others() {
    let long = |last: &str| {
        let mut one = Instance::made(
            1,
            Box::new(consecutive_failures(1)),
            Rules::default(),
            Some(Voter::new(format!("{}{last}", "n".repeat(250)).into(), 9)),
        );
        let mut shared = Shared::new();
        shared.commit(&mut one, &[]);
        one.call(Outcome::Failure, at(0));
        one.take_batch(at(0), at(0)).expect("a vote")
    };
    let (mut one, mut shared) = (Instance::voting(0, patient(), 9), Shared::new());
    shared.merge(&mut one, &[long("a"), long("b"), long("a")], &[]);
    assert_eq!(shared.record.live_votes(at(0)), 2);
    assert!(shared.record.votes.iter().all(|vote| vote.voter.len() <= 64));
}

/// A process was forked, or a snapshot of it restored twice.
#[test]
fn of_two_voters_that_were_one_each_has_a_vote_unless_a_user_has_named_them() {
    let name = || "payments-7-0123456789abcdef".into();
    for (voter, votes) in [(Voter::drawn(name(), 9), 2), (Voter::new(name(), 9), 1)] {
        let vote_of = |number| {
            let mut twin = Instance::made(7, Box::new(consecutive_failures(1)), Rules::default(), Some(voter.clone()));
            Shared::new().commit(&mut twin, &[]);
            twin.call(Outcome::Failure, at(0));
            // As its process finds out, the vote waits to be told.
            twin.replica.renew_writer(number);
            twin.take_batch(at(0), at(0)).expect("a vote")
        };
        let (mut one, mut shared) = (Instance::voting(0, patient(), 9), Shared::new());
        shared.merge(&mut one, &[vote_of(1), vote_of(2)], &[]);
        assert_eq!(shared.record.live_votes(at(0)), votes, "{voter:?}");
        assert!(shared.record.votes.iter().all(|vote| vote.voter.starts_with("payments-7-")), "people can read it");
    }
}

/// The engine looked each millisecond, until another call came.
#[test]
fn a_probe_of_ones_own_that_is_late_keeps_no_engine_awake() {
    let mut one = Instance::voting(1, Box::new(failures(1).within(ms(1_000))), 2);
    let mut shared = Shared::new();
    one.poll(&mut shared);
    assert!(one.call(Outcome::Failure, at(100)));
    shared.now = at(200);
    one.look(&mut shared);
    assert_eq!((one.replica.machine().state(), shared.record.state()), (State::Open, State::Closed), "one vote of two");
    let over = one.replica.machine().state.history().open_until;
    let asked = one.step(Input::Acquire { reserve: false }, over);
    assert!(matches!(asked, Decision::Admitted(_)), "{asked:?}");
    let late = over + one.rules.probes.deadline_after() + ms(5);
    shared.now = late;
    one.poll(&mut shared);
    let polled = one.turn(late, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
    assert!(polled.wake_at.is_none_or(|wake| wake > late + ms(100)), "{polled:?}");
}
