//! The layers of the source, and the places that must name the same things.
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};

mod arrows;

/// The modules by rank: each uses those of its own rank and below.
const RANKS: [(&str, u32); 32] = [
    ("time", 0),
    ("error", 0),
    ("error_chain", 1),
    ("sync", 0),
    ("one_line", 0),
    ("text", 0),
    ("explanation", 0),
    ("guard", 0),
    ("json", 0),
    ("backoff", 1),
    ("counts", 1),
    ("circuit", 2),
    ("clock", 3),
    ("rejected", 3),
    ("classify", 3),
    ("key", 3),
    ("store", 4),
    ("replica", 5),
    ("fleet", 6),
    ("breaker", 7),
    ("attempts", 7),
    ("middleware", 8),
    ("settings", 8),
    ("telemetry", 8),
    ("health", 8),
    ("web", 9),
    ("grpc", 9),
    ("env", 9),
    ("guide", 9),
    ("pages", 9),
    ("renamed", 10),
    // The crate's face: it only names what the others hold.
    ("lib", 10),
];

/// The rules are free of these: time, order and chance come in as values.
const NOT_IN_RULES: [&str; 8] =
    ["tokio", "Mutex", "RwLock", "Atomic", "async fn", "Instant", "SystemTime", "std::thread"];

/// A source file without its comments and, where it ends in one, its test module.
struct Source {
    /// From `src/` on.
    path: PathBuf,
    module: String,
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let (mut folders, mut sources) = (vec![src.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                // Programs are crates of their own, and see what every user sees.
                if path != src.join("bin") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a text file");
                let path = path.strip_prefix(&src).expect("below src").to_path_buf();
                let first = path.components().next().expect("a name").as_os_str().to_string_lossy().into_owned();
                sources.push(Source { module: first.trim_end_matches(".rs").to_owned(), code: code(&text), path });
            }
        }
    }
    assert!(sources.len() > 50, "the source was found");
    sources
}

/// The lines that are neither comments nor part of the test module at the end.
fn code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let lines = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| line.split(" // ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

fn rank(module: &str) -> u32 {
    let known = RANKS.iter().find(|(name, _)| *name == module);
    known.unwrap_or_else(|| panic!("`{module}` has no rank: give it one in this test")).1
}

/// The top-level modules, or root items, that the code names by `crate::`.
fn named(code: &str) -> impl Iterator<Item = &str> {
    let starts = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with('$'));
    starts.flat_map(|(at, found)| {
        let rest = &code[at + found.len()..];
        let group = rest.strip_prefix('{').map(|group| &group[..group.find('}').unwrap_or(group.len())]);
        let items = group.map_or_else(|| vec![rest], |group| group.split(',').collect());
        items.into_iter().map(|item| {
            let item = item.trim();
            &item[..item.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(item.len())]
        })
    })
}

#[test]
fn no_file_uses_a_module_of_a_higher_rank() {
    for Source { path, module, code } in sources() {
        let holds_tests = path.to_string_lossy().ends_with("_tests.rs");
        if module == "lib" || holds_tests {
            continue;
        }
        for other in named(&code).filter(|other| !other.is_empty()) {
            let at_root = !RANKS.iter().any(|(name, _)| *name == other);
            assert!(!at_root, "{}: `crate::{other}` hides which module it is from", path.display());
            assert!(rank(other) <= rank(&module), "{}: `{module}` must not use `{other}`", path.display());
        }
    }
}

#[test]
fn modules_are_named_by_their_path_so_that_the_rank_test_sees_them() {
    for Source { path, code, .. } in sources() {
        let is_facade = path.file_name().is_some_and(|name| name == "mod.rs");
        let to_root = "super::".repeat(path.components().count() - usize::from(is_facade));
        // Indented ones are in a module of the file's own.
        let mut uses = code.lines().filter(|line| line.starts_with("use ") || line.starts_with("pub"));
        let climber = uses.find(|line| line.contains(&format!(" {to_root}")));
        assert!(climber.is_none(), "{}: say `crate::`: {}", path.display(), climber.unwrap_or_default());
        assert!(!code.contains("#[path"), "{}", path.display());
    }
}

#[test]
fn the_rules_have_no_clock_lock_thread_or_task() {
    let rules = ["circuit", "backoff", "replica"];
    for Source { path, code, .. } in sources().iter().filter(|source| rules.contains(&source.module.as_str())) {
        for word in NOT_IN_RULES {
            assert!(!code.contains(word), "{}: `{word}`", path.display());
        }
    }
}

