//! How a circuit opens, and for how long.

use std::time::Duration;

use super::detector::Counted;
use super::machine::Machine;
use super::machine_state::History;
use super::step::{Facts, StepContext};
#[cfg(feature = "fleet")]
use super::{Cooldown, Decision};
use super::{Rules, State, TransitionReason};
use crate::backoff::draw;

impl Machine {
    pub(crate) fn open(
        &mut self,
        rules: &Rules,
        reason: TransitionReason,
        retry_after: Option<Duration>,
        at: StepContext,
        facts: &mut Facts,
    ) {
        let by_round = self.state.state == State::HalfOpen;
        let history = self.state.history_mut();
        history.opened_by_round = by_round;
        history.begin_cooldown(rules, retry_after, at);
        // What no round has shown to be over goes on.
        history.slowness_counts = match reason {
            TransitionReason::Detected(tally) => tally.counted() == Counted::SlowCalls,
            _ => by_round && history.slowness_counts,
        };
        self.expect_recovery(rules);
        self.go(State::Open, reason, at.now, facts);
    }

    /// Opens by the command of an operator who knows none of the fleet's rules: for `cooldown`, or for as long as the first
    /// breaker says that goes on from this state. How often the circuit has opened is that one's to know as well.
    #[cfg(feature = "fleet")]
    pub(crate) fn trip_without_rules(
        &mut self,
        cooldown: Option<Duration>,
        at: StepContext,
        facts: &mut Facts,
    ) -> Decision {
        self.command(at, facts, |machine, facts| {
            if machine.state.state == State::Open {
                return;
            }
            let by_round = machine.state.state == State::HalfOpen;
            let history = machine.state.history_mut();
            history.opened_by_round = by_round;
            history.slowness_counts &= by_round;
            // Where no breaker comes to say it, the last cooldown is the best guess, or else the usual one.
            let last = Some(history.cooldown).filter(|last| !last.is_zero());
            history.cooldown = cooldown.or(last).unwrap_or(Cooldown::USUAL);
            history.open_until = at.now + history.cooldown;
            history.openings = history.openings.saturating_add(u32::from(cooldown.is_some()));
            machine.go(State::Open, TransitionReason::Tripped, at.now, facts);
            machine.state.history_mut().awaits_cooldown = cooldown.is_none();
        })
    }
}

impl History {
    /// The circuit opens at that time, for as long as the rules say.
    fn begin_cooldown(&mut self, rules: &Rules, retry_after: Option<Duration>, at: StepContext) {
        if !self.opened_by_round && rules.cooldown.recovers_after(self).is_none() {
            self.openings = 0;
        }
        let asked = retry_after.unwrap_or_default().min(rules.retry_after_cap);
        let draw = draw(at.seed, at.now.as_nanos());
        self.cooldown = rules.cooldown.delay(self.openings, retry_after, draw).max(asked);
        self.open_until = at.now + self.cooldown;
        self.openings = self.openings.saturating_add(1);
    }

    /// Says for how long a circuit stays open that an operator opened at that time without saying so.
    #[cfg(feature = "fleet")]
    pub(crate) fn decide_cooldown(&mut self, rules: &Rules, opened: StepContext) {
        if std::mem::take(&mut self.awaits_cooldown) {
            self.begin_cooldown(rules, None, opened);
        }
    }
}
