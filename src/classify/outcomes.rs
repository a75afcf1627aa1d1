//! What counts as a failure and what is ignored, in words that a file can give.

use std::error::Error;
use std::fmt;
use std::io;

use crate::circuit::Outcome;
use crate::error::ConfigError;
use crate::error_chain::sources;

/// What counts as a failure and what is ignored, in words that a file can give. It is beside what a classifier says by
/// itself: statuses of HTTP and gRPC, and what befalls a connection.
///
/// | word | what |
/// |---|---|
/// | `503` | that status of HTTP, from 400 to 599 |
/// | `4xx`, `5xx` | all of those that are not named one by one |
/// | `UNAVAILABLE`, .. | that status of gRPC |
/// | `timeout` | an error that says that time ran out: `io::ErrorKind::TimedOut`, Tokio's `Elapsed` |
/// | `connection_refused`, `connection_reset`, `connection_aborted`, `not_connected`, `broken_pipe`, `unexpected_eof` | an `io::Error` of that kind, anywhere in the chain of sources |
///
/// [`CircuitBreakerLayer::http`](crate::CircuitBreakerLayer), `::grpc` and `::reqwest` heed those of the configuration, see
/// [`CircuitBreakerConfigBuilder::outcomes`](crate::CircuitBreakerConfigBuilder::outcomes).
///
/// ```
/// use fusebox::{Outcome, classify::Outcomes};
///
/// let outcomes = Outcomes::new().failures(["5xx", "429", "RESOURCE_EXHAUSTED"])?.ignored(["503", "connection_reset"])?;
/// assert_eq!(outcomes.of_status(502), Some(Outcome::Failure));
/// assert_eq!(outcomes.of_status(503), Some(Outcome::Ignored), "named by itself");
/// assert_eq!(outcomes.of_status(404), None, "as ever");
/// assert_eq!(outcomes.of_code(8), Some(Outcome::Failure));
/// # Ok::<(), fusebox::ConfigError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcomes {
    failures: Words,
    ignored: Words,
}

/// A set of words.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Words {
    /// From [`FIRST`](Self::FIRST) on.
    statuses: [u64; 4],
    /// A bit for each of 4xx and 5xx.
    classes: u8,
    codes: u32,
    errors: u16,
}

/// The statuses of gRPC, by their numbers.
pub(crate) const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(crate) const CLASSES: [&str; 2] = ["4xx", "5xx"];

/// What befalls a connection, by the kinds of `io::Error`.
const KINDS: [io::ErrorKind; 7] = [
    io::ErrorKind::TimedOut,
    io::ErrorKind::ConnectionRefused,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::NotConnected,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::UnexpectedEof,
];

/// How these are called.
pub(crate) const ERRORS: [&str; 7] = [
    "timeout",
    "connection_refused",
    "connection_reset",
    "connection_aborted",
    "not_connected",
    "broken_pipe",
    "unexpected_eof",
];

const ALLOWED: &str = "a status of HTTP from 400 to 599, \"4xx\", \"5xx\", a status of gRPC such as \"UNAVAILABLE\", \"timeout\", or \
    the kind of an I/O error such as \"connection_reset\"";

impl Words {
    const FIRST: u16 = 400;
    const LAST: u16 = 599;

    /// The set of one word.
    fn of(word: &str) -> Option<Self> {
        let mut words = Self::default();
        let at = |list: &[&str]| list.iter().position(|known| *known == word);
        if let Ok(status) = word.parse::<u16>() {
            let bit = status.checked_sub(Self::FIRST).filter(|_| status <= Self::LAST)?;
            words.statuses[usize::from(bit / 64)] |= 1 << (bit % 64);
        } else if let Some(class) = at(&CLASSES) {
            words.classes |= 1 << class;
        } else if let Some(code) = at(&CODES) {
            words.codes |= 1 << code;
        } else {
            words.errors |= 1 << at(&ERRORS)?;
        }
        Some(words)
    }

    fn join(&mut self, other: Self) {
        self.statuses.iter_mut().zip(other.statuses).for_each(|(here, there)| *here |= there);
        self.classes |= other.classes;
        self.codes |= other.codes;
        self.errors |= other.errors;
    }

    fn meets(&self, other: &Self) -> bool {
        self.statuses.iter().zip(other.statuses).any(|(here, there)| here & there != 0)
            || self.classes & other.classes != 0
            || self.codes & other.codes != 0
            || self.errors & other.errors != 0
    }

    fn has_status(&self, status: u16) -> bool {
        let bit = status.checked_sub(Self::FIRST).filter(|_| status <= Self::LAST);
        bit.is_some_and(|bit| self.statuses[usize::from(bit / 64)] & 1 << (bit % 64) != 0)
    }

    fn has_class(&self, status: u16) -> bool {
        (Self::FIRST..=Self::LAST).contains(&status) && self.classes & 1 << (status / 100 - 4) != 0
    }

