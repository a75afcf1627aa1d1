//! Events in logs, by the crate `tracing`.

use std::time::Duration;

use tracing::level_filters::{LevelFilter, STATIC_MAX_LEVEL};
use tracing::{Level, debug, event, info, warn};

use super::details::Details;
use super::event::{Event, EventKind};
use crate::circuit::{RejectReason, StandingOverride, State, Tally, TransitionReason};
use crate::guard::guarded;
#[cfg(feature = "fleet")]
use crate::store::{Hearer, StoreTrouble};

const BREAKER: &str = "fusebox::breaker";
#[cfg(feature = "fleet")]
const STORE: &str = "fusebox::store";

/// Tells logs of an event. What subscribes to them is a user's code.
pub(in crate::breaker) fn tell(registry: &str, event: &Event, details: Option<&Details>) {
    guarded(|| tell_unguarded(registry, event, details.unwrap_or(&Details::default())));
}

/// A breaker's own news; single calls are told where they are made.
fn tell_unguarded(registry: &str, event: &Event, details: &Details) {
    let breaker = event.name();
    let rule = details.rule.as_deref();
    match event.kind() {
        EventKind::StateChanged { from, to, reason } => tell_change(registry, event, details, (from, to), reason),
        EventKind::WouldOpen { tally } => {
            let (counted, count, calls) = (tally.counted().as_str(), tally.count(), tally.calls());
            info!(target: BREAKER, breaker, registry, counted, count, calls, rule, "would have opened");
        }
        EventKind::DetectorPanicked => warn!(target: BREAKER, breaker, registry, rule, "detector panicked"),
        EventKind::Unguarded => {
            warn!(target: BREAKER, breaker, registry, "request without a key was not guarded");
        }
        EventKind::TemplateFailed => {
            let error = event.config_error().map(ToString::to_string);
            warn!(target: BREAKER, breaker, registry, error, "template refused a name");
        }
        EventKind::FallbackKeyUsed => {
            info!(target: BREAKER, breaker, registry, "fallback key used");
        }
        EventKind::Missed { events } => {
            warn!(target: BREAKER, breaker, registry, events, "events were lost on the way to a slow listener");
        }
        EventKind::Advice { advice } => {
            let (kind, text) = (advice.as_str(), advice.to_string());
            info!(target: BREAKER, breaker, registry, kind, advice = text, "advice");
        }
        EventKind::ProtectionBegan => {
            warn!(target: BREAKER, breaker, registry, "instance rejects calls until the fleet has a verdict");
        }
        EventKind::ProtectionEnded => {
            info!(target: BREAKER, breaker, registry, "instance rejects no more calls by itself");
        }
        EventKind::EvidenceDropped => {
            warn!(target: BREAKER, breaker, registry, "too many rules share the breaker");
        }
        #[cfg(feature = "fleet")]
        EventKind::Judged { verdict } => {
            let verdict = verdict.to_string();
            debug!(target: BREAKER, breaker, registry, verdict, "the fleet has a verdict");
        }
        #[cfg(feature = "fleet")]
        _ => tell_of_store(registry, event, details),
        #[cfg(not(feature = "fleet"))]
        _ => {}
    }
}

/// Writes an event of a change of state with the fields that all of them have.
macro_rules! changed {
    ($level:ident, $event:ident, $registry:ident, $from:ident, $to:ident, $reason:ident; $message:literal, $($fields:tt)*) => {
        event!(
            target: BREAKER,
            Level::$level,
            breaker = $event.name(),
            registry = $registry,
            from = $from.as_str(),
            to = $to.as_str(),
            cause = $reason.as_str(),
            $($fields)*
            generation = $event.generation().get(),
            scope = $event.scope().as_str(),
            origin = $event.origin().as_str(),
            $message
        )
    };
}

