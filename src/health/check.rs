//! Looking at all breakers and stores of the process.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "fleet")]
use super::report::StoreReport;
use super::report::{BreakerReport, Report, Status};
use crate::breaker::{Sharing, Trouble, each};
#[cfg(feature = "fleet")]
use crate::fleet::stores;

/// What to look at for a [`Report`]. Made once, asked as often as one likes.
///
/// A check looks at one word of each breaker of the process, and takes a lock of those alone that are not closed. It
/// changes nothing: no override expires by it, no circuit becomes half-open, no listener hears of it.
///
/// # Default
///
/// | setting | default |
/// |---|---|
/// | `critical` | none |
/// | `alone_for` | 3 s |
/// | `max_breakers` | 100 |
///
/// ```
/// use fusebox::health::Health;
///
/// let health = Health::process().critical(["payments", "ledger"]).max_breakers(20);
/// assert!(health.check().breakers.is_empty());
/// ```
#[derive(Clone, Debug)]
#[must_use = "it looks when `check` is called"]
pub struct Health {
    critical: Vec<Arc<str>>,
    alone_for: Duration,
    max_breakers: usize,
}

impl Health {
    /// Looks at every breaker of the process, made by hand or by a registry, and at the stores that they share.
    pub const fn process() -> Self {
        Self { critical: Vec::new(), alone_for: Duration::from_secs(3), max_breakers: 100 }
    }

    /// Names breakers that this instance is of no use without, together with those that were named before.
    ///
    /// When such a one takes the instance down stands [above](super). Names are compared as they are; a name that no breaker
    /// has counts for nothing.
    pub fn critical<I>(mut self, names: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        self.critical.extend(names.into_iter().map(|name| Arc::from(name.as_ref())));
        self
    }

    /// Sets for how long a shared breaker must have been open for this instance alone to take it down. Default: 3 s.
    ///
    /// When a dependency fails, its fleet opens a moment after the first instances that notice. Votes travel for up to
    /// 1.5 s where the store does not push; within that time no instance may leave.
    pub const fn alone_for(mut self, duration: Duration) -> Self {
        self.alone_for = duration;
        self
    }

    /// Sets how many breakers a report lists at most. Default: 100. The others are counted in
    /// [`left_out`](Report::left_out), and all of them count for the status.
    pub const fn max_breakers(mut self, max: usize) -> Self {
        self.max_breakers = max;
        self
    }

    /// Looks.
    ///
    /// ```
    /// use fusebox::health::{Health, Status};
    /// use fusebox::{CircuitBreakerConfig, Registry};
    ///
    /// let hosts = Registry::of(CircuitBreakerConfig::new("template")).named("hosts");
    /// for n in 0..250 {
    ///     hosts.breaker(&format!("host-{n}"))?.trip()?;
    /// }
    /// let report = Health::process().check();
    /// assert_eq!((report.status, report.breakers.len(), report.left_out), (Status::Degraded, 100, 150));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn check(&self) -> Report {
        let mut troubles = Vec::new();
        each(|met| troubles.extend(met.trouble()));
        let is_down = troubles.iter().any(|trouble| self.takes_down(trouble));
        // What decides first, then what was made by hand, then what has lasted longest.
        troubles.sort_by_key(|trouble| {
            (!self.is_critical(trouble), !trouble.registry.is_empty(), Reverse(trouble.lasts), trouble.name.clone())
        });
        let left_out = troubles.len().saturating_sub(self.max_breakers);
        let is_calm = troubles.is_empty();
        troubles.truncate(self.max_breakers);
        let breakers =
            troubles.into_iter().map(|trouble| BreakerReport::new(self.is_critical(&trouble), trouble)).collect();
        #[cfg(feature = "fleet")]
        let stores: Vec<_> = stores().into_iter().map(StoreReport::new).collect();
        #[cfg(feature = "fleet")]
        let is_calm = is_calm && stores.iter().all(|store| store.away.is_none());
        let status = match (is_down, is_calm) {
            (true, _) => Status::Down,
            (false, false) => Status::Degraded,
            (false, true) => Status::Up,
        };
        Report {
            status,
            breakers,
            left_out,
            #[cfg(feature = "fleet")]
            stores,
        }
    }

    fn is_critical(&self, trouble: &Trouble) -> bool {
        self.critical.contains(&trouble.name)
    }

    fn takes_down(&self, trouble: &Trouble) -> bool {
        let leaves = match trouble.sharing {
            Sharing::Unshared => true,
            #[cfg(feature = "fleet")]
            Sharing::Alone => trouble.lasts >= self.alone_for,
            #[cfg(feature = "fleet")]
            Sharing::Shared => false,
        };
        leaves && trouble.rejects && trouble.overridden.is_none() && self.is_critical(trouble)
    }
}
