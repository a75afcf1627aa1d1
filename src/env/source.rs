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

impl StoreSource {
    /// Returns `unset`, `store_url` or `highway`, as a metrics label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "unset",
            Self::StoreUrl => "store_url",
            Self::Highway => "highway",
        }
    }
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
