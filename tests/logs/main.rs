//! What the feature `tracing` tells logs: by a subscriber of the whole process, as an application installs one.
#![cfg(feature = "tracing")]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

#[path = "../support/mod.rs"]
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
mod support;

mod breakers;
mod calls;
mod capture;
mod retries;
#[cfg(feature = "fleet")]
mod stores;
mod subscribers;
