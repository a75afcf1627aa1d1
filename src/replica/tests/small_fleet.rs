//! Two instances and a store, to which one thing at a time happens.
#![expect(clippy::panic, reason = "a broken promise must be told")]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::circuit::detector::{consecutive_failures, failure_rate};
use crate::circuit::{Override, TransitionReason};
use crate::clock::ManualClock;
use crate::replica::handle::Response;
use crate::replica::poll::Request;
use crate::store::{Committed, MemoryStore, Store, StoreError, StoreFuture, Stored};

const KEY: &str = "a";

/// How the calls of the two end, in turn.
type Calls = [&'static [Outcome; 3]; 2];

const FSF: &[Outcome; 3] = &[Outcome::Failure, Outcome::Success, Outcome::Failure];
const FFS: &[Outcome; 3] = &[Outcome::Failure, Outcome::Failure, Outcome::Success];
const FFF: &[Outcome; 3] = &[Outcome::Failure; 3];

/// What opens the circuit, and the calls that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// So many failures, whatever else there is: no instance need be asked.
    Failures(u32),
    /// Half of the calls, which never fail: one of the instances has seen ten good ones before, and told of none.
    Rate,
    /// Three in a row, which is so in every order.
    InARow,
}

impl Rule {
    const fn calls(self) -> Calls {
        match self {
            Self::Failures(_) => [FSF, FFS],
            Self::Rate => [FFF, FSF],
            Self::InARow => [FFF, FFF],
        }
    }

    fn detector(self) -> Box<dyn Detector> {
        match self {
            Self::Failures(n) => Box::new(failures(n).within(ms(60_000))),
            Self::Rate => Box::new(failure_rate(0.5).within(ms(60_000)).min_calls(3)),
            Self::InARow => Box::new(consecutive_failures(3)),
        }
    }

    /// The longest that an instance waits for: all answers to a question, where there may be one.
    const fn longest_wait(self) -> u64 {
        match self {
            Self::Failures(_) => 150,
            Self::Rate | Self::InARow => 700,
        }
    }
}

/// How much happens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Calls of each instance.
    pub(super) calls: usize,
    pub(super) rule: Rule,
    pub(super) troubles: Troubles,
    /// The store does not know which batches it has taken in: what must be noticed.
    pub(super) forgetful: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Act {
    Call(usize),
    /// The engine looks at the instance, when it wants to be looked at.
    Look(usize),
    Arrive(usize),
    /// The request arrives, and will arrive again.
    ArriveTwice(usize),
    ArriveAgain,
    LoseRequest(usize),
    Answer(usize),
    LoseAnswer(usize),
    Crash(usize),
    StoreGoes,
    StoreComes,
    /// An operator's order, by the first instance.
    Hold,
}

/// How often each trouble may come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Troubles {
    pub(super) losses: u32,
    pub(super) doubles: u32,
    pub(super) crashes: u32,
    pub(super) outages: u32,
    pub(super) holds: u32,
}

/// What an instance waits for.
enum Slot {
    Empty,
    Sent(Request),
    Answered(Said),
}

enum Said {
    Loaded(Result<Stored, StoreError>),
    Committed(Result<Committed, StoreError>),
}

pub(super) struct Fleet {
    instances: [Instance; 2],
    slots: [Slot; 2],
    /// A request that is to arrive once more.
    again: Option<Request>,
    store: MemoryStore,
    clock: ManualClock,
    now: Timestamp,
    is_away: bool,
    made: [usize; 2],
    failures: u32,
    calls: usize,
    rule: Rule,
    forgetful: bool,
    left: Troubles,
    has_crashed: bool,
    generation: Generation,
    /// All that the store was given.
    given: u64,
}

impl Fleet {
    pub(super) fn new(Bounds { calls, rule, troubles, forgetful }: Bounds) -> Self {
        let clock = ManualClock::new();
        clock.set(at(0));
        let store = MemoryStore::with_clock(clock.clone());
        let mut fleet = Self {
            instances: [1, 2].map(|writer| Self::instance(writer, rule)),
            slots: [Slot::Empty, Slot::Empty],
            again: None,
            store,
            clock,
            now: at(0),
            is_away: false,
            made: [0; 2],
            failures: 0,
            calls,
            rule,
            forgetful,
            left: troubles,
            has_crashed: false,
            generation: Generation::new(1),
            given: 0,
        };
        (0..2).for_each(|who| fleet.talk(who));
        if rule == Rule::Rate {
            for _ in 0..10 {
                fleet.instances[1].call(Outcome::Success, fleet.now);
            }
            fleet.wait(ms(100));
        }
        fleet
    }

    fn instance(writer: u64, rule: Rule) -> Instance {
        Instance::new(writer, rule.detector())
    }

