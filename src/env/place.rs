//! Where in a store the records are.

#[cfg(any(feature = "redis", feature = "postgres"))]
use super::url;
use crate::error::ConfigError;

pub(super) const NAMESPACE: &str = "FUSEBOX_STORE_NAMESPACE";
pub(super) const SCHEMA: &str = "FUSEBOX_STORE_SCHEMA";
pub(super) const TABLE: &str = "FUSEBOX_STORE_TABLE";

/// A value, and what it came from.
#[derive(Clone, Debug)]
pub(super) struct Given {
    #[cfg_attr(
        not(any(feature = "redis", feature = "postgres")),
        expect(dead_code, reason = "memory has no use for it")
    )]
    pub(super) value: String,
    pub(super) from: &'static str,
}

/// Each is what the store has by default where it is not given.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) namespace: Option<Given>,
    pub(super) schema: Option<Given>,
    pub(super) table: Option<Given>,
}

impl Place {
    /// What the variables say.
    pub(super) fn read(
        text: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let given = |from| Ok(text(from)?.map(|value| Given { value, from }));
        Ok(Self { namespace: given(NAMESPACE)?, schema: given(SCHEMA)?, table: given(TABLE)? })
    }

    /// The same, and what another one says where this one says nothing.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            namespace: self.namespace.or(other.namespace),
            schema: self.schema.or(other.schema),
            table: self.table.or(other.table),
        }
    }

    /// A variable that says something of it.
    pub(super) fn variable(&self) -> Option<&'static str> {
        let given = [&self.namespace, &self.schema, &self.table].into_iter().flatten().map(|given| given.from);
        given.into_iter().find(|from| [NAMESPACE, SCHEMA, TABLE].contains(from))
    }

    /// An error about a setting of a store, in the name that the setting has here.
    #[cfg(any(feature = "redis", feature = "postgres"))]
    pub(super) fn named(&self, error: &ConfigError) -> ConfigError {
        let from = |given: &Option<Given>, otherwise| given.as_ref().map_or(otherwise, |given| given.from);
        let field = match error.field() {
            "namespace" => from(&self.namespace, "namespace"),
            "schema" => from(&self.schema, "schema"),
            "table" => from(&self.table, "table"),
            // A store is told by URL, by variables that are checked before, and by where it is.
            _ => url::URL,
        };
        ConfigError::new(field, &error.given(), error.allowed().to_owned())
    }
}
