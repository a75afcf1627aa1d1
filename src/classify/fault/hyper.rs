//! `hyper`: requests on a connection; and `http`, of which they are built.

use std::error::Error;

use super::meaning::{Fault, Meaning};

type HyperError = ::hyper::Error;

pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    if link.is::<::hyper::http::Error>() || link.is::<::hyper::http::uri::InvalidUri>() {
        // There is no such request.
        return Some(Meaning::Is(Fault::Caller));
    }
    let error = link.downcast_ref::<HyperError>()?;
    if error.is_user() {
        // Above all the request's body: what that has inside is its own story (a gateway's body may hold the error of
        // another client), so the walk ends here.
        return Some(Meaning::Is(Fault::Caller));
    }
    // "Canceled": dropped from the queue before it was sent. "Closed": the connection took no request any more.
    (error.is_canceled() || error.is_closed()).then_some(Meaning::Is(Fault::Unprocessed))
}
