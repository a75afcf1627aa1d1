//! Taking in what instances have to tell: a record becomes a machine, the machine is stepped, and written down again.

use std::time::Duration;

use super::batch::{Batch, Command, ProbeNews, Probed};
use super::pooled::{Judgement, RuleEvidence, Verdict};
use super::record::Record;
use super::replica::{Replica, Turn};
use super::state::{Merged, POLL_INTERVAL};
use crate::circuit::detector::consecutive_failures;
use crate::circuit::{
    Decision, Detector, Fact, Facts, Input, Machine, Outcome, PermitId, Rules, State, StepContext, TransitionReason,
};
use crate::time::Timestamp;

/// How far an instance's idea of the store's time may be ahead.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(100);
/// An instance that has a lease, does not use it, and is told that another one wants it, has given it back by then if it is
/// there.
const HANDOVER_TIME: Duration = POLL_INTERVAL.saturating_mul(5).checked_div(2).expect("not by zero");

/// What is taken into a record.
#[derive(Debug)]
pub(super) struct News<'a> {
    pub(super) batches: &'a [Batch],
    pub(super) commands: &'a [Command],
    /// The store's time as of which all batches that were accepted are in the record, or among these: the time of verdicts.
    /// `None`: some may be missing, and nothing is judged.
    pub(super) judge_at: Option<Timestamp>,
    /// By its own clock, this instance has waited for the end of the suspicion of this number.
    pub(super) has_waited: Option<u64>,
}

impl Replica {
    /// Takes news into a record; `now` is the store's time.
    pub(super) fn merge(&mut self, record: &Record, news: &News<'_>, now: Timestamp, turn: &mut Turn<'_>) -> Merged {
        let at = StepContext { now, ..turn.at };
        let mut merge = Merge::of(record, turn.rules, at, self.state.own.writer);
        merge.step(Input::Poll);
        news.batches.iter().for_each(|batch| merge.take_in(batch));
        if let (Some(judge_at), true) = (news.judge_at, self.state.is_pooled()) {
            let own = Own { rule: self.state.outbox.untold.rule, has_push: self.state.known.push.is_likely(turn.now) };
            merge.judge(judge_at, &own, news);
            if self.state.tells_everything() {
                self.judge_by_detector(&mut merge, judge_at, turn.facts);
            }
        }
        merge.count_votes(self.state.terms.voter.as_ref().map(|voter| voter.quorum));
        news.commands.iter().for_each(|command| merge.obey(command));
        merge.finish(record)
    }

    /// Has the detector judge what only it can. It is this instance's own, with what that has seen, and gets that back.
    fn judge_by_detector(&mut self, merge: &mut Merge<'_>, now: Timestamp, facts: &mut Facts) {
        let (rule, lag) = (self.state.outbox.untold.rule, 2 * self.state.terms.flush_interval);
        if !merge.takes_evidence() {
            return;
        }
        let Some(evidence) = merge.record.evidence.iter_mut().find(|evidence| evidence.rule == rule) else {
            return;
        };
        if evidence.opaque_due(lag).is_none_or(|due| due > now) {
            return;
        }
        let verdict = self.machine.judge(facts, |detector: &mut dyn Detector| {
            let own = detector.save();
            let verdict = evidence.judge_by(detector, now, lag);
            detector.reset();
            detector.load(&own).ok();
            verdict
        });
        if let Some(verdict) = verdict.flatten() {
            merge.reach(&verdict, rule);
        }
    }
}

/// The instance that judges.
struct Own {
    rule: u64,
    /// It hears its own notices.
    has_push: bool,
}

/// A record into which news is taken.
pub(super) struct Merge<'a> {
    /// The record's machine, by the store's clock.
    machine: Machine,
    /// Its evidence and votes count; its machine is out of date until the end.
    record: Record,
    would_open: Option<Verdict>,
    tells_all: bool,
    drops_evidence: bool,
    rules: &'a Rules,
    /// By the store's clock.
    at: StepContext,
    /// This instance.
    writer: u64,
}

impl<'a> Merge<'a> {
    /// Begins with the record, by the store's clock.
    pub(super) fn of(record: &Record, rules: &'a Rules, at: StepContext, writer: u64) -> Self {
        // The evidence is judged apart from the machine, which gets its verdicts.
        let machine = Machine::resume(record.machine.clone(), Box::new(consecutive_failures(1)));
        let record = record.clone();
        let (would_open, tells_all, drops_evidence) = (None, false, false);
        Self { machine, record, would_open, tells_all, drops_evidence, rules, at, writer }
    }

