//! Taking in what instances have to tell: a record becomes a machine, the machine is stepped, and written down again.

use std::time::Duration;

use super::batch::{Batch, Command, Probed, ToldCalls};
use super::evidence_log::{CallLog, RuleEvidence};
use super::record::{Record, before};
use super::replica::{Replica, Turn};
use super::state::Merged;
use crate::circuit::detector::consecutive_failures;
use crate::circuit::{
    Decision, Detector, Fact, Facts, Input, Machine, Outcome, PermitId, Rules, Run, State, StepContext, Tally,
    TransitionReason,
};
use crate::time::Timestamp;

/// A failure is judged in its place among the calls while it is younger than this: what lies longer back was judged by the
/// instance that saw it, and what came late must not open a circuit over an outage that is long over.
const JUDGED_IN_PLACE_FOR: Duration = Duration::from_secs(2);
/// How far an instance's idea of the store's time may be ahead.
const CLOCK_TOLERANCE: Duration = Duration::from_millis(100);

impl Replica {
    /// Takes batches and commands into a record; `now` is the store's time. Where instances do not vote, this one's detector
    /// judges the evidence of its rule.
    pub(super) fn merge(
        &mut self,
        record: &Record,
        batches: &[Batch],
        commands: &[Command],
        now: Timestamp,
        turn: &mut Turn<'_>,
    ) -> Merged {
        let (terms, judges) = (&self.state.terms, self.state.is_pooled());
        // Where nothing is to be judged, and where the detector was while it is borrowed, one stands that judges nothing.
        let mut detector: Box<dyn Detector> = Box::new(consecutive_failures(1));
        if judges {
            std::mem::swap(&mut detector, &mut self.machine.detector);
        }
        let mut merge = Merge {
            machine: Machine::resume(record.machine.clone(), detector),
            record: record.clone(),
            granted: Vec::new(),
            would_open: None,
            rules: turn.rules,
            at: StepContext { now, ..turn.at },
            rule: judges.then_some(self.state.rule),
            oldest_news: None,
            verdict_asked: false,
            retry_after: None,
            facts: turn.facts,
        };
        merge.step(Input::Poll);
        batches.iter().for_each(|batch| merge.take_in(batch));
        merge.judge();
        merge.count_votes(terms.voter.as_ref().map(|voter| voter.quorum));
        commands.iter().for_each(|command| merge.obey(command));
        let Merge { machine, record: mut new, granted, would_open, .. } = merge;
        let began = machine.generation() != record.generation();
        new.machine = machine.state;
        new.decider = if began { terms.writer } else { new.decider };
        new.fit();
        if judges {
            self.machine.detector = machine.detector;
            // It comes back with what the record holds; what this instance has seen itself is shown to it again.
            self.replay(turn.facts);
        }
        Merged { changed: new != *record, record: new, began, granted, would_open }
    }
}

struct Merge<'a> {
    /// The record's machine, by the store's clock.
    machine: Machine,
    /// Its evidence and votes count; its machine is out of date until the end.
    record: Record,
    granted: Vec<u32>,
    would_open: Option<Tally>,
    rules: &'a Rules,
    /// By the store's clock.
    at: StepContext,
    /// The rule of the detector at hand. `None`: no evidence is judged, because instances vote.
    rule: Option<u64>,
    /// When the oldest bad call ended that is new to the rule at hand.
    oldest_news: Option<Timestamp>,
    /// A batch asks for a verdict on nothing but what the record holds: its detector has tripped on that.
    verdict_asked: bool,
    /// The longest wait that a failure asked for.
    retry_after: Option<Duration>,
    /// Panics of the detector are added here.
    facts: &'a mut Facts,
}

