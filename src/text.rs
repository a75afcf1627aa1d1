//! Text of others in lines of ours, and bytes as text.

use std::fmt;

/// Shows a name with its control characters escaped: a name that was made from a request must not begin a new line in
/// an application's log.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(feature = "postgres")]
    fn bytes_come_back_from_their_digits() {
        let every: Vec<u8> = (0..=255).collect();
        let mut digits = String::new();
        hex(&every, &mut digits);
        assert_eq!(unhex(&digits), Some(every));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
    }

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(OneLine("a\nb\u{1b}[31m\u{85}").to_string(), "a\\nb\\u{1b}[31m\\u{85}");
        assert_eq!(OneLine("Zürich \"1\"").to_string(), "Zürich \"1\"");
    }
}
