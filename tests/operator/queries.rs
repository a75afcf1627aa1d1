//! What people ask the database itself.

use std::env::{consts::EXE_SUFFIX, current_exe};
use std::process::Command;

use super::postgres_server::Database;

#[tokio::test(flavor = "multi_thread")]
async fn people_query_what_breakers_share() {
    let database = Database::fresh().await;
    let test = current_exe().expect("the path of this test");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<this test>");
    let program = profile.join("examples").join(format!("shared_postgres{EXE_SUFFIX}"));
    assert!(program.exists(), "`cargo build --examples --all-features` builds {}", program.display());
    let run = Command::new(program).env("DATABASE_URL", database.url()).output().expect("to start it");
    let text = String::from_utf8([run.stdout, run.stderr].concat()).expect("UTF-8");
    assert!(run.status.success(), "{text}");
    let expected = [
        "one:     payments: open (3 failures)",
        "another: payments: open (3 failures)",
        "what is not closed",
        "payments  OPEN  3",
        "how many in each state",
        "CLOSED  1",
        "OPEN  1",
        "what happened",
        "payments  OPEN",
    ];
    let mut rest = text.as_str();
    for part in expected {
        let found = rest.split_once(part);
        assert!(found.is_some(), "no `{part}` where it should be in:\n{text}");
        rest = found.map_or("", |(_, after)| after);
    }
    let left = database.run("select tablename from pg_tables where tablename like 'fusebox_example%'").await;
    assert!(left.is_empty(), "{left:?}");
}
