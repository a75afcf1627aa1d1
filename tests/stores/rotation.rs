//! Passwords that are changed while stores are in use, and tokens that end.

use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use fusebox::BoxError;
use fusebox::store::{Commit, Committed, Credentials, Store, StoreError, Summary, Version};
use tokio::time::{Instant, sleep};

/// What a vault says just now, and how often it was asked.
#[derive(Clone, Default)]
struct Vault(Arc<(Mutex<Option<String>>, AtomicUsize)>);

impl Vault {
    fn holding(password: &str) -> Self {
        let vault = Self::default();
        vault.put(Some(password));
        vault
    }

    fn put(&self, password: Option<&str>) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = password.map(ToOwned::to_owned);
    }

    fn asked(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }

    fn ask(&self) -> Result<Credentials, BoxError> {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        let password = self.0.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match password {
            Some(password) => Ok(Credentials::password(password).user("app")),
            None => Err("the vault is sealed".into()),
        }
    }
}

fn texts(error: &StoreError) -> String {
    let mut text = format!("{error:?} {error}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!(" {error:?} {error}"));
        source = error.source();
    }
    text
}

async fn write(store: &impl Store, key: &str) -> Result<(), StoreError> {
    let commit = Commit::new(Version::NONE, Bytes::from_static(b"x"), Summary::closed(1), Duration::from_secs(60));
    match store.commit(key, commit).await? {
        Committed::Applied { .. } | Committed::Conflict(_) => Ok(()),
        other => Err(StoreError::refused(format!("{other:?}"))),
    }
}

/// Asks until the store answers again.
async fn until_back(store: &impl Store, secret: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while let Err(error) = write(store, "after").await {
        let text = texts(&error);
        assert!(!text.contains(secret), "a password: {text}");
        assert!(Instant::now() < deadline, "it does not come back: {text}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(all(feature = "redis", unix))]
#[tokio::test]
async fn a_password_of_redis_is_asked_for_with_each_dial() {
    use fusebox::store::RedisStore;

    let server = crate::servers::Redis::start().await;
    server.command("ACL SETUSER app on >first-secret ~* &* +@all").await;
    let vault = Vault::holding("first-secret");
    let asked = vault.clone();
    let store = RedisStore::builder(server.url()).credentials(move || ready(asked.ask())).connect().await;
    let store = store.expect("connects");
    write(&store, "before").await.expect("writes");
    let dials = vault.asked();
    for _ in 0..20 {
        write(&store, "before").await.expect("writes");
    }
    assert_eq!(vault.asked(), dials, "not for each operation");
    // The vault knows the new one a moment after the server does.
    server.command("ACL SETUSER app >second-secret <first-secret").await;
    server.command("CLIENT KILL USER app").await;
    let error = loop {
        if let Err(error) = write(&store, "between").await {
            break error;
        }
        sleep(Duration::from_millis(10)).await;
    };
    assert!(!texts(&error).contains("first-secret"), "{}", texts(&error));
    vault.put(None);
    sleep(Duration::from_secs(1)).await;
    let error = write(&store, "between").await.expect_err("no credentials");
    assert!(texts(&error).contains("the vault is sealed"), "{}", texts(&error));
    vault.put(Some("second-secret"));
    until_back(&store, "second-secret").await;
    assert!(vault.asked() > dials);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_password_of_postgres_is_asked_for_with_each_dial() {
    use fusebox::store::{Notice, PostgresStore};
    use futures::StreamExt;

    let database = crate::postgres_server::Database::fresh().await;
    let role = format!("app_{}", database.name);
    database.run(&format!("create role {role} login password 'first-secret'")).await;
    let migrated = PostgresStore::builder().url(database.url()).grant_to(role.as_str()).migrate().await;
    migrated.expect("migrates");
    let vault = Vault::holding("first-secret");
    let (asked, user) = (vault.clone(), role.clone());
    let builder = PostgresStore::builder().url(database.url_as("another", "wrong"));
    let provider = move || {
        let user = user.clone();
        ready(asked.ask().map(|credentials| credentials.user(user)))
    };
    let store = builder.credentials(provider).connect().await.expect("connects");
    let mut notices = store.watch();
    assert!(matches!(notices.next().await, Some(Notice::Lagged)), "it listens by the same credentials");
    write(&store, "before").await.expect("writes");
    let dials = vault.asked();
    for _ in 0..20 {
        write(&store, "before").await.expect("writes");
    }
    assert_eq!(vault.asked(), dials, "not for each operation");
    database.run(&format!("alter role {role} password 'second-secret'")).await;
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'");
    database.run(&end).await;
    write(&store, "between").await.ok();
    let error = write(&store, "between").await.expect_err("the vault is late");
    assert!(!texts(&error).contains("first-secret"), "{}", texts(&error));
    vault.put(None);
    let error = write(&store, "between").await.expect_err("no credentials");
    assert!(texts(&error).contains("the vault is sealed"), "{}", texts(&error));
    vault.put(Some("second-secret"));
    until_back(&store, "second-secret").await;
    let lagged = async { while !matches!(notices.next().await, Some(Notice::Lagged)) {} };
    tokio::time::timeout(Duration::from_secs(10), lagged).await.expect("it listens again");
}
