//! How long a circuit that has closed is seen to be healthy.

use std::time::Duration;

use crate::time::Timestamp;

/// What a machine has seen of a recovery: how long its circuit has been closed, as far as calls have shown that the
/// dependency works. Until that is long enough, the cooldowns to come are longer ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Recovery {
    /// How long it has to be healthy; zero once it is over.
    period: Duration,
    healthy_for: Duration,
    /// The newest success, or the closing.
    newest: Timestamp,
}

/// Of the time between two successes so large a part of the whole counts, at most: a silent period shows nothing, and a
/// dependency that is rarely called takes as many successes as there are parts.
const PARTS: u32 = 16;

/// How exactly times must be known in a period of that length.
pub(super) const fn resolution(period: Duration) -> Duration {
    const LEAST: Duration = Duration::from_millis(1);
    let Some(part) = period.checked_div(2 * PARTS) else {
        return LEAST;
    };
    if part.as_nanos() > LEAST.as_nanos() { part } else { LEAST }
}

impl Recovery {
    pub(super) const fn new(period: Duration) -> Self {
        Self { period, healthy_for: Duration::ZERO, newest: Timestamp::ZERO }
    }

    /// It is over.
    pub(super) const fn end(&mut self) {
        self.period = Duration::ZERO;
    }

    pub(super) const fn goes_on(&self) -> bool {
        !self.period.is_zero()
    }

    /// The circuit closes.
    pub(super) const fn begin(&mut self, now: Timestamp) {
        (self.healthy_for, self.newest) = (Duration::ZERO, now);
    }

    /// A call has succeeded. Tells whether the circuit has been healthy for long enough.
    pub(super) fn note(&mut self, at: Timestamp) -> bool {
        let counts = at.since(self.newest).min(self.period / PARTS);
        self.newest = self.newest.max(at);
        self.healthy_for = self.healthy_for.saturating_add(counts);
        // What the parts leave over is less than a nanosecond each.
        self.healthy_for >= self.period / PARTS * PARTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit::detector::failures;
    use crate::circuit::{Cooldown, Facts, Generation, Input, Machine, Outcome, PermitId, Rules, State, StepContext};

    const S: Duration = Duration::from_secs(1);

    /// How many successes it takes, each so long after the one before.
    fn successes(period: Duration, gap: Duration) -> u32 {
        let (mut recovery, mut now) = (Recovery::new(period), Timestamp::ZERO + S);
        recovery.begin(now);
        (1..)
            .find(|_| {
                now = now + gap;
                recovery.note(now)
            })
            .expect("it ends")
    }

    #[test]
    fn time_between_successes_counts_and_of_a_long_one_a_sixteenth_of_the_whole() {
        assert_eq!(successes(160 * S, S), 160);
        assert_eq!(successes(160 * S, 10 * S), 16);
        assert_eq!(successes(160 * S, 86_400 * S), 16, "whatever passes between rare calls");
        assert_eq!(successes(Duration::from_nanos(17), S), 16);
        assert_eq!(successes(10 * 365 * 86_400 * S, 365 * 86_400 * S), 16);
    }

    /// Healthy calls are free once it is over, and where cooldowns do not grow.
    #[test]
    fn a_success_changes_something_until_the_recovery_is_over() {
        for (cooldown, expected) in [(Cooldown::exponential(S..=9 * S).jitter(0.0), 16), (Cooldown::fixed(S), 0)] {
            let rules = Rules { cooldown, ..Rules::default() };
            let (mut now, mut facts) = (Timestamp::ZERO + S, Facts::default());
            let detector = Box::new(failures(3).within(60 * S));
            let mut machine = Machine::new(detector, &rules, Generation::new(1), now);
            assert!(machine.view().clean, "nothing has happened");
            for input in [Input::Trip, Input::Acquire { reserve: false }] {
                machine.step(&rules, input, StepContext { now, seed: 0 }, &mut facts);
                now = now + S;
            }
            let permit = PermitId { generation: machine.generation(), lease: Some(0) };
            let success = Input::Report { permit, outcome: Outcome::Success, took: None };
            machine.step(&rules, success, StepContext { now, seed: 0 }, &mut facts);
            assert_eq!(machine.state(), State::Closed);
            let mut changed = 0;
            while !machine.view().clean {
                now = now + S;
                machine.record_successes(5, now, &mut facts);
                changed += 1;
            }
            assert_eq!(changed, expected);
        }
    }

    #[test]
    fn a_clock_that_steps_back_shows_nothing() {
        let mut recovery = Recovery::new(16 * S);
        let at = |s: u32| Timestamp::ZERO + S * s;
        recovery.begin(at(100));
        for second in [101, 50, 60, 101] {
            assert!(!recovery.note(at(second)));
        }
        assert_eq!(recovery.healthy_for, S);
    }
}
