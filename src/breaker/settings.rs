//! What breakers of one configuration have in common.

use std::sync::Arc;
use std::time::Duration;

use super::asked::Asked;
use super::events::Listener;
use crate::circuit::{Detector, Override, Rules};
use crate::classify::Outcomes;
use crate::clock::{COARSE_LAG, ClockSource};
#[cfg(feature = "fleet")]
use crate::fleet::Fleet;
#[cfg(feature = "fleet")]
use crate::store::Store;

/// The mode of breakers that share their state with none.
#[cfg(feature = "counts")]
pub(super) const LOCAL: &str = "local";

/// What breakers of one configuration have in common; a registry shares it between them.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    pub(super) rules: Rules,
    pub(super) clock: ClockSource,
    pub(super) listeners: Vec<Listener>,
    pub(super) every_call: bool,
    /// What a breaker is held in from the start.
    pub(super) initial_override: Option<Override>,
    /// What a layer for HTTP or gRPC counts otherwise. Most ask for nothing of that kind, and pay for a pointer.
    pub(super) outcomes: Option<Box<Outcomes>>,
    /// There where there are outcomes.
    pub(super) asked: Option<Asked>,
    #[cfg(feature = "fleet")]
    pub(super) store: Option<Arc<dyn Store>>,
    #[cfg(feature = "fleet")]
    pub(super) fleet: Option<Fleet>,
    /// No detector was given. Not so for most breakers of a registry: of many, one says so.
    #[cfg(feature = "fleet")]
    pub(super) has_default_rule: bool,
    /// The name of the registry that made the breaker, as it was then.
    pub(super) registry: Arc<str>,
}

impl Settings {
    /// How exactly the end of each success must be known.
    #[cfg(not(feature = "fleet"))]
    #[expect(clippy::unused_self, reason = "a fleet asks for more")]
    pub(super) fn time_resolution(&self, detector: &dyn Detector) -> Option<Duration> {
        detector.time_resolution()
    }

    pub(super) fn has_listeners(&self) -> bool {
        !self.listeners.is_empty()
    }

    /// Tells whether a listener wants more than changes of state.
    pub(super) fn listens_to_events(&self) -> bool {
        self.listeners.iter().any(|listener| matches!(listener, Listener::Event(_)))
    }

    /// Takes the coarse clock where that is exact enough for everything.
    pub(super) fn choose_clock(&mut self, detector: &dyn Detector) {
        let coarse = detector.time_tolerance().min(self.rules.time_tolerance()) >= COARSE_LAG;
        self.clock = match std::mem::take(&mut self.clock) {
            ClockSource::System | ClockSource::Coarse if coarse => ClockSource::Coarse,
            ClockSource::System | ClockSource::Coarse => ClockSource::System,
            other @ ClockSource::Other(_) => other,
        };
    }

    /// Tells whether no rule asks when calls of the closed state end, nor for how long they went on.
    pub(super) fn asks_no_time(&self, detector: &dyn Detector) -> bool {
        detector.time_tolerance() == Duration::MAX && !self.rules.needs_duration()
    }

    /// By whose calls the circuit opens.
    #[cfg(feature = "counts")]
    pub(super) fn mode(&self) -> &'static str {
        #[cfg(feature = "fleet")]
        if self.store.is_some() {
            return if self.fleet.clone().unwrap_or_default().is_pooled() { "pooled" } else { "votes" };
        }
        LOCAL
    }

    /// Tells whether the two could be one.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        #[cfg(feature = "fleet")]
        let shares_the_same = match (&self.store, &other.store) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                Arc::ptr_eq(a, b) && self.fleet == other.fleet && self.has_default_rule == other.has_default_rule
            }
            _ => false,
        };
        #[cfg(not(feature = "fleet"))]
        let shares_the_same = true;
        shares_the_same
            && self.rules == other.rules
            && self.clock.is_same(&other.clock)
            && self.every_call == other.every_call
            && self.initial_override == other.initial_override
            && self.outcomes == other.outcomes
            && self.listeners.len() == other.listeners.len()
            && self.listeners.iter().zip(&other.listeners).all(|(a, b)| a.is_same(b))
    }
}
