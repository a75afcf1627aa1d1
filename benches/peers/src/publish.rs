//! Puts figures where they are read: between the marks in the crate's README.

use std::path::PathBuf;

/// A file of the crate.
pub fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", name].iter().collect()
}

/// Replaces what stands between `<!-- MARK: begin -->` and `<!-- MARK: end -->`.
fn replaced(text: &str, mark: &str, by: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->"));
    let (before, rest) = text.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some([before, &begin, by, &end, after].concat())
}

/// `parts`: a mark, and what belongs there.
pub fn readme(parts: &[(&str, String)]) -> Result<(), String> {
    let path = file("README.md");
    let mut text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    for (mark, by) in parts {
        text = replaced(&text, mark, by).ok_or_else(|| format!("README.md has no marks `{mark}`"))?;
    }
    write("README.md", &text)
}

pub fn write(name: &str, text: &str) -> Result<(), String> {
    let path = file(name);
    std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::replaced;

    #[test]
    fn what_is_between_the_marks_is_replaced_and_nothing_else() {
        let text = "a\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nb <!-- retry peers: end -->\n";
        let new = replaced(text, "peers", "new\n").expect("marks");
        assert_eq!(new, "a\n<!-- peers: begin -->\nnew\n<!-- peers: end -->\nb <!-- retry peers: end -->\n");
        assert_eq!(replaced(text, "retry peers", ""), None, "it does not begin");
    }
}
