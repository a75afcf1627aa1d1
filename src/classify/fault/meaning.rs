//! What an error can mean.

/// Who failed, as far as an error tells.
#[cfg_attr(not(feature = "grpc"), expect(dead_code, reason = "only tonic's errors mean all of them"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::classify) enum Fault {
    /// The dependency failed, or nothing else is known. It may have processed the request.
    Dependency,
    /// The dependency failed, and has certainly not processed the request: it was never sent, or it was refused as a whole.
    Unprocessed,
    /// A failure that no other attempt mends: the dependency's certificate is not trusted, or it does not trust this side.
    Final,
    /// The dependency is well, and its answer is an error: of the request as it is, it will say nothing else.
    #[cfg(any(feature = "postgres", feature = "redis"))]
    Refused,
    /// The dependency is well, and another caller came first: the same request may get through later.
    #[cfg(feature = "postgres")]
    Conflict,
    /// The caller's own mistake, or its own protection: the dependency was not asked, or could not have helped.
    Caller,
    /// The call was given up: it tells nothing about the dependency.
    Cancelled,
    /// The dependency answered, and its status was made an error.
    #[cfg(feature = "reqwest")]
    Answered(http::StatusCode),
}

/// What one link of an error's chain means.
#[cfg_attr(not(feature = "grpc"), expect(dead_code, reason = "only tonic's errors mean all of them"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This, however it came about: what the link has inside is not looked at.
    Is(Fault),
    /// This, unless something inside means more.
    AtLeast(Fault),
    /// There was no connection, so that nothing was sent. Something inside may tell whose fault that is.
    NotConnected,
    /// This, where there was no connection.
    WhyNotConnected(Fault),
}
