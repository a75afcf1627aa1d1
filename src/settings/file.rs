//! One whole file of named templates.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error};

use super::path::Path;
use super::read::read;
use super::references::{check, shown};
use super::table::{Kind, meant, or};
use super::tables::{FILE, apply, retry};
use super::value::{Fields, Value};
use crate::attempts::{Budget, RetryConfig, Timed};
use crate::breaker::{Asked, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Registry};
use crate::classify::Outcomes;
use crate::error::ConfigError;
use crate::explanation::Explanation;
#[cfg(feature = "fleet")]
use crate::fleet::Fleet;
#[cfg(feature = "fleet")]
use crate::store::Store;

/// One whole file of named templates. It has breakers, registries, retries, and the budgets and fleets that they share.
///
/// What it makes is made anew each time it is asked: keep a [`Registry`] and clone it. See the [module](super) for the
/// format.
///
/// ```
/// use fusebox::{CircuitBreaker, settings::Settings};
///
/// let settings: Settings = serde_json::from_str(
///     r#"{ "breakers": { "payments": { "cooldown": "10s" }, "search": {} } }"#,
/// )?;
/// for name in settings.breakers() {
///     CircuitBreaker::new(settings.breaker(name)?).register()?;
/// }
/// let error = settings.breaker("paymnets").unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "`breakers` is \"paymnets\", allowed is \"payments\" or \"search\"; did you mean `payments`?",
/// );
/// # Ok::<(), fusebox::BoxError>(())
/// ```
#[derive(Clone)]
pub struct Settings {
    breakers: BTreeMap<String, Fields>,
    registries: BTreeMap<String, Keyed>,
    retries: BTreeMap<String, RetryConfig<Timed>>,
    budgets: BTreeMap<String, Budget>,
    #[cfg(feature = "fleet")]
    fleets: BTreeMap<String, Fleet>,
    #[cfg(feature = "fleet")]
    store: Option<Arc<dyn Store>>,
    each: Vec<Each>,
}

/// What is done to each breaker that is made.
type Each = Arc<dyn Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder + Send + Sync>;

/// What a registry is made from.
#[derive(Clone)]
struct Keyed {
    max: Option<usize>,
    idle: Option<std::time::Duration>,
    template: Fields,
    keys: BTreeMap<String, Fields>,
    /// Whether its outcomes are asked for.
    asked: Asked,
}

impl Settings {
    /// Returns the configuration of the breaker of that name.
    ///
    /// # Errors
    ///
    /// The file has none of that name; or it names a fleet, and there is no `store`.
    pub fn breaker(&self, name: &str) -> Result<CircuitBreakerConfig, ConfigError> {
        let fields = find("breakers", &self.breakers, name)?;
        let at = Path::Root.key("breakers");
        self.config(fields, CircuitBreakerConfig::builder(name)).map_err(|error| error.within(&at.key(name)))
    }

    /// Makes the registry of that name, which is [named](Registry::named) so.
    ///
    /// Clone it: asked again, this makes another one, with breakers of its own.
    ///
    /// ```
    /// use fusebox::settings::Settings;
    ///
    /// let settings: Settings = toml::from_str(
    ///     "[registries.hosts]\nmax = 500\ncooldown = '5s'\n[registries.hosts.keys.'slow.example']\ncooldown = '1m'",
    /// )?;
    /// let hosts = settings.registry("hosts")?;
    /// for (host, seconds) in [("slow.example", 60), ("other.example", 5)] {
    ///     let breaker = hosts.breaker(host)?;
    ///     breaker.trip()?;
    ///     assert_eq!(breaker.retry_after().map(|wait| wait.as_secs_f64().ceil()), Some(f64::from(seconds)));
    /// }
    /// # Ok::<(), fusebox::BoxError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The file has none of that name; or it names a fleet, and there is no `store`.
    pub fn registry(&self, name: &str) -> Result<Registry, ConfigError> {
        let of = find("registries", &self.registries, name)?;
        let (template, keys) = self.templates(name, of)?;
        let mut registry = Registry::new(move |key| match key {
            "" => Err(ConfigError::no_name()),
            _ => Ok(keys.get(key).unwrap_or(&template).clone().named(key)),
        })
        .named(name);
        if let Some(max) = of.max {
            registry = registry.max(max);
        }
        if let Some(idle) = of.idle {
            registry = registry.idle(idle);
        }
        Ok(registry)
    }

