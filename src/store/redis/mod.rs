//! A store in Redis or Valkey.

mod all;
mod builder;
mod cluster;
mod connection;
mod failure;
mod layout;
mod members;
mod script;
mod servers;
mod store;
mod watch;

pub use builder::{RedisServer, RedisStoreBuilder};
pub use store::RedisStore;
