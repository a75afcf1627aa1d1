//! The store in Redis, against a real server for each test.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fusebox::State;
use fusebox::store::{
    self, BatchId, Commit, Committed, Notice, Notices, RedisStore, Round, Store, StoreError, StoreTime, Stored,
    Summary, Version,
};
use tokio::time::{Instant, sleep, timeout};

use crate::order::each_writers_batches_are_taken_in_in_order;
use crate::servers::Redis;

const TTL: Duration = Duration::from_secs(600);

async fn store_of(server: &Redis) -> RedisStore {
    RedisStore::connect(server.url()).await.expect("connects")
}

pub(crate) fn write(expected: Version, text: &str) -> Commit {
    Commit::new(expected, Bytes::copy_from_slice(text.as_bytes()), Summary::closed(1), TTL)
}

fn batch(expected: Version, text: &str, seq: u64) -> Commit {
    let mut commit = write(expected, text);
    commit.batch = Some((BatchId { writer: 7, seq }, Bytes::copy_from_slice(text.as_bytes())));
    commit
}

pub(crate) async fn applied(store: &RedisStore, key: &str, commit: Commit) -> Version {
    match store.commit(key, commit).await.expect("an answer") {
        Committed::Applied { version, .. } => version,
        other => panic!("expected Applied, got {other:?}"),
    }
}

pub(crate) async fn newest(store: &RedisStore, key: &str) -> Result<Stored, StoreError> {
    Ok(store.load(&[key]).await?.remove(0))
}

/// Asks until there is an answer.
pub(crate) async fn when_back(store: &RedisStore, key: &str) -> Stored {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        match newest(store, key).await {
            Ok(stored) => return stored,
            Err(error) => assert!(Instant::now() < until, "not back: {error:?}"),
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// How many batches of the key `a` wait.
async fn waiting(server: &Redis) -> usize {
    let length = server.command(&format!("LLEN {}", outbox_of(server).await)).await;
    redis::from_redis_value(length).expect("a number")
}

/// Where the batches of the key `a` wait.
async fn outbox_of(server: &Redis) -> String {
    let keys: Vec<String> = redis::from_redis_value(server.command("KEYS *:o:a").await).expect("keys");
    keys.first().expect("an outbox").clone()
}

pub(crate) async fn next(notices: &mut Notices) -> Notice {
    let next = timeout(Duration::from_secs(5), poll_fn(|cx| notices.as_mut().poll_next(cx))).await;
    next.expect("a notice in time").expect("a stream that goes on")
}

pub(crate) async fn until_lagged(notices: &mut Notices) {
    while next(notices).await != Notice::Lagged {}
}

/// All that an error says to whoever prints it.
pub(crate) fn all_texts(error: &StoreError) -> String {
    let mut texts = format!("{error} {error:?}");
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        texts.push_str(&format!(" {error} {error:?}"));
        source = error.source();
    }
    texts
}

#[tokio::test]
async fn it_keeps_the_contract_combines_and_pushes() {
    let server = Redis::start().await;
    let passed = store::conformance(Arc::new(store_of(&server).await)).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");
}

#[tokio::test]
async fn it_takes_each_writers_batches_in_in_order() {
    let server = Redis::start().await;
    each_writers_batches_are_taken_in_in_order(Arc::new(store_of(&server).await)).await;
}

#[tokio::test]
async fn people_see_a_summary_and_every_key_expires() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    let mut commit = batch(Version::NONE, "x", 1);
    commit.summary.state = State::Open;
    commit.summary.failures = 5;
    commit.summary.open_until = Some(StoreTime(1_900_000_000_000_000));
    applied(&store, "payments", commit).await;
    let mut late = batch(Version(1), "y", 2);
    late.may_queue = true;
    assert!(matches!(store.commit("payments", late).await, Ok(Committed::Combine(..))));

    let keys: Vec<String> = redis::from_redis_value(server.command("KEYS *").await).expect("keys");
    assert_eq!(keys.len(), 3, "a record, an outbox, marks: {keys:?}");
    for key in &keys {
        let ttl: i64 = redis::from_redis_value(server.command(&format!("PTTL {key}")).await).expect("a number");
        assert!(ttl > 0, "{key} never expires");
    }
    let record = keys.iter().find(|key| key.ends_with(":r:payments")).expect("a record");
    let shown = server.command(&format!("HMGET {record} s f u e")).await;
    let shown: Vec<String> = redis::from_redis_value(shown).expect("texts");
    assert_eq!(shown, ["open", "5", "1900000000000000", "1"]);
}

