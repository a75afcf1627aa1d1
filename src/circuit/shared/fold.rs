//! Taking in what instances have to tell: a record becomes a machine, the machine is stepped, and written down again.

use std::time::Duration;

use super::batch::{Batch, Calls, Order, Probed};
use super::held::Seen;
use super::record::Record;
use crate::circuit::machine::{History, Machine};
use crate::circuit::{
    Call, Decision, Detector, Fact, Facts, Horizon, Input, LoadError, Outcome, PermitId, Rules, Run, State,
    StepContext, Tally, TransitionReason,
};
use crate::time::{Timestamp, nanos};

/// What became of a record.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) record: Record,
    /// It is another record than before.
    pub(crate) changed: bool,
    /// It is of a new generation.
    pub(crate) began: bool,
    /// Leases that the orders were given.
    pub(crate) granted: Vec<u32>,
    /// In a dry run: the circuit would have opened.
    pub(crate) would_open: Option<Tally>,
}

/// A failure is judged in its place among the calls while it is younger than this: what lies longer back was judged by
/// whoever saw it, and what came late must not open a circuit over an outage that is long over.
const FRESH: Duration = Duration::from_secs(2);

/// How far an instance's idea of the store's time may be ahead.
const SLACK: Duration = Duration::from_millis(100);

impl Machine {
    /// Takes batches and orders into a record. `at` is the store's time; `writer` signs what this decides.
    pub(crate) fn fold(
        &mut self,
        rules: &Rules,
        record: &Record,
        batches: &[&[u8]],
        orders: &[Order],
        writer: u64,
        at: StepContext,
    ) -> Folded {
        let Some(led) = self.led.as_deref() else {
            return Folded::unchanged(record.clone());
        };
        let quorum = led.votes.as_ref().map(|(_, quorum)| *quorum);
        let fingerprint = led.fingerprint;
        // Where evidence is pooled, this instance's detector judges it; what it has seen itself comes back afterwards.
        let pooled = quorum.is_none();
        let detector: Box<dyn Detector> =
            if pooled { std::mem::replace(&mut self.detector, Box::new(Absent)) } else { Box::new(Absent) };
        let machine = Self::of_record(detector, record);
        let mut fold = Fold {
            machine,
            record: record.clone(),
            rules,
            at,
            rule: pooled.then_some(fingerprint),
            news: None,
            asked: false,
            retry_after: None,
            granted: Vec::new(),
            would_open: None,
        };
        fold.step(Input::Poll);
        for batch in batches {
            // A batch of a newer release that another instance left: it is lost, the others are not.
            if let Ok(batch) = Batch::load(batch) {
                fold.take_in(&batch);
            }
        }
        fold.judge();
        fold.count_votes(quorum);
        orders.iter().for_each(|order| fold.obey(order));
        let (detector, folded) = fold.finish(record, writer);
        if pooled {
            self.detector = detector;
            self.replay_led();
        }
        folded
    }

    /// The machine of a record, by the store's clock.
    fn of_record(detector: Box<dyn Detector>, record: &Record) -> Self {
        let history = History {
            open_until: record.open_until,
            cooldown: record.cooldown,
            openings: record.openings,
            reason: record.reason,
            round: record.round.clone(),
            opened_by_round: record.opened_by_round,
            standing: record.standing.clone(),
            log: None,
        };
        Self {
            detector,
            generation: record.generation,
            since: record.since,
            state: record.state,
            history: Some(Box::new(history)),
            led: None,
        }
    }
}

impl Folded {
    /// Nothing to take in, or nobody to do it.
    pub(crate) fn unchanged(record: Record) -> Self {
        Self { record, changed: false, began: false, granted: Vec::new(), would_open: None }
    }
}