    /// Returns the `outcomes` of the registry of that name. One layer judges the calls of all keys, so they are its
    /// classifier's.
    ///
    /// ```
    /// use fusebox::settings::Settings;
    /// use fusebox::{CircuitBreakerLayer, classify, key};
    ///
    /// let settings: Settings = toml::from_str("[registries.hosts]\noutcomes.failures = [404]")?;
    /// let classifier = classify::http().outcomes(settings.outcomes("hosts")?);
    /// let layer = CircuitBreakerLayer::keyed_by(settings.registry("hosts")?, key::authority()).classify(classifier);
    /// # let _ = layer;
    /// # Ok::<(), fusebox::BoxError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The file has no registry of that name.
    pub fn outcomes(&self, registry: &str) -> Result<Outcomes, ConfigError> {
        let Keyed { template, asked, .. } = find("registries", &self.registries, registry)?;
        asked.mark();
        Ok(template.clone().take("outcomes").unwrap_or_default())
    }

    /// Returns the configuration of the retry of that name. Retries that name one budget share it.
    ///
    /// # Errors
    ///
    /// The file has none of that name.
    pub fn retry(&self, name: &str) -> Result<RetryConfig<Timed>, ConfigError> {
        find("retries", &self.retries, name).cloned()
    }

    /// Returns the budget of that name, the one that the retries share which name it.
    ///
    /// # Errors
    ///
    /// The file has none of that name.
    pub fn budget(&self, name: &str) -> Result<Budget, ConfigError> {
        find("budgets", &self.budgets, name).cloned()
    }

    /// Returns the fleet of that name.
    ///
    /// # Errors
    ///
    /// The file has none of that name.
    #[cfg(feature = "fleet")]
    pub fn fleet(&self, name: &str) -> Result<Fleet, ConfigError> {
        find("fleets", &self.fleets, name).cloned()
    }