#[tokio::test]
async fn a_server_that_was_killed_is_dialled_again_and_watchers_are_told() {
    let mut server = Redis::start().await;
    let store = store_of(&server).await;
    let mut notices = store.watch();
    until_lagged(&mut notices).await;
    let before = applied(&store, "a", write(Version::NONE, "before")).await;

    server.kill();
    let error = newest(&store, "a").await.expect_err("nobody there");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let asked = Instant::now();
    let error = newest(&store, "a").await.expect_err("nobody there");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
    assert!(asked.elapsed() < Duration::from_millis(100), "without a connection nothing waits");

    server.start_again().await;
    assert_eq!(when_back(&store, "a").await.version, Version::NONE, "it came back empty");
    let after = applied(&store, "a", write(Version::NONE, "after")).await;
    assert!(after > before);
    until_lagged(&mut notices).await;
    let mut commit = write(after, "told");
    commit.notice = Some(Bytes::from_static(b"news \0\xff"));
    let version = applied(&store, "a", commit).await;
    assert_eq!(next(&mut notices).await, Notice::changed("a".into(), version, Bytes::from_static(b"news \0\xff")));
}

/// A server that ends a connection is there: it is not taken to be away for as long as a redial waits.
#[tokio::test]
async fn a_connection_that_the_server_ends_costs_one_operation_at_most() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    for _ in 0..5 {
        newest(&store, "a").await.expect("an answer");
        server.command("CLIENT KILL TYPE normal SKIPME yes").await;
        let mut failed = 0;
        for _ in 0..10 {
            failed += u32::from(newest(&store, "a").await.is_err());
        }
        assert!(failed <= 1, "{failed} of ten operations failed");
    }
}

#[tokio::test]
async fn a_server_that_froze_fails_operations_in_time_and_nothing_counts_twice() {
    let server = Redis::start().await;
    let limit = Duration::from_millis(100);
    let store = RedisStore::builder(server.url()).timeout(limit).connect_timeout(limit).connect().await;
    let store = store.expect("connects");
    let version = applied(&store, "a", batch(Version::NONE, "1", 1)).await;

    server.freeze();
    for _ in 0..4 {
        let asked = Instant::now();
        let error = store.commit("a", batch(version, "2", 2)).await.expect_err("frozen");
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(asked.elapsed() < 3 * limit, "{:?}", asked.elapsed());
    }
    let asked = Instant::now();
    let error = store.commit("a", batch(version, "2", 2)).await.expect_err("given up");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
    assert!(asked.elapsed() < limit, "the connection was given up after three");

    server.thaw();
    let stored = when_back(&store, "a").await;
    // What was sent into the freeze may be carried out now; the batch finds out.
    match store.commit("a", batch(stored.version, "2", 2)).await.expect("an answer") {
        Committed::Applied { .. } | Committed::Duplicate(_) => {}
        other => panic!("{other:?}"),
    }
    let again = store.commit("a", batch(stored.version, "2", 2)).await.expect("an answer");
    assert!(matches!(again, Committed::Duplicate(ref stored) if stored.record == "2"), "{again:?}");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_known_as_a_duplicate() {
    let server = Redis::start().await;
    let store = RedisStore::builder(server.url()).timeout(Duration::from_millis(100)).connect().await;
    let store = store.expect("connects");
    let version = applied(&store, "a", batch(Version::NONE, "1", 1)).await;
    server.freeze();
    let error = store.commit("a", batch(version, "2", 2)).await.expect_err("frozen");
    assert!(matches!(error, StoreError::Unavailable { maybe: true, .. }), "{error:?}");
    server.thaw();
    // One silence is no reason to dial again: the command is still on its way, before this one.
    let again = store.commit("a", batch(version, "2", 2)).await.expect("an answer");
    assert!(matches!(again, Committed::Duplicate(ref stored) if stored.record == "2"), "{again:?}");
}

#[tokio::test]
async fn versions_grow_also_after_everything_was_deleted() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    let mut newest_version = Version::NONE;
    for _ in 0..3 {
        let version = applied(&store, "a", write(Version::NONE, "x")).await;
        assert!(version > newest_version);
        newest_version = version;
        server.command("FLUSHALL").await;
    }
}

