//! Where a breaker's news waits for listeners, and callers wait for the circuit to close.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use super::event::{Event, EventKind};
use super::events::Channel;
use super::handle::CircuitBreaker;
use super::settings::{Listener, Settings};
use crate::circuit::Generation;
use crate::time::Timestamp;

/// News goes in under the breaker's lock and comes out, in order, outside every lock.
pub(super) struct Hub {
    settings: Arc<Settings>,
    news: Mutex<News>,
    has_news: AtomicBool,
    /// Somebody listens to more than changes of state.
    tells_calls: AtomicBool,
    streams: Mutex<Vec<Weak<Channel>>>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct News {
    queue: VecDeque<(EventKind, Generation, Timestamp)>,
    /// Somebody is telling; whoever comes meanwhile leaves it to them, so that news stays in order.
    telling: bool,
}

#[derive(Default)]
struct Waiting {
    next: u64,
    wakers: VecDeque<(u64, Waker)>,
}

/// A listener that blocks while the breaker flaps must not fill the memory.
const MOST_NEWS: usize = 4096;

/// No user code runs under these locks, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub(super) fn new(settings: Arc<Settings>) -> Arc<Self> {
        let tells_calls = settings.listeners.iter().any(|l| matches!(l, Listener::Event(_)));
        Arc::new(Self {
            settings,
            news: Mutex::default(),
            has_news: AtomicBool::new(false),
            tells_calls: AtomicBool::new(tells_calls),
            streams: Mutex::default(),
            waiting: Mutex::default(),
        })
    }

    pub(super) fn tells_calls(&self) -> bool {
        self.tells_calls.load(Ordering::Relaxed)
    }

    pub(super) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire)
    }

    pub(super) fn push(&self, what: EventKind, generation: Generation, at: Timestamp) {
        let mut news = lock(&self.news);
        if news.queue.len() < MOST_NEWS {
            news.queue.push_back((what, generation, at));
        }
        self.has_news.store(true, Ordering::Release);
    }

    /// Tells everything there is to tell, unless somebody else is at it.
    pub(super) fn deliver(&self, breaker: &CircuitBreaker) {
        loop {
            let (kind, generation, at) = {
                let mut news = lock(&self.news);
                if news.telling {
                    return;
                }
                let Some(next) = news.queue.pop_front() else {
                    self.has_news.store(false, Ordering::Release);
                    return;
                };
                news.telling = true;
                next
            };
            self.tell(breaker, &Event { breaker: breaker.name(), kind, generation, at });
            lock(&self.news).telling = false;
        }
    }

    fn tell(&self, breaker: &CircuitBreaker, event: &Event) {
        for listener in self.settings.listeners.iter() {
            // A listener that panics has said so on standard error; the others still hear the news.
            catch_unwind(AssertUnwindSafe(|| match (listener, event.kind) {
                (Listener::Event(f), _) => f(event),
                (Listener::State(f), EventKind::StateChanged { from, to, .. }) if from != to => f(breaker, from, to),
                (Listener::State(_), _) => {}
            }))
            .ok();
        }
        lock(&self.streams).retain(|stream| stream.upgrade().map(|channel| channel.send(event.clone())).is_some());
    }

    pub(super) fn subscribe(&self, channel: &Arc<Channel>) {
        lock(&self.streams).push(Arc::downgrade(channel));
        self.tells_calls.store(true, Ordering::Relaxed);
    }

    /// Puts a caller in the queue of those to wake; `ticket` is its place, if it already has one.
    pub(super) fn wait(&self, ticket: Option<u64>, waker: &Waker) -> u64 {
        let mut waiting = lock(&self.waiting);
        if let Some(ticket) = ticket
            && let Some((_, old)) = waiting.wakers.iter_mut().find(|(t, _)| *t == ticket)
        {
            old.clone_from(waker);
            return ticket;
        }
        let ticket = waiting.next;
        waiting.next += 1;
        waiting.wakers.push_back((ticket, waker.clone()));
        ticket
    }

    /// Takes a caller out of the queue; `false` when it had been woken.
    pub(super) fn leave(&self, ticket: u64) -> bool {
        let mut waiting = lock(&self.waiting);
        let place = waiting.wakers.iter().position(|(t, _)| *t == ticket);
        place.map(|place| waiting.wakers.remove(place)).is_some()
    }

    /// Wakes the first `count` callers in the queue.
    pub(super) fn wake(&self, count: usize) {
        let woken: Vec<_> = {
            let mut waiting = lock(&self.waiting);
            let count = count.min(waiting.wakers.len());
            waiting.wakers.drain(..count).collect()
        };
        woken.into_iter().for_each(|(_, waker)| waker.wake());
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub").finish_non_exhaustive()
    }
}