#[test]
fn facades_hold_no_items_of_their_own() {
    for Source { path, code, .. } in sources() {
        if path.file_name().is_none_or(|name| name != "mod.rs") {
            continue;
        }
        for line in code.lines() {
            let mut words = line.split_whitespace().skip_while(|word| {
                word.starts_with("pub") || ["const", "async", "unsafe", "extern", "in"].contains(word)
            });
            let first = words.next().unwrap_or_default();
            let item = first.split('<').next().unwrap_or_default();
            assert!(!["struct", "enum", "trait", "fn", "impl"].contains(&item), "{}: {line}", path.display());
        }
    }
}

/// The root is what a newcomer reads first: the rest stands in modules named for their subject.
#[test]
fn the_root_has_about_thirty_names() {
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let code = code(&lib);
    let mut names = Vec::new();
    let mut items = code.split("pub use ");
    let mut before = items.next().expect("what stands before the first");
    for item in items {
        let path = &item[..item.find(';').expect("an end")];
        let group = path.split_once('{').map_or(path, |(_, group)| group.trim_end_matches('}'));
        let named = group.split(',').map(|name| name.rsplit([':', ' ']).next().unwrap_or(name).trim());
        if !before.contains("doc(hidden)") {
            // What begins with a small letter is a module or `rejection`.
            names.extend(
                named.filter(|name| !name.is_empty() && (name.starts_with(char::is_uppercase) || *name == "rejection")),
            );
        }
        before = &item[path.len()..];
    }
    names.sort_unstable();
    assert!((20..=32).contains(&names.len()), "{} names at the root: {}", names.len(), names.join(" "));
}

/// The modules that a glob import of this crate brings.
fn public_modules() -> Vec<String> {
    let lib = code(&fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs"));
    let items = lib.split(';').filter_map(|item| Some(item.rsplit_once("pub ")?.1));
    let last = |item: &str| item.rsplit([':', ' ']).next().unwrap_or_default().to_owned();
    let is_module =
        |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let exports = items.flat_map(|item| match item.split_once('{') {
        Some((_, group)) => group.split(['}', ',']).map(|item| last(item.trim())).collect(),
        None => vec![last(item)],
    });
    exports.filter(is_module).collect()
}

#[test]
fn no_public_module_shadows_a_crate_that_stands_beside_it() {
    let modules = public_modules();
    for known in ["classify", "key", "web", "retry", "detect"] {
        assert!(modules.iter().any(|module| module == known), "`{known}` was found among {modules:?}");
    }
    for lock in ["Cargo.lock", "benches/peers/Cargo.lock"] {
        let text = fs::read_to_string(root().join(lock)).expect("a lock file");
        let crates = text.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let crates: Vec<_> = crates.map(|name| name.replace('-', "_")).collect();
        assert!(crates.iter().any(|name| name == "tower"), "{lock} was read");
        for module in &modules {
            assert!(
                !crates.contains(module),
                "under `use fusebox::*`, `{module}` is this crate's module, not the crate"
            );
        }
    }
}

/// The features of Cargo.toml, with whether a comment stands above each.
fn features() -> Vec<(String, bool)> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let section = manifest.lines().skip_while(|line| *line != "[features]").skip(1);
    let mut features = Vec::new();
    let mut commented = false;
    for line in section.take_while(|line| !line.starts_with('[')) {
        if let Some((name, _)) = line.split_once(" = ") {
            if name != "default" {
                features.push((name.to_owned(), commented));
            }
            commented = false;
        } else {
            commented = line.starts_with("# ");
        }
    }
    assert!(features.len() >= 4, "{features:?}");
    features
}

#[test]
fn every_feature_is_explained_in_the_manifest_the_readme_and_the_crate_docs() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let lib = fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs");
    let mut missing = Vec::new();
    for (name, commented) in features() {
        if !commented {
            missing.push(format!("a comment above `{name}` in Cargo.toml"));
        }
        if !readme.lines().any(|line| line.starts_with(&format!("| `{name}` |"))) {
            missing.push(format!("a row \"| `{name}` | ..\" in README.md"));
        }
        if !lib.lines().any(|line| line.starts_with("//!") && line.contains(&format!("`{name}`"))) {
            missing.push(format!("a line with `{name}` in the docs of src/lib.rs"));
        }
    }
    assert!(missing.is_empty(), "missing: {}", missing.join("; "));
}

#[test]
fn the_readme_and_the_crate_docs_name_no_feature_that_is_gone() {
    let names: Vec<_> = features().into_iter().map(|(name, _)| name).collect();
    for (file, prefix) in [("README.md", ""), ("src/lib.rs", "//! ")] {
        let text = fs::read_to_string(root().join(file)).expect("a text file");
        let rows = text
            .lines()
            .filter_map(|line| line.strip_prefix(prefix))
            .skip_while(|line| !line.starts_with("| feature |"))
            .skip(2)
            .map_while(|line| line.strip_prefix("| `")?.split_once('`'));
        for (name, _) in rows {
            assert!(names.iter().any(|known| known == name), "{file} names `{name}`");
        }
    }
}
