//! What a replica makes of a round that answers a commit: of that commit the store took the batch, and nothing else.
#![expect(clippy::panic, reason = "helpers of tests")]

use ::bytes::Bytes;

use super::*;
use crate::circuit::detector::consecutive_failures;
use crate::circuit::{Fact, Origin, Override};
use crate::replica::Turn;
use crate::replica::handle::Response;
use crate::replica::poll::Request;
use crate::replica::state::POLL_INTERVAL;
use crate::store::{Commit, Committed, ROUND_LEASE, Round, StoreError, StoreTime, Stored, Version};

/// An instance, and the store's side of its talk with it.
struct Talk {
    one: Instance,
    now: Timestamp,
    version: Version,
    record: Record,
}

impl Talk {
    /// The instance has loaded the record.
    fn over(one: Instance, shared: Shared) -> Self {
        let mut talk = Self { one, now: shared.now, version: Version(1), record: shared.record };
        assert!(matches!(talk.ask(), Some(Request::Load)));
        let stored = talk.stored();
        let now = talk.now;
        talk.one.turn(now, |replica, turn| replica.handle(Response::Loaded(Ok(&stored)), now, turn));
        talk
    }

    fn stored(&self) -> Stored {
        Stored::new(self.version, self.record.save().into(), StoreTime::from(self.now))
    }

    fn ask(&mut self) -> Option<Request> {
        self.one.turn(self.now, |replica, turn| replica.poll(turn, &mut |_| Ok(())).request)
    }

    /// What the instance wants written, after the jitter that it may wait for.
    #[track_caller]
    fn commit(&mut self) -> Commit {
        for _ in 0..4 {
            match self.ask() {
                Some(Request::Commit(commit)) => return *commit,
                Some(Request::Load) => panic!("nothing is to be loaded"),
                None => self.now = self.now + ms(50),
            }
        }
        panic!("nothing is asked of the store")
    }

    /// The store's answer; returns what the instance tells of.
    fn answer(&mut self, answer: Result<&Committed, &StoreError>) -> Vec<Fact> {
        let mut facts = Facts::default();
        let (now, rules) = (self.now, &self.one.rules);
        let turn = &mut Turn { now, at: bench::moment(now), rules, facts: &mut facts };
        self.one.replica.handle(Response::Committed(answer), now, turn);
        facts.iter().collect()
    }

    /// The store wrote the commit.
    fn write(&mut self, commit: &Commit) {
        assert_eq!(commit.expected, self.version);
        self.version = Version(self.version.0 + 1);
        self.record = Record::load(&commit.record).expect("a record");
    }

    fn applied(&mut self, commit: &Commit) -> Vec<Fact> {
        self.write(commit);
        let (version, now) = (self.version, StoreTime::from(self.now));
        self.answer(Ok(&Committed::Applied { version, now }))
    }

    /// A round is the answer, with what waits in it.
    fn combine(&mut self, batches: &[Bytes]) -> Vec<Fact> {
        let batches = (0..).zip(batches).map(|(name, batch): (u8, _)| (vec![name].into(), batch.clone())).collect();
        let round = Round::new(Bytes::from_static(b"token"), batches);
        let stored = self.stored();
        self.answer(Ok(&Committed::Combine(stored, round)))
    }

    fn trouble(&self) -> Option<Arc<str>> {
        self.one.replica.status(self.now).trouble
    }

    /// What another instance has left: one failure.
    fn left(&self) -> Bytes {
        self.one.batch(&self.record, &[failed(self.now)]).into()
    }
}

fn told(facts: &[Fact]) -> usize {
    facts.iter().filter(|fact| matches!(fact, Fact::WouldOpen(_))).count()
}

#[test]
fn commands_that_are_answered_with_a_round_are_sent_again_after_it() {
    let mut talk = Talk::over(Instance::new(1, patient()), Shared::at(at(10)));
    talk.one.step(Input::Trip, talk.now);
    let trip = talk.commit();
    assert!(trip.batch.is_none() && trip.round.is_none());
    let others = [talk.left(), talk.left()];
    talk.combine(&others);
    // One more while it combines: the round goes first.
    talk.one.step(Input::Override(&Override::disable("incident 7")), talk.now);

    let round = talk.commit();
    assert!(round.round.is_some() && round.batch.is_none());
    assert!(talk.applied(&round).is_empty(), "the fleet's state is what it was");
    assert_eq!((talk.record.state(), talk.record.failures()), (State::Closed, 2), "their calls and no command");

    let commands = talk.commit();
    assert!(commands.round.is_none());
    let facts = talk.applied(&commands);
    let decided = |fact: &&Fact| matches!(fact, Fact::Transition(made) if made.origin == Origin::Decided);
    assert_eq!(facts.iter().filter(decided).count(), 1, "{facts:?}");
    assert!(talk.record.generation() == Generation::new(3) && talk.record.is_held(), "open, then disabled");
    assert!(talk.ask().is_none() && talk.one.replica.state.outbox.commands.is_empty());
}

