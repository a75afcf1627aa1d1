//! What decides for a breaker: its machine alone, or a replica of what its fleet shares.

#[cfg(feature = "fleet")]
use super::events::EventKind;
use super::events::Occurrence;
#[cfg(feature = "fleet")]
use super::shared::Shared;
use crate::circuit::{Decision, Facts, Input, Machine, PartTally, Rules, StateScope, StepContext, View};
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) enum Control {
    Solo(Machine),
    #[cfg(feature = "fleet")]
    Shared(Shared),
}

impl Control {
    #[inline]
    pub(super) const fn machine(&self) -> &Machine {
        match self {
            Self::Solo(machine) => machine,
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.machine(),
        }
    }

    #[inline]
    pub(super) fn step(&mut self, rules: &Rules, input: Input<'_>, at: StepContext, facts: &mut Facts) -> Decision {
        match self {
            Self::Solo(machine) => machine.step(rules, input, at, facts),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.step(rules, input, at, facts),
        }
    }

    /// Takes in successes that ended between `at` and `latest`.
    #[cfg_attr(not(feature = "fleet"), expect(unused_variables, reason = "only a fleet sorts them among other calls"))]
    #[inline]
    pub(super) fn record_successes(&mut self, count: u64, at: Timestamp, latest: Timestamp, facts: &mut Facts) {
        match self {
            Self::Solo(machine) => machine.record_successes(count, at, facts),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.record_successes(count, at, latest, facts),
        }
    }

    #[inline]
    pub(super) fn view(&self) -> View {
        match self {
            Self::Solo(machine) => machine.view(),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.view(),
        }
    }

    /// What the parts of the detector count.
    pub(super) fn tallies(&self, now: Timestamp) -> Vec<PartTally> {
        match self {
            Self::Solo(machine) => machine.tallies(now),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.tallies(now),
        }
    }

    pub(super) fn free_probes(&self, rules: &Rules) -> u32 {
        match self {
            Self::Solo(machine) => machine.free_probes(rules),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.free_probes(rules),
        }
    }

    pub(super) fn scope(&self) -> StateScope {
        match self {
            Self::Solo(_) => StateScope::Instance,
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.scope(),
        }
    }

    /// Adds to an event what is known of it besides.
    pub(super) fn complete(&self, what: Occurrence) -> Occurrence {
        match self {
            Self::Solo(_) => what,
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => {
                let trouble = match what.kind {
                    EventKind::StoreDegraded | EventKind::StoreRecovered => shared.replica.outage(),
                    EventKind::StoreImpaired | EventKind::StoreMended => shared.replica.impairment(),
                    _ => None,
                };
                Occurrence { store_trouble: trouble.cloned(), ..what }
            }
        }
    }

    /// What a fleet shares, if there is one.
    #[cfg(feature = "fleet")]
    pub(super) fn shared(&self) -> Option<&Shared> {
        if let Self::Shared(shared) = self { Some(shared) } else { None }
    }
}
