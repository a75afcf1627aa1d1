//! Names: of breakers, and of the place in the store where they are.

use super::both::{breakers, on_both};
use super::postgres_server::Database;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_in_the_store_is_an_error_unless_it_is_to_be_made() {
    on_both(async |url, store, _| {
        let none = fusebox(&url, &["trip", "paymnets"]).fails(1);
        assert!(none.starts_with("no breaker \"paymnets\" is in "), "{none}");
        assert!(none.ends_with("; it has none; --create makes it"), "{none}");

        let _known = breakers(&store, &["payments", "payouts", "invoices", "mail", "search"]).await;
        let commands: [&[&str]; 6] = [
            &["trip"],
            &["reset"],
            &["resume"],
            &["force-open", "--reason", "why"],
            &["disable", "--reason", "why"],
            &["dry-run", "--reason", "why"],
        ];
        for command in commands {
            let text = fusebox(&url, &[command, &["Paymnets"]].concat()).fails(1);
            let known = "; nearest of 5: \"payments\", \"payouts\", \"invoices\"; --create makes it";
            assert!(text.starts_with("no breaker \"Paymnets\" is in ") && text.ends_with(known), "{command:?}: {text}");
            assert!(text.contains(&store.describe()), "it says where it looked: {text}");
        }
        let looks: [&[&str]; 3] = [&["show"], &["forget", "--yes"], &["wait", "--state", "closed"]];
        for command in looks {
            let text = fusebox(&url, &[command, &["Paymnets"]].concat()).fails(1);
            assert!(text.ends_with("; nearest of 5: \"payments\", \"payouts\", \"invoices\""), "{command:?}: {text}");
        }
        assert_eq!(store.keys().await.expect("lists").len(), 5, "nothing was made");

        let text = fusebox(&url, &["trip", "paymnets", "--create"]).ok();
        assert!(text.starts_with("before: no record\nnow:    paymnets: open (tripped by command)"), "{text}");
        assert_eq!(store.keys().await.expect("lists").len(), 6);
        fusebox(&url, &["show", "paymnets"]).ok();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_for_the_namespace_that_is_named() {
    on_both(async |url, store, _| {
        let _known = breakers(&store, &["payments"]).await;
        let other = fusebox(&url, &["show", "payments", "--namespace", "shop"]).fails(1);
        assert!(other.contains(", namespace `shop`; it has none"), "{other}");
        fusebox(&url, &["trip", "orders", "--create", "--namespace", "shop"]).ok();
        let listed = fusebox(&url, &["--namespace", "shop", "list"]).ok();
        assert!(listed.contains("\norders  open") && listed.lines().count() == 2, "{listed}");
        let text = fusebox(&url, &["show", "orders"]).fails(1);
        assert!(text.contains("known: \"payments\""), "{text}");

        let mut by_variable = program();
        by_variable.args(["show", "orders"]).env("FUSEBOX_STORE_URL", &url).env("FUSEBOX_STORE_NAMESPACE", "shop");
        run(&mut by_variable).ok();
        let text = run(by_variable.args(["--namespace", "elsewhere"])).fails(1);
        assert!(text.contains("namespace `elsewhere`"), "an option goes before a variable: {text}");
        let listed =
            run(program().args(["list", "--store", &url]).env("FUSEBOX_STORE_URL", "redis://127.0.0.1:1")).ok();
        assert!(listed.contains("payments"), "and so does that of the store: {listed}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_schemas_are_those_that_are_named() {
    let database = Database::fresh().await;
    let url = database.url();
    let place = ["--schema", "ops", "--table", "breakers"];
    let at = |words: &[&str]| fusebox(&url, &[words, &place].concat());
    let text = at(&["check"]).fails(4);
    assert!(text.contains("`ops.breakers`"), "{text}");
    at(&["migrate"]).ok();
    at(&["trip", "payments", "--create"]).ok();
    assert_eq!(database.run("select resource_key from ops.breakers").await, [["payments"]]);
    let text = at(&["show", "paymnets"]).fails(1);
    assert!(text.contains("table `ops.breakers`; known: \"payments\""), "{text}");
    let text = fusebox(&url, &["list"]).fails(4);
    assert!(text.contains("hw_circuit_breakers"), "it is nowhere else: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_others_are_shown_without_what_a_terminal_would_obey() {
    let hostile = "a\u{1b}]0;x\u{7}\n\u{202e}b\u{2028}\u{200b}\u{9b}c";
    on_both(async |url, store, _| {
        let _known = breakers(&store, &[hostile]).await;
        let forced = ["force-open", hostile, "--reason", hostile, "--actor", hostile];
        let commands: [&[&str]; 8] = [
            &forced,
            &["show", hostile],
            &["list"],
            &["list", "--json"],
            &["show", hostile, "--json"],
            &["show", "other"],
            &["list", hostile, "--state", "closed"],
            &["reset", hostile],
        ];
        for words in commands {
            let run = fusebox(&url, words);
            let text = [run.out, run.err].concat();
            let is_told = text.contains("a\\u{1b}]0;x\\u{7}\\n\\u{202e}b\\u{2028}\\u{200b}\\u{9b}c")
                || text.contains("a\\u001b]0;x\\u0007\\u000a\\u202eb\\u2028\\u200b\\u009bc")
                || text.contains("a\\u001b]0;x\\u0007\\n\\u202eb\\u2028\\u200b\\u009bc");
            assert!(is_told || words.contains(&"--state"), "{words:?}: {text}");
            assert!(text.is_ascii() && !text.contains(|c: char| c.is_control() && c != '\n'), "{words:?}: {text:?}");
        }
    })
    .await;
}