#[tokio::test]
async fn a_script_that_was_forgotten_is_brought_again() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    let version = applied(&store, "a", write(Version::NONE, "1")).await;
    server.command("SCRIPT FLUSH").await;
    applied(&store, "a", write(version, "2")).await;
}

#[tokio::test]
async fn what_is_not_ours_is_left_alone() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    let keys = ["text", "hash", "number", "ours"];
    for key in keys {
        applied(&store, key, batch(Version::NONE, "x", 1)).await;
    }
    let all: Vec<String> = redis::from_redis_value(server.command("KEYS *:r:*").await).expect("keys");
    let record = |name: &str| all.iter().find(|key| key.ends_with(name)).expect("a record").clone();
    server.command(&format!("SET {} mine", record("text"))).await;
    server.command(&format!("DEL {}", record("hash"))).await;
    server.command(&format!("HSET {} field mine", record("hash"))).await;
    server.command(&format!("HSET {} v mine", record("number"))).await;
    for key in &keys[..3] {
        let error = newest(&store, key).await.expect_err(key);
        assert!(matches!(&error, StoreError::Foreign { key: named, .. } if named == key), "{error:?}");
        let error = store.commit(key, write(Version::NONE, "over it")).await.expect_err(key);
        assert!(matches!(&error, StoreError::Foreign { key: named, .. } if named == key), "{error:?}");
    }
    assert_eq!(server.command(&format!("GET {}", record("text"))).await, redis::Value::BulkString(b"mine".to_vec()));

    // Foreign keys beside a record of ours: nothing of the write stays.
    let outbox = record("ours").replace(":r:", ":o:");
    server.command(&format!("SET {outbox} mine")).await;
    let before = newest(&store, "ours").await.expect("a record");
    let error = store.commit("ours", batch(before.version, "y", 2)).await.expect_err("a foreign outbox");
    assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
    assert_eq!(newest(&store, "ours").await.expect("a record").version, before.version);
}

#[tokio::test]
async fn a_server_without_memory_is_busy_and_nothing_half_done_stays() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    let version = applied(&store, "a", batch(Version::NONE, "1", 1)).await;
    let mut queued = batch(Version(1), "10", 2);
    queued.may_queue = true;
    let Ok(Committed::Combine(on, round)) = store.commit("a", queued).await else { panic!("a late batch combines") };
    server.command("CONFIG SET maxmemory-policy noeviction").await;
    server.command("CONFIG SET maxmemory 1").await;

    let mut combined = batch(on.version, "11", 3);
    combined.round = Some(round.clone());
    let refused = store.commit("a", combined.clone()).await.expect_err("no memory");
    assert!(matches!(refused, StoreError::Busy(_)), "{refused:?}");
    let waiting = server.command(&format!("LLEN {}", outbox_of(&server).await)).await;
    assert_eq!(waiting, redis::Value::Int(1), "the batch of the round still waits");
    let mut more = batch(Version(1), "100", 4);
    more.may_queue = true;
    let refused = store.commit("a", more.clone()).await.expect_err("no memory");
    assert!(matches!(refused, StoreError::Busy(_)), "{refused:?}");
    let stored = newest(&store, "a").await.expect("reading needs no memory");
    assert_eq!((stored.version, &stored.record[..]), (version, &b"1"[..]));

    server.command("CONFIG SET maxmemory 0").await;
    applied(&store, "a", combined).await;
    assert!(matches!(store.commit("a", more).await, Ok(Committed::Combine(_, round)) if round.batches.len() == 1));
}

