//! All transitions of the breaker, in one place.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

#[cfg(feature = "fleet")]
use super::Run;
use super::detector::{Detector, Tally};
use super::overrides::Standing;
use super::probes::{Round, Verdict};
#[cfg(feature = "fleet")]
use super::shared::{Order, Probed, WhenDown};
use super::step::{Decision, Fact, Facts, Input, Origin, PermitId, StepContext, Transition};
use super::window::CountWindow;
use super::{Call, Generation, Outcome, Override, OverrideKind, RejectReason, Rules, State, TransitionReason};
use crate::backoff::draw;
use crate::time::Timestamp;

/// A breaker's state and rules of change: deterministic, without clock, lock or I/O.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(super) detector: Box<dyn Detector>,
    pub(super) generation: Generation,
    pub(super) since: Timestamp,
    pub(super) state: State,
    /// What a breaker that was always healthy does not have; made at the first trouble.
    pub(super) history: Option<Box<History>>,
    /// What is known of the fleet that shares the breaker.
    #[cfg(feature = "fleet")]
    pub(super) led: Option<Box<super::shared::Led>>,
}

#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) open_until: Timestamp,
    pub(super) cooldown: Duration,
    /// Openings since it was last healthy.
    pub(super) openings: u32,
    pub(super) reason: Option<TransitionReason>,
    pub(super) round: Option<Round>,
    /// The circuit was opened by the round, so its log tells why.
    pub(super) opened_by_round: bool,
    pub(super) standing: Option<Standing>,
    pub(super) log: Option<CountWindow>,
}

impl Machine {
    /// A closed breaker. `generation` must be above every one that permits of an earlier owner may carry.
    pub(crate) fn new(detector: Box<dyn Detector>, rules: &Rules, generation: Generation, now: Timestamp) -> Self {
        let log = (rules.log > 0).then(|| CountWindow::new(rules.log));
        let history = log.map(|log| Box::new(History { log: Some(log), ..History::default() }));
        Self {
            detector,
            generation,
            since: now,
            state: State::Closed,
            history,
            #[cfg(feature = "fleet")]
            led: None,
        }
    }

    /// Decides about one input; what happens is added to `facts`.
    pub(crate) fn step(&mut self, rules: &Rules, input: Input<'_>, at: StepContext, facts: &mut Facts) -> Decision {
        match input {
            Input::Acquire { reserve } => self.acquire(rules, reserve, at, facts),
            Input::Begin(permit) => self.begin(rules, permit, at, facts),
            Input::Accept(permit) => self.accept(rules, permit, at, facts),
            Input::Report { permit, outcome, took } => self.report(rules, permit, (outcome, took), at, facts),
            Input::Trip => self.command(at, facts, |machine, facts| {
                #[cfg(feature = "fleet")]
                machine.order(Order::Trip, at.now);
                if machine.state != State::Open {
                    machine.open(rules, TransitionReason::Tripped, None, at, facts);
                }
            }),
            Input::Reset => self.command(at, facts, |machine, facts| {
                #[cfg(feature = "fleet")]
                machine.order(Order::Reset, at.now);
                if let Some(history) = &mut machine.history {
                    history.openings = 0;
                    history.log.iter_mut().for_each(CountWindow::clear);
                }
                machine.close(TransitionReason::Reset, at.now, facts);
            }),
            Input::Override(order) => self.hold(order, at.now, facts),
            Input::Resume => self.resume(at.now, facts),
            Input::Look => {
                self.expire_override(at.now, facts);
                Decision::Done
            }
            Input::Poll => {
                self.expire_override(at.now, facts);
                self.end_hopeless_round(rules, at, facts);
                #[cfg(feature = "fleet")]
                if self.asks_fleet() && self.is_ready_for_probes(at.now) {
                    return self.poll_led(at.now);
                }
                let busy = self.state == State::HalfOpen && self.free_probes(rules) == 0;
                if busy { Decision::Busy } else { Decision::Done }
            }
        }
    }

    /// Takes in successes of this generation that were not slow, in order before the next input: they ended between `at` and
    /// `latest`.
    #[cfg_attr(not(feature = "fleet"), expect(unused_variables, reason = "only a fleet sorts them among other calls"))]
    pub(crate) fn record_successes(&mut self, count: u64, at: Timestamp, latest: Timestamp, facts: &mut Facts) {
        if count > 0 && self.state == State::Closed && self.records() {
            self.log(|log| log.push_good(count));
            self.judge(facts, |detector| detector.record_successes(count, at));
            // Behind the failures that this instance saw before them.
            #[cfg(feature = "fleet")]
            self.tell_fleet(Run::new(&Call::success(latest), count), None);
        }
    }

