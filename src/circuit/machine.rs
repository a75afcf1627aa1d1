//! All transitions of the breaker, in one place.

use std::time::Duration;

use super::detector::{Detector, Tally};
use super::machine_state::{History, MachineState};
use super::overrides::Standing;
use super::probe_round::{Lease, ProbeRound, RoundVerdict};
use super::step::{Decision, Fact, Facts, Input, PermitId, StepContext, Transition};
use super::window::CountWindow;
use super::{Call, Generation, Origin, Outcome, Override, OverrideKind, RejectReason, Rules, State, TransitionReason};
use crate::guard::guarded;
use crate::time::Timestamp;

/// A breaker's state and rules of change: deterministic, without clock, lock or I/O.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) detector: Box<dyn Detector>,
    pub(crate) state: MachineState,
}

impl Machine {
    /// A closed breaker. `generation` must be above every one that permits of an earlier owner may carry.
    pub(crate) fn new(detector: Box<dyn Detector>, rules: &Rules, generation: Generation, now: Timestamp) -> Self {
        let state = MachineState::closed(generation, now);
        Self::resume(if rules.log > 0 { state.with_log(rules.log) } else { state }, detector)
    }

    /// A breaker that goes on from a state.
    pub(crate) const fn resume(state: MachineState, detector: Box<dyn Detector>) -> Self {
        Self { detector, state }
    }

    /// Decides about one input; what happens is added to `facts`.
    pub(crate) fn step(&mut self, rules: &Rules, input: Input<'_>, at: StepContext, facts: &mut Facts) -> Decision {
        match input {
            Input::Acquire { reserve } => self.acquire(rules, reserve, at, facts),
            Input::Begin(permit) => self.begin(rules, permit, at, facts),
            Input::Accept { permit, took } => self.accept(rules, permit, took, at, facts),
            Input::Report { permit, outcome, took } => self.report(rules, permit, (outcome, took), at, facts),
            Input::Trip => self.command(at, facts, |machine, facts| {
                if machine.state.state != State::Open {
                    machine.open(rules, TransitionReason::Tripped, None, at, facts);
                }
            }),
            Input::Reset => self.command(at, facts, |machine, facts| {
                machine.forget_growth();
                machine.log(CountWindow::clear);
                machine.close(TransitionReason::Reset, at.now, facts);
            }),
            Input::Override(order) => self.hold(order, at.now, facts),
            Input::Resume => self.end_override(at.now, facts),
            Input::Look => {
                self.expire_override(at.now, facts);
                Decision::Done
            }
            Input::Poll => self.poll(rules, at, facts),
        }
    }

    /// Takes in successes of this generation that were not slow, in order before the next input: the oldest of them ended at
    /// `at`.
    #[inline]
    pub(crate) fn record_successes(&mut self, count: u64, at: Timestamp, facts: &mut Facts) {
        if count > 0 {
            self.record_some_successes(count, at, facts);
        }
    }

    #[inline(never)]
    fn record_some_successes(&mut self, count: u64, at: Timestamp, facts: &mut Facts) {
        if self.state.state == State::Closed && self.records() {
            self.recover(at);
            self.log(|log| log.push_good(count));
            self.judge(facts, |detector| detector.record_successes(count, at));
        }
    }

    /// Takes in successes of this generation, and after them a failure that is no probe's, where no rule asks when they were:
    /// the time is asked for only if the circuit opens by it. Returns when that was.
    pub(crate) fn fail(
        &mut self,
        rules: &Rules,
        successes: u64,
        outcome: Outcome,
        at: impl FnOnce() -> StepContext,
        facts: &mut Facts,
    ) -> Option<Timestamp> {
        let earliest = self.state.since;
        self.record_successes(successes, earliest, facts);
        let tally = self.observe(rules, outcome, None, earliest, facts)?;
        let at = at();
        self.trip(rules, tally, outcome, at, facts);
        Some(at.now)
    }

    fn acquire(&mut self, rules: &Rules, reserve: bool, at: StepContext, facts: &mut Facts) -> Decision {
        self.expire_override(at.now, facts);
        if let Some(standing) = self.state.standing() {
            return match standing.order.kind() {
                OverrideKind::ForcedOpen => Self::forced_open(standing),
                OverrideKind::Disabled | OverrideKind::DryRun => self.admitted(None),
            };
        }
        self.end_hopeless_round(rules, at, facts);
        match self.state.state {
            State::Closed => return self.admitted(None),
            State::Open => {
                if at.now < self.state.history().open_until {
                    return self.still_open();
                }
                self.half_open(rules, at.now, facts);
            }
            State::HalfOpen => {}
        }
        let round = self.state.history_mut().round.get_or_insert_with(|| ProbeRound::new(&rules.probes));
        match round.admit(&rules.probes, at.now, reserve) {
            Some(lease) => self.admitted(Some(lease)),
            None => Decision::PROBES_BUSY,
        }
    }

