//! Events as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::channel::Channel;
use super::event::Event;
use super::handle::CircuitBreaker;
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

impl CircuitBreaker {
    /// Returns the events from now on, as a stream.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on};
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.trip()?; // nobody listens yet
    /// let mut events = breaker.events();
    /// breaker.reset()?;
    /// let event = block_on(events.next()).unwrap();
    /// assert_eq!(event.to_string(), "payments: open -> closed (reset by command)");
    /// # Ok::<(), fusebox::Overridden>(())
    /// ```
    pub fn events(&self) -> Events {
        Events::new(self.core().hub())
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
        self.channel.dropped()
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
        self.channel.poll_next(cx).map(Some)
    }
}
