//! The JSON schema: as published, and as one who knows only it understands files.

use std::fs;
use std::path::Path;

use fusebox::settings::Settings;
use serde_json::{Value, json};

/// A validator that knows nothing of this crate.
pub(super) fn validator() -> impl Fn(&Value) -> Result<(), String> {
    let schema: Value = serde_json::from_str(&fusebox::settings::schema()).expect("JSON");
    let mut compiler = boon::Compiler::new();
    compiler.enable_format_assertions();
    compiler.add_resource("settings.json", schema).expect("a schema");
    let mut schemas = boon::Schemas::new();
    let index = compiler.compile("settings.json", &mut schemas).expect("a schema that is right itself");
    move |file| schemas.validate(file, index).map_err(|error| error.to_string())
}

#[test]
fn the_published_schema_is_that_of_the_tables() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.schema.json");
    let of_the_tables = fusebox::settings::schema();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &of_the_tables).expect("docs can be written");
    }
    let published = fs::read_to_string(&path).expect("docs/settings.schema.json");
    assert!(
        published == of_the_tables,
        "docs/settings.schema.json is not what the tables say: run this test with UPDATE=1"
    );
}

#[test]
fn files_that_are_right_are_right_by_the_schema() {
    let validate = validator();
    for file in super::valid::files() {
        assert!(serde_json::from_value::<Settings>(file.clone()).is_ok(), "{file:#}");
        if let Err(error) = validate(&file) {
            panic!("{file:#}\n{error}");
        }
    }
}

#[test]
fn what_the_schema_can_know_is_wrong_by_it() {
    let validate = validator();
    for wrong in [
        json!({ "breaker": {} }),
        json!({ "breakers": [] }),
        json!({ "breakers": { "": {} } }),
        json!({ "breakers": { "a": { "name": "a" } } }),
        json!({ "breakers": { "a": { "cooldwn": "1s" } } }),
        json!({ "breakers": { "a": { "cooldown": 5 } } }),
        json!({ "breakers": { "a": { "cooldown": "5" } } }),
        json!({ "breakers": { "a": { "cooldown": { "min": "1s" } } } }),
        json!({ "breakers": { "a": { "cooldown": { "type": "fixed", "min": "1s", "max": "2s" } } } }),
        json!({ "breakers": { "a": { "abandoned_after": "0s" } } }),
        json!({ "breakers": { "a": { "detector": {} } } }),
        json!({ "breakers": { "a": { "detector": { "type": "failures", "count": 3 } } } }),
        json!({ "breakers": { "a": { "detector": { "type": "failures", "count": 3, "of_last": 5, "within": "1s" } } } }),
        json!({ "breakers": { "a": { "detector": { "type": "failures", "count": 3, "within": "1s", "min_calls": 3 } } } }),
        json!({ "breakers": { "a": { "detector": { "type": "failure_rate", "rate": 0, "of_last": 5 } } } }),
        json!({ "breakers": { "a": { "detector": { "type": "failure_rate", "rate": "0%", "of_last": 5 } } } }),
        json!({ "breakers": { "a": { "detector": { "type": "failure_rate", "rate": "101%", "of_last": 5 } } } }),
        json!({ "breakers": { "a": { "detector": { "any": [] } } } }),
        json!({ "breakers": { "a": { "detector": { "any": [{ "all": [{ "type": "failures", "count": 0, "of_last": 5 }] }] } } } }),
        json!({ "breakers": { "a": { "enabled": false, "override": { "kind": "disabled", "reason": "x" } } } }),
        json!({ "breakers": { "a": { "override": { "kind": "disabled" } } } }),
        json!({ "retries": { "a": { "budget": { "type": "ratio" } } } }),
        json!({ "retries": { "a": { "budget": { "type": "tokens", "ratio": 0, "max_tokens": 3 } } } }),
        json!({ "retries": { "a": { "backoff": [] } } }),
        json!({ "retries": { "a": { "backoff": { "min": "1s", "max": "2s", "jitter": "half" } } } }),
        json!({ "retries": { "a": { "when_rejected": "give_up" } } }),
        json!({ "fleets": { "a": { "mode": "votes" } } }),
        json!({ "fleets": { "a": { "mode": "pooled", "votes": 2 } } }),
        json!({ "fleets": { "a": { "votes": 257 } } }),
        json!({ "registries": { "a": { "keys": { "b": { "max": 3 } } } } }),
        json!(null),
    ] {
        assert!(validate(&wrong).is_err(), "the schema takes {wrong}");
        let text = wrong.to_string();
        assert!(serde_json::from_str::<Settings>(&text).is_err(), "the reader takes {wrong}");
    }
}

/// What the schema says of lengths is what is read: from one on to the most, and not one more.
#[test]
fn lists_and_names_are_as_long_by_the_schema_as_they_are_read() {
    let validate = validator();
    let waits = |count: usize| json!({ "retries": { "a": { "backoff": vec!["1s"; count] } } });
    let failures = |count: usize| json!({ "breakers": { "a": { "outcomes": { "failures": vec![503; count] } } } });
    let any = |count: usize| {
        let detector = json!({ "type": "consecutive_failures", "count": 3 });
        json!({ "breakers": { "a": { "detector": { "any": vec![detector; count] } } } })
    };
    let named = |length: usize| json!({ "breakers": { "x".repeat(length): {} } });
    let budget = |length: usize| {
        let (name, budget) = ("x".repeat(length), json!({ "type": "ratio", "ratio": 1 }));
        json!({ "budgets": { name.as_str(): budget }, "retries": { "a": { "budget": name } } })
    };
    let kinds: [(&dyn Fn(usize) -> Value, usize); 5] =
        [(&waits, 256), (&failures, 256), (&any, 256), (&named, 255), (&budget, 255)];
    for (file, most) in kinds {
        for (length, is_right) in [(0, false), (1, true), (most, true), (most + 1, false)] {
            let file = file(length);
            let shown = file.to_string();
            assert_eq!(validate(&file).is_ok(), is_right, "the schema, {length}: {shown}");
            let read = serde_json::from_str::<Settings>(&shown).map_err(|error| error.to_string());
            assert_eq!(read.as_ref().is_ok_and(|settings| settings.explain().is_ok()), is_right, "{length}: {read:?}");
        }
    }
    // In the environment a list is one text.
    for (count, is_right) in [(256, true), (257, false)] {
        let text = format!("[breakers.a]\noutcomes.failures = '{}'", vec!["503"; count].join(","));
        assert_eq!(toml::from_str::<Settings>(&text).is_ok(), is_right, "{count}");
    }
    // A name alone says which budget, so that only the schema of a name can know.
    let long = json!({ "retries": { "a": { "budget": "x".repeat(256) } } });
    assert!(validate(&long).is_err());
}
