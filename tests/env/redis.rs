//! Redis and Sentinels, real ones.

use fusebox::store::{RedisStore, Store};

use crate::process::Process;
use crate::servers::Redis;

/// What the process wrote, seen by another one.
async fn written(url: String) -> String {
    let store = RedisStore::connect(url).await.expect("connects");
    let stored = store.load(&["env"]).await.expect("loads").remove(0);
    String::from_utf8(stored.record.to_vec()).expect("text")
}

#[tokio::test]
async fn a_redis_url_gives_that_store() {
    let server = Redis::start().await;
    let seen = Process::new().required().write().set("FUSEBOX_STORE_URL", &server.url()).end();
    assert_eq!(seen.line("store"), "a store in Redis, of `FUSEBOX_STORE_URL`");
    assert_eq!((seen.line("source"), seen.line("degraded"), seen.line("written")), ("StoreUrl", "", "well"));
    assert_eq!(written(server.url()).await, "written");
    let address = format!("RedisStore {{ address: 127.0.0.1:{}", server.port());
    assert!(seen.line("debug").contains(&address), "{}", seen.line("debug"));
}

#[tokio::test]
async fn a_namespace_is_the_stores() {
    let server = Redis::start().await;
    let asked = Process::new().required().write().set("FUSEBOX_STORE_NAMESPACE", "shop");
    assert_eq!(asked.set("FUSEBOX_STORE_URL", &server.url()).end().line("written"), "well");
    let store = |namespace| RedisStore::builder(server.url()).namespace(namespace).connect();
    assert_eq!(store("shop").await.expect("connects").keys().await.expect("lists"), ["env"]);
    assert!(store("fb").await.expect("connects").keys().await.expect("lists").is_empty());
}

#[tokio::test]
async fn a_password_is_used_and_never_shown() {
    let server = Redis::start_with(&["--requirepass", "pa/s@s0rd"]).await;
    let url = server.url_with("pa%2Fs%40s0rd");
    let seen = Process::new().required().write().set("FUSEBOX_STORE_URL", &url).end();
    assert_eq!((seen.line("degraded"), seen.line("written")), ("", "well"));
    seen.has_no("s0rd");

    let wrong = server.url_with("wr0ng");
    let seen = Process::new().set("FUSEBOX_STORE_URL", &wrong).end();
    assert!(seen.line("degraded").contains("the store refused"), "{}", seen.line("degraded"));
    seen.has_no("wr0ng");
    let seen = Process::new().required().set("FUSEBOX_STORE_URL", &wrong).end();
    let error = seen.line("error");
    assert!(error.starts_with("StoreUrl: the store of `FUSEBOX_STORE_URL` is required: the store refused"), "{error}");
    seen.has_no("wr0ng");
}

#[tokio::test]
async fn sentinels_lead_to_the_primary_with_its_password_and_database() {
    let server = Redis::start().await;
    let sentinel = server.sentinel().await;
    server.command("CONFIG SET requirepass pa/s@s0rd").await;
    sentinel_knows(&sentinel, "pa/s@s0rd").await;
    // The first of them is not there.
    let hosts = format!("127.0.0.1:1,127.0.0.1:{}", sentinel.port());
    let url = format!("redis+sentinel://:pa%2Fs%40s0rd@{hosts}/main/3");
    let seen = Process::new().required().write().set("FUSEBOX_STORE_URL", &url).end();
    assert_eq!(seen.line("store"), "a store in Redis, of `FUSEBOX_STORE_URL`");
    assert_eq!((seen.line("degraded"), seen.line("written")), ("", "well"));
    seen.has_no("s0rd");
    assert_eq!(written(format!("{}/3", server.url_with("pa%2Fs%40s0rd"))).await, "written");

    let nobody = format!("redis+sentinel://{hosts}/another");
    let seen = Process::new().set("FUSEBOX_STORE_URL", &nobody).end();
    assert_ne!(seen.line("degraded"), "", "no Sentinel knows `another`");
}

/// Without it, it would take the primary for dead.
async fn sentinel_knows(sentinel: &Redis, password: &str) {
    sentinel.command(&format!("SENTINEL SET main auth-pass {password}")).await;
}

#[tokio::test]
async fn a_start_without_the_server_is_degraded_and_mends_itself() {
    let mut server = Redis::start().await;
    server.kill();
    let seen = Process::new().required().set("FUSEBOX_STORE_URL", &server.url()).end();
    let error = seen.line("error");
    assert!(error.starts_with("StoreUrl: the store of `FUSEBOX_STORE_URL` is required: the store was not"), "{error}");

    let mut process = Process::new().write().set("FUSEBOX_STORE_URL", &server.url()).start();
    process.until("degraded");
    server.start_again().await;
    let seen = process.end();
    let store = seen.line("store");
    assert!(store.starts_with("a store in Redis, of `FUSEBOX_STORE_URL`, degraded: the store was not"), "{store}");
    assert_eq!(seen.line("written"), "well", "it is back");
    assert_eq!(written(server.url()).await, "written");
}

#[tokio::test]
async fn a_server_that_says_nothing_holds_a_start_up_for_about_a_second() {
    let server = Redis::start().await;
    server.freeze();
    let seen = Process::new().set("FUSEBOX_STORE_URL", &server.url()).end();
    assert!(seen.line("degraded").contains("no answer to a dial within 1s"), "{}", seen.line("degraded"));
    let took: u32 = seen.line("took").parse().expect("a number");
    assert!((900..5_000).contains(&took), "{took} ms");
    server.thaw();
}

#[tokio::test]
async fn sentinels_that_say_nothing_are_passed_over() {
    let server = Redis::start().await;
    let (silent, alive) = (server.sentinel().await, server.sentinel().await);
    silent.freeze();
    let url = format!("redis+sentinel://127.0.0.1:{},127.0.0.1:{}/main", silent.port(), alive.port());
    let seen = Process::new().write().set("FUSEBOX_STORE_URL", &url).end();
    assert_eq!((seen.line("degraded"), seen.line("written")), ("", "well"));

    alive.freeze();
    let seen = Process::new().set("FUSEBOX_STORE_URL", &url).end();
    assert!(seen.line("degraded").starts_with("the store was not reached"), "{}", seen.line("degraded"));
    let took: u32 = seen.line("took").parse().expect("a number");
    assert!((900..8_000).contains(&took), "{took} ms");
    silent.thaw();
    alive.thaw();
}

#[cfg(feature = "redis-tls")]
#[tokio::test]
async fn a_rediss_url_wants_an_encrypted_connection() {
    let server = Redis::start().await;
    let url = server.url_with("pa%2Fs%40s0rd").replace("redis://", "rediss://");
    let seen = Process::new().set("FUSEBOX_STORE_URL", &url).end();
    assert_ne!(seen.line("degraded"), "", "the server speaks in clear");
    seen.has_no("s0rd");
}
