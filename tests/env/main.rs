//! The store that the environment names: in processes of their own, since what they are started with cannot be changed.
#![cfg(feature = "env")]
#![expect(clippy::expect_used, clippy::disallowed_methods, reason = "helpers of tests, and real servers in real time")]

#[cfg(all(feature = "postgres", unix))]
mod postgres;
mod process;
#[cfg(all(feature = "redis", unix))]
mod redis;

#[cfg(all(feature = "postgres", unix))]
#[path = "../stores/postgres_server.rs"]
#[expect(dead_code, reason = "not all of it is for these tests")]
mod postgres_server;
#[cfg(all(feature = "redis", unix))]
#[path = "../stores/servers.rs"]
mod servers;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fusebox::env::{self, EnvError, StoreSource};
use fusebox::store::{Commit, Store, StoreError, Summary, Version};

use process::{Process, asked};

const PASSWORD: &str = "s3cret-0f-the-0wner";

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fusebox-env-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        Self(folder)
    }

    fn with(text: &str) -> Self {
        let folder = Self::new();
        std::fs::write(folder.0.join(".env"), text).expect("a file");
        folder
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// All that an error says to whoever prints it.
fn chain(error: &dyn Error) -> String {
    let mut text = format!("{error}; {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!("; {error}; {error:?}"));
        source = error.source();
    }
    text
}

/// Writes until the store takes it: what comes is a store that works.
async fn write(store: &Arc<dyn Store>) -> Result<(), StoreError> {
    let until = tokio::time::Instant::now() + Duration::from_secs(8);
    loop {
        let commit = Commit::new(Version::NONE, Bytes::from("written"), Summary::closed(1), Duration::from_secs(60));
        match store.commit("env", commit).await {
            Ok(_) => return Ok(()),
            Err(error) if tokio::time::Instant::now() > until => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// What a process says that asks its environment; see [`Process`].
#[expect(clippy::print_stdout, reason = "it talks to the test that started it")]
async fn answer() {
    let began = Instant::now();
    let mut question = env::store();
    if asked("dotenv") {
        question = question.dotenv();
    }
    if asked("required") {
        question = question.required();
    }
    let answer = question.await;
    println!("> took {}", began.elapsed().as_millis());
    match answer {
        Ok(store) => {
            println!("> store {store}");
            println!("> debug {store:?}");
            println!("> source {:?}", store.source());
            println!("> degraded {}", store.degraded().map_or_else(String::new, |error| chain(error)));
            if asked("write") {
                // As a configuration takes it.
                let store: Arc<dyn Store> = store.clone();
                println!(
                    "> written {}",
                    write(&store).await.map_or_else(|error| chain(&error), |()| "well".to_owned())
                );
            }
        }
        Err(error) => {
            let kind = match &error {
                EnvError::Variable(error) => error.field().to_owned(),
                EnvError::Store { from, .. } => format!("{from:?}"),
                _ => "another".to_owned(),
            };
            println!("> error {kind}: {error}");
            println!("> chain {}", chain(&error));
        }
    }
    println!("> left {}", std::env::vars_os().filter(|(name, _)| is_ours(&name.to_string_lossy())).count());
}

fn is_ours(name: &str) -> bool {
    name.starts_with("FUSEBOX_STORE_") || name.starts_with("HW_DB_")
}

#[test]
fn a_process_without_variables_has_a_store_in_memory_and_says_so() {
    if Process::is_this() {
        return process::run(answer());
    }
    let seen = Process::new().set("PGHOST", "ignored.example").write().end();
    assert_eq!(seen.line("store"), "a store in memory, of this process alone: no variable is set");
    assert_eq!((seen.line("source"), seen.line("degraded"), seen.line("written")), ("Unset", "", "well"));
    assert!(seen.line("debug").starts_with("EnvStore { source: Unset, store: MemoryStore"), "{}", seen.line("debug"));
}

#[test]
fn nothing_is_printed_that_nobody_asked_for() {
    let seen = Process::new().end();
    assert_eq!(seen.errors, "");
    let others: Vec<_> = seen.output.lines().filter(|line| !process::is_of_the_harness(line)).collect();
    assert!(others.iter().all(|line| line.starts_with("> ")), "{others:?}");
}

#[test]
fn memory_can_be_asked_for_and_is_then_enough() {
    for process in [Process::new(), Process::new().required()] {
        let seen = process.set("FUSEBOX_STORE_URL", "memory:").write().end();
        assert_eq!(seen.line("store"), "a store in memory, of this process alone, of `FUSEBOX_STORE_URL`");
        assert_eq!((seen.line("source"), seen.line("written")), ("StoreUrl", "well"));
    }
    assert_ne!(StoreSource::StoreUrl, StoreSource::Unset);
}

#[test]
fn where_a_store_is_required_no_variable_is_an_error() {
    let seen = Process::new().required().set("FUSEBOX_STORE_URL", "").end();
    let error = seen.line("error");
    assert!(error.starts_with("FUSEBOX_STORE_URL: `FUSEBOX_STORE_URL` is not set, nor is `HW_DB_HOST`"), "{error}");
}

#[test]
fn what_is_partly_set_or_malformed_is_an_error_required_or_not() {
    let url = format!("mysql://u:{PASSWORD}@h/d");
    for (name, value, begins) in [
        ("HW_DB_HOST", "h", "HW_DB_PASSWORD: `HW_DB_PASSWORD` is not set, while `HW_DB_HOST` is"),
        ("HW_DB_PASSWORD", PASSWORD, "HW_DB_HOST: `HW_DB_HOST` is not set, while `HW_DB_PASSWORD` is"),
        ("HW_DB_USER", "u", "HW_DB_HOST: `HW_DB_HOST` is not set, while `HW_DB_USER` is"),
        ("FUSEBOX_STORE_URL", PASSWORD, "FUSEBOX_STORE_URL: `FUSEBOX_STORE_URL` is something else (not shown"),
        ("FUSEBOX_STORE_URL", &url, "FUSEBOX_STORE_URL: `FUSEBOX_STORE_URL` is a `mysql://` URL"),
    ] {
        for process in [Process::new(), Process::new().required()] {
            let seen = process.set(name, value).end();
            assert!(seen.line("error").starts_with(begins), "{}", seen.line("error"));
            seen.has_no(PASSWORD);
        }
    }
}

#[test]
fn a_place_in_no_store_or_in_one_that_has_none_is_an_error() {
    for name in ["FUSEBOX_STORE_NAMESPACE", "FUSEBOX_STORE_SCHEMA", "FUSEBOX_STORE_TABLE"] {
        let seen = Process::new().set(name, "shop").end();
        let begins = format!("FUSEBOX_STORE_URL: `FUSEBOX_STORE_URL` is not set, while `{name}` is, allowed is");
        assert!(seen.line("error").starts_with(&begins), "{}", seen.line("error"));
        let seen = Process::new().set("FUSEBOX_STORE_URL", "memory:").set(name, "shop").required().write().end();
        assert_eq!(seen.line("written"), "well", "memory is one process's, wherever that is");
    }
    if cfg!(feature = "redis") {
        for name in ["FUSEBOX_STORE_SCHEMA", "FUSEBOX_STORE_TABLE"] {
            let seen = Process::new().set("FUSEBOX_STORE_URL", "redis://127.0.0.1:1").set(name, "ops").end();
            let begins = format!("{name}: `{name}` is set for a store in Redis, allowed is nothing, unless");
            assert!(seen.line("error").starts_with(&begins), "{}", seen.line("error"));
        }
    }
}

#[test]
fn a_name_that_cannot_be_one_is_told_with_what_can() {
    let redis = ("redis://127.0.0.1:1", cfg!(feature = "redis"));
    let postgres = ("postgres://u:s3cret@127.0.0.1:1/d", cfg!(feature = "postgres"));
    for ((url, _), name, given, begins) in [
        (redis, "FUSEBOX_STORE_NAMESPACE", "a b", "is \"a b\", allowed is 1 to 64 of A-Z, a-z, 0-9, `_`, `.`, `-`"),
        (postgres, "FUSEBOX_STORE_NAMESPACE", "a:b", "is a:b, allowed is at most 64 letters, digits, `_`, `.` and `-`"),
        (postgres, "FUSEBOX_STORE_SCHEMA", "Ops", "is Ops, allowed is an identifier of lower-case letters"),
        (postgres, "FUSEBOX_STORE_TABLE", "a\u{1b}b", "is a\\u{1b}b, allowed is an identifier of lower-case letters"),
    ]
    .into_iter()
    .filter(|((_, is_on), ..)| *is_on)
    {
        let seen = Process::new().set("FUSEBOX_STORE_URL", url).set(name, given).end();
        let begins = format!("{name}: `{name}` {begins}");
        assert!(seen.line("error").starts_with(&begins), "{}", seen.line("error"));
        seen.has_no("s3cret");
    }
}

#[test]
fn a_store_whose_feature_is_off_is_an_error_that_names_it() {
    for (url, feature, is_on) in [
        ("redis://127.0.0.1:1", "redis", cfg!(feature = "redis")),
        ("rediss://127.0.0.1:1", "redis-tls", cfg!(feature = "redis-tls")),
        ("postgres://u:p@127.0.0.1:1/d", "postgres", cfg!(feature = "postgres")),
    ] {
        let seen = Process::new().set("FUSEBOX_STORE_URL", url).end();
        if is_on {
            assert_ne!(seen.line("degraded"), "", "nobody is there");
        } else {
            let needs = format!("URL, which needs fusebox's feature `{feature}`");
            assert!(seen.line("error").contains(&needs), "{}", seen.line("error"));
        }
    }
}

#[test]
fn a_file_is_read_when_asked_and_leaves_the_environment_as_it_is() {
    let folder = Folder::with("# ours\nFUSEBOX_STORE_URL='memory:'\nHW_DB_HOST=h\n");
    let seen = Process::new().within(&folder.0).end();
    assert_eq!(seen.line("source"), "Unset", "nobody asked for the file");
    let seen = Process::new().within(&folder.0).dotenv().end();
    assert_eq!((seen.line("source"), seen.line("left")), ("StoreUrl", "0"));

    let below = folder.0.join("a/b");
    std::fs::create_dir_all(&below).expect("a folder");
    std::fs::create_dir_all(folder.0.join("a/.env")).expect("a folder, and no file");
    let seen = Process::new().within(&below).dotenv().end();
    assert_eq!(seen.line("source"), "StoreUrl", "the nearest one above");
}

#[test]
fn the_real_environment_goes_before_the_file() {
    let folder = Folder::with(&format!("FUSEBOX_STORE_URL=mysql://u:{PASSWORD}@h/d\nHW_DB_HOST=h\n"));
    let seen = Process::new().within(&folder.0).dotenv().set("FUSEBOX_STORE_URL", "memory:").end();
    assert_eq!((seen.line("source"), seen.line("left")), ("StoreUrl", "1"));
    let seen = Process::new().within(&folder.0).dotenv().end();
    assert!(seen.line("error").contains("a `mysql://` URL"), "{}", seen.line("error"));
    seen.has_no(PASSWORD);
    let seen = Process::new().within(&folder.0).dotenv().set("FUSEBOX_STORE_URL", "").end();
    let error = seen.line("error");
    assert!(error.starts_with("HW_DB_PASSWORD:"), "what is empty switches the file's value off: {error}");
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_one_that_is_not_there_is_none() {
    let folder = Folder::new();
    assert_eq!(Process::new().within(&folder.0).dotenv().end().line("source"), "Unset");
    let folder = Folder::with(&format!("A=1\nHW_DB_PASSWORD {PASSWORD}\n"));
    let seen = Process::new().within(&folder.0).dotenv().end();
    assert!(seen.line("error").starts_with(".env: `.env` is unreadable in line 2,"), "{}", seen.line("error"));
    seen.has_no(PASSWORD);
}
