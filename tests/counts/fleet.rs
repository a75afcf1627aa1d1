//! What is told of stores and fleets, against a store that keeps an account of its own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fusebox::fleet::{self, Fleet};
use fusebox::store::{Changes, Commit, Committed, MemoryStore, Notices, Store, StoreError, StoreFuture, Stored};
#[cfg(feature = "metrics")]
use fusebox::telemetry::Collector;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, Registry, detect};

use super::collector::Samples;
use crate::support::fail;

/// A store that writes down what it is asked for and what it answers.
#[derive(Debug, Default)]
struct Accountant {
    name: &'static str,
    inner: MemoryStore,
    account: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
    is_away: AtomicBool,
}

impl Accountant {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, ..Self::default() })
    }

    fn note(&self, operation: &'static str, result: &'static str) {
        *self.account.lock().expect("no panic").entry((operation, result)).or_default() += 1;
    }

    fn check(&self, operation: &'static str) -> Result<(), StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            self.note(operation, "unavailable");
            return Err(StoreError::unreachable("closed for stocktaking"));
        }
        Ok(())
    }

    fn account(&self) -> BTreeMap<(&'static str, &'static str), u64> {
        self.account.lock().expect("no panic").clone()
    }
}

impl Store for Accountant {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            // One that is away is asked for each key in turn, by `load_each`: that is one operation.
            self.check(if keys.len() == 1 { "load" } else { "loads" })?;
            let answer = self.inner.load(keys).await;
            self.note("load", "ok");
            answer
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            self.check("commit")?;
            let answer = self.inner.commit(key, commit).await?;
            self.note(
                "commit",
                match &answer {
                    Committed::Applied { .. } => "applied",
                    Committed::Conflict(_) => "conflict",
                    Committed::Duplicate(_) => "duplicate",
                    Committed::Queued(_) => "queued",
                    Committed::Combine(..) => "combine",
                    Committed::Fenced(_) => "fenced",
                    _ => "other",
                },
            );
            Ok(answer)
        })
    }

    fn changes<'a>(&'a self, since: Option<&'a bytes::Bytes>) -> StoreFuture<'a, Changes> {
        Box::pin(async move {
            self.check("changes")?;
            let answer = self.inner.changes(since).await;
            self.note("changes", "ok");
            answer
        })
    }

    fn watch(&self) -> Notices {
        self.inner.watch()
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }
}

fn config(name: &str, store: &Arc<Accountant>) -> fusebox::CircuitBreakerConfigBuilder {
    let store: Arc<dyn Store> = store.clone();
    CircuitBreakerConfig::builder(name).detector(detect::failures(1_000).within(Duration::from_secs(60))).store(store)
}

fn instance(name: &str, store: &Arc<Accountant>) -> CircuitBreaker {
    CircuitBreaker::new(config(name, store).build().expect("a configuration that works"))
}

fn told(samples: &Samples, store: &str) -> BTreeMap<(String, String), f64> {
    let operations = samples.of("fusebox_store_operations_total", &[("store", store)]);
    operations.into_iter().map(|(labels, count)| ((labels[0].to_owned(), labels[1].to_owned()), count)).collect()
}