    pub(super) fn acts(&self) -> Vec<Act> {
        let mut acts = Vec::new();
        for who in 0..2 {
            if self.made[who] < self.calls {
                acts.push(Act::Call(who));
            }
            match &self.slots[who] {
                Slot::Empty => acts.push(Act::Look(who)),
                Slot::Sent(_) => {
                    acts.push(Act::Arrive(who));
                    acts.extend((self.left.doubles > 0).then_some(Act::ArriveTwice(who)));
                    acts.extend((self.left.losses > 0).then_some(Act::LoseRequest(who)));
                }
                Slot::Answered(_) => {
                    acts.push(Act::Answer(who));
                    acts.extend((self.left.losses > 0).then_some(Act::LoseAnswer(who)));
                }
            }
            acts.extend((self.left.crashes > 0).then_some(Act::Crash(who)));
        }
        acts.extend(self.again.is_some().then_some(Act::ArriveAgain));
        acts.extend((self.left.holds > 0).then_some(Act::Hold));
        acts.extend((self.left.outages > 0 && !self.is_away).then_some(Act::StoreGoes));
        acts.extend(self.is_away.then_some(Act::StoreComes));
        acts
    }

    /// Does it; `false` where nothing came of it.
    pub(super) fn act(&mut self, act: Act) -> bool {
        let mut counts = true;
        match act {
            Act::Call(who) => self.call(who),
            Act::Look(who) => counts = self.look(who, self.rule.longest_wait()),
            Act::Arrive(who) => self.arrive(who),
            Act::ArriveTwice(who) => {
                self.left.doubles -= 1;
                if let Slot::Sent(Request::Commit(commit)) = &self.slots[who] {
                    self.again = Some(Request::Commit(commit.clone()));
                }
                counts = self.again.is_some();
                self.arrive(who);
            }
            Act::ArriveAgain => {
                if let (Some(again), false) = (self.again.take(), self.is_away) {
                    self.give(&again);
                }
            }
            Act::LoseRequest(who) => {
                self.left.losses -= 1;
                let sent = std::mem::replace(&mut self.slots[who], Slot::Empty);
                if let Slot::Sent(request) = sent {
                    self.slots[who] = Slot::Answered(fails(&request));
                }
            }
            Act::Answer(who) => self.answer(who),
            Act::LoseAnswer(who) => {
                self.left.losses -= 1;
                if let Slot::Answered(said) = &mut self.slots[who] {
                    *said = match said {
                        Said::Loaded(_) => Said::Loaded(Err(StoreError::no_answer("lost"))),
                        Said::Committed(_) => Said::Committed(Err(StoreError::no_answer("lost"))),
                    };
                }
                self.answer(who);
            }
            Act::Crash(who) => {
                self.left.crashes -= 1;
                self.has_crashed = true;
                self.slots[who] = Slot::Empty;
                self.instances[who] = Self::instance(who as u64 + 11, self.rule);
            }
            Act::StoreGoes => {
                self.left.outages -= 1;
                self.is_away = true;
            }
            Act::StoreComes => self.is_away = false,
            Act::Hold => {
                self.left.holds -= 1;
                let order = Override::force_open("maintenance");
                self.instances[0].step(Input::Override(&order), self.now);
            }
        }
        self.check();
        counts
    }

    fn call(&mut self, who: usize) {
        let outcome = self.rule.calls()[who][self.made[who]];
        self.made[who] += 1;
        let passed = self.instances[who].call(outcome, self.now);
        self.failures += u32::from(passed && outcome.is_failure());
    }

    /// The engine looks at it, and again when it wants to be looked at in so many milliseconds. Tells whether it asks.
    fn look(&mut self, who: usize, longest: u64) -> bool {
        for _ in 0..2 {
            let now = self.now;
            let polled = self.instances[who].turn(now, |replica, turn| replica.poll(turn, &mut |_| Ok(())));
            if let Some(request) = polled.request {
                self.slots[who] = Slot::Sent(request);
                return true;
            }
            match polled.wake_at {
                Some(at) if at.since(now) <= ms(longest) => self.wait(at.since(now)),
                _ => return false,
            }
        }
        false
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.clock.set(self.now);
    }

    fn arrive(&mut self, who: usize) {
        let request = match std::mem::replace(&mut self.slots[who], Slot::Empty) {
            Slot::Sent(request) => request,
            other => return self.slots[who] = other,
        };
        self.slots[who] = Slot::Answered(if self.is_away { fails(&request) } else { self.give(&request) });
    }

    fn give(&mut self, request: &Request) -> Said {
        self.given = hash(&(self.given, format!("{request:?}")));
        match request {
            Request::Load => {
                Said::Loaded(at_once(self.store.load(&[KEY])).map(|mut stored| stored.pop().unwrap_or_default()))
            }
            Request::Commit(commit) => {
                let mut commit = (**commit).clone();
                if let (Some((id, _)), true) = (&mut commit.batch, self.forgetful) {
                    id.writer = self.given;
                }
                Said::Committed(at_once(self.store.commit(KEY, commit)))
            }
        }
    }

