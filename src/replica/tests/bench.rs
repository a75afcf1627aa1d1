//! Instances and a record for tests to put together.

use super::*;
use crate::replica::Turn;
use crate::replica::poll::Priority;
use crate::replica::state::Contact;

/// A second of the store's clock, far from its origin.
const START: u64 = 1_000_000;

pub(super) fn at(ms: u64) -> Timestamp {
    Timestamp::from_nanos((START * 1_000 + ms) * 1_000_000)
}

pub(super) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A detector that never trips.
pub(super) fn patient() -> Box<dyn Detector> {
    Box::new(failures(u32::from(u16::MAX)).within(ms(60_000)))
}

/// One instance of the fleet, whose clock is the store's.
pub(super) struct Instance {
    pub(super) replica: Replica,
    pub(super) rules: Rules,
    pub(super) writer: u64,
    pub(super) rule: u64,
    pub(super) horizon: Horizon,
}

impl Instance {
    pub(super) fn new(writer: u64, detector: Box<dyn Detector>) -> Self {
        Self::made(writer, detector, Rules::default(), None)
    }

    pub(super) fn voting(writer: u64, detector: Box<dyn Detector>, quorum: u32) -> Self {
        Self::made(writer, detector, Rules::default(), Some(Voter::new(format!("voter-{writer}").into(), quorum)))
    }

    pub(super) fn probing(writer: u64, probes: Probes) -> Self {
        Self::made(writer, patient(), Rules { probes, ..Rules::default() }, None)
    }

    pub(super) fn made(writer: u64, detector: Box<dyn Detector>, rules: Rules, voter: Option<Voter>) -> Self {
        let (rule, horizon) = (fingerprint(&detector.rule()), detector.horizon());
        let machine = Machine::new(detector, &rules, Generation::new(1), at(0));
        let terms = Terms { writer, voter, when_down: WhenDown::Local, flush_interval: ms(1_000) };
        let mut this = Self { replica: Replica::new(machine, terms, at(0)), rules, writer, rule, horizon };
        this.turn(at(0), |replica, turn| replica.set_contact(Contact::Answers, turn));
        this
    }

    pub(super) fn turn<R>(&mut self, now: Timestamp, f: impl FnOnce(&mut Replica, &mut Turn<'_>) -> R) -> R {
        let facts = &mut Facts::default();
        f(&mut self.replica, &mut Turn { now, at: moment(now), rules: &self.rules, facts })
    }

    pub(super) fn detector(&self) -> &dyn Detector {
        &*self.replica.machine().detector
    }

    /// Something waits that must be told at once.
    pub(super) fn is_urgent(&mut self, now: Timestamp) -> bool {
        self.replica.waits(now) == Some(Priority::Change)
    }

    /// What waits to be told, where `now` is `there` on the store's clock.
    pub(super) fn take_batch(&mut self, now: Timestamp, there: Timestamp) -> Option<Vec<u8>> {
        let is_taken = self.replica.take_batch(now, now, there);
        let taken = self.replica.state.outbox.batch.as_ref().filter(|_| is_taken);
        taken.map(|taken| taken.batch.save())
    }

    /// The store is away.
    pub(super) fn go_away(&mut self, why: &Arc<str>, now: Timestamp) {
        self.turn(now, |replica, turn| replica.set_contact(Contact::Away(why.clone()), turn));
    }

    pub(super) fn step(&mut self, input: Input<'_>, now: Timestamp) -> Decision {
        self.replica.step(&self.rules, input, moment(now), &mut Facts::default())
    }

    /// A call that ends so, where one is let through.
    pub(super) fn call(&mut self, outcome: Outcome, now: Timestamp) -> bool {
        let Decision::Admitted(permit) = self.step(Input::Acquire { reserve: false }, now) else {
            return false;
        };
        self.step(Input::Report { permit, outcome, took: None }, now);
        true
    }

    pub(super) fn apply(&mut self, record: &Record, granted: &[u32], now: Timestamp) {
        self.turn(now, |replica, turn| replica.apply(&Arc::new(record.clone()), granted, true, now, turn));
    }

    pub(super) fn batch(&self, record: &Record, runs: &[Run]) -> Vec<u8> {
        let mut log = CallLog::new(self.horizon);
        for run in runs {
            log.add(*run);
        }
        let calls = Some(ToldCalls { rule: self.rule, log, retry_after: None });
        Batch { generation: record.generation(), calls, probes: Vec::new(), vote: None }.save()
    }
}

/// The record, as a store keeps it.
pub(super) struct Shared {
    pub(super) record: Record,
    pub(super) now: Timestamp,
}

impl Shared {
    pub(super) fn new() -> Self {
        Self { record: Record::fresh(Generation::new(1), at(0)), now: at(0) }
    }