#[test]
fn a_lease_in_a_commit_that_is_answered_with_a_round_was_not_granted() {
    let mut one = Instance::probing(1, Probes::one());
    let shared = Shared::cooled_down(&mut one);
    let mut talk = Talk::over(one, shared);
    assert!(!talk.one.call(Outcome::Success, talk.now), "no lease, no call");
    let asked = talk.commit();
    assert!(Record::load(&asked.record).is_ok_and(|record| record.state() == State::HalfOpen));
    let left = talk.left();
    talk.combine(&[left]);
    assert_eq!(talk.one.replica.leases_in_hand(), 0);

    let round = talk.commit();
    assert!(round.round.is_some());
    talk.applied(&round);
    assert_eq!((talk.record.state(), talk.one.replica.leases_in_hand()), (State::Open, 0));

    let again = talk.commit();
    talk.applied(&again);
    assert_eq!((talk.record.state(), talk.one.replica.leases_in_hand()), (State::HalfOpen, 1));
    assert!(talk.one.call(Outcome::Success, talk.now));
}

/// In a dry run the evidence goes with the verdict: the instance that wrote it is the only one that can tell of it. One that
/// wrote it with a round, and was given the next, told nothing up to d54d267.
#[test]
fn what_would_have_opened_is_told_by_the_round_that_says_so_and_by_no_other_commit() {
    let mut one = Instance::new(1, Box::new(failures(2).within(ms(60_000))));
    let mut shared = Shared::at(at(10));
    shared.order(&mut one, Command::Override(Override::dry_run("new limits")));
    let before = one.batch(&shared.record, &[failed(at(9))]);
    shared.merge(&mut one, &[before], &[]);
    let mut talk = Talk::over(one, shared);
    assert!(talk.one.call(Outcome::Failure, talk.now));
    let own = talk.commit();
    let (id, batch) = own.batch.expect("the second failure");
    let others = [talk.left(), batch];
    assert_eq!(told(&talk.combine(&others)), 0, "nothing was written");
    assert_eq!(talk.one.replica.batch_calls(), None, "{id:?} was accepted");

    let round = talk.commit();
    assert!(round.round.as_ref().is_some_and(|round| round.batches.len() == 2));
    talk.write(&round);
    let left = talk.left();
    assert_eq!(told(&talk.combine(&[left])), 1, "it is written, and there is more");
    let last = talk.commit();
    assert!(last.round.is_some());
    assert_eq!(told(&talk.applied(&last)), 0, "one failure more is no news");
    assert_eq!(talk.record.failures(), 1);
}

/// The store has the batch, but no record does: another instance might take it in, or none.
#[test]
fn a_batch_whose_round_was_lost_is_looked_after() {
    for is_fenced in [true, false] {
        let mut talk = Talk::over(Instance::new(1, patient()), Shared::at(at(10)));
        assert!(talk.one.call(Outcome::Failure, talk.now));
        let own = talk.commit();
        let (_, batch) = own.batch.expect("a failure");
        let others = [talk.left(), batch.clone()];
        talk.combine(&others);
        assert!(talk.commit().round.is_some());
        if is_fenced {
            let stored = talk.stored();
            talk.answer(Ok(&Committed::Fenced(stored)));
        } else {
            talk.answer(Err(&StoreError::no_answer("in time")));
        }
        assert!(talk.ask().is_none(), "nothing waits here");
        talk.now = talk.now + ROUND_LEASE + POLL_INTERVAL;
        let look = talk.commit();
        assert!(look.batch.is_none() && look.round.is_none());
        talk.combine(&[batch]);
        let round = talk.commit();
        talk.applied(&round);
        assert_eq!(talk.record.failures(), 1);
    }
}

