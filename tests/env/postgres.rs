//! PostgreSQL, a real one.

use fusebox::store::{PostgresStore, Store};

use crate::postgres_server::{Database, PASSWORD, Server, signal};
use crate::process::Process;

/// As the older library would be told of it.
fn highway(process: Process, database: &Database, password: &str) -> Process {
    let options = database.options();
    process
        .set("HW_DB_HOST", options.get_host())
        .set("HW_DB_PORT", &options.get_port().to_string())
        .set("HW_DB_NAME", &database.name)
        .set("HW_DB_USER", "owner")
        .set("HW_DB_PASSWORD", password)
}

async fn migrated() -> Database {
    let database = Database::fresh().await;
    PostgresStore::migrate(database.url()).await.expect("migrates");
    database
}

async fn written(database: &Database) -> String {
    let store = PostgresStore::connect(database.url()).await.expect("connects");
    let stored = store.load(&["env"]).await.expect("loads").remove(0);
    String::from_utf8(stored.record.to_vec()).expect("text")
}

#[tokio::test]
async fn a_url_of_either_scheme_gives_that_store() {
    for scheme in ["postgres://", "postgresql://"] {
        let database = migrated().await;
        let url = database.url().replace("postgres://", scheme);
        let seen = Process::new().required().write().set("FUSEBOX_STORE_URL", &url).end();
        assert_eq!(seen.line("store"), "a store in PostgreSQL, of `FUSEBOX_STORE_URL`");
        assert_eq!((seen.line("source"), seen.line("degraded"), seen.line("written")), ("StoreUrl", "", "well"));
        assert_eq!(written(&database).await, "written");
        let name = format!("database: Some(\"{}\")", database.name);
        assert!(seen.line("debug").contains(&name), "{}", seen.line("debug"));
        seen.has_no(PASSWORD);
    }
}

#[tokio::test]
async fn the_older_librarys_variables_give_that_store_also_from_a_file() {
    let database = migrated().await;
    let seen = highway(Process::new(), &database, PASSWORD).required().write().end();
    assert_eq!(seen.line("store"), "a store in PostgreSQL, of `HW_DB_HOST`");
    assert_eq!((seen.line("source"), seen.line("degraded"), seen.line("written")), ("Highway", "", "well"));
    assert_eq!(written(&database).await, "written");
    seen.has_no(PASSWORD);

    let folder = crate::Folder::with(&format!("HW_DB_PASSWORD='{PASSWORD}'\nHW_DB_USER=nobody\n"));
    let asked = highway(Process::new(), &database, PASSWORD).unset("HW_DB_PASSWORD").within(&folder.0);
    let seen = asked.dotenv().required().end();
    assert_eq!((seen.line("source"), seen.line("left")), ("Highway", "4"), "half of them from the file");
    seen.has_no(PASSWORD);
}

#[tokio::test]
async fn namespace_schema_and_table_are_those_of_the_variables_whichever_names_the_store() {
    let database = Database::fresh().await;
    let place = || PostgresStore::builder().url(database.url()).schema("ops").table("breakers");
    place().migrate().await.expect("migrates");
    for (process, namespace) in [
        (Process::new().set("FUSEBOX_STORE_URL", &database.url()), "shop"),
        (highway(Process::new(), &database, PASSWORD), "mail"),
    ] {
        let process = process.set("FUSEBOX_STORE_SCHEMA", "ops").set("FUSEBOX_STORE_TABLE", "breakers");
        let seen = process.set("FUSEBOX_STORE_NAMESPACE", namespace).required().write().end();
        assert_eq!(seen.line("written"), "well");
        let store = place().namespace(namespace).connect().await.expect("connects");
        assert_eq!(store.keys().await.expect("lists"), ["env"], "{namespace}");
    }
}

#[tokio::test]
async fn encryption_that_is_asked_for_is_not_done_without() {
    let database = migrated().await;
    let by_url = Process::new().set("FUSEBOX_STORE_URL", &format!("{}?sslmode=verify-full", database.url()));
    let by_variable = highway(Process::new(), &database, PASSWORD).set("PGSSLMODE", "verify-full");
    for (process, name) in [(by_url, "FUSEBOX_STORE_URL"), (by_variable, "PGSSLMODE")] {
        let seen = process.end();
        if cfg!(feature = "postgres-tls") {
            let degraded = seen.line("degraded");
            assert!(degraded.starts_with("the store refused: no encrypted connection: server does"), "{degraded}");
        } else {
            let begins = format!("{name}: `{name}` is for `sslmode=verify-full`, which needs fusebox's feature");
            assert!(seen.line("error").starts_with(&begins), "{}", seen.line("error"));
        }
        seen.has_no(PASSWORD);
    }
}

#[tokio::test]
async fn what_is_refused_is_told_without_the_password() {
    let database = migrated().await;
    let wrong = database.url_as("owner", "wr0ng");
    let expected = "the store refused: password authentication failed";
    for process in [Process::new().set("FUSEBOX_STORE_URL", &wrong), highway(Process::new(), &database, "wr0ng")] {
        let seen = process.end();
        assert!(seen.line("degraded").starts_with(expected), "{}", seen.line("degraded"));
        seen.has_no("wr0ng");
    }
    let seen = highway(Process::new(), &database, "wr0ng").required().end();
    let error = seen.line("error");
    assert!(error.starts_with(&format!("Highway: the store of `HW_DB_HOST` is required: {expected}")), "{error}");
    seen.has_no("wr0ng");
}

#[tokio::test]
async fn a_start_before_the_table_is_there_is_degraded_and_mends_itself() {
    let database = Database::fresh().await;
    let seen = Process::new().required().set("FUSEBOX_STORE_URL", &database.url()).end();
    assert!(seen.line("error").contains("run `PostgresStore::migrate`"), "{}", seen.line("error"));

    let mut process = Process::new().write().set("FUSEBOX_STORE_URL", &database.url()).start();
    process.until("degraded");
    PostgresStore::migrate(database.url()).await.expect("migrates");
    let seen = process.end();
    assert!(seen.line("store").contains(", degraded: the store refused: "), "{}", seen.line("store"));
    assert_eq!(seen.line("written"), "well");
    assert_eq!(written(&database).await, "written");
}

#[tokio::test]
async fn a_start_without_the_server_is_degraded_or_an_error() {
    let server = Server::start();
    let database = server.database().await;
    let processes = server.processes().await;
    signal("STOP", &processes);
    let seen = Process::new().set("FUSEBOX_STORE_URL", &database.url()).end();
    assert!(seen.line("degraded").contains("no answer within 1s"), "{}", seen.line("degraded"));
    let took: u32 = seen.line("took").parse().expect("a number");
    assert!((900..5_000).contains(&took), "{took} ms");
    signal("CONT", &processes);

    let (url, options) = (database.url(), database.options());
    drop((database, server));
    for process in [
        Process::new().set("FUSEBOX_STORE_URL", &url),
        Process::new()
            .set("HW_DB_HOST", options.get_host())
            .set("HW_DB_PORT", &options.get_port().to_string())
            .set("HW_DB_PASSWORD", PASSWORD),
    ] {
        let seen = process.end();
        assert!(seen.line("store").contains(", degraded: the store was not reached: "), "{}", seen.line("store"));
        seen.has_no(PASSWORD);
    }
    let seen = Process::new().required().set("FUSEBOX_STORE_URL", &url).end();
    let error = seen.line("error");
    assert!(error.starts_with("StoreUrl: the store of `FUSEBOX_STORE_URL` is required: the store was not"), "{error}");
    seen.has_no(PASSWORD);
}