#[tokio::test]
async fn passwords_open_and_are_never_shown() {
    let server = Redis::start_with(&["--requirepass", "hunter2"]).await;
    let store = RedisStore::connect(server.url_with("hunter2")).await.expect("the right password");
    applied(&store, "a", write(Version::NONE, "x")).await;
    assert!(!format!("{store:?}").contains("hunter2"), "{store:?}");
    let builder = RedisStore::builder(server.url_with("hunter2"));
    assert!(!format!("{builder:?}").contains("hunter2"), "{builder:?}");

    for (url, what) in [(server.url_with("hunter3"), "wrong"), (server.url(), "missing")] {
        let error = RedisStore::connect(url.as_str()).await.expect_err(what);
        assert!(matches!(error, StoreError::Refused(_)), "{what}: {error:?}");
        assert!(!all_texts(&error).contains("hunter"), "{}", all_texts(&error));
        // One that starts without asking hears the same.
        let store = RedisStore::builder(url).build().expect("a URL");
        let until = Instant::now() + Duration::from_secs(3);
        loop {
            match newest(&store, "a").await.expect_err(what) {
                StoreError::Refused(_) => break,
                error => assert!(Instant::now() < until, "{what}: {error:?}"),
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn a_user_with_too_few_rights_is_refused() {
    let server = Redis::start().await;
    server.command("ACL SETUSER reader on >pw ~* &* +@read +time +ping +client").await;
    let url = server.url().replace("redis://", "redis://reader:pw@");
    let store = RedisStore::connect(url).await.expect("it may read");
    newest(&store, "a").await.expect("it may read");
    let error = store.commit("a", write(Version::NONE, "x")).await.expect_err("it may not write");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
}

#[tokio::test]
async fn a_replica_refuses_and_is_left_for_whoever_writes_again() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    server.command("REPLICAOF 127.0.0.1 1").await;
    let error = store.commit("a", write(Version::NONE, "x")).await.expect_err("a replica");
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    server.command("REPLICAOF NO ONE").await;
    when_back(&store, "a").await;
    applied(&store, "a", write(Version::NONE, "x")).await;
}

#[tokio::test]
async fn namespaces_are_apart() {
    let server = Redis::start().await;
    let of = |namespace: &str| RedisStore::builder(server.url()).namespace(namespace).build().expect("a store");
    let (a, b) = (of("a"), of("b"));
    when_back(&a, "x").await;
    when_back(&b, "x").await;
    let (mut heard_a, mut heard_b) = (a.watch(), b.watch());
    until_lagged(&mut heard_a).await;
    until_lagged(&mut heard_b).await;
    let mut commit = write(Version::NONE, "of a");
    commit.notice = Some(Bytes::from_static(b"of a"));
    let version = applied(&a, "x", commit.clone()).await;
    assert_eq!(newest(&b, "x").await.expect("an answer").version, Version::NONE);
    assert_eq!(next(&mut heard_a).await, Notice::changed("x".into(), version, Bytes::from_static(b"of a")));
    commit.notice = Some(Bytes::from_static(b"of b"));
    let version = applied(&b, "x", commit).await;
    assert_eq!(next(&mut heard_b).await, Notice::changed("x".into(), version, Bytes::from_static(b"of b")));
}

#[tokio::test]
async fn the_first_operation_connects_by_itself() {
    let server = Redis::start().await;
    let store = RedisStore::builder(server.url()).build().expect("a URL");
    applied(&store, "a", write(Version::NONE, "x")).await;
}

/// How many are connected, whoever asks included.
async fn clients_of(server: &Redis) -> usize {
    format!("{:?}", server.command("CLIENT LIST TYPE normal").await).matches(" addr=").count()
}

#[tokio::test]
async fn on_each_runtime_there_is_a_connection_that_does_not_stall_with_others() {
    let server = Redis::start().await;
    let store = Arc::new(store_of(&server).await);
    let before = applied(&store, "a", write(Version::NONE, "before")).await;
    let used_elsewhere = |store: Arc<RedisStore>| {
        // As long as this takes, nothing happens on the runtime of the test.
        let elsewhere = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let stored = when_back(&store, "a").await;
                applied(&store, "a", write(stored.version, "elsewhere")).await
            })
        });
        elsewhere.join().expect("no panic")
    };
    let after = used_elsewhere(store.clone());
    assert!(after > before);
    assert_eq!(newest(&store, "a").await.expect("still connected here").version, after);

    // Whoever only looked whether it can be reached keeps no connection.
    drop(store);
    let looked = Arc::new(store_of(&server).await);
    let elsewhere = tokio::task::spawn_blocking(move || (used_elsewhere(looked.clone()), looked)).await;
    let until = Instant::now() + Duration::from_secs(3);
    while clients_of(&server).await > 1 {
        assert!(Instant::now() < until, "{} are connected", clients_of(&server).await);
        sleep(Duration::from_millis(10)).await;
    }
    drop(elsewhere);
}

