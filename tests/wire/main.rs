//! What the errors of real clients mean, over real sockets: who failed, and whether the request was processed.
//!
//! The servers refuse, reset, hang, lie, show certificates that are not trusted, and say so in the words of HTTP/2. Nothing
//! here counts on something being done within a time.
#![cfg(feature = "hyper")]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "../stores/authority.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "clients have no certificates here")]
mod authority;

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

#[expect(clippy::allow_attributes, reason = "what is unused differs from feature to feature")]
#[allow(dead_code, reason = "not every feature needs every helper")]
mod bodies;
#[expect(clippy::allow_attributes, reason = "what is unused differs from feature to feature")]
#[allow(dead_code, reason = "not every feature needs every helper")]
mod servers;
#[expect(clippy::allow_attributes, reason = "what is unused differs from feature to feature")]
#[allow(dead_code, reason = "not every feature needs every helper")]
mod verdict;

mod connecting;
mod h2;
mod hyper;
#[cfg(feature = "reqwest")]
mod reqwest;
#[cfg(feature = "http")]
mod resending;
#[cfg(feature = "grpc")]
#[path = "../support/text_codec.rs"]
mod text_codec;
#[cfg(feature = "grpc")]
mod tonic;
#[cfg(feature = "tower")]
mod tower;
