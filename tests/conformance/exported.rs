//! 20: what is exported is right after a recovery, and transitions are counters as well.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use fusebox::telemetry::{Collector, Family, Sink, Value};
use fusebox::{CircuitBreakerConfig, EventKind, Registry};

use super::exposition::Values;
use super::*;

// 20

/// A way out of the process; it may remember what it was told before.
type Exporter = Box<dyn FnMut() -> Values>;

/// Each way that there is, by name.
fn exporters() -> Vec<(&'static str, Exporter)> {
    Vec::from([
        ("a sink", by_sink()),
        #[cfg(feature = "prometheus-client")]
        ("prometheus-client", by_prometheus_client()),
        #[cfg(feature = "metrics")]
        ("metrics", by_the_facade()),
        #[cfg(feature = "opentelemetry")]
        ("opentelemetry", by_opentelemetry()),
    ])
}

fn by_sink() -> Exporter {
    #[derive(Default)]
    struct Samples(String, Values);

    impl Sink for Samples {
        fn family(&mut self, family: &'static Family) {
            self.0 = family.prometheus_name();
        }

        fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
            let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            self.1.insert((self.0.clone(), labels), value.as_f64());
        }
    }

    Box::new(|| {
        let mut samples = Samples::default();
        Collector::process().collect(&mut samples);
        samples.1
    })
}

#[cfg(feature = "prometheus-client")]
fn by_prometheus_client() -> Exporter {
    let mut registry = prometheus_client::registry::Registry::default();
    registry.register_collector(Box::new(Collector::process()));
    Box::new(move || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("a string takes everything");
        exposition::parse(text.strip_suffix("# EOF\n").expect("OpenMetrics has an end"))
    })
}

/// A recorder keeps every gauge that it was ever told of.
#[cfg(feature = "metrics")]
fn by_the_facade() -> Exporter {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    Box::new(move || {
        metrics::with_local_recorder(&recorder, || Collector::process().publish());
        exposition::parse(&recorder.handle().render())
    })
}

#[cfg(feature = "opentelemetry")]
fn by_opentelemetry() -> Exporter {
    use opentelemetry::metrics::MeterProvider;
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};

    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    let observed = Collector::process().observe(&provider.meter("c20"));
    Box::new(move || {
        let _ = &observed;
        exporter.reset();
        provider.force_flush().expect("in memory");
        exposition::read(&exporter)
    })
}