/// Waits until it holds of what is collected; says what there was where it does not.
async fn until(what: &str, holds: impl Fn(&Samples) -> bool) -> Samples {
    for _ in 0..1_000 {
        let samples = Samples::collect();
        if holds(&samples) {
            return samples;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: {:?}", Samples::collect());
}

#[tokio::test]
async fn operations_are_counted_as_the_store_itself_counts_them_also_when_its_engine_is_gone() {
    let store = Accountant::new("the ledger");
    let handle: Arc<dyn Store> = store.clone();
    let breakers = [instance("debts", &store), instance("claims", &store)];
    for round in 0..20 {
        fail(&breakers[round % 2], 1);
        fleet::flush(&handle).await;
    }
    drop(breakers);
    // An engine counts an answer when it has it, so a moment after the store.
    let agrees = |samples: &Samples| {
        let account = store.account();
        let told = told(samples, "the ledger");
        !account.is_empty()
            && account.iter().all(|((operation, result), count)| {
                let key = ((*operation).to_owned(), (*result).to_owned());
                #[expect(clippy::cast_precision_loss, reason = "small counts")]
                told.get(&key).is_some_and(|told| *told == *count as f64)
            })
            && told.values().sum::<f64>()
                == account.values().map(|count| f64::from(u32::try_from(*count).expect("few"))).sum::<f64>()
    };
    // The engine goes with the last breaker; another one's of that name goes on from there.
    let again = instance("debts", &store);
    fleet::flush(&handle).await;
    let samples = until("the two accounts are one", agrees).await;
    assert!(store.account()[&("commit", "applied")] >= 20, "{:?}", store.account());
    let took = |operation| {
        let labels = [("store", "the ledger"), ("operation", operation)];
        samples.get("fusebox_store_operation_duration_seconds_total", &labels).expect("told")
    };
    assert!(took("commit") > 0.0 && took("load") > 0.0 && took("commit") < 60.0);
    drop(again);
}

#[tokio::test]
async fn a_store_that_is_away_is_down_and_one_outage() {
    let store = Accountant::new("the safe");
    let breaker = instance("jewels", &store);
    breaker.flush().await;
    let of = |samples: &Samples, family| samples.get(family, &[("store", "the safe")]);
    let samples = Samples::collect();
    assert_eq!(of(&samples, "fusebox_store_up"), Some(1.0));
    assert_eq!(of(&samples, "fusebox_store_outages_total"), Some(0.0));
    for outage in 1..=2 {
        store.is_away.store(true, Ordering::SeqCst);
        fail(&breaker, 1);
        let samples = until("it is away", |samples| of(samples, "fusebox_store_up") == Some(0.0)).await;
        assert_eq!(of(&samples, "fusebox_store_outages_total"), Some(f64::from(outage)));
        assert!(told(&samples, "the safe")[&("commit".to_owned(), "unavailable".to_owned())] > 0.0);
        let labels = [("breaker", "jewels"), ("registry", "")];
        assert_eq!(samples.get("fusebox_fleet_waiting_calls", &labels), Some(1.0), "what it cannot tell");
        store.is_away.store(false, Ordering::SeqCst);
        let back = until("it is back", |samples| of(samples, "fusebox_store_up") == Some(1.0)).await;
        assert_eq!(of(&back, "fusebox_store_outages_total"), Some(f64::from(outage)));
        breaker.flush().await;
    }
    let labels = [("breaker", "jewels"), ("registry", "")];
    let samples = Samples::collect();
    assert_eq!(samples.get("fusebox_fleet_waiting_calls", &labels), Some(0.0));
    assert_eq!(samples.get("fusebox_fleet_forgotten_calls_total", &labels), Some(0.0));
    #[expect(clippy::disallowed_methods, reason = "an independent clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
    let heard = samples.get("fusebox_fleet_last_heard_timestamp_seconds", &labels).expect("heard of");
    assert!(now - heard < 5.0 && heard <= now + 0.1, "{now} {heard}");
}

#[tokio::test]
async fn breakers_that_judge_by_another_rule_than_their_fleet_are_counted_as_long_as_they_do() {
    let store = Accountant::new("the court");
    let registry = Registry::new({
        let store = store.clone();
        move |name| config(name, &store).detector(detect::failures(7).within(Duration::from_secs(60))).build()
    });
    let registry = registry.named("judges");
    let (of_registry, alone) = (registry.breaker("verdicts").expect("a breaker"), instance("verdicts", &store));
    let local = CircuitBreaker::new(CircuitBreakerConfig::new("lonely"));
    for breaker in [&alone, &of_registry, &alone] {
        fail(breaker, 1);
        breaker.flush().await;
    }
    let drift = |samples: &Samples, breaker, registry| {
        samples.get("fusebox_fleet_config_drift", &[("breaker", breaker), ("registry", registry)])
    };
    let samples = until("both see it", |samples| {
        drift(samples, "verdicts", "") == Some(1.0) && drift(samples, "", "judges") == Some(1.0)
    });
    samples.await;
    assert_eq!(drift(&Samples::collect(), "lonely", ""), None, "it shares nothing");
    assert!(alone.snapshot().fleet.expect("shared").drifts);
    let adopted = |breaker, registry| {
        let labels = [("breaker", breaker), ("registry", registry), ("origin", "adopted"), ("to", "open")];
        Samples::collect()
            .of("fusebox_breaker_transitions_total", &labels)
            .into_iter()
            .map(|(_, count)| count)
            .collect::<Vec<_>>()
    };
    // There before the first one, so that it is seen to be one more.
    assert_eq!(
        (adopted("verdicts", ""), adopted("", "judges"), adopted("lonely", "")),
        (vec![0.0; 2], vec![0.0; 2], vec![])
    );
    drop((local, of_registry));
}

/// A recorder keeps what it was told: that a store which is used no more is away would be an alert for ever.
#[cfg(feature = "metrics")]
#[tokio::test]
async fn a_store_that_is_used_no_more_is_not_published_as_away() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let published = || {
        metrics::with_local_recorder(&recorder, || Collector::process().publish());
        let text = handle.render();
        let line = text.lines().find(|line| line.starts_with("fusebox_store_up{store=\"the pawnbroker\"}"));
        line.and_then(|line| line.rsplit_once(' ')).map(|(_, value)| value.to_owned())
    };
    let breaker = instance("watch", &Accountant::new("the pawnbroker"));
    breaker.flush().await;
    assert_eq!(published().as_deref(), Some("1"));
    drop(breaker);
    for _ in 0..1_000 {
        if published().as_deref() == Some("NaN") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", published());
}

#[tokio::test]
async fn votes_that_stand_are_told_where_the_fleet_votes() {
    let store = Accountant::new("the ballot");
    let voter = |instance: &str| {
        let fleet = Fleet::votes(3).instance_id(instance);
        let config = config("mayor", &store).fleet(fleet).detector(detect::consecutive_failures(2));
        CircuitBreaker::new(config.build().expect("a configuration that works"))
    };
    let voters = [voter("one"), voter("two")];
    for voter in &voters {
        fail(voter, 2);
        voter.flush().await;
    }
    let labels = [("breaker", "mayor"), ("registry", "")];
    // Of two breakers of one name, each knows of both votes.
    until("both know of both", |samples| samples.get("fusebox_fleet_votes", &labels) == Some(4.0)).await;
}
