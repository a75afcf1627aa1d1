//! Families about how breakers stand with their fleets.

use std::time::Duration;

use super::family::{Family, Unit, Value};
use super::sink::Sink;
use crate::breaker::{FleetSight, Survey};
use crate::clock::wall_time;

const CALL: Unit = Unit::One("call");

static LAST_HEARD: Family =
    Family::telling_zero("fleet", "last_heard_timestamp", Unit::Seconds, "When a breaker's store was last heard of");
static WAITING: Family = Family::gauge("fleet", "waiting_calls", CALL, "Calls that the store does not know of yet");
static FORGOTTEN: Family =
    Family::counter("fleet", "forgotten_calls", CALL, "Calls that the store will never know of: it was away too long");
static VOTES: Family = Family::gauge("fleet", "votes", Unit::One("vote"), "Votes that stand, where the fleet votes");
static DRIFT: Family =
    Family::gauge("fleet", "config_drift", Unit::One("breaker"), "Breakers whose fleet also judges by another rule");
static TROUBLES: Family = Family::gauge(
    "fleet",
    "record_troubles",
    Unit::One("breaker"),
    "Breakers that something is wrong with in the store, which answers for others",
);

/// A breaker that the application has made, or all breakers of a registry.
struct Series<'a> {
    breaker: &'a str,
    registry: &'a str,
    forgotten: u64,
    fleet: FleetSight,
}

pub(super) fn tell_fleets(survey: &Survey, sink: &mut impl Sink) {
    let by_hand = survey.breakers.iter().filter_map(|one| {
        Some(Series { breaker: &one.name, registry: "", forgotten: one.counts.forgotten, fleet: one.fleet? })
    });
    let of_registries = survey.registries.iter().filter_map(|all| {
        Some(Series { breaker: "", registry: &all.name, forgotten: all.counts.forgotten, fleet: all.fleet? })
    });
    let all: Vec<_> = by_hand.chain(of_registries).collect();
    let now = Duration::from_nanos(wall_time().as_nanos());
    let mut tell = |family, of: &dyn Fn(&Series<'_>) -> Option<Value>| {
        sink.family(family);
        for series in &all {
            if let Some(value) = of(series) {
                sink.sample(&[("breaker", series.breaker), ("registry", series.registry)], value);
            }
        }
    };
    tell(&LAST_HEARD, &|one| one.fleet.heard.map(|ago| Value::Amount(now.saturating_sub(ago).as_secs_f64())));
    tell(&WAITING, &|one| Some(Value::Count(one.fleet.waiting)));
    tell(&FORGOTTEN, &|one| Some(Value::Count(one.forgotten)));
    tell(&VOTES, &|one| one.fleet.votes.map(Value::Count));
    tell(&DRIFT, &|one| Some(Value::Count(one.fleet.drifting)));
    tell(&TROUBLES, &|one| Some(Value::Count(one.fleet.troubled)));
}