/// The record is locked, say: what comes is queued beside it, and no round can take it in.
#[test]
fn a_batch_that_is_queued_puts_off_no_look_after_an_earlier_one() {
    let mut talk = Talk::over(Instance::new(1, patient()), Shared::at(at(10)));
    let (begin, mut looks) = (talk.now, 0);
    while talk.now.since(begin) < ms(10_000) {
        talk.one.call(Outcome::Failure, talk.now);
        for _ in 0..6 {
            talk.now = talk.now + ms(50);
            match talk.ask() {
                Some(Request::Commit(commit)) if commit.batch.is_some() => {
                    let stored = talk.stored();
                    talk.answer(Ok(&Committed::Queued(stored)));
                }
                Some(Request::Commit(_)) => {
                    looks += 1;
                    talk.answer(Err(&StoreError::busy("the record is locked")));
                }
                Some(Request::Load) => {
                    let (stored, now) = (talk.stored(), talk.now);
                    talk.one.turn(now, |replica, turn| replica.handle(Response::Loaded(Ok(&stored)), now, turn));
                }
                None => {}
            }
            assert_eq!(talk.trouble().is_some(), looks > 0, "what is queued beside it does not show that it is over");
        }
    }
    // One each 0.5 to 1.5 s.
    assert!((6..=20).contains(&looks), "{looks}");
    talk.now = talk.now + ROUND_LEASE + POLL_INTERVAL;
    let look = talk.commit();
    talk.applied(&look);
    assert_eq!((talk.trouble(), talk.one.replica.state.timers.look_at), (None, None));
}

/// A record that is written later than a round lasts has what was queued before, and not what was queued since.
#[test]
fn what_was_queued_since_is_looked_after_when_a_record_has_what_was_queued_before() {
    let mut talk = Talk::over(Instance::new(1, patient()), Shared::at(at(10)));
    let queue = |talk: &mut Talk| {
        talk.one.call(Outcome::Failure, talk.now);
        assert!(talk.commit().batch.is_some());
        let stored = talk.stored();
        talk.answer(Ok(&Committed::Queued(stored)));
        talk.now
    };
    let first = queue(&mut talk);
    talk.now = talk.now + ms(300);
    let second = queue(&mut talk);
    let hears = |talk: &mut Talk, written: Timestamp| {
        talk.version = Version(StoreTime::from(written).0);
        let (stored, now) = (talk.stored(), talk.now);
        talk.one.turn(now, |replica, turn| replica.handle(Response::Loaded(Ok(&stored)), now, turn));
        let timers = &talk.one.replica.state.timers;
        (timers.look_at, timers.taken_in_by)
    };
    let (look_at, by) = hears(&mut talk, first);
    assert!(look_at.is_some() && by == Some(first + ROUND_LEASE), "written before");
    let (look_at, by) = hears(&mut talk, first + ROUND_LEASE);
    assert!(look_at.is_some_and(|at| at >= second + ROUND_LEASE) && by == Some(second + ROUND_LEASE));
    assert_eq!(hears(&mut talk, second + ROUND_LEASE), (None, None));
}

/// Where others write as often, a second try costs as much as the first.
#[test]
fn after_a_lost_race_the_next_batch_may_be_queued_at_once_until_one_is_not_contended() {
    let mut talk = Talk::over(Instance::new(1, patient()), Shared::new());
    let next = |talk: &mut Talk| {
        talk.now = talk.now + ms(1_000);
        let now = talk.now;
        talk.one.call(Outcome::Failure, now);
        talk.commit()
    };
    assert!(!next(&mut talk).may_queue, "a writer that is merely late does best to try again");
    talk.version = Version(talk.version.0 + 1);
    let stored = talk.stored();
    talk.answer(Ok(&Committed::Conflict(stored)));
    let again = talk.commit();
    assert!(again.may_queue);
    talk.applied(&again);

    let contended = next(&mut talk);
    assert!(contended.may_queue);
    talk.applied(&contended);
    assert!(!next(&mut talk).may_queue, "the last one met no other");
}

/// Two batches of one instance wait, of calls within a tick: a failure, and then a success and a failure.
#[test]
fn a_round_is_taken_in_in_the_order_in_which_its_batches_were_accepted() {
    let detector = || Box::new(consecutive_failures(2));
    let other = Instance::new(2, detector());
    let mut talk = Talk::over(Instance::new(1, detector()), Shared::at(at(100)));
    let now = talk.now;
    talk.one.call(Outcome::Failure, now);
    talk.commit();
    let calls: [&[Run]; 2] = [&[failed(at(90))], &[fine(at(91)), failed(at(92))]];
    let waiting = calls.map(|calls| other.batch(&talk.record, calls).into());
    talk.combine(&waiting);
    let round = talk.commit();
    talk.applied(&round);
    let evidence = talk.record.evidence_of(other.rule).expect("what they told");
    assert_eq!((evidence.failures(), evidence.suspicion()), (2, None), "no two of them are in a row");
}
