//! Functions that are told what happens to a breaker.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::event::Event;
use crate::circuit::State;
#[cfg(feature = "fleet")]
use crate::store::Hearer;

/// The breaker that an event is about. Its type is not known here, since a breaker knows its listeners: the builder wraps
/// the user's function in one that finds the handle again.
pub(in crate::breaker) type Subject<'a> = &'a (dyn Any + Send + Sync);

/// A user's function; clones are the same one.
#[derive(Clone)]
pub(in crate::breaker) enum Listener {
    State(Arc<dyn Fn(Subject<'_>, State, State) + Send + Sync>),
    Event(Arc<EventListener>),
}

/// A function that is told of events.
pub(in crate::breaker) struct EventListener {
    f: Box<dyn Fn(&Event) + Send + Sync>,
    /// What was written once, and given to many breakers, is one listener as far as an outage of their store goes.
    #[cfg(feature = "fleet")]
    kind: Hearer,
}

impl EventListener {
    pub(in crate::breaker) fn new<F: Fn(&Event) + Send + Sync + 'static>(f: F) -> Self {
        Self {
            f: Box::new(f),
            #[cfg(feature = "fleet")]
            kind: Hearer::of::<F>(),
        }
    }

    pub(super) fn hear(&self, event: &Event) {
        #[cfg(feature = "fleet")]
        if !event.is_news_for(self.kind) {
            return;
        }
        (self.f)(event);
    }
}

impl Listener {
    pub(in crate::breaker) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::State(a), Self::State(b)) => Arc::ptr_eq(a, b),
            (Self::Event(a), Self::Event(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State(_) => "on_state_change(..)",
            Self::Event(_) => "on_event(..)",
        })
    }
}
