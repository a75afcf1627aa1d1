//! What the collector finds in the process, which other tests share: each has names of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, mpsc};
use std::time::UNIX_EPOCH;

use fusebox::clock::Timestamp;
use fusebox::detect::{Call, Detector, LoadError, Tally};
use fusebox::telemetry::{Collector, Family, Keys, Sink, Value};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, ManualClock, Outcome, Override, Registry, State, detect};

use crate::support::{fail, no_deadlock, report, reuse_places, secs, succeed};

/// All series with their values, by family and labels.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    family: String,
    families: BTreeSet<String>,
    series: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Sink for Samples {
    fn family(&mut self, family: &'static Family) {
        self.family = family.prometheus_name();
        assert!(self.families.insert(self.family.clone()), "{} comes once", self.family);
        assert!(!family.help().ends_with('.'));
    }

    fn sample(&mut self, labels: &[(&'static str, &str)], value: Value) {
        let by_name: BTreeMap<_, _> =
            labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(by_name.len(), labels.len(), "{labels:?}");
        let before = self.series.insert((self.family.clone(), by_name), value.as_f64());
        assert_eq!(before, None, "{} {labels:?} comes once", self.family);
    }
}

impl Samples {
    pub(crate) fn collect() -> Self {
        Self::by(Collector::process())
    }

    fn by(collector: Collector) -> Self {
        let mut samples = Self::default();
        collector.collect(&mut samples);
        samples
    }

    pub(crate) fn get(&self, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.series.get(&(family.to_owned(), labels)).copied()
    }

    /// Those of a family that have these labels among others: the others, and their values.
    pub(crate) fn of(&self, family: &str, labels: &[(&str, &str)]) -> Vec<(Vec<&str>, f64)> {
        let has = |all: &BTreeMap<String, String>, (name, value): &(&str, &str)| {
            all.get(*name).is_some_and(|own| own == value)
        };
        let series =
            self.series.iter().filter(|((name, all), _)| name == family && labels.iter().all(|label| has(all, label)));
        let others = series.map(|((_, all), value)| {
            let others = all.iter().filter(|(name, _)| !labels.iter().any(|(known, _)| known == name));
            (others.map(|(_, value)| value.as_str()).collect(), *value)
        });
        others.collect()
    }

    /// Successes, failures, ignored, cancelled.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small counts")]
    pub(crate) fn calls(&self, breaker: &str, registry: &str) -> [u64; 4] {
        ["success", "failure", "ignored", "cancelled"].map(|outcome| {
            let labels = [("breaker", breaker), ("registry", registry), ("outcome", outcome)];
            self.get("fusebox_breaker_calls_total", &labels).map_or(0, |count| count as u64)
        })
    }
}

fn named(name: &str) -> (CircuitBreaker, ManualClock) {
    let clock = ManualClock::new();
    let config = CircuitBreakerConfig::builder(name).clock(clock.clone()).build().expect("a configuration that works");
    (CircuitBreaker::new(config), clock)
}

#[test]
fn a_breaker_shows_what_it_has_counted_and_how_it_stands() {
    let clock = ManualClock::new();
    let rule = detect::failures(3).of_last(10).or(detect::consecutive_failures(5));
    let config = CircuitBreakerConfig::builder("shows").clock(clock.clone()).detector(rule);
    let breaker = CircuitBreaker::new(config.build().expect("a configuration that works"));
    succeed(&breaker, 4);
    fail(&breaker, 2);
    report(&breaker, 1, Outcome::Ignored);
    let samples = Samples::collect();
    let of = |family: &str| samples.of(family, &[("breaker", "shows"), ("registry", "")]);
    assert_eq!(samples.calls("shows", ""), [4, 2, 1, 0]);
    assert_eq!(of("fusebox_breaker_state"), [(vec!["closed"], 1.0), (vec!["half_open"], 0.0), (vec!["open"], 0.0)]);
    assert_eq!(of("fusebox_breaker_tally"), [(vec!["failures", "0"], 2.0), (vec!["failures", "1"], 2.0)]);
    assert_eq!(of("fusebox_breaker_tally_calls"), [(vec!["0"], 6.0)]);
    assert_eq!(of("fusebox_breaker_tally_limit"), [(vec!["0"], 3.0), (vec!["1"], 5.0)]);
    assert_eq!(of("fusebox_breaker_info").len(), 1);
    assert_eq!(of("fusebox_breaker_last_transition_timestamp_seconds"), []);
    assert!(of("fusebox_breaker_transitions_total").iter().all(|(_, count)| *count == 0.0), "there, and none yet");
    assert!(of("fusebox_breaker_rejected_calls_total").iter().all(|(_, count)| *count == 0.0));

    fail(&breaker, 1);
    assert!(breaker.acquire().is_err());
    clock.advance(secs(30));
    let probe = breaker.acquire().expect("half-open");
    let samples = Samples::collect();
    let of = |family: &str| samples.of(family, &[("breaker", "shows"), ("registry", "")]);
    assert_eq!(of("fusebox_breaker_state"), [(vec!["closed"], 0.0), (vec!["half_open"], 1.0), (vec!["open"], 0.0)]);
    assert_eq!(of("fusebox_breaker_probes_in_flight"), [(vec![], 1.0)]);
    let rejected = [("breaker", "shows"), ("registry", ""), ("reason", "open")];
    assert_eq!(samples.get("fusebox_breaker_rejected_calls_total", &rejected), Some(1.0));
    let made: Vec<_> = of("fusebox_breaker_transitions_total").into_iter().filter(|(_, count)| *count > 0.0).collect();
    assert_eq!(
        made,
        [
            (vec!["cooldown_over", "open", "decided", "half_open"], 1.0),
            (vec!["detected", "closed", "decided", "open"], 1.0)
        ]
    );
    probe.success();
    let since = breaker.snapshot().since;
    let since = since.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let samples = Samples::collect();
    let at = samples.of("fusebox_breaker_last_transition_timestamp_seconds", &[("breaker", "shows")])[0].1;
    assert!((at - since).abs() < 60.0, "{at}, and the snapshot says {since}");
}

#[test]
fn breakers_of_one_name_are_one_series_which_outlives_them() {
    let ((one, _), (other, _)) = (named("twin"), named("twin"));
    succeed(&one, 2);
    succeed(&other, 3);
    other.trip().expect("no override");
    let states = || {
        Samples::collect().of("fusebox_breaker_state", &[("breaker", "twin")]).iter().map(|s| s.1).collect::<Vec<_>>()
    };
    assert_eq!(Samples::collect().calls("twin", ""), [5, 0, 0, 0]);
    assert_eq!(states(), [1.0, 0.0, 1.0]);
    drop(other);
    assert_eq!(Samples::collect().calls("twin", ""), [5, 0, 0, 0]);
    assert_eq!(states(), [1.0, 0.0, 0.0]);
    drop(reuse_places());
    assert_eq!(Samples::collect().calls("twin", ""), [5, 0, 0, 0], "another has its place");
    drop(one);
    assert_eq!(Samples::collect().of("fusebox_breaker_calls_total", &[("breaker", "twin")]), [], "none is there");
    let (again, _) = named("twin");
    succeed(&again, 1);
    assert_eq!(Samples::collect().calls("twin", ""), [6, 0, 0, 0]);
    assert_eq!(again.snapshot().counts.successes, 1, "by itself it is new");
}

#[test]
fn a_registry_is_one_set_of_series_and_keys_in_trouble_have_their_own() {
    let clock = ManualClock::new();
    let of_template = clock.clone();
    let template = move |name: &str| CircuitBreakerConfig::builder(name).clock(of_template.clone()).build();
    let registry = Registry::new(template).named("troubles");
    let all: Vec<_> = (0..20).map(|nth| registry.breaker(&format!("key-{nth}")).expect("works")).collect();
    all.iter().for_each(|breaker| succeed(breaker, 1));
    for breaker in &all[3..9] {
        breaker.trip().expect("no override");
    }
    all[12].set_override(Override::disable("load test"));
    let samples = Samples::by(Collector::process().keys(Keys::Troubled { most: 4 }));
    assert_eq!(samples.calls("", "troubles"), [20, 0, 0, 0]);
    let of = |family: &str| samples.of(family, &[("registry", "troubles")]);
    assert_eq!(
        of("fusebox_registry_breakers"),
        [(vec!["closed"], 14.0), (vec!["half_open"], 0.0), (vec!["open"], 6.0)]
    );
    assert_eq!(of("fusebox_registry_keys_left_out"), [(vec![], 2.0)]);
    let overridden = [(vec!["disabled"], 1.0), (vec!["dry_run"], 0.0), (vec!["forced_open"], 0.0)];
    assert_eq!(of("fusebox_registry_overridden_breakers"), overridden);
    let open: Vec<_> = of("fusebox_breaker_state").into_iter().filter(|(_, value)| *value > 0.0).collect();
    let expected: Vec<_> = ["key-3", "key-4", "key-5", "key-6"].map(|key| (vec![key, "open"], 1.0)).into();
    assert_eq!(open, expected, "the oldest trouble first");

    clock.advance(secs(30));
    all[3].acquire().expect("a probe").success();
    let samples = Samples::collect();
    let state = samples.of("fusebox_breaker_state", &[("registry", "troubles"), ("breaker", "key-3")]);
    assert_eq!(state, [], "it is closed again");
    assert_eq!(samples.of("fusebox_breaker_state", &[("registry", "troubles"), ("state", "open")]).len(), 5);
    let none = Samples::by(Collector::process().keys(Keys::None));
    assert_eq!(none.of("fusebox_breaker_state", &[("registry", "troubles")]), []);
    assert_eq!(none.of("fusebox_registry_keys_left_out", &[("registry", "troubles")]), [(vec![], 5.0)]);
}

#[test]
fn a_registered_breaker_belongs_to_its_name_and_a_registrys_own_to_it() {
    let (breaker, _) = named("registered");
    breaker.register().expect("the name is free");
    succeed(&breaker, 2);
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).named("lender");
    let lent = registry.breaker("registered-too").expect("a template that works");
    lent.register().expect("the name is free");
    succeed(&lent, 3);
    let samples = Samples::collect();
    assert_eq!(samples.calls("registered", ""), [2, 0, 0, 0]);
    assert_eq!(samples.calls("", "lender"), [3, 0, 0, 0]);
    assert_eq!(samples.calls("registered-too", ""), [0; 4]);
    assert_eq!(samples.calls("", ""), [0; 4], "the process's registry has made none");
}

#[test]
fn registries_of_one_name_are_one_and_what_was_counted_outlives_them() {
    let registry = || Registry::new(|name| CircuitBreakerConfig::builder(name).build()).named("generations");
    let (one, other) = (registry(), registry());
    let held = one.breaker("a").expect("a template that works");
    succeed(&held, 2);
    succeed(&other.breaker("a").expect("a template that works"), 3);
    assert_eq!(Samples::collect().calls("", "generations"), [5, 0, 0, 0]);
    drop(one);
    succeed(&held, 1);
    assert_eq!(Samples::collect().calls("", "generations"), [6, 0, 0, 0], "a handle goes on working");
    drop(held);
    drop(reuse_places());
    assert_eq!(Samples::collect().calls("", "generations"), [6, 0, 0, 0], "another has its place");
    drop(other);
    assert_eq!(Samples::collect().of("fusebox_breaker_calls_total", &[("registry", "generations")]), []);
    let third = registry();
    succeed(&third.breaker("a").expect("a template that works"), 1);
    assert_eq!(Samples::collect().calls("", "generations"), [7, 0, 0, 0]);
}

#[test]
fn collecting_ends_nothing_and_tells_no_listener() {
    let clock = ManualClock::new();
    let (tell, told) = mpsc::channel();
    let config = CircuitBreakerConfig::builder("untouched").clock(clock.clone());
    let config = config.on_event(move |event| tell.send(event.to_string()).expect("it is read"));
    let breaker = CircuitBreaker::new(config.build().expect("a configuration that works"));
    breaker.set_override(Override::force_open("incident 7").expires_after(secs(10)));
    assert_eq!(told.try_iter().count(), 1);
    clock.advance(secs(20));
    let overrides = || {
        Samples::collect().of("fusebox_breaker_override", &[("breaker", "untouched")]).iter().map(|s| s.1).sum::<f64>()
    };
    assert_eq!(overrides(), 1.0);
    assert_eq!(told.try_iter().count(), 0, "nothing has happened");
    assert_eq!(breaker.state(), State::Closed, "a look ends it");
    assert_eq!((overrides(), told.try_iter().count()), (0.0, 1));
}

/// A detector that sits in its window, and so in the breaker's lock, for as long as the test wants.
#[derive(Clone, Debug)]
struct Slow(Arc<Mutex<Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>>>);

impl Detector for Slow {
    fn record(&mut self, _call: &Call) {
        if let Some((begins, ends)) = self.0.lock().expect("no panic").take() {
            begins.send(()).expect("the test waits");
            ends.recv().expect("the test ends it");
        }
    }
    fn verdict(&self, _now: Timestamp) -> bool {
        false
    }
    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(0)
    }
    fn reset(&mut self) {}
    fn absorbs_success(&self) -> bool {
        true
    }
    fn save(&self) -> Vec<u8> {
        Vec::new()
    }
    fn load(&mut self, _bytes: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }
}

