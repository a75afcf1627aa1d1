//! The store in PostgreSQL, against a real server.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::State;
use fusebox::store::{
    self, BatchId, Commit, Committed, Notice, Notices, PostgresStore, Pruned, Store, StoreError, StoreTime, Stored,
    Summary, Version,
};
use futures::StreamExt;
use sqlx::postgres::PgPoolOptions;
use tokio::time::{Instant, sleep, timeout};

use super::order::each_writers_batches_are_taken_in_in_order;
use super::postgres_server::{Database, PASSWORD, Pooler, Server, signal};

const TTL: Duration = Duration::from_secs(600);

async fn migrated() -> (Database, PostgresStore) {
    let database = Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let store = PostgresStore::connect(database.url()).await.expect("connects");
    (database, store)
}

fn write(expected: Version, text: &str) -> Commit {
    Commit::new(expected, Bytes::copy_from_slice(text.as_bytes()), Summary::closed(1), TTL)
}

async fn load(store: &PostgresStore, key: &str) -> Stored {
    store.load(&[key]).await.expect("loads").pop().expect("one")
}

async fn apply(store: &PostgresStore, key: &str, commit: Commit) -> Version {
    match store.commit(key, commit).await.expect("commits") {
        Committed::Applied { version, .. } => version,
        other => panic!("{other:?}"),
    }
}

fn refusal(error: &StoreError) -> String {
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    let mut text = format!("{error:?}; {error}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text.push_str(&format!("; {error:?}; {error}"));
        source = error.source();
    }
    assert!(!text.contains(PASSWORD) && !text.contains("wr0ng"), "a password: {text}");
    text
}

async fn next(notices: &mut Notices) -> Notice {
    timeout(Duration::from_secs(10), notices.next()).await.expect("within ten seconds").expect("a notice")
}

#[tokio::test]
async fn postgres_keeps_the_contract_combines_and_pushes() {
    let (_database, store) = migrated().await;
    let passed = store::conformance(Arc::new(store)).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
}

#[tokio::test]
async fn postgres_with_prepared_statements_and_a_namespace_keeps_the_contract() {
    let (database, _) = migrated().await;
    let store = PostgresStore::builder().url(database.url()).prepared(true).namespace("shop").connect().await;
    let passed = store::conformance(Arc::new(store.expect("connects"))).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
}

#[tokio::test]
async fn postgres_takes_each_writers_batches_in_in_order() {
    let (_database, store) = migrated().await;
    each_writers_batches_are_taken_in_in_order(Arc::new(store)).await;
}

/// Instances of which nothing is known share what they know only where that is the same: with a time for each row, an idle
/// breaker took three times as much memory over PostgreSQL as over Redis.
#[tokio::test]
async fn one_load_has_one_time() {
    let (_database, store) = migrated().await;
    let keys: Vec<_> = (0..256).map(|at| format!("key-{at}")).collect();
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let loaded = store.load(&keys).await.expect("loads");
    assert_eq!(loaded.len(), keys.len());
    assert!(loaded.iter().all(|stored| stored.now == loaded[0].now), "{:?}", loaded.iter().map(|stored| stored.now));
    sleep(Duration::from_millis(5)).await;
    assert!(store.load(&keys[..1]).await.expect("loads")[0].now > loaded[0].now, "and the next a later one");
}

#[tokio::test]
async fn databases_are_created_once_and_migrated_as_often_as_one_likes() {
    let database = Database::fresh().await;
    let url = database.url().replace(&database.name, "made");
    for _ in 0..2 {
        tokio::spawn(PostgresStore::create_database(url.clone())).await.expect("ends").expect("creates");
    }
    let two = [(); 2].map(|()| tokio::spawn(PostgresStore::migrate(url.clone())));
    for migrated in two {
        migrated.await.expect("ends").expect("two at once");
    }
    let store = tokio::spawn(PostgresStore::connect(url.clone())).await.expect("ends").expect("connects");
    apply(&store, "a", write(Version::NONE, "1")).await;
    PostgresStore::migrate(url).await.expect("again");
    assert_eq!(load(&store, "a").await.record, "1");
}

