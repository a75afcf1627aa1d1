//! What a run is made of, and what happens to it.

use std::time::Duration;

use super::event::Health;
use super::member::Make;
use super::rng::Chance;
use crate::circuit::detector::{Detector, consecutive_failures, failure_rate, failures};
use crate::circuit::{Cooldown, Override, Probes, Rules, Slowness};
use crate::replica::{Terms, Voter, WhenDown};

const S: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    Failures(u32),
    Rate,
    OfLast,
    Consecutive,
    /// Counts and never trips.
    Counting,
}

impl Rule {
    pub(super) fn detector(self) -> Box<dyn Detector> {
        self.detector_over(self.window())
    }

    /// How long calls count, where that is a matter of time.
    pub(super) const fn window(self) -> Duration {
        match self {
            Self::Failures(_) | Self::Rate => Duration::from_secs(20),
            Self::OfLast | Self::Consecutive | Self::Counting => Duration::ZERO,
        }
    }

    /// The same rule, over another time.
    pub(super) fn detector_over(self, window: Duration) -> Box<dyn Detector> {
        match self {
            Self::Failures(n) => Box::new(failures(n).within(window)),
            Self::Rate => Box::new(failure_rate(0.5).within(window).min_calls(8)),
            Self::OfLast => Box::new(failure_rate(0.5).of_last(20)),
            Self::Consecutive => Box::new(consecutive_failures(5)),
            Self::Counting => Box::new(failures(u32::MAX).within(100 * 86_400 * S)),
        }
    }
}

/// How often messages go wrong, of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wire {
    pub(super) request_lost: u64,
    pub(super) answer_lost: u64,
    pub(super) duplicated: u64,
    pub(super) slow: u64,
    pub(super) very_slow: u64,
    pub(super) notice_lost: u64,
}

/// Which troubles come up, in the part of the run that has any.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Troubles {
    pub(super) cuts: u64,
    pub(super) outages: u64,
    pub(super) wipes: u64,
    pub(super) rollbacks: u64,
    pub(super) crashes: u64,
    pub(super) freezes: u64,
    pub(super) deafness: u64,
    pub(super) commands: u64,
    pub(super) strangers: u64,
}

/// The clocks of instances, and that of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clocks {
    Equal,
    /// They differ by up to an hour.
    Skewed,
    /// They also run fast or slow, by up to 100 parts of a million.
    Drifting,
}

#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) instances: usize,
    pub(super) keys: usize,
    pub(super) votes: Option<u32>,
    pub(super) rule: Rule,
    /// Another one than the rule's.
    pub(super) detector: Option<fn() -> Box<dyn Detector>>,
    pub(super) cooldown: Cooldown,
    pub(super) probes: Probes,
    /// So many of them must succeed.
    pub(super) needed: u32,
    pub(super) deadline: Duration,
    pub(super) concurrent: u32,
    pub(super) when_down: WhenDown,
    pub(super) wire: Wire,
    pub(super) troubles: Troubles,
    pub(super) clocks: Clocks,
    /// Mean time between the calls of one instance to one dependency; none where zero.
    pub(super) every: Duration,
    /// How long calls hang, once in a while.
    pub(super) hangs: Option<Duration>,
    /// One instance whose calls fail whatever the dependency does.
    pub(super) bad: Option<usize>,
    pub(super) stormy: Duration,
    pub(super) healths: Vec<(Duration, Health)>,
    pub(super) at_last: Health,
    /// The store does not know which batches it has taken in: what must be noticed.
    pub(super) forgetful: bool,
}

impl Setup {
    /// No troubles, no traffic.
    pub(super) fn quiet(seed: u64, instances: usize) -> Self {
        Self {
            seed,
            instances,
            keys: 1,
            votes: None,
            rule: Rule::Failures(5),
            detector: None,
            cooldown: Cooldown::fixed(5 * S),
            probes: Probes::one(),
            needed: 1,
            deadline: 10 * S,
            concurrent: 1,
            when_down: WhenDown::Local,
            wire: Wire::default(),
            troubles: Troubles::default(),
            clocks: Clocks::Drifting,
            every: Duration::ZERO,
            hangs: None,
            bad: None,
            stormy: Duration::ZERO,
            healths: Vec::new(),
            at_last: Health::Well,
            forgetful: false,
        }
    }

