//! Who reads the events of a registry.

use std::sync::{Arc, Mutex, Weak};

use super::events::Channel;
use super::handle::CircuitBreaker;
use crate::sync::unpoisoned;

/// The streams of a registry's events.
#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<Vec<Weak<Channel>>>);

impl Readers {
    pub(super) fn add(&self, channel: &Arc<Channel>) {
        unpoisoned(self.0.lock()).push(Arc::downgrade(channel));
    }

    pub(super) fn remove(&self, channel: &Arc<Channel>) {
        unpoisoned(self.0.lock()).retain(|other| other.as_ptr() != Arc::as_ptr(channel));
    }

    pub(super) fn all(&self) -> Vec<Arc<Channel>> {
        unpoisoned(self.0.lock()).iter().filter_map(Weak::upgrade).collect()
    }

    /// A breaker is the registry's. Before it can be found, so that no event is missed, and once more when it can be: a
    /// stream may have begun meanwhile.
    pub(super) fn hear_of(&self, breaker: &CircuitBreaker) {
        self.all().iter().for_each(|channel| breaker.cell().subscribe(channel));
    }

    /// A breaker is the registry's no more.
    pub(super) fn leave(&self, breaker: &CircuitBreaker) {
        self.all().iter().for_each(|channel| breaker.cell().unsubscribe(channel));
    }
}
