//! PostgreSQL whose tables are locked, whose backends stand still, or whose answers are not what the application wants: an
//! instance has two backends and its listener, whatever happens, and nothing waits for long.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::store::{BatchId, Commit, Committed, PostgresStore, Store, StoreError, Summary, Version};
use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::postgres_server::{Database, Server, signal};

const TTL: Duration = Duration::from_secs(600);
const TABLE: &str = "hw_circuit_breakers";

/// Stores whose backends have names of their own.
fn instances(database: &Database, count: usize, prepared: bool) -> Vec<Arc<PostgresStore>> {
    let store = |at: usize| {
        let options = database.options().application_name(&format!("instance-{at}"));
        Arc::new(PostgresStore::builder().options(options).prepared(prepared).build().expect("builds"))
    };
    (0..count).map(store).collect()
}

fn commit(writer: u64, seq: u64) -> Commit {
    let mut commit = Commit::new(Version::NONE, Bytes::from_static(b"1"), Summary::closed(1), TTL);
    commit.batch = Some((BatchId { writer, seq }, Bytes::from_static(b"+")));
    commit.may_queue = true;
    commit
}

/// Asks for everything again and again, each a few times at once, and gives up after a second as the engine does.
fn ask(stores: &[Arc<PostgresStore>]) -> JoinSet<()> {
    let mut asking = JoinSet::new();
    for (writer, store) in stores.iter().enumerate() {
        for at in 0..8_u64 {
            let store = Arc::clone(store);
            asking.spawn(async move {
                for seq in 1.. {
                    let key = format!("key-{at}");
                    let both = async {
                        store.load(&[key.as_str()]).await.ok();
                        store.commit(&key, commit(writer as u64 * 100 + at, seq)).await.ok();
                    };
                    timeout(Duration::from_secs(1), both).await.ok();
                }
            });
        }
    }
    asking
}

/// The most backends that any of them has at one time while it is looked.
async fn most_backends(person: &mut PgConnection, time: Duration) -> i64 {
    let sql = "select coalesce(max(n), 0) from (select count(*) as n from pg_stat_activity \
               where application_name like 'instance-%' group by application_name) each_of_them";
    let until = Instant::now() + time;
    let mut most = 0;
    while Instant::now() < until {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *person).await.expect("counts");
        most = most.max(count);
        sleep(Duration::from_millis(10)).await;
    }
    most
}

async fn person(options: PgConnectOptions) -> PgConnection {
    options.connect().await.expect("connects")
}

async fn run(person: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(person).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn while_a_table_is_locked(prepared: bool, lock: &'static str) {
    let database = Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let stores = instances(&database, 4, prepared);
    let (mut owner, mut watching) = (person(database.options()).await, person(database.options()).await);
    let mut asking = ask(&stores);
    sleep(Duration::from_millis(200)).await;
    run(&mut owner, lock).await;
    assert_eq!(most_backends(&mut watching, Duration::from_secs(4)).await, 2);
    let started = Instant::now();
    let error = stores[0].load(&["a"]).await.expect_err("is locked");
    let waited = started.elapsed();
    assert!(matches!(error, StoreError::Busy(_) | StoreError::Unavailable { .. }), "{error:?}");
    assert!(waited < Duration::from_millis(1_200), "{waited:?}");
    run(&mut owner, "rollback").await;
    asking.shutdown().await;
    sleep(Duration::from_millis(200)).await;
    let committed = stores[0].commit("fresh", commit(7, 1)).await;
    assert!(matches!(committed, Ok(Committed::Applied { .. })), "{committed:?}");
}

#[tokio::test]
async fn while_a_table_is_locked_an_instance_has_two_backends() {
    while_a_table_is_locked(false, "begin; lock table hw_circuit_breakers in access exclusive mode").await;
}

#[tokio::test]
async fn while_a_table_is_locked_an_instance_with_prepared_statements_has_two_backends() {
    while_a_table_is_locked(true, "begin; lock table hw_circuit_breakers in access exclusive mode").await;
}

#[tokio::test]
async fn while_a_companion_is_locked_an_instance_has_two_backends() {
    let lock = "begin; lock table hw_circuit_breakers_writers, hw_circuit_breakers_events in access exclusive mode; \
                lock table hw_circuit_breakers in access exclusive mode";
    while_a_table_is_locked(false, lock).await;
}

#[tokio::test]
async fn backends_that_stand_still_are_no_more_than_two_of_an_instance_when_they_go_on() {
    let server = tokio::task::spawn_blocking(Server::start).await.expect("starts");
    let database = server.database().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let stores = instances(&database, 4, false);
    let mut watching = person(server.options("postgres")).await;
    let mut asking = ask(&stores);
    sleep(Duration::from_millis(200)).await;
    let processes = server.freeze();
    sleep(Duration::from_secs(8)).await;
    signal("CONT", &processes);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(most_backends(&mut watching, Duration::from_secs(2)).await, 2);
    asking.shutdown().await;
    sleep(Duration::from_millis(200)).await;
    assert!(stores[0].load(&["a"]).await.is_ok(), "the server is back");
}

#[tokio::test]
async fn what_is_there_is_migrated_beside_readers_and_writers() {
    let database = Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let store = instances(&database, 1, false).remove(0);
    let mut reader = person(database.options()).await;
    // A lock that lets no other session write, and one that conflicts with nothing but exclusive locks.
    run(
        &mut reader,
        "begin; lock table hw_circuit_breakers in share row exclusive mode; select * from hw_circuit_breakers_events",
    )
    .await;
    let started = Instant::now();
    PostgresStore::migrate(database.url()).await.expect("nothing is to change");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    run(&mut reader, "rollback").await;
    assert!(store.load(&["a"]).await.is_ok());
}

#[tokio::test]
async fn a_migration_that_has_something_to_add_holds_no_other_up_while_it_waits() {
    let database = Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    database.run("alter table hw_circuit_breakers drop column lease_token, set (fillfactor = 100)").await;
    let mut reader = person(database.options()).await;
    run(&mut reader, "begin; select * from hw_circuit_breakers").await;
    let url = database.url();
    let migration = tokio::spawn(async move { PostgresStore::migrate(url).await });
    let mut most = Duration::ZERO;
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let started = Instant::now();
        database.run(&format!("select * from {TABLE}")).await;
        most = most.max(started.elapsed());
    }
    assert!(most < Duration::from_millis(800), "another reader waited for {most:?}");
    assert!(!migration.is_finished(), "the first reader still reads");
    run(&mut reader, "rollback").await;
    migration.await.expect("runs").expect("migrates");
    let store = instances(&database, 1, false).remove(0);
    assert!(matches!(store.commit("a", commit(1, 1)).await, Ok(Committed::Applied { .. })));
}