    fn acquire(&mut self, rules: &Rules, reserve: bool, at: StepContext, facts: &mut Facts) -> Decision {
        self.expire_override(at.now, facts);
        if let Some(standing) = self.standing() {
            return match standing.order.kind() {
                OverrideKind::ForcedOpen => {
                    let until = Some(standing.until).filter(|until| *until < Timestamp::MAX);
                    Decision::Rejected { reason: RejectReason::ForcedOpen, until }
                }
                OverrideKind::Disabled | OverrideKind::DryRun => self.admitted(None),
            };
        }
        self.end_hopeless_round(rules, at, facts);
        #[cfg(feature = "fleet")]
        match self.stand_in() {
            Some(WhenDown::Admit) => return self.admitted(None),
            Some(_) => return Decision::Rejected { reason: RejectReason::StoreDown, until: None },
            None if self.asks_fleet() && self.is_ready_for_probes(at.now) => return self.acquire_led(at.now, reserve),
            None => {}
        }
        match self.state {
            State::Closed => return self.admitted(None),
            State::Open => {
                let until = self.history().open_until;
                if at.now < until {
                    return Decision::Rejected { reason: RejectReason::Open, until: Some(until) };
                }
                self.half_open(rules, at.now, facts);
            }
            State::HalfOpen => {}
        }
        #[cfg(feature = "fleet")]
        let is_own = self.led.is_some();
        let round = self.history().round.get_or_insert_with(|| Round::new(&rules.probes));
        #[cfg(feature = "fleet")]
        if is_own {
            // Whatever round it is, the fleet has leases of that number as well.
            round.number_own_leases();
        }
        match round.admit(&rules.probes, at.now, reserve) {
            Some(lease) => self.admitted(Some(lease)),
            None => Decision::Rejected { reason: RejectReason::ProbesBusy, until: None },
        }
    }

    const fn admitted(&self, lease: Option<u32>) -> Decision {
        Decision::Admitted(PermitId { generation: self.generation, lease })
    }

    fn begin(&mut self, rules: &Rules, permit: PermitId, at: StepContext, facts: &mut Facts) -> Decision {
        self.expire_override(at.now, facts);
        if permit.generation != self.generation {
            return Decision::Stale;
        }
        let Some(lease) = permit.lease else {
            return Decision::Admitted(permit);
        };
        self.end_hopeless_round(rules, at, facts);
        #[cfg(feature = "fleet")]
        if self.asks_fleet() {
            let held = self.history().round.as_mut().is_some_and(|round| round.begin_in_hand(lease));
            return if held { Decision::Admitted(permit) } else { Decision::Stale };
        }
        let held = self.history().round.as_mut().is_some_and(|round| round.begin(&rules.probes, lease, at.now));
        if held && permit.generation == self.generation { Decision::Admitted(permit) } else { Decision::Stale }
    }

    /// Open with its cooldown over, or half-open.
    #[cfg(feature = "fleet")]
    fn is_ready_for_probes(&self, now: Timestamp) -> bool {
        match self.state {
            State::Closed => false,
            State::Open => self.history.as_ref().is_some_and(|history| history.open_until <= now),
            State::HalfOpen => true,
        }
    }

    /// The dependency has answered a probe, and the response is on its way.
    fn accept(&mut self, rules: &Rules, permit: PermitId, at: StepContext, facts: &mut Facts) -> Decision {
        self.end_hopeless_round(rules, at, facts);
        let (Some(lease), true) = (permit.lease, permit.generation == self.generation) else {
            return Decision::Stale;
        };
        let held = self.history().round.as_mut().is_some_and(|round| round.accept(lease));
        #[cfg(feature = "fleet")]
        if held && self.asks_fleet() {
            self.tell_probe(Probed::accepted(lease));
        }
        if held { Decision::Done } else { Decision::Stale }
    }

    fn report(
        &mut self,
        rules: &Rules,
        permit: PermitId,
        (outcome, took): (Outcome, Option<Duration>),
        at: StepContext,
        facts: &mut Facts,
    ) -> Decision {
        if permit.generation != self.generation {
            return Decision::Stale;
        }
        let failed = rules.judge(outcome, took);
        let slow = failed.is_some() && rules.is_slow(took);
        match permit.lease {
            Some(lease) => {
                // A probe that comes back after its deadline has failed, whether or not somebody asked meanwhile.
                self.end_hopeless_round(rules, at, facts);
                if permit.generation != self.generation {
                    return Decision::Stale;
                }
                self.report_probe(rules, lease, failed.map(|failed| failed || slow), outcome, at, facts)
            }
            None => {
                if let Some(failed) = failed
                    && self.records()
                {
                    let call = if failed { Call::failure(at.now) } else { Call::success(at.now) };
                    self.log(|log| log.push(failed));
                    #[cfg(feature = "fleet")]
                    self.tell_fleet(Run::new(&call.took(took.filter(|_| slow)), 1), outcome.retry_after());
                    let detected = self.judge(facts, |detector| {
                        detector.record(&call.took(took));
                        let trips = (failed || slow) && detector.verdict(at.now);
                        trips.then(|| detector.tally(at.now))
                    });
                    if let Some(Some(tally)) = detected {
                        #[cfg(feature = "fleet")]
                        if self.is_judged_by_fleet() {
                            self.suspect();
                            return Decision::Done;
                        }
                        self.trip(rules, tally, outcome, at, facts);
                    }
                }
                Decision::Done
            }
        }
    }

