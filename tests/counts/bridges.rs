//! The bridges, each through the library itself, against the application's own tally: to the unit.

use std::collections::BTreeMap;

use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, Outcome, Override, Registry, detect};

use crate::exposition::Values;
#[cfg(any(feature = "prometheus-client", feature = "metrics"))]
use crate::exposition::parse;
use crate::support::{fail, report, secs, succeed};

/// An application that counts for itself.
struct App {
    breaker: CircuitBreaker,
    registry: Registry,
    clock: ManualClock,
    expected: Values,
}

impl App {
    /// Its breaker has a name that has to be escaped; its registry is called so too.
    fn new(bridge: &str) -> Self {
        let name = format!("{bridge} \"quoted\" \\ back\nline 🐈");
        let clock = ManualClock::new();
        let rule = detect::consecutive_failures(3);
        let config = CircuitBreakerConfig::builder(&name).clock(clock.clone()).detector(rule);
        let of_template = clock.clone();
        let template = move |key: &str| CircuitBreakerConfig::builder(key).clock(of_template.clone()).build();
        Self {
            breaker: CircuitBreaker::new(config.build().expect("a configuration that works")),
            registry: Registry::new(template).named(&name),
            clock,
            expected: Values::new(),
        }
    }

    fn count(&mut self, family: &str, by_hand: bool, label: &[(&str, &str)], by: f64) {
        let name = self.breaker.name().to_string();
        let (breaker, registry) = if by_hand { (name, String::new()) } else { (String::new(), name) };
        let own = [("breaker".to_owned(), breaker), ("registry".to_owned(), registry)];
        let labels = own.into_iter().chain(label.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        *self.expected.entry((family.to_owned(), labels.collect())).or_default() += by;
    }

    /// An outage, and the recovery from it.
    fn run(&mut self) {
        let calls = "fusebox_breaker_calls_total";
        let transition = |from, to, cause| [("from", from), ("to", to), ("cause", cause), ("origin", "decided")];
        succeed(&self.breaker, 17);
        self.count(calls, true, &[("outcome", "success")], 17.0);
        report(&self.breaker, 2, Outcome::Ignored);
        self.count(calls, true, &[("outcome", "ignored")], 2.0);
        fail(&self.breaker, 3);
        self.count(calls, true, &[("outcome", "failure")], 3.0);
        self.count("fusebox_breaker_transitions_total", true, &transition("closed", "open", "detected"), 1.0);
        for _ in 0..5 {
            assert!(self.breaker.acquire().is_err());
            self.count("fusebox_breaker_rejected_calls_total", true, &[("reason", "open")], 1.0);
        }
        self.clock.advance(secs(30));
        drop(self.breaker.acquire().expect("half-open"));
        self.count(calls, true, &[("outcome", "cancelled")], 1.0);
        self.count("fusebox_breaker_transitions_total", true, &transition("open", "half_open", "cooldown_over"), 1.0);
        for nth in [0, 1, 2, 4] {
            let breaker = self.registry.breaker(&format!("key-{nth}")).expect("a template that works");
            succeed(&breaker, 4);
            self.count(calls, false, &[("outcome", "success")], 4.0);
        }
        let forced = self.registry.breaker("key-3").expect("a template that works");
        let from = forced.state().as_str();
        forced.set_override(Override::force_open("incident 7"));
        self.count("fusebox_breaker_transitions_total", false, &transition(from, "open", "overridden"), 1.0);
        assert!(forced.acquire().is_err());
        self.count("fusebox_breaker_rejected_calls_total", false, &[("reason", "forced_open")], 1.0);
    }

    /// What every bridge is to show besides.
    fn check(&self, seen: &Values) {
        for (series, expected) in &self.expected {
            assert_eq!(seen.get(series), Some(expected), "{series:?} among {:#?}", seen.keys());
        }
        let name = self.breaker.name();
        let ours = |labels: &BTreeMap<String, String>| labels.values().any(|value| **value == *name);
        // Nothing that the application does not know of.
        for ((family, labels), value) in seen.iter().filter(|((family, labels), _)| {
            ours(labels) && (family.contains("_calls_total") || family.contains("transitions"))
        }) {
            let expected = self.expected.get(&(family.clone(), labels.clone())).copied().unwrap_or(0.0);
            assert_eq!(*value, expected, "{family} {labels:?}");
        }
        let one = |family: &str, labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            seen.get(&(family.to_owned(), labels)).copied()
        };
        let half_open = [("breaker", &*name), ("registry", ""), ("state", "half_open")];
        assert_eq!(one("fusebox_breaker_state", &half_open), Some(1.0));
        let key = [("breaker", "key-3"), ("registry", &*name), ("state", "open")];
        assert_eq!(one("fusebox_breaker_state", &key), Some(1.0));
        assert_eq!(one("fusebox_registry_breakers", &[("registry", &*name), ("state", "closed")]), Some(4.0));
        let at = one("fusebox_breaker_last_transition_timestamp_seconds", &[("breaker", &*name), ("registry", "")]);
        assert!(at.is_some_and(|at| at > 1.7e9), "{at:?}");
    }
}

