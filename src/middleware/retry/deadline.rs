//! The caller's own deadline, as an extension of its request.

use std::time::Duration;

use tokio::time::Instant;

use crate::clock::timer_now;

/// By when the caller wants its answer: an extension of HTTP requests, for [`RetryLayer::http`] and `RetryLayer::grpc`.
///
/// - It is over all attempts: the retry stops, with [`StopReason::Deadline`](super::StopReason::Deadline), where the next
///   attempt would begin after it. The caller gets the last answer as it is.
/// - It ends an attempt on its way where the configuration has a limit of time
///   ([`deadline`](crate::RetryConfigBuilder::deadline), [`attempt_timeout`](crate::RetryConfigBuilder::attempt_timeout)):
///   then the sooner of both counts. Without any, the attempt is waited for.
/// - Every attempt carries it as it is. It is not sent to the server: HTTP has no header for that.
///
/// The instant is Tokio's, which a paused runtime moves; one of the standard library's is made it by `into`.
///
/// ```
/// use std::time::Duration;
/// use bytes::Bytes;
/// use fusebox::{RetryConfig, RetryLayer, backoff, retry::{Deadline, ReplayBody}};
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{service_fn, Layer, ServiceExt};
///
/// # tokio_test::block_on(async {
/// let patient = RetryConfig::builder().backoff(backoff::fixed(Duration::from_secs(60))).build()?;
/// let client = RetryLayer::http(patient).layer(service_fn(|_: Request<ReplayBody<Full<Bytes>>>| async {
///     Response::builder().status(503).body(())
/// }));
/// let mut request = Request::get("/prices/7").body(Full::default())?;
/// request.extensions_mut().insert(Deadline::within(Duration::from_secs(2)));
/// let response = client.oneshot(request).await?;
/// assert_eq!(response.status(), 503, "at once: after a minute it is too late for another attempt");
/// # Ok::<(), fusebox::BoxError>(()) }).unwrap();
/// ```
///
/// [`RetryLayer::http`]: super::RetryLayer::http
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "an instant and nothing else")]
pub struct Deadline(pub Instant);

/// As good as never, and no overflow.
const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

impl Deadline {
    /// Makes the deadline that is so long after now. A time beyond 30 years is as good as none.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::retry::Deadline;
    ///
    /// assert!(Deadline::within(Duration::from_secs(2)) < Deadline::within(Duration::MAX));
    /// ```
    #[must_use]
    pub fn within(time: Duration) -> Self {
        Self(timer_now() + time.min(FAR))
    }

    /// Returns how much time is left: zero once it is over.
    ///
    /// ```
    /// use std::time::Duration;
    /// use fusebox::retry::Deadline;
    ///
    /// let minute = Duration::from_secs(60);
    /// assert!(Deadline::within(minute).left() <= minute);
    /// assert_eq!(Deadline::within(Duration::ZERO).left(), Duration::ZERO);
    /// ```
    #[must_use]
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(timer_now())
    }
}
