//! The one breaker that sees every call.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::event::{At, MS};
use crate::circuit::Call;
use crate::circuit::detector::{Detector, Limit, Over, Shape};
use crate::time::Timestamp;

/// The one breaker's detector, and when its rule was met. Where that is about a share of the calls of some time, the time is
/// exact, which a breaker's own is to a sixteenth.
pub(super) struct Truth {
    detector: Box<dyn Detector>,
    share: Option<Share>,
    calls: VecDeque<(Timestamp, bool)>,
    bad: u64,
    /// From when to when the rule was met, in this generation.
    met: Vec<(At, At)>,
    /// How often it was, a moment apart.
    pub(super) times: u64,
}

#[derive(Clone, Copy)]
struct Share {
    rate: f64,
    within: Duration,
    least: u64,
}

/// Calls of several instances are known to a tick, and to what their clocks differ by.
const TOLERANCE: At = 65 * MS;

impl Truth {
    pub(super) fn new(detector: Box<dyn Detector>, is_exact: bool) -> Self {
        let share = match detector.shape() {
            Shape::Threshold(threshold) => match (threshold.limit, threshold.over()) {
                (Limit::Rate(rate), Over::Time(within)) => {
                    Some(Share { rate, within, least: threshold.min_calls.into() })
                }
                _ => None,
            },
            _ => None,
        };
        let share = share.filter(|_| is_exact);
        Self { detector, share, calls: VecDeque::new(), bad: 0, met: Vec::new(), times: 0 }
    }

    /// A call has ended at `at`, which is `now` by the breaker's clock. Tells whether the rule is met by it.
    pub(super) fn sees(&mut self, at: At, now: Timestamp, failed: bool) -> bool {
        let is_met = self.meets(now, failed);
        if is_met {
            match self.met.last_mut() {
                Some((_, last)) if at - *last < 5 * MS => *last = at,
                _ => {
                    self.met.push((at, at));
                    self.times += 1;
                }
            }
        }
        is_met
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    fn meets(&mut self, now: Timestamp, failed: bool) -> bool {
        let Some(Share { rate, within, least }) = self.share else {
            self.detector.record(&if failed { Call::failure(now) } else { Call::success(now) });
            return failed && self.detector.verdict(now);
        };
        self.calls.push_back((now, failed));
        self.bad += u64::from(failed);
        while let Some((_, failed)) = self.calls.pop_front_if(|(at, _)| now.since(*at) >= within) {
            self.bad -= u64::from(failed);
        }
        let calls = self.calls.len() as u64;
        failed && calls >= least && self.bad as f64 >= rate * calls as f64
    }

    /// Tells whether a verdict about a moment is right.
    pub(super) fn is_met_at(&self, moment: At) -> bool {
        // A rule over a time is judged with and without its oldest calls.
        let tolerance = TOLERANCE + crate::time::nanos(self.detector.horizon().age_of()) / 16;
        self.met.iter().any(|(from, to)| *from <= moment + tolerance && moment <= *to + tolerance)
    }

    /// The circuit has closed.
    pub(super) fn reset(&mut self) {
        self.detector.reset();
        self.calls.clear();
        self.bad = 0;
        self.met.clear();
    }
}
