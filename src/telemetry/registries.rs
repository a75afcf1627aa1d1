//! Families about registries.

use super::family::{Family, Unit, Value};
use super::sink::Sink;
use crate::breaker::{Survey, SurveyedRegistry};

static BREAKERS: Family = Family::gauge("registry", "breakers", Unit::One("breaker"), "Breakers, by state");
static OVERRIDDEN: Family =
    Family::gauge("registry", "overridden_breakers", Unit::One("breaker"), "Breakers that are overridden, by kind");
static OVERFLOWED: Family =
    Family::counter("registry", "overflowed", Unit::One("lookup"), "How often a name got an overflow breaker");
static FORGOTTEN: Family =
    Family::counter("registry", "forgotten", Unit::One("breaker"), "Idle breakers that gave way to others");
static UNGUARDED: Family =
    Family::counter("registry", "unguarded", Unit::One("call"), "Calls of keyed layers that no breaker guarded");
static KEYS_LEFT_OUT: Family = Family::gauge(
    "registry",
    "keys_left_out",
    Unit::One("breaker"),
    "Breakers that are not closed and have no series of their own",
);

pub(super) fn tell_registries(survey: &Survey, most_keys: usize, sink: &mut impl Sink) {
    let all = &survey.registries;
    sink.family(&BREAKERS);
    for one in all {
        for (state, breakers) in one.levels.states() {
            sink.sample(&[("registry", &*one.name), ("state", state.as_str())], Value::Count(breakers));
        }
    }
    sink.family(&OVERRIDDEN);
    for one in all {
        for (kind, breakers) in one.levels.overrides() {
            sink.sample(&[("registry", &*one.name), ("kind", kind.as_str())], Value::Count(breakers));
        }
    }
    let mut plain = |family, of: &dyn Fn(&SurveyedRegistry) -> u64| {
        sink.family(family);
        for one in all {
            sink.sample(&[("registry", &*one.name)], Value::Count(of(one)));
        }
    };
    plain(&OVERFLOWED, &|one| one.overflowed);
    plain(&FORGOTTEN, &|one| one.forgotten);
    plain(&UNGUARDED, &|one| one.unguarded);
    plain(&KEYS_LEFT_OUT, &|one| one.troubled.len().saturating_sub(most_keys) as u64);
}
