//! What programs read: by the published schema.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::both::{Raw, breakers, newer, on_both};
use super::*;

/// A validator that knows nothing of this crate.
pub(super) fn validator() -> impl Fn(&Value) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fusebox-cli.schema.json");
    let schema: Value = serde_json::from_str(&fs::read_to_string(path).expect("is published")).expect("JSON");
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource("cli.json", schema).expect("a schema");
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile("cli.json", &mut schemas).expect("a schema that is right itself");
    move |value| schemas.validate(value, index).map_err(|error| error.to_string())
}

/// Each line that it printed, valid.
#[track_caller]
pub(super) fn told(run: &Run) -> Vec<Value> {
    let is_valid = validator();
    let lines = run.out.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    let lines: Vec<Value> = lines.collect();
    for line in &lines {
        if let Err(error) = is_valid(line) {
            panic!("{line:#}\n{error}");
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_printed_for_programs_is_valid_by_the_schema() {
    on_both(async |url, store, raw| {
        let _known = breakers(&store, &["a", "b", "c"]).await;
        raw.write("b", &newer()).await;
        let tell = |words: &[&str]| {
            let run = fusebox(&url, &[words, &["--json"]].concat());
            (told(&run), run.code)
        };
        let (lines, code) = tell(&["list"]);
        assert_eq!((lines.len(), code, lines[0]["breakers"].as_array().map(Vec::len)), (2, 4, Some(3)));
        assert_eq!(lines[1]["error"]["kind"], "incomplete");
        let (lines, code) = tell(&["show", "a"]);
        assert_eq!((code, &lines[0]["state"], &lines[0]["failures"]), (0, &"closed".into(), &1.into()));
        assert_eq!(tell(&["show", "b"]).0[0]["trouble"], "newer");
        let (lines, code) = tell(&["trip", "a"]);
        assert_eq!((code, &lines[0]["changed"], &lines[0]["after"]["state"]), (0, &true.into(), &"open".into()));
        assert_eq!(lines[0]["after"]["retry_after"], Value::Null);
        let hold = tell(&["force-open", "c", "--reason", "x", "--for", "1h"]).0;
        assert_eq!(hold[0]["after"]["overridden"]["by"], "tester");
        assert_eq!(tell(&["reset", "c"]).0[0]["error"]["kind"], "overridden");
        assert_eq!(tell(&["reset", "d"]).0[0]["error"]["kind"], "no");
        assert_eq!(tell(&["reset", "d", "--create"]).0[0]["before"], Value::Null);
        assert_eq!(tell(&["forget", "d", "--yes"]).0[0]["after"], Value::Null);
        assert_eq!(tell(&["wait", "c", "--state", "open"]).0[0]["name"], "c");
        let (lines, code) = tell(&["check", "--write"]);
        assert_eq!(
            (code, &lines[0]["writes"], &lines[1]["error"]["kind"]),
            (4, &"granted".into(), &"incomplete".into())
        );
        if matches!(raw, Raw::Postgres(_)) {
            assert_eq!(tell(&["migrate"]).0[0]["migrated"], true);
            assert_eq!(tell(&["prune"]).0[0]["rows"], 0);
        }
    })
    .await;
    let away = fusebox("redis://127.0.0.1:1", &["list", "--json"]);
    assert_eq!(told(&away)[0]["error"]["kind"], "away");
    let file = std::env::temp_dir().join(format!("fusebox-cli-{}.toml", std::process::id()));
    fs::write(&file, "[breakers.payments]\ncooldown = \"30s\"\n").expect("a file");
    let explained = run(program().args(["config", "check", "--json"]).arg(&file));
    assert!(told(&explained)[0]["explained"].as_array().is_some_and(|lines| lines.len() > 1));
    fs::remove_file(&file).ok();
}

#[test]
fn the_schema_takes_nothing_else() {
    let is_valid = validator();
    for wrong in [
        serde_json::json!({}),
        serde_json::json!({ "breakers": [] }),
        serde_json::json!({ "schema": 2, "breakers": [] }),
        serde_json::json!({ "schema": 1, "breakers": [{ "name": "a" }] }),
        serde_json::json!({ "schema": 1, "breakers": [{ "name": "a", "key": "a", "trouble": "tired", "why": "" }] }),
        serde_json::json!({ "schema": 1, "error": { "kind": "away", "message": "two\nlines" } }),
        serde_json::json!({ "schema": 1, "migrated": true, "rows": 0 }),
    ] {
        assert!(is_valid(&wrong).is_err(), "{wrong}");
    }
}