    /// Answers as [`acquire`](Self::acquire) would; no call is admitted, and the circuit does not become half-open.
    fn poll(&mut self, rules: &Rules, at: StepContext, facts: &mut Facts) -> Decision {
        self.expire_override(at.now, facts);
        if let Some(standing) = self.state.standing() {
            let is_shut = standing.order.kind() == OverrideKind::ForcedOpen;
            return if is_shut { Self::forced_open(standing) } else { Decision::Done };
        }
        self.end_hopeless_round(rules, at, facts);
        match self.state.state {
            State::Open if at.now < self.state.history().open_until => self.still_open(),
            State::Closed | State::Open => Decision::Done,
            State::HalfOpen => {
                let round = self.state.history().round.as_ref();
                let is_free = round.is_none_or(|round| round.takes_a_call(&rules.probes));
                if is_free { Decision::Done } else { Decision::PROBES_BUSY }
            }
        }
    }

    fn forced_open(standing: &Standing) -> Decision {
        let until = Some(standing.until).filter(|until| *until < Timestamp::MAX);
        Decision::Rejected { reason: RejectReason::ForcedOpen, until }
    }

    fn still_open(&self) -> Decision {
        Decision::Rejected { reason: RejectReason::Open, until: Some(self.state.history().open_until) }
    }

    /// The call may go through in the present generation, as a probe where it has a lease.
    pub(crate) const fn admitted(&self, lease: Option<u32>) -> Decision {
        Decision::Admitted(PermitId { generation: self.state.generation, lease })
    }

    fn begin(&mut self, rules: &Rules, permit: PermitId, at: StepContext, facts: &mut Facts) -> Decision {
        self.expire_override(at.now, facts);
        if permit.generation != self.state.generation {
            return Decision::Stale;
        }
        let Some(lease) = permit.lease else {
            return Decision::Admitted(permit);
        };
        self.end_hopeless_round(rules, at, facts);
        let held = self.round_mut().is_some_and(|round| round.begin(&rules.probes, lease, at.now));
        if held && permit.generation == self.state.generation { Decision::Admitted(permit) } else { Decision::Stale }
    }

    /// The dependency has answered a probe, after so long, and the response is on its way.
    fn accept(
        &mut self,
        rules: &Rules,
        permit: PermitId,
        took: Option<Duration>,
        at: StepContext,
        facts: &mut Facts,
    ) -> Decision {
        self.end_hopeless_round(rules, at, facts);
        let (Some(lease), true) = (permit.lease, permit.generation == self.state.generation) else {
            return Decision::Stale;
        };
        let passed = rules.slowness.passed(took);
        let held = self.round_mut().is_some_and(|round| round.accept(lease, passed, at.now));
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
        if permit.generation != self.state.generation {
            return Decision::Stale;
        }
        let Some(lease) = permit.lease else {
            if let Some(tally) = self.observe(rules, outcome, took, at.now, facts) {
                self.trip(rules, tally, outcome, at, facts);
            }
            return Decision::Done;
        };
        // A probe that comes back after its deadline has failed, whether or not another call asked meanwhile.
        self.end_hopeless_round(rules, at, facts);
        if permit.generation != self.state.generation {
            return Decision::Stale;
        }
        self.report_probe(rules, lease, (outcome, took), at, facts)
    }

    /// Takes in how a call of this generation ended that was no probe. Returns what the detector trips on, if it does;
    /// [`trip`](Self::trip) then opens the circuit.
    #[inline]
    pub(crate) fn observe(
        &mut self,
        rules: &Rules,
        outcome: Outcome,
        took: Option<Duration>,
        now: Timestamp,
        facts: &mut Facts,
    ) -> Option<Tally> {
        let failed = outcome.verdict()?;
        if !self.records() {
            return None;
        }
        let is_bad = failed || rules.is_slow(took);
        if !is_bad {
            self.recover(now);
        }
        let call = if failed { Call::failure(now) } else { Call::success(now) };
        self.log(|log| log.push(failed));
        let tripped = self.judge(facts, |detector| {
            detector.record(&call.took(took));
            let trips = is_bad && detector.verdict(now);
            trips.then(|| detector.tally(now))
        });
        tripped.flatten()
    }

