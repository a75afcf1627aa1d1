//! Events as a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::event::Event;
use super::hub::Hub;

/// The events of a breaker from now on; made by [`CircuitBreaker::events`](crate::CircuitBreaker::events).
///
/// It holds the newest 1,024 events; a reader that is slower loses the oldest and can tell by
/// [`dropped`](Self::dropped). It never ends.
///
/// ```
/// use futures::StreamExt;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// # futures::executor::block_on(async {
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// let mut events = breaker.events();
/// breaker.trip()?;
/// let event = events.next().await.unwrap();
/// assert_eq!(event.to_string(), "payments: closed -> open (tripped by command)");
/// assert_eq!(events.dropped(), 0);
/// # Ok::<(), fusebox::Overridden>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Events {
    channel: Arc<Channel>,
    hub: Arc<Hub>,
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    state: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    dropped: u64,
    reader: Option<Waker>,
}

const MOST: usize = 1024;

impl Channel {
    pub(super) fn send(&self, event: Event) {
        let reader = {
            let mut queue = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.events.len() == MOST {
                queue.events.pop_front();
                queue.dropped += 1;
            }
            queue.events.push_back(event);
            queue.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Events {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        let channel = Arc::<Channel>::default();
        hub.subscribe(&channel);
        Self { channel, hub }
    }

    /// Returns how many events were lost because nobody read them in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.channel.state.lock().unwrap_or_else(PoisonError::into_inner).dropped
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.hub.unsubscribe(&self.channel);
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let mut queue = self.channel.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = queue.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        queue.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}
