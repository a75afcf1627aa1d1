//! A thousand files with one mistake each, made from right ones by what knows nothing of the tables: each is refused by
//! its path.

use std::collections::HashMap;
use std::fmt::Write as _;

use fusebox::settings::Settings;
use serde_json::{Value, json};

/// A step down into a file.
#[derive(Clone, Debug)]
enum Step {
    Key(String),
    Index(usize),
}

type Steps = Vec<Step>;

/// The one mistake of a file.
struct Wrong {
    file: Value,
    /// Where it is.
    path: String,
    /// What must be said of it besides.
    says: String,
}

/// Sections whose keys are names, and so cannot be misspelt.
const SECTIONS: [&str; 6] = ["breakers", "registries", "retries", "budgets", "fleets", "keys"];

fn path_of(steps: &[Step]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Index(index) => write!(path, "[{index}]").expect("a text"),
            Step::Key(key) => {
                let dot = if path.is_empty() { "" } else { "." };
                let is_bare = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
                let quote = if is_bare { "" } else { "\"" };
                write!(path, "{dot}{quote}{key}{quote}").expect("a text");
            }
        }
    }
    path
}

fn nodes(value: &Value, at: &Steps, found: &mut Vec<Steps>) {
    found.push(at.clone());
    let below = |step| at.iter().cloned().chain([step]).collect::<Steps>();
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| nodes(value, &below(Step::Key(key.clone())), found));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, value)| nodes(value, &below(Step::Index(i)), found));
        }
        _ => {}
    }
}

fn node<'a>(value: &'a mut Value, steps: &[Step]) -> &'a mut Value {
    steps.iter().fold(value, |value, step| match step {
        Step::Key(key) => &mut value[key.as_str()],
        Step::Index(index) => &mut value[*index],
    })
}

/// What is wrong in place of such a value.
fn instead_of(value: &Value) -> Vec<Value> {
    let number = || vec![json!(-1), json!(-0.5), json!("12x"), json!(""), json!(true), json!([1]), json!({ "a": 1 })];
    match value {
        Value::Number(_) => number(),
        Value::Bool(_) => vec![json!("maybe"), json!(17), json!([]), json!({ "a": true })],
        // A length of time.
        Value::String(text)
            if text.starts_with(|c: char| c.is_ascii_digit()) && text.ends_with(|c: char| c.is_alphabetic()) =>
        {
            let texts = ["12", "-1s", "5 parsecs", "1s,", "soon", "PT"].map(Value::from);
            texts.into_iter().chain([json!(17), json!(1.5), json!(false), json!({ "a": 1 })]).collect()
        }
        Value::String(_) => vec![json!(""), json!(17), json!(-1), json!(true), json!({ "zzz": 1 })],
        Value::Array(_) => vec![json!([]), json!(17), json!("zzz"), json!({ "zzz": 1 }), json!({ "1": {} })],
        Value::Object(_) => vec![json!(17), json!(1.5), json!(true)],
        Value::Null => Vec::new(),
    }
}

/// Where the mistake in such a value is told: at it, or in it.
fn place(path: &str, value: &Value, instead: &Value) -> Vec<String> {
    let mut places = vec![path.to_owned()];
    match instead {
        Value::Object(members) => places.extend(members.keys().map(|key| format!("{path}.{key}"))),
        Value::Array(items) if !items.is_empty() => places.push(format!("{path}[0]")),
        _ => {}
    }
    if value.is_array() {
        // A list may have numbers for keys.
        places.push(format!("{path}[1]"));
    }
    places
}

