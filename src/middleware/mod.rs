//! The Tower faces of what the crate decides.

pub mod circuit_breaker;
pub mod fallback;
pub mod retry;
pub mod safety_net;
