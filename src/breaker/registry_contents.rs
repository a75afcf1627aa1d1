//! What a registry holds: finding, making and forgetting breakers.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use foldhash::fast;

use super::config::CircuitBreakerConfig;
use super::events::EventKind;
use super::handle::CircuitBreaker;
use super::home::Home;
use super::readers::Readers;
#[cfg(feature = "counts")]
use super::registry_counts::RegistryCounts;
use super::registry_name::bounded;
use super::settings::Settings;
use super::start_events::StartEvents;
use super::unguarded::Unguarded;
use crate::clock::system_seconds;
use crate::error::ConfigError;
use crate::key::is_unmatched;
use crate::sync::unpoisoned;
use crate::time::nanos;

pub(super) type Template = dyn Fn(&str) -> Result<CircuitBreakerConfig, ConfigError> + Send + Sync;

/// What the clones of a registry share.
pub(super) struct Inner {
    pub(super) template: Box<Template>,
    shards: [RwLock<Shard>; SHARDS],
    /// Finds the shard of a name, and in it its breaker. Names may come from requests; where some that were made on purpose
    /// meet, a look takes longer, among no more names than a registry may hold.
    hashes: fast::RandomState,
    /// Says which names share an overflow breaker. There they shut one another out, so that no name can be made on purpose
    /// to meet another by it.
    overflow_hashes: RandomState,
    pub(super) len: AtomicUsize,
    /// The second in which a look at all breakers found none to forget, and one more: zero is none.
    found_full: AtomicU64,
    pub(super) max: AtomicUsize,
    /// Nanoseconds.
    pub(super) idle: AtomicU64,
    overflow: [OnceLock<CircuitBreaker>; OVERFLOW],
    pub(super) overflowed: AtomicU64,
    /// Breakers of one template mostly have equal settings; they share the last ones made.
    pub(super) settings: Mutex<Option<Arc<Settings>>>,
    pub(super) unguarded: Unguarded,
    pub(super) readers: Readers,
    pub(super) name: Mutex<Arc<str>>,
    /// What its breakers have counted.
    #[cfg(feature = "counts")]
    pub(super) counts: Arc<RegistryCounts>,
    /// It was told that nothing heeds the outcomes that the template gives.
    told_of_outcomes: AtomicBool,
    /// It was told that the template gives no detector.
    #[cfg(feature = "fleet")]
    advised: AtomicBool,
}

struct Shard {
    breakers: HashMap<Arc<str>, CircuitBreaker, fast::RandomState>,
    /// The second of the last sweep.
    swept: Option<u32>,
}

const SHARDS: usize = 16;
/// Breakers that names beyond the most share, each those of one hash.
const OVERFLOW: usize = 64;

impl Inner {
    pub(super) fn new(template: Box<Template>) -> Self {
        let hashes = fast::RandomState::default();
        let empty = || Shard { breakers: HashMap::with_hasher(hashes.clone()), swept: None };
        Self {
            template,
            shards: std::array::from_fn(|_| RwLock::new(empty())),
            hashes,
            overflow_hashes: RandomState::new(),
            len: AtomicUsize::new(0),
            found_full: AtomicU64::new(0),
            max: AtomicUsize::new(10_000),
            idle: AtomicU64::new(nanos(Duration::from_secs(3600))),
            overflow: std::array::from_fn(|_| OnceLock::new()),
            overflowed: AtomicU64::new(0),
            settings: Mutex::default(),
            unguarded: Unguarded::default(),
            readers: Readers::default(),
            name: Mutex::new(Arc::from("")),
            #[cfg(feature = "counts")]
            counts: RegistryCounts::open(),
            told_of_outcomes: AtomicBool::new(false),
            #[cfg(feature = "fleet")]
            advised: AtomicBool::new(false),
        }
    }

    fn shard(&self, name: &str) -> &RwLock<Shard> {
        // The map inside a shard uses the lowest bits of the same hash, and the highest.
        let hash = self.hashes.hash_one(name);
        &self.shards[usize::try_from(hash >> 32).unwrap_or(0) % SHARDS]
    }

    pub(super) fn find<R>(&self, name: &str, f: impl FnOnce(&CircuitBreaker) -> R) -> Option<R> {
        let shard = read(self.shard(name));
        let breaker = shard.breakers.get(name)?;
        breaker.cell().touch(seconds());
        Some(f(breaker))
    }

