//! Where a breaker's news waits for listeners, and callers wait for the circuit to close.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use super::channel::Channel;
use super::event::{Event, EventKind, Occurrence};
use super::handle::CircuitBreaker;
use super::settings::{Listener, Settings};

/// News goes in under the breaker's lock and comes out, in order, outside every lock.
pub(super) struct Hub {
    settings: Arc<Settings>,
    news: Mutex<News>,
    has_news: AtomicBool,
    /// Somebody listens to more than changes of state.
    tells_calls: AtomicBool,
    streams: Mutex<Vec<Weak<Channel>>>,
    waiting: Mutex<Waiting>,
    /// How many of the waiting are to be woken.
    due: AtomicUsize,
}

#[derive(Default)]
struct News {
    queue: VecDeque<Occurrence>,
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
        let tells_calls = settings.listens_to_events();
        Arc::new(Self {
            settings,
            news: Mutex::default(),
            has_news: AtomicBool::new(false),
            tells_calls: AtomicBool::new(tells_calls),
            streams: Mutex::default(),
            waiting: Mutex::default(),
            due: AtomicUsize::new(0),
        })
    }

    pub(super) fn tells_calls(&self) -> bool {
        self.tells_calls.load(Ordering::Relaxed)
    }

    /// Tells whether there is something to tell, or somebody to wake. Asked under the breaker's lock, so that what was put
    /// in under it is seen, whoever tells older news meanwhile.
    pub(super) fn has_news(&self) -> bool {
        self.has_news.load(Ordering::Acquire) || self.due.load(Ordering::Relaxed) > 0
    }

    pub(super) fn push(&self, what: Occurrence) {
        let mut news = lock(&self.news);
        if news.queue.len() < MOST_NEWS {
            news.queue.push_back(what);
        }
        self.has_news.store(true, Ordering::Release);
    }

    /// Tells everything there is to tell, unless somebody else is at it.
    pub(super) fn deliver(&self, breaker: &CircuitBreaker) {
        loop {
            let what = {
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
            self.tell(breaker, &Event { breaker: breaker.name(), what });
            lock(&self.news).telling = false;
        }
    }

    fn tell(&self, breaker: &CircuitBreaker, event: &Event) {
        for listener in self.settings.listeners.iter() {
            // A listener that panics has said so on standard error; the others still hear the news.
            catch_unwind(AssertUnwindSafe(|| match (listener, event.what.kind) {
                (Listener::Event(f), _) => f(event),
                (Listener::State(f), EventKind::StateChanged { from, to, .. }) if from != to => f(breaker, from, to),
                (Listener::State(_), _) => {}
            }))
            .ok();
        }
        // Sending wakes readers, who may do anything, so not under the lock.
        let streams: Vec<_> = lock(&self.streams).iter().filter_map(Weak::upgrade).collect();
        streams.iter().for_each(|channel| channel.send(event.clone()));
    }

    pub(super) fn subscribe(&self, channel: &Arc<Channel>) {
        lock(&self.streams).push(Arc::downgrade(channel));
        self.tells_calls.store(true, Ordering::Relaxed);
    }

    pub(super) fn unsubscribe(&self, channel: &Arc<Channel>) {
        let mut streams = lock(&self.streams);
        streams.retain(|stream| stream.as_ptr() != Arc::as_ptr(channel));
        if streams.is_empty() {
            self.tells_calls.store(self.settings.listens_to_events(), Ordering::Relaxed);
        }
    }

    /// Puts a caller in the queue of those to wake; `ticket` is its place, if it already has one.
    pub(super) fn wait(&self, ticket: Option<u64>, waker: &Waker) -> u64 {
        let mut waiting = lock(&self.waiting);
        if let Some(ticket) = ticket
            && let Some((_, old)) = waiting.wakers.iter_mut().find(|(t, _)| *t == ticket)
        {
            let old = std::mem::replace(old, waker.clone());
            drop(waiting);
            // Dropping a waker may run code of others.
            drop(old);
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

    /// Notes that the first `count` callers in the queue are to be woken, once the breaker's lock is free: a woken caller
    /// may call the breaker at once.
    pub(super) fn wake_later(&self, count: usize) {
        if count > 0 {
            self.due.fetch_max(count, Ordering::Relaxed);
        }
    }

    /// Wakes those.
    pub(super) fn wake_due(&self) {
        self.wake(self.due.swap(0, Ordering::Relaxed));
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
