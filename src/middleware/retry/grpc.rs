//! Retries of gRPC calls.

use tonic::body::Body;

use super::http::{BodyWith, ReplayHttp};
use super::layer::RetryLayer;
use super::replay_body::ReplayBody;
use crate::attempts::RetryConfig;
use crate::classify::{self, Grpc};

/// How gRPC calls are sent again.
pub type ReplayGrpc = ReplayHttp<BodyWith<fn(ReplayBody<Body>) -> Body>>;

impl<T> RetryLayer<Grpc, ReplayGrpc, T> {
    /// Retries gRPC calls around a tonic `Channel`. It goes by [`classify::grpc`](crate::classify::grpc), as gRPC's
    /// proposal A6 has it:
    ///
    /// - A call is made again when it ended without a response message and in a retryable status (UNAVAILABLE, unless the
    ///   classifier says otherwise). Once the headers of a response are in, it is committed: UNAVAILABLE in trailers
    ///   after them, however soon, is not retried.
    /// - A call that the server certainly did not process (no connection, a stream that was refused) is made again, the
    ///   first time at once and free of budget.
    /// - `grpc-retry-pushback-ms` replaces the wait of the backoff, which begins anew after it, up to
    ///   [`retry_after_cap`](crate::RetryConfigBuilder::retry_after_cap), which is 5 min: set a
    ///   [`deadline`](crate::RetryConfigBuilder::deadline), or callers may wait as long. A negative or malformed one
    ///   ends the retries. `google.rpc.RetryInfo` in the details of the status is a least wait, and one beyond that cap
    ///   ends them.
    /// - The caller's own deadline, `grpc-timeout` (tonic's `Request::set_timeout`), is over all attempts: each further
    ///   one is sent what is left, and none begins after it. It ends an attempt on its way where the configuration has a
    ///   limit of time; the server and tonic's channel heed it anyway. A malformed one is passed on and is none. The
    ///   extension [`Deadline`](super::Deadline) counts as well, where it is the sooner.
    /// - Retries carry `grpc-previous-rpc-attempts`, and the extension [`Attempt`](super::Attempt).
    /// - Messages of the request are recorded as for [`http`](Self::http).
    ///
    /// For retry throttling add [`Budget::tokens`](crate::Budget::tokens). A committed call is counted by its end, where its
    /// status is: it takes a token, or gives some back and may have recovered, once its body has been read
    /// ([`ResponseBody`](super::ResponseBody)). A reader who leaves before that does neither.
    ///
    /// A [`deadline`](crate::RetryConfigBuilder::deadline) is over the body as well: a stream that outlives it ends in
    /// DEADLINE_EXCEEDED. Give none to streams that last.
    ///
    /// ```
    /// use fusebox::{RetryConfig, RetryLayer, RetryService};
    /// use fusebox::{classify::Grpc, retry::ReplayGrpc};
    /// use tower::Layer;
    ///
    /// fn client<Channel>(channel: Channel) -> RetryService<Channel, Grpc, ReplayGrpc> {
    ///     RetryLayer::grpc(RetryConfig::default()).layer(channel) // then `GreeterClient::new(..)` of it
    /// }
    /// # let _ = client::<()>;
    /// ```
    #[must_use]
    pub fn grpc(config: RetryConfig<T>) -> Self {
        let new: fn(ReplayBody<Body>) -> Body = Body::new;
        Self::with(config, classify::grpc(), ReplayHttp::grpc(BodyWith(new)))
    }
}
