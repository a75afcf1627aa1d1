//! What reaches a terminal, and how.

use std::fmt::{self, Display};
use std::io::{IsTerminal, Write, stdout};
use std::time::Duration;

use fusebox::State;

use crate::args::Color;
use crate::failure::Failure;
use crate::one_line::OneLine;

/// A text of others, with all escaped that a terminal would obey or that cannot be seen as it is.
pub(crate) fn shown(text: &str) -> String {
    OneLine(text).to_string()
}

/// Prints what a program or a person reads. Where it is read by none any more (`fusebox list | head`), that is no failure.
pub(crate) fn print(text: impl Display) -> Result<(), Failure> {
    let mut out = stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).map_err(|error| Failure::unwritten(&error))
}

/// What is told of one thing, a line for each property.
#[derive(Debug)]
pub(crate) struct Lines {
    text: String,
    width: usize,
}

impl Lines {
    /// With names of so many letters at most.
    pub(crate) const fn of(width: usize) -> Self {
        Self { text: String::new(), width }
    }

    pub(crate) fn add(&mut self, name: &str, value: impl Display) {
        self.add_painted(name, &shown(&value.to_string()));
    }

    /// Adds words of this program, which may be in a colour.
    pub(crate) fn add_painted(&mut self, name: &str, words: &str) {
        let width = self.width;
        self.text.push_str(&format!("{name:<width$} {words}\n"));
    }
}

impl Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
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
}
