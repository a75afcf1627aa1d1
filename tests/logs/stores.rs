//! What is told of stores that a fleet shares its state in, and of what is in them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fusebox::store::{Commit, Committed, MemoryStore, Notices, Store, StoreError, StoreFuture, Stored, Summary};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, CircuitBreakerConfigBuilder, Override, Registry, detect};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::capture::{listen, messages, told_of, told_with};
use super::support::{fail, ms, secs};

/// A store of that name that may be cut off.
#[derive(Clone, Debug)]
struct Wire {
    inner: MemoryStore,
    name: &'static str,
    is_cut: Arc<AtomicBool>,
}

impl Wire {
    fn named(name: &'static str) -> Self {
        listen();
        Self { inner: MemoryStore::new(), name, is_cut: Arc::default() }
    }

    fn cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::SeqCst);
    }

    fn answer(&self) -> Result<(), StoreError> {
        if self.is_cut.load(Ordering::SeqCst) { Err(StoreError::unreachable("the wire is cut")) } else { Ok(()) }
    }

    fn breaker(
        &self,
        breaker: &str,
        f: impl FnOnce(CircuitBreakerConfigBuilder) -> CircuitBreakerConfigBuilder,
    ) -> CircuitBreaker {
        let store: Arc<dyn Store> = Arc::new(self.clone());
        CircuitBreaker::new(f(CircuitBreakerConfig::builder(breaker).store(store)).build().expect("a configuration"))
    }
}

impl Store for Wire {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            self.answer()?;
            self.inner.load(keys).await
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            self.answer()?;
            self.inner.commit(key, commit).await
        })
    }

    fn watch(&self) -> Notices {
        self.inner.watch()
    }

    fn describe(&self) -> String {
        self.name.to_owned()
    }
}

/// Waits for what an engine does in its own time.
async fn until(what: &str, f: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if f() {
            return;
        }
        tokio::time::sleep(ms(2)).await;
    }
    panic!("in vain: {what}");
}

/// An event of a store without the time that it took, which is some.
fn without_time(mut event: Value, field: &str) -> Value {
    let lasted = event.as_object_mut().expect("fields").remove(field).expect("a time");
    assert!(lasted.as_u64().is_some_and(|ms| (1..60_000).contains(&ms)), "{field}: {lasted}");
    event
}

#[tokio::test]
async fn a_store_that_is_away_and_back_is_told_once_each_time_however_many_breakers_use_it() {
    let wire = Wire::named("the attic");
    let store: Arc<dyn Store> = Arc::new(wire.clone());
    let registry = Registry::new(move |name| CircuitBreakerConfig::builder(name).store(store.clone()).build());
    let breakers: Vec<_> = (0..50).map(|n| registry.breaker(&format!("attic-{n}")).expect("a breaker")).collect();
    breakers[0].flush().await;
    let told = || told_with("store", "the attic");
    for round in 1..=2 {
        wire.cut(true);
        breakers[0].flush().await;
        until("the store is away", || told().len() == 2 * round - 1).await;
        tokio::time::sleep(ms(20)).await;
        wire.cut(false);
        breakers[0].flush().await;
        until("the store is back", || told().len() == 2 * round).await;
        for breaker in &breakers {
            breaker.flush().await;
        }
    }
    let told = told();
    let away = json!({
        "level": "WARN", "target": "fusebox::store", "message": "store away", "store": "the attic",
        "error": "the store was not reached: the wire is cut",
    });
    let back = json!({ "level": "INFO", "target": "fusebox::store", "message": "store back", "store": "the attic" });
    assert_eq!((&told[0], without_time(told[1].clone(), "away_for_ms")), (&away, back.clone()));
    assert_eq!((&told[2], without_time(told[3].clone(), "away_for_ms")), (&away, back));
    assert_eq!(told.len(), 4);
}

#[tokio::test]
async fn a_record_that_cannot_be_used_is_told_with_what_is_wrong_with_it() {
    let wire = Wire::named("newer");
    let mut newer = b"FB\x09what a later release writes".to_vec();
    let checksum = Sha256::digest(&newer);
    newer.extend(&checksum[..4]);
    let first = wire.inner.load(&["unreadable"]).await.expect("memory").pop().expect("one key");
    let commit = Commit::new(first.version, Bytes::from(newer), Summary::closed(1), secs(600));
    wire.inner.commit("unreadable", commit).await.expect("memory");
    let breaker = wire.breaker("unreadable", |b| b.detector(detect::failures(5).within(secs(60))));
    breaker.flush().await;
    until("it is told", || !told_of("unreadable").is_empty()).await;
    let why = breaker.snapshot().fleet.and_then(|fleet| fleet.away).expect("it is on its own");
    let expected = json!({
        "level": "WARN", "target": "fusebox::store", "message": "record unreadable", "breaker": "unreadable", "registry": "",
        "error": &*why,
    });
    assert_eq!(told_of("unreadable"), [expected]);
}

