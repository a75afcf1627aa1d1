//! Users of a real server who may send notices, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::store::{Notice, Store};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
use futures::StreamExt;
use tokio::time::{sleep, timeout};

fn breaker(name: &str, store: &Arc<dyn Store>) -> CircuitBreaker {
    CircuitBreaker::new(CircuitBreakerConfig::builder(name).store(store.clone()).build().expect("a configuration"))
}

/// The record of a circuit that is open, and one that is closed, in a fleet of two that hears what is sent.
async fn fleet(store: &Arc<dyn Store>, other: &Arc<dyn Store>) -> (Bytes, [CircuitBreaker; 2]) {
    let sick = breaker("sick", store);
    sick.trip().expect("no override");
    sick.flush().await;
    let record = store.load(&["sick"]).await.expect("loads").pop().expect("one").record;
    let well = [breaker("well", store), breaker("well", other)];
    for breaker in &well {
        breaker.flush().await;
    }
    // Listeners are there.
    sleep(Duration::from_millis(500)).await;
    (record, well)
}

/// What a stranger has said is not believed, and not written down.
async fn nothing_comes_of_it(store: &Arc<dyn Store>, fleet: &[CircuitBreaker; 2]) {
    for _ in 0..30 {
        sleep(Duration::from_millis(10)).await;
        let states = fleet.each_ref().map(CircuitBreaker::state);
        assert_eq!(states, [State::Closed; 2]);
    }
    for breaker in fleet {
        breaker.flush().await;
    }
    let stored = store.load(&["well"]).await.expect("loads").pop().expect("one");
    assert!(stored.record.is_empty(), "the stranger's record is written down");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_role_of_postgres_without_any_right_opens_nothing() {
    use fusebox::store::PostgresStore;
    use sqlx::{Connection, PgConnection, query};

    let database = super::postgres_server::Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let role = format!("stranger_{}", database.name);
    database.run(&format!("create role {role} login password 'wr0ng'")).await;
    let connect = || async { Arc::new(PostgresStore::connect(database.url()).await.expect("connects")) };
    let (store, other): (Arc<dyn Store>, Arc<dyn Store>) = (connect().await, connect().await);
    let (record, fleet) = fleet(&store, &other).await;
    let mut stranger = PgConnection::connect(&database.url_as(&role, "wr0ng")).await.expect("connects");
    let denied = query("select 1 from hw_circuit_breakers").execute(&mut stranger).await.expect_err("no right");
    assert!(denied.to_string().contains("permission denied"), "{denied}");
    let mut heard = store.watch();
    sleep(Duration::from_millis(500)).await;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for version in [1, i64::MAX] {
        let payload = format!("{version}  {} {}", hex(b"well"), hex(&record));
        let sent = query("select pg_notify('hw_circuit_breakers', $1)").bind(payload).execute(&mut stranger).await;
        sent.expect("it may send notices");
    }
    let said = async { while !matches!(heard.next().await, Some(Notice::Changed { key, .. }) if key == "well") {} };
    timeout(Duration::from_secs(10), said).await.expect("who listens hears it");
    nothing_comes_of_it(&store, &fleet).await;
}

#[cfg(all(feature = "redis", unix))]
#[tokio::test]
async fn a_user_of_redis_who_may_only_publish_opens_nothing() {
    use fusebox::store::RedisStore;

    let server = super::servers::Redis::start().await;
    server.command("ACL SETUSER stranger on >pw resetkeys &* -@all +publish").await;
    let connect = || async { Arc::new(RedisStore::connect(server.url()).await.expect("connects")) };
    let (store, other): (Arc<dyn Store>, Arc<dyn Store>) = (connect().await, connect().await);
    let (record, fleet) = fleet(&store, &other).await;
    let url = server.url().replace("redis://", "redis://stranger:pw@");
    let client = redis::Client::open(url).expect("a URL");
    let mut stranger = client.get_multiplexed_async_connection().await.expect("a connection");
    let denied = redis::cmd("GET").arg("fb:{fb:0}").query_async::<redis::Value>(&mut stranger).await;
    assert!(denied.is_err(), "it may publish, and nothing else");
    let mut heard = 0;
    for version in [1_u64, 1 << 62] {
        for shard in 0..16 {
            let mut payload = format!("{version} 4 well").into_bytes();
            payload.extend_from_slice(&record);
            let channel = format!("fb:{{fb:{shard}}}:ev");
            let listeners = redis::cmd("PUBLISH").arg(channel).arg(payload).query_async::<u64>(&mut stranger).await;
            heard += listeners.expect("it may publish");
        }
    }
    assert!(heard >= 2 * 32, "both listen on all channels: {heard}");
    nothing_comes_of_it(&store, &fleet).await;
}
