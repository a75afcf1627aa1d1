//! Collecting from every breaker of the process.

use super::breakers::tell_breakers;
#[cfg(feature = "fleet")]
use super::fleets::tell_fleets;
use super::news::tell_news;
use super::registries::tell_registries;
use super::retries::tell_retries;
use super::sink::Sink;
#[cfg(feature = "fleet")]
use super::stores::tell_stores;
use crate::breaker::Survey;

/// Collects from every breaker of the process, made by hand or by a registry. Nothing is registered beforehand.
///
/// Collecting takes no lock of a healthy breaker, unless that shares its state over a store. It changes nothing (an override
/// that is over stands until a call, or a look at the breaker, ends it), and tells no listener. It reads what each thread has
/// counted, so it takes some nanoseconds for each breaker and thread.
///
/// See the [module](super) for what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "it collects nothing by itself"]
pub struct Collector {
    keys: Keys,
}

/// Which breakers of a registry have series of their own.
///
/// Keys are often made from requests, so they are no labels: a registry is one set of series. What an operator asks first is
/// which keys are in trouble. Those that are not closed have a series of `fusebox_breaker_state`, for as long as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keys {
    /// None.
    None,
    /// Those that are not closed: the oldest trouble first, and no more than so many of a registry's name. How many are left
    /// out is a series of its own.
    Troubled {
        /// So many.
        most: usize,
    },
}

impl Collector {
    /// Collects from the whole process, and names at most 100 keys of each registry.
    pub const fn process() -> Self {
        Self { keys: Keys::Troubled { most: 100 } }
    }

    /// Sets which breakers of registries have series of their own.
    ///
    /// ```
    /// use fusebox::telemetry::{Collector, Keys};
    ///
    /// let without_names = Collector::process().keys(Keys::None);
    /// let more = Collector::process().keys(Keys::Troubled { most: 1_000 });
    /// assert_ne!(without_names, more);
    /// ```
    pub const fn keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// Hands everything to a sink, now.
    pub fn collect(&self, sink: &mut impl Sink) {
        let survey = Survey::of_process();
        tell_breakers(&survey, self.most_keys(), sink);
        tell_registries(&survey, self.most_keys(), sink);
        tell_retries(sink);
        tell_news(sink);
        #[cfg(feature = "fleet")]
        {
            tell_fleets(&survey, sink);
            tell_stores(sink);
        }
    }

    const fn most_keys(self) -> usize {
        match self.keys {
            Keys::None => 0,
            Keys::Troubled { most } => most,
        }
    }
}

impl Default for Collector {
    fn default() -> Self {
        Self::process()
    }
}
