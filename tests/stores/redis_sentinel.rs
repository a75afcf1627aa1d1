//! The store in Redis, where Sentinels know the server.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use fusebox::store::{Committed, Notice, RedisStore, Store, Version};
use redis::sentinel::{SentinelClient, SentinelServerType};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

use crate::redis::{applied, next, until_lagged, when_back, write};
use crate::servers::Redis;

/// How long a store may take to find its primary where the first Sentinel is silent: that one costs a dial a second, and the
/// pause between two dials is a second at most.
const FOUND_WITHIN: Duration = Duration::from_secs(4);

/// A primary, its replica, and the Sentinel that watches over them.
struct Group {
    primary: Redis,
    replica: Redis,
    sentinel: Redis,
}

impl Group {
    async fn start() -> Self {
        let primary = Redis::start_with(&["--repl-diskless-sync-delay", "0"]).await;
        let replica = Redis::start().await;
        let until = Instant::now() + Duration::from_secs(15);
        replica.command(&format!("REPLICAOF 127.0.0.1 {}", primary.port())).await;
        // A Sentinel looks for replicas when it starts, and then not for ten seconds.
        while !format!("{:?}", primary.command("INFO replication").await).contains("state=online") {
            assert!(Instant::now() < until, "the replica does not come");
            sleep(Duration::from_millis(20)).await;
        }
        let sentinel = primary.sentinel().await;
        Self { primary, replica, sentinel }
    }

    /// The replica takes the primary's place, which is gone; returns once the Sentinel names it.
    async fn fail_over(self) -> (Redis, Redis) {
        let until = Instant::now() + Duration::from_secs(15);
        while let Err(error) = self.sentinel.try_command("SENTINEL FAILOVER main").await {
            assert!(Instant::now() < until, "the sentinel does not know the replica: {error}");
            sleep(Duration::from_millis(50)).await;
        }
        drop(self.primary);
        loop {
            let address = self.sentinel.command("SENTINEL GET-MASTER-ADDR-BY-NAME main").await;
            let role = format!("{:?}", self.replica.command("ROLE").await);
            let ::redis::Value::Array(address) = address else { panic!("no address: {address:?}") };
            let port = address.last().map(|port| ::redis::from_redis_value::<String>(port.clone()).expect("a port"));
            if port == Some(self.replica.port().to_string()) && role.contains("master") {
                return (self.replica, self.sentinel);
            }
            assert!(Instant::now() < until, "the replica does not become the primary: {port:?}, {role}");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn client_of(sentinels: Vec<String>) -> SentinelClient {
    SentinelClient::build(sentinels, String::from("main"), None, SentinelServerType::Master).expect("a sentinel")
}

/// Takes connections and says nothing. Returns its URL.
async fn silent() -> (String, tokio::task::JoinHandle<Vec<TcpStream>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("redis://{}", listener.local_addr().expect("an address"));
    let taken = tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            taken.push(connection);
        }
        taken
    });
    (url, taken)
}

/// Writes until one is taken.
async fn until_written(store: &RedisStore, until: Instant) -> Version {
    loop {
        let stored = when_back(store, "a").await;
        match store.commit("a", write(stored.version, "after")).await {
            Ok(Committed::Applied { version, .. }) => return version,
            answer => assert!(Instant::now() < until, "{answer:?}"),
        }
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_primary_that_sentinels_replace_is_found_again() {
    let group = Group::start().await;
    let store = RedisStore::builder(client_of(vec![group.sentinel.url()])).connect().await.expect("connects");
    let mut notices = store.watch();
    until_lagged(&mut notices).await;
    let before = applied(&store, "a", write(Version::NONE, "before")).await;
    let _servers = group.fail_over().await;
    until_lagged(&mut notices).await;
    let after = until_written(&store, Instant::now() + Duration::from_secs(15)).await;
    assert!(after > before);
}

#[tokio::test]
async fn c57_a_silent_first_sentinel_is_passed_over_at_the_start_and_in_use() {
    let group = Group::start().await;
    let (silent, _taken) = silent().await;
    let sentinels = || client_of(vec![silent.clone(), group.sentinel.url()]);
    let started = Instant::now();
    let store = RedisStore::builder(sentinels()).connect().await.expect("connects");
    assert!(started.elapsed() < FOUND_WITHIN, "{:?}", started.elapsed());
    // One that does not ask beforehand finds it as well, and a listener does.
    let started = Instant::now();
    let lazy = RedisStore::builder(sentinels()).build().expect("builds");
    let mut notices = lazy.watch();
    until_lagged(&mut notices).await;
    when_back(&lazy, "a").await;
    assert!(started.elapsed() < FOUND_WITHIN, "{:?}", started.elapsed());
    let before = applied(&store, "a", write(Version::NONE, "before")).await;

    let _servers = group.fail_over().await;
    let named = Instant::now();
    let after = until_written(&store, named + FOUND_WITHIN).await;
    assert!(after > before && named.elapsed() < FOUND_WITHIN, "{:?}", named.elapsed());
    // The listener is there again, and hears what is written.
    until_lagged(&mut notices).await;
    let stored = when_back(&store, "a").await;
    let mut commit = write(stored.version, "told");
    commit.notice = Some("told".into());
    let version = applied(&store, "a", commit).await;
    while !matches!(next(&mut notices).await, Notice::Changed { version: told, .. } if told == version) {}
}
