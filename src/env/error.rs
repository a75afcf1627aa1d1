//! Why there is no store.

use std::error::Error;
use std::fmt;

use super::source::StoreSource;
use crate::error::ConfigError;
use crate::store::StoreError;

/// Why the environment gives no store.
///
/// ```no_run
/// use fusebox::env::{self, EnvError};
///
/// # async fn example() {
/// match env::store().required().await {
///     Ok(store) => println!("{store}"),
///     Err(EnvError::Variable(error)) => eprintln!("set {} to {}", error.field(), error.allowed()),
///     Err(error) => eprintln!("start the database first: {error}"),
/// }
/// # }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum EnvError {
    /// A variable cannot be what it is, or `.env` cannot be read.
    Variable(ConfigError),
    /// The store is [`required`](super::StoreFromEnv::required), and did not answer or refused.
    #[non_exhaustive]
    Store {
        /// What named it.
        from: StoreSource,
        /// What it said.
        error: StoreError,
    },
}

impl fmt::Display for EnvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(error) => error.fmt(f),
            Self::Store { from, error } => write!(f, "the store of {from} is required: {error}"),
        }
    }
}

impl Error for EnvError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Their texts are in this one's already; what is behind them is not.
            Self::Variable(error) => error.source(),
            Self::Store { error, .. } => error.source(),
        }
    }
}

impl From<ConfigError> for EnvError {
    fn from(error: ConfigError) -> Self {
        Self::Variable(error)
    }
}
