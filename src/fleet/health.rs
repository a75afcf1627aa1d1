//! Whether the store answers.

use std::sync::Arc;
use std::time::Duration;

use crate::store::StoreError;
use crate::time::Timestamp;

/// Whether the store answers, and when to try again if not.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Answers that did not come, since the last one that did.
    silent: u32,
    down: Option<Down>,
}

#[derive(Debug)]
struct Down {
    why: Arc<str>,
    tries: u32,
    retry_at: Timestamp,
}

/// One answer that does not come in time is no outage; three in a row are.
const PATIENCE: u32 = 3;
const FIRST: Duration = Duration::from_millis(100);
/// How long it takes, at most, until somebody looks whether the store is back.
const LONGEST: Duration = Duration::from_secs(10);

/// What an answer changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Degraded,
    Recovered,
}

impl Health {
    pub(super) const fn is_down(&self) -> bool {
        self.down.is_some()
    }

    pub(super) fn why(&self) -> Option<&Arc<str>> {
        self.down.as_ref().map(|down| &down.why)
    }

    /// When to look whether it is back.
    pub(super) fn retry_at(&self) -> Option<Timestamp> {
        self.down.as_ref().map(|down| down.retry_at)
    }

    pub(super) fn retry_now(&mut self, now: Timestamp) {
        if let Some(down) = &mut self.down {
            down.retry_at = now;
        }
    }

    pub(super) fn answered(&mut self) -> Change {
        self.silent = 0;
        if self.down.take().is_some() { Change::Recovered } else { Change::Nothing }
    }

    /// `draw`: a random number from 0 up to 1, so that the instances of a fleet do not come back together.
    pub(super) fn failed(&mut self, error: &StoreError, now: Timestamp, draw: f64) -> Change {
        let refused = match error {
            StoreError::Unavailable { maybe: true, .. } => {
                self.silent += 1;
                if self.silent < PATIENCE && self.down.is_none() {
                    return Change::Nothing;
                }
                false
            }
            StoreError::Unavailable { maybe: false, .. } => false,
            StoreError::Refused(_) => true,
            // About one key, not about the store.
            StoreError::Foreign { .. } | StoreError::TooLarge { .. } => return self.answered(),
        };
        let is_news = self.down.is_none();
        let tries = self.down.as_ref().map_or(0, |down| down.tries.saturating_add(1));
        // Where it refuses, somebody must mend something first.
        let most = if refused { LONGEST } else { (FIRST * (1 << tries.min(10))).min(LONGEST) };
        let least = if refused { LONGEST / 2 } else { Duration::ZERO };
        let retry_at = now + least.max(most.mul_f64(draw));
        self.down = Some(Down { why: explain(error).into(), tries, retry_at });
        if is_news { Change::Degraded } else { Change::Nothing }
    }
}

/// The error with everything behind it, for an operator.
fn explain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

/// Who this process is, where nobody said so.
pub(super) fn host_and_process() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty());
    let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    format!("{}-{}", host.as_deref().map_or("unknown", str::trim), std::process::id())
}
