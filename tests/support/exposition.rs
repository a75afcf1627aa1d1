//! What libraries of metrics expose, read by what knows nothing of this crate.

use std::collections::BTreeMap;

/// Series by family and labels, with their values.
pub(crate) type Values = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads Prometheus' text, and what it says of types: every sample belongs to a family that has one.
#[cfg(any(feature = "prometheus-client", feature = "metrics"))]
pub(crate) fn parse(text: &str) -> Values {
    let (mut values, mut types) = (Values::new(), BTreeMap::new());
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(about) = line.strip_prefix("# ") {
            if let Some(kind) = about.strip_prefix("TYPE ") {
                let (name, kind) = kind.split_once(' ').expect("a type");
                types.insert(name.to_owned(), kind.to_owned());
            }
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let stem = name.strip_suffix("_total").unwrap_or(name);
        let kind = types.get(name).or_else(|| types.get(stem)).expect("a type");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        let known = values.insert((name.to_owned(), parse_labels(labels)), value.parse().expect("a number"));
        assert_eq!(known, None, "{series} comes once");
    }
    values
}

/// Reads labels up to the brace.
#[cfg(any(feature = "prometheus-client", feature = "metrics"))]
fn parse_labels(text: &str) -> BTreeMap<String, String> {
    let (mut labels, mut rest) = (BTreeMap::new(), text);
    while let Some((name, value)) = rest.split_once("=\"") {
        let (mut end, mut unescaped, mut chars) = (None, String::new(), value.char_indices());
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    end = Some(at + 1);
                    break;
                }
                '\\' => match chars.next().expect("an escape").1 {
                    'n' => unescaped.push('\n'),
                    other => unescaped.push(other),
                },
                other => unescaped.push(other),
            }
        }
        labels.insert(name.trim_start_matches(',').to_owned(), unescaped);
        rest = &value[end.expect("a quote")..];
    }
    assert_eq!(rest, "}");
    labels
}

#[cfg(feature = "opentelemetry")]
#[expect(clippy::cast_precision_loss, reason = "small counts")]
const fn as_f64(count: u64) -> f64 {
    count as f64
}

/// Reads what OpenTelemetry's SDK has collected last: counters under the name that Prometheus would have given them.
#[cfg(feature = "opentelemetry")]
pub(crate) fn read(exporter: &opentelemetry_sdk::metrics::InMemoryMetricExporter) -> Values {
    use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};

    let mut values = Values::new();
    let collected = exporter.get_finished_metrics().expect("in memory");
    let newest = collected.last().expect("it was flushed");
    for metric in newest.scope_metrics().flat_map(|scope| scope.metrics()) {
        assert!(["s", "{call}"].contains(&metric.unit()) || metric.unit().starts_with('{'));
        let stem = metric.name().replace('.', "_");
        let mut add = |family: &str, attributes: Vec<&opentelemetry::KeyValue>, value: f64| {
            let labels: BTreeMap<_, _> =
                attributes.iter().map(|one| (one.key.to_string(), one.value.to_string())).collect();
            assert_eq!(values.insert((family.to_owned(), labels), value), None);
        };
        match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                assert!(sum.is_monotonic());
                let points = sum.data_points();
                points.for_each(|p| add(&format!("{stem}_total"), p.attributes().collect(), as_f64(p.value())));
            }
            AggregatedMetrics::U64(MetricData::Gauge(gauge)) => {
                gauge.data_points().for_each(|p| add(&stem, p.attributes().collect(), as_f64(p.value())));
            }
            AggregatedMetrics::F64(MetricData::Gauge(gauge)) => {
                assert_eq!(metric.unit(), "s");
                let points = gauge.data_points();
                points.for_each(|p| add(&format!("{stem}_seconds"), p.attributes().collect(), p.value()));
            }
            other => panic!("{}: {other:?}", metric.name()),
        }
    }
    values
}
