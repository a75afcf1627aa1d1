//! The file `.env`.
//!
//! Its values stay in here: to put them into the environment of a process that has threads is not safe.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

use crate::error::ConfigError;
use crate::one_line::OneLine;

/// What errors call it.
const FILE: &str = ".env";

/// Reads the file in this folder, or else in the nearest one above. There need not be any.
pub(super) fn nearest(folder: &Path) -> Result<HashMap<String, String>, ConfigError> {
    for folder in folder.ancestors() {
        let path = folder.join(FILE);
        let bytes = match std::fs::metadata(&path) {
            Ok(there) if there.is_dir() => continue,
            Ok(_) => std::fs::read(&path),
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => Err(error),
        };
        return parse(&bytes.map_err(|error| {
            let given = format!("at `{}` and cannot be read ({error})", OneLine(&path.to_string_lossy()));
            ConfigError::new(FILE, &given, "a file that this process may read, or none")
        })?);
    }
    Ok(HashMap::new())
}

fn parse(bytes: &[u8]) -> Result<HashMap<String, String>, ConfigError> {
    // Some editors begin a file with this mark.
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let line = Cell::new(0);
    let mut values = HashMap::new();
    for entry in dotenvy::from_read_iter(Lines { rest: bytes, read: &line }) {
        let Ok((name, value)) = entry else {
            // Its own words quote the line.
            let given = format!("unreadable in line {}, or in quotes that end there", line.get());
            return Err(ConfigError::new(FILE, &given, "lines of NAME='value'"));
        };
        // As dotenvy itself does it, the first one counts.
        values.entry(name).or_insert(value);
    }
    Ok(values)
}

/// Gives one line at a time, however much is asked for, and so knows in which one the reader is.
struct Lines<'a> {
    rest: &'a [u8],
    read: &'a Cell<u32>,
}

impl Read for Lines<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').map_or(self.rest.len(), |at| at + 1);
        let (given, rest) = self.rest.split_at(end.min(into.len()));
        into[..given.len()].copy_from_slice(given);
        if given.len() == end && end > 0 {
            self.read.set(self.read.get() + 1);
        }
        self.rest = rest;
        Ok(given.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> HashMap<String, String> {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn names_and_values_come_as_they_are_written() {
        let values = values(
            "\u{feff}# a comment\n\nA=1\r\nexport B = 'two words' # another\nC=\"x\ny\"\nD='pa$$word#%'\nA=2\nE=",
        );
        for (name, value) in [("A", "1"), ("B", "two words"), ("C", "x\ny"), ("D", "pa$$word#%"), ("E", "")] {
            assert_eq!(values[name], value, "{name}");
        }
    }

    #[test]
    fn an_unreadable_line_is_named_by_its_number_and_not_quoted() {
        let long = format!("A='{}'\nB s3cret\n", "x".repeat(20_000));
        for (text, line) in [
            ("s3cret", 1),
            ("A=1\n# b\n\nHW_DB_PASSWORD s3cret\nC=3\n", 4),
            ("A=1\nHW_DB_PASSWORD=s3cret it\n", 2),
            ("A=1\nHW_DB_PASSWORD='s3cret\nB=2\n", 3),
            ("A=\\s3cret", 1),
            (&long, 2),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert_eq!(error.field(), ".env");
            assert!(error.given().contains(&format!("line {line},")), "{text:?}: {error}");
            assert!(!format!("{error} {error:?}").contains("cret"), "{error:?}");
        }
        assert!(parse(b"A=1\nB=s3cret\xff\n").is_err_and(|error| error.given().contains("line 2,")));
    }
}
