//! The seam for delay curves.

use std::time::Duration;

use super::decorrelated::Decorrelated;
use super::delays::{Curve, Delays};
use super::exponential::Exponential;
use super::fixed::Fixed;
use super::linear::Linear;
use crate::error::ConfigError;

/// How the delays between attempts grow.
///
/// The curves of this module are; so is everything that can be cloned and iterated over, such as an array: its end is the
/// end of the retries. For curves that need chance, implement it: see [`Delays`].
///
/// ```
/// use std::time::Duration;
/// use fusebox::{RetryConfig, backoff};
///
/// let s = Duration::from_secs;
/// RetryConfig::builder().backoff(backoff::fixed(s(2)));
/// RetryConfig::builder().backoff([s(1), s(5), s(25)]);
/// RetryConfig::builder().backoff(std::iter::successors(Some(s(1)), |delay| Some(*delay + Duration::from_secs(1))));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no backoff",
    note = "use `backoff::exponential(..)`, `backoff::linear(..)`, `backoff::fixed(..)`, `backoff::decorrelated(..)`, or something to iterate over with items of type `Duration` that is `Clone + Send + Sync`"
)]
pub trait Backoff: Send + Sync + 'static {
    /// Returns the delays of one request. The seed differs from request to request; the same seed gives the same delays.
    fn delays(&self, seed: u64) -> Delays;

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// The setting that cannot work.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// The curve, if it is one of this module's.
    #[doc(hidden)]
    fn curve(&self) -> Option<BuiltIn> {
        None
    }
}

/// Keeps the curve out of the public interface.
#[derive(Debug)]
#[doc(hidden)]
pub struct BuiltIn(pub(crate) Curve);

macro_rules! curve {
    ($name:ident) => {
        impl Backoff for $name {
            fn delays(&self, seed: u64) -> Delays {
                Delays::of(Curve::$name(*self), seed)
            }

            fn check(&self) -> Result<(), ConfigError> {
                Curve::$name(*self).check()
            }

            fn curve(&self) -> Option<BuiltIn> {
                Some(BuiltIn(Curve::$name(*self)))
            }
        }
    };
}

/// So that what takes a backoff also takes one whose type is not known.
impl Backoff for Box<dyn Backoff> {
    fn delays(&self, seed: u64) -> Delays {
        (**self).delays(seed)
    }

    fn check(&self) -> Result<(), ConfigError> {
        (**self).check()
    }

    fn curve(&self) -> Option<BuiltIn> {
        (**self).curve()
    }
}

curve!(Fixed);
curve!(Exponential);
curve!(Linear);
curve!(Decorrelated);

impl<I> Backoff for I
where
    I: IntoIterator<Item = Duration> + Clone + Send + Sync + 'static,
    I::IntoIter: Send + Sync + 'static,
{
    fn delays(&self, _seed: u64) -> Delays {
        Delays::new(self.clone().into_iter())
    }
}
