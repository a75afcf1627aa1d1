//! Looking at the machine from outside.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::detector::PartTally;
use super::machine::Machine;
#[cfg(feature = "fleet")]
use super::shared::WhenDown;
use super::{Generation, Override, OverrideKind, ProbeTally, Rules, State, TransitionReason};
use crate::time::Timestamp;

/// Which calls are admitted, for callers that must know it without asking the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Every call.
    All,
    /// No call before `until`.
    None { until: Timestamp, by: RefusedBy },
    /// The machine must be asked.
    Ask,
    /// Every call before `until`, by an operator's order and whatever comes of it; outcomes are recorded or not.
    Unjudged { until: Timestamp, recorded: bool },
}

/// What keeps calls out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RefusedBy {
    /// An open circuit.
    Circuit,
    /// An operator.
    Operator,
    /// A store that is away.
    #[cfg(feature = "fleet")]
    Store,
}

/// The machine as seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) generation: Generation,
    pub(crate) admission: Admission,
    /// One more success would change nothing.
    pub(crate) clean: bool,
}

impl Machine {
    /// How calls go through until the next step.
    pub(crate) fn view(&self) -> View {
        #[cfg(feature = "fleet")]
        if let (Some(when_down), None) = (self.stand_in(), self.standing()) {
            let until = Timestamp::MAX;
            let admission = match when_down {
                WhenDown::Admit => Admission::Unjudged { until, recorded: false },
                WhenDown::Local | WhenDown::Reject => Admission::None { until, by: RefusedBy::Store },
            };
            return View { generation: self.generation, admission, clean: false };
        }
        let admission = match (self.standing(), self.state) {
            (Some(standing), _) => match standing.order.kind() {
                OverrideKind::ForcedOpen => Admission::None { until: standing.until, by: RefusedBy::Operator },
                OverrideKind::Disabled => Admission::Unjudged { until: standing.until, recorded: false },
                OverrideKind::DryRun => Admission::Unjudged { until: standing.until, recorded: true },
            },
            (None, State::Closed) => Admission::All,
            (None, State::Open) => {
                let until = self.history.as_ref().map_or(Timestamp::ZERO, |history| history.open_until);
                Admission::None { until, by: RefusedBy::Circuit }
            }
            (None, State::HalfOpen) => Admission::Ask,
        };
        let logged = self.history.as_ref().is_some_and(|history| history.log.is_some());
        let absorbs = || catch_unwind(AssertUnwindSafe(|| self.detector.absorbs_success())).unwrap_or(false);
        let clean = self.state == State::Closed && !logged && !self.shares_successes() && absorbs();
        View { generation: self.generation, admission, clean }
    }

    /// Tells whether a success is news for others.
    #[cfg(not(feature = "fleet"))]
    const fn shares_successes(&self) -> bool {
        let Self { .. } = self;
        false
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.generation
    }

    pub(crate) const fn since(&self) -> Timestamp {
        self.since
    }

    /// Why it is in its state; `None` when it never changed.
    pub(crate) fn reason(&self) -> Option<TransitionReason> {
        self.history.as_ref()?.reason
    }

    /// When an open circuit, or an override, ends by itself.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        match self.view().admission {
            Admission::None { until, .. } | Admission::Unjudged { until, .. } => {
                Some(until).filter(|until| *until < Timestamp::MAX)
            }
            Admission::All | Admission::Ask => None,
        }
    }

    pub(crate) fn overridden(&self) -> Option<&Override> {
        self.standing().map(|standing| &standing.order)
    }

    /// Openings since it was last healthy.
    pub(crate) fn openings(&self) -> u32 {
        self.history.as_ref().map_or(0, |history| history.openings)
    }

    pub(crate) fn tallies(&self, now: Timestamp) -> Vec<PartTally> {
        let mut parts = Vec::new();
        catch_unwind(AssertUnwindSafe(|| self.detector.tallies(now, &mut parts))).ok();
        parts
    }

    pub(crate) fn probes(&self, rules: &Rules) -> Option<ProbeTally> {
        let round = self.history.as_ref()?.round.as_ref()?;
        (self.state == State::HalfOpen).then(|| round.tally(&rules.probes))
    }

    /// When, at the latest, asking again is worth while for a call that found all probes on their way.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.history.as_ref()?.round.as_ref()?.next_expiry()
    }

    /// How many more probes may go out now.
    pub(crate) fn free_probes(&self, rules: &Rules) -> u32 {
        let round = self.history.as_ref().and_then(|history| history.round.as_ref());
        #[cfg(feature = "fleet")]
        if self.asks_fleet() {
            return round.map_or(0, super::probes::Round::in_hand);
        }
        round.filter(|_| self.state == State::HalfOpen).map_or(0, |round| round.free(&rules.probes))
    }

    /// The recent outcomes, oldest first, `true` for a failure: of the execution log where there is one; else of the
    /// round while half-open and after it reopened the circuit; else of the detector's window.
    pub(crate) fn recent(&self) -> Vec<bool> {
        let history = self.history.as_deref();
        if let Some(log) = history.and_then(|history| history.log.as_ref()) {
            return log.iter().collect();
        }
        let by_round = match self.state {
            State::HalfOpen => true,
            State::Open => history.is_some_and(|history| history.opened_by_round),
            State::Closed => false,
        };
        match history.and_then(|history| history.round.as_ref()).filter(|_| by_round) {
            Some(round) => round.log().collect(),
            None => catch_unwind(AssertUnwindSafe(|| self.detector.recent())).unwrap_or_default(),
        }
    }
}
