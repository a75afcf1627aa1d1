//! What changed, as real servers tell it, also where something went wrong between.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::time::Duration;

use bytes::Bytes;
use fusebox::store::{Changes, Commit, Store, Summary, Version};

const TTL: Duration = Duration::from_secs(600);

fn tells(expected: Version) -> Commit {
    let mut commit = Commit::new(expected, Bytes::from_static(b"record"), Summary::closed(1), TTL);
    commit.notice = Some(Bytes::from_static(b"notice"));
    commit
}

async fn begin(store: &impl Store) -> Bytes {
    match store.changes(None).await.expect("answers") {
        Changes::Restart { cursor, .. } => cursor,
        other => panic!("{other:?}"),
    }
}

/// What changed, in order of the names, and where to go on.
async fn since(store: &impl Store, cursor: &Bytes) -> Option<(Vec<String>, Bytes)> {
    match store.changes(Some(cursor)).await.expect("answers") {
        Changes::Since { mut keys, cursor, .. } => {
            keys.sort();
            Some((keys, cursor))
        }
        _ => None,
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use fusebox::store::PostgresStore;
    use sqlx::{ConnectOptions, Row};

    use super::*;
    use crate::postgres_server::{Database, Server};

    async fn store(database: &Database, prepared: bool) -> PostgresStore {
        PostgresStore::migrate(database.url()).await.expect("migrates");
        let builder = PostgresStore::builder().url(database.url()).prepared(prepared).namespace("shop");
        builder.connect().await.expect("connects")
    }

    #[tokio::test]
    async fn what_a_transaction_wrote_is_told_when_it_is_over_however_late() {
        for prepared in [false, true] {
            let database = Database::fresh().await;
            let store = store(&database, prepared).await;
            let cursor = begin(&store).await;
            let mut slow = database.options().connect().await.expect("connects");
            let write = "begin; select answer from hw_circuit_breakers_commit_v2('shop:slow', 0, 'x', 600000000, 'CLOSED', 0, \
                         null, 1, null, null, null, false, null, null, false, '73686f70 736c6f77 00', 'x')";
            let rows = sqlx::raw_sql(write).fetch_all(&mut slow).await.expect("writes");
            assert_eq!(rows[0].get::<i32, _>(0), 1, "applied");
            // Others come later and are over sooner.
            for key in ["a", "b"] {
                store.commit(key, tells(Version::NONE)).await.expect("commits");
            }
            let (keys, cursor) = since(&store, &cursor).await.expect("nothing is lost");
            assert_eq!(keys, ["a", "b"]);
            let (keys, cursor) = since(&store, &cursor).await.expect("nothing is lost");
            assert_eq!(keys, [""; 0], "each once, though one is not over");
            sqlx::raw_sql("commit").execute(&mut slow).await.expect("commits");
            let (keys, cursor) = since(&store, &cursor).await.expect("nothing is lost");
            assert_eq!(keys, ["slow"]);
            assert_eq!(since(&store, &cursor).await.expect("nothing is lost").0, [""; 0]);
        }
    }

    #[tokio::test]
    async fn of_another_namespace_nothing_is_told_and_long_names_come_back() {
        let database = Database::fresh().await;
        let shop = store(&database, false).await;
        let plain = PostgresStore::connect(database.url()).await.expect("connects");
        let (of_shop, of_all) = (begin(&shop).await, begin(&plain).await);
        let long = "x".repeat(300);
        for key in ["a", long.as_str()] {
            shop.commit(key, tells(Version::NONE)).await.expect("commits");
            plain.commit(key, tells(Version::NONE)).await.expect("commits");
        }
        plain.commit("b", tells(Version::NONE)).await.expect("commits");
        assert_eq!(since(&shop, &of_shop).await.expect("nothing is lost").0, ["a", long.as_str()]);
        assert_eq!(since(&plain, &of_all).await.expect("nothing is lost").0, ["a", "b", long.as_str()]);
    }

    #[tokio::test]
    async fn after_a_restart_of_the_server_all_is_to_be_loaded() {
        let server = tokio::task::spawn_blocking(Server::start).await.expect("starts");
        let database = server.database().await;
        let store = store(&database, false).await;
        let cursor = begin(&store).await;
        let (server, _) = tokio::task::spawn_blocking(move || {
            server.stop();
            server.start_again();
            (server, ())
        })
        .await
        .expect("starts again");
        let mut answer = store.changes(Some(&cursor)).await;
        for _ in 0..50 {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            answer = store.changes(Some(&cursor)).await;
        }
        assert!(matches!(answer, Ok(Changes::Restart { .. })), "{answer:?}");
        drop(server);
    }

    #[tokio::test]
    async fn very_many_changes_are_a_restart() {
        let database = Database::fresh().await;
        let store = store(&database, false).await;
        let cursor = begin(&store).await;
        database
            .run(
                "insert into hw_circuit_breakers_events (resource_key, version, at, state, payload) \
                 select 'shop:' || n, n, now(), 'OPEN', 'x' from generate_series(1, 5000) n",
            )
            .await;
        assert!(since(&store, &cursor).await.is_none());
    }
}

#[cfg(all(feature = "redis", unix))]
mod redis {
    use fusebox::store::RedisStore;

    use super::*;
    use crate::servers::Redis;

    #[tokio::test]
    async fn what_is_lost_is_a_restart() {
        let server = Redis::start().await;
        let store = RedisStore::connect(server.url()).await.expect("connects");
        let empty = begin(&store).await;
        store.commit("a", tells(Version::NONE)).await.expect("commits");
        let (keys, cursor) = since(&store, &empty).await.expect("nothing is lost");
        assert_eq!(keys, ["a"]);
        server.command("FLUSHALL").await;
        assert!(since(&store, &cursor).await.is_none(), "all is gone");
        store.commit("b", tells(Version::NONE)).await.expect("commits");
        assert_eq!(since(&store, &empty).await.expect("it was empty then, too").0, ["b"]);
        // In the shard of `a` there is another set by now.
        store.commit("a", tells(Version::NONE)).await.expect("commits");
        assert!(since(&store, &cursor).await.is_none(), "what was lost between is not known");
    }

    #[tokio::test]
    async fn a_write_that_a_failover_lost_is_a_restart() {
        let server = Redis::start().await;
        let store = RedisStore::connect(server.url()).await.expect("connects");
        let first = begin(&store).await;
        store.commit("a", tells(Version::NONE)).await.expect("commits");
        let (_, cursor) = since(&store, &first).await.expect("nothing is lost");
        let set = (0..16).map(|shard| format!("fb:{{fb:{shard}}}:ch"));
        for key in set {
            server.command(&format!("ZREM {key} a")).await;
        }
        assert!(since(&store, &cursor).await.is_none());
    }

    #[tokio::test]
    async fn more_changes_than_a_shard_remembers_are_a_restart_for_those_who_missed_some() {
        let server = Redis::start().await;
        let store = RedisStore::connect(server.url()).await.expect("connects");
        store.commit("a", tells(Version::NONE)).await.expect("commits");
        let old = begin(&store).await;
        for shard in 0..16 {
            let key = format!("fb:{{fb:{shard}}}:ch");
            let mut names = String::new();
            for n in 0..4_200_u64 {
                names.push_str(&format!(" {} name-{n}", 2_000_000_000_000_000 + n));
            }
            server.command(&format!("ZADD {key} 0 #1{names}")).await;
        }
        let after = begin(&store).await;
        store.commit("b", tells(Version::NONE)).await.expect("commits");
        assert!(since(&store, &old).await.is_none(), "more than it remembers");
        assert_eq!(since(&store, &after).await.expect("nothing is lost").0, ["b"]);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_hides_no_change() {
        let server = Redis::start().await;
        let store = RedisStore::connect(server.url()).await.expect("connects");
        store.commit("a", tells(Version::NONE)).await.expect("commits");
        for shard in 0..16 {
            let key = format!("fb:{{fb:{shard}}}:ch");
            // As if a name had changed in a year to come.
            server.command(&format!("ZADD {key} 0 #1 5000000000000000 later")).await;
        }
        let cursor = begin(&store).await;
        let (keys, cursor) = since(&store, &cursor).await.expect("nothing is lost");
        assert_eq!(keys, [""; 0]);
        store.commit("b", tells(Version::NONE)).await.expect("commits");
        assert_eq!(since(&store, &cursor).await.expect("nothing is lost").0, ["b"]);
    }
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_lease_from_the_future_holds_up_no_writer() {
    use fusebox::store::{BatchId, Committed, PostgresStore};

    let database = crate::postgres_server::Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let store = PostgresStore::connect(database.url()).await.expect("connects");
    let Ok(Committed::Applied { version, .. }) = store.commit("a", tells(Version::NONE)).await else {
        panic!("there is no other writer");
    };
    database.run("update hw_circuit_breakers set lease_until = now() + interval '1 hour', lease_token = 7").await;
    let applied = store.commit("a", tells(version)).await.expect("commits");
    assert!(matches!(applied, Committed::Applied { .. }), "{applied:?}");
    database.run("update hw_circuit_breakers set lease_until = now() + interval '1 hour', lease_token = 7").await;
    let mut late = tells(version);
    late.batch = Some((BatchId { writer: 1, seq: 1 }, Bytes::from_static(b"+")));
    late.may_queue = true;
    let combines = store.commit("a", late).await.expect("commits");
    assert!(matches!(&combines, Committed::Combine(_, round) if round.batches.len() == 1), "{combines:?}");
}
