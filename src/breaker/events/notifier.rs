//! Where a breaker's events wait until listeners and readers are told.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use super::backlog::{Backlog, News};
use super::channel::Channel;
#[cfg(feature = "tracing")]
use super::details::Details;
use super::event::{Event, EventKind, Occurrence};
use super::listener::{Listener, Subject};
use super::stream::Source;
#[cfg(feature = "tracing")]
use super::trace;
use crate::breaker::settings::Settings;
use crate::circuit::{Fact, Facts, Generation, StateScope};
use crate::guard::guarded;
use crate::sync::unpoisoned;
use crate::time::Timestamp;

/// Events go in under the breaker's lock and come out, in order, outside every lock.
pub(in crate::breaker) struct Notifier {
    settings: Arc<Settings>,
    pending: Mutex<Pending>,
    has_pending: AtomicBool,
    /// A listener or a reader wants more than changes of state.
    tells_calls: AtomicBool,
    streams: Mutex<Vec<Weak<Channel>>>,
}

/// What waits to be told.
pub(in crate::breaker) struct Item {
    pub(in crate::breaker) what: Occurrence,
    /// What logs tell besides. Events that readers hold go without.
    #[cfg(feature = "tracing")]
    pub(in crate::breaker) details: Option<Box<Details>>,
}

impl From<Occurrence> for Item {
    fn from(what: Occurrence) -> Self {
        Self {
            what,
            #[cfg(feature = "tracing")]
            details: None,
        }
    }
}

impl News for Item {
    fn is_change(&self) -> bool {
        self.what.is_change()
    }
}

struct Pending {
    queue: Backlog<Item>,
    /// A thread is telling; other threads leave their events to it, so that the order is kept.
    telling: bool,
}

/// Ends the telling of an event, however it went: a flag that stays would silence the breaker.
struct Telling<'a>(&'a Mutex<Pending>);

/// A listener that blocks while the breaker flaps must not fill the memory.
const MAX_PENDING: usize = 4096;

impl Notifier {
    pub(in crate::breaker) fn new(settings: Arc<Settings>) -> Arc<Self> {
        let tells_calls = settings.listens_to_events();
        Arc::new(Self {
            settings,
            pending: Mutex::new(Pending { queue: Backlog::new(MAX_PENDING), telling: false }),
            has_pending: AtomicBool::new(false),
            tells_calls: AtomicBool::new(tells_calls),
            streams: Mutex::default(),
        })
    }

    pub(in crate::breaker) fn tells_calls(&self) -> bool {
        self.tells_calls.load(Ordering::Relaxed)
    }

    /// Tells whether there is something to tell. Asked under the breaker's lock, so that what was put in under it is seen,
    /// also while another thread tells older events.
    pub(in crate::breaker) fn has_pending(&self) -> bool {
        self.has_pending.load(Ordering::Acquire)
    }

    pub(in crate::breaker) fn push(&self, item: impl Into<Item>) {
        let mut pending = unpoisoned(self.pending.lock());
        pending.queue.push(item.into());
        self.has_pending.store(true, Ordering::Release);
    }

    #[cold]
    pub(in crate::breaker) fn push_facts(
        &self,
        facts: &Facts,
        generation: Generation,
        now: Timestamp,
        mut complete: impl FnMut(Occurrence) -> Item,
    ) {
        for fact in facts.iter() {
            let kind = EventKind::from(fact);
            let what = match fact {
                // A step may make two transitions, each into a generation of its own.
                Fact::Transition(transition) => Occurrence {
                    generation: transition.fleet.unwrap_or(transition.generation),
                    origin: transition.origin,
                    scope: if transition.fleet.is_some() { StateScope::Fleet } else { StateScope::Instance },
                    ..Occurrence::new(kind, transition.generation, now)
                },
                _ => Occurrence::new(kind, generation, now),
            };
            self.push(complete(what));
        }
    }

