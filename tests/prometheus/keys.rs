//! A scrape of many keys: how large it is, and that it is as Prometheus wants it.

use std::sync::Barrier;

use fusebox::{CircuitBreakerConfig, Registry};

use crate::app::App;
use crate::cast::{Ask, Stage};
use crate::server::promtool;
use crate::support::timer_now;

const THREADS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_keys_of_sixteen_threads_are_a_body_of_64_kb_at_most() {
    let stage = Stage::new("keys");
    let checkout = stage.guarded("checkout", |builder| builder);
    checkout.ask(Ask::Succeed).await;
    let app = App::serve(checkout).await;
    let hosts = Registry::new(|key| CircuitBreakerConfig::builder(key).build()).named("keys/hosts");
    // The threads live while it is scraped: each has counters of its own.
    let (made, scraped) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let runtime = tokio::runtime::Handle::current();
    let body = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for nth in 0..10_000 {
                        let host = hosts.breaker(&format!("host-{nth}.a-name-of-usual-length.example.org"));
                        host.expect("a template that works").acquire().expect("closed").success();
                    }
                    made.wait();
                    scraped.wait();
                });
            }
            made.wait();
            for nth in 0..500 {
                let host = hosts.get(&format!("host-{nth}.a-name-of-usual-length.example.org"));
                host.expect("it is there").trip().expect("no override");
            }
            let began = timer_now();
            let body = runtime.block_on(app.body("/metrics"));
            println!("{} bytes within {:?}, over HTTP", body.len(), began.elapsed());
            scraped.wait();
            body
        })
    });
    let calls = format!("registry=\"keys/hosts\",outcome=\"success\"}} {}\n", THREADS * 10_000);
    assert!(body.contains(&calls), "{calls} is not in {body}");
    // Other tests of the process may have breakers of their own.
    let ours = body.lines().filter(|line| line.starts_with('#') || line.contains("=\"keys/"));
    let size: usize = ours.map(|line| line.len() + 1).sum();
    assert!((20_000..=64 * 1024).contains(&size), "{size} bytes");
}

/// Prometheus' own opinion on names, types and texts of help.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promtool_finds_nothing_wrong_with_what_is_scraped() {
    let stage = Stage::new("promtool");
    let checkout = stage.guarded("\"check\\out\"\n🐈", |builder| builder);
    let prices = stage.retry("prices", |builder| builder);
    assert!(stage.retried(&prices, "prices", 1).await);
    let hosts = Registry::new(|key| CircuitBreakerConfig::builder(key).build()).named("promtool hosts");
    let key = hosts.breaker("example.org").expect("a template that works");
    key.trip().expect("no override");
    checkout.breaker.trip().expect("no override");
    let app = App::serve(checkout).await;
    let client = app.body("/metrics").await;
    let facade = app.body("/facade").await;
    assert!(facade.contains("# TYPE fusebox_breaker_calls_total counter"), "{facade}");
    assert_eq!(promtool(&["check", "metrics"], facade.as_bytes()), "");
    // It reads the older format, in which a counter is called by its whole name where its type and its help are told.
    let older = older(&client);
    assert_eq!(promtool(&["check", "metrics"], older.as_bytes()), "", "{older}");
    // The facade's recorder may also remember what others of the process had.
    let missing = older.lines().filter(|line| line.starts_with("# TYPE ") && !facade.contains(line));
    assert_eq!(missing.collect::<Vec<_>>(), [""; 0], "the same families through either bridge");
}

fn older(open_metrics: &str) -> String {
    let counters = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let counters: Vec<_> = counters.collect();
    let lines = open_metrics.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF").map(|line| {
        let about = ["# HELP ", "# TYPE "].into_iter().find_map(|about| Some((about, line.strip_prefix(about)?)));
        let named = about.and_then(|(about, rest)| Some((about, rest.split_once(' ')?)));
        match named {
            Some((about, (name, rest))) if counters.contains(&name) => format!("{about}{name}_total {rest}\n"),
            _ => format!("{line}\n"),
        }
    });
    lines.collect()
}