    /// All breakers, the overflow breakers last.
    pub(super) fn all(&self) -> Vec<CircuitBreaker> {
        let mut all = Vec::with_capacity(self.len.load(Ordering::Relaxed));
        for shard in &self.shards {
            all.extend(read(shard).breakers.values().cloned());
        }
        all.extend(self.overflow.iter().filter_map(OnceLock::get).cloned());
        all
    }

    /// Adds a breaker that is there already; `false`: its name is taken.
    pub(super) fn insert(&self, breaker: &CircuitBreaker) -> bool {
        let name = breaker.name();
        // As it is looked for.
        let key: Arc<str> = match bounded(&name) {
            Cow::Borrowed(_) => name.clone(),
            Cow::Owned(cut) => cut.into(),
        };
        let mut shard = write(self.shard(&key));
        if shard.breakers.contains_key(&key) {
            return false;
        }
        shard.breakers.insert(key, breaker.clone());
        drop(shard);
        self.len.fetch_add(1, Ordering::Relaxed);
        self.hear_of(breaker);
        true
    }

    pub(super) fn remove(&self, name: &str) -> Option<CircuitBreaker> {
        let removed = write(self.shard(name)).breakers.remove(name)?;
        #[cfg(feature = "counts")]
        self.counts.keep(removed.cell().counts());
        self.len.fetch_sub(1, Ordering::Relaxed);
        self.readers.leave(&removed);
        Some(removed)
    }

    /// Makes a breaker; `is_fallback`: requests share it that have no key of their own.
    pub(super) fn make(&self, name: &str, is_fallback: bool) -> Result<CircuitBreaker, ConfigError> {
        // The template is a user's code: it runs outside the lock.
        let config = (self.template)(name)?;
        if self.is_known_to_be_full() {
            return self.find(name, CircuitBreaker::clone).map_or_else(|| self.overflow(name), Ok);
        }
        let mut forgotten = Vec::new();
        let mut shard = write(self.shard(name));
        if let Some(breaker) = shard.breakers.get(name) {
            return Ok(breaker.clone());
        }
        if !self.take_place() && !self.make_room(&mut shard, &mut forgotten) {
            drop(shard);
            return self.overflow(name);
        }
        let (name, start): (Arc<str>, _) = (Arc::from(name), self.at_start(&config));
        let breaker = self.build(name.clone(), config);
        shard.breakers.insert(name, breaker.clone());
        drop(shard);
        self.hear_of(&breaker);
        // Dropped outside the lock: what a breaker holds may be a user's.
        drop(forgotten);
        start.tell(breaker.cell());
        if is_fallback || is_unmatched(breaker.name().as_ref()) {
            breaker.cell().tell(EventKind::FallbackKeyUsed);
        }
        Ok(breaker)
    }

    /// What a breaker that has won its place is to tell. Of outcomes that nothing heeds the first of a registry tells.
    fn at_start(&self, config: &CircuitBreakerConfig) -> StartEvents {
        let mut start = StartEvents::of(&config.settings);
        if start.ignores_outcomes {
            start.ignores_outcomes = !self.told_of_outcomes.swap(true, Ordering::Relaxed);
        }
        start
    }

    /// A breaker that has won its place. Readers hear of it, and later, outside every lock, what happened when it was made.
    fn build(&self, name: Arc<str>, config: CircuitBreakerConfig) -> CircuitBreaker {
        #[cfg_attr(not(feature = "fleet"), expect(unused_mut, reason = "only a fleet has something to say of it"))]
        let CircuitBreakerConfig { detector, mut settings, .. } = config;
        #[cfg(feature = "fleet")]
        if settings.has_default_rule && self.advised.swap(true, Ordering::Relaxed) {
            Arc::make_mut(&mut settings).has_default_rule = false;
        }
        #[cfg(feature = "counts")]
        let home = Home::Registry(Arc::clone(&self.counts));
        #[cfg(not(feature = "counts"))]
        let home = Home::Name;
        let breaker = CircuitBreaker::with_settings(name, detector, self.shared(settings), home);
        breaker.cell().touch(seconds());
        self.readers.hear_of(&breaker);
        breaker
    }

