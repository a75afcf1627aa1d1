//! Names: of breakers, and of the place in the store where they are.

use super::*;

const COMMANDS: [&str; 7] = ["show", "trip", "reset", "force", "disable", "dry-run", "resume"];

/// What it says where it fails.
#[track_caller]
fn fails(url: &str, words: &[&str]) -> String {
    let (ended_well, text) = admin_with(url, words);
    assert!(!ended_well, "{words:?}: {text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_in_the_store_is_an_error_unless_it_is_to_be_made() {
    on_both(async |url, store, _| {
        let none = fails(&url, &["trip", "paymnets"]);
        assert!(none.starts_with("no breaker \"paymnets\" is in "), "{none}");
        assert!(none.ends_with("; it has none; --create makes it"), "{none}");

        let _known = breakers(&store, &["payments", "payouts", "invoices", "mail", "search"]).await;
        for command in COMMANDS {
            let reason: &[&str] = if ["force", "disable", "dry-run"].contains(&command) { &["why"] } else { &[] };
            let text = fails(&url, &[&[command, "Paymnets"], reason].concat());
            let known = "; nearest of 5: \"payments\", \"payouts\", \"invoices\"; --create makes it";
            assert!(text.starts_with("no breaker \"Paymnets\" is in ") && text.ends_with(known), "{command}: {text}");
            assert!(text.contains(&store.describe()), "it says where it looked: {text}");
        }
        assert_eq!(store.keys().await.expect("lists").len(), 5, "nothing was made");

        let (ended_well, text) = admin(&url, "trip paymnets --create");
        assert!(ended_well && text.starts_with("paymnets: open (tripped by command)"), "{text}");
        assert_eq!(store.keys().await.expect("lists").len(), 6);
        assert!(admin(&url, "show paymnets").0, "and now it is known");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_for_the_namespace_that_is_named() {
    on_both(async |url, store, _| {
        let _known = breakers(&store, &["payments"]).await;
        let other = fails(&url, &["show", "payments", "--namespace", "shop"]);
        assert!(other.contains(", namespace `shop`; it has none; --create makes it"), "{other}");
        assert!(admin(&url, "trip orders --create --namespace shop").0);
        let (_, listed) = admin(&url, "--namespace shop list");
        assert!(listed.starts_with("orders: open") && listed.lines().count() == 1, "{listed}");
        let text = fails(&url, &["show", "orders"]);
        assert!(text.contains("known: \"payments\""), "{text}");

        let mut by_variable = example("fleet_admin");
        by_variable.args(["show", "orders"]).env("FUSEBOX_STORE_URL", &url).env("FUSEBOX_STORE_NAMESPACE", "shop");
        let (ended_well, text) = run(&mut by_variable);
        assert!(ended_well && text.starts_with("orders: open"), "{text}");
        let (ended_well, text) = run(by_variable.args(["--namespace", "elsewhere"]));
        assert!(!ended_well && text.contains("namespace `elsewhere`"), "an option goes before a variable: {text}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_schemas_are_those_that_are_named() {
    let database = Database::fresh().await;
    let url = database.url();
    let place = ["--schema", "ops", "--table", "breakers"];
    let at = |words: &[&str]| admin_with(&url, &[words, &place].concat());
    let (ended_well, text) = at(&["check"]);
    assert!(!ended_well && text.contains("`ops.breakers`"), "{text}");
    assert_eq!(at(&["migrate"]), (true, "the table is there".to_owned()));
    assert!(at(&["trip", "payments", "--create"]).0);
    assert_eq!(database.run("select resource_key from ops.breakers").await, [["payments"]]);
    let (ended_well, text) = at(&["show", "paymnets"]);
    assert!(!ended_well && text.contains("table `ops.breakers`; known: \"payments\""), "{text}");
    let text = fails(&url, &["list"]);
    assert!(text.contains("hw_circuit_breakers"), "it is nowhere else: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_words_are_told_with_what_is_allowed() {
    let redis = Redis::start().await;
    let (redis, postgres) = (redis.url(), "postgres://u:s3cret@127.0.0.1:1/d");
    let cases: [(&str, &[&str], &str); 11] = [
        (&redis, &["list", "--namespace", "a b"], "`namespace` is \"a b\", allowed is 1 to 64 of A-Z"),
        (postgres, &["list", "--namespace", "a b"], "`namespace` is a b, allowed is at most 64 letters"),
        (postgres, &["list", "--schema", "Ops"], "`schema` is Ops, allowed is an identifier of lower-case letters"),
        (postgres, &["list", "--table", "a;b"], "`table` is a;b, allowed is an identifier of lower-case letters"),
        (&redis, &["list", "--schema", "ops"], "`schema` is set for a store in Redis, allowed is nothing, unless"),
        (&redis, &["trip", "a", "--for", "soon"], "--for is \"soon\", allowed is a whole number of seconds"),
        (&redis, &["trip"], "trip needs a name"),
        (&redis, &["trip", "a", "b"], "trip takes a name, and not \"b\" as well"),
        (&redis, &["lst"], "\"lst\" is no command"),
        (&redis, &["list", "--froce"], "\"--froce\" is no option"),
        (&redis, &["list", "--print"], "--print and --grant-to are for `migrate` alone"),
    ];
    for (url, words, expected) in cases {
        let text = fails(url, words);
        assert!(text.contains(expected) && !text.contains("s3cret"), "{words:?}: {text}");
    }
    let text = fails(&redis, &["migrate"]);
    assert!(text.contains("`FUSEBOX_STORE_URL` is that of another store"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_others_are_shown_without_what_a_terminal_would_obey() {
    let hostile = "a\u{1b}]0;x\u{7}\n\u{202e}b\u{2028}\u{200b}\u{9b}c";
    on_both(async |url, store, _| {
        let _known = breakers(&store, &[hostile]).await;
        let forced = ["force", hostile, hostile, "--actor", hostile];
        for words in [&forced[..], &["show", hostile], &["list"], &["show", "other"], &["reset", hostile]] {
            let (_, text) = admin_with(&url, words);
            assert!(text.contains("a\\u{1b}]0;x\\u{7}\\n\\u{202e}b\\u{2028}\\u{200b}\\u{9b}c"), "{words:?}: {text}");
            assert!(text.is_ascii() && !text.contains(|c: char| c.is_control() && c != '\n'), "{words:?}: {text:?}");
        }
    })
    .await;
}
