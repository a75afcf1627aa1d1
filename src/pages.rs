//! The pages of the repository: their code is compiled and run like every other example, where all that it uses is there.

/// The README's code needs no feature: what does is marked there.
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(all(feature = "axum", feature = "fleet", feature = "grpc"))]
#[doc = include_str!("../docs/choosing.md")]
struct Choosing;
