//! The bridge to the facade `metrics`.

use std::collections::BTreeMap;
use std::sync::Mutex;

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, Unit as MetricsUnit, with_recorder};

use super::collector::Collector;
use super::family::{Family, Kind, Unit};
use super::gathered::{Gathered, Series};
use crate::sync::unpoisoned;

/// The gauges that were published last, each with what it is when it is no more. A recorder keeps what it was told until it is
/// told otherwise.
static GAUGES: Mutex<BTreeMap<Key, f64>> = Mutex::new(BTreeMap::new());

static METADATA: Metadata<'static> = Metadata::new("fusebox", Level::INFO, Some("fusebox::telemetry"));

impl Collector {
    /// Publishes everything to the recorder of the crate `metrics`: counters as absolute numbers, the rest as gauges.
    ///
    /// Recorders do not ask, so call it before what you have is rendered or pushed: at the beginning of the handler of
    /// `/metrics`, or every few seconds. Without a recorder it does nothing. A gauge that is no more, such as that of a
    /// key that has recovered, is published as zero once more; as NaN, where zero says something: that a store is away.
    ///
    /// ```
    /// use fusebox::telemetry::Collector;
    /// use fusebox::{CircuitBreaker, CircuitBreakerConfig};
    ///
    /// let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    /// let handle = recorder.handle();
    /// metrics::set_global_recorder(recorder).unwrap();
    ///
    /// let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("payments"));
    /// breaker.acquire()?.failure();
    /// Collector::process().publish();
    /// let text = handle.render();
    /// let line = r#"fusebox_breaker_calls_total{breaker="payments",registry="",outcome="failure"} 1"#;
    /// assert!(text.lines().any(|other| other == line), "{text}");
    /// # Ok::<(), fusebox::Rejected>(())
    /// ```
    pub fn publish(&self) {
        let all = self.gather();
        with_recorder(|recorder| {
            let mut gauges = BTreeMap::new();
            for Gathered { family, series } in &all {
                publish_family(recorder, family, series, &mut gauges);
            }
            let mut before = unpoisoned(GAUGES.lock());
            for (gone, nothing) in before.iter().filter(|(key, _)| !gauges.contains_key(key)) {
                recorder.register_gauge(gone, &METADATA).set(*nothing);
            }
            *before = gauges;
        });
    }
}

fn publish_family(recorder: &dyn Recorder, family: &Family, series: &[Series], gauges: &mut BTreeMap<Key, f64>) {
    let name = family.prometheus_name();
    let described = KeyName::from(name.clone());
    let unit = match family.unit() {
        Unit::One(_) => MetricsUnit::Count,
        Unit::Seconds => MetricsUnit::Seconds,
    };
    match family.kind() {
        Kind::Counter => recorder.describe_counter(described, Some(unit), family.help().into()),
        Kind::Gauge => recorder.describe_gauge(described, Some(unit), family.help().into()),
    }
    for Series { labels, value } in series {
        let labels: Vec<_> = labels.iter().map(|(name, value)| Label::new(*name, value.clone())).collect();
        let key = Key::from_parts(name.clone(), labels);
        match family.kind() {
            // Of seconds the whole ones: the facade's counters have no others.
            Kind::Counter => recorder.register_counter(&key, &METADATA).absolute(value.as_count()),
            Kind::Gauge => {
                recorder.register_gauge(&key, &METADATA).set(value.as_f64());
                gauges.insert(key, family.nothing());
            }
        }
    }
}
