//! A breaker's place in its fleet: how it joins, and what the engine sees of it.

use std::sync::Arc;
use std::time::Duration;

use super::cell::{BreakerCell, Visit};
use super::control::{Control, Held};
use super::settings::Settings;
use super::shared::Shared;
use crate::circuit::{Detector, Generation, Machine};
use crate::clock::ClockSource;
use crate::error::ConfigError;
use crate::fleet::{self, Engine, Member, MemberId, Message};
use crate::guard::guarded;
use crate::replica::{Replica, Terms, Turn};
use crate::store::Key;
use crate::time::Timestamp;

/// The engine's reference to a breaker, for as long as the breaker is in its cell.
struct LiveMember {
    cell: &'static BreakerCell,
    key: Arc<str>,
    first_generation: Generation,
    id: MemberId,
}

impl Settings {
    pub(super) fn check_sharing(&self) -> Result<(), ConfigError> {
        match (&self.fleet, &self.store) {
            (Some(_), None) => Err(ConfigError::new("fleet", &"set", "only together with `store`")),
            (Some(fleet), Some(_)) => fleet.check(),
            (None, _) => Ok(()),
        }
    }

    /// How exactly the end of each success must be known: as a detector needs it, and exactly enough to be merged with those of
    /// others.
    pub(super) fn time_resolution(&self, detector: &dyn Detector) -> Option<Duration> {
        let is_pooled = self.store.is_some() && self.fleet.clone().unwrap_or_default().is_pooled();
        let merged = is_pooled.then(|| crate::replica::time_resolution(detector)).flatten();
        detector.time_resolution().into_iter().chain(merged).min()
    }
}

/// Makes a machine the control of the breaker in a cell: a replica that has joined the fleet, where the settings name one.
/// While an override stands that the configuration has given, it stays by itself.
pub(super) fn join(
    settings: &Settings,
    name: &Arc<str>,
    machine: Machine,
    cell: &'static BreakerCell,
    first_generation: Generation,
) -> Control {
    let Some(store) = &settings.store else {
        return Control::Solo(machine);
    };
    if machine.overridden().is_some() {
        let name = Arc::clone(name);
        let join = move |settings: &Settings, machine| join(settings, &name, machine, cell, first_generation);
        return Control::Held(Held::new(machine, join));
    }
    let fleet = settings.fleet.clone().unwrap_or_default();
    let engine = Engine::of(store);
    let terms = Terms {
        voter: fleet.voter(|| engine.name()),
        when_down: fleet.when_down,
        flush_interval: fleet.flush_interval,
        // A store is a user's code.
        clock_error: guarded(|| store.clock_error()).unwrap_or_default(),
        tells_default_rule: settings.has_default_rule,
    };
    let epoch = engine.epoch();
    let member: Arc<dyn Member> =
        Arc::new(LiveMember { cell, first_generation, key: key_of(name), id: engine.next_id() });
    engine.send(Message::Join(Arc::clone(&member)));
    let replica = engine.at_rest(Replica::new(machine, fleet::random(), terms));
    Control::Shared(Shared { replica, engine, member, epoch })
}

/// The key of a breaker's record: for most names the name itself, which is not kept twice.
fn key_of(name: &Arc<str>) -> Arc<str> {
    let key = Key::new(name);
    if *key.as_str() == **name { Arc::clone(name) } else { key.as_str().into() }
}

impl Member for LiveMember {
    fn id(&self) -> MemberId {
        self.id
    }

    fn key(&self) -> &Arc<str> {
        &self.key
    }

    fn visit(&self, now: Timestamp, f: &mut dyn FnMut(&mut Replica, &mut Turn<'_>)) {
        let time = |control: &Control, clock: &ClockSource| Some(Shared::time(&control.shared()?.replica, clock));
        // Listeners, wakers and detectors are users' code as well.
        guarded(|| {
            self.cell.visit_at(time, |Visit { body, at, first_generation }| {
                if first_generation == self.first_generation {
                    self.cell.act(body, at, true, |control, rules, facts| {
                        if let Control::Shared(shared) = control {
                            f(&mut shared.replica, &mut Turn { now, at, rules, facts });
                        }
                    });
                }
            })
        });
    }
}