/// Every mistake of one node.
fn mistakes(file: &Value, steps: &Steps, wrong: &mut Vec<(Wrong, Vec<String>)>) {
    let path = path_of(steps);
    let value = node(&mut file.clone(), steps).clone();
    for instead in instead_of(&value).into_iter().chain([Value::Null]) {
        if steps.is_empty() {
            continue;
        }
        let mut file = file.clone();
        *node(&mut file, steps) = instead.clone();
        let places = place(&path, &value, &instead);
        wrong.push((Wrong { file, path: path.clone(), says: String::new() }, places));
    }
    let Value::Object(members) = &value else {
        return;
    };
    let are_names = matches!(steps.last(), Some(Step::Key(last)) if SECTIONS.contains(&last.as_str()));
    if are_names {
        return;
    }
    let below = |key: &str| path_of(&steps.iter().cloned().chain([Step::Key(key.to_owned())]).collect::<Steps>());
    let mut unknown = file.clone();
    node(&mut unknown, steps)["zzz_unknown"] = json!(1);
    let path = below("zzz_unknown");
    wrong.push((Wrong { file: unknown, path: path.clone(), says: "is unknown".to_owned() }, vec![path]));
    for key in members.keys() {
        let (head, tail) = key.split_at(1);
        for misspelt in [format!("{head}{head}{tail}"), format!("{head}x{tail}"), key.to_uppercase()] {
            let mut file = file.clone();
            if let Value::Object(members) = node(&mut file, steps)
                && let Some(value) = members.remove(key)
            {
                members.insert(misspelt.clone(), value);
            }
            let path = below(&misspelt);
            wrong.push((Wrong { file, path: path.clone(), says: format!("did you mean `{key}`?") }, vec![path]));
        }
    }
}

/// The right files, and those with their detectors deep within others.
fn right() -> Vec<Value> {
    let mut files = super::valid::files();
    for depth in 1..=3 {
        let mut detector = json!({ "type": "failure_rate", "rate": 0.5, "within": "1m", "min_calls": 20 });
        for level in 0..depth {
            let other = json!({ "type": "consecutive_failures", "count": 3 });
            detector = match level % 2 {
                0 => json!({ "type": "any", "of": [other, detector] }),
                _ => json!({ "all": [other, detector] }),
            };
        }
        files.push(json!({ "registries": { "hosts": { "keys": { "slow.example": { "detector": detector } } } } }));
    }
    files
}

fn all_wrong() -> Vec<(Wrong, Vec<String>)> {
    let mut wrong = Vec::new();
    for file in right() {
        let mut found = Vec::new();
        nodes(&file, &Vec::new(), &mut found);
        found.iter().for_each(|steps| mistakes(&file, steps, &mut wrong));
    }
    wrong
}

/// The path that an error names first.
fn named(message: &str) -> Option<&str> {
    let rest = message.split_once('`')?.1;
    Some(&rest[..rest.find("` ")?])
}

fn check(form: &str, Wrong { file, path, says }: &Wrong, places: &[String], read: Result<Settings, String>) {
    let Err(message) = read else {
        panic!("{form} is taken, wrong at {path}: {file:#}");
    };
    let named = named(&message).unwrap_or_else(|| panic!("{form}, {path}: no path in {message}"));
    assert!(places.iter().any(|place| place == named), "{form}: {named} instead of {path}: {message}\n{file:#}");
    assert!(message.contains(says), "{form}, {path}: should say {says}: {message}");
    assert!(
        message.contains("allowed")
            || message.contains("unknown")
            || message.contains(" is for ")
            || message.contains("lacks")
            || message.contains("excludes"),
        "{message}"
    );
}

#[test]
fn every_wrong_json_file_is_refused_by_its_path() {
    let right: Vec<_> =
        right().into_iter().map(|file| serde_json::from_value::<Settings>(file).expect("right")).collect();
    let before = format!("{right:?}");
    let wrong = all_wrong();
    assert!(wrong.len() >= 1_000, "{}", wrong.len());
    for (wrong, places) in &wrong {
        let read = serde_json::from_str(&wrong.file.to_string()).map_err(|error: serde_json::Error| {
            assert!(error.line() > 0, "the format says where: {error}");
            error.to_string()
        });
        check("JSON", wrong, places, read);
    }
    assert_eq!(format!("{right:?}"), before, "what was right is what it was");
}

/// As one line of TOML for each section.
fn toml_of(file: &Value) -> Option<String> {
    fn inline(value: &Value) -> Option<String> {
        Some(match value {
            Value::Null => return None,
            Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Option<Vec<_>>>()?.join(", ")),
            Value::Object(members) => {
                let members = members.iter().map(|(key, value)| Some(format!("{key:?} = {}", inline(value)?)));
                format!("{{ {} }}", members.collect::<Option<Vec<_>>>()?.join(", "))
            }
            other => other.to_string(),
        })
    }
    let Value::Object(sections) = file else {
        return None;
    };
    let lines = sections.iter().map(|(key, value)| Some(format!("{key:?} = {}\n", inline(value)?)));
    Some(lines.collect::<Option<Vec<_>>>()?.concat())
}

