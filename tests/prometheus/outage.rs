//! An application in an outage, as a script: what happens is decided here, and counted where it happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fusebox::circuit_breaker::Events;
use fusebox::{
    Budget, CircuitBreaker, CircuitBreakerConfig, CircuitBreakerLayer, Cooldown, ManualClock, Override, Permit,
    Registry, RetryLayer, detect,
};
use tokio::task::JoinHandle;
use tower::{Layer, ServiceExt, service_fn};

use crate::answers::Span;
use crate::app::App;
use crate::cast::{Ask, Guarded, Mistaken, Stage, three_in_a_row};
use crate::fleets::Fleets;
use crate::server::Prometheus;
use crate::support::{ms, secs};
use crate::tally::{Subject, labels};
use crate::{unix_now, until};

/// Keys of the large registry.
const KEYS: usize = 10_000;

/// Those of them that are tripped: more than have series.
const TRIPPED: usize = 120;

/// An application, its dependencies and its Prometheus.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    pub(crate) app: App,
    pub(crate) prometheus: Prometheus,
    from: f64,
    /// Behind HTTP, where traffic goes all the time.
    checkout: Guarded,
    /// Ends open.
    search: Guarded,
    /// Ends forced open; its name has all that has to be escaped.
    strange: Guarded,
    dry: Guarded,
    mistaken: Guarded,
    /// Ends half-open, with a probe on its way.
    stock: (CircuitBreaker, Subject, ManualClock),
    prices: RetryLayer,
    /// To `search`.
    lookups: RetryLayer,
    hosts: Registry,
    /// Has room for two.
    crowd: Registry,
    /// Has room for one, which may be forgotten at once.
    narrow: Registry,
    /// Of which a reader of events never reads.
    noisy: (CircuitBreaker, Subject),
    fleets: Fleets,
    /// Breakers of registries that have too many keys, with the registry's name.
    held: Vec<(Arc<str>, CircuitBreaker)>,
    probe: Option<Permit>,
    unread: Option<Events>,
}

/// Calls to the checkout, one after another, until they are stopped.
struct Traffic {
    fails: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    statuses: JoinHandle<BTreeMap<u16, f64>>,
}

impl Traffic {
    fn start(app: &App) -> Self {
        let (fails, stops) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (base, is_down, is_over) = (format!("http://{}/checkout", app.address), fails.clone(), stops.clone());
        let statuses = tokio::spawn(async move {
            let (client, mut statuses) = (reqwest::Client::new(), BTreeMap::new());
            for nth in 0_u64.. {
                if is_over.load(Ordering::SeqCst) {
                    break;
                }
                let how = match nth % 10 {
                    _ if is_down.load(Ordering::SeqCst) => "broken",
                    7 => "unknown",
                    _ => "paid",
                };
                let answer = client.get(format!("{base}/{how}")).send().await.expect("an answer");
                *statuses.entry(answer.status().as_u16()).or_insert(0.0) += 1.0;
                tokio::time::sleep(ms(10)).await;
            }
            statuses
        });
        Self { fails, stops, statuses }
    }

    async fn stop(self) -> BTreeMap<u16, f64> {
        self.stops.store(true, Ordering::SeqCst);
        self.statuses.await.expect("no panic")
    }
}

impl Scene {
    /// Everything is well, and has been scraped.
    pub(crate) async fn new(who: &'static str, rules: &str) -> Self {
        let stage = Stage::new(who);
        let share = detect::failure_rate(0.5).of_last(20).min_calls(10);
        let checkout = stage.guarded("checkout", |b| b.detector(share).cooldown(Cooldown::fixed(secs(1))));
        let search = stage.guarded("search", |b| b.detector(three_in_a_row()).cooldown(Cooldown::fixed(secs(3_600))));
        let strange = stage.guarded("\"quoted\" \\ back\nline 🐈", |b| b.detector(three_in_a_row()));
        let dry = stage.guarded("dry", |b| b.detector(three_in_a_row()));
        let mistaken = stage.guarded("mistaken", |b| b.detector(Mistaken));
        let clock = ManualClock::new();
        let slow = detect::slow_call_rate(0.9).slower_than(secs(1)).of_last(20).min_calls(20).or(three_in_a_row());
        let (stock, subject) = stage.breaker("stock", |b| b.detector(slow).clock(clock.clone()));
        let noisy = stage.breaker("noisy", |b| b);
        let fleets = Fleets::start(&stage).await;
        let app = App::serve(checkout.clone()).await;
        let prometheus = Prometheus::start(&app.jobs(), rules).await;
        let scene = Self {
            prices: stage.retry("prices", |builder| builder.budget(Budget::tokens(10, 0.1))),
            lookups: stage.retry("lookups", |builder| builder),
            hosts: registry(&stage, "hosts").max(KEYS),
            crowd: registry(&stage, "crowd").max(2),
            narrow: registry(&stage, "narrow").max(1).idle(secs(0)),
            stock: (stock, subject, clock),
            from: unix_now(),
            held: Vec::new(),
            probe: None,
            unread: None,
            noisy,
            fleets,
            stage,
            app,
            prometheus,
            checkout,
            search,
            strange,
            dry,
            mistaken,
        };
        scene.scraped(1).await;
        Self { from: unix_now(), ..scene }
    }

