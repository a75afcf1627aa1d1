//! Families about retries.

use super::family::{Family, Unit, Value};
use super::sink::Sink;
use crate::attempts::{RetryCounts, budgets_by_name};

const ATTEMPT: Unit = Unit::One("attempt");
const CALL: Unit = Unit::One("call");

static CALLS: Family = Family::counter("retry", "calls", CALL, "Calls that came in");
static ATTEMPTS: Family = Family::counter("retry", "attempts", ATTEMPT, "Attempts that have ended");
static REJECTED_ATTEMPTS: Family =
    Family::counter("retry", "rejected_attempts", ATTEMPT, "Attempts that a circuit breaker rejected");
static RETRIES: Family = Family::counter("retry", "retries", ATTEMPT, "Attempts after the first");
static RECOVERED: Family = Family::counter("retry", "recovered", CALL, "Calls that succeeded by a retry");
static STOPPED: Family = Family::counter("retry", "stopped", CALL, "Calls that ended without success, by reason");
static DELAY: Family = Family::counter("retry", "delay", Unit::Seconds, "Waits between attempts, all together");

static BUDGET: Family = Family::telling_zero(
    "retry",
    "budget_available",
    ATTEMPT,
    "Retries that the budget allows now, where there is one",
);

pub(super) fn tell_retries(sink: &mut impl Sink) {
    let all = RetryCounts::by_name();
    let plain: [(&'static Family, fn(&RetryCounts) -> Value); 6] = [
        (&CALLS, |counts| Value::Count(counts.calls)),
        (&ATTEMPTS, |counts| Value::Count(counts.attempts)),
        (&REJECTED_ATTEMPTS, |counts| Value::Count(counts.rejected_attempts)),
        (&RETRIES, |counts| Value::Count(counts.retries)),
        (&RECOVERED, |counts| Value::Count(counts.recovered)),
        (&DELAY, |counts| Value::Amount(counts.total_delay.as_secs_f64())),
    ];
    for (family, of) in plain {
        sink.family(family);
        for (name, counts) in &all {
            sink.sample(&[("retry", name)], of(counts));
        }
    }
    sink.family(&BUDGET);
    for (name, available) in budgets_by_name() {
        sink.sample(&[("retry", &name)], Value::Count(available));
    }
    sink.family(&STOPPED);
    for (name, counts) in &all {
        for (reason, count) in stopped(counts) {
            sink.sample(&[("retry", name), ("reason", reason)], Value::Count(count));
        }
    }
}

/// As [`StopReason`](crate::attempts::StopReason) spells them; that all retries were made and that the backoff has ended are
/// counted as one.
const fn stopped(counts: &RetryCounts) -> [(&'static str, u64); 8] {
    [
        ("max_retries", counts.exhausted),
        ("deadline", counts.deadline),
        ("budget", counts.budget_refused),
        ("not_retryable", counts.not_retryable),
        ("not_replayable", counts.not_replayable),
        ("retry_after", counts.retry_after),
        ("rejected", counts.rejected),
        ("not_ready", counts.not_ready),
    ]
}
