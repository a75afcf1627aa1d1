//! Real clients and servers, as their crates make them, over real sockets.
//!
//! Time that a breaker reads is a manual clock's wherever the test does not need the runtime to wait; nothing here counts
//! on something being done within a time.
#![cfg(feature = "http")]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

#[expect(clippy::allow_attributes, reason = "what is unused differs from feature to feature")]
#[allow(dead_code, reason = "not every feature needs every helper")]
mod servers;

#[cfg(feature = "axum")]
mod axum_server;
mod balance;
mod combinations;
mod connections;
mod deadlines;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(all(feature = "axum", feature = "grpc"))]
mod handlers;
mod hyper_client;
mod late_bodies;
#[cfg(feature = "reqwest")]
mod reqwest_client;
mod streams;
#[cfg(feature = "grpc")]
#[path = "../support/text_codec.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "the path of a method is another one's")]
mod text_codec;
mod uploads;
