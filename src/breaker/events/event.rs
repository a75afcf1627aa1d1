//! What listeners are told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::News;
use crate::circuit::{
    Advice, Fact, Generation, Origin, Outcome, RejectReason, State, StateScope, Tally, TransitionReason,
};
#[cfg(feature = "fleet")]
use crate::circuit::{FleetFact, Verdict};
use crate::error::ConfigError;
use crate::one_line::OneLine;
#[cfg(feature = "fleet")]
use crate::store::{Hearer, StoreTrouble};
use crate::time::Timestamp;

/// Something that happened to a breaker.
///
/// `Display` gives a line for a log:
///
/// ```
/// use std::sync::{Arc, Mutex};
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// let lines = Arc::new(Mutex::new(Vec::new()));
/// let seen = lines.clone();
/// let config = CircuitBreakerConfig::builder("payments")
///     .on_event(move |event| seen.lock().unwrap().push(event.to_string()))
///     .build()?;
/// CircuitBreaker::new(config).trip()?;
/// assert_eq!(lines.lock().unwrap()[0], "payments: closed -> open (tripped by command)");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// For a program it has the same in parts:
///
/// ```
/// use futures::{StreamExt, executor::block_on};
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, EventKind, ManualClock, State, clock::Timestamp};
///
/// let config = CircuitBreakerConfig::builder("payments").clock(ManualClock::new()).build()?;
/// let breaker = CircuitBreaker::new(config);
/// let mut events = breaker.events();
/// breaker.trip()?;
/// let event = block_on(events.next()).unwrap();
/// assert_eq!((event.name(), event.at()), ("payments", Timestamp::ZERO));
/// assert_eq!(event.generation(), breaker.snapshot().generation);
/// assert!(matches!(event.kind(), EventKind::StateChanged { to: State::Open, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    pub(in crate::breaker) breaker: Arc<str>,
    pub(in crate::breaker) what: Occurrence,
}

/// What happened, on its way to the listeners.
#[derive(Clone, Debug)]
pub(in crate::breaker) struct Occurrence {
    pub(in crate::breaker) kind: EventKind,
    pub(in crate::breaker) generation: Generation,
    pub(in crate::breaker) origin: Origin,
    pub(in crate::breaker) scope: StateScope,
    pub(in crate::breaker) at: Timestamp,
    /// Why there is no breaker.
    pub(in crate::breaker) config_error: Option<Arc<ConfigError>>,
    /// What is wrong with the store, or is no more.
    #[cfg(feature = "fleet")]
    pub(in crate::breaker) store_trouble: Option<Arc<StoreTrouble>>,
}

impl News for Occurrence {
    fn is_change(&self) -> bool {
        matches!(self.kind, EventKind::StateChanged { .. })
    }
}

impl News for Event {
    fn is_change(&self) -> bool {
        self.what.is_change()
    }
}

impl Occurrence {
    /// Something that this instance saw, or did, by itself.
    pub(in crate::breaker) const fn new(kind: EventKind, generation: Generation, at: Timestamp) -> Self {
        Self {
            kind,
            generation,
            origin: Origin::Decided,
            scope: StateScope::Instance,
            at,
            config_error: None,
            #[cfg(feature = "fleet")]
            store_trouble: None,
        }
    }
}

