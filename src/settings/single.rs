//! Single things, as parts of a configuration that is not ours.

use serde::de::{Deserialize, Deserializer, Error};

use super::read::read;
use super::table::Kind;
#[cfg(feature = "fleet")]
use super::tables::FLEET;
use super::tables::{BACKOFF, BREAKER, BUDGET, COOLDOWN, DETECTOR, OUTCOMES, OVERRIDE, PROBES, RETRY, UNTIMED_RETRY};
use super::value::{Taken, Value, Waits};
use crate::attempts::{Budget, RetryConfig, Timed, Untimed};
use crate::backoff::Backoff;
use crate::breaker::{CircuitBreakerConfig, CircuitBreakerConfigBuilder};
use crate::circuit::{Cooldown, Detector, Override, Probes};
use crate::classify::Outcomes;
#[cfg(feature = "fleet")]
use crate::fleet::Fleet;

fn one<'de, T: Taken, D: Deserializer<'de>>(kind: &Kind, from: D) -> Result<T, D::Error> {
    let value = read(kind, from)?;
    let is_name = if let Value::Name(name) = &value { Some(name.clone()) } else { None };
    T::from_value(value).ok_or_else(|| match is_name {
        Some(name) => {
            D::Error::custom(format_args!("\"{name}\" is a name, allowed is a table: only a whole file has names"))
        }
        None => D::Error::custom("what was read is of another kind"),
    })
}

impl<'de> Deserialize<'de> for CircuitBreakerConfig {
    /// Reads every setting but listeners, clock and store. Without a `name` it is `unnamed`, until
    /// [`named`](CircuitBreakerConfig::named). With a `fleet` it takes a store, so that the
    /// [builder](CircuitBreakerConfigBuilder) is to be read.
    ///
    /// ```
    /// use fusebox::CircuitBreakerConfig;
    ///
    /// let config: CircuitBreakerConfig = toml::from_str(
    ///     r#"
    ///     name = "payments"
    ///     cooldown = { min = "5s", max = "5m" }
    ///     detector = { type = "failure_rate", rate = 0.5, of_last = 100, min_calls = 20 }
    ///     "#,
    /// )?;
    /// assert_eq!(config.name(), "payments");
    ///
    /// let typo = toml::from_str::<CircuitBreakerConfig>("name = 'payments'\ncoldown = '30s'").unwrap_err();
    /// assert!(typo.message().starts_with("`coldown` is unknown; did you mean `cooldown`?"));
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let builder: Box<CircuitBreakerConfigBuilder> = one(&Kind::Table(&BREAKER), from)?;
        builder.build().map_err(|error| match error.field() {
            "fleet" => D::Error::custom(
                "`fleet` is set, allowed is none here: it takes a store, so read a `CircuitBreakerConfigBuilder` and give it one",
            ),
            _ => D::Error::custom(error),
        })
    }
}

impl<'de> Deserialize<'de> for CircuitBreakerConfigBuilder {
    /// Reads what the configuration reads, to be built on.
    ///
    /// ```
    /// use fusebox::CircuitBreakerConfigBuilder;
    ///
    /// let from_file: CircuitBreakerConfigBuilder = toml::from_str("name = 'payments'\ncooldown = '10s'")?;
    /// let config = from_file.on_event(|event| eprintln!("{event}")).build()?;
    /// assert_eq!(config.name(), "payments");
    /// # Ok::<(), fusebox::BoxError>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&BREAKER), from).map(|builder: Box<Self>| *builder)
    }
}

impl<'de> Deserialize<'de> for RetryConfig<Timed> {
    /// Reads every setting but listeners and stats.
    ///
    /// ```
    /// use fusebox::{RetryConfig, retry::Timed};
    ///
    /// let config: RetryConfig<Timed> = toml::from_str("max_retries = 2\nbackoff = '1s'\ndeadline = '10s'")?;
    /// assert_eq!(config.to_string(), "2 retries, fixed 1s, 10s in all");
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&RETRY), from)
    }
}

impl<'de> Deserialize<'de> for RetryConfig<Untimed> {
    /// Reads every setting but listeners, stats and limits of time. Those limits take a `RetryConfig<Timed>`.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&UNTIMED_RETRY), from)
    }
}

impl<'de> Deserialize<'de> for Budget {
    /// ```
    /// use fusebox::Budget;
    ///
    /// let budget: Budget = toml::from_str("type = 'tokens'\nmax_tokens = 10\nratio = 0.1")?;
    /// assert_eq!(budget.to_string(), "budget 10 tokens, 0.1 per success");
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&BUDGET), from)
    }
}

impl<'de> Deserialize<'de> for Box<dyn Backoff> {
    /// Reads a duration, a list of them, or a table.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::backoff::Backoff;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Mine {
    ///     waits: Box<dyn Backoff>,
    /// }
    /// let mine: Mine = toml::from_str("waits = ['10ms', '500ms']")?;
    /// assert_eq!(mine.waits.delays(0).collect::<Vec<_>>(), [10, 500].map(Duration::from_millis));
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&BACKOFF), from).map(Waits::boxed)
    }
}

impl<'de> Deserialize<'de> for Cooldown {
    /// Reads a duration, or a table for one that grows.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&COOLDOWN), from)
    }
}

impl<'de> Deserialize<'de> for Probes {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&PROBES), from)
    }
}

impl<'de> Deserialize<'de> for Override {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&OVERRIDE), from)
    }
}

impl<'de> Deserialize<'de> for Outcomes {
    /// ```
    /// use fusebox::{Outcome, classify::Outcomes};
    ///
    /// let text = "failures = ['5xx', 429]\nignored = [501, 'NOT_FOUND', 'connection_reset']";
    /// let outcomes: Outcomes = toml::from_str(text)?;
    /// assert_eq!(outcomes.of_status(501), Some(Outcome::Ignored));
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&OUTCOMES), from)
    }
}

impl<'de> Deserialize<'de> for Box<dyn Detector> {
    /// ```
    /// use fusebox::detect::Detector;
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Mine {
    ///     opens_when: Box<dyn Detector>,
    /// }
    /// let mine: Mine = toml::from_str("opens_when = { type = 'consecutive_failures', count = 3 }")?;
    /// assert_eq!(mine.opens_when.rule(), "consecutive_failures(3)");
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&DETECTOR), from)
    }
}

#[cfg(feature = "fleet")]
impl<'de> Deserialize<'de> for Fleet {
    /// ```
    /// use fusebox::fleet::Fleet;
    ///
    /// let fleet: Fleet = toml::from_str("votes = 3\nwhen_down = 'local'")?;
    /// assert_eq!(fleet, Fleet::votes(3));
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        one(&Kind::Table(&FLEET), from)
    }
}
