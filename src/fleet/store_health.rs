//! Whether the store answers.

use std::sync::Arc;
use std::time::Duration;

use crate::store::StoreError;
use crate::time::Timestamp;

/// Whether the store answers, and when to try again if not.
#[derive(Debug, Default)]
pub(super) struct StoreHealth {
    /// Answers that did not come, since the last one that did.
    silent: u32,
    has_answered: bool,
    down: Option<Down>,
    /// Listeners know that something is wrong.
    is_told: bool,
    /// When a write was last refused, if none was taken since.
    refused: Option<Timestamp>,
}

/// What is known of a store that does not answer.
#[derive(Debug)]
pub(super) struct Down {
    pub(super) why: Arc<str>,
    tries: u32,
    /// When to look whether it is back.
    pub(super) retry_at: Timestamp,
}

/// One answer that does not come in time is no outage; three in a row are.
const FAILURES_BEFORE_DOWN: u32 = 3;
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// How long it takes, at most, until the engine looks whether the store is back.
const MAX_RETRY: Duration = Duration::from_secs(10);

/// A store that answers, but refuses writes, is no better until it takes one, or has refused none for so long.
const REFUSAL_MEMORY: Duration = Duration::from_secs(30);

/// What an answer changes. `is_news`: listeners do not know yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Nothing,
    Degraded { is_news: bool },
    Recovered { is_news: bool },
}

impl StoreHealth {
    pub(super) const fn is_down(&self) -> bool {
        self.down.is_some()
    }

    pub(super) const fn down(&self) -> Option<&Down> {
        self.down.as_ref()
    }

    pub(super) fn retry_now(&mut self, now: Timestamp) {
        if let Some(down) = &mut self.down {
            down.retry_at = now;
        }
    }

    /// `wrote`: it has taken a write.
    pub(super) fn answered(&mut self, wrote: bool, now: Timestamp) -> Change {
        self.silent = 0;
        self.has_answered = true;
        let was_down = self.down.take().is_some();
        if wrote || self.refused.is_some_and(|refused| now.since(refused) >= REFUSAL_MEMORY) {
            self.refused = None;
        }
        let is_news = self.refused.is_none() && std::mem::take(&mut self.is_told);
        if was_down || is_news { Change::Recovered { is_news } } else { Change::Nothing }
    }

    /// `wrote`: it was asked to take a write. `draw`: a random number from 0 up to 1, so that the instances of a fleet do not
    /// come back together.
    pub(super) fn failed(&mut self, error: &StoreError, wrote: bool, now: Timestamp, draw: f64) -> Change {
        let refused = match error {
            // Before the first answer, the connection may still be being made.
            StoreError::Unavailable { maybe, .. } if *maybe || !self.has_answered => {
                self.silent += 1;
                if self.silent < FAILURES_BEFORE_DOWN && self.down.is_none() {
                    return Change::Nothing;
                }
                false
            }
            StoreError::Unavailable { .. } => false,
            StoreError::Refused(_) => true,
            // About one key, not about the store.
            StoreError::Foreign { .. } | StoreError::TooLarge { .. } => return self.answered(false, now),
        };
        if refused && wrote {
            self.refused = Some(now);
        }
        let was_down = self.down.is_some();
        let tries = self.down.as_ref().map_or(0, |down| down.tries.saturating_add(1));
        // Where it refuses, an operator must mend something first.
        let most = if refused { MAX_RETRY } else { (FIRST_RETRY * (1 << tries.min(10))).min(MAX_RETRY) };
        let least = if refused { MAX_RETRY / 2 } else { Duration::ZERO };
        let retry_at = now + least.max(most.mul_f64(draw));
        self.down = Some(Down { why: error.explain().into(), tries, retry_at });
        let is_news = !std::mem::replace(&mut self.is_told, true);
        if was_down && !is_news { Change::Nothing } else { Change::Degraded { is_news } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(1_000_000_000);
    const TOLD: [Change; 2] = [Change::Degraded { is_news: true }, Change::Recovered { is_news: true }];

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    #[test]
    fn a_store_that_nobody_has_dialled_yet_is_not_down() {
        let mut health = StoreHealth::default();
        let away = StoreError::unreachable("not connected yet");
        assert_eq!(health.failed(&away, false, START, 0.5), Change::Nothing);
        assert_eq!(health.answered(false, START), Change::Nothing);
        assert_eq!(health.failed(&away, false, START, 0.5), TOLD[0], "it has been there");
    }

    #[test]
    fn a_store_that_is_down_at_first_is_found_to_be() {
        let mut health = StoreHealth::default();
        let away = StoreError::unreachable("refused");
        let told = (0..3).map(|_| health.failed(&away, false, START, 0.5)).collect::<Vec<_>>();
        assert_eq!(told, [Change::Nothing, Change::Nothing, TOLD[0].clone()]);
        assert_eq!(health.answered(false, START), TOLD[1]);
    }

    #[test]
    fn a_store_that_answers_and_refuses_writes_is_told_of_once() {
        let mut health = StoreHealth::default();
        let refusal = StoreError::refused("out of memory");
        assert_eq!(health.failed(&refusal, true, START, 0.5), TOLD[0]);
        for seconds in [5, 10, 15] {
            assert_eq!(health.answered(false, after(seconds)), Change::Recovered { is_news: false });
            assert_eq!(health.failed(&refusal, true, after(seconds), 0.5), Change::Degraded { is_news: false });
        }
        assert_eq!(health.answered(false, after(20)), Change::Recovered { is_news: false });
        assert_eq!(health.answered(true, after(20)), TOLD[1], "it has taken a write");
        assert_eq!(health.failed(&refusal, true, after(30), 0.5), TOLD[0]);
        assert_eq!(health.answered(false, after(40)), Change::Recovered { is_news: false });
        assert_eq!(health.answered(false, after(59)), Change::Nothing);
        assert_eq!(health.answered(false, after(60)), TOLD[1], "nothing was to be written for long");
    }
}