    /// Sets the store for all breakers that have a `fleet` in the file. The others stay by themselves.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use fusebox::{settings::Settings, store::MemoryStore};
    ///
    /// let settings: Settings = toml::from_str("[breakers.payments]\nfleet = 'ours'\n[fleets.ours]\nvotes = 2")?;
    /// assert!(settings.breaker("payments").is_err(), "shared with whom?");
    /// let settings = settings.store(Arc::new(MemoryStore::new()));
    /// assert!(settings.breaker("payments").is_ok());
    /// # Ok::<(), fusebox::BoxError>(())
    /// ```
    #[cfg(feature = "fleet")]
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// Does the same to each breaker that is made from the file. It is for listeners, a clock, and whatever a file
    /// cannot say.
    ///
    /// ```
    /// use fusebox::{ManualClock, settings::Settings};
    ///
    /// let settings: Settings = toml::from_str("[breakers.payments]\ncooldown = '10s'")?;
    /// let clock = ManualClock::new();
    /// let settings = settings.each(move |breaker| breaker.clock(clock.clone()).on_event(|event| eprintln!("{event}")));
    /// assert!(settings.breaker("payments").is_ok());
    /// # Ok::<(), fusebox::BoxError>(())
    /// ```
    #[must_use]
    pub fn each<F>(mut self, f: F) -> Self
    where
        F: Fn(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder + Send + Sync + 'static,
    {
        self.each.push(Arc::new(f));
        self
    }

    /// Returns the names of the breakers.
    pub fn breakers(&self) -> impl Iterator<Item = &str> {
        self.breakers.keys().map(String::as_str)
    }

    /// Returns the names of the registries.
    pub fn registries(&self) -> impl Iterator<Item = &str> {
        self.registries.keys().map(String::as_str)
    }

    /// Returns the names of the retries.
    pub fn retries(&self) -> impl Iterator<Item = &str> {
        self.retries.keys().map(String::as_str)
    }

    /// Returns the names of the budgets.
    pub fn budgets(&self) -> impl Iterator<Item = &str> {
        self.budgets.keys().map(String::as_str)
    }

    /// Returns the names of the fleets.
    #[cfg(feature = "fleet")]
    pub fn fleets(&self) -> impl Iterator<Item = &str> {
        self.fleets.keys().map(String::as_str)
    }

    /// What a registry makes breakers from: most of them, and those of some keys.
    fn templates(
        &self,
        name: &str,
        Keyed { template, keys, asked, .. }: &Keyed,
    ) -> Result<(CircuitBreakerConfig, BTreeMap<String, CircuitBreakerConfig>), ConfigError> {
        let config = |fields| self.config(fields, CircuitBreakerConfig::template().asked(asked.clone()));
        let registries = Path::Root.key("registries");
        let at = registries.key(name);
        let at_keys = at.key("keys");
        let of_key = |(key, fields): (&String, _)| {
            Ok((key.clone(), config(fields).map_err(|error| error.within(&at_keys.key(key)))?))
        };
        Ok((config(template).map_err(|error| error.within(&at))?, keys.iter().map(of_key).collect::<Result<_, _>>()?))
    }

    /// Says each rule of the file in plain words. Those are the rules of every breaker, registry and retry, under its
    /// path.
    ///
    /// # Errors
    ///
    /// A breaker names a fleet, and there is no `store`.
    ///
    /// ```
    /// use fusebox::settings::Settings;
    ///
    /// let settings: Settings = toml::from_str(
    ///     "[registries.hosts]\ncooldown = '5s'\n[registries.hosts.keys.'slow.example']\ncooldown = '1m'",
    /// )?;
    /// let explained = settings.explain()?.to_string();
    /// let begin = "registries.hosts\n  opens when at least 5 calls within 60s failed\n  stays open for 5s";
    /// assert!(explained.starts_with(begin));
    /// assert!(explained.contains("registries.hosts.keys.\"slow.example\"\n"));
    /// # Ok::<(), fusebox::BoxError>(())
    /// ```
    pub fn explain(&self) -> Result<Explanation, ConfigError> {
        let mut lines = Vec::new();
        let mut add = |path: Path<'_>, explained: Explanation| {
            lines.push(path.to_string());
            lines.extend(explained.lines().map(|line| format!("  {line}")));
        };
        let at = Path::Root.key("breakers");
        for name in self.breakers() {
            add(at.key(name), self.breaker(name)?.explain());
        }
        let at = Path::Root.key("registries");
        for (name, registry) in &self.registries {
            let (template, keys) = self.templates(name, registry)?;
            let at = at.key(name);
            add(at, template.explain());
            let at = at.key("keys");
            for (key, config) in &keys {
                add(at.key(key), config.explain());
            }
        }
        let at = Path::Root.key("retries");
        for (name, retry) in &self.retries {
            add(at.key(name), retry.explain());
        }
        Ok(Explanation::new(lines))
    }

    fn config(&self, fields: &Fields, to: CircuitBreakerConfigBuilder) -> Result<CircuitBreakerConfig, ConfigError> {
        #[cfg(feature = "fleet")]
        let is_shared = fields.has("fleet");
        let mut builder = apply(fields.clone(), to);
        #[cfg(feature = "fleet")]
        if let Some(store) = self.store.clone().filter(|_| is_shared) {
            builder = builder.store(store);
        }
        for each in &self.each {
            builder = each(builder);
        }
        builder.build()
    }
}

fn find<'a, T>(section: &'static str, known: &'a BTreeMap<String, T>, name: &str) -> Result<&'a T, ConfigError> {
    known.get(name).ok_or_else(|| {
        let names = or(&shown(known.keys().map(String::as_str)));
        let meant = meant(name, known.keys().map(String::as_str)).unwrap_or_default();
        ConfigError::new(section, &format_args!("\"{name}\""), format!("{names}{meant}"))
    })
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Settings");
        text.field("breakers", &self.breakers.keys())
            .field("registries", &self.registries.keys())
            .field("retries", &self.retries)
            .field("budgets", &self.budgets);
        #[cfg(feature = "fleet")]
        text.field("fleets", &self.fleets).field("store", &self.store);
        text.field("each", &self.each.len()).finish()
    }
}

/// A name that stands for something which the file does not have.
struct Missing {
    path: String,
    text: String,
}

