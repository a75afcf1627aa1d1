//! The page on settings: its files are read, and its tables are those of the schema.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use fusebox::settings::Settings;
use serde_json::Value;

const BEGIN: &str = "<!-- fields: written by tests/settings/docs.rs -->\n";
const END: &str = "<!-- end of fields -->";

/// The blocks of TOML in a page.
fn blocks(page: &str) -> Vec<&str> {
    page.split("```toml\n").skip(1).filter_map(|rest| rest.split("\n```").next()).collect()
}

#[test]
fn every_file_on_the_page_is_read() {
    let page = include_str!("../../docs/settings.md");
    assert!(blocks(page).len() >= 3, "{page}");
    let readme = include_str!("../../README.md").split("### From a file").nth(1).expect("the section");
    for block in blocks(page).into_iter().chain(blocks(readme).into_iter().take(1)) {
        toml::from_str::<Settings>(block).unwrap_or_else(|error| panic!("{block}\n{error}"));
    }
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// The fields of one table, a row each.
fn rows(table: &Value, skip: &[&str], out: &mut String) {
    out.push_str("\n| field | |\n|---|---|\n");
    let Some(fields) = table["properties"].as_object() else {
        return;
    };
    for (name, field) in fields {
        if skip.contains(&name.as_str()) {
            continue;
        }
        let required = table["required"].as_array().is_some_and(|list| list.iter().any(|other| other == name));
        let must = if required && field["const"].is_null() { " Required." } else { "" };
        let what = field["const"]
            .as_str()
            .map_or_else(|| text(field, "description").to_owned(), |word| format!("`\"{word}\"`"));
        writeln!(out, "| `{name}` | {what}{must} |").expect("a text");
    }
}

fn reference() -> String {
    let schema: Value = serde_json::from_str(&fusebox::settings::schema()).expect("JSON");
    let breaker: Vec<_> =
        schema["$defs"]["breaker"]["properties"].as_object().expect("a table").keys().cloned().collect();
    let of_breaker: Vec<_> = breaker.iter().map(String::as_str).collect();
    let mut out = String::new();
    let tables = [
        ("breaker", "A breaker", &[][..]),
        ("registry", "A registry, beside the fields of a breaker", &of_breaker),
        ("detector", "`detector`", &[]),
        ("cooldown", "`cooldown`: a duration, or a table", &[]),
        ("probes", "`probes`", &[]),
        ("outcomes", "`outcomes`", &[]),
        ("override", "`override`", &["by", "expires_after", "reason"]),
        ("retry", "A retry", &[]),
        ("backoff", "`backoff`: a duration, a list of them, or a table", &[]),
        ("budget", "A budget: a name, or a table", &[]),
        ("fleet", "A fleet: a name, or a table", &[]),
    ];
    for (name, title, skip) in tables {
        let table = &schema["$defs"][name];
        write!(out, "\n### {title}\n\n{}\n", text(table, "description")).expect("a text");
        match table["oneOf"].as_array() {
            None => rows(table, skip, &mut out),
            Some(variants) => {
                for variant in variants {
                    write!(out, "\n{}:\n", capital(text(variant, "description"))).expect("a text");
                    rows(variant, if name == "override" { &[] } else { skip }, &mut out);
                }
            }
        }
    }
    out.push('\n');
    out
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[test]
fn the_tables_on_the_page_are_those_of_the_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let page = fs::read_to_string(&path).expect("docs/settings.md");
    let (head, rest) = page.split_once(BEGIN).expect("where the fields begin");
    let (fields, tail) = rest.split_once(END).expect("where they end");
    let reference = reference();
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{reference}{END}{tail}")).expect("docs can be written");
    } else {
        assert!(fields == reference, "docs/settings.md is not what the tables say: run this test with UPDATE=1");
    }
}
