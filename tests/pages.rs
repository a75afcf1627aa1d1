//! The pages of the repository: their code is run, and what they say of this crate is held by tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use test_names::Tests;

#[path = "support/test_names.rs"]
mod test_names;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn text_of(file: &str) -> String {
    fs::read_to_string(root().join(file)).expect("a text file")
}

/// The documents at the root and in `docs/`.
fn pages() -> Vec<String> {
    let names = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).expect("a folder");
        let names = entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"));
        names.filter(|name| name.ends_with(".md")).map(|name| format!("{folder}{name}")).collect::<Vec<_>>()
    };
    let pages = [names(""), names("docs/")].concat();
    assert!(pages.len() > 6, "{pages:?}");
    pages
}

/// The cells of each row of each table, but for heads, with the number of the line.
fn rows(text: &str) -> impl Iterator<Item = (usize, Vec<&str>)> {
    let lines = text.lines().zip(1..).filter(|(line, _)| line.starts_with("| "));
    lines.map(|(line, at)| (at, line.trim_matches('|').split(" | ").map(str::trim).collect()))
}

#[test]
fn the_code_of_every_page_is_run() {
    let run = text_of("src/pages.rs");
    for page in pages() {
        let has_code = text_of(&page).lines().any(|line| line.starts_with("```rust"));
        let is_run = run.contains(&format!("include_str!(\"../{page}\")"));
        assert_eq!(is_run, has_code, "{page}: its code belongs into src/pages.rs, a page without code does not");
        assert!(!text_of(&page).contains("```rust,ignore"), "{page}: code that is not even compiled");
    }
}

#[test]
fn the_commands_of_every_page_are_run() {
    let run = text_of("tests/fleet_processes/walk/mod.rs");
    let mut pages = pages();
    pages.retain(|page| text_of(page).lines().any(|line| line == "```console"));
    assert!(pages.len() >= 2, "{pages:?}");
    for page in pages {
        assert!(run.contains(&format!("(\"{page}\", ")), "{page}: its commands belong into tests/fleet_processes/walk");
    }
}

#[test]
fn links_from_page_to_page_lead_somewhere() {
    for page in pages() {
        let text = text_of(&page);
        let folder = Path::new(&page).parent().expect("a folder");
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { page.clone() } else { folder.join(file).to_string_lossy().into_owned() };
            assert!(root().join(&target).exists(), "{page}: {link}");
            if !anchor.is_empty() {
                assert!(anchors(&text_of(&target)).contains(anchor), "{page}: no heading for {link}");
            }
        }
    }
}

/// The anchors that GitHub makes of the headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings =
        text.lines().filter_map(|line| line.strip_prefix('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == ' ';
    headings
        .map(|heading| heading.to_lowercase().chars().filter(|c| kept(*c)).collect::<String>().replace(' ', "-"))
        .collect()
}

/// The rows of `docs/comparison.md` that say which test holds a claim: the claim, and the tests by file and name.
fn claims(text: &str) -> Vec<(usize, &str, Vec<(&str, &str)>)> {
    let tests = |cell: &'_ str| cell.starts_with('`') && cell.contains(": ");
    let held = rows(text).filter(|(_, cells)| cells.len() == 2 && tests(cells[1]));
    held.map(|(at, cells)| {
        let names = cells[1].split('`').skip(1).step_by(2);
        (at, cells[0], names.filter_map(|name| name.split_once(": ")).collect())
    })
    .collect()
}

#[test]
fn what_the_comparison_says_of_us_is_held_by_tests_that_exist() {
    let text = text_of("docs/comparison.md");
    let compared: BTreeSet<&str> = compared(&text).collect();
    assert!(compared.len() > 35, "the tables were found");
    let (mut known, mut held) = (Tests::default(), BTreeSet::new());
    for (at, claim, tests) in claims(&text) {
        assert!(!tests.is_empty(), "line {at}");
        held.insert(claim);
        for (file, name) in tests {
            assert!(known.have(file, name), "line {at}, {claim}: no test `{name}` in tests/{file}");
        }
    }
    assert_eq!(compared, held, "what is compared, and what is held by a test");
}

/// What the rows are about in which this crate is compared with others: tables whose head begins with an empty cell,
/// then us.
fn compared(text: &str) -> impl Iterator<Item = &str> {
    let tables = text.split("\n\n").filter(|part| part.starts_with("| | fusebox |"));
    tables
        .flat_map(|table| table.lines().skip(2))
        .map(|row| row.trim_matches('|').split(" | ").next().unwrap_or_default().trim())
}

#[test]
fn published_settings_are_quoted_as_they_are_tested() {
    let page = text_of("docs/migrating.md");
    let files = fs::read_dir(root().join("tests/data/published")).expect("a folder");
    let names: Vec<_> = files.map(|file| file.expect("a file").file_name().into_string().expect("a name")).collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let file = text_of(&format!("tests/data/published/{name}"));
        // The comments above quote the original.
        let settings = file.find("\n[").map(|at| file[at + 1..].trim_end()).expect("a table");
        assert!(page.contains(&format!("```toml\n{settings}\n```")), "{name} is another one in docs/migrating.md");
    }
}

/// All files below `folder` whose names end so, as one text.
fn texts_below(folder: &Path, end: &str) -> String {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    let texts = entries.map(|path| match path.is_dir() {
        true => texts_below(&path, end),
        false if path.to_string_lossy().ends_with(end) => fs::read_to_string(&path).expect("a text file"),
        false => String::new(),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// The words of a text, each with what stands before it.
fn paths(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices("::").map(move |(at, _)| {
        let before = text[..at].rsplit(|c| !is_word(c)).next().unwrap_or_default();
        let after = text[at + 2..].split(|c| !is_word(c)).next().unwrap_or_default();
        (before, after)
    })
}

/// Pages that name nothing but this crate's items, and those of crates that it stands beside.
const OUR_NAMES_ALONE: [&str; 6] = [
    "README.md",
    "docs/choosing.md",
    "docs/outcomes.md",
    "docs/stores.md",
    "docs/operate.md",
    "docs/fleet-protocol.md",
];

#[test]
fn the_items_that_pages_name_exist() {
    let source = texts_below(&root().join("src"), ".rs");
    let words: BTreeSet<&str> = source.split(|c: char| !(c.is_alphanumeric() || c == '_')).collect();
    let is_ours = |name: &str| {
        let ends = [" ", "<", "(", ";", ":"];
        let is = |kind: &str| ends.iter().any(|end| source.contains(&format!("pub {kind} {name}{end}")));
        ["struct", "enum", "trait", "mod"].into_iter().any(is)
    };
    // A function, a field, or the variant of an enum.
    let has = |name: &str| {
        let written = [format!("fn {name}("), format!("fn {name}<"), format!("pub {name}: ")];
        written.iter().any(|item| source.contains(item)) || name.starts_with(char::is_uppercase) && words.contains(name)
    };
    let mut seen = 0;
    for page in OUR_NAMES_ALONE {
        let text = text_of(page);
        for (owner, name) in paths(&text).filter(|(owner, name)| !name.is_empty() && is_ours(owner)) {
            seen += 1;
            assert!(has(name) || is_ours(name), "{page}: {owner}::{name} is no item of this crate");
        }
    }
    assert!(seen > 80, "{seen} names were found");
}
