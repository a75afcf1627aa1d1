//! Where measurements go.

use super::family::{Family, Value};

/// Takes what a [`Collector`](super::Collector) finds: a family, and then each of its series with its value.
///
/// A bridge to a library that has none here is a few lines. This one writes what a person reads:
///
/// ```
/// use fusebox::telemetry::{Collector, Family, Sink, Value};
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
///
/// #[derive(Default)]
/// struct Lines {
///     name: String,
///     lines: Vec<String>,
/// }
///
/// impl Sink for Lines {
///     fn family(&mut self, family: &'static Family) {
///         self.name = family.prometheus_name();
///     }
///     fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
///         let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
///         self.lines.push(format!("{}{{{}}} {}", self.name, labels.join(","), value.as_f64()));
///     }
/// }
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.acquire()?.failure();
/// let mut sink = Lines::default();
/// Collector::process().collect(&mut sink);
/// let failures = r#"fusebox_breaker_calls_total{breaker="payments",registry="",outcome="failure"} 1"#;
/// assert!(sink.lines.iter().any(|line| line == failures), "{:#?}", sink.lines);
/// # Ok::<(), fusebox::Rejected>(())
/// ```
pub trait Sink {
    /// A family begins: the samples that follow are of it. Each family comes once, also where it has no samples.
    fn family(&mut self, family: &'static Family);

    /// A series of that family, and its value. No two of a family have the same labels. Names of breakers and registries are an
    /// application's, and those of breakers by key may be a stranger's: what writes them must escape them.
    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value);
}
