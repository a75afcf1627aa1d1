//! Which tests there are: for tables whose rows name those that hold them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The files and folders of tests that were asked for.
#[derive(Default)]
pub(crate) struct Tests {
    texts: BTreeMap<String, String>,
}

impl Tests {
    /// Tells whether the file or folder `file` of `tests/` has a test of that name.
    pub(crate) fn have(&mut self, file: &str, name: &str) -> bool {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let text = self.texts.entry(file.to_owned()).or_insert_with(|| text_of(&folder.join(file)));
        has_test(text, name)
    }
}

/// Tells whether the text has a test function of that name.
pub(crate) fn has_test(text: &str, name: &str) -> bool {
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let is_head = |line: &str| {
        let head = line.strip_prefix("async ").unwrap_or(line);
        head.strip_prefix("fn ").is_some_and(|rest| rest.strip_prefix(name).is_some_and(|rest| rest.starts_with("()")))
    };
    let is_test = |line: &&str| line.starts_with("#[test]") || line.starts_with("#[tokio::test");
    let at = lines.iter().position(|line| is_head(line));
    at.is_some_and(|at| lines[..at].iter().rev().take_while(|line| line.starts_with("#[")).any(is_test))
}

/// The text of a test: its file, or all files in its folder and below.
fn text_of(test: &Path) -> String {
    if let Ok(text) = fs::read_to_string(test.with_extension("rs")) {
        return text;
    }
    let entries = fs::read_dir(test).expect("a test file or a folder of one");
    entries.map(|entry| text_of(&entry.expect("an entry").path())).collect()
}
