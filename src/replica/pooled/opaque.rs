//! Calls that only a detector of their rule can judge.

use std::time::Duration;

use super::cell::Writers;
use super::logs::Met;
use super::telling::Telling;
use crate::circuit::{Detector, LoadError, Reader, Run, Writer};
use crate::time::Timestamp;

/// The detector's own bytes, and the calls that they do not contain yet, by the time at which they ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Opaque {
    state: Option<Vec<u8>>,
    waiting: Vec<Waiting>,
}

/// Calls that wait, and which instance had them: those of one moment go by instance, so that it does not matter in
/// which order they were told.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Waiting {
    run: Run,
    writer: u16,
}

/// Runs that wait, at most: the oldest are forgotten first.
const MAX_WAITING: usize = 1_024;
/// Bytes of a detector that a record takes.
const MAX_STATE_BYTES: usize = 32 * 1_024;
/// No detector is shown more calls of one run that it must see one by one.
const MAX_SHOWN: u64 = 1_024;

impl Opaque {
    pub(super) fn take_in(&mut self, telling: &Telling, now: Timestamp) {
        let writer = Writers::part_of(telling.writer);
        for (nth, told) in telling.calls.iter().enumerate() {
            let took = telling.took.get(nth).copied().flatten();
            let failed = told.calls.class.failed();
            let count = u64::from(told.calls.count);
            let count = if failed || took.is_some() { count.min(MAX_SHOWN) } else { count };
            let run = Run { ended: told.at.min(now), failed, took, count };
            // Behind its own of the same moment, so that the calls of one instance stay in order.
            let waiting = Waiting { run, writer };
            let place = self.waiting.partition_point(|known| known.place() <= waiting.place());
            self.waiting.insert(place, waiting);
        }
        let over = self.waiting.len().saturating_sub(MAX_WAITING);
        self.waiting.drain(..over);
    }

    pub(super) fn forget_after(&mut self, latest: Timestamp) {
        self.waiting.retain(|waiting| waiting.run.ended <= latest);
    }

    /// Shows the detector the calls that ended by then; tells when it trips, and on what. The detector is another one after
    /// that.
    pub(super) fn judge(&mut self, detector: &mut dyn Detector, up_to: Timestamp) -> Option<Met> {
        let due = self.waiting.partition_point(|waiting| waiting.run.ended <= up_to);
        if due == 0 {
            return None;
        }
        detector.reset();
        if let Some(state) = &self.state {
            // Bytes of another release of the same detector: it begins anew.
            detector.load(state).ok();
        }
        let mut tripped = None;
        for Waiting { run, .. } in self.waiting.drain(..due) {
            run.show(detector);
            if tripped.is_none() && run.is_bad() && detector.verdict(run.ended) {
                tripped = Some(Met { at: run.ended, tally: detector.tally(run.ended), retry_after: None });
            }
        }
        self.state = Some(detector.save()).filter(|bytes| bytes.len() <= MAX_STATE_BYTES);
        tripped
    }

    /// When the next call that waits can be judged, if it must wait for so long.
    pub(super) fn due(&self, lag: Duration) -> Option<Timestamp> {
        self.waiting.first().map(|waiting| waiting.run.ended + lag)
    }

    pub(super) fn failures(&self) -> u64 {
        self.waiting.iter().filter(|waiting| waiting.run.failed).map(|waiting| waiting.run.count).sum()
    }

    /// Forgets what is oldest until it takes no more than `most` bytes.
    pub(super) fn shrink(&mut self, most: usize) {
        let state = self.state.as_ref().map_or(0, Vec::len);
        let room = most.saturating_sub(state) / Waiting::BYTES;
        let over = self.waiting.len().saturating_sub(room);
        self.waiting.drain(..over);
    }

    pub(super) fn save(&self, out: &mut Writer) {
        out.flag(self.state.is_some());
        out.bytes(self.state.as_deref().unwrap_or_default());
        out.list(self.waiting.iter(), Waiting::save);
    }

    pub(super) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let has_state = from.flag()?;
        let state = Some(from.bytes()?.to_vec()).filter(|_| has_state);
        let mut waiting: Vec<Waiting> = from.list(Waiting::BYTES, Waiting::load)?;
        if waiting.len() > MAX_WAITING || !waiting.is_sorted_by_key(Waiting::place) {
            return Err(LoadError::new("calls that are too many, or out of order"));
        }
        let bad = waiting.iter_mut().map(|waiting| &mut waiting.run).filter(|run| run.is_bad());
        bad.for_each(|run| run.count = run.count.min(MAX_SHOWN));
        Ok(Self { state, waiting })
    }
}

impl Waiting {
    const BYTES: usize = Run::BYTES + 2;

    const fn place(&self) -> (Timestamp, u16) {
        (self.run.ended, self.writer)
    }

    fn save(&self, out: &mut Writer) {
        self.run.save(out);
        self.writer.to_le_bytes().into_iter().for_each(|byte| out.u8(byte));
    }

    fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        Ok(Self { run: Run::load(from)?, writer: u16::from_le_bytes([from.u8()?, from.u8()?]) })
    }
}
