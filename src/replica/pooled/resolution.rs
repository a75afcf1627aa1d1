//! How exactly instances must know when their good calls ended.

use std::time::Duration;

use super::rule::Rule;
use crate::circuit::Detector;

/// Calls that only a detector can judge are shown to it in the order of their times.
const OF_OPAQUE_CALLS: Duration = Duration::from_millis(64);

/// How exactly it must be known when good calls ended, where the calls of instances are judged together; `None`: not at all.
pub(crate) fn time_resolution(detector: &dyn Detector) -> Option<Duration> {
    Rule::new(&detector.shape()).map_or(Some(OF_OPAQUE_CALLS), |rule| rule.resolution())
}
