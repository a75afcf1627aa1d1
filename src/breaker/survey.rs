//! Every breaker of the process at a glance: no lock of a healthy one is taken, and nothing changes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "fleet")]
use super::cell_view::FleetSight;
use super::cell_view::{About, Place, Sight};
use super::counts::Counts;
use super::named_breakers::{self, Listed};
use super::registry_contents::Inner;
use super::registry_counts::RegistryCounts;
use super::registry_list;
use super::settings::LOCAL;
use crate::circuit::detector::Threshold;
use crate::circuit::{OverrideKind, PartTally, State};
use crate::counts::{Sum, View};
use crate::sync::{Ordering::Relaxed, unpoisoned};

/// Every breaker of the process.
#[derive(Debug)]
pub(crate) struct Survey {
    /// Those that the application has made, by name. Of one name there may be several: they are one here.
    pub(crate) breakers: Vec<SurveyedBreaker>,
    /// The registries, by name, likewise.
    pub(crate) registries: Vec<SurveyedRegistry>,
}

/// The breakers of one name.
#[derive(Debug)]
pub(crate) struct SurveyedBreaker {
    pub(crate) name: Arc<str>,
    pub(crate) counts: Counts,
    pub(crate) levels: Levels,
    /// Seconds since 1970.
    pub(crate) last_transition: Option<f64>,
    /// Of the first of them.
    pub(crate) rule: String,
    pub(crate) mode: &'static str,
    pub(crate) parts: Vec<PartTally>,
    /// So many of what each part counts are too many now, where the part says so as data.
    pub(crate) limits: Vec<Option<f64>>,
    pub(crate) probes_in_flight: u64,
    #[cfg(feature = "fleet")]
    pub(crate) fleet: Option<FleetSight>,
}

/// The registries of one name.
#[derive(Debug)]
pub(crate) struct SurveyedRegistry {
    pub(crate) name: Arc<str>,
    pub(crate) counts: Counts,
    pub(crate) levels: Levels,
    pub(crate) overflowed: u64,
    pub(crate) forgotten: u64,
    pub(crate) unguarded: u64,
    /// Names of breakers that are not closed: oldest trouble first.
    pub(crate) troubled: Vec<(Arc<str>, State)>,
    #[cfg(feature = "fleet")]
    pub(crate) fleet: Option<FleetSight>,
}

/// How many breakers are in which state, and overridden in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Levels {
    states: [u64; 3],
    overrides: [u64; 3],
}

impl Levels {
    pub(crate) const STATES: [State; 3] = [State::Closed, State::Open, State::HalfOpen];
    pub(crate) const OVERRIDES: [OverrideKind; 3] =
        [OverrideKind::ForcedOpen, OverrideKind::Disabled, OverrideKind::DryRun];

