//! Text of others in lines of ours. The program `fusebox` has this file as well, so that the rule is one.

use std::fmt;

/// Shows words from outside with all escaped that is not to be seen as it is: a name that was made from a request, or a
/// server's words, must not begin a new line in an application's log, command a terminal, turn the rest of a line
/// round, or look like another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OneLine<'a>(pub(crate) &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write as _;
        self.0.chars().try_for_each(|c| if is_seen(c) { f.write_char(c) } else { write!(f, "{}", c.escape_default()) })
    }
}

/// Whether a character shows where it stands, and does nothing else.
pub(crate) fn is_seen(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Letters and marks that Unicode counts as such, and that show nothing: a joiner, fillers, variations, an empty
        // pattern.
        '\u{34f}'
        | '\u{115f}'
        | '\u{1160}'
        | '\u{17b4}'
        | '\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}' => false,
        // The standard library knows what is printable. A mark stands behind a letter, as it does in a word.
        _ => format!("a{c}").escape_debug().count() == 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped_and_letters_are_not() {
        assert_eq!(OneLine("a\nb\u{1b}[31m\u{85}").to_string(), "a\\nb\\u{1b}[31m\\u{85}");
        for seen in ["Zürich \"1\"", "it's a\\b", "cafe\u{301}", "支払い", "платежи", "भुगतान", "ชำระเงิน", "💶", ""]
        {
            assert_eq!(OneLine(seen).to_string(), seen);
        }
    }

    /// Of Unicode's `Cc`, `Cf`, `Zl`, `Zp`, `Zs`, `Co`, `Cn` and `Default_Ignorable_Code_Point`.
    #[test]
    fn what_cannot_be_seen_or_moves_what_is_seen_is_escaped() {
        let unseen = "\0\u{7}\u{8}\t\r\u{7f}\u{9b}\u{9d}\u{a0}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{180e}\u{200b}\u{200c}\u{200d}\
            \u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{202f}\u{2060}\u{2064}\u{2066}\u{2067}\u{2068}\
            \u{2069}\u{206f}\u{2800}\u{3000}\u{3164}\u{e000}\u{fe0f}\u{feff}\u{ffa0}\u{fff9}\u{ffff}\u{e0001}\u{e0041}\u{e0100}\u{10ffff}";
        for c in unseen.chars() {
            let text = format!("{}", OneLine(&format!("a{c}b")));
            assert!(text.starts_with("a\\") && text.is_ascii(), "{text}");
        }
    }
}