    /// Waits until both jobs were scraped so many times more, and returns the times of the last scrapes.
    pub(crate) async fn scraped(&self, times: usize) -> [f64; 2] {
        let mut last = [0.0; 2];
        for _ in 0..times {
            let moment = unix_now();
            for (job, at) in self.app.jobs().iter().zip(&mut last) {
                *at = self.prometheus.scraped_since(job.name, moment).await;
            }
        }
        last
    }

    /// From the beginning until now.
    pub(crate) fn span(&self) -> Span {
        Span { from: self.from, to: unix_now() }
    }

    pub(crate) fn checkout(&self) -> String {
        self.stage.name("checkout")
    }

    /// A time in which all is well, an outage of everything, and a recovery of some. Returns the times of scrapes that began
    /// after the last call had ended.
    pub(crate) async fn play(&mut self) -> [f64; 2] {
        let traffic = Traffic::start(&self.app);
        self.calls_of_many_threads();
        self.usual_calls().await;
        self.retries().await;
        self.scraped(6).await;
        traffic.fails.store(true, Ordering::SeqCst);
        self.failures().await;
        self.overrides().await;
        self.registries().await;
        self.unread_events();
        self.fleets.outage(&self.stage).await;
        self.fleets.disorder().await;
        self.fleets.store_goes_away().await;
        self.scraped(2).await;
        self.fleets.store_comes_back().await;
        self.scraped(4).await;
        traffic.fails.store(false, Ordering::SeqCst);
        self.checkout_is("closed").await;
        self.scraped(4).await;
        let statuses = traffic.stop().await;
        self.callers_agree(&statuses);
        self.scraped(1).await
    }

    /// What callers have seen over HTTP is what the dependency has counted.
    fn callers_agree(&self, statuses: &BTreeMap<u16, f64>) {
        let (tally, name) = (&self.stage.tally, self.checkout());
        let calls = |outcome| tally.of("fusebox_breaker_calls_total", &[("breaker", &name), ("outcome", outcome)]);
        let rejected = tally.of("fusebox_breaker_rejected_calls_total", &[("breaker", &name)]);
        let counted = [(200, calls("success")), (404, calls("ignored")), (502, calls("failure")), (503, rejected)];
        assert_eq!(*statuses, BTreeMap::from(counted));
        assert!(counted.iter().all(|(_, count)| *count > 0.0), "each of them has happened: {counted:?}");
    }

    async fn checkout_is(&self, state: &str) {
        let name = self.checkout();
        until(&format!("the checkout is {state}"), async || {
            let stands = [("breaker", &*name), ("state", state)];
            let is = self.stage.tally.of("fusebox_breaker_state", &stands) == 1.0;
            if is { Ok(()) } else { Err(self.checkout.breaker.snapshot().to_string()) }
        })
        .await;
    }