    fn list(&self) -> Vec<String> {
        let named = |list: &'static [&'static str], bits: u32| {
            list.iter().enumerate().filter(move |(bit, _)| bits & 1 << bit != 0).map(|(_, word)| (*word).to_owned())
        };
        let statuses =
            (Self::FIRST..=Self::LAST).filter(|status| self.has_status(*status)).map(|status| status.to_string());
        named(&CLASSES, self.classes.into())
            .chain(statuses)
            .chain(named(&CODES, self.codes))
            .chain(named(&ERRORS, self.errors.into()))
            .collect()
    }
}

impl Words {
    const NONE: Self = Self { statuses: [0; 4], classes: 0, codes: 0, errors: 0 };
}

impl Outcomes {
    /// Changes nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { failures: Words::NONE, ignored: Words::NONE }
    }

    /// Counts these as failures.
    ///
    /// # Errors
    ///
    /// A word that is none of those above, or one that is ignored already.
    pub fn failures<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Result<Self, ConfigError> {
        add(&mut self.failures, &self.ignored, words, "outcomes.failures")?;
        Ok(self)
    }

    /// Counts these neither way.
    ///
    /// # Errors
    ///
    /// A word that is none of those above, or one that is a failure already.
    pub fn ignored<W: AsRef<str>>(mut self, words: impl IntoIterator<Item = W>) -> Result<Self, ConfigError> {
        add(&mut self.ignored, &self.failures, words, "outcomes.ignored")?;
        Ok(self)
    }

    /// Returns what a status of HTTP is, if it is among them.
    #[must_use]
    pub fn of_status(&self, status: u16) -> Option<Outcome> {
        if self.ignored.has_status(status) {
            Some(Outcome::Ignored)
        } else if self.failures.has_status(status) {
            Some(Outcome::Failure)
        } else if self.ignored.has_class(status) {
            Some(Outcome::Ignored)
        } else {
            self.failures.has_class(status).then_some(Outcome::Failure)
        }
    }

    /// Returns what a status of gRPC is, by its number, if it is among them.
    #[must_use]
    pub fn of_code(&self, code: u32) -> Option<Outcome> {
        let has = |words: &Words| code < 32 && words.codes & 1 << code != 0;
        if has(&self.ignored) { Some(Outcome::Ignored) } else { has(&self.failures).then_some(Outcome::Failure) }
    }

    /// Returns what an error is, by the outermost of its sources that is among them.
    ///
    /// ```
    /// use std::io;
    /// use fusebox::{Outcome, classify::Outcomes};
    ///
    /// let outcomes = Outcomes::new().ignored(["connection_reset"])?;
    /// let reset = io::Error::other(io::Error::from(io::ErrorKind::ConnectionReset));
    /// assert_eq!(outcomes.of_error(&reset), Some(Outcome::Ignored));
    /// # Ok::<(), fusebox::ConfigError>(())
    /// ```
    #[must_use]
    pub fn of_error(&self, error: &(dyn Error + 'static)) -> Option<Outcome> {
        if self.ignored.errors | self.failures.errors == 0 {
            return None;
        }
        sources(error).filter_map(kind_of).find_map(|kind| {
            let bit = 1 << KINDS.iter().position(|known| *known == kind)?;
            let ignored = (self.ignored.errors & bit != 0).then_some(Outcome::Ignored);
            ignored.or_else(|| (self.failures.errors & bit != 0).then_some(Outcome::Failure))
        })
    }
}

impl Outcomes {
    /// Changes nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::new()
    }

    /// Says it in words.
    pub(crate) fn explain(&self) -> String {
        let (failures, ignored) = (self.failures.list().join(", "), self.ignored.list().join(", "));
        match (failures.as_str(), ignored.as_str()) {
            ("", "") => "nothing counts otherwise".to_owned(),
            (failures, "") => format!("counts {failures} as failures"),
            ("", ignored) => format!("counts {ignored} neither way"),
            (failures, ignored) => format!("counts {failures} as failures, {ignored} neither way"),
        }
    }
}

fn add<W: AsRef<str>>(
    to: &mut Words,
    others: &Words,
    words: impl IntoIterator<Item = W>,
    field: &'static str,
) -> Result<(), ConfigError> {
    for word in words {
        let word = word.as_ref();
        let given = format!("\"{word}\"");
        let words = Words::of(word).ok_or_else(|| ConfigError::new(field, &given, ALLOWED))?;
        if others.meets(&words) {
            return Err(ConfigError::new(field, &given, "what is not the other as well"));
        }
        to.join(words);
    }
    Ok(())
}

/// What one link of an error's chain says.
fn kind_of(link: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    if link.is::<tokio::time::error::Elapsed>() {
        return Some(io::ErrorKind::TimedOut);
    }
    #[cfg(feature = "tower")]
    if link.is::<tower::timeout::error::Elapsed>() {
        return Some(io::ErrorKind::TimedOut);
    }
    link.downcast_ref().map(io::Error::kind)
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { failures, ignored } = self;
        f.debug_struct("Outcomes").field("failures", &failures.list()).field("ignored", &ignored.list()).finish()
    }
}