/// What the older library for Python creates.
const OLD: &str = "
create table hw_circuit_breakers (
    resource_key varchar(255) primary key,
    state varchar(50) not null check (state in ('CLOSED', 'OPEN', 'HALF_OPEN')),
    failure_count integer not null default 0 check (failure_count >= 0),
    open_until timestamp,
    created_at timestamp not null default now(),
    updated_at timestamp not null default now()
);
create index idx_hw_circuit_breakers_state on hw_circuit_breakers (state);
create index idx_hw_circuit_breakers_open_until on hw_circuit_breakers (open_until) where open_until is not null;
insert into hw_circuit_breakers (resource_key, state, failure_count, open_until) values
    ('payments', 'OPEN', 7, '2099-01-01 12:00:00'), ('mail', 'CLOSED', 1, null);";

#[tokio::test]
async fn rows_and_queries_of_an_older_table_live_on() {
    let database = Database::fresh().await;
    database.run(OLD).await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let store = PostgresStore::connect(database.url()).await.expect("connects");
    let left = load(&store, "payments").await;
    assert!(left.version == Version::NONE && left.record.is_empty(), "{left:?}");
    let mut adopted = Summary::closed(0);
    (adopted.state, adopted.failures) = (State::Open, 7);
    adopted.open_until = Some(StoreTime(4_070_952_000_000_000));
    assert_eq!(left.adopted, Some(adopted), "times without a zone are UTC");
    assert_eq!(load(&store, "mail").await.adopted, None, "closed is what every breaker begins with");
    let columns = "select state, failure_count, open_until from hw_circuit_breakers where resource_key = 'payments'";
    assert_eq!(database.run(columns).await, [["OPEN", "7", "2099-01-01 12:00:00"]]);

    // A batch that waits does not touch them.
    let mut late = write(Version(5), "late");
    late.batch = Some((BatchId { writer: 1, seq: 1 }, Bytes::from_static(b"+")));
    late.may_queue = true;
    let conflict = store.commit("payments", write(Version(5), "late")).await.expect("answers");
    assert!(matches!(&conflict, Committed::Conflict(stored) if stored.adopted == Some(adopted)), "{conflict:?}");
    let Ok(Committed::Combine(on, round)) = store.commit("payments", late).await else { panic!("combines") };
    assert_eq!(on.adopted, Some(adopted));
    assert_eq!(database.run(columns).await, [["OPEN", "7", "2099-01-01 12:00:00"]]);

    let mut open = write(Version::NONE, "1");
    open.round = Some(round);
    open.summary.state = State::Open;
    open.summary.failures = 9;
    open.summary.open_until = Some(StoreTime(4_070_908_800_000_001));
    apply(&store, "payments", open).await;
    assert_eq!(load(&store, "payments").await.adopted, None, "the record takes its place");
    let monitoring = |sql: &'static str| database.run(sql);
    assert_eq!(
        monitoring("select state, count(*) from hw_circuit_breakers group by state order by 1").await,
        [["CLOSED", "1"], ["OPEN", "1"]]
    );
    assert_eq!(
        monitoring("select resource_key from hw_circuit_breakers where state = 'OPEN' and open_until > now()").await,
        [["payments"]]
    );
    assert_eq!(
        monitoring("select resource_key, failure_count from hw_circuit_breakers where failure_count > 5").await,
        [["payments", "9"]]
    );
    assert_eq!(database.run(columns).await, [["OPEN", "9", "2099-01-01 00:00:00.000001"]], "in UTC");

    let types = "select distinct data_type from information_schema.columns where table_name = 'hw_circuit_breakers' \
                 and column_name in ('open_until', 'created_at', 'updated_at')";
    assert_eq!(database.run(types).await, [["timestamp without time zone"]], "only when asked");
    let widening = PostgresStore::builder().url(database.url()).widen_timestamps("Europe/Zurich");
    widening.clone().migrate().await.expect("widens");
    widening.migrate().await.expect("widens once");
    assert_eq!(database.run(types).await, [["timestamp with time zone"]]);
    let until =
        "select open_until = '2098-12-31 23:00:00.000001+00' from hw_circuit_breakers where open_until is not null";
    assert_eq!(database.run(until).await, [["t"]]);
    let stored = load(&store, "payments").await;
    apply(&store, "payments", write(stored.version, "2")).await;
}

