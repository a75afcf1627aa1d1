//! The operator's program against a real server.
#![cfg(all(feature = "env", feature = "redis"))]
#![expect(clippy::expect_used, reason = "a test harness")]

use std::env::{consts::EXE_SUFFIX, current_exe};
use std::process::Command;
use std::sync::Arc;

use fusebox::store::{RedisStore, Store};
use fusebox::{CircuitBreaker, CircuitBreakerConfig, State};
use servers::Redis;

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "stores/servers.rs"]
mod servers;

/// Runs the program; returns whether it ended well, and what it said.
fn admin(store: &str, command: &str) -> (bool, String) {
    let test = current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<this test>");
    let program = profile.join("examples").join(format!("fleet_admin{EXE_SUFFIX}"));
    let run = Command::new(program).args(command.split(' ')).env("FUSEBOX_STORE_URL", store).output();
    let run = run.expect("`cargo build --examples --all-features` builds it");
    let said = [run.stdout, run.stderr].concat();
    (run.status.success(), String::from_utf8(said).expect("UTF-8").trim_end().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_needs_no_code_of_the_application() {
    let server = Redis::start().await;
    let url = server.url();
    let store: Arc<dyn Store> = Arc::new(RedisStore::connect(url.as_str()).await.expect("a server"));
    let config = CircuitBreakerConfig::builder("pay/ments").store(store).build().expect("a config");
    let breaker = CircuitBreaker::new(config);
    breaker.acquire().expect("closed").failure();
    breaker.flush().await;

    let ok = |command: &str, said: &str| {
        let (ended_well, text) = admin(&url, command);
        assert!(ended_well && text.contains(said), "{command}: {text}");
    };
    ok("check", "the store answers");
    ok("list", "pay/ments: closed");
    ok("trip pay/ments --cooldown 300", "pay/ments: open (tripped by command), retry in");
    breaker.flush().await;
    assert_eq!(breaker.state(), State::Open, "the application's breaker is the same one");
    ok("force pay/ments incident 7 --actor ana --for 60", "open (forced open: incident 7 (by ana)), retry in");
    breaker.flush().await;
    let rejected = breaker.acquire().expect_err("forced open").to_string();
    assert!(rejected.contains("incident 7 (by ana)"), "{rejected}");

    let (ended_well, text) = admin(&url, "reset pay/ments");
    assert!(
        !ended_well && text.contains("is overridden (forced open: incident 7 (by ana)): resume it first"),
        "{text}"
    );
    let (ended_well, text) = admin(&url, "disable pay/ments");
    assert!(!ended_well && text.contains("say why"), "{text}");
    ok("resume pay/ments", "pay/ments: closed");
    breaker.flush().await;
    assert_eq!(breaker.state(), State::Closed);

    drop(server);
    let (ended_well, text) = admin(&url, "list");
    assert!(!ended_well && !text.is_empty(), "{text}");
}