#[test]
fn collecting_takes_no_lock_of_a_clean_breaker() {
    let ((begins, begun), (end, ends)) = (mpsc::channel(), mpsc::channel());
    let slow = Slow(Arc::new(Mutex::new(Some((begins, ends)))));
    let config = CircuitBreakerConfig::builder("locked").detector(slow).build().expect("a configuration that works");
    let breaker = CircuitBreaker::new(config);
    succeed(&breaker, 2);
    let failing = breaker.clone();
    let thread = std::thread::spawn(move || fail(&failing, 1));
    begun.recv().expect("it holds the lock");
    let seen = no_deadlock(|| Samples::collect().calls("locked", ""));
    assert_eq!(seen[0], 2);
    end.send(()).expect("it waits");
    thread.join().expect("no panic");
    assert_eq!(Samples::collect().calls(&breaker.name(), ""), [2, 1, 0, 0]);
}

#[test]
fn ten_thousand_keys_are_a_scrape_of_few_series() {
    let registry = Registry::new(|name| CircuitBreakerConfig::builder(name).build()).named("wide").max(20_000);
    for nth in 0..10_000 {
        let breaker = registry.breaker(&format!("host-{nth}")).expect("a template that works");
        breaker.acquire().expect("closed").success();
        if nth % 10 == 0 {
            breaker.trip().expect("no override");
        }
    }
    let samples = Samples::collect();
    assert_eq!(samples.calls("", "wide"), [10_000, 0, 0, 0]);
    let of_wide = samples.series.keys().filter(|(_, labels)| labels.get("registry").is_some_and(|name| name == "wide"));
    assert!(of_wide.count() < 250);
    assert_eq!(samples.of("fusebox_registry_keys_left_out", &[("registry", "wide")]), [(vec![], 900.0)]);
}

/// Readers that do not read: what they are told to have missed.
#[test]
fn events_that_were_lost_on_the_way_to_slow_readers_are_counted() {
    let breaker = named("is not listened to").0;
    let lost = || Samples::collect().get("fusebox_news_lost_total", &[]).expect("told");
    let before = lost();
    let readers = [breaker.events(), breaker.events()];
    for _ in 0..1_000 {
        breaker.trip().expect("no override");
        breaker.reset().expect("no override");
    }
    let missed: u64 = readers.iter().map(fusebox::circuit_breaker::Events::dropped).sum();
    assert!(missed > 0);
    assert_eq!(lost() - before, f64::from(u32::try_from(missed).expect("few")));
}
