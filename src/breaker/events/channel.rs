//! The way of events from a breaker to one reader: bounded, and changes of state give way last.

use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::backlog::Backlog;
use super::event::Event;
use crate::guard::guarded;
#[cfg(feature = "fleet")]
use crate::store::Hearer;
use crate::sync::unpoisoned;

#[derive(Debug)]
pub(in crate::breaker) struct Channel {
    queue: Mutex<Queue>,
    /// Where many breakers are read together: of a store that they share, and that is away, the reader hears once.
    #[cfg(feature = "fleet")]
    reader: Option<Hearer>,
}

#[derive(Debug)]
struct Queue {
    events: Backlog<Event>,
    dropped: u64,
    reader: Option<Waker>,
}

const MAX_EVENTS: usize = 1_024;
const MAX_EVENTS_OF_MANY: usize = 8_192;

impl Channel {
    /// For the events of one breaker.
    pub(in crate::breaker) fn of_one() -> Self {
        Self {
            queue: Mutex::new(Queue { events: Backlog::new(MAX_EVENTS), dropped: 0, reader: None }),
            #[cfg(feature = "fleet")]
            reader: None,
        }
    }

    /// For those of many breakers.
    pub(in crate::breaker) fn of_many() -> Self {
        Self {
            queue: Mutex::new(Queue { events: Backlog::new(MAX_EVENTS_OF_MANY), dropped: 0, reader: None }),
            #[cfg(feature = "fleet")]
            reader: Some(Hearer::new_reader()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        unpoisoned(self.queue.lock())
    }

    pub(super) fn send(&self, event: Event) {
        #[cfg(feature = "fleet")]
        if self.reader.is_some_and(|reader| !event.is_news_for(reader)) {
            return;
        }
        let reader = {
            let mut queue = self.lock();
            queue.events.push(event);
            queue.dropped += queue.events.take_lost();
            queue.reader.take()
        };
        if let Some(reader) = reader {
            guarded(|| reader.wake());
        }
    }

    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Event> {
        let mut queue = self.lock();
        if let Some(event) = queue.events.pop() {
            return Poll::Ready(event);
        }
        let before = queue.reader.replace(cx.waker().clone());
        drop(queue);
        // Dropping a waker may run a user's code.
        drop(before);
        Poll::Pending
    }

    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }
}