#[tokio::test]
async fn a_database_that_is_serializable_by_default_loses_no_race_for_it() {
    let database = Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let name = database.options().get_database().expect("a name").to_owned();
    database.run(&format!("alter database {name} set default_transaction_isolation = 'serializable'")).await;
    for prepared in [false, true] {
        let mut writers = JoinSet::new();
        for (writer, store) in instances(&database, 10, prepared).into_iter().enumerate() {
            writers.spawn(async move {
                let writer = writer as u64 + if prepared { 1_000 } else { 0 };
                for seq in 1..=20 {
                    let committed = store.commit("hot", commit(writer, seq)).await;
                    assert!(committed.is_ok(), "{committed:?}");
                }
            });
        }
        writers.join_all().await;
    }
}

/// Statements of the instances that the server still works on.
async fn at_work(person: &mut PgConnection) -> i64 {
    let sql = "select count(*) from pg_stat_activity where application_name like 'instance-%' and state = 'active'";
    sqlx::query_scalar(sql).fetch_one(person).await.expect("counts")
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_by_the_server_though_nothing_waits_for_it() {
    for prepared in [false, true] {
        let database = Database::fresh().await;
        PostgresStore::migrate(database.url()).await.expect("migrates");
        let mut owner = person(database.options()).await;
        // No lock: a disk that does not answer, say.
        run(
            &mut owner,
            "create function slowly() returns trigger language plpgsql as $$ begin perform pg_sleep(300); return new; end $$; \
             create trigger slowly before insert or update on hw_circuit_breakers for each row execute function slowly()",
        )
        .await;
        let store = instances(&database, 1, prepared).remove(0);
        let answer = timeout(Duration::from_secs(60), store.commit("a", commit(1, 1))).await.expect("it is given up");
        assert!(matches!(answer, Err(StoreError::Busy(_) | StoreError::Unavailable { .. })), "{answer:?}");
        // The connection is closed after three seconds without an answer, which the server does not notice while it works.
        let until = Instant::now() + Duration::from_secs(60);
        while at_work(&mut owner).await > 0 {
            assert!(Instant::now() < until, "the server works on what was given up (prepared: {prepared})");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test]
async fn what_waits_for_a_lock_gives_up_before_the_operation_does() {
    for prepared in [false, true] {
        let database = Database::fresh().await;
        PostgresStore::migrate(database.url()).await.expect("migrates");
        // An operation that has all the time in the world: what ends it first is no matter of speed.
        let store = PostgresStore::builder().url(database.url()).prepared(prepared).timeout(Duration::from_secs(30));
        let store = store.build().expect("builds");
        let mut write = commit(1, 1);
        assert!(matches!(store.commit("a", write.clone()).await, Ok(Committed::Applied { .. })));
        let mut person = person(database.options()).await;
        run(&mut person, "begin; select * from hw_circuit_breakers for update").await;
        // Without a batch it cannot be queued: it waits for the row.
        write.expected = store.load(&["a"]).await.expect("is not locked").remove(0).version;
        (write.batch, write.may_queue) = (None, false);
        let error = store.commit("a", write).await.expect_err("is locked");
        let words = format!("{error:?}");
        assert!(matches!(error, StoreError::Busy(_)) && words.contains("due to lock timeout"), "{words}");
    }
}