/// The kinds of events.
///
/// ```
/// use std::sync::mpsc;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, EventKind};
///
/// fn counter(kind: EventKind) -> &'static str {
///     match kind {
///         EventKind::StateChanged { to, .. } => to.as_str(),
///         EventKind::Ended { outcome, .. } => outcome.as_str(),
///         EventKind::Rejected { reason, .. } => reason.as_str(),
///         other => other.as_str(),
///     }
/// }
/// let (count, counted) = mpsc::channel();
/// let config = CircuitBreakerConfig::builder("payments")
///     .on_event(move |event| count.send(counter(event.kind())).unwrap())
///     .build()?;
/// let breaker = CircuitBreaker::new(config);
/// breaker.acquire()?.failure();
/// breaker.trip()?;
/// assert_eq!(counted.try_iter().collect::<Vec<_>>(), ["failure", "open"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// The state changed, or was confirmed by a command. `reset()` while closed confirms it, and so does an override
    /// that changes nothing; every such event begins a new generation.
    #[non_exhaustive]
    StateChanged {
        /// The state before.
        from: State,
        /// The state after.
        to: State,
        /// Why.
        reason: TransitionReason,
    },
    /// In a dry run, the circuit would have opened.
    #[non_exhaustive]
    WouldOpen {
        /// What the detector tripped on.
        tally: Tally,
    },
    /// A call ended. Failures and probes only, unless the breaker was built with
    /// [`call_events`](crate::CircuitBreakerConfigBuilder::call_events).
    #[non_exhaustive]
    Ended {
        /// How, as it was counted. A call that was given up and counts as a failure is told as one.
        outcome: Outcome,
        /// How long it took, where durations are measured. It is the whole of a response that was watched to its end;
        /// what makes a call slow is the time to its head.
        took: Option<Duration>,
        /// Whether it was a probe.
        probe: bool,
        /// Whether it failed by being given up after
        /// [`abandoned_after`](crate::CircuitBreakerConfigBuilder::abandoned_after).
        abandoned: bool,
    },
    /// A call was rejected. Only with [`call_events`](crate::CircuitBreakerConfigBuilder::call_events).
    #[non_exhaustive]
    Rejected {
        /// Why.
        reason: RejectReason,
    },
    /// The detector panicked; its window was reset.
    DetectorPanicked,
    /// A keyed layer has found a request without a key. It lets such requests through unguarded. Give the layer a
    /// [`fallback_key`](crate::CircuitBreakerLayer::fallback_key), or key by something that each request has. Told once
    /// by each [`Registry`](crate::Registry), whose [`unguarded`](crate::Registry::unguarded) counts them. The event's
    /// breaker is none: it is named `(unguarded)`.
    Unguarded,
    /// A registry's template has refused the name of the event's breaker. So there is none: [`Event::config_error`]
    /// says why. Its requests have the layer's [`fallback_key`](crate::CircuitBreakerLayer::fallback_key), else an
    /// overflow breaker, and where the template refuses that as well, they are not guarded. Told once by each registry.
    TemplateFailed,
    /// The breaker has come to be that guards requests without a key. Those are the requests of a
    /// [`fallback_key`](crate::CircuitBreakerLayer::fallback_key), or those for which axum has matched no route. One of
    /// them can shut out the others.
    FallbackKeyUsed,
    /// The listener, or the reader, was too slow. So many events before this one were lost. Changes of state are lost
    /// last, and never the newest.
    #[non_exhaustive]
    Missed {
        /// How many.
        events: u64,
    },
    /// The store that the fleet shares is away. This instance is on its own, with all its breakers over that store. A
    /// listener that was written once and given to several of them, as a registry's template does, is told once for
    /// each outage: of listeners of one type, the first. `Event::store_trouble` (with `fleet`) says which store it is,
    /// and why.
    StoreDegraded,
    /// The store answers again.
    StoreRecovered,
    /// The store works, and something beside does not. It may not publish, notices do not come through a pooler, its
    /// log is full. Whatever is written stands, and instances learn of it by polls, later. Told once, as an outage is;
    /// `Event::store_trouble` says what it is.
    StoreImpaired,
    /// What did not work beside the store works again. `Event::store_trouble` says what it was.
    StoreMended,
    /// Something in the store that should be a batch is none. It was among those that instances leave there for one
    /// another, and is dropped.
    BatchUnreadable,
    /// The store holds a record that this release cannot use. It is newer, not ours, or damaged. A newer or foreign one
    /// is left alone, and this breaker is on its own; a damaged one is replaced by an instance that knows what it said.
    RecordUnreadable,
    /// Other instances of the fleet judge by another rule. They do while a deploy rolls.
    ConfigDrift,
    /// Instances of more than four rules share the breaker. What those of one had told gave way.
    EvidenceDropped,
    /// The calls of this instance alone meet the rule. It rejects calls by itself, until the fleet has a verdict.
    ProtectionBegan,
    /// It does so no more: there is a verdict, or no need of one.
    ProtectionEnded,
    /// The fleet has reached a verdict. Told by each instance as it hears of it, after the change of state.
    #[cfg(feature = "fleet")]
    #[non_exhaustive]
    Judged {
        /// What it rests on.
        verdict: Verdict,
    },
    /// The breaker works, and would work better otherwise. Told once for each kind of advice.
    #[non_exhaustive]
    Advice {
        /// With what.
        advice: Advice,
    },
}

