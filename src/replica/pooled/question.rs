//! What evidence is asked, and what it answers.

use std::time::Duration;

use crate::circuit::Tally;
use crate::time::Timestamp;

/// Whether the rule was met by calls that ended after `from`, and not after `to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) certainty: Certainty,
    /// Good calls that instances are thought to have had without telling.
    pub(super) presumed: &'a [Presumed],
}

/// How sure the answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Certainty {
    /// There are good calls, not told yet, with which it would be met, apart from `presumed`.
    Possible,
    /// It is met by every order of the calls that the clocks leave open.
    Sure,
}

/// A threshold was reached by a call that ended between these times.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Reached {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) tally: Tally,
    /// The longest wait that a failure of that time asked for.
    pub(super) retry_after: Option<Duration>,
}

/// Good calls at a steady rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Presumed {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
    pub(super) per_second: f64,
}

impl Question<'_> {
    /// Tells whether an order of calls that is not known must be assumed to be the best.
    pub(super) const fn has_margin(&self) -> bool {
        matches!(self.certainty, Certainty::Sure) || !self.presumed.is_empty()
    }

    pub(super) fn is_possible(&self) -> bool {
        self.certainty == Certainty::Possible
    }

    /// How many good calls are presumed between two moments.
    pub(super) fn presumed_between(&self, from: Timestamp, to: Timestamp) -> f64 {
        let of = |presumed: &Presumed| {
            let time = presumed.to.min(to).since(presumed.from.max(from));
            presumed.per_second * time.as_secs_f64()
        };
        self.presumed.iter().map(of).sum()
    }
}

/// The whole calls in a sum of parts.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is never negative")]
pub(super) const fn whole(calls: f64) -> u64 {
    calls as u64
}
