//! What a database administrator runs by hand.

use std::sync::Arc;

use fusebox::store::{self, PostgresStore};

use super::postgres_server::Database;
use super::*;

/// What it prints, which needs no server and no address.
fn printed(words: &[&str]) -> String {
    run(program().args(["migrate", "--print"]).args(words)).ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_what_migrate_runs() {
    let builder = || PostgresStore::builder().schema("ops").table("breakers").grant_to("app").grant_to("audit");
    let words = ["--schema", "ops", "--table", "breakers", "--grant-to", "app", "--grant-to", "audit"];
    assert_eq!(printed(&words), builder().migration().expect("names"));
    assert_eq!(printed(&[]), PostgresStore::builder().migration().expect("names"));

    let line = fusebox("postgres://h/d", &["migrate", "--print", "--grant-to", "a;b"]).fails(2);
    assert!(line.contains("`grant_to` is a;b, allowed is an identifier"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn printed_text_run_by_hand_is_enough_for_a_role_with_the_least_rights() {
    let database = Database::fresh().await;
    let app = format!("app_{}", database.name);
    database.run(&format!("create role {app} login password 'app'")).await;
    let script = printed(&["--schema", "ops", "--table", "breakers", "--grant-to", &app]);
    for time in ["first", "again"] {
        let (ended_well, text) = database.psql(&script);
        assert!(ended_well, "{time}: {text}");
    }

    let url = database.url_as(&app, "app");
    let at = |words: &[&str]| fusebox(&url, &[words, &["--schema", "ops", "--table", "breakers"]].concat());
    assert!(at(&["check", "--write"]).ok().contains("\nwrites         yes\nnotices        yes\n"));
    at(&["trip", "payments", "--create"]).ok();
    assert!(at(&["list"]).ok().contains("\npayments  open "));
    let store = PostgresStore::builder().url(&url).schema("ops").table("breakers").connect().await.expect("may");
    let passed = store::conformance(Arc::new(store)).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");

    let line = at(&["migrate"]).fails(4);
    assert!(line.contains("permission denied"), "it may use the tables, and not make any: {line}");
    let tables = "select count(*)::text from pg_tables where schemaname = 'ops' and tableowner = 'owner'";
    assert_eq!(database.run(tables).await, [["4"]]);
    let rights = "select string_agg(distinct privilege_type, ' ' order by privilege_type) from \
        information_schema.role_table_grants where table_schema = 'ops' and grantee = ";
    assert_eq!(database.run(&format!("{rights}'{app}'")).await, [["DELETE INSERT SELECT UPDATE"]]);
    fusebox(&database.url(), &["migrate", "--schema", "ops", "--table", "breakers"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_by_the_operator_not_by_the_application() {
    let database = Database::fresh().await;
    let url = database.url();
    let line = fusebox(&url, &["check"]).fails(4);
    assert!(line.contains("migrate"), "{line}");
    assert_eq!(fusebox(&url, &["migrate"]).ok(), "the tables are there\n");
    fusebox(&url, &["check"]).ok();
    fusebox(&url, &["trip", "payments", "--create"]).ok();
    let text = fusebox(&url, &["list"]).ok();
    assert!(text.contains("\npayments  open   ") && text.contains("tripped by command"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_long_over_is_taken_away() {
    let both::Raw::Postgres(database) = both::Raw::postgres().await else { panic!("it is PostgreSQL") };
    let url = database.url();
    fusebox(&url, &["reset", "old", "--create"]).ok();
    fusebox(&url, &["reset", "new", "--create"]).ok();
    fusebox(&url, &["forget", "old", "--yes"]).ok();
    let ago = "update hw_circuit_breakers set updated_at = now() - interval '2 days' where resource_key = 'old'";
    database.run(ago).await;
    assert_eq!(fusebox(&url, &["prune"]).ok(), "taken away: 0 breakers, 0 events\n", "seven days are not over");
    assert_eq!(fusebox(&url, &["prune", "--older-than", "1d"]).ok(), "taken away: 1 breakers, 0 events\n");
    assert_eq!(database.run("select resource_key from hw_circuit_breakers").await, [["new"]]);
    let redis = servers::Redis::start().await;
    fusebox(&redis.url(), &["prune"]).fails(2);
}
