//! No password reaches a text, whatever is wrong.

use super::*;

const SECRET: &str = "s3cr3t";

#[tokio::test(flavor = "multi_thread")]
async fn no_output_has_the_password_of_an_address() {
    let server = servers::Redis::start_with(&["--requirepass", SECRET]).await;
    let good = server.url_with(SECRET);
    let database = postgres_server::Database::fresh().await;
    let role = format!("role_{}", database.name);
    database.run(&format!("create role {role} login password '{SECRET}'")).await;
    let wrong = [
        good.clone(),
        database.url_as(&role, SECRET),
        database.url_as("owner", SECRET),
        format!("redis://u:{SECRET}@127.0.0.1:1"),
        format!("rediss://u:{SECRET}@127.0.0.1:1"),
        format!("redis+sentinel://u:{SECRET}@127.0.0.1:1/main"),
        format!("postgres://u:{SECRET}@127.0.0.1:1/d?sslmode=verify-full"),
        format!("postgres://u:{SECRET}/1@h/d"),
        format!("mysql://u:{SECRET}@h/d"),
        format!("{SECRET}@h"),
        format!("redis://u:{SECRET}@h:port"),
    ];
    let commands: [&[&str]; 9] = [
        &["list"],
        &["list", "--json"],
        &["show", "a"],
        &["trip", "a"],
        &["force-open", "a", "--reason", "x", "--create"],
        &["check", "--write"],
        &["check", "--json"],
        &["migrate"],
        &["wait", "a", "--state", "closed", "--for", "200ms"],
    ];
    for url in &wrong {
        for words in commands {
            for run in [fusebox(url, words), run(program().args(words).args(["--store", url]))] {
                assert!(!run.out.contains(SECRET) && !run.err.contains(SECRET), "{words:?}: {run:?}");
            }
        }
        // An address in the wrong place is a word like any other.
        for words in [&["list", url][..], &["show", url], &[url], &["list", "a", url], &["--color", url, "list"]] {
            let run = fusebox(&good, words);
            let is_bare = !url.contains("://");
            assert!(is_bare || !run.err.contains(SECRET) && !run.out.contains(SECRET), "{words:?}: {run:?}");
            assert_ne!(run.code, 0, "{words:?}");
        }
    }
    for help in [&["--help"][..], &["list", "--help"], &["man"]] {
        let run = run(program().args(help).env("FUSEBOX_STORE_URL", &good));
        assert!(!run.ok().contains(SECRET), "{help:?}");
    }
}
