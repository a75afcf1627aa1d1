//! The way through an error's chain, from the outermost link inward.

use std::error::Error;

use super::meaning::{Fault, Meaning};
use crate::error_chain::{as_error, sources};

/// Tells who failed, where the type of the error is one that is known; `None`: nothing is known. It was the dependency then,
/// unless something else (a gRPC status code) tells more.
pub(in crate::classify) fn fault_in<E: 'static>(error: &E) -> Option<Fault> {
    walk(as_error(error)?)
}

/// What a status tells besides its code: one that was made on this side has inside what it was made from, which says more.
#[cfg(feature = "grpc")]
pub(in crate::classify) fn fault_of_status(status: &tonic::Status) -> Option<Fault> {
    walk(status.source()?)
}

/// The outermost link that means something decides. But of a connection that was not made, the reason may be more than that
/// nothing was sent: an untrusted certificate, an address that cannot be meant.
fn walk(error: &(dyn Error + 'static)) -> Option<Fault> {
    let (mut known, mut connecting) = (None, false);
    for meaning in sources(error).filter_map(meaning) {
        match meaning {
            Meaning::Is(fault) if !connecting || matches!(fault, Fault::Final | Fault::Caller) => {
                return Some(fault);
            }
            Meaning::WhyNotConnected(fault) if connecting => return Some(fault),
            Meaning::AtLeast(fault) => known = known.or(Some(fault)),
            Meaning::NotConnected if !connecting => (known, connecting) = (Some(Fault::Unprocessed), true),
            Meaning::Is(_) | Meaning::NotConnected | Meaning::WhyNotConnected(_) => {}
        }
    }
    known
}

/// What one link means; `None`: nothing by itself.
fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    #[cfg(feature = "hyper")]
    if let Some(meaning) = super::hyper::meaning(link).or_else(|| super::hyper_util::meaning(link)) {
        return Some(meaning);
    }
    #[cfg(feature = "hyper")]
    if let Some(meaning) = super::h2::meaning(link) {
        return Some(meaning);
    }
    #[cfg(any(feature = "hyper", feature = "redis-tls", feature = "postgres-tls"))]
    if let Some(meaning) = super::tls::meaning(link) {
        return Some(meaning);
    }
    #[cfg(feature = "reqwest")]
    if let Some(meaning) = super::reqwest::meaning(link) {
        return Some(meaning);
    }
    #[cfg(feature = "grpc")]
    if let Some(meaning) = super::tonic::meaning(link) {
        return Some(meaning);
    }
    #[cfg(feature = "tower")]
    if let Some(meaning) = super::tower::meaning(link) {
        return Some(meaning);
    }
    #[cfg(feature = "postgres")]
    if let Some(meaning) = super::sqlx::meaning(link) {
        return Some(meaning);
    }
    #[cfg(feature = "redis")]
    if let Some(meaning) = super::redis::meaning(link) {
        return Some(meaning);
    }
    let _ = link;
    None
}