impl EventKind {
    /// Returns the kind in snake case, as a metrics label. What it is about has labels of its own.
    ///
    /// ```
    /// use fusebox::EventKind;
    ///
    /// assert_eq!(EventKind::StoreDegraded.as_str(), "store_degraded");
    /// ```
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::StateChanged { .. } => "state_changed",
            Self::WouldOpen { .. } => "would_open",
            Self::Ended { .. } => "ended",
            Self::Rejected { .. } => "rejected",
            Self::DetectorPanicked => "detector_panicked",
            Self::Unguarded => "unguarded",
            Self::TemplateFailed => "template_failed",
            Self::FallbackKeyUsed => "fallback_key_used",
            Self::Missed { .. } => "missed",
            Self::StoreDegraded => "store_degraded",
            Self::StoreRecovered => "store_recovered",
            Self::StoreImpaired => "store_impaired",
            Self::StoreMended => "store_mended",
            Self::BatchUnreadable => "batch_unreadable",
            Self::RecordUnreadable => "record_unreadable",
            Self::ConfigDrift => "config_drift",
            Self::EvidenceDropped => "evidence_dropped",
            Self::ProtectionBegan => "protection_began",
            Self::ProtectionEnded => "protection_ended",
            #[cfg(feature = "fleet")]
            Self::Judged { .. } => "judged",
            Self::Advice { .. } => "advice",
        }
    }
}

impl From<Fact> for EventKind {
    fn from(fact: Fact) -> Self {
        match fact {
            Fact::Transition(t) => Self::StateChanged { from: t.from, to: t.to, reason: t.reason },
            Fact::WouldOpen(tally) => Self::WouldOpen { tally },
            Fact::DetectorPanicked => Self::DetectorPanicked,
            #[cfg(feature = "fleet")]
            Fact::Fleet(fact) => match fact {
                FleetFact::StoreDegraded => Self::StoreDegraded,
                FleetFact::StoreRecovered => Self::StoreRecovered,
                FleetFact::StoreImpaired => Self::StoreImpaired,
                FleetFact::StoreMended => Self::StoreMended,
                FleetFact::BatchUnreadable => Self::BatchUnreadable,
                FleetFact::RecordUnreadable => Self::RecordUnreadable,
                FleetFact::ConfigDrift => Self::ConfigDrift,
                FleetFact::EvidenceDropped => Self::EvidenceDropped,
                FleetFact::ProtectionBegan => Self::ProtectionBegan,
                FleetFact::ProtectionEnded => Self::ProtectionEnded,
                FleetFact::Judged(verdict) => Self::Judged { verdict },
                FleetFact::Advised(advice) => Self::Advice { advice },
            },
        }
    }
}

impl Event {
    /// Returns the name of the breaker.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.breaker
    }

    /// Returns the name of the breaker.
    #[must_use]
    #[deprecated(since = "0.2.0", note = "it is called `name`")]
    pub fn breaker(&self) -> &str {
        self.name()
    }

    /// Returns what happened.
    #[must_use]
    pub const fn kind(&self) -> EventKind {
        self.what.kind
    }

    /// Returns the generation it happened in; after a change of state, the new one. For a change of the whole fleet's
    /// [`scope`](Self::scope) it is the fleet's generation: the same number in every instance.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.what.generation
    }

    /// Returns who made the change. It is this instance, or another one whose decision it follows. Over a whole fleet,
    /// exactly one instance tells of each of the fleet's generations that it [decided](Origin::Decided) it.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.what.origin
    }

    /// Returns whose state changed: this instance's, or the whole fleet's.
    #[must_use]
    pub const fn scope(&self) -> StateScope {
        self.what.scope
    }

    /// Returns what is wrong with the configuration that a registry's template [refused](EventKind::TemplateFailed).
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, CircuitBreakerLayer, EventKind, Registry};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let registry = Registry::new(|name| {
    ///     CircuitBreakerConfig::builder(if name == "-" { "" } else { name })
    ///         .on_event(|event| {
    ///             if let Some(error) = event.config_error() {
    ///                 assert_eq!((event.name(), event.kind()), ("-", EventKind::TemplateFailed));
    ///                 eprintln!("no breaker for `{}`: {error}", event.name());
    ///             }
    ///         })
    ///         .build()
    /// });
    /// let layer = CircuitBreakerLayer::keyed(registry.clone(), |name: &String| Some(name));
    /// let service = layer.layer(service_fn(|_: String| async { Ok::<_, fusebox::BoxError>("done") }));
    /// service.oneshot("-".to_owned()).await?;
    /// assert_eq!((registry.overflowed(), registry.unguarded()), (1, 0));
    /// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn config_error(&self) -> Option<&ConfigError> {
        self.what.config_error.as_deref()
    }

    /// Returns when it happened, by the breaker's clock.
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.what.at
    }
}

