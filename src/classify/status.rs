//! What a status of HTTP says.

use ::http::{HeaderMap, StatusCode};

use super::outcomes::Outcomes;
use super::retry::Retry;
use super::retry_after;
use crate::circuit::Outcome;
use crate::clock::wall_clock;

/// Whose quota the dependency speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quota {
    /// That of one caller among many: it says nothing of the dependency.
    OfOneCaller,
    /// That of this client, all of it.
    OurOwn,
}

/// RFC 8470. The oldest `http` that does has no name for it.
const TOO_EARLY: u16 = 425;

/// Judges a response by its status.
pub(super) fn judge_status(
    status: StatusCode,
    headers: &HeaderMap,
    quota: Quota,
    outcomes: &Outcomes,
) -> (Outcome, Retry) {
    let failure = || {
        let outcome = retry_after::of(headers, wall_clock()).map_or(Outcome::Failure, Outcome::FailureAfter);
        (outcome, Retry::of(outcome))
    };
    let (by_itself, retry) = match status {
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => (Outcome::Ignored, Retry::Never),
        StatusCode::TOO_MANY_REQUESTS if quota == Quota::OfOneCaller => (Outcome::Ignored, failure().1),
        StatusCode::TOO_MANY_REQUESTS => failure(),
        StatusCode::REQUEST_TIMEOUT => (Outcome::Success, failure().1),
        StatusCode::MISDIRECTED_REQUEST => (Outcome::Success, Retry::Once),
        status if status.as_u16() == TOO_EARLY => (Outcome::Success, Retry::Once),
        status if status.is_server_error() => failure(),
        _ => (Outcome::Success, Retry::Never),
    };
    let outcome = match outcomes.of_status(status.as_u16()) {
        Some(Outcome::Failure) => failure().0,
        other => other.unwrap_or(by_itself),
    };
    (outcome, retry)
}

/// Tells whether another attempt could mend what such a status says. What is configured changes nothing of that.
pub(super) fn is_made_again(status: StatusCode) -> bool {
    judge_status(status, &HeaderMap::new(), Quota::OfOneCaller, &Outcomes::default()).1 != Retry::Never
}