    /// Each key has one call, and some have more, by sixteen threads.
    fn calls_of_many_threads(&self) {
        let (hosts, subject) = (&self.hosts, Subject::registry(&self.stage.name("hosts")));
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                for thread in 0..16 {
                    let (tally, subject) = (&self.stage.tally, &subject);
                    scope.spawn(move || {
                        for nth in (0..KEYS + 1_000).filter(|nth| nth % 16 == thread) {
                            let breaker =
                                hosts.breaker(&format!("host-{}", nth % KEYS)).expect("a template that works");
                            breaker.acquire().expect("closed").success();
                            tally.call(subject, "success");
                            if nth < KEYS {
                                tally.made(subject);
                            }
                        }
                    });
                }
            });
        });
    }

    async fn usual_calls(&self) {
        for guarded in [&self.search, &self.strange, &self.dry].into_iter().chain(self.fleets.all()) {
            guarded.ask_often(Ask::Succeed, 17).await;
            guarded.ask_often(Ask::Refuse, 2).await;
            guarded.give_up().await;
        }
        let (stock, subject, clock) = &self.stock;
        for _ in 0..4 {
            let permit = stock.acquire().expect("closed");
            clock.advance(secs(2));
            permit.success();
            self.stage.tally.call(subject, "success");
            self.stage.tally.add("fusebox_breaker_slow_calls_total", labels(&[("breaker", &subject.breaker)]), 1.0);
        }
    }

    async fn retries(&self) {
        let (stage, name) = (&self.stage, self.stage.name("prices"));
        for failures in [0; 20].into_iter().chain([1, 2, 1]) {
            assert!(stage.retried(&self.prices, "prices", failures).await);
        }
        let spent = [("retry", &*name), ("reason", "budget")];
        while stage.tally.of("fusebox_retry_stopped_total", &spent) == 0.0 {
            assert!(!stage.retried(&self.prices, "prices", 3).await, "its retries are made, or the budget is spent");
        }
    }

    async fn failures(&mut self) {
        self.checkout_is("open").await;
        self.search.ask_often(Ask::Fail, 3).await;
        self.search.ask_often(Ask::Succeed, 500).await;
        for _ in 0..5 {
            self.stage.retried_in_vain(&self.lookups, "lookups", &self.search).await;
        }
        self.mistaken.ask(Ask::Fail).await;
        let (stock, subject, clock) = &self.stock;
        for _ in 0..3 {
            stock.acquire().expect("closed").failure();
            self.stage.tally.call(subject, "failure");
        }
        assert!(stock.acquire().is_err());
        self.stage.tally.rejection(subject, "open");
        clock.advance(stock.retry_after().expect("it is open"));
        self.probe = Some(stock.acquire().expect("the cooldown is over"));
    }

    async fn overrides(&self) {
        let order = |name: &str, kind: &str| {
            self.stage.tally.add("fusebox_breaker_override", labels(&[("breaker", name), ("kind", kind)]), 1.0);
        };
        self.strange.breaker.set_override(Override::force_open("incident 7").by("ana"));
        order(&self.strange.breaker.name(), "forced_open");
        self.strange.ask_often(Ask::Succeed, 3).await;
        self.dry.breaker.set_override(Override::dry_run("new limits"));
        order(&self.dry.breaker.name(), "dry_run");
        self.dry.ask_often(Ask::Fail, 7).await;
    }

    async fn registries(&mut self) {
        let hosts = Subject::registry(&self.hosts.name());
        for nth in 0..TRIPPED {
            self.hosts.get(&format!("host-{nth}")).expect("it is there").trip().expect("no override");
        }
        for nth in TRIPPED..TRIPPED + 4 {
            let host = self.hosts.get(&format!("host-{nth}")).expect("it is there");
            while let Ok(permit) = host.acquire() {
                permit.failure();
                self.stage.tally.call(&hosts, "failure");
            }
            self.stage.tally.rejection(&hosts, "open");
        }
        let idle = self.hosts.get("host-9000").expect("it is there");
        idle.set_override(Override::disable("load test"));
        for name in ["a", "b", "c", "d", "c", "e"] {
            self.look_up(&self.crowd.clone(), name);
        }
        let narrow = self.narrow.clone();
        drop(narrow.breaker("first").expect("a template that works"));
        self.stage.tally.made(&Subject::registry(&narrow.name()));
        until("the first one gives way", async || {
            self.look_up(&narrow, "another");
            if narrow.get("first").is_none() { Ok(()) } else { Err("it is there".to_owned()) }
        })
        .await;
        let gone = labels(&[("registry", &narrow.name())]);
        self.stage.tally.add("fusebox_registry_forgotten_total", gone.clone(), 1.0);
        self.stage.tally.add(
            "fusebox_registry_breakers",
            labels(&[("registry", &narrow.name()), ("state", "closed")]),
            -1.0,
        );
        let keyed = CircuitBreakerLayer::keyed(narrow, |path: &&'static str| path.split('/').nth(1));
        let service = keyed.layer(service_fn(|_: &str| async { Ok::<_, fusebox::BoxError>(()) }));
        for _ in 0..3 {
            service.clone().oneshot("without a key").await.expect("it is not guarded");
            self.stage.tally.add("fusebox_registry_unguarded_total", gone.clone(), 1.0);
        }
    }

    /// Looks a name up, and holds what comes.
    fn look_up(&mut self, registry: &Registry, name: &str) {
        let breaker = registry.breaker(name).expect("a template that works");
        if &*breaker.name() != name {
            self.stage.tally.add("fusebox_registry_overflowed_total", labels(&[("registry", &registry.name())]), 1.0);
        }
        if !self.held.iter().any(|(of, held)| *of == registry.name() && held.name() == breaker.name()) {
            self.stage.tally.made(&Subject::registry(&registry.name()));
        }
        self.held.push((registry.name(), breaker));
    }

    /// A reader of events that never reads, while more happens than waits for it.
    fn unread_events(&mut self) {
        let (noisy, _) = &self.noisy;
        let events = noisy.events();
        for _ in 0..600 {
            noisy.trip().expect("no override");
            noisy.reset().expect("no override");
        }
        self.unread = Some(events);
    }
}

fn registry(stage: &Stage, name: &str) -> Registry {
    let (name, stage) = (stage.name(name), stage.clone());
    let subject = Subject::registry(&name);
    let template = move |key: &str| {
        let (tally, heard) = (stage.tally.clone(), subject.clone());
        CircuitBreakerConfig::builder(key).on_event(move |event| tally.hear(&heard, event)).build()
    };
    Registry::new(template).named(&name)
}
