//! Text of others in lines of ours.

use std::fmt;

/// Shows a name with its control characters escaped: a name that was made from a request must not begin a new line in
/// somebody's log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(OneLine("a\nb\u{1b}[31m\u{85}").to_string(), "a\\nb\\u{1b}[31m\\u{85}");
        assert_eq!(OneLine("Zürich \"1\"").to_string(), "Zürich \"1\"");
    }
}
