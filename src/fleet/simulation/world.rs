//! The virtual time, what is due when, and the instances it happens to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::checks::Checks;
use super::event::{Answer, At, ENGINE_AHEAD, Event, Health, MS, ORIGIN, S, Tail, Who, longest_tail, name};
use super::member::{Members, TestMember};
use super::network::Network;
use super::rng::Chance;
use super::setup::{Clocks, Setup};
use crate::circuit::{Outcome, PermitId, State};
use crate::clock::{Clock, ManualClock};
use crate::fleet::loads::Lane;
use crate::fleet::member::MemberId;
use crate::fleet::scheduler::Scheduler;
use crate::store::BatchId;
use crate::time::{Timestamp, nanos};

pub(super) struct Instance {
    pub(super) name: String,
    pub(super) life: u32,
    pub(super) alive: bool,
    pub(super) scheduler: Scheduler,
    pub(super) members: Members,
    pub(super) clock: ManualClock,
    /// The engine's: it goes on where the breaker's stands still.
    pub(super) engine: ManualClock,
    offset: i64,
    /// Parts of a million by which its clock runs fast or slow.
    drift: i64,
    pub(super) frozen_until: At,
    pub(super) cut: Option<bool>,
    pub(super) deaf: bool,
    /// Notices that were for it and did not reach it.
    pub(super) missed: u32,
    wake: Option<At>,
    /// How often it was woken in this second of the virtual time.
    woken: (At, u32),
    pub(super) asked: BTreeMap<u64, Asked>,
    /// Who waits for a flush.
    pub(super) flushing: Vec<u64>,
    pub(super) calls: BTreeMap<u64, Running>,
    pub(super) ops: u64,
    /// Failures that it has seen itself, by key.
    pub(super) failed: Vec<u64>,
    pub(super) passed: Vec<u64>,
}

#[derive(Debug)]
pub(super) enum Asked {
    Load(Lane, Vec<MemberId>),
    Changes,
    Commit(MemberId),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    pub(super) key: usize,
    pub(super) permit: PermitId,
    pub(super) outcome: Outcome,
}

pub(super) struct World {
    pub(super) setup: Setup,
    pub(super) now: At,
    /// What the clocks of breakers and of the store show in place of that, where they stand still until they are moved.
    pub(super) stopped: Option<At>,
    pub(super) due: BTreeMap<(At, u64), (Who, Event)>,
    pub(super) next: u64,
    pub(super) chance: Chance,
    pub(super) instances: Vec<Instance>,
    pub(super) network: Network,
    pub(super) checks: Checks,
    pub(super) health: Health,
    pub(super) traffic: bool,
    pub(super) steps: u64,
    /// The number of failures in each batch that was ever sent, and which the store said it took.
    pub(super) batches: HashMap<BatchId, u64>,
    pub(super) taken_in: HashSet<BatchId>,
    pub(super) tail: Option<Tail>,
}

impl Instance {
    pub(super) fn engine_time(&self) -> Timestamp {
        self.engine.now()
    }

    /// What the clock of its breakers shows.
    pub(super) fn here(&self) -> Timestamp {
        self.clock.now()
    }
}