    fn report_probe(
        &mut self,
        rules: &Rules,
        lease: u32,
        failed: Option<bool>,
        outcome: Outcome,
        at: StepContext,
        facts: &mut Facts,
    ) -> Decision {
        let Some(round) = self.history.as_mut().and_then(|history| history.round.as_mut()) else {
            return Decision::Stale;
        };
        if !round.give_back(lease) {
            return Decision::Stale;
        }
        #[cfg(feature = "fleet")]
        if self.asks_fleet() {
            self.tell_probe(Probed::ended(lease, failed, outcome.retry_after()));
            return Decision::Done;
        }
        let Some(round) = self.history.as_mut().and_then(|history| history.round.as_mut()) else {
            return Decision::Stale;
        };
        let Some(failed) = failed else {
            return Decision::Done;
        };
        round.count(failed);
        let verdict = round.verdict(&rules.probes);
        self.log(|log| log.push(failed));
        match verdict {
            Verdict::Undecided => {}
            Verdict::Close => self.close(TransitionReason::ProbesSucceeded, at.now, facts),
            Verdict::Reopen => {
                self.open(rules, TransitionReason::ProbeFailed, outcome.retry_after(), at, facts);
            }
        }
        Decision::Done
    }

    /// The detector has tripped.
    #[cold]
    pub(super) fn trip(&mut self, rules: &Rules, tally: Tally, outcome: Outcome, at: StepContext, facts: &mut Facts) {
        if self.standing().is_some() {
            // A dry run: the next "would have opened" needs evidence of its own.
            facts.push(Fact::WouldOpen(tally));
            self.judge(facts, |detector| detector.reset());
        } else {
            self.open(rules, TransitionReason::Detected(tally), outcome.retry_after(), at, facts);
        }
    }

    /// Reopens when a probe outlived its deadline or probes have gone out in vain for too long.
    fn end_hopeless_round(&mut self, rules: &Rules, at: StepContext, facts: &mut Facts) {
        if self.state != State::HalfOpen {
            return;
        }
        let Some(history) = &mut self.history else {
            return;
        };
        let Some(round) = &mut history.round else {
            return;
        };
        let expired = round.expire(at.now);
        #[cfg(feature = "fleet")]
        if self.led.is_some() && self.asks_fleet() {
            // The fleet's record knows of the same deadlines.
            return;
        }
        let Some(history) = &mut self.history else {
            return;
        };
        let Some(round) = &mut history.round else {
            return;
        };
        for (_, failed) in expired {
            round.count(failed);
            history.log.iter_mut().for_each(|log| log.push(failed));
        }
        let verdict = round.verdict(&rules.probes);
        if verdict == Verdict::Close {
            self.close(TransitionReason::ProbesSucceeded, at.now, facts);
            return;
        }
        let reason = if verdict == Verdict::Reopen {
            TransitionReason::ProbeExpired
        } else if round.is_fruitless(rules.probes.patience(history.cooldown), at.now) {
            TransitionReason::ProbesInconclusive
        } else {
            return;
        };
        self.open(rules, reason, None, at, facts);
    }

    /// A command, unless an override stands.
    fn command(&mut self, at: StepContext, facts: &mut Facts, f: impl FnOnce(&mut Self, &mut Facts)) -> Decision {
        self.expire_override(at.now, facts);
        if self.standing().is_some() {
            return Decision::Overridden;
        }
        f(self, facts);
        Decision::Done
    }

    fn hold(&mut self, order: &Override, now: Timestamp, facts: &mut Facts) -> Decision {
        let to = match order.kind() {
            OverrideKind::ForcedOpen => State::Open,
            OverrideKind::Disabled | OverrideKind::DryRun => State::Closed,
        };
        #[cfg(feature = "fleet")]
        self.order(Order::Override(order.clone()), now);
        self.history().standing = Some(Standing::new(order.clone(), now));
        self.judge(facts, |detector| detector.reset());
        self.go(to, TransitionReason::Overridden, now, facts);
        Decision::Done
    }