    fn add(&mut self, sight: Sight) {
        let state = Self::STATES.iter().position(|state| *state == sight.state);
        let overridden = Self::OVERRIDES.iter().position(|kind| Some(*kind) == sight.overridden);
        state.into_iter().for_each(|at| self.states[at] += 1);
        overridden.into_iter().for_each(|at| self.overrides[at] += 1);
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = (State, u64)> {
        Self::STATES.into_iter().zip(self.states)
    }

    pub(crate) fn overrides(&self) -> impl Iterator<Item = (OverrideKind, u64)> {
        Self::OVERRIDES.into_iter().zip(self.overrides)
    }

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Survey {
    pub(crate) fn of_process() -> Self {
        let breakers =
            named_breakers::all().into_iter().filter_map(|(listed, counts)| SurveyedBreaker::of(&listed, counts));
        Self { breakers: breakers.collect(), registries: registries() }
    }
}

impl SurveyedBreaker {
    /// Tells whether it shares its state with other instances.
    pub(crate) fn is_shared(&self) -> bool {
        self.mode != LOCAL
    }

    fn of(listed: &[Listed], counts: Counts) -> Option<Self> {
        let Listed { name, about, .. } = listed.first()?;
        let About { rule, mode, parts, thresholds } = &**about;
        let mut this = Self {
            name: Arc::clone(name),
            counts,
            levels: Levels::default(),
            last_transition: listed.iter().filter_map(|listed| listed.place.counts().last_transition()).max().map(secs),
            rule: rule.clone(),
            mode,
            parts: parts.clone(),
            limits: Vec::new(),
            probes_in_flight: 0,
            #[cfg(feature = "fleet")]
            fleet: None,
        };
        for (nth, Listed { place, .. }) in listed.iter().enumerate() {
            let sight = place.sight();
            this.levels.add(sight);
            // A clean window holds nothing bad, and a circuit that is closed has no probes.
            if !sight.is_clean
                && let Some(inner) = place.inner_sight(sight.generation)
            {
                this.probes_in_flight += inner.probes.map_or(0, |probes| u64::from(probes.in_flight));
                if nth == 0 {
                    this.parts = inner.parts;
                }
            }
            #[cfg(feature = "fleet")]
            if listed[nth].about.mode != LOCAL {
                add_sight(&mut this.fleet, place.fleet_sight());
            }
        }
        let limit = |(part, threshold): (&PartTally, &Option<Threshold>)| {
            let calls = part.tally.calls().unwrap_or(0);
            threshold.map(|threshold| threshold.limit_of(calls))
        };
        this.limits = this.parts.iter().zip(thresholds).map(limit).collect();
        Some(this)
    }
}

#[cfg(feature = "fleet")]
fn add_sight(sum: &mut Option<FleetSight>, one: Option<FleetSight>) {
    if let Some(one) = one {
        sum.get_or_insert_with(FleetSight::default).add(one);
    }
}

fn secs(nanos: u64) -> f64 {
    Duration::from_nanos(nanos).as_secs_f64()
}

fn registries() -> Vec<SurveyedRegistry> {
    let all = registry_list::all();
    let mut by_name: BTreeMap<Arc<str>, Vec<&Inner>> = BTreeMap::new();
    for inner in &all {
        by_name.entry(unpoisoned(inner.name.lock()).clone()).or_default().push(inner);
    }
    let view = View::new();
    let surveyed = by_name.into_iter().map(|(name, registries)| SurveyedRegistry::of(name, &registries, &view));
    // That of the process holds breakers that belong to their names, and mostly no others.
    let is_of_names = |registry: &SurveyedRegistry| {
        registry.name.is_empty() && registry.levels.is_empty() && registry.counts == Counts::default()
    };
    surveyed.filter(|registry| !is_of_names(registry)).collect()
}

impl SurveyedRegistry {
    /// Tells whether some of its breakers share their state with other instances.
    #[cfg_attr(not(feature = "fleet"), expect(clippy::unused_self, reason = "only a fleet shares"))]
    pub(crate) const fn is_shared(&self) -> bool {
        #[cfg(feature = "fleet")]
        return self.fleet.is_some();
        #[cfg(not(feature = "fleet"))]
        false
    }

    fn of(name: Arc<str>, registries: &[&Inner], view: &View) -> Self {
        let living: Vec<_> = registries.iter().map(|registry| registry.counts.number()).collect();
        let counts = RegistryCounts::counts_of_gone(&name, &living, view);
        let mut this = Self {
            name,
            counts,
            levels: Levels::default(),
            overflowed: 0,
            forgotten: 0,
            unguarded: 0,
            troubled: Vec::new(),
            #[cfg(feature = "fleet")]
            fleet: None,
        };
        let mut troubled = Vec::new();
        for registry in registries {
            this.overflowed += registry.overflowed.load(Relaxed);
            this.forgotten += registry.counts.forgotten();
            this.unguarded += registry.unguarded.count();
            let counts = registry.counts.sum(view, || this.look_into(registry, view, &mut troubled));
            this.counts.add(&counts);
        }
        troubled.sort_by_key(|(since, ..)| *since);
        this.troubled = troubled.into_iter().map(|(_, name, state)| (name, state)).collect();
        this
    }

    /// Looks at all breakers that a registry holds, and returns what they have counted.
    fn look_into(
        &mut self,
        registry: &Inner,
        view: &View,
        troubled: &mut Vec<(Option<u64>, Arc<str>, State)>,
    ) -> Counts {
        let mut sum = Counts::default();
        registry.each(|name, breaker| {
            let (place, counts) = (breaker.cell(), breaker.cell().counts());
            // Another's, which it was given to be found.
            if counts.home() != registry.counts.number() {
                return;
            }
            let sight = place.sight();
            self.levels.add(sight);
            #[cfg(feature = "fleet")]
            if registry.counts.is_shared() {
                add_sight(&mut self.fleet, place.fleet_sight());
            }
            sum.add(&counts.counts_by(view));
            if sight.state != State::Closed {
                troubled.push((counts.last_transition(), Arc::clone(name), sight.state));
            }
        });
        sum
    }
}
