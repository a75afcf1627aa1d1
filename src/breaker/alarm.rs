//! Being woken while one waits for something else.

use std::sync::Arc;
use std::task::Waker;

use super::events::WaitQueue;
use super::handle::CircuitBreaker;

/// Wakes a caller that waits for something else, such as the service behind the breaker, when the state changes: it may be
/// rejected instead. It is in a queue of its own, since it takes no place that is free.
#[derive(Debug)]
pub(crate) struct Alarm {
    queue: Arc<WaitQueue>,
    place: Option<u64>,
}

impl Alarm {
    pub(crate) fn new(breaker: &CircuitBreaker) -> Self {
        Self { queue: breaker.cell().alarms(), place: None }
    }

    /// Sets it for the next change of state. What changed before is not told.
    pub(crate) fn set(&mut self, waker: &Waker) {
        self.place = Some(self.queue.wait(self.place, waker));
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.queue.leave(place);
        }
    }
}
