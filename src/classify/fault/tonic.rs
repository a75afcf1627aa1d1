//! `tonic`: statuses, and its channel.

use std::error::Error;

use ::tonic::{Code, ConnectError, Status, TimeoutExpired};

use super::meaning::{Fault, Meaning};

type ChannelError = ::tonic::transport::Error;

pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    if let Some(status) = link.downcast_ref::<Status>() {
        // One that was made on this side has inside what it was made from.
        return (status.code() == Code::Cancelled).then_some(Meaning::AtLeast(Fault::Cancelled));
    }
    if link.is::<ConnectError>() {
        return Some(Meaning::NotConnected);
    }
    if link.is::<TimeoutExpired>() {
        // tonic makes CANCELLED of it, but it was the dependency that had no answer.
        return Some(Meaning::Is(Fault::Dependency));
    }
    // Without a source it is about the endpoint: its URI, its user agent, its TLS.
    let error = link.downcast_ref::<ChannelError>()?;
    error.source().is_none().then_some(Meaning::Is(Fault::Caller))
}
