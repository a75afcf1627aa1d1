//! Why a command is not carried out.

use std::error::Error;
use std::fmt;

use super::row::RecordTrouble;
use crate::circuit::{StandingOverride, State};
use crate::one_line::OneLine;
use crate::store::StoreError;

/// Why a command of an [`Operator`](super::Operator) is not carried out. Nothing has changed then, unless it says
/// otherwise.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::fleet::{Operator, OperatorError};
/// use fusebox::store::MemoryStore;
///
/// # tokio_test::block_on(async {
/// let operator = Operator::new(Arc::new(MemoryStore::new()));
/// let error = operator.reset("paymnets").await.unwrap_err();
/// assert!(matches!(&error, OperatorError::Unknown { name, .. } if name == "paymnets"));
/// assert_eq!(error.to_string(), "no breaker `paymnets` is in the store");
/// # });
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum OperatorError {
    /// The store has no breaker of that name.
    #[non_exhaustive]
    Unknown {
        /// The name.
        name: String,
    },
    /// An override stands, and it is to be resumed first.
    #[non_exhaustive]
    Overridden {
        /// The name of the breaker.
        name: String,
        /// What stands.
        order: StandingOverride,
    },
    /// The record holds calls back, so it cannot be forgotten.
    #[non_exhaustive]
    Held {
        /// The name of the breaker.
        name: String,
        /// The state that it is in.
        state: State,
    },
    /// The record is not this release's to change.
    #[non_exhaustive]
    Unreadable {
        /// The name of the breaker.
        name: String,
        /// What is wrong with the record.
        trouble: RecordTrouble,
    },
    /// Others wrote the record again and again in the time that there was.
    #[non_exhaustive]
    Contended {
        /// The name of the breaker.
        name: String,
    },
    /// The store did not do it. Where there was [no answer](StoreError::no_answer), it may have happened.
    Store(StoreError),
}

impl OperatorError {
    /// Returns what kind of failure it is, in snake case, as a label.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown",
            Self::Overridden { .. } => "overridden",
            Self::Held { .. } => "held",
            Self::Unreadable { .. } => "unreadable",
            Self::Contended { .. } => "contended",
            Self::Store(_) => "store",
        }
    }
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => write!(f, "no breaker `{}` is in the store", OneLine(name)),
            Self::Overridden { name, order } => {
                write!(f, "`{}` is overridden ({order}): resume it first", OneLine(name))
            }
            Self::Held { name, state } => {
                write!(f, "`{}` is {state}: its instances would write it again; reset it first", OneLine(name))
            }
            Self::Unreadable { name, trouble } => write!(f, "`{}` is left as it is: {trouble}", OneLine(name)),
            Self::Contended { name } => {
                write!(f, "others write the record of `{}` all the time: nothing was changed", OneLine(name))
            }
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Error for OperatorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Its text is this one's already; what is behind it is not.
            Self::Store(error) => error.source(),
            Self::Unknown { .. }
            | Self::Overridden { .. }
            | Self::Held { .. }
            | Self::Unreadable { .. }
            | Self::Contended { .. } => None,
        }
    }
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}
