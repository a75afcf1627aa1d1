//! Instances and a record for tests to put together.

use super::*;

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
    pub(super) machine: Machine,
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
        Self::made(writer, detector, Rules::default(), Some((format!("voter-{writer}").into(), quorum)))
    }

    pub(super) fn probing(writer: u64, probes: Probes) -> Self {
        Self::made(writer, patient(), Rules { probes, ..Rules::default() }, None)
    }

    pub(super) fn made(writer: u64, detector: Box<dyn Detector>, rules: Rules, votes: Option<(Arc<str>, u32)>) -> Self {
        let (rule, horizon) = (fingerprint(&detector.rule()), detector.horizon());
        let led = Led::new(&*detector, votes, WhenDown::Local);
        let mut machine = Machine::new(detector, &rules, Generation::new(1), at(0)).led_by(led);
        machine.set_reachable(&rules, None, moment(at(0)), &mut Facts::default());
        Self { machine, rules, writer, rule, horizon }
    }

    pub(super) fn step(&mut self, input: Input<'_>, now: Timestamp) -> Decision {
        self.machine.step(&self.rules, input, moment(now), &mut Facts::default())
    }

    /// A call that ends so, where one is let through.
    pub(super) fn call(&mut self, outcome: Outcome, now: Timestamp) -> bool {
        let Decision::Admitted(permit) = self.step(Input::Acquire { reserve: false }, now) else {
            return false;
        };
        self.step(Input::Report { permit, outcome, took: None }, now);
        true
    }

    pub(super) fn adopt(&mut self, record: &Record, granted: &[u32], now: Timestamp) {
        let clocks = Clocks { here: now, store: now };
        self.machine.adopt(record, (self.writer, granted, true), clocks, moment(now), &mut Facts::default());
    }

    pub(super) fn batch(&self, record: &Record, runs: &[Run]) -> Vec<u8> {
        let mut seen = Seen::new(self.horizon);
        for run in runs {
            seen.add(*run);
        }
        let calls = Some(Calls { fingerprint: self.rule, seen, retry_after: None });
        Batch { generation: record.generation, calls, probes: Vec::new(), vote: None }.save()
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

    /// What an instance makes of the record, written back as bytes.
    pub(super) fn fold(&mut self, by: &mut Instance, batches: &[Vec<u8>], orders: &[Order]) -> Folded {
        let batches: Vec<&[u8]> = batches.iter().map(Vec::as_slice).collect();
        let folded = by.machine.fold(&by.rules, &self.record, &batches, orders, by.writer, moment(self.now));
        let bytes = folded.record.save();
        assert!(bytes.len() <= 64 * 1_024, "{} bytes", bytes.len());
        self.record = Record::load(&bytes).expect("its own bytes");
        assert_eq!(self.record.save(), bytes, "what is read is what was written");
        assert_eq!(folded.began, self.record.decider == by.writer && folded.began, "who decides signs");
        folded
    }

    /// As [`fold`](Self::fold), and the instance does as the record then says.
    pub(super) fn commit(&mut self, by: &mut Instance, orders: &[Order]) -> Folded {
        let batch = by.machine.take_batch(self.now, self.now);
        let folded = self.fold(by, &Vec::from_iter(batch), orders);
        by.machine.batch_settled(true);
        by.adopt(&self.record, &folded.granted, self.now);
        folded
    }

    pub(super) fn order(&mut self, by: &mut Instance, order: Order) -> Folded {
        self.fold(by, &[], &[order])
    }

    /// The fleet is open, and its cooldown over.
    pub(super) fn cooled_down(by: &mut Instance) -> Self {
        let mut shared = Self::new();
        shared.order(by, Order::Trip);
        shared.now = shared.record.open_until;
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
    if let Some(held) = record.held(rule) {
        held.seen.replay(&mut detector);
    }
    detector.save()
}
