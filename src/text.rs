//! Times to wait for, and bytes, as text.

use std::fmt;
use std::time::Duration;

/// How long something is waited for, as people read it: `now`, or `in 2s`. A fraction of a millisecond is no time to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Soon(pub(crate) Duration);

impl fmt::Display for Soon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match u64::try_from(self.0.as_millis()) {
            Ok(0) if self.0.is_zero() => f.write_str("now"),
            Ok(0) => f.write_str("in less than 1ms"),
            Ok(ms) => write!(f, "in {:?}", Duration::from_millis(ms)),
            Err(_) => write!(f, "in {:?}", self.0),
        }
    }
}

/// Writes bytes as hexadecimal digits.
#[cfg(feature = "postgres")]
pub(crate) fn hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2);
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Reads hexadecimal digits; `None` where the text is anything else.
#[cfg(feature = "postgres")]
pub(crate) fn unhex(digits: &str) -> Option<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_back_from_their_digits() {
        let every: Vec<u8> = (0..=255).collect();
        let mut digits = String::new();
        hex(&every, &mut digits);
        assert_eq!(unhex(&digits), Some(every));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
    }
}
