//! What decides for a breaker: its machine alone, or a replica of what its fleet shares.

#[cfg(feature = "fleet")]
use std::sync::Arc;

#[cfg(feature = "fleet")]
use super::events::EventKind;
use super::events::Occurrence;
#[cfg(feature = "fleet")]
use super::settings::Settings;
#[cfg(feature = "fleet")]
use super::shared::Shared;
use super::trouble::Sharing;
#[cfg(feature = "fleet")]
use crate::circuit::detector::consecutive_failures;
use crate::circuit::{Decision, Facts, Input, Machine, PartTally, Rules, StateScope, StepContext, View};
#[cfg(feature = "fleet")]
use crate::store::StoreTrouble;
use crate::time::Timestamp;

#[derive(Debug)]
pub(super) enum Control {
    Solo(Machine),
    #[cfg(feature = "fleet")]
    Shared(Shared),
    /// Held by its configuration: it joins its fleet when that is over.
    #[cfg(feature = "fleet")]
    Held(Held),
}

/// A machine by itself, for as long as an override stands.
#[cfg(feature = "fleet")]
pub(super) struct Held {
    machine: Machine,
    join: Join,
}

/// Makes a machine a replica that has joined its fleet.
#[cfg(feature = "fleet")]
type Join = Box<dyn Fn(&Settings, Machine) -> Control + Send>;

#[cfg(feature = "fleet")]
impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("machine", &self.machine).finish_non_exhaustive()
    }
}

#[cfg(feature = "fleet")]
impl Held {
    pub(super) fn new(machine: Machine, join: impl Fn(&Settings, Machine) -> Control + Send + 'static) -> Self {
        Self { machine, join: Box::new(join) }
    }
}

impl Control {
    #[inline]
    pub(super) const fn machine(&self) -> &Machine {
        match self {
            Self::Solo(machine) => machine,
            #[cfg(feature = "fleet")]
            Self::Held(held) => &held.machine,
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.machine(),
        }
    }

    /// The machine, where it decides by itself.
    #[inline]
    pub(super) const fn solo(&mut self) -> Option<&mut Machine> {
        match self {
            Self::Solo(machine) => Some(machine),
            #[cfg(feature = "fleet")]
            Self::Held(_) | Self::Shared(_) => None,
        }
    }

    #[inline]
    pub(super) const fn is_solo(&self) -> bool {
        matches!(self, Self::Solo(_))
    }

    #[inline]
    pub(super) fn step(&mut self, rules: &Rules, input: Input<'_>, at: StepContext, facts: &mut Facts) -> Decision {
        match self {
            Self::Solo(machine) => machine.step(rules, input, at, facts),
            #[cfg(feature = "fleet")]
            Self::Held(held) => held.machine.step(rules, input, at, facts),
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
            Self::Held(held) => held.machine.record_successes(count, at, facts),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.record_successes(count, at, latest, facts),
        }
    }

    #[inline]
    pub(super) fn view(&self) -> View {
        match self {
            Self::Solo(machine) => machine.view(),
            #[cfg(feature = "fleet")]
            Self::Held(held) => held.machine.view(),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.view(),
        }
    }

    /// What the parts of the detector count.
    pub(super) fn tallies(&self, now: Timestamp) -> Vec<PartTally> {
        match self {
            Self::Solo(machine) => machine.tallies(now),
            #[cfg(feature = "fleet")]
            Self::Held(held) => held.machine.tallies(now),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.tallies(now),
        }
    }

    pub(super) fn free_probes(&self, rules: &Rules) -> u32 {
        match self {
            Self::Solo(machine) => machine.free_probes(rules),
            #[cfg(feature = "fleet")]
            Self::Held(held) => held.machine.free_probes(rules),
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.free_probes(rules),
        }
    }

    pub(super) fn scope(&self) -> StateScope {
        match self {
            Self::Solo(_) => StateScope::Instance,
            #[cfg(feature = "fleet")]
            Self::Held(_) => StateScope::Instance,
            #[cfg(feature = "fleet")]
            Self::Shared(shared) => shared.replica.scope(),
        }
    }

    /// How a breaker whose circuit is not closed stands with those of other instances.
    pub(super) fn sharing(&self) -> Sharing {
        match self {
            Self::Solo(_) => Sharing::Unshared,
            #[cfg(feature = "fleet")]
            Self::Held(_) => Sharing::Shared,
            #[cfg(feature = "fleet")]
            Self::Shared(shared) if shared.replica.fleet_is_closed() => Sharing::Alone,
            #[cfg(feature = "fleet")]
            Self::Shared(_) => Sharing::Shared,
        }
    }

    /// Adds to an event what is known of it besides.
    pub(super) fn complete(&self, what: Occurrence) -> Occurrence {
        match self {
            Self::Solo(_) => what,
            #[cfg(feature = "fleet")]
            Self::Held(_) => what,
            #[cfg(feature = "fleet")]
            Self::Shared(_) => Occurrence { store_trouble: self.trouble_of(what.kind).cloned(), ..what },
        }
    }

    /// The trouble with the store that such an event tells of.
    #[cfg(feature = "fleet")]
    pub(super) fn trouble_of(&self, kind: EventKind) -> Option<&Arc<StoreTrouble>> {
        let replica = &self.shared()?.replica;
        match kind {
            EventKind::StoreDegraded | EventKind::StoreRecovered => replica.outage(),
            EventKind::StoreImpaired | EventKind::StoreMended => replica.impairment(),
            _ => None,
        }
    }

    /// Joins the fleet, if it was only held back from that by an override, and none stands any more.
    #[cfg(feature = "fleet")]
    pub(super) fn end_hold(&mut self, settings: &Settings) {
        let Self::Held(held) = self else {
            return;
        };
        if held.machine.overridden().is_none() {
            // What is left behind is never asked.
            let detector = std::mem::replace(&mut held.machine.detector, Box::new(consecutive_failures(1)));
            *self = (held.join)(settings, Machine::resume(held.machine.state.clone(), detector));
        }
    }

    /// What a fleet shares, if there is one.
    #[cfg(feature = "fleet")]
    pub(super) fn shared(&self) -> Option<&Shared> {
        if let Self::Shared(shared) = self { Some(shared) } else { None }
    }
}
