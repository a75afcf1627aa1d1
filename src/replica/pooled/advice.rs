//! What the evidence of a rule advises its users.

use std::time::Duration;

use super::evidence::{Calls, RuleEvidence};
use crate::circuit::Advice;
use crate::time::Timestamp;

/// Up to so many instances a breaker's operations are few.
const CHEAP_INSTANCES: u32 = 300;
/// Of so many of the newest calls, the order is known well enough.
const MOST_CALLS: u64 = 10_000;

impl RuleEvidence {
    /// What the users of the rule would be better off with, at `now`.
    pub(crate) fn advice(&self, now: Timestamp) -> impl Iterator<Item = Advice> {
        let instances = self.instances();
        let many = (instances > CHEAP_INSTANCES).then_some(Advice::ManyInstances { instances });
        many.into_iter().chain(self.short_window(now))
    }

    /// A window of calls that is shorter than twice a tick, within which the order of calls of several instances is unknown.
    fn short_window(&self, now: Timestamp) -> Option<Advice> {
        let Calls::Shaped { rule, logs } = &self.calls else {
            return None;
        };
        let (calls, per_second) = (rule.fewest_calls()?, self.voices.per_second(now));
        if self.instances() < 2 || per_second <= 0.0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a window has fewer calls than that")]
        let span = Duration::try_from_secs_f64(calls as f64 / per_second).ok()?;
        (span < 2 * logs.tick()).then_some(Advice::ShortWindow { calls, span })
    }
}

/// What a rule over so many calls advises, whatever comes.
pub(crate) fn of_calls(calls: u64) -> Option<Advice> {
    (calls > MOST_CALLS).then_some(Advice::LongWindow { calls })
}