#[tokio::test]
async fn whatever_an_older_row_says_can_be_read() {
    let (database, store) = migrated().await;
    let read = async |until: &str| {
        let row = format!("('x', 'HALF_OPEN', 2147483647, {until})");
        database
            .run(&format!(
                "insert into hw_circuit_breakers (resource_key, state, failure_count, open_until) values {row} \
                 on conflict (resource_key) do update set open_until = excluded.open_until"
            ))
            .await;
        load(&store, "x").await.adopted.expect("half-open")
    };
    let none = read("null").await;
    assert_eq!((none.state, none.failures, none.open_until), (State::HalfOpen, 2_147_483_647, None));
    assert_eq!(read("'-infinity'").await.open_until, Some(StoreTime(0)));
    assert_eq!(read("'1950-01-01'").await.open_until, Some(StoreTime(0)));
    let latest = read("'infinity'").await.open_until.expect("an end");
    assert!(latest > StoreTime(253_000_000_000_000_000), "{latest:?}");

    // A record that ran out says nothing any more, and neither does its row.
    let mut short = write(Version::NONE, "1");
    short.summary.state = State::Open;
    short.ttl = Duration::from_millis(1);
    apply(&store, "x", short).await;
    while load(&store, "x").await.version != Version::NONE {}
    assert_eq!(load(&store, "x").await.adopted, None);
}

#[tokio::test]
async fn transitions_are_logged_with_their_writes() {
    let (database, store) = migrated().await;
    let silent = apply(&store, "a", write(Version::NONE, "1")).await;
    let mut open = write(silent, "2");
    open.summary.state = State::Open;
    open.notice = Some(Bytes::from(vec![0xab; 20_000]));
    let version = apply(&store, "a", open.clone()).await;
    let lost = store.commit("a", open).await.expect("answers");
    assert!(matches!(lost, Committed::Conflict(_)), "{lost:?}");
    let log = "select resource_key, version, state, length(payload), substr(payload, 1, 2)::text, \
               (extract(epoch from at) * 1000000)::bigint from hw_circuit_breakers_events";
    let number = version.0.to_string();
    assert_eq!(database.run(log).await, [["a", &number, "OPEN", "20000", "\\xabab", &number]]);
}

/// Rows of all ages, some with a record that ran out (`-`) or lives (`+`).
const AGED: &str = "
insert into hw_circuit_breakers (resource_key, state, updated_at, record, version, expires_at)
select key, state, now() - days * interval '1 day', case when record <> '' then decode('00', 'hex') end, 1,
    case record when '-' then now() - interval '5 days' when '+' then now() + interval '1 day' end
from (values ('ran out', 'CLOSED', 8, '-'), ('ran out open', 'OPEN', 8, '-'), ('older, closed', 'CLOSED', 8, ''),
    ('young', 'CLOSED', 6, '-'), ('lives', 'CLOSED', 8, '+'), ('older, open', 'OPEN', 8, '')) v (key, state, days, record);
insert into hw_circuit_breakers_outbox (resource_key, delta, queued_at) values
    ('ran out', '+', now() - interval '8 days'), ('young', '+', now() - interval '8 days');
insert into hw_circuit_breakers_writers (resource_key, writer, seq, seen_at) values
    ('ran out', 1, 1, now() - interval '8 days'), ('lives', 1, 1, now());
insert into hw_circuit_breakers_events (resource_key, version, at, state, payload) values
    ('lives', 1, now() - interval '31 days', 'OPEN', ''), ('lives', 2, now() - interval '29 days', 'CLOSED', '');";

