//! Configuration from files and the environment: whatever serde reads.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, de};

use super::builder::CircuitBreakerConfigBuilder;
use super::config::CircuitBreakerConfig;
use crate::circuit::detector::{self as detect, Combined, Detector};
use crate::circuit::{Cooldown, Probes};

/// A duration as people write it: `30s`, `5m`, `1h 30m`, `250ms`.
#[derive(Clone, Copy, Debug)]
struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Span;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with its unit, such as \"30s\", \"5m\" or \"250ms\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                humantime::parse_duration(text)
                    .map(Span)
                    .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        from.deserialize_str(Text)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    name: String,
    detector: Option<DetectorFile>,
    cooldown: Option<CooldownFile>,
    probes: Option<ProbesFile>,
    abandoned_after: Option<Span>,
    retry_after_cap: Option<Span>,
    execution_log: Option<u32>,
    call_events: Option<bool>,
}

/// The length of a window: exactly one of the two.
#[derive(Clone, Copy)]
enum Window {
    OfLast(u32),
    Within(Duration),
}

impl Window {
    fn of<E: de::Error>(of_last: Option<u32>, within: Option<Span>) -> Result<Self, E> {
        match (of_last, within) {
            (Some(calls), None) => Ok(Self::OfLast(calls)),
            (None, Some(Span(time))) => Ok(Self::Within(time)),
            (Some(_), Some(_)) => Err(E::custom("`of_last` and `within` exclude each other: a window has one length")),
            (None, None) => Err(E::custom("missing the window: `of_last = 100` (calls) or `within = \"60s\"`")),
        }
    }
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum DetectorFile {
    Failures {
        count: u32,
        of_last: Option<u32>,
        within: Option<Span>,
        min_calls: Option<u32>,
    },
    FailureRate {
        rate: f64,
        of_last: Option<u32>,
        within: Option<Span>,
        min_calls: Option<u32>,
    },
    SlowCallRate {
        rate: f64,
        slower_than: Span,
        of_last: Option<u32>,
        within: Option<Span>,
        min_calls: Option<u32>,
    },
    ConsecutiveFailures {
        count: u32,
    },
    Any {
        of: Vec<Self>,
    },
    All {
        of: Vec<Self>,
    },
    // As c-breaker calls them, with its defaults.
    TimeBased {
        #[serde(default = "five")]
        failure_threshold: u32,
        #[serde(default = "sixty")]
        time_window_seconds: f64,
    },
    SlidingWindow {
        #[serde(default = "ten")]
        window_size: u32,
        #[serde(default = "half")]
        failure_rate_threshold: f64,
        min_calls: Option<u32>,
    },
    Combined {
        #[serde(default = "five")]
        failure_threshold: u32,
        #[serde(default = "sixty")]
        time_window_seconds: f64,
        #[serde(default = "ten")]
        window_size: u32,
        #[serde(default = "half")]
        failure_rate_threshold: f64,
        min_calls: Option<u32>,
        #[serde(default)]
        require_both: bool,
    },
}

const fn five() -> u32 {
    5
}
const fn ten() -> u32 {
    10
}
const fn sixty() -> f64 {
    60.0
}
const fn half() -> f64 {
    0.5
}

impl DetectorFile {
    fn detector<E: de::Error>(self) -> Result<Box<dyn Detector>, E> {
        Ok(match self {
            Self::Failures { count, of_last, within, min_calls } => match Window::of(of_last, within)? {
                Window::OfLast(calls) => Box::new(with_min(detect::failures(count).of_last(calls), min_calls)),
                Window::Within(_) if min_calls.is_some() => {
                    return Err(E::custom(
                        "`min_calls` has no meaning for failures within a time: successes are not counted",
                    ));
                }
                Window::Within(time) => Box::new(detect::failures(count).within(time)),
            },
            Self::FailureRate { rate, of_last, within, min_calls } => match Window::of(of_last, within)? {
                Window::OfLast(calls) => Box::new(with_min(detect::failure_rate(rate).of_last(calls), min_calls)),
                Window::Within(time) => Box::new(within_min(detect::failure_rate(rate).within(time), min_calls)),
            },
            Self::SlowCallRate { rate, slower_than, of_last, within, min_calls } => {
                let rate = detect::slow_call_rate(rate).slower_than(slower_than.0);
                match Window::of(of_last, within)? {
                    Window::OfLast(calls) => Box::new(with_min(rate.of_last(calls), min_calls)),
                    Window::Within(time) => Box::new(within_min(rate.within(time), min_calls)),
                }
            }
            Self::ConsecutiveFailures { count } => Box::new(detect::consecutive_failures(count)),
            Self::Any { of } => Box::new(Combined::any(detectors(of)?)),
            Self::All { of } => Box::new(Combined::all(detectors(of)?)),
            Self::TimeBased { failure_threshold, time_window_seconds } => {
                Box::new(detect::failures(failure_threshold).within(seconds(time_window_seconds)?))
            }
            Self::SlidingWindow { window_size, failure_rate_threshold, min_calls } => {
                Box::new(with_min(detect::failure_rate(failure_rate_threshold).of_last(window_size), min_calls))
            }
            Self::Combined {
                failure_threshold,
                time_window_seconds,
                window_size,
                failure_rate_threshold,
                min_calls,
                require_both,
            } => {
                let time = detect::failures(failure_threshold).within(seconds(time_window_seconds)?);
                let sliding = with_min(detect::failure_rate(failure_rate_threshold).of_last(window_size), min_calls);
                Box::new(if require_both { time.and(sliding) } else { time.or(sliding) })
            }
        })
    }
}

fn detectors<E: de::Error>(files: Vec<DetectorFile>) -> Result<Vec<Box<dyn Detector>>, E> {
    files.into_iter().map(DetectorFile::detector).collect()
}

fn with_min(detector: detect::OfLast, min_calls: Option<u32>) -> detect::OfLast {
    match min_calls {
        Some(calls) => detector.min_calls(calls),
        None => detector,
    }
}

fn within_min(detector: detect::Within, min_calls: Option<u32>) -> detect::Within {
    match min_calls {
        Some(calls) => detector.min_calls(calls),
        None => detector,
    }
}

fn seconds<E: de::Error>(secs: f64) -> Result<Duration, E> {
    let expected = "a number of seconds that is not negative";
    Duration::try_from_secs_f64(secs).map_err(|_| E::invalid_value(de::Unexpected::Float(secs), &expected))
}

/// `"30s"`, or a table for one that grows.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a duration such as \"30s\", or a table with `min`, `max` and optionally `factor`, `jitter`, `healthy_after`"
)]
enum CooldownFile {
    Fixed(Span),
    Exponential(ExponentialFile),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExponentialFile {
    min: Span,
    max: Span,
    factor: Option<f64>,
    jitter: Option<f64>,
    healthy_after: Option<Span>,
}

impl From<CooldownFile> for Cooldown {
    fn from(file: CooldownFile) -> Self {
        let file = match file {
            CooldownFile::Fixed(Span(duration)) => return Self::fixed(duration),
            CooldownFile::Exponential(file) => file,
        };
        let mut cooldown = Self::exponential(file.min.0..=file.max.0);
        if let Some(factor) = file.factor {
            cooldown = cooldown.factor(factor);
        }
        if let Some(jitter) = file.jitter {
            cooldown = cooldown.jitter(jitter);
        }
        if let Some(Span(period)) = file.healthy_after {
            cooldown = cooldown.healthy_after(period);
        }
        cooldown
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProbesFile {
    #[serde(default = "one")]
    needed: u32,
    /// As many as are needed, when left out: any failure reopens.
    of: Option<u32>,
    concurrent: Option<u32>,
    deadline: Option<Span>,
}

const fn one() -> u32 {
    1
}

impl From<ProbesFile> for Probes {
    fn from(file: ProbesFile) -> Self {
        let mut probes = Self::ratio(file.needed, file.of.unwrap_or(file.needed));
        if let Some(concurrent) = file.concurrent {
            probes = probes.concurrent(concurrent);
        }
        if let Some(Span(deadline)) = file.deadline {
            probes = probes.deadline(deadline);
        }
        probes
    }
}

impl<'de> Deserialize<'de> for CircuitBreakerConfig {
    /// Reads every setting but listeners and clock (add those through
    /// [`into_builder`](CircuitBreakerConfig::into_builder)). Unknown fields are refused, and so is everything that
    /// [`build`](CircuitBreakerConfigBuilder::build) refuses.
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
    /// assert!(typo.message().starts_with("unknown field `coldown`"));
    /// # Ok::<(), toml::de::Error>(())
    /// ```
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let file = ConfigFile::deserialize(from)?;
        let mut builder = CircuitBreakerConfigBuilder::new(file.name);
        if let Some(detector) = file.detector {
            builder = builder.detector(detector.detector()?);
        }
        if let Some(cooldown) = file.cooldown {
            builder = builder.cooldown(cooldown);
        }
        if let Some(probes) = file.probes {
            builder = builder.probes(probes.into());
        }
        if let Some(Span(limit)) = file.abandoned_after {
            builder = builder.abandoned_after(limit);
        }
        if let Some(Span(cap)) = file.retry_after_cap {
            builder = builder.retry_after_cap(cap);
        }
        if let Some(calls) = file.execution_log {
            builder = builder.execution_log(calls);
        }
        if let Some(on) = file.call_events {
            builder = builder.call_events(on);
        }
        builder.build().map_err(D::Error::custom)
    }
}