    fn resume(&mut self, now: Timestamp, facts: &mut Facts) -> Decision {
        self.expire_override(now, facts);
        if self.standing().is_some() {
            #[cfg(feature = "fleet")]
            self.order(Order::Resume, now);
            self.let_go(TransitionReason::Resumed, now, facts);
        }
        Decision::Done
    }

    fn expire_override(&mut self, now: Timestamp, facts: &mut Facts) {
        if self.standing().is_some_and(|standing| standing.until <= now) {
            #[cfg(feature = "fleet")]
            self.order(Order::Look, now);
            self.let_go(TransitionReason::OverrideExpired, now, facts);
        }
    }

    fn let_go(&mut self, reason: TransitionReason, now: Timestamp, facts: &mut Facts) {
        self.history().standing = None;
        self.close(reason, now, facts);
    }

    pub(super) fn open(
        &mut self,
        rules: &Rules,
        reason: TransitionReason,
        retry_after: Option<Duration>,
        at: StepContext,
        facts: &mut Facts,
    ) {
        let by_round = self.state == State::HalfOpen;
        let healthy = !by_round && at.now.since(self.since) >= rules.cooldown.healthy_period();
        let history = self.history();
        if healthy {
            history.openings = 0;
        }
        let asked = retry_after.unwrap_or_default().min(rules.retry_after_cap);
        let draw = draw(at.seed, at.now.as_nanos());
        history.cooldown = rules.cooldown.delay(history.openings, retry_after, draw).max(asked);
        history.open_until = at.now + history.cooldown;
        history.openings = history.openings.saturating_add(1);
        history.opened_by_round = by_round;
        self.go(State::Open, reason, at.now, facts);
    }

    fn half_open(&mut self, rules: &Rules, now: Timestamp, facts: &mut Facts) {
        let round = self.history().round.get_or_insert_with(|| Round::new(&rules.probes));
        round.restart(&rules.probes);
        self.go(State::HalfOpen, TransitionReason::CooldownOver, now, facts);
    }

    fn close(&mut self, reason: TransitionReason, now: Timestamp, facts: &mut Facts) {
        self.judge(facts, |detector| detector.reset());
        self.go(State::Closed, reason, now, facts);
    }

    fn go(&mut self, to: State, reason: TransitionReason, now: Timestamp, facts: &mut Facts) {
        self.enter(to, reason, (Origin::Decided, None), now, facts);
        #[cfg(feature = "fleet")]
        self.decided_here(to, now);
    }

    /// Every change of state is made here: a new generation each.
    pub(super) fn enter(
        &mut self,
        to: State,
        reason: TransitionReason,
        (origin, fleet): (Origin, Option<Generation>),
        now: Timestamp,
        facts: &mut Facts,
    ) {
        let from = self.state;
        self.generation = self.generation.next();
        self.state = to;
        self.since = now;
        let history = self.history();
        history.reason = Some(reason);
        if to != State::HalfOpen
            && let Some(round) = &mut history.round
        {
            round.drop_leases();
        }
        let generation = self.generation;
        facts.push(Fact::Transition(Transition { from, to, reason, generation, origin, fleet }));
    }

    /// Runs code of the detector, which may be a user's: a panic is a fact, and the detector begins anew.
    pub(super) fn judge<R>(&mut self, facts: &mut Facts, f: impl FnOnce(&mut dyn Detector) -> R) -> Option<R> {
        let detector = &mut *self.detector;
        let result = catch_unwind(AssertUnwindSafe(|| f(detector))).ok();
        if result.is_none() {
            facts.push(Fact::DetectorPanicked);
            // Its reset may panic as well; then it keeps what it has, and each panic is reported.
            catch_unwind(AssertUnwindSafe(|| self.detector.reset())).ok();
        }
        result
    }

    fn log(&mut self, f: impl FnOnce(&mut CountWindow)) {
        if let Some(log) = self.history.as_mut().and_then(|history| history.log.as_mut()) {
            f(log);
        }
    }

    pub(super) fn history(&mut self) -> &mut History {
        self.history.get_or_insert_default()
    }

    pub(super) fn standing(&self) -> Option<&Standing> {
        self.history.as_ref()?.standing.as_ref()
    }

    /// Tells whether outcomes are evidence at all.
    pub(super) fn records(&self) -> bool {
        #[cfg(feature = "fleet")]
        if self.stand_in().is_some() {
            return false;
        }
        self.standing().is_none_or(|standing| standing.order.kind() != OverrideKind::Disabled)
    }
}
