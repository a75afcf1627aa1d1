//! Events as a stream.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::channel::Channel;
use super::event::Event;

/// The events of a breaker, or of all breakers of a registry, from now on.
/// [`CircuitBreaker::events`](crate::CircuitBreaker::events) and [`Registry::events`](crate::Registry::events) make it.
///
/// It holds the newest 1,024 events, that of a registry 8,192; a reader that is slower loses the oldest, changes of state
/// last, and can tell by [`dropped`](Self::dropped). It never ends.
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
    source: Arc<dyn Source>,
}

/// Where events come from.
pub(in crate::breaker) trait Source: fmt::Debug + Send + Sync {
    /// From now on, events go into the channel too.
    fn subscribe(&self, channel: &Arc<Channel>);

    /// From now on they do not.
    fn unsubscribe(&self, channel: &Arc<Channel>);
}

impl Events {
    pub(in crate::breaker) fn new(source: Arc<dyn Source>, channel: Channel) -> Self {
        let channel = Arc::new(channel);
        source.subscribe(&channel);
        Self { channel, source }
    }

    /// Returns how many events were lost because they were not read in time.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.channel.dropped()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.source.unsubscribe(&self.channel);
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.channel.poll_next(cx).map(Some)
    }
}