    /// A breaker can be found. A stream may have begun before; and another thread may have removed the breaker since.
    pub(super) fn hear_of(&self, breaker: &CircuitBreaker) {
        self.readers.hear_of(breaker);
        if !self.holds(breaker) {
            self.readers.leave(breaker);
        }
    }

    /// Tells whether a breaker is the registry's.
    pub(super) fn holds(&self, breaker: &CircuitBreaker) -> bool {
        let (name, is_it) = (breaker.name(), |other: &CircuitBreaker| std::ptr::eq(other.cell(), breaker.cell()));
        let key = bounded(&name);
        read(self.shard(&key)).breakers.get(&*key).is_some_and(is_it)
            || self.overflow.iter().filter_map(OnceLock::get).any(is_it)
    }

    /// Counts one more breaker, if there may be one more.
    fn take_place(&self) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let more = |len: usize| (len < max).then(|| len + 1);
        self.len.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Takes out what has been idle for long enough, and a place if there is one then; looks at most once a second at each
    /// shard, since it looks at every breaker.
    fn make_room(&self, shard: &mut Shard, forgotten: &mut Vec<CircuitBreaker>) -> bool {
        let now = seconds();
        let mut others: Vec<_> = self.shards.iter().filter_map(|other| other.try_write().ok()).collect();
        let mut shards: Vec<_> = others.iter_mut().map(|other| &mut **other).chain([shard]).collect();
        let sees_all = shards.len() == SHARDS;
        shards.retain_mut(|shard| shard.swept.replace(now) != Some(now));
        for may_know_failures in [false, true] {
            for shard in &mut shards {
                self.sweep(shard, may_know_failures, forgotten);
            }
            if self.take_place() {
                return true;
            }
        }
        if sees_all {
            self.found_full.store(u64::from(now) + 1, Ordering::Relaxed);
        }
        false
    }

    /// Whether a look at all breakers has found no room in this second, and none was made since. A flood of names would look
    /// at each call, behind every lock.
    fn is_known_to_be_full(&self) -> bool {
        self.found_full.load(Ordering::Relaxed) == u64::from(seconds()) + 1
            && self.len.load(Ordering::Relaxed) >= self.max.load(Ordering::Relaxed)
    }

    fn sweep(&self, shard: &mut Shard, may_know_failures: bool, forgotten: &mut Vec<CircuitBreaker>) {
        let now = seconds();
        let idle = self.idle.load(Ordering::Relaxed).div_ceil(1_000_000_000);
        let before = shard.breakers.len();
        shard.breakers.retain(|_, breaker| {
            let unused = u64::from(breaker.cell().unused_for(now)) >= idle;
            let is_free = || if may_know_failures { !breaker.cell().protects() } else { breaker.cell().is_idle() };
            let keep = !(unused && breaker.is_only_handle() && is_free());
            if !keep {
                #[cfg(feature = "counts")]
                self.counts.forget(breaker.cell().counts());
                forgotten.push(breaker.clone());
            }
            keep
        });
        self.len.fetch_sub(before - shard.breakers.len(), Ordering::Relaxed);
    }

    /// Which of the overflow breakers a name has.
    fn overflow_of(&self, name: &str) -> (usize, &OnceLock<CircuitBreaker>) {
        let at = usize::try_from(self.overflow_hashes.hash_one(name) % OVERFLOW as u64).unwrap_or(0);
        (at, &self.overflow[at])
    }

    /// The overflow breaker of a name, counted. Where the template refuses it, it is asked again for the next name.
    pub(super) fn overflow(&self, name: &str) -> Result<CircuitBreaker, ConfigError> {
        let (at, place) = self.overflow_of(name);
        let breaker = match place.get() {
            Some(breaker) => breaker.clone(),
            None => self.make_overflow(at, place)?,
        };
        self.overflowed.fetch_add(1, Ordering::Relaxed);
        Ok(breaker)
    }

    fn make_overflow(&self, at: usize, place: &OnceLock<CircuitBreaker>) -> Result<CircuitBreaker, ConfigError> {
        // The template and listeners are a user's code, which may ask for the same place: they run while it is free.
        let name = overflow_name(at);
        let config = (self.template)(&name)?;
        let mut start = None;
        let breaker = place.get_or_init(|| {
            start = Some(self.at_start(&config));
            self.build(name.into(), config)
        });
        if let Some(start) = start {
            self.hear_of(breaker);
            start.tell(breaker.cell());
        }
        Ok(breaker.clone())
    }

