//! Breakers by name.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::config::CircuitBreakerConfig;
use super::handle::CircuitBreaker;
use super::registry_contents::Inner;
use super::registry_name::bounded;
use crate::error::ConfigError;
use crate::guard::guarded;
use crate::sync::unpoisoned;
use crate::time::nanos;

/// Breakers by name, made from a template when they are first asked for.
///
/// It is bounded: beyond [`max`](Self::max) it forgets breakers that were not used for [`idle`](Self::idle): first those of
/// which nothing is known, then those with failures in their window or a circuit whose cooldown is over. One that
/// protects is never forgotten (open, half-open with a probe on its way, overridden, or with a handle elsewhere). Where
/// nothing can be forgotten, further names share 64 overflow breakers, `(overflow 0)` to `(overflow 63)`: each name
/// always has the same, so that names made from requests can neither fill the memory, nor fail a call, nor shut out
/// more than a few others. A name of more than 255 bytes is cut, and a hash of it stands at its end. Clones are the
/// same registry.
///
/// ```
/// use std::time::Duration;
/// use fusebox::{detect, CircuitBreakerConfig, Registry};
///
/// let registry = Registry::new(|name| {
///     CircuitBreakerConfig::builder(name).detector(detect::failure_rate(0.5).of_last(50)).build()
/// })
/// .max(100_000)
/// .idle(Duration::from_secs(600));
///
/// assert!(registry.is_empty());
/// let tenant = registry.breaker("tenant-7")?;
/// assert_eq!(registry.get("tenant-7").unwrap().name(), tenant.name());
/// assert!(registry.get("tenant-8").is_none(), "`get` only looks");
/// assert_eq!(registry.len(), 1);
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    pub(super) inner: Arc<Inner>,
}

impl Registry {
    /// Makes a registry whose breakers come from `template`, which gets the name.
    ///
    /// Defaults: at most 10,000 breakers, forgotten after an hour without use.
    #[must_use]
    pub fn new<F>(template: F) -> Self
    where
        F: Fn(&str) -> Result<CircuitBreakerConfig, ConfigError> + Send + Sync + 'static,
    {
        let inner = Arc::new(Inner::new(Box::new(template)));
        #[cfg(feature = "counts")]
        super::registry_list::add(&inner);
        Self { inner }
    }

    /// Makes a registry whose breakers are configured like `template`. Each has its own name.
    ///
    /// What the template has seen, or a detector that it was given, none of them knows. An empty name is refused.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{detect, CircuitBreakerConfig, Registry};
    ///
    /// let template = CircuitBreakerConfig::template()
    ///     .detector(detect::failure_rate(0.5).of_last(50))
    ///     .cooldown(Duration::from_secs(10))
    ///     .build()?; // a mistake shows here, not at the first request
    /// let registry = Registry::of(template);
    /// assert_eq!(&*registry.breaker("tenant-7")?.name(), "tenant-7");
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub fn of(mut template: CircuitBreakerConfig) -> Self {
        // A detector is a user's code.
        guarded(|| template.detector.reset());
        Self::new(move |name| match name {
            "" => Err(ConfigError::no_name()),
            _ => Ok(template.clone().named(name)),
        })
    }

