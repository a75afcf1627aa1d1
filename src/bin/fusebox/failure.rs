//! Why a command has not done what it was to do, and the exit code for that.

use std::error::Error;
use std::io;

use fusebox::env::EnvError;
use fusebox::fleet::OperatorError;
use fusebox::store::StoreError;

use crate::json;
use crate::terminal::shown;

/// Why a command has not done what it was to do: one line.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    kind: &'static str,
    text: String,
}

impl Failure {
    /// Refused, not found, or otherwise no.
    pub(crate) fn no(text: impl Into<String>) -> Self {
        Self { code: 1, kind: "no", text: text.into() }
    }

    /// The words make no sense.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, kind: "usage", text: text.into() }
    }

    /// The store did not answer, so nothing is known.
    pub(crate) fn away(text: impl Into<String>) -> Self {
        Self { code: 3, kind: "away", text: text.into() }
    }

    /// The store answers, and something is missing.
    pub(crate) fn incomplete(text: impl Into<String>) -> Self {
        Self { code: 4, kind: "incomplete", text: text.into() }
    }

    /// What was to be said cannot be written. Where its reader is gone, nothing is left to be said, and nothing has failed.
    pub(crate) fn unwritten(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { code: 0, kind: "unread", text: String::new() },
            _ => Self::no(format!("nothing can be written: {error}")),
        }
    }

    pub(crate) const fn code(&self) -> u8 {
        self.code
    }

    /// Says it on one line; for programs as an object as well.
    pub(crate) fn tell(&self, is_json: bool) {
        if self.text.is_empty() {
            return;
        }
        let text = redacted(&shown(&self.text));
        if is_json {
            json::print(&serde_json::json!({ "error": { "kind": self.kind, "message": text } })).ok();
        }
        eprintln!("fusebox: {text}");
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let text = with_sources(&error);
        match error {
            StoreError::Refused(_) if lacks_tables(&text) => {
                Self::incomplete(format!("{text}, or `fusebox migrate` as their owner"))
            }
            StoreError::Refused(_) if lacks_rights(&text) => Self::incomplete(text),
            StoreError::Foreign { .. } | StoreError::TooLarge { .. } => Self::no(text),
            // A login that is refused says nothing of what there is.
            _ => Self::away(text),
        }
    }
}

/// The words of the store in which it asks for a migration.
fn lacks_tables(text: &str) -> bool {
    text.contains("PostgresStore::migrate")
}

/// The words of PostgreSQL, of its store, and of Redis for a right that is missing.
fn lacks_rights(text: &str) -> bool {
    let words = ["SQLSTATE 42501", "this role may not", "the server only reads", "NOPERM", "no permissions"];
    let text = text.to_lowercase();
    words.iter().any(|word| text.contains(&word.to_lowercase()))
}

impl From<EnvError> for Failure {
    fn from(error: EnvError) -> Self {
        match error {
            EnvError::Store { error, .. } => error.into(),
            other => Self::usage(with_sources(&other)),
        }
    }
}

impl From<OperatorError> for Failure {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Store(error) => error.into(),
            other => Self { code: 1, kind: other.as_str(), text: other.to_string() },
        }
    }
}

/// An error with what is behind it, each once.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

/// A text without what stands before the `@` of an address in it: words of the command line are told again where they are
/// wrong, and one of them may be the address of a store.
pub(crate) fn redacted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        out.push_str(before);
        let end = address.find(|c: char| c.is_whitespace() || c == '\'' || c == '`').unwrap_or(address.len());
        let (address, after) = address.split_at(end);
        match address.rsplit_once('@') {
            Some((_, place)) => {
                out.push_str("..@");
                out.push_str(place);
            }
            None => out.push_str(address),
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_an_address_is_not_told_again() {
        for (text, told) in [
            ("no `redis://u:s3cret@h/1`", "no `redis://..@h/1`"),
            ("postgres://u:s3@cret@h and more", "postgres://..@h and more"),
            ("https://host/path and redis://:s3cret@h", "https://host/path and redis://..@h"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(redacted(text), told);
        }
    }
}
