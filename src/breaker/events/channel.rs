//! The way of events from a breaker to one reader: bounded, the oldest give way.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use super::event::Event;
use crate::guard::guarded;
use crate::sync::unpoisoned;

#[derive(Debug, Default)]
pub(super) struct Channel {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    dropped: u64,
    reader: Option<Waker>,
}

const MAX_EVENTS: usize = 1024;

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        unpoisoned(self.queue.lock())
    }

    pub(super) fn send(&self, event: Event) {
        let reader = {
            let mut queue = self.lock();
            if queue.events.len() == MAX_EVENTS {
                queue.events.pop_front();
                queue.dropped += 1;
            }
            queue.events.push_back(event);
            queue.reader.take()
        };
        if let Some(reader) = reader {
            guarded(|| reader.wake());
        }
    }

    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Event> {
        let mut queue = self.lock();
        if let Some(event) = queue.events.pop_front() {
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
