//! Which variables a store comes from.

use std::fmt;

/// What named a store; from [`EnvStore::source`](super::EnvStore::source).
///
/// ```
/// use fusebox::env::StoreSource;
///
/// assert_eq!(StoreSource::StoreUrl.to_string(), "`FUSEBOX_STORE_URL`");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreSource {
    /// No variable was set: it is in memory, for want of anything else.
    Unset,
    /// `FUSEBOX_STORE_URL`.
    StoreUrl,
    /// `HW_DB_HOST`, `HW_DB_PASSWORD`, and those that go with them.
    Highway,
}

impl fmt::Display for StoreSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unset => "no variable",
            Self::StoreUrl => "`FUSEBOX_STORE_URL`",
            Self::Highway => "`HW_DB_HOST`",
        })
    }
}
