//! Where in a configuration the reader stands.

use std::fmt;

use crate::one_line::OneLine;

/// How long a name may be, as long as a registry keeps it.
pub(super) const MAX_NAME: usize = 255;

/// The way from our own type down to what is being read. The ends of it lie on the stack of the reader.
#[derive(Clone, Copy, Debug)]
pub(super) enum Path<'a> {
    Root,
    Key(&'a Self, &'a str),
    Index(&'a Self, usize),
}

impl<'a> Path<'a> {
    pub(super) const fn key(&'a self, key: &'a str) -> Self {
        Self::Key(self, key)
    }

    pub(super) const fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }

    /// How many tables and lists lie around it.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Root => 0,
            Self::Key(parent, _) | Self::Index(parent, _) => parent.depth() + 1,
        }
    }
}

/// As it is written in TOML: `registries.hosts.keys."slow.example".detector.of[1].rate`. Nothing for the root.
impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parent, key) = match self {
            Self::Root => return Ok(()),
            Self::Index(parent, index) => return write!(f, "{parent}[{index}]"),
            Self::Key(parent, key) => (parent, key),
        };
        if !matches!(parent, Self::Root) {
            write!(f, "{parent}.")?;
        }
        write!(f, "{}", Key(key))
    }
}

/// A key, in quotes where it would not be one bare.
struct Key<'a>(&'a str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if (1..=MAX_NAME).contains(&self.0.len()) && self.0.chars().all(is_bare) {
            return f.write_str(self.0);
        }
        if self.0.len() > MAX_NAME {
            // It is none of ours, and may be of any length.
            return write!(f, "\"{}..\"", OneLine(&self.0[..self.0.floor_char_boundary(32)]));
        }
        let escaped = self.0.replace('\\', "\\\\").replace('"', "\\\"");
        write!(f, "\"{}\"", OneLine(&escaped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_in_toml() {
        let registries = Path::Root.key("registries");
        let hosts = registries.key("hosts");
        let keys = hosts.key("keys");
        let slow = keys.key("slow.example");
        let detector = slow.key("detector");
        let of = detector.key("of");
        let second = of.index(1);
        assert_eq!(second.key("rate").to_string(), r#"registries.hosts.keys."slow.example".detector.of[1].rate"#);
        assert_eq!(Path::Root.to_string(), "");
        assert_eq!(second.depth(), 7);
    }

    #[test]
    fn a_key_from_outside_is_cut() {
        let shown = Path::Root.key(&"x".repeat(10_000)).to_string();
        assert_eq!(shown, format!("\"{}..\"", "x".repeat(32)));
    }

    #[test]
    fn a_key_from_outside_cannot_leave_its_line() {
        for (key, shown) in
            [("", r#""""#), ("a\nb", r#""a\nb""#), ("a\"b", r#""a\"b""#), ("a\\", r#""a\\""#), ("ü", "\"ü\"")]
        {
            assert_eq!(Path::Root.key(key).to_string(), shown);
        }
    }
}
