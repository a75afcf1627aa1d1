//! Events as a stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::channel::Channel;
use super::event::Event;
use super::notifier::Notifier;

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
/// # Ok::<(), fusebox::circuit_breaker::Overridden>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Events {
    channel: Arc<Channel>,
    notifier: Arc<Notifier>,
}

impl Events {
    pub(in crate::breaker) fn new(notifier: Arc<Notifier>) -> Self {
        let channel = Arc::<Channel>::default();
        notifier.subscribe(&channel);
        Self { channel, notifier }
    }

    /// Returns how many events were lost because they were not read in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.channel.dropped()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.notifier.unsubscribe(&self.channel);
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.channel.poll_next(cx).map(Some)
    }
}
