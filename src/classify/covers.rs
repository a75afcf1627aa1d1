//! Bodies of this crate's own around that of a response, and the way back to it.

use std::any::Any;

use http::{Response, Version};

use super::status::is_made_again;

/// Takes the inner body out of one that is around it; what is no such body it returns as it is.
pub(crate) type Uncover = fn(Box<dyn Any>) -> Box<dyn Any>;

/// What leads from the body of a response to the client's own, the outermost last. It is in the head, because the types
/// between are known where they are put around it, and not where a retry has a response that goes to no caller.
#[derive(Clone)]
struct Covers(Vec<Uncover>);

/// Notes that the body of a response gets one around it. Only where a retry may make the call again and has use for the
/// connection: the others have nothing to carry, and are free of what that costs.
pub(crate) fn note_cover<B>(response: &mut Response<B>, uncover: Uncover) {
    let has_clients = cfg!(any(feature = "hyper", feature = "axum"));
    if !has_clients || response.version() > Version::HTTP_11 || !is_made_again(response.status()) {
        return;
    }
    let extensions = response.extensions_mut();
    match extensions.get_mut::<Covers>() {
        Some(Covers(covers)) => covers.push(uncover),
        None => {
            extensions.insert(Covers(vec![uncover]));
        }
    }
}

/// The body of a response without those that are noted.
#[cfg(any(feature = "hyper", feature = "axum"))]
pub(super) fn uncovered<B: 'static>(response: Response<B>) -> Box<dyn Any> {
    let (mut head, body) = response.into_parts();
    let covers = head.extensions.remove().map_or(Vec::new(), |Covers(covers)| covers);
    covers.into_iter().rev().fold(Box::new(body), |body: Box<dyn Any>, uncover| uncover(body))
}
