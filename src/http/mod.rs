//! HTTP: keys from requests and answers to rejected ones.

pub mod key;
mod unavailable;

pub use unavailable::unavailable;
