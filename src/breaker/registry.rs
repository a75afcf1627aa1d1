//! Breakers by name.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
#[cfg(feature = "fleet")]
use std::sync::atomic::AtomicBool;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::config::CircuitBreakerConfig;
use super::events::EventKind;
use super::handle::CircuitBreaker;
use super::readers::Readers;
use super::settings::Settings;
use super::unguarded::Unguarded;
use crate::clock::system_coarse;
use crate::error::ConfigError;
use crate::guard::guarded;
use crate::key::is_unmatched;
use crate::sync::unpoisoned;
use crate::text::OneLine;
use crate::time::nanos;

/// Breakers by name, made from a template when they are first asked for.
///
/// It is bounded: beyond [`max`](Self::max) it forgets breakers that were not used for [`idle`](Self::idle): first those of
/// which nothing is known, then those with failures in their window or a circuit whose cooldown is over. One that protects is
/// never forgotten (open, half-open with a probe on its way, overridden, or with a handle elsewhere). Where nothing can
/// be forgotten, further names share 64 overflow breakers, `(overflow 0)` to `(overflow 63)`: each name always has the same,
/// so that names made from requests can neither fill the memory, nor fail a call, nor shut out more than a few others. A name
/// of more than 255 bytes is cut, and a hash of it stands at its end. Clones are the same registry.
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

pub(super) type Template = dyn Fn(&str) -> Result<CircuitBreakerConfig, ConfigError> + Send + Sync;

pub(super) struct Inner {
    pub(super) template: Box<Template>,
    shards: [RwLock<Shard>; SHARDS],
    hasher: RandomState,
    len: AtomicUsize,
    max: AtomicUsize,
    /// Nanoseconds.
    idle: AtomicU64,
    overflow: [OnceLock<CircuitBreaker>; OVERFLOW],
    overflowed: AtomicU64,
    /// Breakers of one template mostly have equal settings; they share the last ones made.
    pub(super) settings: Mutex<Option<Arc<Settings>>>,
    pub(super) unguarded: Unguarded,
    pub(super) readers: Readers,
    name: Mutex<Arc<str>>,
    /// It was told that the template gives no detector.
    #[cfg(feature = "fleet")]
    advised: AtomicBool,
}

#[derive(Default)]
struct Shard {
    breakers: HashMap<Arc<str>, CircuitBreaker>,
    /// The second of the last sweep.
    swept: Option<u32>,
}

const SHARDS: usize = 16;
/// Breakers that names beyond the most share, each those of one hash.
const OVERFLOW: usize = 64;
/// The longest name, in bytes, and how much of a longer one is kept.
const LONGEST_NAME: usize = 255;
const KEPT: usize = 200;

/// A name that is no longer than it may be. The same in every process and release, so that a fleet meets under it.
pub(super) fn bounded(name: &str) -> Cow<'_, str> {
    if name.len() <= LONGEST_NAME {
        return Cow::Borrowed(name);
    }
    Cow::Owned(format!("{}~{:032x}", &name[..name.floor_char_boundary(KEPT)], fnv(name.as_bytes())))
}

