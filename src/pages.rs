//! The pages of the repository: their code is compiled and run like every other example, where all that it uses is there.

/// Its code needs no feature: what does is marked there.
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "fleet")]
#[doc = include_str!("../docs/choosing.md")]
struct Choosing;

#[doc = include_str!("../docs/migrating.md")]
struct Migrating;

#[cfg(feature = "serde")]
#[doc = include_str!("../docs/settings.md")]
struct Settings;

#[cfg(feature = "postgres")]
#[doc = include_str!("../docs/stores.md")]
struct Stores;
