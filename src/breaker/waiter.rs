//! Waiting until a breaker lets a call through.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::events::WaitQueue;
use super::handle::CircuitBreaker;
use super::permit::Permit;

/// Waits until a breaker lets a call through: woken by changes of state, by places that probes give back, and by a timer
/// at the end of the cooldown.
pub(crate) struct Waiter {
    breaker: CircuitBreaker,
    queue: Arc<WaitQueue>,
    place: Option<u64>,
    timer: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl Waiter {
    pub(crate) fn new(breaker: CircuitBreaker) -> Self {
        let queue = breaker.cell().wait_queue();
        Self { breaker, queue, place: None, timer: None }
    }

    pub(crate) const fn breaker(&self) -> &CircuitBreaker {
        &self.breaker
    }

    /// Polls for a permit that is reserved for a call to come.
    pub(crate) fn poll_reserve(&mut self, cx: &mut Context<'_>) -> Poll<Permit> {
        loop {
            if let Ok(permit) = self.breaker.cell().reserve() {
                self.leave();
                return Poll::Ready(permit);
            }
            // In the queue before the last question, so that no change between the two is missed.
            self.place = Some(self.queue.wait(self.place, cx.waker()));
            let rejected = match self.breaker.cell().reserve() {
                Ok(permit) => {
                    self.leave();
                    return Poll::Ready(permit);
                }
                Err(rejected) => rejected,
            };
            // With all probes on their way: if no place is given back, the first deadline frees one.
            let Some(wait) = rejected.retry_after().or_else(|| self.breaker.cell().next_expiry()) else {
                self.timer = None;
                return Poll::Pending;
            };
            // Timers have a resolution of a millisecond; at least that keeps an early one from spinning.
            let mut timer = Box::pin(tokio::time::sleep(wait.max(Duration::from_millis(1))));
            let over = timer.as_mut().poll(cx).is_ready();
            self.timer = Some(timer);
            if !over {
                return Poll::Pending;
            }
        }
    }

    fn leave(&mut self) {
        self.timer = None;
        if let Some(place) = self.place.take() {
            self.queue.leave(place);
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if let Some(place) = self.place.take()
            && !self.queue.leave(place)
        {
            // This caller was woken for a place that it will not take: the next one may.
            self.queue.wake(1);
        }
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiter").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}
