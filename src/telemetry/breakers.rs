//! Families about breakers.

use super::family::{Family, Unit, Value};
use super::sink::Sink;
use crate::breaker::{Counts, Survey, SurveyedBreaker};
use crate::circuit::{Origin, Outcome, RejectReason, State, detector::Counted};

const CALL: Unit = Unit::One("call");

static CALLS: Family = Family::counter("breaker", "calls", CALL, "Calls that have ended, by outcome");
static SLOW_CALLS: Family =
    Family::counter("breaker", "slow_calls", CALL, "Successes and failures that were slow; they are among the calls");
static REJECTED_CALLS: Family =
    Family::counter("breaker", "rejected_calls", CALL, "Calls that were rejected, by reason");
static TRANSITIONS: Family =
    Family::counter("breaker", "transitions", Unit::One("transition"), "Changes of state, by what they were and why");
static WOULD_OPEN: Family = Family::counter(
    "breaker",
    "would_open",
    Unit::One("transition"),
    "How often the circuit would have opened, had it not been in a dry run",
);
static DETECTOR_PANICS: Family =
    Family::counter("breaker", "detector_panics", Unit::One("panic"), "How often the detector panicked");
static STATE: Family =
    Family::gauge("breaker", "state", Unit::One("breaker"), "1 for the state that a circuit is in, 0 for the others");
static OVERRIDE: Family =
    Family::gauge("breaker", "override", Unit::One("breaker"), "1 for the override that stands, 0 for the others");
static LAST_TRANSITION: Family =
    Family::telling_zero("breaker", "last_transition_timestamp", Unit::Seconds, "When the state last changed");
static TALLY: Family =
    Family::gauge("breaker", "tally", CALL, "What a part of the rule counts in its window: failures or slow calls");
static TALLY_CALLS: Family = Family::gauge(
    "breaker",
    "tally_calls",
    CALL,
    "Among how many calls, where the window counts all and holds bad ones",
);
static TALLY_LIMIT: Family = Family::telling_zero(
    "breaker",
    "tally_limit",
    CALL,
    "So many of what a part of the rule counts open the circuit now",
);
static PROBES_IN_FLIGHT: Family =
    Family::gauge("breaker", "probes_in_flight", CALL, "Probes on their way, while a circuit is half-open");
static INFO: Family =
    Family::gauge("breaker", "info", Unit::One("breaker"), "1, with what opens the circuit as labels");

/// Those of the breakers of one name, or of all breakers of registries of one name.
struct Series<'a> {
    breaker: &'a str,
    registry: &'a str,
    counts: &'a Counts,
    /// Other instances make transitions for it, too.
    is_shared: bool,
}

/// Reasons that any breaker may reject by: their counters are there before the first call is rejected, so that the first one is
/// seen to be one more.
const USUAL_REASONS: [RejectReason; 4] =
    [RejectReason::Open, RejectReason::ProbesBusy, RejectReason::ForcedOpen, RejectReason::NotReady];

/// Transitions that any breaker makes, likewise.
const USUAL_TRANSITIONS: [(State, State, &str); 4] = [
    (State::Closed, State::Open, "detected"),
    (State::Open, State::HalfOpen, "cooldown_over"),
    (State::HalfOpen, State::Closed, "probes_succeeded"),
    (State::HalfOpen, State::Open, "probe_failed"),
];

pub(super) fn tell_breakers(survey: &Survey, most_keys: usize, sink: &mut impl Sink) {
    let by_hand = survey.breakers.iter();
    let by_hand =
        by_hand.map(|one| Series { breaker: &one.name, registry: "", counts: &one.counts, is_shared: one.is_shared() });
    let of_registries = survey.registries.iter();
    let of_registries = of_registries.map(|all| Series {
        breaker: "",
        registry: &all.name,
        counts: &all.counts,
        is_shared: all.is_shared(),
    });
    tell_counts(&by_hand.chain(of_registries).collect::<Vec<_>>(), sink);
    tell_states(survey, most_keys, sink);
    tell_overrides(survey, sink);
    tell_windows(&survey.breakers, sink);
}

