//! A suspicion, as an instance takes part in it.

use std::time::Duration;

use super::pooled::{LONGEST_SUSPICION, Suspicion};
use crate::time::Timestamp;

/// All instances of a rule are asked what they have seen; this one answers after the cut, and one ends it. Times are by the
/// engine's clock: it goes on whatever the clock of the breaker does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Census {
    pub(super) suspicion: Suspicion,
    /// When this instance tells what it has.
    pub(super) answer_at: Option<Timestamp>,
    /// When it sees to the verdict, if no other instance has.
    pub(super) end_at: Timestamp,
    /// When a verdict is due.
    pub(super) due: Timestamp,
    is_raiser: bool,
    /// A notice has said that it is over.
    may_be_over: bool,
}

/// An answer comes so much later than the cut, at the most, so that not all come in one moment.
const ANSWER_SPREAD: Duration = Duration::from_millis(20);
/// Instances that did not raise the suspicion wait so long for the one that did, and up to a second by chance.
const STAND_IN_AFTER: Duration = Duration::from_millis(50);
const STAND_IN_SPREAD: Duration = Duration::from_secs(1);

impl Census {
    /// Hears of a suspicion at `now`, when the store's time is `store` give or take `error`. `draws` are by chance.
    pub(super) fn hear(
        suspicion: Suspicion,
        is_raiser: bool,
        (now, store): (Timestamp, Timestamp),
        error: Duration,
        draws: (f64, f64),
    ) -> Self {
        let at = |there: Timestamp| now + there.since(store);
        // Waits are short, whatever a record says.
        let most = now + LONGEST_SUSPICION;
        let answer_at = Self::answer_at(suspicion.cut, (now, store), error, draws.0);
        let stand_in = STAND_IN_AFTER + STAND_IN_SPREAD.mul_f64(draws.1);
        let due = at(suspicion.due()).min(most) + Duration::from_millis(1);
        let end_at = if is_raiser { due } else { due + stand_in };
        Self { suspicion, answer_at: Some(answer_at), end_at, due, is_raiser, may_be_over: false }
    }

    /// When calls up to `cut` are told that all are asked for: not before that has passed by any clock.
    pub(super) fn answer_at(
        cut: Timestamp,
        (now, store): (Timestamp, Timestamp),
        error: Duration,
        draw: f64,
    ) -> Timestamp {
        (now + cut.since(store) + error + ANSWER_SPREAD.mul_f64(draw)).min(now + LONGEST_SUSPICION)
    }

    /// A notice says that it is over: an instance that would stand in leaves it until then, but once.
    pub(super) fn wait_for_poll(&mut self, until: Timestamp) {
        if !self.is_raiser && !std::mem::replace(&mut self.may_be_over, true) {
            self.end_at = self.end_at.max(until);
        }
    }

    /// The suspicion waits for instances that may not have heard of it.
    pub(super) fn wait(&mut self, newer: Suspicion, now: Timestamp, store: Timestamp) {
        if newer.due() > self.suspicion.due() {
            let later = (now + newer.due().since(store)).min(now + LONGEST_SUSPICION) + Duration::from_millis(1);
            self.end_at = later + self.end_at.since(self.due);
            self.due = later;
        }
        self.suspicion = newer;
    }
}