#[tokio::test]
async fn a_watch_that_is_dropped_ends_its_connection() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    let mut notices = store.watch();
    until_lagged(&mut notices).await;
    let watchers = || async { format!("{:?}", server.command("CLIENT LIST TYPE pubsub").await) };
    assert!(watchers().await.contains("sub=16"), "{}", watchers().await);
    drop(notices);
    let until = Instant::now() + Duration::from_secs(3);
    while watchers().await.contains("sub=16") {
        assert!(Instant::now() < until, "still there");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_store_that_started_without_its_server_finds_it() {
    let mut server = Redis::start().await;
    server.kill();
    let error = RedisStore::connect(server.url()).await.expect_err("nobody there");
    assert!(matches!(error, StoreError::Unavailable { maybe: false, .. }), "{error:?}");
    let store = RedisStore::builder(server.url()).build().expect("a URL");
    let mut notices = store.watch();
    assert!(newest(&store, "a").await.is_err());
    server.start_again().await;
    when_back(&store, "a").await;
    until_lagged(&mut notices).await;
}

#[tokio::test]
async fn a_record_or_batch_that_is_too_large_is_not_sent() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    let mut commit = write(Version::NONE, "");
    commit.record = Bytes::from(vec![0; 64 * 1024]);
    let version = applied(&store, "a", commit.clone()).await;
    commit.expected = version;
    commit.record = Bytes::from(vec![0; 64 * 1024 + 1]);
    let error = store.commit("a", commit).await.expect_err("too large");
    assert!(matches!(error, StoreError::TooLarge { bytes: 65_537, limit: 65_536, .. }), "{error:?}");
    let mut commit = batch(version, "x", 1);
    commit.batch = Some((BatchId { writer: 1, seq: 1 }, Bytes::from(vec![0; 64 * 1024 + 1])));
    let error = store.commit("a", commit).await.expect_err("too large");
    assert!(matches!(error, StoreError::TooLarge { .. }), "{error:?}");
}