/// FNV-1a of 128 bits (Fowler, Noll, Vo; RFC 9923): small, and specified, as the standard library's hashes are not.
fn fnv(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
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
        let inner = Inner {
            template: Box::new(template),
            shards: Default::default(),
            hasher: RandomState::new(),
            len: AtomicUsize::new(0),
            max: AtomicUsize::new(10_000),
            idle: AtomicU64::new(nanos(Duration::from_secs(3600))),
            overflow: std::array::from_fn(|_| OnceLock::new()),
            overflowed: AtomicU64::new(0),
            settings: Mutex::default(),
            unguarded: Unguarded::default(),
            readers: Readers::default(),
            name: Mutex::new(Arc::from("")),
            #[cfg(feature = "fleet")]
            advised: AtomicBool::new(false),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes a registry whose breakers are all configured like `template`, each under its own name.
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

    /// Names the registry, for labels of metrics and logs: breakers of several registries may have the same name. Default: an
    /// empty name.
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
        *unpoisoned(self.inner.name.lock()) = Arc::from(name.as_ref());
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

    /// Sets after how long without a call a breaker may be forgotten, in whole seconds (a part counts as one).
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

    /// Returns the breaker of that name, and makes it if there is none; beyond `max`, the overflow breaker.
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

    pub(super) fn insert(&self, breaker: &CircuitBreaker) -> Result<(), NameTaken> {
        let name = breaker.name();
        // As it is looked for.
        let key: Arc<str> = match bounded(&name) {
            Cow::Borrowed(_) => name.clone(),
            Cow::Owned(cut) => cut.into(),
        };
        let mut shard = write(self.inner.shard(&key));
        if shard.breakers.contains_key(&key) {
            return Err(NameTaken { name });
        }
        shard.breakers.insert(key, breaker.clone());
        drop(shard);
        self.inner.len.fetch_add(1, Ordering::Relaxed);
        self.inner.hear_of(breaker);
        Ok(())
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
        let name = &*bounded(name);
        let removed = write(self.inner.shard(name)).breakers.remove(name)?;
        self.inner.len.fetch_sub(1, Ordering::Relaxed);
        self.inner.readers.leave(&removed);
        Some(removed)
    }

    /// Returns all breakers, in no order; overflow breakers, if there are any, come last.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Registry};
    ///
    /// let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build());
    /// registry.breaker("tenant-7")?;
    /// registry.breaker("tenant-8")?.trip()?;
    /// let open: Vec<_> = registry.iter().filter(CircuitBreaker::is_open).map(|breaker| breaker.name().to_string()).collect();
    /// assert_eq!(open, ["tenant-8"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = CircuitBreaker> + use<> {
        let mut all = Vec::with_capacity(self.len());
        for shard in &self.inner.shards {
            all.extend(read(shard).breakers.values().cloned());
        }
        all.extend(self.inner.overflow.iter().filter_map(OnceLock::get).cloned());
        all.into_iter()
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

    /// Returns how often a name got an overflow breaker. Not zero: raise `max`, or key by something with fewer values; or the
    /// template refuses names, of which the event [`TemplateFailed`](crate::EventKind::TemplateFailed) tells.
    #[must_use]
    pub fn overflowed(&self) -> u64 {
        self.inner.overflowed.load(Ordering::Relaxed)
    }

    /// Returns how many requests of keyed layers were not guarded: they had no key, or the template refused their name and
    /// even the overflow breaker. Not zero: see the events [`Unguarded`](crate::EventKind::Unguarded) and
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

impl Inner {
    fn shard(&self, name: &str) -> &RwLock<Shard> {
        // The map inside a shard uses the hash's other bits.
        let hash = self.hasher.hash_one(name);
        &self.shards[usize::try_from(hash >> 60).unwrap_or(0)]
    }

    pub(super) fn find<R>(&self, name: &str, f: impl FnOnce(&CircuitBreaker) -> R) -> Option<R> {
        let shard = read(self.shard(name));
        let breaker = shard.breakers.get(name)?;
        breaker.cell().touch(seconds());
        Some(f(breaker))
    }

    /// Makes a breaker; `is_fallback`: requests share it that have no key of their own.
    pub(super) fn make(&self, name: &str, is_fallback: bool) -> Result<CircuitBreaker, ConfigError> {
        // The template is a user's code: it runs outside the lock.
        let config = (self.template)(name)?;
        let mut forgotten = Vec::new();
        let mut shard = write(self.shard(name));
        if let Some(breaker) = shard.breakers.get(name) {
            return Ok(breaker.clone());
        }
        if !self.take_place() && !self.make_room(&mut shard, &mut forgotten) {
            drop(shard);
            return self.overflow(name);
        }
        let (name, is_held): (Arc<str>, _) = (Arc::from(name), config.settings.initial_override.is_some());
        let breaker = self.build(name.clone(), config);
        shard.breakers.insert(name, breaker.clone());
        drop(shard);
        self.hear_of(&breaker);
        // Dropped outside the lock: what a breaker holds may be a user's.
        drop(forgotten);
        if is_held {
            breaker.cell().tell_of_start();
        }
        if is_fallback || is_unmatched(breaker.name().as_ref()) {
            breaker.cell().tell(EventKind::FallbackKeyUsed);
        }
        Ok(breaker)
    }

    /// A breaker that has won its place. Readers hear of it, and later, outside every lock, what happened when it was made.
    fn build(&self, name: Arc<str>, config: CircuitBreakerConfig) -> CircuitBreaker {
        #[cfg_attr(not(feature = "fleet"), expect(unused_mut, reason = "only a fleet has something to say of it"))]
        let CircuitBreakerConfig { detector, mut settings, .. } = config;
        #[cfg(feature = "fleet")]
        if settings.has_default_rule && self.advised.swap(true, Ordering::Relaxed) {
            Arc::make_mut(&mut settings).has_default_rule = false;
        }
        let breaker = CircuitBreaker::with_settings(name, detector, self.shared(settings));
        breaker.cell().touch(seconds());
        self.readers.hear_of(&breaker);
        breaker
    }

    /// A breaker can be found. A stream may have begun before; and another thread may have removed the breaker since.
    fn hear_of(&self, breaker: &CircuitBreaker) {
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
        shards.retain_mut(|shard| shard.swept.replace(now) != Some(now));
        for may_know_failures in [false, true] {
            for shard in &mut shards {
                self.sweep(shard, may_know_failures, forgotten);
            }
            if self.take_place() {
                return true;
            }
        }
        false
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
                forgotten.push(breaker.clone());
            }
            keep
        });
        self.len.fetch_sub(before - shard.breakers.len(), Ordering::Relaxed);
    }

    /// Which of the overflow breakers a name has.
    fn overflow_of(&self, name: &str) -> (usize, &OnceLock<CircuitBreaker>) {
        let at = usize::try_from(self.hasher.hash_one(name) % OVERFLOW as u64).unwrap_or(0);
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
        let name = format!("(overflow {at})");
        let config = (self.template)(&name)?;
        let is_held = config.settings.initial_override.is_some();
        let mut is_new = false;
        let breaker = place.get_or_init(|| {
            is_new = true;
            self.build(name.into(), config)
        });
        if is_new {
            self.hear_of(breaker);
            if is_held {
                breaker.cell().tell_of_start();
            }
        }
        Ok(breaker.clone())
    }

    fn shared(&self, settings: Arc<Settings>) -> Arc<Settings> {
        let mut last = unpoisoned(self.settings.lock());
        match &*last {
            Some(last) if Arc::ptr_eq(last, &settings) || last.is_same(&settings) => last.clone(),
            _ => last.insert(settings).clone(),
        }
    }
}

