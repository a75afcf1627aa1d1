//! What tests tell evidence, without an instance behind it.

use std::time::Duration;

use super::evidence::{Judgement, RuleEvidence};
use super::rule::Rule;
use super::telling::{Telling, Trip, fingerprint};
use super::told::{Stretch, ToldCalls};
use super::untold::Moment;
use crate::circuit::detector::Detector;
use crate::time::Timestamp;

/// A call of a test: when it ended, whether it failed, whether it was slow.
pub(in crate::replica) type Ended = (Timestamp, bool, bool);

/// What an instance of a detector's rule tells at `now` of calls that ended in this order.
pub(in crate::replica) fn telling(
    writer: u64,
    detector: &dyn Detector,
    calls: impl IntoIterator<Item = Ended>,
    now: Timestamp,
) -> Telling {
    let shape = Rule::new(&detector.shape());
    let slow = Some(Duration::from_secs(9));
    let classes = shape.clone().or_else(|| Rule::new(&crate::circuit::detector::consecutive_failures(1).shape()));
    let class = |failed, slow_for| classes.as_ref().map(|rule| rule.class(failed, slow_for)).unwrap_or_default();
    let told = |(at, failed, is_slow): Ended| ToldCalls {
        at,
        calls: Stretch::new(class(failed, slow.filter(|_| is_slow)), 1),
        retry_after: None,
    };
    let calls: Vec<_> = calls.into_iter().map(told).collect();
    Telling {
        writer,
        rule: fingerprint(&detector.rule()),
        took: if shape.is_none() { vec![None; calls.len()] } else { Vec::new() },
        shape,
        dry_runs: 0,
        calls,
        up_to: now,
        rate: 0.0,
        promise: 0.0,
        before: None,
        answers: None,
        trip: None,
        clock_error: Duration::ZERO,
        has_push: true,
    }
}

impl Telling {
    pub(in crate::replica) fn failures(&self) -> u64 {
        self.calls.iter().filter(|told| told.calls.class.failed()).map(|told| u64::from(told.calls.count)).sum()
    }

    pub(in crate::replica) fn answering(self, suspicion: u64) -> Self {
        Self { answers: Some(suspicion), ..self }
    }

    pub(in crate::replica) fn with_rate(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    pub(in crate::replica) fn promising(self, promise: f64) -> Self {
        Self { rate: promise, promise, ..self }
    }

    pub(in crate::replica) fn tripped(self, trip: Trip) -> Self {
        Self { trip: Some(trip), ..self }
    }

    pub(in crate::replica) fn deaf(self) -> Self {
        Self { has_push: false, ..self }
    }

    pub(in crate::replica) fn off_by(self, clock_error: Duration) -> Self {
        Self { clock_error, ..self }
    }
}

impl Moment {
    /// Nothing is asked, and the clocks of the instance and the store show the same.
    pub(in crate::replica) const fn unasked(now: Timestamp, kept_for: Duration) -> Self {
        let clock_error = Duration::ZERO;
        Self { here: now, there: now, answers: None, up_to: now, clock_error, has_push: true, kept_for }
    }
}

impl RuleEvidence {
    /// What an instance finds that hears notices, where nothing waited by a clock of its own.
    pub(in crate::replica) fn judged_by(&mut self, writer: u64, now: Timestamp) -> Judgement {
        self.judge(now, (writer, true), None)
    }
}
