//! What is wrong with a store, as listeners are told.

use std::any::TypeId;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
#[cfg(feature = "tracing")]
use std::time::Duration;

#[cfg(feature = "tracing")]
use crate::clock::system_now;
use crate::one_line::OneLine;
use crate::sync::unpoisoned;
#[cfg(feature = "tracing")]
use crate::time::Timestamp;

/// What is wrong with a store. It is away, or one of the ways on which it tells of changes is. See
/// [`Event::store_trouble`](crate::Event::store_trouble).
///
/// ```
/// use std::sync::{Arc, mpsc};
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig, EventKind};
/// use fusebox::store::{Commit, Committed, Store, StoreError, StoreFuture, Stored};
///
/// #[derive(Debug)]
/// struct Gone;
///
/// impl Store for Gone {
///     fn load<'a>(&'a self, _: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
///         Box::pin(async { Err(StoreError::unreachable("connection refused")) })
///     }
///     fn commit<'a>(&'a self, _: &'a str, _: Commit) -> StoreFuture<'a, Committed> {
///         Box::pin(async { Err(StoreError::unreachable("connection refused")) })
///     }
///     fn describe(&self) -> String {
///         "the attic".to_owned()
///     }
/// }
///
/// let (tell, told) = mpsc::channel();
/// let config = CircuitBreakerConfig::builder("payments").store(Arc::new(Gone)).on_event(move |event| {
///     if event.kind() == EventKind::StoreDegraded {
///         tell.send(event.store_trouble().unwrap().to_string()).unwrap();
///     }
/// });
/// let _breaker = CircuitBreaker::new(config.build()?);
/// assert_eq!(told.recv()?, "the attic: the store was not reached: connection refused");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StoreTrouble {
    store: Arc<str>,
    why: Arc<str>,
    /// When it was found out.
    #[cfg(feature = "tracing")]
    began: Timestamp,
    /// Which listeners have heard that it began, or that it is over.
    told: Mutex<Vec<(Hearer, bool)>>,
}

/// One who is told of a trouble, and once, however many breakers tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hearer {
    /// Listeners that were written once, and given to many breakers.
    Listener(TypeId),
    /// The reader of a stream.
    Reader(u64),
    /// The logs of the process.
    #[cfg(feature = "tracing")]
    Logs,
}

impl Hearer {
    /// Listeners of that type.
    pub(crate) fn of<F: 'static>() -> Self {
        Self::Listener(TypeId::of::<F>())
    }

    /// Another reader.
    pub(crate) fn new_reader() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self::Reader(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl StoreTrouble {
    pub(crate) fn new(store: Arc<str>, why: Arc<str>) -> Self {
        // Words of others, which those who print them need not think of.
        let [store, why] = [store, why].map(|words| OneLine(&words).to_string().into());
        Self {
            store,
            why,
            #[cfg(feature = "tracing")]
            began: system_now(),
            told: Mutex::default(),
        }
    }

    /// Returns which store, in [its own words](crate::store::Store::describe). They are fit to be shown: control
    /// characters and what cannot be seen are escaped.
    #[must_use]
    pub fn store(&self) -> &str {
        &self.store
    }

    /// Returns what is wrong, in the words of the server or what stands between. They are fit to be shown as well.
    #[must_use]
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Tells whether that one has yet to hear of it: that it began, or that it `is_over`.
    pub(crate) fn is_news_for(&self, hearer: Hearer, is_over: bool) -> bool {
        let mut told = unpoisoned(self.told.lock());
        let is_news = !told.contains(&(hearer, is_over));
        if is_news {
            told.push((hearer, is_over));
        }
        is_news
    }

    /// Tells whether that one has heard of it. Asked before there is something to tell it by.
    #[cfg(feature = "tracing")]
    pub(crate) fn is_known_to(&self, hearer: Hearer, is_over: bool) -> bool {
        unpoisoned(self.told.lock()).contains(&(hearer, is_over))
    }

    /// How long ago it was found out.
    #[cfg(feature = "tracing")]
    pub(crate) fn lasted(&self) -> Duration {
        system_now().since(self.began)
    }

    pub(crate) const fn shared_why(&self) -> &Arc<str> {
        &self.why
    }
}

impl fmt::Display for StoreTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.store, self.why)
    }
}