#[tokio::test]
async fn what_a_fleet_decides_is_told_by_each_instance_and_another_rule_once() {
    let one = Wire::named("shared");
    let other = Wire { ..one.clone() };
    let five = |b: CircuitBreakerConfigBuilder| b.detector(detect::failures(5).within(secs(60)));
    let seven = |b: CircuitBreakerConfigBuilder| b.detector(detect::failures(7).within(secs(60)));
    let (one, other) = (one.breaker("drifting", five), other.breaker("drifting", seven));
    let flush = async || {
        for _ in 0..2 {
            one.flush().await;
            other.flush().await;
        }
    };
    for _ in 0..2 {
        fail(&one, 1);
        flush().await;
        fail(&other, 1);
        flush().await;
    }
    let drift = json!({
        "level": "INFO", "target": "fusebox::store", "message": "config drift", "breaker": "drifting", "registry": "",
    });
    let drifts = || told_with("message", "config drift").into_iter().filter(|event| event["breaker"] == "drifting");
    until("both have told", || drifts().count() == 2).await;
    assert!(drifts().all(|event| event == drift));
    one.set_override(Override::force_open("incident 9").by("ana"));
    flush().await;
    let forced = || told_with("reason", "incident 9");
    until("all is told", || forced().len() == 3).await;
    let forced = forced();
    assert_eq!(messages(&forced), ["circuit forced open"; 3]);
    assert!(forced.iter().all(|event| event["actor"] == "ana" && event["level"] == "WARN"), "{forced:?}");
    // The instance that gave the order tells of its own change, and of the fleet's.
    let mut told: Vec<_> = forced.iter().map(|event| (event["scope"].as_str(), event["origin"].as_str())).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [("fleet", "adopted"), ("fleet", "decided"), ("instance", "decided")].map(|(a, b)| (Some(a), Some(b)))
    );
    let fleets: Vec<_> = forced.iter().filter(|event| event["scope"] == "fleet").collect();
    assert_eq!(fleets[0]["generation"], fleets[1]["generation"]);
}

/// What logs say of a store at that address, whose URL has a password.
async fn told_of_address(address: SocketAddr, store: Arc<dyn Store>) -> String {
    listen();
    let breaker = CircuitBreaker::new(CircuitBreakerConfig::builder("secret").store(store).build().expect("one"));
    let told = || {
        let told = told_with("message", "store away").into_iter();
        told.filter(|event| event.to_string().contains(&address.to_string())).collect::<Vec<_>>()
    };
    until("the store is away", || !told().is_empty()).await;
    drop(breaker);
    json!(told()).to_string()
}

/// An address at which each line is answered so, and nothing else is.
fn server(answer: &'static str) -> SocketAddr {
    use std::io::{Read, Write};

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a client");
            std::thread::spawn(move || {
                let mut bytes = [0; 1024];
                while stream.read(&mut bytes).is_ok_and(|n| n > 0) && stream.write_all(answer.as_bytes()).is_ok() {}
            });
        }
    });
    address
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn no_password_of_a_redis_url_is_told() {
    for address in [server("-WRONGPASS invalid username-password pair\r\n"), SocketAddr::from(([127, 0, 0, 1], 1))] {
        let url = format!("redis://app:hunter2@{address}/0");
        let store = fusebox::store::RedisStore::builder(url.as_str()).build().expect("a URL");
        let told = told_of_address(address, Arc::new(store)).await;
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn no_password_of_a_postgres_url_is_told() {
    for address in [server("no such protocol"), SocketAddr::from(([127, 0, 0, 1], 1))] {
        let url = format!("postgres://app:hunter2@{address}/app");
        let store = fusebox::store::PostgresStore::builder().url(url).build().expect("a URL");
        let told = told_of_address(address, Arc::new(store)).await;
        assert!(!told.contains("hunter2"), "{told}");
    }
}
