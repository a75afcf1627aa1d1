//! `reqwest`.

use std::error::Error;

use super::meaning::{Fault, Meaning};

type ReqwestError = ::reqwest::Error;

pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    let error = link.downcast_ref::<ReqwestError>()?;
    if error.is_builder() || error.is_redirect() {
        return Some(Meaning::Is(Fault::Caller));
    }
    if let Some(status) = error.status().filter(|_| error.is_status()) {
        return Some(Meaning::Is(Fault::Answered(status)));
    }
    // These come after the head of a response, so that the request was processed whatever there is inside. (A request's
    // body has such an error too, but inside one of hyper's, where the walk has ended.)
    let after_head = error.is_body() || error.is_decode() || error.is_upgrade();
    after_head.then_some(Meaning::Is(Fault::Dependency))
}