    pub(super) fn at(now: Timestamp) -> Self {
        Self { now, ..Self::new() }
    }

    /// What an instance makes of the record.
    pub(super) fn merged_by(&self, by: &mut Instance, batches: &[Vec<u8>], commands: &[Command]) -> Merged {
        let batches: Vec<_> = batches.iter().filter_map(|bytes| Batch::load(bytes).ok()).collect();
        let now = self.now;
        by.turn(now, |replica, turn| replica.merge(&self.record, &batches, commands, now, turn))
    }

    /// The same, written back as bytes.
    pub(super) fn merge(&mut self, by: &mut Instance, batches: &[Vec<u8>], commands: &[Command]) -> Merged {
        let merged = self.merged_by(by, batches, commands);
        let bytes = merged.record.save();
        assert!(bytes.len() <= 64 * 1_024, "{} bytes", bytes.len());
        self.record = Record::load(&bytes).expect("its own bytes");
        assert_eq!(self.record.save(), bytes, "what is read is what was written");
        assert_eq!(merged.began, self.record.decider == by.writer && merged.began, "the instance that decides signs");
        merged
    }

    /// As [`merge`](Self::merge), and the instance does as the record then says.
    pub(super) fn commit(&mut self, by: &mut Instance, commands: &[Command]) -> Merged {
        let now = self.now;
        let batch = by.take_batch(now, now);
        let merged = self.merge(by, &Vec::from_iter(batch), commands);
        by.replica.state.settle_batch(true);
        by.apply(&self.record, &merged.granted, self.now);
        merged
    }

    pub(super) fn order(&mut self, by: &mut Instance, command: Command) -> Merged {
        self.merge(by, &[], &[command])
    }

    /// The fleet is open, and its cooldown over.
    pub(super) fn cooled_down(by: &mut Instance) -> Self {
        let mut shared = Self::new();
        shared.order(by, Command::Trip);
        shared.now = shared.record.machine.history().open_until;
        shared
    }
}

pub(super) const fn moment(now: Timestamp) -> StepContext {
    StepContext { now, seed: 0 }
}

pub(super) fn run(ended: Timestamp, failed: bool) -> Run {
    Run::new(&if failed { Call::failure(ended) } else { Call::success(ended) }, 1)
}

pub(super) fn slow(ended: Timestamp) -> Run {
    Run::new(&Call::success(ended).took(Some(Duration::from_secs(9))), 1)
}

pub(super) fn failed(ended: Timestamp) -> Run {
    run(ended, true)
}

pub(super) fn fine(ended: Timestamp) -> Run {
    run(ended, false)
}

/// A detector of a user's own that sees every call in its order: it trips at a score, where successes count for less the
/// later they come.
#[derive(Clone, Default)]
pub(super) struct Order31 {
    pub(super) sum: u64,
    pub(super) bad: u64,
    pub(super) most: u64,
}

impl std::fmt::Debug for Order31 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Order31({})", self.most)
    }
}

impl Detector for Order31 {
    fn record(&mut self, call: &Call) {
        self.sum = self.sum.wrapping_mul(31).wrapping_add(1 + u64::from(call.failed()));
        self.bad = if call.failed() { self.bad + 1 } else { self.bad / 2 };
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.bad >= self.most
    }

    fn reset(&mut self) {
        *self = Self { most: self.most, ..Self::default() };
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(self.bad)
    }

    fn save(&self) -> Vec<u8> {
        [self.sum.to_le_bytes(), self.bad.to_le_bytes()].concat()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let (sum, bad) = bytes.split_first_chunk().ok_or_else(|| LoadError::new("sixteen bytes"))?;
        self.bad = u64::from_le_bytes(bad.try_into().map_err(|_| LoadError::new("sixteen bytes"))?);
        self.sum = u64::from_le_bytes(*sum);
        Ok(())
    }
}

/// The bytes of a detector that has seen what the record holds for its rule.
pub(super) fn replayed(record: &Record, rule: u64, mut detector: impl Detector) -> Vec<u8> {
    if let Some(evidence) = record.evidence_of(rule) {
        evidence.calls.replay(&mut detector);
    }
    detector.save()
}