fn tell_counts(all: &[Series<'_>], sink: &mut impl Sink) {
    sink.family(&CALLS);
    for Series { breaker, registry, counts, .. } in all {
        let Counts { successes, failures, ignored, cancelled, .. } = counts;
        let outcomes = [
            (Outcome::Success, successes),
            (Outcome::Failure, failures),
            (Outcome::Ignored, ignored),
            (Outcome::Cancelled, cancelled),
        ];
        for (outcome, count) in outcomes {
            let labels = [("breaker", *breaker), ("registry", *registry), ("outcome", outcome.as_str())];
            sink.sample(&labels, Value::Count(*count));
        }
    }
    let mut plain = |family, of: fn(&Counts) -> u64| {
        sink.family(family);
        for Series { breaker, registry, counts, .. } in all {
            sink.sample(&[("breaker", *breaker), ("registry", *registry)], Value::Count(of(counts)));
        }
    };
    plain(&SLOW_CALLS, |counts| counts.slow);
    plain(&WOULD_OPEN, |counts| counts.would_open);
    plain(&DETECTOR_PANICS, |counts| counts.detector_panics);
    tell_rejections(all, sink);
    tell_transitions(all, sink);
}

fn tell_rejections(all: &[Series<'_>], sink: &mut impl Sink) {
    sink.family(&REJECTED_CALLS);
    for Series { breaker, registry, counts, .. } in all {
        let others = counts.rejections.iter().filter(|one| !USUAL_REASONS.contains(&one.reason));
        let others = others.map(|one| (one.reason, one.count));
        for (reason, count) in USUAL_REASONS.map(|reason| (reason, counts.rejected(reason))).into_iter().chain(others) {
            let labels = [("breaker", *breaker), ("registry", *registry), ("reason", reason.as_str())];
            sink.sample(&labels, Value::Count(count));
        }
    }
}

fn tell_transitions(all: &[Series<'_>], sink: &mut impl Sink) {
    sink.family(&TRANSITIONS);
    for Series { breaker, registry, counts, is_shared } in all {
        let made = counts.transitions.iter().map(|one| ((one.from, one.to, one.reason), one.origin, one.count));
        let origins: &[Origin] = if *is_shared { &[Origin::Decided, Origin::Adopted] } else { &[Origin::Decided] };
        let is_made = |usual: &(State, State, &str), by: Origin| {
            made.clone().any(|(what, origin, _)| what == *usual && origin == by)
        };
        let usual = origins.iter().flat_map(|by| USUAL_TRANSITIONS.iter().map(|usual| (*usual, *by, 0)));
        let usual = usual.filter(|(usual, by, _)| !is_made(usual, *by));
        for ((from, to, cause), origin, count) in made.clone().chain(usual) {
            let labels = [
                ("breaker", *breaker),
                ("registry", *registry),
                ("from", from.as_str()),
                ("to", to.as_str()),
                ("cause", cause),
                ("origin", origin.as_str()),
            ];
            sink.sample(&labels, Value::Count(count));
        }
    }
}

/// Breakers by hand, and keys in trouble.
fn tell_states(survey: &Survey, most_keys: usize, sink: &mut impl Sink) {
    sink.family(&STATE);
    for one in &survey.breakers {
        for (state, breakers) in one.levels.states() {
            let labels = [("breaker", &*one.name), ("registry", ""), ("state", state.as_str())];
            sink.sample(&labels, Value::Count(breakers));
        }
    }
    for registry in &survey.registries {
        // Of one name there may be several, in registries of one name.
        let mut told = std::collections::BTreeSet::new();
        for (name, now) in registry.troubled.iter().take(most_keys) {
            if told.insert(name) {
                for state in [State::Open, State::HalfOpen] {
                    let labels = [("breaker", &**name), ("registry", &*registry.name), ("state", state.as_str())];
                    sink.sample(&labels, Value::Count(u64::from(*now == state)));
                }
            }
        }
    }
}

fn tell_overrides(survey: &Survey, sink: &mut impl Sink) {
    sink.family(&OVERRIDE);
    for one in &survey.breakers {
        for (kind, breakers) in one.levels.overrides() {
            let labels = [("breaker", &*one.name), ("registry", ""), ("kind", kind.as_str())];
            sink.sample(&labels, Value::Count(breakers));
        }
    }
    sink.family(&LAST_TRANSITION);
    for one in &survey.breakers {
        if let Some(at) = one.last_transition {
            sink.sample(&[("breaker", &*one.name), ("registry", "")], Value::Amount(at));
        }
    }
    sink.family(&INFO);
    for SurveyedBreaker { name, rule, mode, .. } in &survey.breakers {
        let labels = [("breaker", &**name), ("registry", ""), ("rule", rule), ("mode", mode)];
        sink.sample(&labels, Value::Count(1));
    }
}

fn tell_windows(breakers: &[SurveyedBreaker], sink: &mut impl Sink) {
    let parts = breakers.iter().flat_map(|one| {
        let parts = one.parts.iter().zip(&one.limits).zip(0_u32..);
        parts.map(|((part, limit), nth)| (&*one.name, nth.to_string(), part.tally, *limit))
    });
    let parts: Vec<_> = parts.collect();
    sink.family(&TALLY);
    for (breaker, part, tally, _) in &parts {
        let counted = if tally.counted() == Counted::SlowCalls { "slow_calls" } else { "failures" };
        let labels = [("breaker", *breaker), ("registry", ""), ("part", part), ("counted", counted)];
        sink.sample(&labels, Value::Count(tally.count()));
    }
    sink.family(&TALLY_CALLS);
    for (breaker, part, tally, _) in &parts {
        if let Some(calls) = tally.calls().filter(|calls| *calls > 0) {
            sink.sample(&[("breaker", *breaker), ("registry", ""), ("part", part)], Value::Count(calls));
        }
    }
    sink.family(&TALLY_LIMIT);
    for (breaker, part, _, limit) in &parts {
        if let Some(limit) = limit {
            sink.sample(&[("breaker", *breaker), ("registry", ""), ("part", part)], Value::Amount(*limit));
        }
    }
    sink.family(&PROBES_IN_FLIGHT);
    for one in breakers {
        sink.sample(&[("breaker", &*one.name), ("registry", "")], Value::Count(one.probes_in_flight));
    }
}
