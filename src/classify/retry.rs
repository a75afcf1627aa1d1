//! What a retry makes of a result.

use std::time::Duration;

use crate::circuit::Outcome;

/// Whether another attempt could mend a result, and what it takes. The answer of
/// [`Classify::retry`](crate::Classify::retry).
///
/// ```
/// use std::time::Duration;
/// use fusebox::{Outcome, classify::Retry};
///
/// assert_eq!(Retry::of(Outcome::Failure), Retry::IfIdempotent);
/// assert_eq!(Retry::of(Outcome::FailureAfter(Duration::from_secs(5))), Retry::After(Duration::from_secs(5)));
/// assert_eq!(Retry::of(Outcome::Success), Retry::Never);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Retry {
    /// There is no further attempt. The result is good, or no attempt would make it better.
    Never,
    /// Another attempt may help, where the request may be sent twice. It may have been processed.
    IfIdempotent,
    /// As [`IfIdempotent`](Self::IfIdempotent), but not before that time. The dependency said so (`Retry-After`). The
    /// wait is that time or the one of the backoff, whichever is longer, and up to a tenth of that time more, so that
    /// callers who were told the same do not come back together. A time beyond
    /// [`retry_after_cap`](crate::RetryConfigBuilder::retry_after_cap) ends the retries.
    After(Duration),
    /// As [`IfIdempotent`](Self::IfIdempotent), after exactly that time. It is cut at
    /// [`retry_after_cap`](crate::RetryConfigBuilder::retry_after_cap); the backoff begins anew after it. That is what
    /// gRPC's servers mean by `grpc-retry-pushback-ms`.
    Pushback(Duration),
    /// The dependency certainly did not process the request. It may be sent again, idempotent or not. The first time in
    /// a call that is at once and costs no budget; it is one of `max_retries`.
    Unprocessed,
    /// One more attempt at once, idempotent or not. It goes over another connection where the client can: the
    /// dependency did not process the request as it came (421 Misdirected Request, 425 Too Early). The same answer
    /// again is final.
    Once,
    /// There is no further attempt, because the dependency asks for none. The attempt counts against the budget as if it
    /// could be made again. That is what gRPC's servers mean by a negative `grpc-retry-pushback-ms`.
    Refused,
}

impl Retry {
    /// Returns the answer in snake case, as a label in logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::IfIdempotent => "if_idempotent",
            Self::After(_) => "after",
            Self::Pushback(_) => "pushback",
            Self::Unprocessed => "unprocessed",
            Self::Once => "once",
            Self::Refused => "refused",
        }
    }

    /// Returns what follows from an outcome alone. A failure is worth another attempt, after the time that it names.
    #[inline]
    #[must_use]
    pub const fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failure => Self::IfIdempotent,
            Outcome::FailureAfter(wait) => Self::After(wait),
            _ => Self::Never,
        }
    }

    /// Tells whether the request may be sent again only where it is idempotent.
    #[cfg(feature = "http")]
    pub(crate) const fn needs_idempotence(self) -> bool {
        matches!(self, Self::IfIdempotent | Self::After(_) | Self::Pushback(_))
    }
}