/// Puts in the place of a name what it stands for.
fn resolve<'a>(
    fields: &mut Fields,
    field: &str,
    section: &str,
    path: &Path<'_>,
    find: impl Fn(&str) -> Option<Value>,
    known: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), Missing> {
    let Some((_, value)) = fields.given.iter_mut().find(|(name, _)| *name == field) else {
        return Ok(());
    };
    let Value::Name(name) = value else {
        return Ok(());
    };
    check(section, name, known).map_err(|text| Missing { path: path.key(field).to_string(), text })?;
    if let Some(found) = find(name) {
        *value = found;
    }
    Ok(())
}

impl<'de> Deserialize<'de> for Settings {
    /// Reads and checks the whole file.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let fields = Fields::of(read(&Kind::Table(&FILE), from)?);
        Self::assemble(fields).map_err(|Missing { path, text }| D::Error::custom(format_args!("`{path}` {text}")))
    }
}

impl Settings {
    fn assemble(mut file: Fields) -> Result<Self, Missing> {
        let budgets = named::<Budget>(&mut file, "budgets");
        #[cfg(feature = "fleet")]
        let fleets = named::<Fleet>(&mut file, "fleets");
        let share = |fields: &mut Fields, path: &Path<'_>| -> Result<(), Missing> {
            #[cfg(feature = "fleet")]
            {
                let found = |name: &str| match fleets.get(name) {
                    Some(fleet) => Some(Value::Fleet(fleet.clone())),
                    // It needs no section to be had as it is.
                    None => (name == "pooled").then(|| Value::Fleet(Fleet::pooled())),
                };
                resolve(fields, "fleet", "fleets", path, found, fleets.keys().map(String::as_str))?;
            }
            #[cfg(not(feature = "fleet"))]
            let _ = (fields, path);
            Ok(())
        };
        let mut defaults: Fields = file.take("defaults").unwrap_or_default();
        share(&mut defaults, &Path::Root.key("defaults"))?;
        let mut breakers = named::<Fields>(&mut file, "breakers");
        let at = Path::Root.key("breakers");
        for (name, fields) in &mut breakers {
            share(fields, &at.key(name))?;
            *fields = std::mem::take(fields).over(&defaults);
        }
        let (mut registries, at) = (BTreeMap::new(), Path::Root.key("registries"));
        for (name, mut fields) in named::<Fields>(&mut file, "registries") {
            let at = at.key(&name);
            let mut keys = named::<Fields>(&mut fields, "keys");
            let (max, idle) = (fields.take("max"), fields.take("idle"));
            share(&mut fields, &at)?;
            let template = fields.over(&defaults);
            for (key, fields) in &mut keys {
                share(fields, &at.key("keys").key(key))?;
                *fields = std::mem::take(fields).over(&template);
            }
            registries.insert(name, Keyed { max, idle, template, keys, asked: Asked::default() });
        }
        Ok(Self {
            breakers,
            registries,
            retries: retries(&mut file, &budgets)?,
            budgets,
            #[cfg(feature = "fleet")]
            fleets,
            #[cfg(feature = "fleet")]
            store: None,
            each: Vec::new(),
        })
    }
}

fn retries(
    file: &mut Fields,
    budgets: &BTreeMap<String, Budget>,
) -> Result<BTreeMap<String, RetryConfig<Timed>>, Missing> {
    let (mut retries, at) = (BTreeMap::new(), Path::Root.key("retries"));
    for (name, mut fields) in named::<Fields>(file, "retries") {
        let path = at.key(&name);
        let found = |name: &str| budgets.get(name).cloned().map(Value::Budget);
        resolve(&mut fields, "budget", "budgets", &path, found, budgets.keys().map(String::as_str))?;
        let wrong = |error: ConfigError| Missing { path: path.to_string(), text: format!("cannot be built: {error}") };
        let config = retry(fields).map_err(wrong)?;
        retries.insert(name, config);
    }
    Ok(retries)
}

/// Takes a section out: things of one kind by name.
fn named<T: super::value::Taken>(fields: &mut Fields, section: &str) -> BTreeMap<String, T> {
    let named: Vec<(String, Value)> = fields.take(section).unwrap_or_default();
    named.into_iter().filter_map(|(name, value)| Some((name, T::from_value(value)?))).collect()
}