    /// Anything may happen.
    pub(super) fn random(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let instances = 2 + chance.index(7);
        let mut setup = Self::quiet(seed, instances);
        setup.keys = chance.pick(&[1, 1, 1, 2]);
        setup.votes = chance.pick(&[None, None, Some(1), Some(2)]);
        setup.rule = chance.pick(&[Rule::Failures(3), Rule::Failures(5), Rule::Rate, Rule::OfLast, Rule::Consecutive]);
        setup.cooldown =
            if chance.permille(500) { Cooldown::fixed(4 * S) } else { Cooldown::exponential(2 * S..=15 * S) };
        let probes = [(Probes::one(), 1), (Probes::consecutive(3), 3), (Probes::ratio(2, 3), 2)];
        (setup.probes, setup.needed) = chance.pick(&probes);
        setup.concurrent = chance.pick(&[1, 1, 2]);
        setup.deadline = chance.pick(&[4 * S, 10 * S]);
        setup.when_down =
            chance.pick(&[WhenDown::Local, WhenDown::Local, WhenDown::Local, WhenDown::Admit, WhenDown::Reject]);
        setup.wire = chance.pick(&[Wire::default(), Wire::shaky(), Wire::shaky(), Wire::awful()]);
        setup.troubles = Troubles::random(&mut chance);
        setup.every = chance.pick(&[100, 250, 1_000].map(Duration::from_millis));
        setup.hangs = chance.pick(&[None, Some(8 * S), Some(40 * S)]);
        setup.bad = chance.permille(250).then(|| chance.index(instances));
        setup.stormy = chance.pick(&[60 * S, 120 * S]);
        let mut at = Duration::ZERO;
        while at < setup.stormy {
            let health = chance.pick(&[Health::Well, Health::Background, Health::Sick, Health::Recovering]);
            setup.healths.push((at, health));
            at += chance.between(3 * S, 20 * S);
        }
        setup.at_last = chance.pick(&[Health::Well, Health::Well, Health::Sick]);
        setup.troubles.strangers = chance.pick(&[0, 20, 400]);
        setup
    }

    /// The same for many instances, of which each has few calls.
    pub(super) fn random_of(seed: u64, instances: usize) -> Self {
        let one = Self::random(seed);
        let rule = match one.rule {
            Rule::Failures(n) => Rule::Failures(20 * n),
            other => other,
        };
        Self { instances, keys: 1, rule, every: 2 * S, stormy: 60 * S, ..one }
    }

    pub(super) fn make(&self, name: &str, seed: u64, writer: u64) -> Make {
        let probes = self.probes.concurrent(self.concurrent).deadline(self.deadline);
        let detector = self.detector.map_or_else(|| self.rule.detector(), |make| make());
        let rules =
            Rules { cooldown: self.cooldown.clone(), probes, slowness: Slowness::of(&*detector), ..Rules::default() };
        let voter = self.votes.map(|quorum| Voter::new(name.into(), quorum));
        let terms = Terms {
            voter,
            when_down: self.when_down,
            flush_interval: S,
            clock_error: Duration::ZERO,
            tells_default_rule: false,
        };
        Make { detector, rules, writer, terms, seed }
    }

    /// An order of an operator's, and whether an operator must end it.
    pub(super) fn order(chance: &mut Chance) -> Override {
        let order = match chance.below(3) {
            0 => Override::force_open("maintenance"),
            1 => Override::disable("load test"),
            _ => Override::dry_run("new limits"),
        };
        if chance.permille(700) { order.expires_after(chance.between(S, 20 * S)) } else { order }
    }
}

impl Wire {
    pub(super) const fn shaky() -> Self {
        Self { request_lost: 10, answer_lost: 20, duplicated: 20, slow: 30, very_slow: 5, notice_lost: 50 }
    }

    pub(super) const fn awful() -> Self {
        Self { request_lost: 80, answer_lost: 120, duplicated: 100, slow: 150, very_slow: 40, notice_lost: 400 }
    }
}

impl Troubles {
    fn random(chance: &mut Chance) -> Self {
        let mut some = |most: u64| if chance.permille(400) { 1 + chance.below(most) } else { 0 };
        Self {
            cuts: some(4),
            outages: some(2),
            wipes: some(2),
            rollbacks: some(2),
            crashes: some(3),
            freezes: some(3),
            deafness: some(3),
            commands: some(6),
            strangers: 0,
        }
    }
}