struct Fold<'a> {
    machine: Machine,
    record: Record,
    rules: &'a Rules,
    at: StepContext,
    /// The rule that judges here; `None` where no evidence is judged, because the fleet votes.
    rule: Option<u64>,
    /// The oldest of the calls that are new to this instance's rule.
    news: Option<Timestamp>,
    /// A rule has tripped where this is folded from, on nothing but what the record holds.
    asked: bool,
    retry_after: Option<Duration>,
    granted: Vec<u32>,
    would_open: Option<Tally>,
}

impl Fold<'_> {
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
                        self.record.held.clear();
                    }
                    self.record.votes.clear();
                }
                Fact::WouldOpen(tally) => {
                    self.would_open = Some(tally);
                    self.record.held.clear();
                }
                Fact::DetectorPanicked | Fact::ConfigDrift => {}
            }
        }
    }

    fn take_in(&mut self, batch: &Batch) {
        if batch.generation != self.machine.generation {
            return;
        }
        if let Some(calls) = &batch.calls {
            self.take_in_calls(calls);
        }
        if let Some(vote) = &batch.vote {
            self.record.vote(vote, self.at.now);
        }
        for probe in &batch.probes {
            self.take_in_probe(batch, probe);
        }
    }

    fn take_in_calls(&mut self, calls: &Calls) {
        if self.machine.state != State::Closed || !self.machine.records() {
            return;
        }
        self.retry_after = self.retry_after.max(calls.retry_after);
        let now = self.at.now;
        let is_mine = self.rule == Some(calls.fingerprint);
        let empty = || match &calls.seen {
            Seen::Merged { horizon, .. } => Seen::new(*horizon),
            Seen::Ordered { .. } => Seen::new(Horizon::everything()),
        };
        let held = self.record.held_mut(calls.fingerprint, empty, now);
        let mut oldest = None;
        for run in calls.seen.runs() {
            // No clock is ahead of the store's.
            let run = Run { ended: run.ended.min(now), ..run };
            held.seen.add(run);
            if is_bad(run) {
                oldest = [oldest, Some(run.ended)].into_iter().flatten().min();
            }
        }
        let asked = calls.seen.is_empty();
        if is_mine {
            self.news = [self.news, oldest].into_iter().flatten().min();
            self.asked |= asked;
        } else {
            held.unjudged |= asked || oldest.is_some();
            held.seen.trim(before(now, FRESH));
        }
    }

    fn take_in_probe(&mut self, batch: &Batch, probe: &Probed) {
        let outcome = match (probe.failed, probe.retry_after) {
            (None, _) => Outcome::Ignored,
            (Some(false), _) => Outcome::Success,
            (Some(true), None) => Outcome::Failure,
            (Some(true), Some(wait)) => Outcome::FailureAfter(wait),
        };
        let permit = PermitId { generation: batch.generation, lease: Some(probe.lease) };
        self.step(if probe.accepted { Input::Accept(permit) } else { Input::Report { permit, outcome, took: None } });
    }

    /// Asks the detector about what is new to it.
    fn judge(&mut self) {
        let now = self.at.now;
        let Some(held) = self.record.held.iter_mut().find(|held| self.rule == Some(held.fingerprint)) else {
            return;
        };
        if self.machine.state != State::Closed || !self.machine.records() {
            return;
        }
        // Nobody knows which of the calls that is about: they are judged as they stand now.
        let asked = std::mem::take(&mut held.unjudged) || self.asked;
        let news = self.news;
        let mut facts = Facts::default();
        let seen = &held.seen;
        let tally = self.machine.judge(&mut facts, |detector| match seen {
            Seen::Merged { .. } => {
                detector.reset();
                let (mut tripped, mut came_late) = (None, false);
                for run in seen.runs() {
                    run.show(detector);
                    let is_news = is_bad(run) && news.is_some_and(|news| run.ended >= news);
                    let is_fresh = now.since(run.ended) < FRESH;
                    came_late |= is_news && !is_fresh;
                    if tripped.is_none() && is_news && is_fresh && detector.verdict(run.ended) {
                        tripped = Some(detector.tally(run.ended));
                    }
                }
                // A circuit opens after a failure, not after a success.
                let as_it_stands = (asked || came_late) && detector.verdict(now);
                tripped.or_else(|| as_it_stands.then(|| detector.tally(now)))
            }
            Seen::Ordered { state, queue } => {
                detector.reset();
                if let Some(state) = state {
                    detector.load(state).ok();
                }
                queue.iter().find_map(|run| {
                    run.show(detector);
                    (is_bad(*run) && detector.verdict(now)).then(|| detector.tally(now))
                })
            }
        });
        if asked || news.is_some() {
            held.seen.put_state(&*self.machine.detector);
        }
        held.seen.trim(before(now, FRESH));
        if let Some(Some(tally)) = tally {
            let outcome = self.retry_after.map_or(Outcome::Failure, Outcome::FailureAfter);
            self.machine.trip(self.rules, tally, outcome, self.at, &mut facts);
        }
        self.note(&facts);
    }

    fn count_votes(&mut self, quorum: Option<u32>) {
        let votes = self.record.live_votes(self.at.now);
        let may_open = self.machine.state == State::Closed && self.machine.standing().is_none();
        if may_open && quorum.is_some_and(|quorum| votes >= quorum) {
            let mut facts = Facts::default();
            self.machine.open(self.rules, TransitionReason::Voted(votes), None, self.at, &mut facts);
            self.note(&facts);
        }
    }

    fn obey(&mut self, order: &Order) {
        let decision = match order {
            Order::Trip => self.step(Input::Trip),
            Order::Reset => self.step(Input::Reset),
            Order::Override(order) => self.step(Input::Override(order)),
            Order::Resume => self.step(Input::Resume),
            Order::Look => {
                // Whoever saw that something is over saw it by a clock that may be a little ahead.
                let at = self.at;
                self.at.now = at.now + SLACK;
                let decision = self.step(Input::Poll);
                self.at = at;
                decision
            }
            // A closed fleet has no probes; whoever asks will see that it is closed.
            Order::Lease if self.machine.state == State::Closed => Decision::Done,
            Order::Lease if self.machine.history().round.as_ref().is_some_and(|round| !round.has_room()) => {
                Decision::Busy
            }
            Order::Lease => self.step(Input::Acquire { reserve: false }),
        };
        if let Decision::Admitted(PermitId { lease: Some(lease), .. }) = decision {
            self.granted.push(lease);
        }
    }

    fn finish(self, before: &Record, writer: u64) -> (Box<dyn Detector>, Folded) {
        let Self { machine, record, granted, would_open, .. } = self;
        let Machine { detector, generation, since, state, history, .. } = machine;
        let History { open_until, cooldown, openings, reason, round, opened_by_round, standing, .. } =
            history.map(|history| *history).unwrap_or_default();
        let began = generation != before.generation;
        let decider = if began { writer } else { record.decider };
        let mut record = Record {
            generation,
            decider,
            state,
            since,
            reason,
            open_until,
            cooldown,
            openings,
            opened_by_round,
            round,
            standing,
            ..record
        };
        record.fit();
        let changed = record != *before;
        (detector, Folded { record, changed, began, granted, would_open })
    }
}

/// What lies so far back is still wanted by fresh calls that are yet to come.
const fn before(now: Timestamp, time: Duration) -> Timestamp {
    Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos(time)))
}

const fn is_bad(run: Run) -> bool {
    run.failed || run.took.is_some()
}

/// Where a detector is elsewhere, or has nothing to judge.
#[derive(Debug)]
struct Absent;

impl Detector for Absent {
    fn record(&mut self, _call: &Call) {}

    fn verdict(&self, _now: Timestamp) -> bool {
        false
    }

    fn reset(&mut self) {}

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(0)
    }

    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    fn load(&mut self, _bytes: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }
}
