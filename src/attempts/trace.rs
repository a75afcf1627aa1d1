//! Retries in logs, by the crate `tracing`.

use std::time::Duration;

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, debug, info};

use super::event::{RetryEvent, RetryEventKind};
use crate::guard::guarded;

const RETRY: &str = "fusebox::retry";

/// Tells logs of an event, in the span that polls the call. What subscribes to them is a user's code.
#[inline]
pub(super) fn tell(retry: &str, event: &RetryEvent) {
    let is_heard = Level::DEBUG <= STATIC_MAX_LEVEL && Level::DEBUG <= LevelFilter::current();
    if is_heard || event.kind == RetryEventKind::Unlimited {
        tell_guarded(retry, event);
    }
}

#[cold]
#[inline(never)]
fn tell_guarded(retry: &str, event: &RetryEvent) {
    guarded(|| tell_unguarded(retry, event));
}

fn tell_unguarded(retry: &str, event: &RetryEvent) {
    let (attempt, outcome) = (event.attempt, event.outcome.as_str());
    match event.kind {
        RetryEventKind::Retrying { after } => {
            debug!(target: RETRY, retry, attempt, outcome, delay_ms = millis(after), "retrying");
        }
        RetryEventKind::Stopped { reason } => {
            let (reason, total_delay_ms) = (reason.as_str(), millis(event.total_delay));
            debug!(target: RETRY, retry, reason, attempts = attempt, outcome, total_delay_ms, "given up");
        }
        RetryEventKind::Unlimited => {
            info!(target: RETRY, retry, "nothing limits these retries, give them a budget and a deadline");
        }
        RetryEventKind::Succeeded => {}
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
