//! Every example runs, ends well and says what its documentation promises.
//!
//! Cargo builds the examples along with the tests (`cargo test`, `cargo nextest run`), and they are run as they then lie
//! next to this test: starting cargo from inside a test would wait for the lock of the build that runs it. Where only
//! some targets are asked for (`--test examples`, `--tests`), cargo builds no examples, and those of the last build run.

use std::collections::BTreeSet;
use std::env::{consts::EXE_SUFFIX, current_exe};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One test for each example, and the list of them.
macro_rules! examples {
    ($($example:literal: $(#[$when:meta])* fn $test:ident($out:ident) $check:block)*) => {
        const TESTED: &[&str] = &[$($example),*];
        $(
            $(#[$when])*
            #[test]
            fn $test() {
                let $out = Output::of($example);
                $check
            }
        )*
    };
}

examples! {
    "quickstart": fn quickstart_opens_recovers_and_writes_plain_lines_to_a_pipe(out) {
        out.has_in_order(&[
            "the servers fall ill",
            "inventory: closed -> open (",
            "inventory: open -> half-open (the cooldown is over)",
            "the servers are well again",
            "inventory: half-open -> closed (probes succeeded)",
            "with breaker       without",
            "The breaker let ",
        ]);
        let [sent, unguarded] = out.last_two_numbers("requests sent by callers");
        assert_eq!((sent, unguarded), (1000, 1000));
        let [guarded, unguarded] = out.last_two_numbers("requests that reached the server while sick");
        assert!(guarded < unguarded / 2, "the breaker keeps the load away: {guarded} against {unguarded}");
        let [rejected, none] = out.last_two_numbers("of those rejected at once");
        assert!(rejected > 0 && none == 0, "only a breaker rejects: {rejected} and {none}");
        out.has_no_escape_sequence();
        let widest = out.text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{widest:?} columns, a terminal has 80");
    }

    "axum_server": #[cfg(feature = "axum")] fn axum_server_opens_one_route_and_keeps_the_other(out) {
        out.has_in_order(&[
            "/prices/{sku}: closed -> open (3 failures in 4 calls)",
            "GET /prices/4  503 Service Unavailable   retry-after: 1",
            "GET /stock/4   200 OK",
            "/prices/{sku}: half-open -> closed (probes succeeded)",
            "GET /prices/5  200 OK",
        ]);
        assert!(!out.text.contains("/stock/{sku}: closed ->"), "the other route's breaker stays closed:\n{}", out.text);
    }

    "health": #[cfg(all(feature = "axum", feature = "grpc"))] fn health_stays_for_a_dependency_and_leaves_for_a_critical_breaker(out) {
        out.has_in_order(&[
            "All is well:",
            "GET /ready  200 OK  { \"status\": \"up\"",
            "Check(\"shop.Prices\")  SERVING",
            "The search is down",
            "GET /ready  200 OK  { \"status\": \"degraded\"",
            "Check(\"shop.Prices\")  SERVING",
            "The database is",
            "GET /ready  503 Service Unavailable  { \"status\": \"down\"",
            "GET /live   200 OK  alive",
            "Check(\"shop.Prices\")  NOT_SERVING",
            "Check(\"\")  SERVING",
            "Both are back:",
            "GET /ready  200 OK  { \"status\": \"up\"",
            "Check(\"shop.Prices\")  SERVING",
        ]);
    }

    "balance": #[cfg(feature = "http")] fn balance_lets_the_ill_server_drop_out_and_return(out) {
        let of = |round| -> [u64; 6] {
            let line = out.text.lines().find_map(|line| line.trim_start().strip_prefix(round)).expect(round);
            numbers(line).try_into().expect("five servers, and the failures")
        };
        for round in ["3 falls ill", "its circuit is open", "a probe finds it ill"] {
            let row = of(round);
            assert_eq!((row[2], row[..5].iter().sum::<u64>()), (row[5], 100), "only it fails:\n{}", out.text);
            // How many probes there are is up to how fast the machine is.
            assert!(row[5] < 8, "it has dropped out:\n{}", out.text);
        }
        assert!(of("3 falls ill")[2] >= 2 && of("a probe finds it ill")[2] >= 1, "{}", out.text);
        for round in ["all are well", "a probe finds it well"] {
            let row = of(round);
            assert!(row[..5].iter().all(|&asked| asked > 2) && row[5] == 0, "{round}:\n{}", out.text);
        }
    }

    "config_templates": #[cfg(feature = "serde")] fn config_templates_guards_each_host_by_its_own_template(out) {
        out.has_in_order(&[
            "retries of reads:   3 retries, exponential 1ms..=20ms, full jitter, budget 0.2 of requests + 10/s, 10s in all",
            "retries of orders:  0 retries, ",
            "* ill.example: closed -> open",
            "good.example           8        8  failure_rate(0.8).of_last(10).min_calls(5)",
            "flaky.example          8       16  failure_rate(0.8).of_last(10)",
            "ill.example            0        2  consecutive_failures(2)",
            "10 retries, all within one budget: ",
            "TOML parse error at line 2, column 30",
            "`registries.hosts.keys.\"ill.example\".detector.any[0].type` is \"consecutive_failure\", allowed is ",
            "did you mean `consecutive_failures`?",
        ]);
        assert_eq!(out.text.matches("  * ").count(), 1, "only the ill host's breaker opens:\n{}", out.text);
    }

    "custom_detector": fn custom_detector_trips_on_a_burst_and_loads_what_it_saved(out) {
        out.has_in_order(&[
            "30 s  failed    1          closed",
            "74 s  failed    3          open      3 failures",
            "80 s  rejected",
            "104 s  ok        0          closed    probes succeeded",
            "saved 2 failures, loaded 2 failures",
            "detector state cannot be loaded",
        ]);
    }

    "file_store": #[cfg(feature = "fleet")] fn file_store_keeps_the_contract_and_shows_a_conflict(out) {
        out.has_in_order(&[
            " checks passed",
            "queues what loses a race:  no",
            "tells watchers of changes: no",
            "lists its keys:            no",
            "one writes `open` over ``: applied",
            "two reads `open`",
            "two writes `half-open` over `open`: applied",
            "one writes `closed` over `open`: conflict, the newest is `half-open`",
        ]);
    }

    "fleet": #[cfg(feature = "redis")] fn fleet_opens_probes_and_recovers_as_one(out) {
        out.has_in_order(&[
            "5 processes, one breaker, shared through a private redis-server",
            "all 5 instances open",
            "1 of them decided",
            "probes, while all others ask and are rejected",
            "0 other calls have gone out",
            "is killed in the middle of its probe",
            "all 4 instances left are closed",
            "calls go through",
        ]);
    }

    "gateway": #[cfg(all(feature = "axum", feature = "env", feature = "grpc", feature = "reqwest", feature = "serde"))]
    fn gateway_answers_what_it_can_while_one_service_after_the_other_is_ill(out) {
        out.has_in_order(&[
            "The breakers' state is in a store in memory",
            "x 200  107 cents, 70 left, 3 stars",
            "reviews.internal: closed -> open",
            "12 x 200  107 cents, 70 left, no reviews today",
            "stock.internal: closed -> open",
            "x 503  retry-after: ",
            "x 504",
            "prices: closed -> open",
            "x 502",
            "x 503  retry-after: ",
            "stock.internal: half-open -> closed",
            "x 200  107 cents, 70 left, 3 stars",
            "reviews.internal: closed (probes succeeded)",
        ]);
    }

    "grpc": #[cfg(feature = "grpc")] fn grpc_breakers_wait_for_trailers_and_reject_with_pushback(out) {
        out.has_in_order(&[
            "Get(7)     107 cents",
            "Get(none)  NotFound: no such price",
            "attempt 1 failed, next in 10ms",
            "attempt 2 succeeded",
            "Get(7)     107 cents",
            "Watch(7)   Internal: lost the warehouse",
            "shop: closed -> open (2 failures)",
            "Watch(7)   Internal: lost the warehouse",
            "attempt 1 failed, given up: rejected by a circuit breaker",
            "Get(7)     Unavailable: circuit breaker `shop` is open (2 failures), retry in ",
            " (pushback: ",
            "a gateway answers 503 Service Unavailable, Retry-After: 30",
            "The server's side",
            "Watch(7)   Unavailable: circuit breaker `shop.Prices/Watch` is open (2 failures), retry in ",
            " (pushback: ",
            "Get(7)     107 cents",
        ]);
        assert!(out.text.contains("shop.Prices/Watch: closed -> open (2 failures)"), "{}", out.text);
        assert_eq!(out.text.matches("a gateway answers").count(), 1, "what a server says is no rejection: {}", out.text);
        assert!(!out.text.contains("shop.Prices/Get: closed ->"), "{}", out.text);
    }

    "keyed_hosts": #[cfg(feature = "http")] fn keyed_hosts_opens_the_breaker_of_the_sick_host_only(out) {
        let rows = |health| out.text.lines().filter(move |line| line.contains(health)).map(numbers);
        assert_eq!(rows(" healthy ").map(|row| row[row.len() - 3..].to_vec()).collect::<Vec<_>>(), [[20, 0, 0]; 2]);
        assert_eq!(rows(" sick ").map(|row| row[row.len() - 3..].to_vec()).collect::<Vec<_>>(), [[0, 5, 15]]);
        assert_eq!(out.text.matches(": closed, ").count(), 2, "{}", out.text);
        assert_eq!(out.text.matches(": open (5 failures in 5 calls), retry in ").count(), 1, "{}", out.text);
    }

    "reqwest_client": #[cfg(feature = "reqwest")] fn reqwest_client_retries_until_the_circuit_opens(out) {
        out.has_in_order(&[
            "attempt 1 failed, next in 1", // and up to a tenth more
            "attempt 2 succeeded",
            "GET /prices   200 OK",
            "attempt 1 failed, given up: the request cannot be sent again",
            "POST /orders  503 Service Unavailable",
            "shop: closed -> open (3 failures)",
            "attempt 2 failed, next in ",
            "attempt 3 failed, given up: rejected by a circuit breaker",
            "GET /prices   not sent: circuit breaker `shop` is open (3 failures)",
            "attempt 1 failed, given up: rejected by a circuit breaker",
            "shop: half-open -> closed (probes succeeded)",
            "GET /prices   200 OK",
            "The shop was asked 6 times.",
        ]);
    }

    "safety_net": fn safety_net_mends_stops_and_answers(out) {
        out.has_in_order(&[
            "fallback -> retry (2 retries, fixed 10ms) -> circuit breaker `prices`",
            "107 cents, attempts: 1",
            "107 cents, attempts: 2",
            "yesterday's price will do: connection reset",
            "99 cents, attempts: 3",
            "yesterday's price will do: circuit breaker `prices` is open (4 failures)",
            "99 cents, attempts: 1",
            "99 cents, attempts: 0",
            "the same net around a service       99 cents",
            "retry (2 retries, ",
            " -> circuit breaker `orders`",
        ]);
        for (feature, preset) in [(cfg!(feature = "http"), "`shop`"), (cfg!(feature = "grpc"), "`payments`")] {
            assert!(!feature || out.text.contains(&format!("-> circuit breaker {preset}")), "{}", out.text);
        }
    }

    "shared_postgres": #[cfg(feature = "postgres")] fn shared_postgres_says_what_it_needs(out) {
        // `tests/operator` runs it against a server.
        out.has_in_order(&["set DATABASE_URL to a PostgreSQL"]);
    }

    "streaming_upload": #[cfg(feature = "http")] fn streaming_upload_is_replayed_unless_it_is_too_long(out) {
        out.has_in_order(&[
            "40 KiB",
            "attempt 1 failed, next in 20ms",
            "attempt 2 succeeded",
            "the server has 40960 bytes, all in order",
            "the file was read once, 10 of 10 chunks",
            "160 KiB",
            "attempt 1 failed, given up: the request cannot be sent again",
            "failed: ",
            "over a good line",
            "the server has 163840 bytes, all in order",
            "the file was read once, 40 of 40 chunks",
        ]);
    }

    "sync_caller": fn sync_caller_shares_a_breaker_between_threads(out) {
        out.has_in_order(&[
            "the scale was asked 80 times",
            "* scale: closed -> open",
            "thread 4:  0 weighed",
            "circuit breaker `scale` is open (5 failures), retry in ",
            "* scale: half-open -> closed",
            "parcel 1: 101 g",
            "parcel 2: 102 g",
        ]);
    }
}