    fn answer(&mut self, who: usize) {
        let said = match std::mem::replace(&mut self.slots[who], Slot::Empty) {
            Slot::Answered(said) => said,
            other => return self.slots[who] = other,
        };
        let now = self.now;
        self.instances[who].turn(now, |replica, turn| match &said {
            Said::Loaded(answer) => replica.handle(Response::Loaded(answer.as_ref()), now, turn),
            Said::Committed(answer) => replica.handle(Response::Committed(answer.as_ref()), now, turn),
        });
    }

    /// What it asks is answered, until it asks nothing before some time has passed.
    fn talk(&mut self, who: usize) {
        for _ in 0..20 {
            if matches!(self.slots[who], Slot::Empty) && !self.look(who, 0) {
                return;
            }
            self.arrive(who);
            self.answer(who);
        }
        panic!("instance {who} asks over and over");
    }

    /// From now on all is well: both have what the other has told, by polls.
    fn settle(&mut self) {
        self.is_away = false;
        for time in (0..=3_000).step_by(25) {
            for who in 0..2 {
                if time % 1_000 == 0 && matches!(self.slots[who], Slot::Empty) {
                    self.instances[who].replica.reload();
                }
                self.talk(who);
            }
            self.wait(ms(25));
        }
    }

    fn record(&self) -> Option<Record> {
        let stored = at_once(self.store.load(&[KEY])).ok()?.pop()?;
        (!stored.record.is_empty()).then(|| Record::load(&stored.record).unwrap_or_else(|error| panic!("{error}")))
    }

    fn check(&mut self) {
        let Some(record) = self.record() else {
            return;
        };
        assert!(!self.generation.is_after(record.generation()), "back to {}", record.generation());
        self.generation = record.generation();
        assert!(record.failures() <= self.failures, "{} failures, {} happened", record.failures(), self.failures);
        let (State::Open, Some(TransitionReason::Detected(tally))) = (record.state(), record.machine.history().reason)
        else {
            return;
        };
        let least = match self.rule {
            Rule::Failures(opens) => opens,
            Rule::InARow => 3,
            // What an instance that is gone kept to itself cannot be known.
            Rule::Rate => {
                assert!(self.has_crashed, "{tally}, and ten good calls are left out");
                1
            }
        };
        let happened = u64::from(self.failures);
        assert!((u64::from(least)..=happened).contains(&tally.count()), "{tally} of {happened} failures");
    }

    /// Whatever has happened: when all is well again, the books are right, and an operator has the last word.
    pub(super) fn end_well(&mut self) {
        // An instance that has done nothing for longer has not answered: what it tells may be too late.
        let is_in_time = self.now.since(at(0)) <= ms(150);
        self.settle();
        let is_first = self.record().is_none_or(|record| record.generation() == Generation::new(1));
        if is_first && !self.has_crashed {
            let held = self.record().map_or(0, |record| record.failures());
            let opens = match self.rule {
                Rule::Failures(opens) => {
                    assert_eq!(held, self.failures, "failures in the record, failures that happened");
                    opens
                }
                // One to spare: within a tick the order of calls is not known.
                Rule::InARow if is_in_time => 4,
                Rule::Rate | Rule::InARow => u32::MAX,
            };
            assert!(self.failures < opens, "{} failures, and closed", self.failures);
        }
        self.instances[0].step(Input::Resume, self.now);
        self.settle();
        self.instances[1].step(Input::Reset, self.now);
        self.settle();
        assert!(self.record().is_none_or(|record| record.state() == State::Closed && !record.is_held()));
        for who in 0..2 {
            assert_eq!(self.instances[who].replica.machine().state(), State::Closed, "instance {who}");
            assert!(self.instances[who].call(Outcome::Success, self.now), "instance {who}");
        }
    }

    pub(super) fn hash(&self) -> u64 {
        let replicas = self.instances.each_ref().map(|instance| format!("{:?}", instance.replica));
        let slots = self.slots.each_ref().map(|slot| match slot {
            Slot::Empty => String::new(),
            Slot::Sent(request) => format!("{request:?}"),
            Slot::Answered(Said::Loaded(answer)) => format!("{answer:?}"),
            Slot::Answered(Said::Committed(answer)) => format!("{answer:?}"),
        });
        let stored = at_once(self.store.load(&[KEY])).ok();
        hash(&(
            replicas,
            slots,
            format!("{stored:?} {:?} {:?}", self.left, self.again),
            self.given,
            self.made,
            self.now,
        ))
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn fails(request: &Request) -> Said {
    let error = || StoreError::no_answer("lost");
    match request {
        Request::Load => Said::Loaded(Err(error())),
        Request::Commit(_) => Said::Committed(Err(error())),
    }
}

/// A store in memory never waits.
fn at_once<T>(mut future: StoreFuture<'_, T>) -> Result<T, StoreError> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(StoreError::no_answer("a store in memory waits")),
    }
}
