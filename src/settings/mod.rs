//! Circuit breakers, retries and what they share, configured by a file.
//!
//! Any format that serde reads will do; here TOML. One file holds templates by name:
//!
//! ```
//! use fusebox::settings::Settings;
//!
//! let settings: Settings = toml::from_str(
//!     r#"
//!     [defaults]                                      # what every breaker begins with
//!     cooldown = "30s"
//!
//!     [breakers.payments]                             # the name of the breaker
//!     detector = { type = "failure_rate", rate = 0.5, of_last = 100, min_calls = 20 }
//!
//!     [registries.hosts]                              # a breaker for each key, and the registry's own fields
//!     max = 10_000
//!     cooldown = { min = "5s", max = "5m" }
//!     [registries.hosts.keys."slow.example"]          # otherwise for this key
//!     detector = { type = "slow_call_rate", rate = "80%", slower_than = "5s", within = "1m" }
//!
//!     [retries.outbound]
//!     max_retries = 2
//!     backoff = { min = "100ms", max = "2s" }
//!     deadline = "10s"
//!     budget = { type = "ratio", ratio = 0.2, reserve_per_second = 10 }
//!     "#,
//! )?;
//! let payments = settings.breaker("payments")?;
//! let hosts = settings.registry("hosts")?;
//! let retry = settings.retry("outbound")?;
//! assert_eq!(payments.name(), "payments");
//! assert_eq!(&*hosts.breaker("slow.example")?.name(), "slow.example");
//! assert_eq!(
//!     retry.to_string(),
//!     "2 retries, exponential 100ms..=2s, full jitter, budget 0.2 of requests + 10/s, 10s in all",
//! );
//! # Ok::<(), fusebox::BoxError>(())
//! ```
//!
//! `docs/settings.md` has every field; [`schema`] is the JSON schema that editors complete and check by.
//!
//! # What holds everywhere
//!
//! - A field given nearer wins whole: a key's over the registry's, and that over the one in `[defaults]`. Tables are
//!   not merged.
//! - Durations carry their unit: `"30s"`, `"1h 30m"`, `"1.5s"`; ISO 8601 (`"PT10S"`) and clock form (`"00:00:30"`) are
//!   read as well. Shares are numbers (`0.5`) or text (`"50%"`).
//! - Numbers and booleans may be text, and a list of simple things one text with commas, because the environment has
//!   text only.
//! - Nothing is ignored. Unknown fields, fields of another `type`, names that are given twice and values out of bounds are
//!   refused, where they stand. A `fleet` or `budget` whose name stands for nothing is refused where it is named, or at the end of
//!   the section that ought to have it, if that is read later (a reader does not go back); where there is no such section, by
//!   its path once the whole file is read:
//!
//! ```
//! use fusebox::settings::Settings;
//!
//! let typo = "[registries.hosts.keys.\"slow.example\"]\ncooldown = { min = \"5s\", max = \"5m\", jiter = 0.1 }";
//! let error = toml::from_str::<Settings>(typo).unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     r#"TOML parse error at line 2, column 38
//!   |
//! 2 | cooldown = { min = "5s", max = "5m", jiter = 0.1 }
//!   |                                      ^^^^^
//! `registries.hosts.keys."slow.example".cooldown.jiter` is unknown; did you mean `jitter`? a cooldown has `type`, `min`, `max`, `factor`, `jitter`, `healthy_after`, `step` and `duration`
//! "#,
//! );
//! ```
//!
//! # One thing alone
//!
//! [`CircuitBreakerConfig`](crate::CircuitBreakerConfig), its [builder](crate::CircuitBreakerConfigBuilder),
//! [`RetryConfig`](crate::RetryConfig), [`Budget`](crate::Budget), [`Cooldown`](crate::Cooldown), [`Probes`](crate::Probes),
//! [`Override`](crate::Override), `Fleet`, `Box<dyn Detector>` and `Box<dyn Backoff>` are read by themselves as well,
//! as fields of a configuration of your own.

mod file;
mod given;
mod near;
mod path;
mod read;
mod references;
mod schema;
mod single;
mod span;
mod table;
mod tables;
mod value;

pub use file::Settings;
pub use schema::schema;