#[cfg(feature = "prometheus-client")]
#[test]
fn prometheus_client_shows_what_the_application_has_counted() {
    use fusebox::telemetry::Collector;
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    let mut registry = Registry::default();
    registry.register_collector(Box::new(Collector::process()));
    let mut app = App::new("prometheus-client");
    // It was registered before there was a breaker, and asked twice.
    for _ in 0..2 {
        app.run();
        let mut text = String::new();
        encode(&mut text, &registry).expect("a string takes everything");
        let body = text.strip_suffix("# EOF\n").expect("OpenMetrics has an end");
        assert!(body.contains("# HELP fusebox_breaker_calls Calls that have ended, by outcome.\n"));
        app.check(&parse(body));
        app.breaker.reset().expect("no override");
        let reset = [("from", "half_open"), ("to", "closed"), ("cause", "reset"), ("origin", "decided")];
        app.count("fusebox_breaker_transitions_total", true, &reset, 1.0);
    }
}

#[cfg(feature = "metrics")]
#[test]
fn the_metrics_facade_shows_what_the_application_has_counted() {
    use fusebox::telemetry::Collector;
    use metrics_exporter_prometheus::PrometheusBuilder;

    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let mut app = App::new("metrics");
    app.run();
    let publish = || metrics::with_local_recorder(&recorder, || Collector::process().publish());
    publish();
    app.check(&parse(&handle.render()));
    // As often as one likes: the numbers are absolute.
    publish();
    app.check(&parse(&handle.render()));
    app.registry.get("key-3").expect("it is there").resume();
    publish();
    let name = app.breaker.name();
    let seen = parse(&handle.render());
    let key = [("breaker", "key-3"), ("registry", &*name), ("state", "open")];
    let key = key.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(seen.get(&("fusebox_breaker_state".to_owned(), key)), Some(&0.0), "it is open no more");
}

#[cfg(feature = "opentelemetry")]
mod opentelemetry {
    use fusebox::telemetry::Collector;
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

    use super::App;
    use crate::exposition::read;

    #[test]
    fn opentelemetry_shows_what_the_application_has_counted_until_it_is_dropped() {
        let exporter = InMemoryMetricExporter::default();
        let provider =
            SdkMeterProvider::builder().with_reader(PeriodicReader::builder(exporter.clone()).build()).build();
        let observed = Collector::process().observe(&provider.meter("test"));
        let mut app = App::new("opentelemetry");
        for _ in 0..2 {
            app.run();
            provider.force_flush().expect("in memory");
            app.check(&read(&exporter));
            exporter.reset();
            app.breaker.reset().expect("no override");
            let reset = [("from", "half_open"), ("to", "closed"), ("cause", "reset"), ("origin", "decided")];
            app.count("fusebox_breaker_transitions_total", true, &reset, 1.0);
        }
        drop(observed);
        app.run();
        provider.force_flush().expect("in memory");
        let collected = exporter.get_finished_metrics().expect("in memory");
        let metrics = collected.iter().flat_map(|all| all.scope_metrics().flat_map(|scope| scope.metrics()));
        assert_eq!(metrics.count(), 0, "nothing is observed any more");
    }
}
