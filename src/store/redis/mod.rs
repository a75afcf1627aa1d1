//! A store in Redis or Valkey.

mod builder;
mod changes;
mod cluster;
mod connection;
mod failure;
mod join_all;
mod layout;
mod nodes;
mod script;
mod servers;
mod store;
mod watch;

pub use builder::{RedisServer, RedisStoreBuilder};
pub use store::RedisStore;
