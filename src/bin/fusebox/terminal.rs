//! What reaches a terminal, and how.

use std::fmt::Write as _;
use std::io::{IsTerminal, stdout};
use std::time::Duration;

use fusebox::State;

use crate::args::Color;

/// A text of others, with all escaped that a terminal would obey or that cannot be seen as it is.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_seen(c) {
            out.push(c);
        } else {
            // Writing to a string cannot fail.
            write!(out, "{}", c.escape_default()).ok();
        }
    }
    out
}

/// Letters and digits of all scripts, but for those that show nothing.
pub(crate) fn is_seen(c: char) -> bool {
    let shows_nothing = matches!(c, '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{3164}' | '\u{ffa0}');
    matches!(c, ' '..='~') || c.is_alphanumeric() && !shows_nothing
}

/// Colours, where they are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paint(bool);

impl Paint {
    pub(crate) fn new(color: Color) -> Self {
        let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => stdout().is_terminal() && !is_unwanted,
        })
    }

    /// Wraps a cell in the colour of a state: of one that is overridden, and of one that cannot be read.
    pub(crate) fn state(self, cell: &str, state: Option<State>, is_overridden: bool) -> String {
        let code = match state {
            _ if !self.0 => return cell.to_owned(),
            Some(_) if is_overridden => "35",
            Some(State::Closed) => return cell.to_owned(),
            Some(State::Open) => "31",
            Some(State::HalfOpen) => "33",
            None => "2",
        };
        format!("\u{1b}[{code}m{cell}\u{1b}[0m")
    }
}

/// A time in its two largest units.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        (days, hours, ..) => format!("{days}d{hours:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (seconds, text) in [(0, "0s"), (59, "59s"), (61, "1m01s"), (3_660, "1h01m"), (90_000, "1d01h")] {
            assert_eq!(time(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
        assert_eq!(shown("a\u{1b}]0;x\u{7}\n\u{202e}\u{9b}\u{3164}"), "a\\u{1b}]0;x\\u{7}\\n\\u{202e}\\u{9b}\\u{3164}");
        assert_eq!(shown("Zürich 支払い"), "Zürich 支払い");
    }
}