    /// Writes the record down again, which was `before`.
    pub(super) fn finish(self, before: &Record) -> Merged {
        let Self { machine, record: mut new, would_open, tells_all, drops_evidence, .. } = self;
        let began = machine.generation() != before.generation();
        new.machine = machine.state;
        if began {
            new.decider = self.writer;
            (new.wants, new.handovers) = (Vec::new(), 0);
            new.extension.clear();
        }
        new.fit();
        Merged { changed: new != *before, record: new, began, would_open, tells_all, drops_evidence }
    }

    /// Has the machine do something that is no input; what it leads to is noted.
    pub(super) fn command(&mut self, f: impl FnOnce(&mut Machine, StepContext, &mut Facts) -> Decision) -> Decision {
        let mut facts = Facts::default();
        let decision = f(&mut self.machine, self.at, &mut facts);
        self.note(&facts);
        decision
    }

    pub(super) fn step(&mut self, input: Input<'_>) -> Decision {
        let mut facts = Facts::default();
        let decision = self.machine.step(self.rules, input, self.at, &mut facts);
        self.note(&facts);
        decision
    }

    /// Takes in what happened a moment ago: a deadline counts from then.
    fn step_at(&mut self, at: Timestamp, input: Input<'_>) {
        let now = self.at.now;
        self.at.now = now.min(at);
        self.step(input);
        self.at.now = now;
    }

    /// Evidence belongs to one generation.
    fn note(&mut self, facts: &Facts) {
        for fact in facts.iter() {
            if let Fact::Transition(transition) = fact {
                // Nothing is asked that was asked about the state before.
                self.record.evidence.iter_mut().for_each(RuleEvidence::end_suspicion);
                // While open, evidence tells why; it is over with the next closed state.
                if transition.to == State::Closed || transition.reason == TransitionReason::Overridden {
                    let now = self.at.now;
                    self.record.evidence.iter_mut().for_each(|evidence| evidence.begin_anew(now));
                }
                if transition.to != State::HalfOpen {
                    self.record.verdict = None;
                }
                self.record.votes.clear();
            }
        }
    }

    fn take_in(&mut self, batch: &Batch) {
        if batch.generation != self.machine.generation() {
            return;
        }
        let now = self.at.now;
        if let Some(telling) = batch.telling.as_ref().filter(|_| self.takes_evidence()) {
            let (evidence, gives_way) = self.record.evidence_mut(telling, now);
            evidence.take_in(telling, now);
            self.drops_evidence |= gives_way;
        }
        if let Some(vote) = &batch.vote {
            self.record.vote(vote, now);
        }
        batch.probes.iter().for_each(|probed| self.take_in_probe(batch, probed));
    }

    fn take_in_probe(&mut self, batch: &Batch, probed: &Probed) {
        let permit = PermitId { generation: batch.generation, lease: Some(probed.lease) };
        let took = self.rules.slowness.took(probed.slow);
        let report = |outcome| Input::Report { permit, outcome, took };
        match probed.news {
            ProbeNews::Began => self.step_at(probed.at, Input::Begin(permit)),
            ProbeNews::Accepted => self.step_at(probed.at, Input::Accept { permit, took }),
            ProbeNews::Ended => {
                if permit.generation == self.machine.generation()
                    && let Some(history) = self.machine.state.past_mut()
                    && let Some(round) = &mut history.round
                {
                    round.give_back(probed.lease);
                }
                self.hand_over_free_places();
            }
            ProbeNews::Ignored | ProbeNews::GivenUp => {
                let is_given_up = probed.news == ProbeNews::GivenUp;
                self.step(report(if is_given_up { Outcome::Cancelled } else { Outcome::Ignored }));
                self.hand_over_free_places();
            }
            ProbeNews::Succeeded => {
                self.step(report(Outcome::Success));
            }
            ProbeNews::Failed => {
                self.step(report(probed.retry_after.map_or(Outcome::Failure, Outcome::FailureAfter)));
            }
        }
    }

    fn takes_evidence(&self) -> bool {
        self.machine.state() == State::Closed && self.machine.records()
    }

    /// Asks what the evidence of each rule says.
    fn judge(&mut self, now: Timestamp, own: &Own, news: &News<'_>) {
        for nth in 0..self.record.evidence.len() {
            if !self.takes_evidence() {
                return;
            }
            let evidence = &mut self.record.evidence[nth];
            let rule = evidence.rule;
            let (by, has_waited) = if rule == own.rule {
                ((self.writer, own.has_push), news.has_waited)
            } else {
                // Who raises a suspicion sees to its end: an instance that goes by the rule.
                let mut tellings = news.batches.iter().filter_map(|batch| batch.telling.as_ref());
                let Some(newest) = tellings.rfind(|telling| telling.rule() == rule) else {
                    continue;
                };
                (newest.teller(), None)
            };
            match evidence.judge(now, by, has_waited) {
                Judgement::Nothing | Judgement::Waits => {}
                Judgement::Suspected | Judgement::Cleared => self.tells_all = true,
                Judgement::Met(verdict) => return self.reach(&verdict, rule),
            }
        }
    }

