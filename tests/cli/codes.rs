//! Every exit code, and one line about why.

use super::both::{Raw, breakers, newer, on_both};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn no_is_one() {
    on_both(async |url, store, _| {
        drop(breakers(&store, &["a"]).await);
        let none = fusebox(&url, &["list", "paymnets*"]).fails(1);
        let place = store.describe();
        assert_eq!(none, format!("none of the 1 breakers in {place} fits \"paymnets*\""));
        fusebox(&url, &["list", "--fail-if-open"]).ok();
        fusebox(&url, &["trip", "a", "--cooldown", "1h"]).ok();
        let failed = fusebox(&url, &["list", "--fail-if-open"]);
        assert!(failed.out.contains("a     open"), "it is listed all the same: {failed:?}");
        assert_eq!(failed.fails(1), "1 of 1 listed are open");
        let held = fusebox(&url, &["forget", "a", "--yes"]).fails(1);
        assert!(held.contains("`a` is open: its instances would write it again"), "{held}");
        let waited = fusebox(&url, &["wait", "a", "--state", "closed", "--for", "300ms"]).fails(1);
        assert!(waited.starts_with("not closed within 300ms: a: open (tripped by command)"), "{waited}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_words_are_two() {
    let raw = Raw::redis().await;
    let (redis, postgres) = (raw.url(), "postgres://u:s3cret@127.0.0.1:1/d");
    let cases: [(&str, &[&str], &str); 15] = [
        (&redis, &["list", "--namespace", "a b"], "`namespace` is \"a b\", allowed is 1 to 64 of A-Z"),
        (postgres, &["list", "--namespace", "a b"], "`namespace` is a b, allowed is at most 64 letters"),
        (postgres, &["list", "--schema", "Ops"], "`schema` is Ops, allowed is an identifier of lower-case letters"),
        (postgres, &["list", "--table", "a;b"], "`table` is a;b, allowed is an identifier of lower-case letters"),
        (&redis, &["list", "--schema", "ops"], "`schema` is set for a store in Redis, allowed is nothing, unless"),
        (&redis, &["trip", "a", "--cooldown", "soon"], "a time has a unit, as in 30s, 5m, 1h 30m"),
        (&redis, &["trip"], "<NAME>"),
        (&redis, &["trip", "a", "b"], "unexpected argument 'b'"),
        (&redis, &["lst"], "unrecognized subcommand 'lst'"),
        (&redis, &["list", "--froce"], "unexpected argument '--froce'"),
        (&redis, &["list", "--print"], "unexpected argument '--print'"),
        (&redis, &["disable", "a"], "--reason <TEXT>"),
        (&redis, &["disable", "a", "--reason", " "], "say why: the reason is shown to each caller"),
        (&redis, &["migrate"], "`FUSEBOX_STORE_URL` is that of another store"),
        ("", &["list"], "`FUSEBOX_STORE_URL` is not set, nor is `HW_DB_HOST`, and a store is required"),
    ];
    for (url, words, expected) in cases {
        let run = fusebox(url, words);
        assert!(run.code == 2 && run.err.contains(expected) && !run.err.contains("s3cret"), "{words:?}: {run:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_three_and_one_line() {
    let commands: [&[&str]; 7] = [
        &["list"],
        &["show", "a"],
        &["trip", "a"],
        &["disable", "a", "--reason", "x"],
        &["check"],
        &["wait", "a", "--state", "closed", "--for", "300ms"],
        &["watch"],
    ];
    for url in ["redis://127.0.0.1:1", "postgres://u:s3cret@127.0.0.1:1/d"] {
        for words in commands {
            let line = fusebox(url, words).fails(3);
            assert!(line.starts_with("the store was not reached"), "{words:?}: {line}");
        }
    }
    let mut server = servers::Redis::start().await;
    let url = server.url();
    server.freeze();
    let line = fusebox(&url, &["list", "--timeout", "700ms"]).fails(3);
    assert!(line.contains("did not answer") || line.contains("not reached"), "{line}");
    server.thaw();
    fusebox(&url, &["list"]).ok();
    server.kill();
    fusebox(&url, &["list"]).fails(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_refused_is_three() {
    let server = servers::Redis::start_with(&["--requirepass", "right"]).await;
    let line = fusebox(&server.url_with("s3cret"), &["list"]).fails(3);
    assert!(line.starts_with("the store refused") && !line.contains("s3cret"), "{line}");
    fusebox(&server.url_with("right"), &["list"]).ok();
    let database = postgres_server::Database::fresh().await;
    let line = fusebox(&database.url_as("owner", "s3cret"), &["check"]).fails(3);
    assert!(line.contains("password authentication failed") && !line.contains("s3cret"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_and_is_not_complete_is_four() {
    let database = postgres_server::Database::fresh().await;
    let url = database.url();
    for words in [&["check"][..], &["list"], &["trip", "a", "--create"]] {
        let line = fusebox(&url, words).fails(4);
        assert!(line.contains("are missing") && line.ends_with("or `fusebox migrate` as their owner"), "{line}");
    }
    assert_eq!(fusebox(&url, &["migrate"]).ok(), "the tables are there\n");
    fusebox(&url, &["check", "--write"]).ok();
    let guest = format!("guest_{}", database.name);
    database.run(&format!("create role {guest} login password 'guest'")).await;
    let line = fusebox(&database.url_as(&guest, "guest"), &["check"]).fails(4);
    assert!(line.contains("this role may not select, insert"), "{line}");

    let server = servers::Redis::start().await;
    let looker = "ACL SETUSER looker on >pw ~fb:* -@all +hmget +scan +ping +hstrlen +exists +time";
    server.command(looker).await;
    let url = server.url().replace("redis://", "redis://looker:pw@");
    let run = fusebox(&url, &["check", "--write"]);
    assert!(run.out.contains("\nreads          yes\n") && run.out.contains("\nwrites         no: "), "{run:?}");
    assert_eq!(run.fails(4), "something is missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_cannot_be_read_are_four() {
    on_both(async |url, store, raw| {
        drop(breakers(&store, &["a", "b"]).await);
        raw.write("b", &newer()).await;
        let run = fusebox(&url, &["list", "--sort", "name"]);
        assert!(
            run.out.contains("\nb     ?       -    -      the record is of format 3, this release knows 2\n"),
            "{run:?}"
        );
        assert_eq!(run.fails(4), "1 of 2 breakers cannot be read");
        fusebox(&url, &["list", "--state", "unreadable"]).ok();
        let run = fusebox(&url, &["show", "b"]);
        assert!(run.out.contains("record        newer\n"), "{run:?}");
        run.fails(4);
        let run = fusebox(&url, &["check"]);
        assert!(run.out.contains("cannot read    b: the record is of format 3"), "{run:?}");
        assert_eq!(run.fails(4), "1 of 2 breakers cannot be read");
    })
    .await;
}
