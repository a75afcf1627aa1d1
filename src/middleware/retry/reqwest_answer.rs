//! What becomes of reqwest's responses: their bodies are limited in time where the call is.

use std::any::Any;
use std::mem;

use http::Response;
use reqwest::{Body, ResponseBuilderExt};

use super::response_body::{LimitsBodies, ResponseBody, Watched, limit};
use crate::attempts::{Deliver, Head, Limits, Rest, Timed, Timeouts};
use crate::classify::AtHead;

/// Answers of reqwest's client, or what the service makes of them.
#[derive(Debug)]
#[doc(hidden)]
pub struct ReqwestAnswer;

impl LimitsBodies for ReqwestAnswer {}

impl<C, R: 'static> Deliver<AtHead, C, Timed, R> for ReqwestAnswer {
    type Response = R;

    fn deliver(_classify: &C, head: Head<'_, <Timed as Timeouts>::Limits>, mut response: R) -> R {
        let any: &mut dyn Any = &mut response;
        match any.downcast_mut::<reqwest::Response>() {
            Some(response) => within(head, response),
            // The service has read the body already, or it has none.
            None => head.tell(),
        }
        response
    }
}

type TimeLeft = <<Timed as Timeouts>::Limits as Limits>::Rest;

fn within(head: Head<'_, <Timed as Timeouts>::Limits>, response: &mut reqwest::Response) {
    let (rest, watch) = limit(head);
    if rest.is_limited() {
        let inner = mem::replace(response, Response::new("").into());
        *response = rebuilt(inner, rest, watch);
    }
}

/// The same response with a body that ends in time.
fn rebuilt(response: reqwest::Response, rest: TimeLeft, watch: Option<Watched<AtHead>>) -> reqwest::Response {
    let url = response.url().clone();
    let (mut parts, body) = Response::<Body>::from(response).into_parts();
    // reqwest reads the URL from an extension of its own.
    if let Ok(with_url) = Response::builder().url(url).body(()) {
        parts.extensions.extend(with_url.into_parts().0.extensions);
    }
    let body = Body::wrap(ResponseBody::<_, _, Timed>::new(body, rest, watch));
    Response::from_parts(parts, body).into()
}
