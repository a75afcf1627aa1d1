//! `rustls`: certificates.

use std::error::Error;

use super::meaning::{Fault, Meaning};

pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    let untrusted = matches!(
        link.downcast_ref()?,
        rustls::Error::InvalidCertificate(_) | rustls::Error::InvalidCertRevocationList(_)
    );
    untrusted.then_some(Meaning::Is(Fault::Final))
}
