//! How a request is sent more than once.

use std::fmt;
use std::time::Duration;

use crate::attempts::{AnyAnswer, CallerDeadline};
use crate::classify::Retry;

/// How a request is sent more than once. One of [`Cloned`] and [`CloneWith`], or one of your own. (For HTTP requests
/// `RetryLayer::http` has `ReplayHttp`.)
///
/// ```
/// use fusebox::retry::Replay;
///
/// /// Sends a number, and counts up.
/// #[derive(Clone)]
/// struct CountUp;
///
/// impl Replay<u32> for CountUp {
///     type Out = u32;
///     type Saved = u32;
///
///     fn first(&self, request: u32) -> (u32, Option<u32>) {
///         (request, Some(request))
///     }
///     fn again(&self, saved: &mut u32, _attempt: u32) -> Option<u32> {
///         *saved += 1;
///         Some(*saved)
///     }
/// }
/// let (sent, mut saved) = CountUp.first(7);
/// assert_eq!((sent, CountUp.again(saved.as_mut().unwrap(), 2)), (7, Some(8)));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Req}` cannot be sent more than once by `{Self}`",
    note = "a request that is not `Clone` needs `.clone_with(|request| ..)`; for HTTP requests with a streaming body use `RetryLayer::http(..)`"
)]
pub trait Replay<Req>: Clone {
    /// The request as the inner service gets it.
    type Out;
    /// What is kept to send it again.
    type Saved;

    /// Makes the first request, and what is needed for another. `None`: it can be sent once.
    fn first(&self, request: Req) -> (Self::Out, Option<Self::Saved>);

    /// Tells whether the request may be sent again after such a result. It is one that the request may have been
    /// processed in ([`Retry::IfIdempotent`]) or certainly was not ([`Retry::Unprocessed`]). Default: yes.
    fn may_repeat(&self, saved: &Self::Saved, after: Retry) -> bool {
        let _ = (saved, after);
        true
    }

    /// Tells that the next attempt is to go over another connection ([`Retry::Once`]). Default: does
    /// nothing.
    fn change_connection(&self, saved: &mut Self::Saved) {
        let _ = saved;
    }

    /// Makes the request for the `attempt`th attempt (2 is the first retry). `None`: it cannot be sent again after all.
    fn again(&self, saved: &mut Self::Saved, attempt: u32) -> Option<Self::Out>;

    /// By when the caller wants its answer, as the request says when the call begins.
    #[doc(hidden)]
    #[inline]
    fn deadline(&self, request: &Req) -> Option<CallerDeadline> {
        let _ = request;
        None
    }

    /// Tells the request, another attempt's, that so much time is left until the deadline.
    #[doc(hidden)]
    fn leave(&self, request: &mut Self::Out, left: Duration) {
        let _ = (request, left);
    }
}

/// How requests are sent again, and what becomes of the responses. Every [`Replay`] is that, of which nothing more is known
/// than that a response goes to the caller.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Req}` cannot be sent more than once by `{Self}`",
    note = "a request that is not `Clone` needs `.clone_with(|request| ..)`; for HTTP requests with a streaming body use `RetryLayer::http(..)`"
)]
pub trait Resends<Req>: Clone {
    type Replay: Replay<Req>;
    /// What [delivers](crate::attempts::Deliver) them.
    type Answers;

    fn replay(&self) -> &Self::Replay;
}

impl<P: Replay<Req>, Req> Resends<Req> for P {
    type Replay = P;
    type Answers = AnyAnswer;

    #[inline]
    fn replay(&self) -> &P {
        self
    }
}

/// Requests are cloned.
///
/// ```
/// use fusebox::{RetryConfig, RetryLayer, classify::Errors, retry::Cloned};
///
/// let layer: RetryLayer<Errors, Cloned> = RetryLayer::new(RetryConfig::default());
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Cloned;

impl<Req: Clone> Replay<Req> for Cloned {
    type Out = Req;
    type Saved = Req;

    #[inline]
    fn first(&self, request: Req) -> (Req, Option<Req>) {
        let saved = request.clone();
        (request, Some(saved))
    }

    fn again(&self, saved: &mut Req, _attempt: u32) -> Option<Req> {
        Some(saved.clone())
    }
}

/// Requests are cloned by a function. Made by [`clone_with`](super::RetryLayer::clone_with). A function pointer gives the
/// layer a type that can be written down:
///
/// ```
/// use fusebox::classify::Errors;
/// use fusebox::retry::{CloneWith, RetryConfig, RetryLayer};
///
/// struct Order(u32); // not `Clone`
///
/// fn layer() -> RetryLayer<Errors, CloneWith<fn(&Order) -> Option<Order>>> {
///     RetryLayer::new(RetryConfig::default()).clone_with(|order| Some(Order(order.0)))
/// }
/// # let _ = layer();
/// ```
#[derive(Clone, Copy)]
pub struct CloneWith<F>(pub(super) F);

impl<Req, F> Replay<Req> for CloneWith<F>
where
    F: Fn(&Req) -> Option<Req> + Clone,
{
    type Out = Req;
    type Saved = Req;

    #[inline]
    fn first(&self, request: Req) -> (Req, Option<Req>) {
        let saved = (self.0)(&request);
        (request, saved)
    }

    fn again(&self, saved: &mut Req, _attempt: u32) -> Option<Req> {
        (self.0)(saved)
    }
}

impl<F> fmt::Debug for CloneWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloneWith").finish_non_exhaustive()
    }
}
