//! The way of events from a breaker to one reader: bounded, and changes of state give way last.

use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::backlog::Backlog;
use super::event::Event;
use crate::guard::guarded;
use crate::sync::unpoisoned;

#[derive(Debug)]
pub(super) struct Channel {
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    events: Backlog<Event>,
    dropped: u64,
    reader: Option<Waker>,
}

const MAX_EVENTS: usize = 1024;

impl Default for Channel {
    fn default() -> Self {
        Self { queue: Mutex::new(Queue { events: Backlog::new(MAX_EVENTS), dropped: 0, reader: None }) }
    }
}

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        unpoisoned(self.queue.lock())
    }

    pub(super) fn send(&self, event: Event) {
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