    /// The circuit opens, or would, in a dry run.
    fn reach(&mut self, verdict: &Verdict, rule: u64) {
        let outcome = verdict.retry_after.map_or(Outcome::Failure, Outcome::FailureAfter);
        let mut facts = Facts::default();
        self.machine.trip(self.rules, verdict.tally, outcome, self.at, &mut facts);
        self.note(&facts);
        if self.machine.state() == State::Open {
            self.record.verdict = Some(*verdict);
            return;
        }
        self.would_open = Some(*verdict);
        self.tells_all = true;
        let evidence = self.record.evidence.iter_mut().find(|evidence| evidence.rule == rule);
        evidence.into_iter().for_each(|evidence| evidence.end_dry_run(self.at.now));
    }

    fn count_votes(&mut self, quorum: Option<u32>) {
        let votes = self.record.live_votes(self.at.now);
        let may_open = self.machine.state() == State::Closed && self.machine.state.standing().is_none();
        if may_open && quorum.is_some_and(|quorum| votes >= quorum) {
            let (mut facts, is_slow) = (Facts::default(), self.record.is_voted_slow(self.at.now));
            self.machine.open(self.rules, TransitionReason::Voted(votes), None, self.at, &mut facts);
            self.machine.state.history_mut().slowness_counts = is_slow;
            self.note(&facts);
        }
    }

    fn obey(&mut self, command: &Command) {
        match command {
            Command::Trip => self.step(Input::Trip),
            Command::Reset => self.step(Input::Reset),
            Command::Override(order) => self.step(Input::Override(order)),
            Command::Resume => self.step(Input::Resume),
            Command::Look => {
                // The instance that saw that something is over saw it by a clock that may be a little ahead.
                let now = self.at.now;
                self.at.now = now + CLOCK_TOLERANCE;
                let decision = self.step(Input::Poll);
                self.at.now = now;
                decision
            }
            Command::Recovered(generation) => {
                if *generation == self.machine.generation() && self.machine.state() == State::Closed {
                    self.machine.forget_growth();
                }
                Decision::Done
            }
            Command::Lease { may_want } => {
                self.ask_for_lease(*may_want);
                Decision::Done
            }
        };
    }

    /// This instance wants a lease. A closed fleet has no probes; the instance that asks will see that it is closed.
    fn ask_for_lease(&mut self, may_want: bool) {
        if self.machine.state() == State::Closed || self.gives_lease_to(self.writer) {
            return;
        }
        let now = self.at.now;
        let Some(round) = self.machine.state.past_mut().and_then(|history| history.round.as_mut()) else {
            return;
        };
        let has_one = round.unused_of(self.writer).next().is_some();
        let is_unused = round.leases.iter().any(|lease| lease.deadline == Timestamp::MAX);
        if has_one || !may_want || !is_unused {
            return;
        }
        let want = self.record.wants.iter().find(|want| want.writer == self.writer).copied();
        match want {
            // Its owner is gone, or cannot be reached.
            Some(want) if now.since(want.since) >= HANDOVER_TIME => {
                if round.hand_over(&want) {
                    self.handed_over(want.writer);
                }
            }
            Some(_) => {}
            None => {
                self.record.want(self.writer, now);
                self.tells_all = true;
            }
        }
    }

    /// Gives an instance a place among the probes, if one is free.
    fn gives_lease_to(&mut self, owner: u64) -> bool {
        let has_room = self.machine.state.history().round.as_ref().is_none_or(|round| round.has_room());
        if self.machine.state() == State::Closed || !has_room {
            return false;
        }
        let Decision::Admitted(PermitId { lease: Some(lease), .. }) = self.step(Input::Acquire { reserve: true })
        else {
            return false;
        };
        let round = self.machine.state.past_mut().and_then(|history| history.round.as_mut());
        round.into_iter().for_each(|round| round.give_to(lease, owner));
        true
    }

    /// A place that was given back goes to an instance that waits for one.
    fn hand_over_free_places(&mut self) {
        while let Some(want) = self.record.wants.first().copied() {
            if self.machine.state() != State::HalfOpen || !self.gives_lease_to(want.writer) {
                return;
            }
            self.handed_over(want.writer);
        }
    }

    /// The others begin to wait anew: the new owner must hear of its lease before it can use it.
    fn handed_over(&mut self, writer: u64) {
        self.record.wants.retain(|want| want.writer != writer);
        self.record.wants.iter_mut().for_each(|want| want.since = self.at.now);
        self.record.handovers = self.record.handovers.saturating_add(1);
        self.tells_all = true;
    }
}
