//! A store in PostgreSQL.

mod address;
mod builder;
mod connections;
mod dialler;
mod failure;
mod limits;
mod listener;
mod prune;
mod rights;
mod schema;
mod statements;
mod store;

#[cfg(feature = "env")]
pub(crate) use address::check_encryption;
pub use builder::PostgresStoreBuilder;
pub use prune::Pruned;
pub use store::PostgresStore;