impl World {
    pub(super) fn new(setup: Setup, tail: Option<Tail>) -> Self {
        let mut chance = Chance::new(setup.seed);
        let network = Network::new(setup.forgetful);
        let mut world = Self {
            now: 0,
            stopped: None,
            due: BTreeMap::new(),
            next: 0,
            instances: Vec::new(),
            network,
            checks: Checks::new(&setup),
            health: Health::Well,
            traffic: !setup.every.is_zero(),
            steps: 0,
            batches: HashMap::new(),
            taken_in: HashSet::new(),
            chance: Chance::new(chance.number()),
            tail,
            setup,
        };
        for at in 0..world.setup.instances {
            let clock = ManualClock::new();
            let hour = nanos(Duration::from_secs(3_600)).cast_signed();
            // Drawn in any case, so that a run with equal clocks is otherwise the same run.
            let offset = (world.chance.below(7_200_000_001).cast_signed() - 3_600_000_000) * 1_000;
            let drift = world.chance.below(201).cast_signed() - 100;
            assert!(offset.abs() <= hour);
            let (offset, drift) = match world.setup.clocks {
                Clocks::Equal => (0, 0),
                Clocks::Skewed => (offset, 0),
                Clocks::Drifting => (offset, drift),
            };
            world.instances.push(Instance {
                name: format!("instance-{at}"),
                life: 0,
                alive: false,
                scheduler: Scheduler::new("memory".into(), 0, Timestamp::ZERO),
                members: Vec::new(),
                clock,
                engine: ManualClock::new(),
                offset,
                drift,
                frozen_until: 0,
                cut: None,
                deaf: false,
                missed: 0,
                wake: None,
                woken: (0, 0),
                asked: BTreeMap::new(),
                flushing: Vec::new(),
                calls: BTreeMap::new(),
                ops: 0,
                failed: vec![0; world.setup.keys],
                passed: vec![0; world.setup.keys],
            });
            world.start(at);
        }
        world.plan();
        world
    }

    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(tail) = &self.tail {
            let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.len() >= longest_tail() {
                tail.pop_front();
            }
            tail.push_back(format!("{:>9.3} ms  {}", Duration::from_nanos(self.now).as_secs_f64() * 1e3, line()));
        }
    }

    pub(super) fn later(&mut self, after: At, who: Who, event: Event) {
        self.next += 1;
        self.due.insert((self.now + after, self.next), (who, event));
    }

    pub(super) fn who(&self, instance: usize) -> Who {
        Who { instance, life: self.instances[instance].life }
    }

    /// An instance starts, knowing nothing.
    pub(super) fn start(&mut self, at: usize) {
        let seeds: Vec<u64> = (0..=2 * self.setup.keys).map(|_| self.chance.number()).collect();
        self.set_clock(at);
        let setup = &self.setup;
        let instance = &mut self.instances[at];
        let clocks = (instance.clock.clone(), instance.engine.clone());
        instance.life += 1;
        instance.alive = true;
        let now = instance.engine_time();
        instance.scheduler = Scheduler::new("memory".into(), seeds[0], now);
        instance.members.clear();
        for key in 0..setup.keys {
            let make = setup.make(&instance.name, seeds[1 + key], seeds[1 + setup.keys + key]);
            let member = Arc::new(TestMember::new((MemberId(key as u64), name(key)), make, clocks.clone()));
            instance.scheduler.join(member.clone(), now);
            instance.members.push(member);
        }
        instance.wake = None;
        self.checks.started(at);
        let who = self.who(at);
        for key in 0..self.setup.keys {
            let first = self.chance.below(nanos(self.setup.every) + 1);
            self.later(first, who, Event::Call { key });
        }
        self.pump(at);
    }

    /// Lets the time go on to the next thing that is due, but not past `until`.
    pub(super) fn step(&mut self, until: At) -> bool {
        let Some((&(at, _), _)) = self.due.first_key_value().filter(|((at, _), _)| *at <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        let Some(((_, _), (who, event))) = self.due.pop_first() else {
            return false;
        };
        self.now = at;
        self.steps += 1;
        self.network.set_clock(self.stopped.unwrap_or(at));
        if who == Who::WORLD {
            self.happen(&event);
        } else if let Event::Arrive { op, request, wanted } = event {
            self.arrive(who, op, &request, wanted);
        } else {
            self.befall(who, event);
        }
        true
    }

    pub(super) fn run_for(&mut self, long: At) {
        let until = self.now + long;
        while self.step(until) {}
    }

    /// Lets the time go on until `f` holds; `false` when it does not in time.
    pub(super) fn run_until(&mut self, long: At, mut f: impl FnMut(&mut Self) -> bool) -> bool {
        let until = self.now + long;
        loop {
            if f(self) {
                return true;
            }
            if self.now >= until {
                return false;
            }
            let next = (self.now + 100 * MS).min(until);
            while self.step(next) {}
        }
    }

    /// Something happens to an instance.
    fn befall(&mut self, who: Who, event: Event) {
        let at = who.instance;
        let instance = &mut self.instances[at];
        // Operators give their commands to the instance that is there.
        let is_there = instance.alive && (who.life == instance.life || who.life == 0);
        if !is_there {
            return;
        }
        if instance.frozen_until > self.now {
            let after = instance.frozen_until - self.now;
            if matches!(event, Event::Wake) {
                instance.wake = Some(instance.frozen_until);
            }
            return self.later(after, who, event);
        }
        self.set_clock(at);
        match event {
            Event::Wake => {
                if self.instances[at].wake != Some(self.now) {
                    return;
                }
                let instance = &mut self.instances[at];
                instance.wake = None;
                instance.woken = if instance.woken.0 == self.now / S {
                    (instance.woken.0, instance.woken.1 + 1)
                } else {
                    (self.now / S, 1)
                };
                assert!(instance.woken.1 < 300, "the engine of {at} is woken over and over");
            }
            Event::Answer { op, answer } => self.answered(at, op, answer),
            Event::Timeout { op } => self.answered(at, op, Answer::None),
            Event::Noticed(notice) => {
                let instance = &mut self.instances[at];
                if instance.deaf || instance.cut.is_some() {
                    instance.missed += 1;
                    return;
                }
                let now = instance.engine_time();
                instance.scheduler.noticed(&notice, now);
            }
            Event::Call { key } => self.call(who, key),
            Event::End { call } => self.end(at, call),
            Event::Command { key, command } => self.command(at, key, &command),
            Event::Arrive { .. } | Event::Turn(_) | Event::Trouble(_) | Event::Mend => {}
        }
        self.pump(at);
        self.check(at);
    }

    /// From now on the clocks of breakers and of the store show this, and engines go on: as in a test with a manual clock.
    pub(super) fn stop_clocks(&mut self, shown: At) {
        self.stopped = Some(shown);
        self.network.set_clock(shown);
        (0..self.instances.len()).for_each(|at| self.set_clock(at));
    }

    /// The store's time now.
    pub(super) fn store_time(&self) -> Timestamp {
        Network::store_time(self.stopped.unwrap_or(self.now))
    }

    pub(super) fn set_clock(&mut self, at: usize) {
        let instance = &self.instances[at];
        let shown = |now: At| {
            let now = now.cast_signed();
            let shown = ORIGIN.cast_signed() + now + now / 1_000_000 * instance.drift + instance.offset;
            Timestamp::from_nanos(shown.cast_unsigned())
        };
        instance.clock.set(shown(self.stopped.unwrap_or(self.now)));
        instance.engine.set(shown(self.now) + ENGINE_AHEAD);
    }

    /// The engine of an instance does what there is to do.
    pub(super) fn pump(&mut self, at: usize) {
        loop {
            let instance = &mut self.instances[at];
            let now = instance.engine_time();
            for (key, member) in instance.members.iter().enumerate() {
                if let Some(wake_up) = member.take_wake_up() {
                    instance.scheduler.wake(MemberId(key as u64), wake_up, now);
                }
            }
            match instance.scheduler.next(now) {
                Some(ask) => self.send(at, ask),
                None => break,
            }
        }
        let instance = &mut self.instances[at];
        let now = instance.engine_time();
        let flushed = instance.scheduler.flushed();
        instance.flushing.retain(|waiter| !flushed.contains(waiter));
        let Some(wake_at) = instance.scheduler.wake_at() else {
            return;
        };
        assert!(wake_at > now, "the engine of {at} wants to be woken at once, over and over");
        // Drift is small, so a little later is late enough.
        let wait = nanos(wake_at.since(now));
        let wake = self.now + wait + wait / 5_000 + 1;
        if instance.wake.is_none_or(|known| wake < known) {
            instance.wake = Some(wake);
            let who = self.who(at);
            self.later(wake - self.now, who, Event::Wake);
        }
    }

    pub(super) fn states(&self, key: usize) -> Vec<State> {
        self.instances.iter().filter(|instance| instance.alive).map(|instance| instance.members[key].state()).collect()
    }

    /// The engine of one has its say, as after something that was done to it from outside.
    pub(super) fn pump_all_of(&mut self, at: usize) {
        self.set_clock(at);
        self.pump(at);
    }

    /// The engine of each instance has its say, as after something that was done to instances from outside.
    pub(super) fn pump_all(&mut self) {
        for at in 0..self.instances.len() {
            if self.instances[at].alive && self.instances[at].frozen_until <= self.now {
                self.set_clock(at);
                self.pump(at);
            }
        }
    }
}
