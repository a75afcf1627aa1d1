//! Names of breakers as keys of a store.

use std::fmt::{self, Write};

use sha2::{Digest, Sha256};

/// The name of a breaker in an alphabet that every store can hold. It is `[A-Za-z0-9_.-]`, at most [`Key::MOST`] bytes.
///
/// Names in that alphabet stay as they are; every other byte is written `_xHH`, and so is an underscore that would look like
/// the beginning of that. No two names have the same key, and no name (which may come from a request) can be too long, break
/// out of a key, or reach into another one. A name that is too long keeps its beginning; the rest becomes a hash.
///
/// ```
/// use fusebox::store::Key;
///
/// assert_eq!(Key::new("payments").as_str(), "payments");
/// assert_eq!(Key::new("api.example:8443").as_str(), "api.example_x3A8443");
/// assert_eq!(Key::new("api.example:8443").name().as_deref(), Some("api.example:8443"));
/// assert!(Key::new(&"x".repeat(10_000)).as_str().len() <= Key::MOST);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// No key is longer, in bytes.
    pub const MOST: usize = 200;

    /// Makes the key of a name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut key = String::with_capacity(name.len());
        let bytes = name.as_bytes();
        for (at, &byte) in bytes.iter().enumerate() {
            if is_plain(byte) && !is_special(&bytes[at..]) {
                key.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                write!(key, "_x{byte:02X}").ok();
            }
        }
        if key.len() > Self::MOST {
            cut(&mut key, bytes, Self::MOST);
        }
        Self(key)
    }

    /// Takes a key that a store has listed; `None` where no name has such a key.
    ///
    /// ```
    /// use fusebox::store::Key;
    ///
    /// assert_eq!(Key::parse("api.example_x3A8443").and_then(|key| key.name()).as_deref(), Some("api.example:8443"));
    /// assert_eq!(Key::parse("somebody else's"), None);
    /// ```
    #[must_use]
    pub fn parse(key: &str) -> Option<Self> {
        let is_key = !key.is_empty() && key.len() <= Self::MOST && key.bytes().all(is_plain);
        is_key.then(|| Self(key.to_owned()))
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name again; `None` where it was too long to be kept whole.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        let mut name = Vec::with_capacity(self.0.len());
        let mut rest = self.0.as_bytes();
        while let [first, tail @ ..] = rest {
            if rest.starts_with(CUT) {
                return None;
            } else if is_special(rest) {
                name.push(hex(rest[2])? << 4 | hex(rest[3])?);
                rest = &rest[4..];
            } else {
                name.push(*first);
                rest = tail;
            }
        }
        String::from_utf8(name).ok()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Puts the hash of what the key was made of in the place of its end.
fn cut(key: &mut String, of: &[u8], most: usize) {
    // Names may come from requests, so whoever chooses them must not find two of one hash.
    let hash = Sha256::digest(of);
    key.truncate(key.floor_char_boundary(most - CUT.len() - 2 * HASH));
    key.push_str("_x..");
    hash.iter().take(HASH).for_each(|byte| {
        write!(key, "{byte:02x}").ok();
    });
}

/// The key for a place that takes only so many bytes (100 at least).
#[cfg(feature = "postgres")]
pub(super) fn shortened(key: &str, most: usize) -> String {
    let mut short = key.to_owned();
    if short.len() > most {
        cut(&mut short, key.as_bytes(), most);
    }
    short
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// Where a name was cut.
const CUT: &[u8] = b"_x..";
/// Bytes of the hash of a name that was cut.
const HASH: usize = 20;

/// Whether the bytes begin as an escape does, or as the end of a name that was cut.
fn is_special(bytes: &[u8]) -> bool {
    let is_escape = matches!(bytes, [b'_', b'x', a, b, ..] if hex(*a).is_some() && hex(*b).is_some());
    is_escape || bytes.starts_with(CUT)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