    fn report_probe(
        &mut self,
        rules: &Rules,
        lease: u32,
        (outcome, took): (Outcome, Option<Duration>),
        at: StepContext,
        facts: &mut Facts,
    ) -> Decision {
        let Some(History { round: Some(round), slowness_counts, .. }) = self.state.past_mut() else {
            return Decision::Stale;
        };
        let Some(lease) = round.give_back(lease) else {
            return Decision::Stale;
        };
        let Some(failed) = outcome.verdict() else {
            round.end_without_evidence(&lease, outcome == Outcome::Cancelled);
            if round.hangs() {
                self.open(rules, TransitionReason::ProbesGivenUp, None, at, facts);
            }
            return Decision::Done;
        };
        let passed = rules.slowness.passed(took).max(lease.passed);
        let is_against = round.take_in(failed, passed, &rules.slowness, slowness_counts);
        let verdict = round.verdict(&rules.probes, *slowness_counts);
        self.log(|log| log.push(is_against));
        match verdict {
            RoundVerdict::Undecided => {}
            RoundVerdict::Close => self.close(TransitionReason::ProbesSucceeded, at.now, facts),
            RoundVerdict::Reopen => {
                self.open(rules, TransitionReason::ProbeFailed, outcome.retry_after(), at, facts);
            }
        }
        Decision::Done
    }

    /// The detector has tripped.
    #[cold]
    pub(crate) fn trip(&mut self, rules: &Rules, tally: Tally, outcome: Outcome, at: StepContext, facts: &mut Facts) {
        if self.state.standing().is_some() {
            // A dry run: the next "would have opened" needs evidence of its own.
            facts.push(Fact::WouldOpen(tally));
            self.judge(facts, |detector| detector.reset());
        } else {
            self.open(rules, TransitionReason::Detected(tally), outcome.retry_after(), at, facts);
        }
    }

    /// Drops the leases whose deadline has come while half-open. Returns those of probes on their way.
    pub(crate) fn expire_leases(&mut self, now: Timestamp) -> Vec<Lease> {
        if self.state.state != State::HalfOpen {
            return Vec::new();
        }
        self.round_mut().map_or_else(Vec::new, |round| round.expire(now))
    }

    /// Reopens when a probe outlived its deadline or probes have gone out in vain for too long.
    pub(crate) fn end_hopeless_round(&mut self, rules: &Rules, at: StepContext, facts: &mut Facts) {
        if self.state.state != State::HalfOpen {
            return;
        }
        let expired = self.expire_leases(at.now);
        let is_too_long = self.is_half_open_too_long(rules, at.now);
        let Some(History { round: Some(round), slowness_counts, cooldown, .. }) = self.state.past_mut() else {
            return;
        };
        // A probe without an answer has taken its whole time; the rest of an answer does not make the call a slow one.
        let unanswered = rules.slowness.passed(Some(rules.probes.deadline));
        let results = expired.iter().map(|lease| {
            let passed = if lease.accepted { lease.passed } else { unanswered };
            round.take_in(!lease.accepted, passed, &rules.slowness, slowness_counts)
        });
        let results: Vec<bool> = results.collect();
        let verdict = round.verdict(&rules.probes, *slowness_counts);
        let is_undecided = verdict == RoundVerdict::Undecided;
        let is_fruitless = is_undecided && round.is_fruitless(rules.probes.patience(*cooldown), at.now);
        self.log(|log| results.iter().for_each(|is_against| log.push(*is_against)));
        match verdict {
            RoundVerdict::Close => self.close(TransitionReason::ProbesSucceeded, at.now, facts),
            RoundVerdict::Reopen => {
                let is_expired = expired.iter().any(|lease| !lease.accepted);
                let reason = if is_expired { TransitionReason::ProbeExpired } else { TransitionReason::ProbeFailed };
                self.open(rules, reason, None, at, facts);
            }
            RoundVerdict::Undecided if is_fruitless => {
                self.open(rules, TransitionReason::ProbesInconclusive, None, at, facts);
            }
            RoundVerdict::Undecided if is_too_long => {
                self.open(rules, TransitionReason::HalfOpenTooLong, None, at, facts);
            }
            RoundVerdict::Undecided => {}
        }
    }

    /// Tells whether the half-open period has lasted longer than it may.
    pub(crate) fn is_half_open_too_long(&self, rules: &Rules, now: Timestamp) -> bool {
        let is_over = |by| now >= by;
        self.state.state == State::HalfOpen && rules.probes.decided_by(self.state.since).is_some_and(is_over)
    }

