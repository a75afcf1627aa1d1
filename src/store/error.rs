//! Why an operation of a store has failed.

use std::error::Error;
use std::fmt;

use crate::error::BoxError;
use crate::guard::guarded;
use crate::one_line::OneLine;

/// Why a store did not do what it was asked.
///
/// ```
/// use std::error::Error;
/// use fusebox::store::StoreError;
///
/// let error = StoreError::no_answer(std::io::Error::other("reset by peer"));
/// assert_eq!(error.to_string(), "the store did not answer, the write may have happened");
/// assert_eq!(error.source().unwrap().to_string(), "reset by peer");
/// assert_eq!(StoreError::too_large(70_000, 65_536).to_string(), "a record of 70000 bytes, the store takes at most 65536");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// It was not reached, or did not answer in time.
    #[non_exhaustive]
    Unavailable {
        /// The operation may have been, or may still be, carried out.
        maybe: bool,
        /// What went wrong.
        source: Option<BoxError>,
    },
    /// It was reached and could not do it now. A lock that was not free, a lost race, a deadlock, too little memory or
    /// time. Nothing took place.
    Busy(BoxError),
    /// It was reached and refused. Credentials, permissions, a missing schema, a replica that only reads.
    Refused(BoxError),
    /// The key holds something that is not ours.
    #[non_exhaustive]
    Foreign {
        /// The key.
        key: String,
    },
    /// The record is larger than the store takes.
    #[non_exhaustive]
    TooLarge {
        /// The record's size in bytes.
        bytes: usize,
        /// The most that the store takes.
        limit: usize,
    },
}

impl StoreError {
    /// Returns what kind of failure it is, in snake case, as a metrics label.
    ///
    /// ```
    /// use fusebox::store::StoreError;
    ///
    /// assert_eq!(StoreError::busy("deadlock detected").as_str(), "busy");
    /// ```
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "unavailable",
            Self::Busy(_) => "busy",
            Self::Refused(_) => "refused",
            Self::Foreign { .. } => "foreign",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// It was not reached: the operation did not take place.
    pub fn unreachable(source: impl Into<BoxError>) -> Self {
        Self::Unavailable { maybe: false, source: Some(source.into()) }
    }

    /// There was no answer: the operation may have taken place.
    pub fn no_answer(source: impl Into<BoxError>) -> Self {
        Self::Unavailable { maybe: true, source: Some(source.into()) }
    }

    /// It was reached and could not do it now.
    pub fn busy(source: impl Into<BoxError>) -> Self {
        Self::Busy(source.into())
    }

    /// It was reached and refused.
    pub fn refused(source: impl Into<BoxError>) -> Self {
        Self::Refused(source.into())
    }

    /// The key holds something that is not ours.
    pub fn foreign(key: impl Into<String>) -> Self {
        Self::Foreign { key: key.into() }
    }

    /// The same for each of several keys.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    pub(super) fn for_each<T>(&self, keys: &[&str]) -> Vec<Result<T, Self>> {
        keys.iter().map(|_| Err(self.again())).collect()
    }

    /// The same in words of this crate: what is behind an error may be a user's, and panic when it is shown or dropped.
    pub(crate) fn into_own(self) -> Self {
        let own = self.again();
        guarded(|| drop(self));
        own
    }

    /// The same once more. Errors of others cannot be copied: their words are.
    pub(crate) fn again(&self) -> Self {
        let words = |source: &BoxError| {
            guarded(|| with_sources(&**source)).unwrap_or_else(|| "its error cannot be shown".to_owned()).into()
        };
        match self {
            Self::Unavailable { maybe, source } => {
                Self::Unavailable { maybe: *maybe, source: source.as_ref().map(words) }
            }
            Self::Busy(source) => Self::Busy(words(source)),
            Self::Refused(source) => Self::Refused(words(source)),
            Self::Foreign { key } => Self::Foreign { key: key.clone() },
            Self::TooLarge { bytes, limit } => Self::TooLarge { bytes: *bytes, limit: *limit },
        }
    }

    /// The error with everything behind it, for an operator. What is behind it may be a user's, whose code may panic.
    pub(crate) fn explain(&self) -> String {
        guarded(|| with_sources(self)).unwrap_or_else(|| "the store failed, and its error cannot be shown".to_owned())
    }

    /// By default, that is the answer to [`Store::keys`].
    pub(super) fn cannot_list() -> Self {
        Self::refused("this store cannot list its keys")
    }

    /// The record is larger than the store takes.
    #[must_use]
    pub const fn too_large(bytes: usize, limit: usize) -> Self {
        Self::TooLarge { bytes, limit }
    }
}

/// An error with everything behind it, each once, fit to be shown.
fn with_sources(error: &(dyn Error + 'static)) -> String {
    let shown = |error: &dyn Error| OneLine(&error.to_string()).to_string();
    let mut text = shown(error);
    let mut source = error.source();
    while let Some(error) = source {
        let more = shown(error);
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable { maybe: false, .. } => f.write_str("the store was not reached"),
            Self::Unavailable { maybe: true, .. } => {
                f.write_str("the store did not answer, the write may have happened")
            }
            Self::Busy(source) => write!(f, "the store could not do it now: {}", OneLine(&source.to_string())),
            Self::Refused(source) => write!(f, "the store refused: {}", OneLine(&source.to_string())),
            Self::Foreign { key } => {
                write!(f, "the key `{}` holds something that is not a breaker's record", OneLine(key))
            }
            Self::TooLarge { bytes, limit } => {
                write!(f, "a record of {bytes} bytes, the store takes at most {limit}")
            }
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unavailable { source: Some(source), .. } | Self::Busy(source) | Self::Refused(source) => {
                Some(&**source)
            }
            Self::Unavailable { source: None, .. } | Self::Foreign { .. } | Self::TooLarge { .. } => None,
        }
    }
}
