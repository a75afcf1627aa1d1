//! Words of others, as this crate shows them: none begins a new line, commands a terminal, or looks like something else.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fusebox::store::{Commit, Committed, Notice, Store, StoreError, StoreFuture, Stored};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, ConfigError, EventKind, Override, detect::LoadError};
use tokio::time::{Instant, sleep};

const HOSTILE: &str = "a\u{1b}[2J\n\u{202e}b\u{2028}\u{200b}\u{9b}c";
const ESCAPED: &str = "a\\u{1b}[2J\\n\\u{202e}b\\u{2028}\\u{200b}\\u{9b}c";

/// Of a store that is hostile all over.
#[derive(Debug)]
struct Hostile;

impl Store for Hostile {
    fn load<'a>(&'a self, _: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async { Err(StoreError::refused(HOSTILE)) })
    }

    fn commit<'a>(&'a self, _: &'a str, _: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async { Err(StoreError::refused(HOSTILE)) })
    }

    fn describe(&self) -> String {
        HOSTILE.to_owned()
    }
}

#[track_caller]
fn is_harmless(what: &str, text: &str) {
    assert!(text.contains(ESCAPED), "{what}: {text:?}");
    assert!(text.is_ascii() && !text.contains(|c: char| c.is_control()), "{what}: {text:?}");
}

async fn until(what: &str, f: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !f() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn names_reasons_actors_and_a_stores_words_are_harmless_wherever_they_are_shown() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = told.clone();
    let config = CircuitBreakerConfig::builder(HOSTILE).store(Arc::new(Hostile)).on_event(move |event| {
        let mut texts = vec![event.to_string()];
        texts.extend(event.store_trouble().map(|trouble| format!("{} {} {trouble}", trouble.store(), trouble.why())));
        hear.lock().unwrap_or_else(PoisonError::into_inner).extend(texts);
    });
    let breaker = CircuitBreaker::new(config.build().expect("a config"));
    until("the store is away", || breaker.snapshot().fleet.is_some_and(|fleet| fleet.away.is_some())).await;
    is_harmless("away", &breaker.snapshot().fleet.and_then(|fleet| fleet.away).expect("away"));
    breaker.set_override(Override::force_open(HOSTILE).by(HOSTILE));
    is_harmless("snapshot", &breaker.snapshot().to_string());
    is_harmless("rejection", &breaker.acquire().expect_err("forced open").to_string());
    is_harmless("override", &breaker.trip().expect_err("overridden").to_string());
    until("both are told", || told.lock().unwrap_or_else(PoisonError::into_inner).len() >= 3).await;
    for text in told.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        is_harmless("event", text);
    }
}

#[test]
fn errors_are_harmless_whatever_they_are_about() {
    is_harmless("refused", &StoreError::refused(HOSTILE).to_string());
    is_harmless("busy", &StoreError::busy(HOSTILE).to_string());
    is_harmless("foreign", &StoreError::foreign(HOSTILE).to_string());
    is_harmless("setting", &ConfigError::new("table", &HOSTILE, HOSTILE).to_string());
    is_harmless("detector", &LoadError::new(HOSTILE).to_string());
    let Notice::Impaired { why, .. } = Notice::impaired(HOSTILE) else { unreachable!("as it is made") };
    is_harmless("notice", &why);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_servers_words_are_harmless_with_all_that_is_behind_them() {
    use fusebox::store::{PostgresStore, Summary, Version};

    let database = crate::postgres_server::Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let store = PostgresStore::connect(database.url()).await.expect("connects");
    let said = format!(
        "create function say() returns trigger language plpgsql as $$ begin raise exception '{HOSTILE}'; end $$"
    );
    database.run(&said).await;
    database.run("create trigger say before insert on hw_circuit_breakers for each row execute function say()").await;
    let commit = Commit::new(Version::NONE, "x".into(), Summary::closed(1), Duration::from_secs(60));
    let error = store.commit("a", commit).await.expect_err("refused");
    is_harmless("the error", &error.to_string());
    let mut source = error.source();
    while let Some(error) = source {
        is_harmless("behind it", &error.to_string());
        source = error.source();
    }

    database.run("drop trigger say on hw_circuit_breakers").await;
    database.run("create trigger say before insert on hw_circuit_breakers_events execute function say()").await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = told.clone();
    let config = CircuitBreakerConfig::builder("payments").store(Arc::new(store)).on_event(move |event| {
        if event.kind() == EventKind::StoreImpaired {
            hear.lock().unwrap_or_else(PoisonError::into_inner).push(event.to_string());
        }
    });
    let breaker = CircuitBreaker::new(config.build().expect("a config"));
    breaker.trip().expect("no override");
    until("it is told", || !told.lock().unwrap_or_else(PoisonError::into_inner).is_empty()).await;
    is_harmless("impaired", &told.lock().unwrap_or_else(PoisonError::into_inner)[0]);
}