#[test]
fn every_wrong_toml_file_is_refused_by_its_path() {
    let mut count = 0;
    for (wrong, places) in &all_wrong() {
        let Some(text) = toml_of(&wrong.file) else {
            continue;
        };
        let read = toml::from_str(&text).map_err(|error| {
            assert!(error.span().is_some(), "the format says where: {error}");
            error.message().to_owned()
        });
        check("TOML", wrong, places, read);
        count += 1;
    }
    assert!(count >= 1_000, "{count}");
}

/// Variables, of whose names `config` makes lower case; lists have their numbers.
fn variables(value: &Value, name: &str, found: &mut HashMap<String, String>) -> bool {
    let below =
        |key: &str| if name.is_empty() { key.to_uppercase() } else { format!("{name}__{}", key.to_uppercase()) };
    match value {
        Value::Object(members) => {
            let is_sayable =
                |key: &String| key.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            !members.is_empty()
                && members.iter().all(|(key, value)| is_sayable(key) && variables(value, &below(key), found))
        }
        Value::Array(items) => {
            !items.is_empty()
                && items.iter().enumerate().all(|(i, value)| variables(value, &below(&i.to_string()), found))
        }
        Value::Null => false,
        Value::String(text) => found.insert(name.to_owned(), text.clone()).is_none(),
        other => found.insert(name.to_owned(), other.to_string()).is_none(),
    }
}

#[test]
fn every_wrong_environment_is_refused_by_its_path() {
    let mut count = 0;
    let of_environment = |file: &Value| {
        let mut found = HashMap::new();
        if !variables(file, "", &mut found) {
            return None;
        }
        let source = config::Environment::default().separator("__").source(Some(found));
        let read = config::Config::builder().add_source(source).build().and_then(config::Config::try_deserialize);
        Some(read.map_err(|error| error.to_string()))
    };
    // What no variable can say is left out.
    let sayable = |mut file: Value| {
        file["breakers"].as_object_mut().map(|breakers| breakers.remove("empty"));
        file["registries"]["hosts"]["keys"].as_object_mut().map(serde_json::Map::clear);
        file["registries"]["hosts"].as_object_mut().map(|hosts| hosts.remove("keys"));
        file["fleets"].as_object_mut().map(|fleets| fleets.remove("plain"));
        file
    };
    for file in super::valid::files()
        .into_iter()
        .skip(1)
        .take(2)
        .map(|file| if file.get("fleets").is_some() { sayable(file) } else { file })
    {
        assert_eq!(of_environment(&file).expect("it can be said").err(), None, "{file:#}");
        let (mut found, mut wrong) = (Vec::new(), Vec::new());
        nodes(&file, &Vec::new(), &mut found);
        found.iter().for_each(|steps| mistakes(&file, steps, &mut wrong));
        for (wrong, places) in &wrong {
            // Text that is right, because text is all that there is.
            let was = node(&mut file.clone(), &[]).clone();
            if let Some(read) = of_environment(&wrong.file).filter(|_| wrong.file != was) {
                if read.is_ok() && wrong.says.is_empty() {
                    continue;
                }
                check("the environment", wrong, places, read);
                count += 1;
            }
        }
    }
    assert!(count >= 300, "{count}");
}

/// What is left out is either not needed, or told by the table that lacks it.
#[test]
fn a_missing_piece_is_told_by_the_table_that_lacks_it() {
    let mut told = 0;
    for file in right() {
        let mut found = Vec::new();
        nodes(&file, &Vec::new(), &mut found);
        for steps in &found {
            let Some((Step::Key(key), above)) = steps.split_last() else {
                continue;
            };
            let mut lacking = file.clone();
            if let Value::Object(members) = node(&mut lacking, above) {
                members.remove(key);
            }
            if let Err(error) = serde_json::from_value::<Settings>(lacking) {
                let (error, table) = (error.to_string(), path_of(above));
                let named = named(&error).unwrap_or_else(|| panic!("no path in {error}"));
                // Without its type it is another table, and without its section a name is none.
                let is_near = named == table || named.starts_with(&format!("{table}.")) || table.is_empty();
                let refers = ["fleet", "budget"].iter().any(|field| named.ends_with(field));
                assert!(is_near || refers, "{error}: {table} lacks {key}");
                told += 1;
            }
        }
    }
    assert!(told >= 60, "{told}");
}
