//! `h2`: streams and connections of HTTP/2.

use std::error::Error;

use ::h2::Reason;

use super::meaning::{Fault, Meaning};

type H2Error = ::h2::Error;

/// RFC 9113, 8.7: a stream that is refused, and one above the last that a GOAWAY names, were not processed. (h2 gives the
/// GOAWAY to no other streams: those below go on, or end with the connection.)
pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    let error = link.downcast_ref::<H2Error>()?;
    if error.is_remote() {
        let unprocessed = error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM);
        return unprocessed.then_some(Meaning::Is(Fault::Unprocessed));
    }
    // h2 itself saw that the other side breaks the protocol, or the connection broke.
    if error.is_library() || error.is_io() {
        return None;
    }
    // What is left is this side's: a stream that it reset, which clients do when a request's body breaks; or a request
    // that cannot be sent, which has no reason. A reason alone says nothing of sides.
    (error.is_reset() || error.reason().is_none()).then_some(Meaning::Is(Fault::Caller))
}
