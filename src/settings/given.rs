//! What stands at a place, before it is known to be right.

use std::fmt;

use crate::one_line::OneLine;

/// A value that a format has given.
#[derive(Clone, Copy, Debug)]
pub(super) enum Given<'a> {
    Nothing,
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(&'a str),
    Bytes,
    List,
    Table,
    Variant,
}

/// How much of a text is shown.
const SHOWN: usize = 80;

/// As an error names it.
impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("null"),
            Self::Bool(on) => write!(f, "{on}"),
            Self::Whole(number) => write!(f, "{number}"),
            // As JSON and TOML have it: 5.0 is not 5.
            Self::Real(number) => write!(f, "{number:?}"),
            Self::Text(text) if text.len() > SHOWN => {
                write!(f, "\"{}..\"", OneLine(&text[..text.floor_char_boundary(SHOWN)]))
            }
            Self::Text(text) => write!(f, "\"{}\"", OneLine(text)),
            Self::Bytes => f.write_str("bytes"),
            Self::List => f.write_str("a list"),
            Self::Table => f.write_str("a table"),
            Self::Variant => f.write_str("a tagged value"),
        }
    }
}
