//! Each command, and what two running instances make of it.

use fusebox::{CircuitBreaker, State};

use super::both::on_both;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_needs_no_code_of_the_application() {
    on_both(async |url, _, raw| {
        let fleet = fleet(&raw, "pay/ments").await;
        let does = |words: &[&str], said: &str| {
            let text = fusebox(&url, words).ok();
            assert!(text.contains(said), "{words:?}: {text}");
        };
        let listed = "NAME       STATE   FOR";
        does(&["list"], listed);
        does(&["list"], "\npay/ments  closed  ");
        does(&["show", "pay/ments"], "\nstate         closed\n");
        does(&["show", "pay/ments"], "\nfailures      1\n");
        does(&["check"], "writes         not tried, --write does");
        does(&["check", "--write"], "\nwrites         yes\nnotices        yes\nbreakers       1\n");

        does(
            &["trip", "pay/ments", "--cooldown", "5m"],
            "before: pay/ments: closed, 1 failure\nnow:    pay/ments: open (tripped by command), retry in ",
        );
        all_are(&fleet, State::Open).await;
        assert!(fleet[1].retry_after().is_some_and(|wait| wait > Duration::from_secs(280)), "as the command says");
        does(&["trip", "pay/ments"], "as it was: pay/ments: open (tripped by command)");
        does(&["reset", "pay/ments"], "now:    pay/ments: closed (reset by command)");
        all_are(&fleet, State::Closed).await;
        does(
            &["trip", "pay/ments"],
            "now:    pay/ments: open (tripped by command), for as long as the first instance says",
        );
        all_are(&fleet, State::Open).await;
        assert!(fleet.iter().all(|one| one.retry_after().is_some_and(|wait| wait <= Duration::from_secs(30))));

        let hold = ["pay/ments", "--reason", "incident 7", "--actor", "ana", "--for", "1h"];
        does(
            &[&["force-open"], &hold[..]].concat(),
            "now:    pay/ments: open (forced open: incident 7 (by ana)), retry in ",
        );
        all_are(&fleet, State::Open).await;
        let is_rejected = |breaker: &CircuitBreaker| breaker.acquire().expect_err("forced open").to_string();
        until_all(&fleet, |breaker| is_rejected(breaker).contains("incident 7 (by ana)")).await;
        let refused = fusebox(&url, &["reset", "pay/ments"]).fails(1);
        assert!(refused.ends_with("is overridden (forced open: incident 7 (by ana)): resume it first"), "{refused}");
        does(&["list", "--state", "overridden"], "forced open: incident 7 (by ana), ends in 59m");

        does(&[&["disable"], &hold[..]].concat(), "closed (disabled: incident 7 (by ana)), ends in ");
        all_are(&fleet, State::Closed).await;
        does(&["dry-run", "pay/ments", "--reason", "new limits"], "(dry run: new limits (by tester))");
        until_all(&fleet, |breaker| breaker.snapshot().overridden.is_some_and(|order| order.by() == Some("tester")))
            .await;
        does(&["resume", "pay/ments"], "now:    pay/ments: closed (override ended by an operator)");
        until_all(&fleet, |breaker| breaker.snapshot().overridden.is_none()).await;
        does(&["resume", "pay/ments"], "as it was: pay/ments: closed");

        let usage = fusebox(&url, &["forget", "pay/ments"]).fails(2);
        assert!(usage.contains("say --yes"), "{usage}");
        does(&["forget", "pay/ments", "--yes"], "now:    no record");
        assert_eq!(fusebox(&url, &["list"]).ok(), "", "nothing is left");
    })
    .await;
}

#[expect(clippy::disallowed_methods, reason = "real servers, in real time")]
async fn until_all(fleet: &[CircuitBreaker], f: impl Fn(&CircuitBreaker) -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while !fleet.iter().all(&f) {
        assert!(std::time::Instant::now() < until, "{:?}", fleet[0].snapshot());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_has_the_worst_first_and_takes_patterns_and_states() {
    on_both(async |url, store, _| {
        drop(both::breakers(&store, &["a", "b", "c", "d"]).await);
        fusebox(&url, &["trip", "c", "--cooldown", "1h"]).ok();
        fusebox(&url, &["force-open", "d", "--reason", "x"]).ok();
        fusebox(&url, &["reset", "a"]).ok();
        let names = |words: &[&str]| -> String {
            let text = fusebox(&url, &[&["list"], words].concat()).ok();
            text.lines().skip(1).filter_map(|line| line.split(' ').next()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&[]), "d c b a");
        assert_eq!(names(&["--sort", "name"]), "a b c d");
        assert_eq!(names(&["--sort", "since"]), "a d c b");
        assert_eq!(names(&["--state", "open"]), "d c");
        assert_eq!(names(&["--state", "overridden,closed"]), "d b a");
        assert_eq!(names(&["?", "--state", "closed"]), "b a");
        assert_eq!(names(&["a", "--state", "open"]), "", "it is there, and not open");
        let text = fusebox(&url, &["list"]).ok();
        assert!(text.is_ascii() && !text.contains('\u{1b}'), "piped, it has no colours: {text:?}");
        let text = fusebox(&url, &["list", "--color", "always"]).ok();
        assert!(text.contains("\u{1b}[31mopen  \u{1b}[0m") && text.contains("\u{1b}[35mopen"), "{text:?}");
    })
    .await;
}

/// As `fusebox list | head -1` does, whose reader is gone before all is said. The exit code tells what there is, nonetheless.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_leaves_is_no_failure() {
    let unread = |url: &str, words: &[&str]| {
        let mut program = program();
        program.args(words).env("FUSEBOX_STORE_URL", url).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = program.spawn().expect("to start it");
        drop(running.stdout.take());
        let ended = running.wait_with_output().expect("it ends");
        (ended.status.code(), String::from_utf8(ended.stderr).expect("UTF-8"))
    };
    let said_nothing = (Some(0), String::new());
    for words in [&["--help"][..], &["--version"], &["completions", "bash"], &["man"]] {
        assert_eq!(unread("memory:", words), said_nothing, "{words:?}");
    }
    on_both(async |url, _, raw| {
        let _fleet = fleet(&raw, "search").await;
        for words in [&["list"][..], &["list", "--json"], &["list", "--watch"], &["show", "search"], &["check"]] {
            assert_eq!(unread(&url, words), said_nothing, "{words:?}");
        }
        assert_eq!(unread(&url, &["trip", "search"]), said_nothing);
        let (code, said) = unread(&url, &["list", "--fail-if-open"]);
        assert_eq!((code, said.as_str()), (Some(1), "fusebox: 1 of 1 listed are open\n"));
    })
    .await;
}