#[tokio::test]
async fn what_nobody_needs_is_pruned() {
    let (database, store) = migrated().await;
    database.run(AGED).await;
    let pruned = store.prune().await.expect("prunes");
    assert_eq!((pruned.rows, pruned.events), (3, 1));
    let left = "select resource_key from hw_circuit_breakers order by 1";
    assert_eq!(database.run(left).await, [["lives"], ["older, open"], ["young"]]);
    assert_eq!(database.run("select version from hw_circuit_breakers_events").await, [["2"]]);
    assert_eq!(database.run("select resource_key from hw_circuit_breakers_outbox").await, [["young"]]);
    assert_eq!(database.run("select resource_key from hw_circuit_breakers_writers").await, [["lives"]]);
    assert_eq!(store.prune().await.expect("prunes"), Pruned::default());

    let many = "insert into hw_circuit_breakers (resource_key, updated_at) \
                select n, now() - interval '8 days' from generate_series(1, 2500) n";
    database.run(many).await;
    let keeping = PostgresStore::builder().url(database.url()).keep_closed(Duration::from_secs(9 * 24 * 60 * 60));
    assert_eq!(keeping.build().expect("builds").prune().await.expect("prunes").rows, 0, "kept for longer");
    let mut somebody = sqlx::ConnectOptions::connect(&database.options()).await.expect("connects");
    let lock = "begin; select pg_advisory_xact_lock(hashtext('fusebox prune'), hashtext('hw_circuit_breakers'))";
    sqlx::raw_sql(lock).fetch_all(&mut somebody).await.expect("locks");
    assert_eq!(store.prune().await.expect("leaves it to somebody else"), Pruned::default());
    sqlx::raw_sql("rollback").execute(&mut somebody).await.expect("unlocks");
    assert_eq!(store.prune().await.expect("prunes").rows, 2_500, "in several steps");
}

#[tokio::test]
async fn a_store_that_is_written_to_prunes_by_itself() {
    let (database, _) = migrated().await;
    database.run(AGED).await;
    let store = PostgresStore::builder().url(database.url()).prune_every(Duration::from_millis(1));
    let store = store.connect().await.expect("connects");
    let mut version = Version::NONE;
    let until = Instant::now() + Duration::from_secs(10);
    while database.run("select from hw_circuit_breakers where resource_key = 'ran out'").await.len() == 1 {
        assert!(Instant::now() < until, "still there");
        version = apply(&store, "a", write(version, "x")).await;
    }
    assert_eq!(load(&store, "a").await.version, version);
}

#[tokio::test]
async fn on_each_runtime_there_are_connections_that_do_not_stall_with_others() {
    let (database, store) = migrated().await;
    let store = Arc::new(store);
    let before = apply(&store, "a", write(Version::NONE, "before")).await;
    let used = store.clone();
    // As long as this takes, nothing happens on the runtime of the test.
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(apply(&used, "a", write(before, "elsewhere")))
    });
    let after = elsewhere.join().expect("no panic");
    assert_eq!(apply(&store, "a", write(after, "here")).await, load(&store, "a").await.version);
    drop(database);
}

#[tokio::test]
async fn a_missing_schema_is_refused_with_what_to_do() {
    let database = Database::fresh().await;
    let text = refusal(&PostgresStore::connect(database.url()).await.expect_err("no schema"));
    assert!(text.contains("PostgresStore::migrate"), "{text}");
    let store = PostgresStore::builder().url(database.url()).build().expect("builds without a server");
    for error in [
        store.load(&["a"]).await.expect_err("no table"),
        store.commit("a", write(Version::NONE, "1")).await.expect_err("no function"),
    ] {
        assert!(refusal(&error).contains("PostgresStore::migrate"), "{error}");
    }
    // The older table alone is not enough.
    database.run(OLD).await;
    let text = refusal(&PostgresStore::connect(database.url()).await.expect_err("half a schema"));
    assert!(text.contains("PostgresStore::migrate"), "{text}");
}

