//! What there is to measure.

/// A family of series: what is measured, in which unit, under which names.
///
/// ```
/// use fusebox::telemetry::{Collector, Family, Kind, Sink, Value};
///
/// /// Every family, as Prometheus names it.
/// #[derive(Default)]
/// struct Names(Vec<String>);
///
/// impl Sink for Names {
///     fn family(&mut self, family: &'static Family) {
///         assert!(family.kind() == Kind::Gauge || family.prometheus_name().ends_with("_total"));
///         self.0.push(family.prometheus_name());
///     }
///     fn sample(&mut self, _labels: &[(&'static str, &str)], _value: Value) {}
/// }
///
/// let mut names = Names::default();
/// Collector::process().collect(&mut names);
/// assert_eq!(names.0[0], "fusebox_breaker_calls_total");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// `breaker`, `registry` and so on.
    subject: &'static str,
    what: &'static str,
    kind: Kind,
    unit: Unit,
    help: &'static str,
    zero_is_nothing: bool,
}

/// How the values of a family behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// They only grow while the process lives.
    Counter,
    /// They go up and down.
    Gauge,
}

impl Kind {
    /// Returns `counter` or `gauge`, as Prometheus spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
        }
    }
}

/// What one more of a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// One of the things that are counted, such as `call`.
    One(&'static str),
    /// A second; as a time, seconds since 1970.
    Seconds,
}

/// A value of a series.
///
/// ```
/// use fusebox::telemetry::Value;
///
/// assert_eq!(Value::Count(3).as_f64(), 3.0);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A whole number.
    Count(u64),
    /// Any number.
    Amount(f64),
}

impl Value {
    /// Returns it as a float, which is exact up to 2^53.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "floats are what metrics are made of")]
    pub const fn as_f64(self) -> f64 {
        match self {
            Self::Count(count) => count as f64,
            Self::Amount(amount) => amount,
        }
    }

    /// Returns it as a whole number: of an amount, what is whole of it.
    ///
    /// ```
    /// use fusebox::telemetry::Value;
    ///
    /// assert_eq!((Value::Count(3).as_count(), Value::Amount(2.9).as_count()), (3, 2));
    /// ```
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` keeps to what a number can be")]
    pub const fn as_count(self) -> u64 {
        match self {
            Self::Count(count) => count,
            Self::Amount(amount) => amount as u64,
        }
    }
}

impl Family {
    pub(super) const fn counter(subject: &'static str, what: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { subject, what, kind: Kind::Counter, unit, help, zero_is_nothing: true }
    }

    pub(super) const fn gauge(subject: &'static str, what: &'static str, unit: Unit, help: &'static str) -> Self {
        Self { subject, what, kind: Kind::Gauge, unit, help, zero_is_nothing: true }
    }

    /// A gauge of which zero says something, such as that a store is away.
    pub(super) const fn telling_zero(
        subject: &'static str,
        what: &'static str,
        unit: Unit,
        help: &'static str,
    ) -> Self {
        Self { zero_is_nothing: false, ..Self::gauge(subject, what, unit, help) }
    }

    /// What a series that is no more is said to be, where it has to be said.
    #[cfg(feature = "metrics")]
    pub(super) const fn nothing(&self) -> f64 {
        if self.zero_is_nothing { 0.0 } else { f64::NAN }
    }

    /// Returns the name as Prometheus has it, with its unit and, for a counter, `_total` at the end:
    /// `fusebox_breaker_calls_total`.
    #[must_use]
    pub fn prometheus_name(&self) -> String {
        let Self { subject, what, unit, kind, .. } = *self;
        let unit = if unit == Unit::Seconds { "_seconds" } else { "" };
        let end = if kind == Kind::Counter { "_total" } else { "" };
        ["fusebox_", subject, "_", what, unit, end].concat()
    }

    /// Returns the name without unit and `_total`, for libraries that add them: `fusebox_breaker_calls`.
    #[must_use]
    pub fn stem(&self) -> String {
        ["fusebox_", self.subject, "_", self.what].concat()
    }

    /// Returns the name as OpenTelemetry has it: `fusebox.breaker.calls`.
    #[must_use]
    pub fn dotted_name(&self) -> String {
        ["fusebox.", self.subject, ".", self.what].concat()
    }

    /// Returns how its values behave.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns its unit.
    #[must_use]
    pub const fn unit(&self) -> Unit {
        self.unit
    }

    /// Returns what it says, in one sentence without a full stop.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        self.help
    }
}