#[cfg(feature = "fleet")]
impl Event {
    /// Returns what is known of an outage of the store, or of a part of its work. It is there for the events of an
    /// outage that [began](EventKind::StoreDegraded) or [ended](EventKind::StoreRecovered), and of what
    /// [does not work](EventKind::StoreImpaired), or [does again](EventKind::StoreMended).
    #[must_use]
    pub fn store_trouble(&self) -> Option<&StoreTrouble> {
        self.what.store_trouble.as_deref()
    }

    /// Tells whether that one has yet to hear of it: of a store that is away, each hears once.
    pub(super) fn is_news_for(&self, hearer: Hearer) -> bool {
        self.store_trouble().is_none_or(|trouble| trouble.is_news_for(hearer, self.tells_of_end()))
    }

    /// Tells whether its trouble with the store is over.
    pub(super) const fn tells_of_end(&self) -> bool {
        matches!(self.kind(), EventKind::StoreRecovered | EventKind::StoreMended)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", OneLine(&self.breaker))?;
        match self.what.kind {
            EventKind::StateChanged { from, to, reason } if from == to => {
                write!(f, "{to} ({reason})")
            }
            EventKind::StateChanged { from, to, reason } => write!(f, "{from} -> {to} ({reason})"),
            EventKind::WouldOpen { tally } => write!(f, "would have opened ({tally}); dry run"),
            EventKind::Ended { outcome, took, probe, abandoned } => {
                write!(f, "{} ended: {outcome:?}", if probe { "probe" } else { "call" })?;
                if let Some(took) = took {
                    write!(f, " after {took:?}")?;
                }
                f.write_str(if abandoned { ", abandoned" } else { "" })
            }
            EventKind::Rejected { reason } => write!(f, "call rejected ({})", reason.as_str()),
            EventKind::DetectorPanicked => f.write_str("the detector panicked and was reset"),
            EventKind::Unguarded => f.write_str(
                "a request without a key was not guarded; give the layer a `fallback_key`, or key by what each request has",
            ),
            EventKind::TemplateFailed => {
                f.write_str("the registry's template refuses this name, its requests share another breaker or none")?;
                self.config_error().map_or(Ok(()), |error| write!(f, ": {error}"))
            }
            EventKind::FallbackKeyUsed => f.write_str(
                "guards all requests without a key of their own; name it with `fallback_key` or `key::matched_path_or`",
            ),
            EventKind::Missed { events: 1 } => f.write_str("1 event was lost on the way to a slow listener"),
            EventKind::Missed { events } => write!(f, "{events} events were lost on the way to a slow listener"),
            EventKind::StoreDegraded => f.write_str("the store is away, this instance is on its own"),
            EventKind::StoreImpaired => f.write_str("the store works, but tells of changes late"),
            EventKind::StoreMended => f.write_str("the store tells of changes at once again"),
            EventKind::BatchUnreadable => f.write_str("the store held a batch that is none, and dropped it"),
            EventKind::StoreRecovered => f.write_str("the store answers again"),
            EventKind::RecordUnreadable => f.write_str("the store holds a record that cannot be used"),
            EventKind::ConfigDrift => f.write_str("other instances judge by another rule"),
            EventKind::EvidenceDropped => f.write_str("too many rules share the breaker, the evidence of one gave way"),
            EventKind::ProtectionBegan => f.write_str("this instance rejects calls until the fleet has a verdict"),
            EventKind::ProtectionEnded => f.write_str("this instance rejects no more calls by itself"),
            #[cfg(feature = "fleet")]
            EventKind::Judged { verdict } => write!(f, "the fleet's verdict: {verdict}"),
            EventKind::Advice { advice } => write!(f, "advice: {advice}"),
        }?;
        #[cfg(feature = "fleet")]
        if let Some(trouble) = self.store_trouble().filter(|_| !self.tells_of_end()) {
            write!(f, " ({trouble})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_events_are_counted_in_words() {
        let told = |events| {
            let what = Occurrence::new(EventKind::Missed { events }, Generation::new(0), Timestamp::ZERO);
            Event { breaker: "a".into(), what }.to_string()
        };
        assert_eq!(told(1), "a: 1 event was lost on the way to a slow listener");
        assert_eq!(told(2), "a: 2 events were lost on the way to a slow listener");
    }
}
