//! Looking at the machine from outside.

use super::detector::PartTally;
use super::machine::Machine;
use super::{Generation, Override, OverrideKind, PermitId, ProbeTally, Rules, State, TransitionReason};
use crate::guard::guarded;
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
    /// Successes are to show that the dependency is healthy for long enough.
    pub(crate) recovers: bool,
}

impl View {
    /// When an open circuit, or an override, ends by itself.
    pub(crate) fn until(&self) -> Option<Timestamp> {
        match self.admission {
            Admission::None { until, .. } | Admission::Unjudged { until, .. } => {
                Some(until).filter(|until| *until < Timestamp::MAX)
            }
            Admission::All | Admission::Ask => None,
        }
    }
}

impl Machine {
    /// How calls go through until the next step.
    pub(crate) fn view(&self) -> View {
        let admission = match (self.state.standing(), self.state.state) {
            (Some(standing), _) => match standing.order.kind() {
                OverrideKind::ForcedOpen => Admission::None { until: standing.until, by: RefusedBy::Operator },
                OverrideKind::Disabled => Admission::Unjudged { until: standing.until, recorded: false },
                OverrideKind::DryRun => Admission::Unjudged { until: standing.until, recorded: true },
            },
            (None, State::Closed) => Admission::All,
            (None, State::Open) => {
                let until = self.state.history().open_until;
                Admission::None { until, by: RefusedBy::Circuit }
            }
            (None, State::HalfOpen) => Admission::Ask,
        };
        let recovers = self.state.recovery().is_some();
        View { generation: self.state.generation, admission, clean: self.is_clean(), recovers }
    }

    /// Tells whether one more success would change nothing.
    pub(crate) fn is_clean(&self) -> bool {
        let absorbs = || guarded(|| self.detector.absorbs_success()).unwrap_or(false);
        // What a success shows of a recovery, a success changes.
        let changes_nothing = || self.state.log().is_none() && self.state.recovery().is_none();
        self.state.state == State::Closed && changes_nothing() && absorbs()
    }

    pub(crate) const fn state(&self) -> State {
        self.state.state
    }

    pub(crate) const fn generation(&self) -> Generation {
        self.state.generation
    }

    pub(crate) const fn since(&self) -> Timestamp {
        self.state.since
    }

    /// Why it is in its state; `None` when it never changed.
    pub(crate) fn reason(&self) -> Option<TransitionReason> {
        self.state.history().reason
    }

    pub(crate) fn overridden(&self) -> Option<&Override> {
        self.state.standing().map(|standing| &standing.order)
    }

    /// Openings since it was last healthy.
    pub(crate) fn openings(&self) -> u32 {
        self.state.history().openings
    }

    pub(crate) fn tallies(&self, now: Timestamp) -> Vec<PartTally> {
        let mut parts = Vec::new();
        guarded(|| self.detector.tallies(now, &mut parts));
        parts
    }

    pub(crate) fn probes(&self, rules: &Rules) -> Option<ProbeTally> {
        let history = self.state.history();
        let round = history.round.as_ref().filter(|_| self.state.state == State::HalfOpen)?;
        Some(round.tally(&rules.probes, history.slowness_counts))
    }

    /// Tells whether a call that was reserved may still be made.
    pub(crate) fn holds(&self, permit: PermitId, now: Timestamp) -> bool {
        let round = self.state.history().round.as_ref();
        let is_held = |lease| round.is_some_and(|round| round.holds(lease, now));
        permit.generation == self.state.generation && permit.lease.is_none_or(is_held)
    }

    /// When, at the latest, asking again is worth while for a call that found all probes on their way.
    pub(crate) fn next_expiry(&self, rules: &Rules) -> Option<Timestamp> {
        let half_open = Some(self.state.since).filter(|_| self.state.state == State::HalfOpen);
        let of_round = half_open.and_then(|since| rules.probes.decided_by(since));
        self.next_deadline().into_iter().chain(of_round).min()
    }

    /// When the next place of a probe is free by its deadline.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.state.history().round.as_ref()?.next_expiry()
    }

    /// How many more probes may go out now.
    pub(crate) fn free_probes(&self, rules: &Rules) -> u32 {
        let round = self.state.history().round.as_ref();
        round.filter(|_| self.state.state == State::HalfOpen).map_or(0, |round| round.free(&rules.probes))
    }

    /// The recent outcomes, oldest first, `true` for a failure: of the execution log where there is one; else of the
    /// round while half-open and after it reopened the circuit; else of the detector's window.
    pub(crate) fn recent(&self) -> Vec<bool> {
        if let Some(log) = self.state.log() {
            return log.iter().collect();
        }
        let history = self.state.history();
        let by_round = match self.state.state {
            State::HalfOpen => true,
            State::Open => history.opened_by_round,
            State::Closed => false,
        };
        match history.round.as_ref().filter(|_| by_round) {
            Some(round) => round.log().collect(),
            None => guarded(|| self.detector.recent()).unwrap_or_default(),
        }
    }
}