/// Seconds on the coarse clock.
fn seconds() -> u32 {
    u32::try_from((system_coarse().as_nanos() / 1_000_000_000) & u64::from(u32::MAX)).unwrap_or(0)
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

impl CircuitBreaker {
    /// Adds the breaker to [`Registry::global`].
    ///
    /// # Errors
    ///
    /// [`NameTaken`] when another breaker has that name there.
    ///
    /// ```
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig, Registry};
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.register()?; // now an admin page can find it
    /// assert_eq!(Registry::global().get("payments").unwrap().name(), breaker.name());
    /// # Ok::<(), fusebox::circuit_breaker::NameTaken>(())
    /// ```
    pub fn register(&self) -> Result<(), NameTaken> {
        Registry::global().insert(self)
    }
}

/// A registry already holds a breaker of that name.
///
/// ```
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// let (one, other) = (CircuitBreakerConfig::new("mailer"), CircuitBreakerConfig::new("mailer"));
/// CircuitBreaker::new(one).register()?;
/// let taken = CircuitBreaker::new(other).register().unwrap_err();
/// assert!(taken.to_string().contains("`mailer` is registered already"));
/// # Ok::<(), fusebox::circuit_breaker::NameTaken>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameTaken {
    name: Arc<str>,
}

impl NameTaken {
    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for NameTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a circuit breaker named `{}` is registered already: give this one another name", OneLine(&self.name))
    }
}

impl Error for NameTaken {}

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

    /// By the test vectors of RFC 9923.
    #[test]
    fn names_are_hashed_as_the_rfc_has_it() {
        assert_eq!(fnv(b""), 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
        assert_eq!(fnv(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(fnv(b"foobar"), 0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18);
    }
}
