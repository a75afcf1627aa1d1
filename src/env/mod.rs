//! The store that the environment names. With it one program runs alone on a desk and as a fleet in production.
//!
//! ```no_run
//! # async fn example() -> Result<(), fusebox::env::EnvError> {
//! let store = fusebox::env::store().await?;
//! println!("breakers share {store}"); // once, where your program tells of its start: nothing is printed here
//! # Ok(()) }
//! ```
//!
//! What comes back dereferences to the `Arc<dyn Store>`, so that `store.clone()` is what a configuration takes.
//!
//! # Variables
//!
//! One that is empty is not set. `FUSEBOX_STORE_URL` goes first; where it is set, the others are not looked at.
//!
//! | `FUSEBOX_STORE_URL` | store | feature |
//! |---|---|---|
//! | `redis://[user:password@]host[:port][/database]` | Redis or Valkey | `redis` |
//! | `rediss://..`, with the same parts | the same over TLS | `redis-tls` |
//! | `redis+sentinel://[user:password@]host[:port][,host..]/name[/database]` | the primary that Sentinels know by that name; user and password are the primary's, the Sentinels' port is 26379 by default | `redis` |
//! | `postgres://user:password@host:port/database` or `postgresql://..` | PostgreSQL; what is left out comes from `PGHOST`, `PGPASSWORD` and so on, of the real environment | `postgres` |
//! | the same with `?sslmode=verify-full&sslrootcert=/path/to/ca.pem` | the same over TLS | `postgres-tls` |
//! | `memory:` | this process's memory, on purpose | |
//!
//! Characters that mean something in a URL are percent-encoded in its parts, in passwords above all: `%40` for `@`,
//! `%2F` for `/`, `%3F` for `?`, `%23` for `#`, `%25` for `%`. A URL with an `@` behind its host is refused: a password
//! in front of it was not encoded, and a piece of it would be taken for a database, and shown as one.
//!
//! The others are those of the older library for Python, whose table the store also takes over (feature `postgres`):
//!
//! | variable | default |
//! |---|---|
//! | `HW_DB_HOST` | none: must be set; a host alone, or the folder of a socket |
//! | `HW_DB_PASSWORD` | none: must be set; as it is, nothing percent-encoded |
//! | `HW_DB_PORT` | 5432 |
//! | `HW_DB_NAME` | `highway_circutbreaker_db` |
//! | `HW_DB_USER` | `postgres` |
//!
//! Whether that connection is encrypted is up to `PGSSLMODE` and `PGSSLROOTCERT` (feature `postgres-tls`).
//!
//! Where in that store the records are, whichever variables named it:
//!
//! | variable | what | default |
//! |---|---|---|
//! | `FUSEBOX_STORE_NAMESPACE` | keeps breakers apart from those of others: at most 64 of `A-Z`, `a-z`, `0-9`, `_`, `.`, `-` | `fb` in Redis, none in PostgreSQL |
//! | `FUSEBOX_STORE_SCHEMA` | the schema of the tables, PostgreSQL only | where `search_path` finds them |
//! | `FUSEBOX_STORE_TABLE` | the name of the first table, PostgreSQL only | `hw_circuit_breakers` |
//!
//! A schema or a table for a store in Redis is an error, and so is any of the three where no variable names a store.
//!
//! # What becomes of a start
//!
//! | the environment | [`store()`] | [`store().required()`](StoreFromEnv::required) |
//! |---|---|---|
//! | none is set | [`MemoryStore`](crate::store::MemoryStore): nothing is shared, which [`EnvStore`] says when printed | error |
//! | `memory:` | the same, as asked | the same |
//! | one is wrong, or some of `HW_DB_*` are missing | error | error |
//! | the store's feature is off | error that names it | error that names it |
//! | the server answers | the store | the store |
//! | it is away, or refuses: password, rights, a missing table | the store; [`EnvStore::degraded`] tells why | error |
//!
//! A store that is away does no harm: no call waits for it, breakers judge for themselves, and it is asked again until it is
//! there. Looking takes a second at most, with Sentinels up to one more for each.
//!
//! # Secrets
//!
//! No text of this module, be it [`Display`](std::fmt::Display), [`Debug`] or an error's source, holds a password, or a
//! value in which there may be one.

mod dotenv;
mod env_store;
mod error;
mod legacy_env;
mod place;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redis")]
mod redis;
mod source;
mod store;
mod url;
mod variables;

pub use env_store::EnvStore;
pub use error::EnvError;
pub use source::StoreSource;
pub use store::{StoreFromEnv, store};