    /// Tells everything there is to tell, unless another thread is at it.
    pub(in crate::breaker) fn deliver(&self, breaker: &Arc<str>, subject: Subject<'_>) {
        loop {
            let (item, lost) = {
                let mut pending = unpoisoned(self.pending.lock());
                if pending.telling {
                    return;
                }
                let Some(next) = pending.queue.pop() else {
                    self.has_pending.store(false, Ordering::Release);
                    return;
                };
                pending.telling = true;
                (next, pending.queue.take_lost())
            };
            let _telling = Telling(&self.pending);
            if lost > 0 {
                let missed = Occurrence::new(EventKind::Missed { events: lost }, item.what.generation, item.what.at);
                let event = Event { breaker: breaker.clone(), what: missed };
                #[cfg(feature = "tracing")]
                trace::tell(&self.settings.registry, &event, None);
                self.tell(subject, &event);
            }
            let event = Event { breaker: breaker.clone(), what: item.what };
            #[cfg(feature = "tracing")]
            trace::tell(&self.settings.registry, &event, item.details.as_deref());
            self.tell(subject, &event);
        }
    }

    fn tell(&self, subject: Subject<'_>, event: &Event) {
        for listener in &self.settings.listeners {
            // A listener that panics has said so on standard error; the others still hear of the event.
            guarded(|| match (listener, event.what.kind) {
                (Listener::Event(listener), _) => listener.hear(event),
                (Listener::State(f), EventKind::StateChanged { from, to, .. }) if from != to => f(subject, from, to),
                (Listener::State(_), _) => {}
            });
        }
        // Sending wakes readers, who may do anything, so not under the lock.
        let streams: Vec<_> = self.streams().iter().filter_map(Weak::upgrade).collect();
        streams.iter().for_each(|channel| channel.send(event.clone()));
    }

    /// Tells whether listeners or readers are told, and not logs alone.
    #[cfg(feature = "tracing")]
    pub(in crate::breaker) fn is_heard(&self) -> bool {
        self.settings.has_listeners() || !self.is_unread()
    }

    /// Tells whether no stream is subscribed.
    pub(in crate::breaker) fn is_unread(&self) -> bool {
        self.streams().is_empty()
    }

    /// The streams that are read. One may have ended while it was subscribed.
    fn streams(&self) -> MutexGuard<'_, Vec<Weak<Channel>>> {
        let mut streams = unpoisoned(self.streams.lock());
        let before = streams.len();
        streams.retain(|stream| stream.strong_count() > 0);
        if streams.len() < before && streams.is_empty() {
            self.tells_calls.store(self.settings.listens_to_events(), Ordering::Relaxed);
        }
        streams
    }
}

impl Source for Notifier {
    fn subscribe(&self, channel: &Arc<Channel>) {
        let mut streams = unpoisoned(self.streams.lock());
        if !streams.iter().any(|stream| stream.as_ptr() == Arc::as_ptr(channel)) {
            streams.push(Arc::downgrade(channel));
        }
        self.tells_calls.store(true, Ordering::Relaxed);
    }

    fn unsubscribe(&self, channel: &Arc<Channel>) {
        let mut streams = unpoisoned(self.streams.lock());
        streams.retain(|stream| stream.as_ptr() != Arc::as_ptr(channel));
        if streams.is_empty() {
            self.tells_calls.store(self.settings.listens_to_events(), Ordering::Relaxed);
        }
    }
}

/// Tells listeners and readers of something for which there is no breaker.
pub(in crate::breaker) fn tell_of_none(listeners: &[Listener], readers: &[Arc<Channel>], event: &Event) {
    for listener in listeners {
        if let Listener::Event(listener) = listener {
            guarded(|| listener.hear(event));
        }
    }
    readers.iter().for_each(|reader| reader.send(event.clone()));
}

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        unpoisoned(self.0.lock()).telling = false;
    }
}

impl fmt::Debug for Notifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notifier").finish_non_exhaustive()
    }
}