#[tokio::test]
async fn who_may_not_is_refused_and_no_password_is_told() {
    let (database, _) = migrated().await;
    let role = format!("app_{}", database.name);
    database.run(&format!("create role {role} login password 'wr0ng'")).await;
    let text = refusal(&PostgresStore::connect(database.url_as(&role, "wr0ng")).await.expect_err("no rights"));
    assert!(text.contains("may not"), "{text}");
    let store = PostgresStore::builder().url(database.url_as(&role, "wr0ng")).build().expect("builds");
    refusal(&store.load(&["a"]).await.expect_err("no rights"));
    refusal(&store.commit("a", write(Version::NONE, "1")).await.expect_err("no rights"));
    refusal(&PostgresStore::migrate(database.url_as(&role, "wr0ng")).await.expect_err("no rights"));
    database.run(&format!("grant select, insert, update, delete on all tables in schema public to {role}")).await;
    let store = PostgresStore::connect(database.url_as(&role, "wr0ng")).await.expect("rights");
    apply(&store, "a", write(Version::NONE, "1")).await;
    database.run(&format!("alter role {role} set default_transaction_read_only = on")).await;
    let text = refusal(&PostgresStore::connect(database.url_as(&role, "wr0ng")).await.expect_err("only reads"));
    assert!(text.contains("only reads"), "{text}");

    refusal(&PostgresStore::connect(database.url_as("owner", "wr0ng")).await.expect_err("another password"));
    refusal(&PostgresStore::connect(database.url().replace(&database.name, "nowhere")).await.expect_err("no database"));
    let builder = PostgresStore::builder().url(database.url()).listen_url(database.url());
    let text = format!("{builder:?} {:?}", builder.clone().build());
    assert!(!text.contains(PASSWORD), "{text}");
}

#[test]
fn settings_that_cannot_work_are_named() {
    let ours = || PostgresStore::builder().url("postgres://u:wr0ng@localhost/d");
    for (field, builder) in [
        ("url", PostgresStore::builder()),
        ("url", ours().url("mysql://u:wr0ng@localhost")),
        ("url", ours().url("postgres://u:wr0ng@localhost:port/d")),
        ("listen_url", ours().listen_url("wr0ng")),
        ("table", ours().table("a\" (b int); --")),
        ("namespace", ours().namespace("a:b")),
        ("namespace", ours().namespace("x".repeat(65))),
        ("timeout", ours().timeout(Duration::ZERO)),
        ("prune_every", ours().prune_every(Duration::ZERO)),
    ] {
        let error = builder.build().expect_err(field);
        assert_eq!(error.field(), field);
        assert!(!format!("{error:?} {error}").contains("wr0ng"), "{error:?}");
    }
    assert_eq!(ours().widen_timestamps("'; --").migration().expect_err("no zone").field(), "widen_timestamps");
}