/// From, to, and why.
type Transition = (State, State, &'static str);

/// A breaker, what it has told a listener, and what the test knows that it has done.
struct Watched {
    breaker: CircuitBreaker,
    clock: ManualClock,
    told: Arc<Mutex<BTreeMap<String, u32>>>,
    done: BTreeMap<String, u32>,
    exporters: Vec<(&'static str, Exporter)>,
}

fn named((from, to, cause): Transition) -> String {
    format!("{} {} {cause}", from.as_str(), to.as_str())
}

impl Watched {
    /// Three failures in a row open it for 30 s; one probe decides.
    fn new(name: &str) -> Self {
        let (clock, told) = (ManualClock::new(), Arc::<Mutex<BTreeMap<String, u32>>>::default());
        clock.advance(secs(100_000));
        let tell = Arc::clone(&told);
        let config = CircuitBreakerConfig::builder(name)
            .clock(clock.clone())
            .detector(detect::consecutive_failures(3))
            .cooldown(Cooldown::fixed(secs(30)))
            .on_event(move |event| {
                if let EventKind::StateChanged { from, to, reason, .. } = event.kind() {
                    let mut told = tell.lock().unwrap_or_else(PoisonError::into_inner);
                    *told.entry(named((from, to, reason.as_str()))).or_default() += 1;
                }
            });
        let breaker = CircuitBreaker::new(config.build().expect("a configuration that works"));
        Self { breaker, clock, told, done: BTreeMap::new(), exporters: exporters() }
    }

    /// It has done that, and is in that state, and all that is exported says so.
    #[track_caller]
    fn is(&mut self, state: State, overridden: Option<&str>, transitions: &[Transition]) {
        for transition in transitions {
            *self.done.entry(named(*transition)).or_default() += 1;
        }
        assert_eq!(*self.told.lock().unwrap_or_else(PoisonError::into_inner), self.done, "what a listener was told");
        let name = self.breaker.name();
        for (exporter, look) in &mut self.exporters {
            let values = look();
            let of = |family: &str, labels: &[&str]| -> BTreeMap<String, f64> {
                let ours = values.iter().filter(|((known, labels), _)| {
                    known == family && labels.get("breaker").is_some_and(|breaker| **breaker == *name)
                });
                let label = |all: &BTreeMap<String, String>| {
                    labels.iter().map(|label| all[*label].as_str()).collect::<Vec<_>>().join(" ")
                };
                ours.map(|((_, labels), value)| (label(labels), *value)).collect()
            };
            let flags = |set: Option<&str>, all: [&str; 3]| -> BTreeMap<String, f64> {
                all.into_iter().map(|one| (one.to_owned(), if set == Some(one) { 1.0 } else { 0.0 })).collect()
            };
            let states = flags(Some(state.as_str()), ["closed", "open", "half_open"]);
            assert_eq!(of("fusebox_breaker_state", &["state"]), states, "{exporter}");
            let overrides = flags(overridden, ["forced_open", "disabled", "dry_run"]);
            assert_eq!(of("fusebox_breaker_override", &["kind"]), overrides, "{exporter}");
            let mut counted = of("fusebox_breaker_transitions_total", &["from", "to", "cause"]);
            counted.retain(|_, count| *count > 0.0);
            let done: BTreeMap<_, _> =
                self.done.iter().map(|(what, count)| (what.clone(), f64::from(*count))).collect();
            assert_eq!(counted, done, "{exporter}");
        }
    }
}

#[test]
fn c20_the_exported_state_is_right_in_each_state_and_after_recovery_and_each_transition_is_counted() {
    use State::{Closed, HalfOpen, Open};
    let mut watched = Watched::new("c20 gauge");
    let (breaker, clock) = (watched.breaker.clone(), watched.clock.clone());
    watched.is(Closed, None, &[]);
    fail(&breaker, 3);
    watched.is(Open, None, &[(Closed, Open, "detected")]);
    clock.advance(secs(30));
    let probe = breaker.acquire().expect("the cooldown is over");
    watched.is(HalfOpen, None, &[(Open, HalfOpen, "cooldown_over")]);
    probe.failure();
    watched.is(Open, None, &[(HalfOpen, Open, "probe_failed")]);
    clock.advance(secs(30));
    let probe = breaker.acquire().expect("the cooldown is over");
    watched.is(HalfOpen, None, &[(Open, HalfOpen, "cooldown_over")]);
    probe.success();
    watched.is(Closed, None, &[(HalfOpen, Closed, "probes_succeeded")]);
    // By hand as well.
    breaker.set_override(Override::force_open("incident 7"));
    watched.is(Open, Some("forced_open"), &[(Closed, Open, "overridden")]);
    breaker.resume();
    watched.is(Closed, None, &[(Open, Closed, "resumed")]);
    // A healthy breaker that is looked at again has changed nothing.
    succeed(&breaker, 100);
    watched.is(Closed, None, &[]);
}

#[test]
fn c20_an_opening_that_is_over_before_anything_looks_is_counted_all_the_same() {
    use State::{Closed, Open};
    let mut watched = Watched::new("c20 short");
    watched.is(Closed, None, &[]);
    for _ in 0..3 {
        fail(&watched.breaker, 3);
        watched.breaker.reset().expect("no override");
        watched.is(Closed, None, &[(Closed, Open, "detected"), (Open, Closed, "reset")]);
    }
}

#[test]
fn c20_a_key_that_has_recovered_is_exported_as_open_no_more() {
    let registry = Registry::new(|key| CircuitBreakerConfig::builder(key).build()).named("c20 keys");
    let breaker = registry.breaker("host").expect("a template that works");
    let labels = |state: &str| {
        let labels = [("breaker", "host"), ("registry", "c20 keys"), ("state", state)];
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    };
    let of_all = |state: &str| {
        let labels = [("registry", "c20 keys"), ("state", state)];
        labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    };
    let mut exporters = exporters();
    for _ in 0..2 {
        breaker.trip().expect("no override");
        for (exporter, look) in &mut exporters {
            let values = look();
            let get = |family: &str, labels| values.get(&(family.to_owned(), labels)).copied();
            assert_eq!(get("fusebox_breaker_state", labels("open")), Some(1.0), "{exporter}");
            assert_eq!(get("fusebox_registry_breakers", of_all("open")), Some(1.0), "{exporter}");
        }
        breaker.reset().expect("no override");
        for (exporter, look) in &mut exporters {
            let values = look();
            let get = |family: &str, labels| values.get(&(family.to_owned(), labels)).copied();
            // A recorder knows no end of a series, so it is told zero.
            let open = get("fusebox_breaker_state", labels("open"));
            assert!(open.is_none() || open == Some(0.0), "{exporter}: {open:?}");
            assert_eq!(get("fusebox_registry_breakers", of_all("open")), Some(0.0), "{exporter}");
            assert_eq!(get("fusebox_registry_breakers", of_all("closed")), Some(1.0), "{exporter}");
        }
    }
}
