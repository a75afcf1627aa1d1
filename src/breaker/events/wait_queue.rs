//! Callers that wait until a breaker lets them through, or until its state changes.

use std::collections::VecDeque;
use std::mem;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use crate::guard::guarded;
use crate::sync::unpoisoned;

/// Callers in the order in which they came.
#[derive(Debug, Default)]
pub(in crate::breaker) struct WaitQueue {
    waiting: Mutex<Waiting>,
    /// How many of them are to be woken.
    due: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    wakers: VecDeque<(u64, Waker)>,
}

impl WaitQueue {
    /// Puts a caller in the queue, or replaces the waker at the `place` that it has already.
    pub(in crate::breaker) fn wait(&self, place: Option<u64>, waker: &Waker) -> u64 {
        let mut waiting = unpoisoned(self.waiting.lock());
        if let Some(place) = place
            && let Some((_, old)) = waiting.wakers.iter_mut().find(|(other, _)| *other == place)
        {
            let old = mem::replace(old, waker.clone());
            drop(waiting);
            // Dropping a waker may run a user's code.
            drop(old);
            return place;
        }
        let place = waiting.next;
        waiting.next += 1;
        waiting.wakers.push_back((place, waker.clone()));
        place
    }

    /// Takes a caller out of the queue; `false` when it had been woken.
    pub(in crate::breaker) fn leave(&self, place: u64) -> bool {
        let mut waiting = unpoisoned(self.waiting.lock());
        let index = waiting.wakers.iter().position(|(other, _)| *other == place);
        let left = index.and_then(|index| waiting.wakers.remove(index));
        drop(waiting);
        // Here, too, it is dropped outside the lock.
        left.is_some()
    }

    /// Notes that the first `count` callers in the queue are to be woken, once the breaker's lock is free: a woken caller
    /// may call the breaker at once.
    pub(in crate::breaker) fn wake_later(&self, count: usize) {
        if count > 0 {
            self.due.fetch_max(count, Ordering::Relaxed);
        }
    }

    /// Tells whether callers are to be woken. Asked under the breaker's lock, under which they were noted.
    pub(in crate::breaker) fn has_due(&self) -> bool {
        self.due.load(Ordering::Relaxed) > 0
    }

    /// Wakes those.
    pub(in crate::breaker) fn wake_due(&self) {
        self.wake(self.due.swap(0, Ordering::Relaxed));
    }

    /// Wakes the first `count` callers in the queue.
    pub(in crate::breaker) fn wake(&self, count: usize) {
        let woken: Vec<_> = {
            let mut waiting = unpoisoned(self.waiting.lock());
            let count = count.min(waiting.wakers.len());
            waiting.wakers.drain(..count).collect()
        };
        // A waker that panics takes its place from no other.
        for (_, waker) in woken {
            guarded(|| waker.wake());
        }
    }
}
