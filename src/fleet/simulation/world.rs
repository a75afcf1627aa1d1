//! The virtual time, what is due when, and the instances it happens to.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::chance::Chance;
use super::checks::Checks;
use super::seat::Seat;
use super::setup::{Clocks, Health, Setup};
use super::wire::{Answer, Network, Request};
use crate::circuit::{Outcome, Override, PermitId, State};
use crate::clock::ManualClock;
use crate::fleet::core::Core;
use crate::fleet::member::{Member, MemberId};
use crate::store::{BatchId, Notice};
use crate::time::{Timestamp, nanos};

/// Nanoseconds of the virtual time.
pub(super) type At = u64;

pub(super) const MS: At = 1_000_000;
pub(super) const S: At = 1_000 * MS;
/// What clocks show when the virtual time begins: far from where their numbers end.
pub(super) const ORIGIN: At = 100 * 3_600 * S;

/// What is due at some time.
#[derive(Debug)]
pub(super) enum Event {
    /// The engine of an instance looks again.
    Wake,
    /// A request is at the store.
    Arrive {
        op: u64,
        request: Request,
        wanted: bool,
    },
    Answer {
        op: u64,
        answer: Answer,
    },
    /// An answer has not come in time.
    Timeout {
        op: u64,
    },
    Noticed(Notice),
    /// A call asks.
    Call {
        key: usize,
    },
    /// A call ends.
    End {
        call: u64,
    },
    Command {
        key: usize,
        command: Command,
    },
    Turn(Health),
    Trouble(Trouble),
    /// Everything is mended.
    Mend,
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Trip,
    Reset,
    Override(Override),
    Resume,
    Flush,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// One instance does not reach the store; `true`: and is told so at once.
    Cut(usize, bool),
    Join(usize),
    Outage(bool),
    Back,
    Wipe,
    /// What was written last is lost.
    Rollback,
    Crash(usize),
    Start(usize),
    Freeze(usize, At),
    /// Notices do not reach the instance.
    Deaf(usize),
    Hears(usize),
}

/// Whom it concerns: an instance in one of its lives, or the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) instance: usize,
    pub(super) life: u32,
}

impl Who {
    pub(super) const WORLD: Self = Self { instance: usize::MAX, life: 0 };
}

pub(super) struct Instance {
    pub(super) name: String,
    pub(super) life: u32,
    pub(super) alive: bool,
    pub(super) core: Core,
    pub(super) seats: Vec<Arc<Seat>>,
    pub(super) clock: ManualClock,
    offset: i64,
    /// Parts of a million by which its clock runs fast or slow.
    drift: i64,
    pub(super) frozen_until: At,
    pub(super) cut: Option<bool>,
    pub(super) deaf: bool,
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
    Load(Vec<MemberId>),
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

/// The newest lines of a run's log.
pub(super) type Tail = Arc<Mutex<VecDeque<String>>>;

impl Instance {
    pub(super) fn clock(&self) -> ManualClock {
        self.clock.clone()
    }
}

impl World {
    pub(super) fn new(setup: Setup, tail: Option<Tail>) -> Self {
        let mut chance = Chance::new(setup.seed);
        let network = Network::new(setup.forgetful);
        let mut world = Self {
            now: 0,
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
                core: Core::new(0, Timestamp::ZERO),
                seats: Vec::new(),
                clock,
                offset,
                drift,
                frozen_until: 0,
                cut: None,
                deaf: false,
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
            if tail.len() >= super::runs::longest_tail() {
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
        let clock = instance.clock.clone();
        instance.life += 1;
        instance.alive = true;
        let now = engine_time(&clock);
        instance.core = Core::new(seeds[0], now);
        instance.seats.clear();
        for key in 0..setup.keys {
            let make = setup.make(&instance.name, seeds[1 + key]);
            let seat = Arc::new(Seat::new(make, clock.clone()));
            let member: Arc<dyn Member> = seat.clone();
            let id = MemberId(key as u64);
            instance.core.join(id, (member, name(key)), (seeds[1 + setup.keys + key], Duration::from_secs(1)), now);
            instance.seats.push(seat);
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
        self.network.set_clock(at);
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
        // Operators give their commands to whoever is there.
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
                    return;
                }
                instance.core.noticed(&notice, engine_time(&instance.clock));
            }
            Event::Call { key } => self.call(who, key),
            Event::End { call } => self.end(at, call),
            Event::Command { key, command } => self.command(at, key, &command),
            Event::Arrive { .. } | Event::Turn(_) | Event::Trouble(_) | Event::Mend => {}
        }
        self.pump(at);
        self.check(at);
    }

    pub(super) fn set_clock(&mut self, at: usize) {
        let instance = &self.instances[at];
        let now = self.now.cast_signed();
        let shown = ORIGIN.cast_signed() + now + now / 1_000_000 * instance.drift + instance.offset;
        instance.clock.set(Timestamp::from_nanos(shown.cast_unsigned()));
    }

    /// The engine of an instance does what there is to do.
    pub(super) fn pump(&mut self, at: usize) {
        loop {
            let instance = &mut self.instances[at];
            let now = engine_time(&instance.clock);
            for (key, seat) in instance.seats.iter().enumerate() {
                if seat.take_bell() {
                    instance.core.ring(MemberId(key as u64), now);
                }
            }
            match instance.core.next(now) {
                Some(ask) => self.send(at, ask),
                None if instance.seats.iter().any(|seat| seat.take_bell()) => {
                    (0..instance.seats.len()).for_each(|key| instance.core.ring(MemberId(key as u64), now));
                }
                None => break,
            }
        }
        let instance = &mut self.instances[at];
        let now = engine_time(&instance.clock);
        let flushed = instance.core.flushed();
        instance.flushing.retain(|waiter| !flushed.contains(waiter));
        let Some(wake_at) = instance.core.wake_at() else {
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
        self.instances.iter().filter(|instance| instance.alive).map(|instance| instance.seats[key].state()).collect()
    }

    /// The engine of one has its say, as after something that was done to it from outside.
    pub(super) fn pump_all_of(&mut self, at: usize) {
        self.set_clock(at);
        self.pump(at);
    }

    /// Everybody's engine has its say, as after something that was done to instances from outside.
    pub(super) fn pump_all(&mut self) {
        for at in 0..self.instances.len() {
            if self.instances[at].alive && self.instances[at].frozen_until <= self.now {
                self.set_clock(at);
                self.pump(at);
            }
        }
    }
}

/// The engine's clock is another one than the breaker's.
pub(super) fn engine_time(clock: &ManualClock) -> Timestamp {
    use crate::clock::Clock;
    clock.now() + Duration::from_secs(77_777)
}

/// The key of a breaker in the store.
pub(super) fn name(key: usize) -> String {
    format!("dependency-{key}")
}