    /// A command, unless an override stands.
    pub(super) fn command(
        &mut self,
        at: StepContext,
        facts: &mut Facts,
        f: impl FnOnce(&mut Self, &mut Facts),
    ) -> Decision {
        self.expire_override(at.now, facts);
        if self.state.standing().is_some() {
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
        self.state.history_mut().standing = Some(Standing::new(order.clone(), now));
        self.judge(facts, |detector| detector.reset());
        self.go(to, TransitionReason::Overridden, now, facts);
        Decision::Done
    }

    fn end_override(&mut self, now: Timestamp, facts: &mut Facts) -> Decision {
        self.expire_override(now, facts);
        if self.state.standing().is_some() {
            self.let_go(TransitionReason::Resumed, now, facts);
        }
        Decision::Done
    }

    pub(crate) fn expire_override(&mut self, now: Timestamp, facts: &mut Facts) {
        if self.state.standing().is_some_and(|standing| standing.until <= now) {
            self.let_go(TransitionReason::OverrideExpired, now, facts);
        }
    }

    fn let_go(&mut self, reason: TransitionReason, now: Timestamp, facts: &mut Facts) {
        self.state.history_mut().standing = None;
        self.close(reason, now, facts);
    }

    /// Cooldowns that have grown are kept in mind until the circuit has been closed and healthy for long enough.
    pub(crate) fn expect_recovery(&mut self, rules: &Rules) {
        let period = rules.cooldown.recovers_after(self.state.history());
        self.state.recovers_after(period);
    }

    /// The circuit is closed, and known to be so from now on.
    pub(crate) fn begin_recovery(&mut self, now: Timestamp) {
        if let Some(recovery) = self.state.recovery_mut() {
            recovery.begin(now);
        }
    }

    /// A call of the closed state has succeeded.
    fn recover(&mut self, at: Timestamp) {
        if let Some(recovery) = self.state.recovery_mut()
            && recovery.note(at)
        {
            self.forget_growth();
        }
    }

    /// The next opening is as the first.
    pub(crate) fn forget_growth(&mut self) {
        if let Some(history) = self.state.past_mut() {
            history.openings = 0;
        }
        self.state.recovers_after(None);
    }

    fn half_open(&mut self, rules: &Rules, now: Timestamp, facts: &mut Facts) {
        let round = self.state.history_mut().round.get_or_insert_with(|| ProbeRound::new(&rules.probes));
        round.restart(&rules.probes);
        self.go(State::HalfOpen, TransitionReason::CooldownOver, now, facts);
    }

    fn close(&mut self, reason: TransitionReason, now: Timestamp, facts: &mut Facts) {
        self.judge(facts, |detector| detector.reset());
        self.go(State::Closed, reason, now, facts);
    }

    pub(super) fn go(&mut self, to: State, reason: TransitionReason, now: Timestamp, facts: &mut Facts) {
        self.enter(to, reason, (Origin::Decided, None), now, facts);
    }

    /// Every change of state is made here: a new generation each.
    pub(crate) fn enter(
        &mut self,
        to: State,
        reason: TransitionReason,
        (origin, fleet): (Origin, Option<Generation>),
        now: Timestamp,
        facts: &mut Facts,
    ) {
        let from = self.state.state;
        let generation = self.state.generation.next();
        self.state.generation = generation;
        self.state.state = to;
        self.state.since = now;
        if to == State::Closed {
            self.begin_recovery(now);
        }
        let history = self.state.history_mut();
        history.reason = Some(reason);
        history.awaits_cooldown = false;
        if to != State::HalfOpen
            && let Some(round) = &mut history.round
        {
            round.drop_leases();
        }
        facts.push(Fact::Transition(Transition { from, to, reason, generation, origin, fleet }));
    }

    /// Runs code of the detector, which may be a user's: a panic is a fact, and the detector begins anew.
    pub(crate) fn judge<R>(&mut self, facts: &mut Facts, f: impl FnOnce(&mut dyn Detector) -> R) -> Option<R> {
        let detector = &mut *self.detector;
        let result = guarded(|| f(detector));
        if result.is_none() {
            facts.push(Fact::DetectorPanicked);
            // Its reset may panic as well; then it keeps what it has, and each panic is reported.
            guarded(|| self.detector.reset());
        }
        result
    }

    fn log(&mut self, f: impl FnOnce(&mut CountWindow)) {
        if let Some(log) = self.state.log_mut() {
            f(log);
        }
    }

    fn round_mut(&mut self) -> Option<&mut ProbeRound> {
        self.state.past_mut()?.round.as_mut()
    }

    /// Tells whether outcomes are evidence at all.
    pub(crate) fn records(&self) -> bool {
        self.state.standing().is_none_or(|standing| standing.order.kind() != OverrideKind::Disabled)
    }
}