#[tokio::test]
async fn connections_that_end_are_dialled_again_and_watchers_told() {
    let (database, store) = migrated().await;
    let mut notices = store.watch();
    assert_eq!(next(&mut notices).await, Notice::Lagged, "begins to hear");
    let mut version = Version::NONE;
    for round in 0..3 {
        let told = |version, text: &str| {
            let mut commit = write(version, text);
            commit.notice = Some(Bytes::from_static(b"n"));
            commit
        };
        version = apply(&store, "a", told(version, "1")).await;
        let expected = Notice::changed("a".to_owned(), version, Bytes::from_static(b"n"));
        assert_eq!(next(&mut notices).await, expected, "round {round}");
        let ended = "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                     where pid <> pg_backend_pid() and datname = current_database()";
        database.run(ended).await;
        assert_eq!(next(&mut notices).await, Notice::Lagged, "round {round}");
        if round == 1 {
            assert_eq!(load(&store, "a").await.version, version, "a read is made again by itself");
        } else {
            // Whether a write was made is for its batch's number to find out.
            let lost = store.commit("b", write(Version(1), "")).await.expect_err("its connection is gone");
            assert!(matches!(lost, StoreError::Unavailable { .. }), "{lost:?}");
        }
    }
    drop(notices);
    for _ in 0..100 {
        let listening =
            "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'listen%'";
        if database.run(listening).await == [["0"]] {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("listens on after its stream was dropped");
}

#[tokio::test]
async fn a_server_that_stands_still_holds_nobody_up_and_nothing_counts_twice() {
    let server = tokio::task::spawn_blocking(Server::start).await.expect("starts");
    let database = server.database().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let limit = Duration::from_millis(300);
    let store = PostgresStore::builder().url(database.url()).timeout(limit).connect().await.expect("connects");
    let mut version = apply(&store, "a", write(Version::NONE, "0")).await;
    let adding = |version, n: u64| {
        let mut commit = write(version, &n.to_string());
        commit.batch = Some((BatchId { writer: 9, seq: n }, Bytes::from_static(b"+")));
        commit
    };
    let mut found = 0;
    for n in 1..=3 {
        let processes = server.processes().await;
        signal("STOP", &processes);
        for _ in 0..3 {
            let started = Instant::now();
            let error = store.commit("a", adding(version, n)).await.expect_err("no answer");
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
            assert!(started.elapsed() < limit * 5, "{:?}", started.elapsed());
            let error = store.load(&["a"]).await.expect_err("no answer");
            assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        }
        signal("CONT", &processes);
        sleep(Duration::from_millis(300)).await;
        version = match store.commit("a", adding(version, n)).await.expect("the server is back") {
            Committed::Applied { version, .. } => version,
            Committed::Duplicate(stored) => {
                found += 1;
                assert_eq!(stored.record, n.to_string().as_str());
                stored.version
            }
            other => panic!("{other:?}"),
        };
        let waits = database.run("select count(*) from hw_circuit_breakers_outbox").await;
        assert_eq!(waits, [["0"]], "applied or not, never queued as well");
    }
    assert_eq!(load(&store, "a").await.record, "3");
    assert!(found > 0, "some statement was carried out late");
}

#[tokio::test]
async fn a_row_that_somebody_locks_keeps_nobody() {
    let (database, store) = migrated().await;
    let version = apply(&store, "a", write(Version::NONE, "1")).await;
    let mut person = sqlx::ConnectOptions::connect(&database.options()).await.expect("connects");
    let lock = "begin; select * from hw_circuit_breakers where resource_key = 'a' for update";
    sqlx::raw_sql(lock).fetch_all(&mut person).await.expect("locks");
    let error = store.commit("a", write(version, "2")).await.expect_err("locked");
    assert!(matches!(error, StoreError::Busy(_)), "{error:?}");
    let mut batch = write(version, "2");
    batch.batch = Some((BatchId { writer: 1, seq: 1 }, Bytes::from_static(b"+")));
    batch.may_queue = true;
    let queued = store.commit("a", batch).await.expect("queues");
    assert!(matches!(queued, Committed::Queued(_)), "{queued:?}");
    sqlx::raw_sql("rollback").execute(&mut person).await.expect("unlocks");
    let abandoned = store.commit("a", write(Version(1), "")).await.expect("hands out");
    assert!(matches!(&abandoned, Committed::Combine(_, round) if round.batches.len() == 1), "{abandoned:?}");
}

#[tokio::test]
async fn namespaces_and_tables_are_apart() {
    let (database, plain) = migrated().await;
    let builder = PostgresStore::builder().url(database.url());
    let shop = builder.clone().namespace("shop").connect().await.expect("connects");
    let other = builder.table("breakers");
    other.clone().migrate().await.expect("migrates");
    let other = other.connect().await.expect("connects");
    let mut heard = shop.watch();
    assert_eq!(next(&mut heard).await, Notice::Lagged);
    for (store, text) in [(&plain, "plain"), (&shop, "shop"), (&other, "other")] {
        let mut commit = write(Version::NONE, text);
        commit.notice = Some(Bytes::copy_from_slice(text.as_bytes()));
        apply(store, "a", commit).await;
    }
    for (store, text) in [(&plain, "plain"), (&shop, "shop"), (&other, "other")] {
        assert_eq!(load(store, "a").await.record, text);
    }
    let Notice::Changed { notice, .. } = next(&mut heard).await else { panic!("lagged") };
    assert_eq!(notice, "shop");
    let keys = database.run("select resource_key from hw_circuit_breakers order by 1").await;
    assert_eq!(keys, [["a"], ["shop:a"]]);
    for store in [&plain, &shop, &other] {
        assert_eq!(store.keys().await.expect("lists"), ["a"]);
    }

    // Whatever its length and letters.
    for key in
        ["x".repeat(200), format!("{}y", "x".repeat(400)), format!("{}z", "ü".repeat(200)), "';\\--\"".to_owned()]
    {
        for store in [&plain, &shop] {
            apply(store, &key, write(Version::NONE, &key)).await;
            assert_eq!(load(store, &key).await.record, key.as_str());
        }
    }
}

#[tokio::test]
async fn people_see_state_failures_and_the_end_of_the_cooldown() {
    let (database, store) = migrated().await;
    let mut commit = write(Version::NONE, "1");
    commit.summary = Summary::closed(u64::MAX);
    commit.summary.state = State::HalfOpen;
    commit.summary.failures = u32::MAX;
    commit.summary.open_until = Some(StoreTime(1_900_000_000_123_456));
    let version = apply(&store, "a", commit).await;
    let columns = "select state, failure_count, (extract(epoch from open_until) * 1000000)::bigint, version from hw_circuit_breakers";
    let number = version.0.to_string();
    assert_eq!(database.run(columns).await, [["HALF_OPEN", "2147483647", "1900000000123456", &number]]);
    apply(&store, "a", write(version, "2")).await;
    assert_eq!(
        database.run("select state, failure_count, open_until from hw_circuit_breakers").await,
        [["CLOSED", "0", ""]]
    );
}

#[tokio::test]
async fn large_records_are_refused_and_large_notices_leave_the_header() {
    let (_database, store) = migrated().await;
    let mut commit = write(Version::NONE, "");
    commit.record = Bytes::from(vec![7; 64 * 1024 + 1]);
    let error = store.commit("a", commit.clone()).await.expect_err("too large");
    assert!(matches!(error, StoreError::TooLarge { bytes: 65_537, limit: 65_536, .. }), "{error:?}");
    commit.record.truncate(64 * 1024);
    let mut heard = store.watch();
    assert_eq!(next(&mut heard).await, Notice::Lagged);
    commit.notice = Some(Bytes::from(vec![7; 8_000]));
    let version = apply(&store, "a", commit).await;
    assert_eq!(next(&mut heard).await, Notice::changed("a".to_owned(), version, Bytes::new()));
    assert_eq!(load(&store, "a").await.record.len(), 64 * 1024);
}

#[tokio::test]
async fn what_ran_out_is_absent_and_written_anew_above_what_it_was() {
    let (database, store) = migrated().await;
    let mut short = write(Version::NONE, "1");
    short.ttl = Duration::from_millis(50);
    let before = apply(&store, "a", short).await;
    sleep(Duration::from_millis(60)).await;
    let gone = load(&store, "a").await;
    assert!(gone.version == Version::NONE && gone.record.is_empty(), "{gone:?}");
    let late = store.commit("a", write(before, "2")).await.expect("answers");
    assert!(matches!(&late, Committed::Conflict(stored) if stored.version == Version::NONE), "{late:?}");
    // Whatever the server's clock did meanwhile.
    database.run("update hw_circuit_breakers set version = version + 1000000000000").await;
    let after = apply(&store, "a", write(Version::NONE, "2")).await;
    assert!(after.0 > before.0 + 1_000_000_000_000, "{after:?} after {before:?}");
}

#[tokio::test]
async fn an_outbox_that_is_full_takes_no_more_and_rounds_end_when_asked() {
    let (database, store) = migrated().await;
    let version = apply(&store, "a", write(Version::NONE, "1")).await;
    database.run("insert into hw_circuit_breakers_outbox (resource_key, delta) select 'a', '+' from generate_series(1, 4096)").await;
    let late = |writer| {
        let mut late = write(Version(1), "late");
        late.batch = Some((BatchId { writer, seq: 1 }, Bytes::from_static(b"+")));
        late.may_queue = true;
        late
    };
    // The writer that gets the round brings its own batch: it is about to make room.
    let Ok(Committed::Combine(on, round)) = store.commit("a", late(1)).await else { panic!("hands out") };
    assert_eq!((on.version, round.batches.len()), (version, 1_000));
    let taken = store.commit("a", late(1)).await.expect("answers");
    assert!(matches!(taken, Committed::Duplicate(_)), "{taken:?}");
    let full = store.commit("a", late(2)).await.expect("answers");
    assert!(matches!(full, Committed::Conflict(_)), "{full:?}");
    let waiting = "select count(*) from hw_circuit_breakers_outbox";
    assert_eq!(database.run(waiting).await, [["4097"]]);
    let mut last = write(on.version, "3");
    last.round = Some(round);
    last.release = true;
    let version = apply(&store, "a", last).await;
    assert_eq!(database.run(waiting).await, [["3097"]]);
    let Ok(Committed::Combine(on, _)) = store.commit("a", write(version, "4")).await else { panic!("hands out") };
    assert_eq!(on.version, version, "what waits comes first");

    // While another session has the row, none that finds the outbox full gets the round.
    database.run("update hw_circuit_breakers set lease_until = '-infinity'").await;
    database.run("insert into hw_circuit_breakers_outbox (resource_key, delta) select 'a', '+' from generate_series(1, 1000)").await;
    let mut person = sqlx::ConnectOptions::connect(&database.options()).await.expect("connects");
    sqlx::raw_sql("begin; select * from hw_circuit_breakers for update").fetch_all(&mut person).await.expect("locks");
    let full = store.commit("a", late(2)).await.expect("answers");
    assert!(matches!(full, Committed::Conflict(_)), "{full:?}");
}

/// An upgrade: instances of an earlier state of the library go on by the function that they know.
#[tokio::test]
async fn a_migration_adds_its_function_and_leaves_those_of_earlier_releases() {
    let (database, _) = migrated().await;
    database.run("drop function hw_circuit_breakers_commit_v2").await;
    let earlier =
        "create function hw_circuit_breakers_commit_v1(a integer) returns integer language sql as 'select a + 1'";
    database.run(earlier).await;
    let text = refusal(&PostgresStore::connect(database.url()).await.expect_err("only the older function"));
    assert!(text.contains("PostgresStore::migrate"), "{text}");
    let store = PostgresStore::builder().url(database.url()).build().expect("builds");
    let text = refusal(&store.commit("a", write(Version::NONE, "1")).await.expect_err("only the older function"));
    assert!(text.contains("PostgresStore::migrate"), "{text}");
    PostgresStore::migrate(database.url()).await.expect("migrates");
    apply(&store, "a", write(Version::NONE, "1")).await;
    assert_eq!(database.run("select hw_circuit_breakers_commit_v1(6)").await, [["7"]]);
}

#[tokio::test]
async fn a_pools_settings_are_taken_and_none_of_its_connections() {
    let (database, _) = migrated().await;
    let pool = PgPoolOptions::new().max_connections(1).connect_with(database.options()).await.expect("connects");
    let held = pool.acquire().await.expect("the only one");
    let store = PostgresStore::builder().like(&pool).connect().await.expect("connects beside it");
    apply(&store, "a", write(Version::NONE, "1")).await;
    drop(held);
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_may_stand_between() {
    let (database, _) = migrated().await;
    let pooler = Pooler::before(&database.server);
    let through = || PostgresStore::builder().url(pooler.url(&database)).timeout(Duration::from_secs(5));
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..20 {
        let store = through().namespace(format!("client{client}")).build().expect("builds");
        clients.spawn(async move {
            let mut version = Version::NONE;
            for n in 0..100 {
                let text = format!("{client}-{n}");
                version = apply(&store, "a", write(version, &text)).await;
                assert_eq!(load(&store, "a").await.record, text.as_str(), "another's answer");
            }
        });
    }
    clients.join_all().await;
    let store = through().listen_url(database.url()).connect().await.expect("connects");
    let passed = store::conformance(Arc::new(store)).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
}