    fn shared(&self, mut settings: Arc<Settings>) -> Arc<Settings> {
        let name = unpoisoned(self.name.lock()).clone();
        let mut last = unpoisoned(self.settings.lock());
        match &*last {
            Some(last) if last.registry == name && last.is_same(&settings) => last.clone(),
            _ => {
                Arc::make_mut(&mut settings).registry = name;
                last.insert(settings).clone()
            }
        }
    }
}

#[cfg(feature = "counts")]
impl Inner {
    /// Shows it every breaker that it holds, by the name that it is kept under; the overflow breakers last.
    pub(super) fn each(&self, mut f: impl FnMut(&Arc<str>, &CircuitBreaker)) {
        for shard in &self.shards {
            read(shard).breakers.iter().for_each(|(name, breaker)| f(name, breaker));
        }
        for (at, breaker) in self.overflow.iter().enumerate() {
            if let Some(breaker) = breaker.get() {
                f(&overflow_name(at).into(), breaker);
            }
        }
    }
}

/// Its breakers may be in other hands, and go on counting for it.
#[cfg(feature = "counts")]
impl Drop for Inner {
    fn drop(&mut self) {
        self.each(|_, breaker| self.counts.keep(breaker.cell().counts()));
    }
}

fn overflow_name(at: usize) -> String {
    format!("(overflow {at})")
}

/// Seconds on the coarse clock.
fn seconds() -> u32 {
    u32::try_from(system_seconds() & u64::from(u32::MAX)).unwrap_or(0)
}

fn read(shard: &RwLock<Shard>) -> RwLockReadGuard<'_, Shard> {
    unpoisoned(shard.read())
}

fn write(shard: &RwLock<Shard>) -> RwLockWriteGuard<'_, Shard> {
    unpoisoned(shard.write())
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("name", &*unpoisoned(self.name.lock()))
            .field("len", &self.len)
            .field("max", &self.max)
            .field("overflowed", &self.overflowed)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, not(fusebox_loom)))]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    fn full() -> Inner {
        let inner = Inner::new(Box::new(|name| Ok(CircuitBreakerConfig::new(name))));
        inner.max.store(1, Ordering::Relaxed);
        inner.make("first", false).expect("there is room");
        inner
    }

    /// Has it look at all its breakers, in a second that has just begun.
    fn looked_at(inner: &Inner) -> u32 {
        let before = seconds();
        while seconds() == before {
            thread::yield_now();
        }
        while !inner.is_known_to_be_full() {
            let other = inner.make("one more", false).expect("an overflow breaker");
            assert!(other.name().starts_with("(overflow "), "{}", other.name());
        }
        seconds()
    }

    /// A flood of names waits for no caller, nor a caller for it.
    #[test]
    fn a_name_without_room_waits_for_no_other_names_lock() {
        let inner = Arc::new(full());
        loop {
            let second = looked_at(&inner);
            let readers: Vec<_> = inner.shards.iter().map(read).collect();
            let (tell, told) = mpsc::channel();
            let other = Arc::clone(&inner);
            let flood = thread::spawn(move || {
                let breaker = other.make("another", false).expect("an overflow breaker");
                tell.send(breaker.name()).ok();
            });
            let in_time = told.recv_timeout(Duration::from_millis(300));
            let is_over = seconds() != second;
            drop(readers);
            flood.join().expect("no panic");
            match in_time {
                Ok(name) => return assert!(name.starts_with("(overflow "), "{name}"),
                // In another second it looks again, and waits.
                Err(_) => assert!(is_over, "it waits for readers"),
            }
        }
    }

    #[test]
    fn a_place_that_is_free_again_is_taken_at_once() {
        let inner = full();
        looked_at(&inner);
        inner.remove("first").expect("it is there");
        assert_eq!(&*inner.make("second", false).expect("there is room").name(), "second");
        looked_at(&inner);
        inner.max.store(2, Ordering::Relaxed);
        assert_eq!(&*inner.make("third", false).expect("there is room").name(), "third");
    }
}
