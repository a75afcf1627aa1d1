//! The side steps of the store in Redis.

use fusebox::store::RedisStore;

use super::*;
use crate::servers::Redis;

/// The rights that the document for operators lists, as they stand there.
fn rights() -> String {
    let document = include_str!("../../../docs/stores.md");
    let list = document.split("ACL SETUSER app on >password ~fb:{app:* &fb:{app:* ").nth(1).expect("a list");
    list.split("```").next().expect("its end").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The documentation of the type has the same.
#[test]
fn there_is_one_list_of_rights() {
    let source = include_str!("../../../src/store/redis/store.rs");
    let list = source.split("A user of the server needs, for these keys and channels:").nth(1).expect("a list");
    let list = list.split("; in a cluster").next().expect("its end");
    let mut named: Vec<_> = list.split('`').skip(1).step_by(2).map(str::to_lowercase).collect();
    let rights = rights();
    let mut listed: Vec<_> = rights.split(' ').filter_map(|right| right.strip_prefix('+')).map(str::to_owned).collect();
    named.sort();
    listed.sort();
    assert_eq!(named, listed);
}

async fn two(server: &Redis, user: &str) -> [Instance; 2] {
    server.command(&format!("ACL SETUSER app on >pw {user}")).await;
    let url = server.url().replace("redis://", "redis://app:pw@");
    let connect = || async { Instance::over(RedisStore::connect(url.as_str()).await.expect("connects")) };
    [connect().await, connect().await]
}

#[tokio::test]
async fn all_the_rights_that_are_listed_are_enough() {
    let server = Redis::start().await;
    let instances = two(&server, &format!("~fb:* &fb:* {}", rights())).await;
    let _breakers = opens_and_recovers(&instances).await;
    for instance in &instances {
        assert_eq!((instance.count(EventKind::StoreImpaired), instance.count(EventKind::StoreDegraded)), (0, 0));
    }
}

#[tokio::test]
async fn c57_one_who_may_not_publish_writes_all_the_same() {
    let server = Redis::start().await;
    let instances = two(&server, &format!("~fb:* resetchannels {}", rights())).await;
    let _breakers = opens_and_recovers(&instances).await;
    told_once(&instances, "not told of");
}

#[tokio::test]
async fn c57_one_who_may_not_subscribe_polls() {
    let server = Redis::start().await;
    let instances = two(&server, &format!("~fb:* &fb:* {} -subscribe", rights())).await;
    let _breakers = opens_and_recovers(&instances).await;
    told_once(&instances, "no notices can be heard");
}

/// The server's own words on what it was asked, and on what it refused.
#[tokio::test]
async fn the_rights_that_are_listed_are_enough_under_contention_and_each_is_used() {
    let server = Redis::start().await;
    server.command(&format!("ACL SETUSER app on >pw ~fb:* &fb:* {}", rights())).await;
    let url = server.url().replace("redis://", "redis://app:pw@");
    let connect = || async { RedisStore::connect(url.as_str()).await.expect("connects") };
    let mut instances = Vec::new();
    for _ in 0..10 {
        instances.push(Instance::over(connect().await));
    }
    fail_together(&instances).await;
    keeps_the_contract(connect().await).await;

    let refused = server.command("ACL LOG").await;
    assert!(matches!(&refused, ::redis::Value::Array(entries) if entries.is_empty()), "{refused:?}");
    let asked = format!("{:?}", server.command("INFO commandstats").await);
    // What is silent for long is asked whether it lives.
    let is_at_once = |right: &&str| *right != "ping";
    for right in rights().split(' ').filter_map(|right| right.strip_prefix('+')).filter(is_at_once) {
        assert!(asked.contains(&format!("cmdstat_{right}:")), "`{right}` is not needed: {asked}");
    }
}

#[tokio::test]
async fn one_who_only_looks_sees_breakers_with_the_rights_that_are_listed_for_that() {
    let document = include_str!("../../../docs/stores.md");
    let list = document.split("a dashboard that only looks | `").nth(1).and_then(|rest| rest.split('`').next());
    let server = Redis::start().await;
    let list = list.expect("a list").replace("~fb:{app:*", "~fb:*");
    server.command(&format!("ACL SETUSER eye on >pw {list}")).await;
    let instance = Instance::over(RedisStore::connect(server.url()).await.expect("connects"));
    let breaker = instance.breaker("payments");
    fail(&breaker, 1);
    breaker.flush().await;
    let key = key_of(&server, "payments").await;
    let client = ::redis::Client::open(server.url().replace("redis://", "redis://eye:pw@")).expect("a URL");
    let mut eye = client.get_multiplexed_async_connection().await.expect("connects");
    let seen: Vec<String> = ::redis::cmd("HMGET").arg(&key).arg("s").arg("f").query_async(&mut eye).await.expect("may");
    assert_eq!(seen, ["closed", "1"]);
    let found: (u64, Vec<String>) =
        ::redis::cmd("SCAN").arg(0).arg("COUNT").arg(1_000).query_async(&mut eye).await.expect("may");
    assert!(found.1.contains(&key), "{found:?}");
    let refused: Result<(), _> = ::redis::cmd("DEL").arg(&key).query_async(&mut eye).await;
    assert!(refused.is_err_and(|error| error.to_string().contains("no permissions")), "and nothing else");
}

#[tokio::test]
async fn what_works_again_is_told_to_those_who_heard_that_it_did_not() {
    // Who may use no channel can neither publish nor subscribe.
    for (without, troubles) in [("~fb:* resetchannels", 2), ("~fb:* &fb:* -subscribe", 1)] {
        let server = Redis::start().await;
        let [one, other] = two(&server, &format!("{} {without}", rights())).await;
        let breakers = [one.breaker("payments"), other.breaker("payments")];
        breakers[0].trip().expect("no override");
        until("it is told", || one.count(EventKind::StoreImpaired) == troubles).await;
        assert_eq!(one.count(EventKind::StoreMended), 0);
        server.command(&format!("ACL SETUSER app {} ~fb:* &fb:*", rights())).await;
        breakers[0].reset().expect("no override");
        until("its end is told", || one.count(EventKind::StoreMended) == troubles).await;
        assert_eq!((one.count(EventKind::StoreImpaired), one.count(EventKind::StoreDegraded)), (troubles, 0));
    }
}

#[tokio::test]
async fn c57_where_what_changed_cannot_be_noted_the_write_stands() {
    let server = Redis::start().await;
    let instances = two(&server, &format!("~fb:* &fb:* {}", rights())).await;
    for shard in 0..16 {
        server.command(&format!("SET fb:{{fb:{shard}}}:ch junk")).await;
    }
    let _breakers = opens_and_recovers(&instances).await;
    told_once(&instances, "WRONGTYPE");
}

/// The key of a breaker's record.
async fn key_of(server: &Redis, name: &str) -> String {
    for shard in 0..16 {
        let key = format!("fb:{{fb:{shard}}}:r:{name}");
        if server.command(&format!("EXISTS {key}")).await == ::redis::Value::Int(1) {
            return key;
        }
    }
    panic!("{name} has no record");
}

#[tokio::test]
async fn c55_a_key_that_strangers_have_spoilt_is_the_trouble_of_its_breaker_alone() {
    for spoil in [
        "DEL {key};SET {key} junk",
        "HSET {key} v -1",
        "HSET {key} v 9e30",
        "DEL {key};HSET {key} x 1",
        "HSET {key} r {large}",
    ] {
        let server = Redis::start().await;
        let [one, other] = two(&server, &format!("~fb:* &fb:* {}", rights())).await;
        let spoilt = one.breaker("spoilt");
        fail(&spoilt, 1);
        spoilt.flush().await;
        let key = key_of(&server, "spoilt").await;
        for command in spoil.split(';') {
            let command = command.replace("{key}", &key).replace("{large}", &"x".repeat(20 << 20));
            server.command(&command).await;
        }
        the_neighbour_goes_on(&one, &other, &spoilt, true).await;
    }
}

#[tokio::test]
async fn c55_a_right_that_is_missing_for_one_key_is_the_trouble_of_its_breaker_alone() {
    let server = Redis::start().await;
    let [one, other] = two(&server, &format!("~fb:*:neighbour ~fb:*:ch &fb:* {}", rights())).await;
    let spoilt = one.breaker("spoilt");
    fail(&spoilt, 1);
    the_neighbour_goes_on(&one, &other, &spoilt, true).await;
}

#[tokio::test]
async fn c55_one_foreign_key_among_ten_is_the_trouble_of_its_breaker_alone() {
    let server = Redis::start().await;
    let [one, other] = two(&server, &format!("~fb:* &fb:* {}", rights())).await;
    let _told = ten_that_failed(&one).await;
    let key = key_of(&server, "spoilt").await;
    server.command(&format!("DEL {key}")).await;
    server.command(&format!("RPUSH {key} foreign")).await;
    ten_are_loaded_together(&other).await;
}

#[tokio::test]
async fn junk_among_the_batches_leaves_with_the_round() {
    let server = Redis::start().await;
    let [one, other] = two(&server, &format!("~fb:* &fb:* {}", rights())).await;
    let spoilt = one.breaker("spoilt");
    fail(&spoilt, 1);
    spoilt.flush().await;
    let outbox = key_of(&server, "spoilt").await.replace(":r:", ":o:");
    for junk in ["zzz", "1:2", "a:b:c", "9:1:junk"] {
        server.command(&format!("RPUSH {outbox} {junk}")).await;
    }
    fail(&spoilt, 1);
    timeout(Duration::from_secs(10), spoilt.flush()).await.expect("a flush returns");
    until("the outbox is empty", || one.count(EventKind::BatchUnreadable) > 0).await;
    assert_eq!(server.command(&format!("LLEN {outbox}")).await, ::redis::Value::Int(0));
    fail(&spoilt, 1);
    until("what was told counts", || spoilt.is_open()).await;
    drop(other);
}

#[tokio::test]
async fn a_large_record_of_another_does_not_come_over_the_wire() {
    let server = Redis::start().await;
    let store = RedisStore::connect(server.url()).await.expect("connects");
    let instance = Instance::over(RedisStore::connect(server.url()).await.expect("connects"));
    let breaker = instance.breaker("spoilt");
    fail(&breaker, 1);
    breaker.flush().await;
    drop(breaker);
    let key = key_of(&server, "spoilt").await;
    server.command(&format!("HSET {key} r {}", "x".repeat(64 << 20))).await;
    let started = Instant::now();
    let answers = store.load_each(&["spoilt", "other"]).await;
    assert!(matches!(answers[0], Err(StoreError::TooLarge { bytes: 67_108_864, .. })), "{:?}", answers[0]);
    assert!(answers[1].is_ok(), "{:?}", answers[1]);
    assert!(started.elapsed() < Duration::from_millis(500), "{:?}", started.elapsed());
}
