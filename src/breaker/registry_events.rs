//! Streams of the events of all breakers of a registry.

use std::fmt;
use std::sync::{Arc, Weak};

use super::events::{Channel, Events, Source};
use super::registry::Registry;
use super::registry_contents::Inner;

impl Registry {
    /// Returns the events of all its breakers from now on, as one stream. It has also those of breakers that are made
    /// later, and of requests for which there is no breaker. What happens to one breaker comes in order.
    ///
    /// It holds the newest 8,192 events, however many breakers there are; what a slow reader loses is told by
    /// [`Events::dropped`], and changes of state are lost last. Of a store that is away it tells once. A breaker that is
    /// [removed](Self::remove) or forgotten is no longer in it. While there is such a stream, each breaker takes some
    /// 300 bytes more, and its failed calls are told; without, it costs nothing.
    ///
    /// ```
    /// use futures::{StreamExt, executor::block_on};
    /// use fusebox::{CircuitBreakerConfig, Registry};
    ///
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// registry.breaker("tenant-7")?;
    /// let mut events = registry.events();
    /// registry.breaker("tenant-7")?.trip()?;
    /// registry.breaker("tenant-8")?.trip()?; // made after the stream
    /// let told: Vec<_> = block_on(events.by_ref().take(2).map(|event| event.name().to_owned()).collect());
    /// assert_eq!(told, ["tenant-7", "tenant-8"]);
    /// assert_eq!(events.dropped(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self) -> Events {
        Events::new(Arc::new(Breakers(Arc::downgrade(&self.inner))), Channel::of_many())
    }
}

/// The breakers of a registry, as a source of events. A stream keeps no registry alive.
struct Breakers(Weak<Inner>);

impl Breakers {
    fn registry(&self) -> Option<Registry> {
        self.0.upgrade().map(|inner| Registry { inner })
    }
}

impl Source for Breakers {
    fn subscribe(&self, channel: &Arc<Channel>) {
        if let Some(registry) = self.registry() {
            // First of all: breakers that are made from now on look here.
            registry.inner.readers.add(channel);
            for breaker in registry.iter() {
                breaker.cell().subscribe(channel);
                // Another thread may have removed it since.
                if !registry.inner.holds(&breaker) {
                    breaker.cell().unsubscribe(channel);
                }
            }
        }
    }

    fn unsubscribe(&self, channel: &Arc<Channel>) {
        if let Some(registry) = self.registry() {
            registry.inner.readers.remove(channel);
            registry.iter().for_each(|breaker| breaker.cell().unsubscribe(channel));
        }
    }
}

impl fmt::Debug for Breakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breakers").finish_non_exhaustive()
    }
}
