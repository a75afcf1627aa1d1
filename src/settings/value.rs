//! What has been read, and what is wrong with it.

use std::time::Duration;

use crate::attempts::{Budget, RetryConfig, Timed, Untimed};
use crate::backoff::{Backoff, Decorrelated, Exponential, Fixed, Jitter, Linear};
use crate::breaker::CircuitBreakerConfigBuilder;
use crate::circuit::{Cooldown, Detector, Override, Probes};
use crate::classify::Outcomes;
use crate::error::ConfigError;
#[cfg(feature = "fleet")]
use crate::fleet::Fleet;

macro_rules! values {
    (
        $($(#[$about:meta])* $variant:ident($type:ty),)*;
        $($(#[$also_about:meta])* $also:ident($also_type:ty),)*
    ) => {
        /// What has been read at one place.
        #[derive(Clone)]
        pub(super) enum Value {
            $($(#[$about])* $variant($type),)*
            $($(#[$also_about])* $also($also_type),)*
        }

        $(
            $(#[$about])*
            impl Taken for $type {
                fn from_value(value: Value) -> Option<Self> {
                    if let Value::$variant(value) = value { Some(value) } else { None }
                }
            }
        )*
    };
}

values! {
    Bool(bool),
    Whole(u64),
    Number(f64),
    Span(Duration),
    Text(String),
    /// One of the words that are allowed.
    Word(&'static str),
    List(Vec<Value>),
    /// Things by name, in the order of the file.
    Named(Vec<(String, Value)>),
    /// A table that others build on: its fields as they are.
    Fields(Fields),
    Detector(Box<dyn Detector>),
    Cooldown(Cooldown),
    Probes(Probes),
    Jitter(Jitter),
    Backoff(Waits),
    Budget(Budget),
    Override(Override),
    Outcomes(Outcomes),
    #[cfg(feature = "fleet")]
    Fleet(Fleet),
    Breaker(Box<CircuitBreakerConfigBuilder>),
    Retry(RetryConfig<Timed>),
    UntimedRetry(RetryConfig<Untimed>),
    ;
    /// The name of something that stands elsewhere in the file.
    Name(String),
}

/// The waits between attempts.
#[derive(Clone)]
pub(super) enum Waits {
    Fixed(Fixed),
    Exponential(Exponential),
    Linear(Linear),
    Decorrelated(Decorrelated),
    Listed(Vec<Duration>),
}

impl Waits {
    pub(super) fn boxed(self) -> Box<dyn Backoff> {
        match self {
            Self::Fixed(curve) => Box::new(curve),
            Self::Exponential(curve) => Box::new(curve),
            Self::Linear(curve) => Box::new(curve),
            Self::Decorrelated(curve) => Box::new(curve),
            Self::Listed(waits) => Box::new(waits),
        }
    }
}

/// What is wrong with a table, from its own point of view.
#[derive(Debug)]
pub(super) struct Fault {
    /// The field of the table that is wrong; the table itself otherwise.
    pub(super) field: Option<String>,
    /// What follows the path in the message.
    pub(super) text: String,
}

impl Fault {
    pub(super) fn of_table(text: impl Into<String>) -> Self {
        Self { field: None, text: text.into() }
    }

    /// What a builder refuses, at the field that is named here beside the builder's own name for it.
    pub(super) fn of_error(error: &ConfigError, fields: &[(&str, &'static str)]) -> Self {
        let field = fields.iter().find(|(name, _)| *name == error.field()).map(|(_, field)| (*field).to_owned());
        Self { field, text: format!("is {}, allowed is {}", error.given(), error.allowed()) }
    }

    pub(super) fn of_field(field: impl Into<String>, text: impl Into<String>) -> Self {
        Self { field: Some(field.into()), text: text.into() }
    }
}

/// The fields of one table that were given.
#[derive(Clone, Default)]
pub(super) struct Fields {
    /// What the table's `type` says, where it has one.
    pub(super) variant: Option<&'static str>,
    pub(super) given: Vec<(&'static str, Value)>,
}

impl Fields {
    pub(super) fn of(value: Value) -> Self {
        Self::from_value(value).unwrap_or_default()
    }

    /// Nothing has been read, nor what it is.
    pub(super) const fn is_empty(&self) -> bool {
        self.given.is_empty() && self.variant.is_none()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.given.iter().any(|(given, _)| *given == name)
    }

    /// Takes a field out; `None` where it was not given.
    pub(super) fn take<T: Taken>(&mut self, name: &str) -> Option<T> {
        let at = self.given.iter().position(|(given, _)| *given == name)?;
        T::from_value(self.given.swap_remove(at).1)
    }

    /// These fields, and those of `others` that are not among them.
    pub(super) fn over(mut self, others: &Self) -> Self {
        let says = |name: &str| match name {
            // Two ways to say one thing.
            "enabled" | "override" => self.has("enabled") || self.has("override"),
            name => self.has(name),
        };
        let missing: Vec<_> = others.given.iter().filter(|(name, _)| !says(name)).cloned().collect();
        self.given.extend(missing);
        self
    }
}

/// What a value can be taken as.
pub(super) trait Taken: Sized {
    fn from_value(value: Value) -> Option<Self>;
}

/// The tables bound what fits.
impl Taken for u32 {
    fn from_value(value: Value) -> Option<Self> {
        Self::try_from(u64::from_value(value)?).ok()
    }
}

impl Taken for usize {
    fn from_value(value: Value) -> Option<Self> {
        Self::try_from(u64::from_value(value)?).ok()
    }
}

impl Taken for Value {
    fn from_value(value: Value) -> Option<Self> {
        Some(value)
    }
}