fn tell_change(registry: &str, event: &Event, details: &Details, (from, to): (State, State), reason: TransitionReason) {
    let order = details.order.as_ref();
    let kind = order.map(|order| order.kind().as_str());
    let why = order.map(StandingOverride::reason);
    let actor = order.and_then(StandingOverride::by);
    let expires_in_ms = order.and_then(StandingOverride::expires_after).map(millis);
    let open_for_ms = details.open_for.map(millis);
    match (to, reason) {
        (State::Open, TransitionReason::Overridden) => changed!(WARN, event, registry, from, to, reason;
            "circuit forced open", kind, reason = why, actor, expires_in_ms,),
        (_, TransitionReason::Overridden) => changed!(INFO, event, registry, from, to, reason;
            "override set", kind, reason = why, actor, expires_in_ms, open_for_ms,),
        (_, TransitionReason::Resumed | TransitionReason::OverrideExpired) => {
            changed!(INFO, event, registry, from, to, reason; "override ended", kind, reason = why, actor, open_for_ms,);
        }
        (State::Open, _) => {
            let tally = if let TransitionReason::Detected(tally) = reason { Some(tally) } else { None };
            let votes = if let TransitionReason::Voted(votes) = reason { Some(votes) } else { None };
            changed!(WARN, event, registry, from, to, reason; "circuit opened",
                counted = tally.map(|tally| tally.counted().as_str()),
                count = tally.as_ref().map(Tally::count),
                calls = tally.as_ref().and_then(Tally::calls),
                votes,
                rule = details.rule.as_deref(),
                openings = details.openings,
                cooldown_ms = details.cooldown.map(millis),
            );
        }
        (State::HalfOpen, _) => changed!(INFO, event, registry, from, to, reason; "circuit half-open",),
        (State::Closed, _) => {
            changed!(INFO, event, registry, from, to, reason; "circuit closed", open_for_ms, rejected = details.rejected,);
        }
    }
}

/// News of the store, and of the record in it. A store that is away is told of once, whichever breaker is the first.
#[cfg(feature = "fleet")]
fn tell_of_store(registry: &str, event: &Event, details: &Details) {
    if !event.is_news_for(Hearer::Logs) {
        return;
    }
    let (breaker, trouble) = (event.name(), event.store_trouble());
    let store = trouble.map(StoreTrouble::store);
    let (error, lasted) = (trouble.map(StoreTrouble::why), trouble.map(|trouble| millis(trouble.lasted())));
    match event.kind() {
        EventKind::StoreDegraded => warn!(target: STORE, store, error, "store away"),
        EventKind::StoreRecovered => info!(target: STORE, store, away_for_ms = lasted, "store back"),
        EventKind::StoreImpaired => warn!(target: STORE, store, error, "store impaired"),
        EventKind::StoreMended => info!(target: STORE, store, impaired_for_ms = lasted, "store mended"),
        EventKind::BatchUnreadable => warn!(target: STORE, breaker, registry, "batch unreadable"),
        EventKind::RecordUnreadable => {
            warn!(target: STORE, breaker, registry, error = details.error.as_deref(), "record unreadable");
        }
        EventKind::ConfigDrift => info!(target: STORE, breaker, registry, "config drift"),
        _ => {}
    }
}

/// Tells whether anything listens at all to what breakers tell unasked.
#[inline]
pub(in crate::breaker) fn hears() -> bool {
    Level::WARN <= STATIC_MAX_LEVEL && Level::WARN <= LevelFilter::current()
}

/// Tells whether something listens to what happens to single calls.
#[inline]
pub(in crate::breaker) fn hears_of_calls() -> bool {
    Level::DEBUG <= STATIC_MAX_LEVEL && Level::DEBUG <= LevelFilter::current()
}

/// Tells whether it is these calls that something listens to: it may be others' events.
pub(in crate::breaker) fn is_heard() -> bool {
    guarded(|| tracing::enabled!(target: BREAKER, Level::DEBUG)).unwrap_or(false)
}

/// A call was rejected. To be told by the thread that asked, holding no lock: the event is in the caller's span.
pub(in crate::breaker) fn rejected(breaker: &str, registry: &str, reason: RejectReason, wait: Option<Duration>) {
    let (reason, retry_after_ms) = (reason.as_str(), wait.map(millis));
    guarded(|| debug!(target: BREAKER, breaker, registry, reason, retry_after_ms, "call rejected"));
}

/// A call failed. To be told as a rejection is, before what follows from it.
pub(in crate::breaker) fn failed(breaker: &str, registry: &str, took: Option<Duration>, probe: bool, abandoned: bool) {
    let took_ms = took.map(millis);
    guarded(|| debug!(target: BREAKER, breaker, registry, took_ms, probe, abandoned, "call failed"));
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