impl Merge<'_> {
    fn step(&mut self, input: Input<'_>) -> Decision {
        let mut facts = Facts::default();
        let decision = self.machine.step(self.rules, input, self.at, &mut facts);
        self.note(&facts);
        decision
    }

    /// Evidence belongs to one generation, and to one dry run at most.
    fn note(&mut self, facts: &Facts) {
        for fact in facts.iter() {
            match fact {
                Fact::Transition(transition) => {
                    // While open it tells why; it is over with the next closed state.
                    if transition.to == State::Closed || transition.reason == TransitionReason::Overridden {
                        self.record.evidence.clear();
                    }
                    self.record.votes.clear();
                }
                Fact::WouldOpen(tally) => {
                    self.would_open = Some(tally);
                    self.record.evidence.clear();
                }
                Fact::DetectorPanicked => self.facts.push(fact),
                Fact::Fleet(_) => {}
            }
        }
    }

    fn take_in(&mut self, batch: &Batch) {
        if batch.generation != self.machine.generation() {
            return;
        }
        if let Some(calls) = batch.calls.as_ref().filter(|_| self.takes_evidence()) {
            self.take_in_calls(calls);
        }
        if let Some(vote) = &batch.vote {
            self.record.vote(vote, self.at.now);
        }
        for &Probed { lease, accepted, failed, retry_after } in &batch.probes {
            let outcome = match failed {
                None => Outcome::Ignored,
                Some(false) => Outcome::Success,
                Some(true) => retry_after.map_or(Outcome::Failure, Outcome::FailureAfter),
            };
            let permit = PermitId { generation: batch.generation, lease: Some(lease) };
            self.step(if accepted { Input::Accept(permit) } else { Input::Report { permit, outcome, took: None } });
        }
    }

    fn takes_evidence(&self) -> bool {
        self.machine.state() == State::Closed && self.machine.records()
    }

    fn take_in_calls(&mut self, told: &ToldCalls) {
        self.retry_after = self.retry_after.max(told.retry_after);
        let now = self.at.now;
        let evidence = self.record.evidence_mut(told.rule, &told.log, now);
        let mut oldest_bad = None;
        for run in told.log.runs() {
            // No clock is ahead of the store's.
            let run = Run { ended: run.ended.min(now), ..run };
            evidence.calls.add(run);
            if run.is_bad() {
                oldest_bad = Some(oldest_bad.map_or(run.ended, |oldest| run.ended.min(oldest)));
            }
        }
        let verdict_asked = told.log.is_empty();
        if self.rule == Some(told.rule) {
            self.oldest_news = [self.oldest_news, oldest_bad].into_iter().flatten().min();
            self.verdict_asked |= verdict_asked;
        } else {
            evidence.unevaluated |= verdict_asked || oldest_bad.is_some();
            evidence.calls.trim(before(now, JUDGED_IN_PLACE_FOR));
        }
    }

    /// Asks the detector about what is new to it.
    fn judge(&mut self) {
        let now = self.at.now;
        let takes_evidence = self.takes_evidence();
        let mine = |evidence: &&mut RuleEvidence| takes_evidence && self.rule == Some(evidence.rule);
        let Some(evidence) = self.record.evidence.iter_mut().find(mine) else {
            return;
        };
        // No batch says which calls a verdict is asked for, so they are judged as they stand now.
        let asked = std::mem::take(&mut evidence.unevaluated) || self.verdict_asked;
        let news = self.oldest_news;
        let mut facts = Facts::default();
        let calls = &evidence.calls;
        let tally = self.machine.judge(&mut facts, |detector| match calls {
            CallLog::Merged { .. } => {
                let (mut tripped, mut came_late, mut has_news) = (None, false, false);
                let mut runs = calls.begin(detector).peekable();
                while let Some(run) = runs.next() {
                    run.show(detector);
                    has_news |= run.is_bad() && news.is_some_and(|news| run.ended >= news);
                    if runs.peek().is_some_and(|next| next.ended == run.ended) {
                        // Which of the calls of one moment came last is not known: they are judged together.
                        continue;
                    }
                    let is_news = std::mem::take(&mut has_news);
                    let is_fresh = now.since(run.ended) < JUDGED_IN_PLACE_FOR;
                    came_late |= is_news && !is_fresh;
                    if tripped.is_none() && is_news && is_fresh && detector.verdict(run.ended) {
                        tripped = Some(detector.tally(run.ended));
                    }
                }
                // A circuit opens after a failure, not after a success.
                let as_it_stands = (asked || came_late) && detector.verdict(now);
                tripped.or_else(|| as_it_stands.then(|| detector.tally(now)))
            }
            CallLog::Ordered { .. } => calls.begin(detector).find_map(|run| {
                run.show(detector);
                (run.is_bad() && detector.verdict(now)).then(|| detector.tally(now))
            }),
        });
        if (asked || news.is_some()) && matches!(evidence.calls, CallLog::Ordered { .. }) {
            // Where it cannot be saved, the calls wait as they are, and are shown again.
            if let Some(state) = self.machine.judge(&mut facts, |detector| detector.save()) {
                evidence.calls.put_state(state);
            }
        }
        evidence.calls.trim(before(now, JUDGED_IN_PLACE_FOR));
        if let Some(tally) = tally.flatten() {
            let outcome = self.retry_after.map_or(Outcome::Failure, Outcome::FailureAfter);
            self.machine.trip(self.rules, tally, outcome, self.at, &mut facts);
        }
        self.note(&facts);
    }

    fn count_votes(&mut self, quorum: Option<u32>) {
        let votes = self.record.live_votes(self.at.now);
        let may_open = self.machine.state() == State::Closed && self.machine.state.standing().is_none();
        if may_open && quorum.is_some_and(|quorum| votes >= quorum) {
            let mut facts = Facts::default();
            self.machine.open(self.rules, TransitionReason::Voted(votes), None, self.at, &mut facts);
            self.note(&facts);
        }
    }

    fn obey(&mut self, command: &Command) {
        let decision = match command {
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
            // A closed fleet has no probes; the instance that asks will see that it is closed.
            Command::Lease if self.machine.state() == State::Closed => Decision::Done,
            Command::Lease if self.machine.state.history().round.as_ref().is_some_and(|round| !round.has_room()) => {
                Decision::Busy
            }
            Command::Lease => self.step(Input::Acquire { reserve: false }),
        };
        if let Decision::Admitted(PermitId { lease: Some(lease), .. }) = decision {
            self.granted.push(lease);
        }
    }
}
