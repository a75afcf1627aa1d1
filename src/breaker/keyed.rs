//! Calls through a registry by key.

use std::sync::Arc;

#[cfg(feature = "tracing")]
use super::events::trace;
use super::events::{Event, EventKind, Occurrence, tell_of_none};
use super::permit::Permit;
use super::registry::Registry;
use super::registry_contents::Inner;
use super::registry_name::bounded;
use super::settings::Settings;
use super::unguarded::{NAME, Told};
use crate::circuit::Generation;
use crate::error::ConfigError;
use crate::rejected::Rejected;
use crate::sync::unpoisoned;

impl Registry {
    /// Asks the breaker of that name, made if need be, for a call; where there is no name, or the template refuses it, the
    /// breaker named `fallback`. `None`: there is none for it.
    pub(crate) fn acquire(&self, name: Option<&str>, fallback: Option<&str>) -> Option<Result<Permit, Rejected>> {
        let inner = &*self.inner;
        let answer = match (name, fallback) {
            (Some(name), fallback) => inner
                .acquire(&bounded(name), false, fallback.is_none())
                .or_else(|| inner.acquire(&bounded(fallback?), true, true)),
            (None, Some(fallback)) => inner.acquire(&bounded(fallback), true, true),
            (None, None) => {
                inner
                    .unguarded
                    .unkeyed
                    .once(|| inner.tell_of_none(&inner.unguarded.unkeyed, NAME, EventKind::Unguarded, None));
                None
            }
        };
        if answer.is_none() {
            inner.unguarded.add();
        }
        answer
    }
}

impl Inner {
    /// `None`: the template refuses the name, and the overflow breaker is not wanted, or refused as well.
    fn acquire(&self, name: &str, is_fallback: bool, may_overflow: bool) -> Option<Result<Permit, Rejected>> {
        // Listeners run in what cannot be answered at once, and they may call the registry: not under its lock.
        let answer = self.find(name, |breaker| breaker.cell().acquire_quietly().ok_or_else(|| breaker.clone()));
        let breaker = match answer {
            Some(Ok(answer)) => return Some(answer),
            Some(Err(breaker)) => breaker,
            None => match self.make(name, is_fallback) {
                Ok(breaker) => breaker,
                Err(error) => {
                    self.unguarded.refused.once(|| {
                        self.tell_of_none(&self.unguarded.refused, name, EventKind::TemplateFailed, Some(error))
                    });
                    if !may_overflow {
                        return None;
                    }
                    self.overflow(name).ok()?
                }
            },
        };
        Some(breaker.acquire())
    }

    /// Tells the listeners that the template gives, readers and logs; `false` where there are none.
    fn tell_of_none(&self, told: &Told, name: &str, kind: EventKind, error: Option<ConfigError>) -> bool {
        let (settings, readers) = (self.any_settings(), self.readers.all());
        let is_heard = settings.is_some() || !readers.is_empty();
        if !is_heard && !told.is_for_logs() {
            return false;
        }
        let settings = settings.unwrap_or_default();
        let occurrence = Occurrence::new(kind, Generation::new(0), settings.clock.now());
        let what = Occurrence { config_error: error.map(Arc::new), ..occurrence };
        let event = Event { breaker: Arc::from(name), what };
        #[cfg(feature = "tracing")]
        if told.log() {
            let registry = unpoisoned(self.name.lock()).clone();
            trace::tell(&registry, &event, None);
        }
        tell_of_none(&settings.listeners, &readers, &event);
        is_heard
    }

    /// The settings of a breaker as the template makes them. No breaker is made for that: it would join a fleet.
    fn any_settings(&self) -> Option<Arc<Settings>> {
        let last = unpoisoned(self.settings.lock()).clone();
        last.or_else(|| (self.template)(NAME).ok().map(|config| config.settings))
    }
}
