//! What another role lacks: each right by itself, told as `grant` takes it.

use super::postgres_server::Database;
use super::*;

/// A database with the tables in a schema of their own, and a role that may log in and nothing else.
async fn bed() -> (Database, String) {
    let database = Database::fresh().await;
    let app = format!("app_{}", database.name);
    database.run(&format!("create role {app} login password 'app'")).await;
    at(&database.url(), &["migrate"]).ok();
    (database, app)
}

fn at(url: &str, words: &[&str]) -> Run {
    fusebox(url, &[words, &["--schema", "ops", "--table", "breakers"]].concat())
}

/// What the role is said to lack, and that the exit code says the same.
#[track_caller]
fn lacks(database: &Database, role: &str) -> Vec<String> {
    let run = at(&database.url(), &["check", "--role", role]);
    let said = format!("\nrole           {role:?} lacks");
    let rights: Vec<_> = run.out.split_once(&said).expect("it is told").1.lines().skip(1).map(str::trim).collect();
    let rights: Vec<_> = rights.into_iter().map(ToOwned::to_owned).collect();
    if rights.is_empty() {
        assert!(run.ok().ends_with(&format!("{said} nothing\n")));
    } else {
        let count = rights.len();
        assert_eq!(run.fails(4), format!("role {role:?} lacks {count} of the rights that it needs"));
    }
    rights
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_that_a_role_lacks_is_told_and_granted_by_what_is_told() {
    let (database, app) = bed().await;
    let app_url = database.url_as(&app, "app");
    let at_first = lacks(&database, &app);
    assert_eq!(at_first.len(), 17, "to connect, and to execute a function, may everyone at first: {at_first:?}");
    at(&database.url(), &["migrate", "--grant-to", &app]).ok();
    assert!(lacks(&database, &app).is_empty());
    at(&app_url, &["check", "--write"]).ok();
    at(&app_url, &["trip", "payments", "--create"]).ok();

    let execute = "execute on function \"ops\".\"breakers_commit_v2\"".to_owned();
    for right in at_first.iter().chain([&execute]) {
        database.run(&format!("revoke {right} from {app}")).await;
        database.run(&format!("revoke {right} from public")).await;
        assert_eq!(lacks(&database, &app), [right.as_str()]);
        // The role itself finds out the same by trying.
        at(&app_url, &["check"]).fails(4);
        database.run(&format!("grant {right} to {app}")).await;
        assert!(lacks(&database, &app).is_empty(), "{right}");
        at(&app_url, &["check", "--write"]).ok();
    }
    let connect = format!("connect on database {}", database.name);
    database.run(&format!("revoke {connect} from public")).await;
    assert_eq!(lacks(&database, &app), [connect.as_str()]);
    let refused = at(&app_url, &["check"]).fails(4);
    assert!(refused.contains("permission denied for database"), "{refused}");
    database.run(&format!("grant {connect} to {app}")).await;
    assert!(lacks(&database, &app).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_also_those_of_the_roles_that_one_is_a_member_of() {
    let (database, app) = bed().await;
    let group = format!("group_{}", database.name);
    database.run(&format!("create role {group}; grant {group} to {app}")).await;
    at(&database.url(), &["migrate", "--grant-to", &group]).ok();
    assert!(lacks(&database, &app).is_empty());
    assert!(lacks(&database, "owner").is_empty(), "whose the tables are");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_one_of_the_server_by_its_whole_name() {
    let (database, app) = bed().await;
    let strange = format!("Strange-{}'s \"role\"", database.name);
    database.run(&format!("create role \"{}\"", strange.replace('"', "\"\""))).await;
    assert_eq!(lacks(&database, &strange).len(), 17);
    for unknown in ["nobody-there", "", &app.to_uppercase(), "x' or 'a' = 'a"] {
        let told = at(&database.url(), &["check", "--role", unknown]).fails(1);
        assert!(told.starts_with(&format!("no role {unknown:?} is in PostgreSQL at ")), "{told}");
    }
    let redis = servers::Redis::start().await;
    let told = fusebox(&redis.url(), &["check", "--role", "app"]).fails(2);
    assert!(told.contains("is that of another store"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_read_what_a_role_lacks() {
    let (database, app) = bed().await;
    let run = at(&database.url(), &["check", "--role", &app, "--json"]);
    let lines = json::told(&run);
    assert_eq!((run.code, lines[0]["role"]["name"].as_str()), (4, Some(app.as_str())));
    assert_eq!(lines[0]["role"]["missing"].as_array().map(Vec::len), Some(17));
    assert_eq!(lines[1]["error"]["kind"], "incomplete");
    let none = at(&database.url(), &["check", "--json"]);
    assert_eq!(json::told(&none)[0].get("role"), None);
}
