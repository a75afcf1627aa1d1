//! How long to wait before the next attempt. There are delay curves, and jitter so that callers do not come back all at
//! once.
//!
//! A curve is plain arithmetic: it knows no clock, and its chance comes from a seed. Anything that can be iterated over
//! more than once will do as well, and ends the retries where it ends.
//!
//! ```
//! use std::time::Duration;
//! use fusebox::backoff::{self, Backoff, Jitter};
//!
//! let ms = Duration::from_millis;
//! let growing = backoff::exponential(ms(100)..=ms(1_000)).jitter(Jitter::None);
//! let delays: Vec<_> = growing.delays(0).take(5).collect();
//! assert_eq!(delays, [ms(100), ms(200), ms(400), ms(800), ms(1_000)]);
//!
//! let by_hand = [ms(10), ms(500)]; // two retries at most
//! assert_eq!(by_hand.delays(0).count(), 2);
//! ```

mod contract;
mod decorrelated;
mod delays;
mod exponential;
mod fixed;
mod jitter;
mod linear;
mod random;
mod range;

pub use contract::Backoff;
#[doc(hidden)]
pub use contract::BuiltIn;
pub use decorrelated::{Decorrelated, decorrelated};
pub use delays::Delays;
pub use exponential::{Exponential, exponential};
pub use fixed::{Fixed, fixed};
pub use jitter::Jitter;
pub use linear::{Linear, linear};

pub(crate) use delays::{Curve, Pace};
pub(crate) use random::{draw, mix};
