//! A store in Redis or Valkey.

mod builder;
mod connection;
mod failure;
mod layout;
mod script;
mod store;
mod watch;

pub use builder::{RedisServer, RedisStoreBuilder};
pub use store::RedisStore;
