//! What a fleet has found out, as its record keeps it.

use std::time::Duration;

use super::{telling, told};
use crate::circuit::{self, LoadError, Reader, Tally, Writer};
use crate::time::Timestamp;

/// What a fleet has found out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) tally: Tally,
    pub(crate) retry_after: Option<Duration>,
    /// When the rule was met.
    pub(crate) at: Timestamp,
    /// Up to when the calls of all are known.
    pub(crate) up_to: Timestamp,
    /// Instances that have told of all calls up to then.
    pub(crate) heard: u32,
    /// Instances that are known to have calls, and did not answer.
    pub(crate) silent: u32,
}

impl Verdict {
    /// As users see it, when the store's time is `now`.
    pub(crate) fn shown(&self, now: Timestamp) -> circuit::Verdict {
        circuit::Verdict::new(self.tally, (self.heard, self.silent), now.since(self.up_to))
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        telling::save_tally(self.tally, out);
        told::save_wait(self.retry_after, out);
        out.time(self.at);
        out.time(self.up_to);
        out.varint(self.heard.into());
        out.varint(self.silent.into());
    }

    pub(crate) fn load(from: &mut Reader<'_>) -> Result<Self, LoadError> {
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Ok(Self {
            tally: telling::load_tally(from)?,
            retry_after: told::load_wait(from)?,
            at: from.time()?,
            up_to: from.time()?,
            heard: number(from.varint()?),
            silent: number(from.varint()?),
        })
    }
}
