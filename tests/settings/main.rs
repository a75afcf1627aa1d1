//! Settings from files and the environment: what is read, and how mistakes are told.
#![cfg(feature = "serde")]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

use serde::de::DeserializeOwned;

mod breakers;
mod docs;
mod durations;
mod environment;
mod file;
mod formats;
mod outcomes;
mod overrides;
mod published;
mod retries;
mod schema;
mod setters;
mod valid;
mod wrong;

/// Reads TOML.
fn read<T: DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// What is said of TOML that is wrong.
fn refusal<T: DeserializeOwned>(text: &str) -> String {
    match toml::from_str::<T>(text) {
        Ok(_) => panic!("this is taken:\n{text}"),
        Err(error) => error.message().to_owned(),
    }
}