#[test]
fn every_example_is_run_by_a_test() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let there: BTreeSet<_> = folder
        .read_dir()
        .expect("the folder of the examples")
        .map(|entry| entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    assert_eq!(there, TESTED.iter().map(ToString::to_string).collect());
}

/// What an example wrote to its standard output.
struct Output {
    text: String,
}

impl Output {
    /// Runs an example to its end, which must be a good one.
    fn of(example: &str) -> Self {
        let program = built(example);
        let run = Command::new(&program).output().expect("to start it");
        let (text, errors) = (String::from_utf8(run.stdout).expect("UTF-8"), String::from_utf8_lossy(&run.stderr));
        assert!(run.status.success(), "{example} ended with {}:\n{text}\n{errors}", run.status);
        assert_eq!(errors, "", "{example} complains");
        Self { text }
    }

    fn has_in_order(&self, parts: &[&str]) {
        let mut rest = self.text.as_str();
        for part in parts {
            let found = rest.split_once(part);
            assert!(found.is_some(), "no `{part}` where it should be in:\n{}", self.text);
            rest = found.map_or("", |(_, after)| after);
        }
    }

    fn has_no_escape_sequence(&self) {
        let control = self.text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "plain lines only:\n{}", self.text.escape_debug());
    }

    fn last_two_numbers(&self, label: &str) -> [u64; 2] {
        let line = self.text.lines().find(|line| line.contains(label)).expect(label);
        let numbers = numbers(line);
        *numbers.last_chunk().expect(line)
    }
}

fn numbers(line: &str) -> Vec<u64> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Where cargo puts the examples: `examples/` beside the `deps/` that this test is in.
fn built(example: &str) -> PathBuf {
    let test = current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<this test>");
    let program = profile.join("examples").join(format!("{example}{EXE_SUFFIX}"));
    assert!(
        program.exists(),
        "{} is missing: `cargo build --examples --all-features` builds it (with `--release` where the tests have that)",
        program.display()
    );
    program
}
