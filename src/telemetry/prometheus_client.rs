//! The bridge to the crate `prometheus-client`.

use std::fmt;

use prometheus_client::collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit as PrometheusUnit;

use super::collector::Collector;
use super::family::{Family, Kind, Unit, Value};
use super::gathered::{Gathered, Series};

/// Collects at each encoding.
///
/// ```
/// use fusebox::telemetry::Collector;
/// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
/// use prometheus_client::{encoding::text::encode, registry::Registry};
///
/// let mut registry = Registry::default();
/// registry.register_collector(Box::new(Collector::process())); // that is all
///
/// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
/// breaker.acquire()?.failure();
/// let mut text = String::new();
/// encode(&mut text, &registry)?; // as you always do, in the handler of `/metrics`
/// let line = r#"fusebox_breaker_calls_total{breaker="payments",registry="",outcome="failure"} 1"#;
/// assert!(text.lines().any(|other| other == line), "{text}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl collector::Collector for Collector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Gathered { family, series } in self.gather() {
            if !series.is_empty() {
                let (name, help) = (family.stem(), format!("{}.", family.help()));
                let (unit, kind) = (unit_of(family), kind_of(family));
                encode_series(encoder.encode_descriptor(&name, &help, unit.as_ref(), kind)?, family, &series)?;
            }
        }
        Ok(())
    }
}

/// The unit that is a part of the name. What is counted is named by the name itself.
fn unit_of(family: &Family) -> Option<PrometheusUnit> {
    match family.unit() {
        Unit::One(_) => None,
        Unit::Seconds => Some(PrometheusUnit::Seconds),
    }
}

const fn kind_of(family: &Family) -> MetricType {
    match family.kind() {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    }
}

fn encode_series(mut encoder: MetricEncoder<'_>, family: &Family, series: &[Series]) -> Result<(), fmt::Error> {
    for Series { labels, value } in series {
        let mut one = encoder.encode_family(labels)?;
        match (family.kind(), value) {
            (Kind::Counter, Value::Count(count)) => one.encode_counter(count, NO_EXEMPLAR)?,
            (Kind::Counter, Value::Amount(amount)) => one.encode_counter(amount, NO_EXEMPLAR)?,
            (Kind::Gauge, Value::Count(count)) => one.encode_gauge(count)?,
            (Kind::Gauge, Value::Amount(amount)) => one.encode_gauge(amount)?,
        }
    }
    Ok(())
}

const NO_EXEMPLAR: Option<&prometheus_client::metrics::exemplar::Exemplar<[(&str, &str); 0], u64>> = None;
