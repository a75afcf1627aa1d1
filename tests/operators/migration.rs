//! What a database administrator runs by hand.

use fusebox::store;

use super::*;

/// What it prints, which needs no server and no address.
fn printed(words: &[&str]) -> String {
    let mut admin = example("fleet_admin");
    admin.args(["migrate", "--print"]).args(words).env_remove("FUSEBOX_STORE_URL").env_remove("HW_DB_HOST");
    let (ended_well, text) = run(&mut admin);
    assert!(ended_well, "{text}");
    text + "\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_what_migrate_runs() {
    let builder = || PostgresStore::builder().schema("ops").table("breakers").grant_to("app").grant_to("audit");
    let words = ["--schema", "ops", "--table", "breakers", "--grant-to", "app", "--grant-to", "audit"];
    assert_eq!(printed(&words), builder().migration().expect("names"));
    assert_eq!(printed(&[]), PostgresStore::builder().migration().expect("names"));

    let (ended_well, text) = admin("postgres://h/d", "migrate --print --grant-to a;b");
    assert!(!ended_well && text.contains("`grant_to` is a;b, allowed is an identifier"), "{text}");
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
    let at = |words: &[&str]| admin_with(&url, &[words, &["--schema", "ops", "--table", "breakers"]].concat());
    assert_eq!(at(&["check"]), (true, "the store answers".to_owned()));
    assert!(at(&["trip", "payments", "--create"]).0);
    assert!(at(&["list"]).1.starts_with("payments: open"));
    let store = PostgresStore::builder().url(&url).schema("ops").table("breakers").connect().await.expect("may");
    let passed = store::conformance(Arc::new(store)).await.expect("conforms");
    assert!(passed.combines && passed.pushes && passed.lists && passed.tells_changes, "{passed:?}");

    let (ended_well, text) = at(&["migrate"]);
    assert!(!ended_well && text.contains("permission denied"), "it may use the tables, and not make any: {text}");
    let tables = "select count(*)::text from pg_tables where schemaname = 'ops' and tableowner = 'owner'";
    assert_eq!(database.run(tables).await, [["4"]]);
    let rights = "select string_agg(distinct privilege_type, ' ' order by privilege_type) from \
        information_schema.role_table_grants where table_schema = 'ops' and grantee = ";
    assert_eq!(database.run(&format!("{rights}'{app}'")).await, [["DELETE INSERT SELECT UPDATE"]]);
    let (ended_well, text) = admin_with(&database.url(), &["migrate", "--schema", "ops", "--table", "breakers"]);
    assert!(ended_well, "the owner's own way finds nothing left to do: {text}");
}
