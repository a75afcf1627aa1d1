//! `hyper-util`: the pooled client, and its connector.

use std::error::Error;
use std::io;

use ::hyper_util::client::legacy::connect::HttpConnector;
use tower_service::Service;

use super::meaning::{Fault, Meaning};

type ClientError = ::hyper_util::client::legacy::Error;
/// The connector's error, which has no other name.
type ConnectError = <HttpConnector as Service<::hyper::Uri>>::Error;

pub(super) fn meaning(link: &(dyn Error + 'static)) -> Option<Meaning> {
    if let Some(error) = link.downcast_ref::<ClientError>() {
        if error.is_connect() {
            return Some(Meaning::NotConnected);
        }
        // What the client itself refuses to send ("UserAbsoluteUriRequired" and so on) has no source; its kind can only be
        // read.
        let refused = error.source().is_none() && error.to_string().contains("(User");
        return refused.then_some(Meaning::Is(Fault::Caller));
    }
    if let Some(error) = link.downcast_ref::<ConnectError>() {
        // Of what the system or the name service said there is a source; without one, it is the URL: no host, no scheme,
        // another scheme.
        let wrong_url = error.source().is_none();
        return Some(if wrong_url { Meaning::Is(Fault::Caller) } else { Meaning::NotConnected });
    }
    is_scheme_of_another(link).then_some(Meaning::WhyNotConnected(Fault::Caller))
}

/// hyper-rustls has only words for a URL that it does not connect to.
fn is_scheme_of_another(link: &(dyn Error + 'static)) -> bool {
    let Some(error) = link.downcast_ref::<io::Error>().filter(|error| error.kind() == io::ErrorKind::Other) else {
        return false;
    };
    let words = error.to_string();
    words.starts_with("unsupported scheme ") || words == "missing scheme"
}
