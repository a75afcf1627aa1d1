//! The Tower faces of what the crate decides.

pub mod circuit_breaker;
pub mod retry;
