//! Calls that are alike.

use std::time::Duration;

use super::Call;
use super::codec::{LoadError, Reader, Writer};
use super::detector::Detector;
use crate::time::{Timestamp, nanos};

/// Calls that ended at the same time in the same way.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{clock::Timestamp, detect::{Call, Run}};
///
/// let slow = Call::success(Timestamp::from_nanos(7)).took(Some(Duration::from_secs(3)));
/// let run = Run::new(&slow, 2);
/// assert_eq!((run.ended, run.failed, run.count), (slow.ended(), false, 2));
/// assert_eq!(run.took, Some(Duration::from_secs(3)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Run {
    /// When they ended.
    pub ended: Timestamp,
    /// Whether they failed.
    pub failed: bool,
    /// How long they took, where a detector asks for it.
    pub took: Option<Duration>,
    /// How many they are.
    pub count: u64,
}

impl Run {
    /// Makes a run of one or more equal calls.
    #[must_use]
    pub const fn new(call: &Call, count: u64) -> Self {
        Self { ended: call.ended(), failed: call.failed(), took: call.duration(), count }
    }

    /// How many bytes a saved run takes.
    pub(crate) const BYTES: usize = 25;

    pub(crate) fn save(self, out: &mut Writer) {
        out.u64(self.ended.as_nanos());
        out.u8(u8::from(self.failed));
        out.u64(self.took.map_or(u64::MAX, nanos));
        out.u64(self.count);
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let (ended, failed) = (Timestamp::from_nanos(from.u64()?), from.u8()? != 0);
        let took = Some(from.u64()?).filter(|n| *n < u64::MAX).map(Duration::from_nanos);
        Ok(Self { ended, failed, took, count: from.u64()? })
    }

    /// Tells whether the calls failed or were slow: a detector gives a verdict only after such calls.
    pub(crate) const fn is_bad(&self) -> bool {
        self.failed || self.took.is_some()
    }

    /// Shows a detector its calls. The caller sees to it that they are not too many.
    pub(crate) fn show(self, detector: &mut dyn Detector) {
        if self.is_bad() {
            let call = if self.failed { Call::failure(self.ended) } else { Call::success(self.ended) };
            (0..self.count).for_each(|_| detector.record(&call.took(self.took)));
        } else {
            detector.record_successes(self.count, self.ended);
        }
    }
}