    /// Returns the registry of the process: what [`CircuitBreaker::register`] adds to. Its template makes breakers with
    /// the defaults, and it forgets none.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Registry};
    ///
    /// CircuitBreaker::new(CircuitBreakerConfig::new("payments")).register()?;
    /// CircuitBreaker::new(CircuitBreakerConfig::new("search")).register()?;
    /// let mut names: Vec<_> = Registry::global().iter().map(|breaker| breaker.name().to_string()).collect();
    /// names.sort();
    /// assert_eq!(names, ["payments", "search"]);
    /// # Ok::<(), fusebox::circuit_breaker::NameTaken>(())
    /// ```
    pub fn global() -> &'static Self {
        static GLOBAL: OnceLock<Registry> = OnceLock::new();
        GLOBAL.get_or_init(|| Self::new(|name| Ok(CircuitBreakerConfig::new(name))).max(usize::MAX).idle(Duration::MAX))
    }

    /// Names the registry, for labels of metrics and logs. Breakers of several registries may have the same name.
    /// Default: an empty name.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, Registry};
    ///
    /// let hosts = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).named("hosts");
    /// assert_eq!(&*hosts.name(), "hosts");
    /// assert_eq!(&*Registry::global().name(), "");
    /// ```
    #[must_use]
    pub fn named(self, name: impl AsRef<str>) -> Self {
        let name: Arc<str> = Arc::from(name.as_ref());
        #[cfg(feature = "counts")]
        self.inner.counts.rename(&name);
        *unpoisoned(self.inner.name.lock()) = name;
        self
    }

    /// Returns its name, empty where it has none.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        unpoisoned(self.inner.name.lock()).clone()
    }

    /// Sets how many breakers it holds at most. Default: 10,000.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, Registry};
    ///
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).max(1);
    /// let first = registry.breaker("tenant-7")?; // held here, so it is not forgotten
    /// assert!(registry.breaker("tenant-8")?.name().starts_with("(overflow "));
    /// assert_eq!(registry.breaker("tenant-7")?.name(), first.name());
    /// assert_eq!((registry.len(), registry.overflowed()), (1, 1));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub fn max(self, breakers: usize) -> Self {
        self.inner.max.store(breakers, Ordering::Relaxed);
        self
    }

    /// Sets after how long without a call a breaker may be forgotten. In whole seconds (a part counts as one).
    ///
    /// Default: 1 h. It is forgotten only when another one needs its place.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::{CircuitBreakerConfig, Registry};
    ///
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).max(1).idle(Duration::ZERO);
    /// registry.breaker("tenant-7")?;
    /// assert!(registry.get("tenant-7").is_some());
    /// registry.breaker("tenant-8")?; // takes its place
    /// assert!(registry.get("tenant-7").is_none());
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub fn idle(self, period: Duration) -> Self {
        self.inner.idle.store(nanos(period), Ordering::Relaxed);
        self
    }

    /// Returns the breaker of that name, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<CircuitBreaker> {
        self.inner.find(&bounded(name), CircuitBreaker::clone)
    }

    /// Returns the breaker of that name, and makes it if there is none. Beyond `max` it is the overflow breaker.
    ///
    /// # Errors
    ///
    /// What the template says.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, Registry};
    ///
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// registry.breaker("tenant-7")?.acquire()?.failure();
    /// let again = registry.breaker("tenant-7")?; // the same one, not another
    /// assert_eq!(again.snapshot().detectors[0].tally.count(), 1);
    /// assert_eq!(registry.breaker("").unwrap_err().field(), "name");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn breaker(&self, name: &str) -> Result<CircuitBreaker, ConfigError> {
        let name = &*bounded(name);
        match self.get(name) {
            Some(breaker) => Ok(breaker),
            None => self.inner.make(name, false),
        }
    }

    /// Forgets the breaker of that name and returns it. Handles to it go on working, and are no longer found here.
    ///
    /// ```
    /// use fusebox::{CircuitBreakerConfig, Registry};
    ///
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// registry.breaker("tenant-7")?.trip()?;
    /// let removed = registry.remove("tenant-7").unwrap();
    /// assert!(removed.is_open(), "it goes on working");
    /// assert!(!registry.breaker("tenant-7")?.is_open(), "a new one");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "a breaker without a handle is gone"]
    pub fn remove(&self, name: &str) -> Option<CircuitBreaker> {
        self.inner.remove(&bounded(name))
    }

    /// Returns all breakers, in no order. Overflow breakers, if there are any, come last.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Registry};
    ///
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// registry.breaker("tenant-7")?;
    /// registry.breaker("tenant-8")?.trip()?;
    /// let open = registry.iter().filter(CircuitBreaker::is_open).map(|breaker| breaker.name().to_string());
    /// let open: Vec<_> = open.collect();
    /// assert_eq!(open, ["tenant-8"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = CircuitBreaker> + use<> {
        self.inner.all().into_iter()
    }

    /// [Flushes](CircuitBreaker::flush) all breakers that share their state, together: for shutdown. Returns as well where a
    /// store is away, or no thread could be had to talk to it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future only ends the waiting.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fusebox::{CircuitBreakerConfig, Registry, store::{MemoryStore, Store}};
    ///
    /// # tokio_test::block_on(async {
    /// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    /// let registry = Registry::new(move |name| CircuitBreakerConfig::builder(name).store(store.clone()).build());
    /// registry.breaker("tenant-7")?.acquire()?.failure();
    /// registry.flush().await;
    /// assert_eq!(registry.breaker("tenant-7")?.snapshot().fleet.unwrap().waiting, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    #[cfg(feature = "fleet")]
    pub async fn flush(&self) {
        let flushes: Vec<_> = self.iter().filter_map(|breaker| breaker.cell().flush()).collect();
        for flushed in flushes {
            flushed.await;
        }
    }

    /// Returns how many breakers it holds, not counting overflow breakers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.len.load(Ordering::Relaxed)
    }

    /// Tells whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how often a name got an overflow breaker. Not zero: raise `max`, or key by something with fewer values;
    /// or the template refuses names, of which the event [`TemplateFailed`](crate::EventKind::TemplateFailed) tells.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.inner.overflowed.load(Ordering::Relaxed)
    }

    /// Returns how many requests of keyed layers were not guarded. They had no key, or the template refused their name
    /// and even the overflow breaker. Not zero: see the events [`Unguarded`](crate::EventKind::Unguarded) and
    /// [`TemplateFailed`](crate::EventKind::TemplateFailed), told once to the listeners that the template gives.
    ///
    /// ```
    /// use fusebox::{BoxError, CircuitBreakerConfig, CircuitBreakerLayer, Registry};
    /// use tower::{service_fn, Layer, ServiceExt};
    ///
    /// # futures::executor::block_on(async {
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// let layer = CircuitBreakerLayer::keyed(registry.clone(), |path: &&'static str| path.split('/').nth(1));
    /// let service = layer.layer(service_fn(|_: &str| async { Ok::<_, BoxError>("done") }));
    /// service.clone().oneshot("/prices").await?;
    /// service.oneshot("prices").await?;
    /// assert_eq!((registry.len(), registry.unguarded()), (1, 1));
    /// # Ok::<(), BoxError>(()) }).unwrap();
    /// ```
    #[must_use]
    pub fn unguarded(&self) -> u64 {
        self.inner.unguarded.count()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    /// The thread that makes a breaker has it heard once more when it can be found; by then another one may have removed it.
    #[test]
    fn a_breaker_that_is_removed_while_it_is_made_is_heard_no_more() {
        let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
        let mut events = registry.events();
        let breaker = registry.breaker("a").expect("a template that works");
        assert!(registry.remove("a").is_some());
        registry.inner.hear_of(&breaker);
        let other = registry.breaker("a").expect("a template that works");
        registry.inner.hear_of(&breaker);
        for breaker in [&breaker, &other] {
            breaker.trip().expect("no override stands");
        }
        let mut read = || events.next().now_or_never().flatten();
        assert!(read().is_some() && read().is_none(), "of the new one");
    }
}