#[tokio::test]
async fn an_outbox_is_bounded_rounds_are_cut_and_a_release_ends_them() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    applied(&store, "a", write(Version::NONE, "0")).await;
    let mut first = None;
    let mut at = Version::NONE;
    for seq in 1..=4_096 {
        let mut late = batch(Version(1), "+", seq);
        late.may_queue = true;
        match store.commit("a", late).await.expect("an answer") {
            Committed::Combine(on, round) => (at, first) = (on.version, Some(round)),
            Committed::Queued(_) => {}
            other => panic!("{seq}: {other:?}"),
        }
    }
    let mut late = batch(Version(1), "+", 4_097);
    late.may_queue = true;
    assert!(matches!(store.commit("a", late.clone()).await, Ok(Committed::Conflict(_))), "the outbox is full");
    // What did not fit is not remembered either.
    let take_in = |at, round: Round, release| {
        let mut commit = write(at, "sum");
        (commit.round, commit.release) = (Some(round), release);
        commit
    };
    let round = first.expect("a turn");
    let Ok(Committed::Combine(on, round)) = store.commit("a", take_in(at, round, false)).await else {
        panic!("there is more")
    };
    assert_eq!(round.batches.len(), 1_000);
    let version = applied(&store, "a", take_in(on.version, round, true)).await;
    assert!(matches!(store.commit("a", late).await, Ok(Committed::Combine(_, round)) if round.batches.len() == 1_000));
    assert_eq!(newest(&store, "a").await.expect("an answer").version, version);

    // Full again, and the writer whose turn it is does nothing: the one that gets the round brings its own batch.
    let (mut seq, deadline) = (4_098, Instant::now() + Duration::from_secs(60));
    loop {
        let mut late = batch(Version(1), "+", seq);
        late.may_queue = true;
        match store.commit("a", late).await.expect("an answer") {
            Committed::Queued(_) => seq += 1,
            Committed::Conflict(_) => {
                assert!(Instant::now() < deadline, "{seq}: no writer gets the round that has run out");
                sleep(Duration::from_millis(50)).await;
            }
            // Before it is full, where filling it took longer than the round was kept for it.
            Committed::Combine(..) if waiting(&server).await <= 4_096 => seq += 1,
            Committed::Combine(_, round) => break assert_eq!(round.batches.len(), 1_000),
            other => panic!("{seq}: {other:?}"),
        }
    }
    assert_eq!(waiting(&server).await, 4_097);
}

#[tokio::test]
async fn an_outbox_that_was_lost_takes_no_batches_of_the_next_with_it() {
    let server = Redis::start().await;
    let store = store_of(&server).await;
    applied(&store, "a", write(Version::NONE, "0")).await;
    let late = |seq| {
        let mut late = batch(Version(1), "+", seq);
        late.may_queue = true;
        late
    };
    let Ok(Committed::Combine(on, round)) = store.commit("a", late(1)).await else { panic!("a turn") };
    server.command(&format!("DEL {}", outbox_of(&server).await)).await;
    assert!(matches!(store.commit("a", late(2)).await, Ok(Committed::Queued(_))));
    let mut combined = write(on.version, "1");
    combined.round = Some(round);
    let answer = store.commit("a", combined).await.expect("an answer");
    assert!(matches!(&answer, Committed::Combine(_, round) if round.batches.len() == 1), "{answer:?}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let error = |builder: store::RedisStoreBuilder| builder.build().expect_err("an error");
    for url in ["", "http://127.0.0.1", "redis://:hunter2@:x", "127.0.0.1:6379", "redis://127.0.0.1/hunter2"] {
        let error = error(RedisStore::builder(url));
        assert_eq!(error.field(), "url", "{url}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    for namespace in ["", "a b", "a{b}", "ä", &"x".repeat(65)] {
        assert_eq!(error(RedisStore::builder("redis://h").namespace(namespace)).field(), "namespace");
    }
    assert_eq!(error(RedisStore::builder("redis://h").timeout(Duration::ZERO)).field(), "timeout");
    assert_eq!(error(RedisStore::builder("redis://h").connect_timeout(Duration::ZERO)).field(), "connect_timeout");
    assert!(matches!(RedisStore::connect("http://h").await, Err(StoreError::Refused(_))));
    if !cfg!(feature = "redis-tls") {
        assert!(error(RedisStore::builder("rediss://h")).allowed().contains("redis-tls"));
    }
}
