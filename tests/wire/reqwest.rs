//! reqwest.

use std::io;
use std::time::Duration;

use fusebox::BoxError;
use futures::stream;
use h2::Reason;
use reqwest::{Body, Client, ClientBuilder, redirect, retry};

use crate::bodies::pieces;
use crate::servers::{Answer, H2, refusing, resetting, saying, silent};
use crate::verdict::{self, Verdict};

/// Without resending of its own.
fn builder() -> ClientBuilder {
    Client::builder().retry(retry::never())
}

fn client() -> Client {
    builder().build().expect("a client")
}

fn h2_client() -> Client {
    builder().http2_prior_knowledge().build().expect("a client")
}

fn broken(error: impl Into<BoxError>) -> Body {
    Body::wrap_stream(stream::iter(pieces(error)))
}

#[tokio::test]
async fn an_address_that_cannot_be_meant_is_the_callers_mistake() {
    let (_kept, address) = refusing();
    for url in ["ftp://ftp.example/prices", "file:///etc/hosts", "data:,prices"] {
        verdict::check(client().post(url).send().await, Verdict::Ignored);
    }
    for url in ["/prices", "http://", "http://:80/"] {
        verdict::check(client().post(url).send().await, Verdict::Ignored);
    }
    let only_https = builder().https_only(true).build().expect("a client");
    verdict::check(only_https.post(format!("http://{address}/")).send().await, Verdict::Ignored);
    verdict::check(client().post("http://localhost/").header("a name", "with a space").send().await, Verdict::Ignored);
}

#[tokio::test]
async fn redirects_that_are_not_followed_are_the_callers_rule() {
    let server = saying("HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n").await;
    let result = client().get(format!("http://{server}/")).send().await;
    assert!(result.as_ref().is_err_and(reqwest::Error::is_redirect), "{result:?}");
    verdict::check(result, Verdict::Ignored);
    let policy = redirect::Policy::custom(|attempt| attempt.error("not from here"));
    let strict = builder().redirect(policy).build().expect("a client");
    verdict::check(strict.get(format!("http://{server}/")).send().await, Verdict::Ignored);
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_processed() {
    let (_kept, address) = refusing();
    let result = client().post(format!("http://{address}/")).body("order").send().await;
    verdict::check(result, Verdict::Unprocessed);
    let result = client().post(format!("http://{address}/")).body("order").send().await;
    verdict::check(result.map_err(BoxError::from), Verdict::Unprocessed);
}

#[tokio::test]
async fn a_timeout_is_a_failure_that_may_have_been_processed() {
    let server = silent().await;
    let request = client().post(format!("http://{server}/")).body("order").timeout(Duration::from_millis(50));
    let result = request.send().await;
    assert!(result.as_ref().is_err_and(reqwest::Error::is_timeout), "{result:?}");
    verdict::check(result, Verdict::Failed);
}

#[tokio::test]
async fn a_body_that_breaks_is_the_callers_own_whatever_broke_it() {
    let (_kept, nothing) = refusing();
    for h2 in [false, true] {
        let (one, two) = (silent().await, H2::start([Answer::Hang]).await);
        let (client, url) = if h2 { (h2_client(), two.url()) } else { (client(), format!("http://{one}/")) };
        let result = client.post(&url).body(broken(io::Error::other("the file is gone"))).send().await;
        verdict::check(result, Verdict::Ignored);
        let (one, two) = (silent().await, H2::start([Answer::Hang]).await);
        let url = if h2 { two.url() } else { format!("http://{one}/") };
        let inner = client.get(format!("http://{nothing}/")).send().await.expect_err("refused");
        verdict::check(client.post(&url).body(broken(inner)).send().await, Verdict::Ignored);
    }
}

#[tokio::test]
async fn a_reset_after_the_request_was_sent_is_a_failure_that_may_have_been_processed() {
    let server = resetting().await;
    verdict::check(client().post(format!("http://{server}/")).body("order").send().await, Verdict::Failed);
}

#[tokio::test]
async fn streams_that_http_2_leaves_out_were_not_processed() {
    let cases = [
        (Answer::Reset(Reason::REFUSED_STREAM), Verdict::Unprocessed),
        (Answer::GoAway { last: 0 }, Verdict::Unprocessed),
        (Answer::GoAway { last: 1 }, Verdict::Failed),
        (Answer::Reset(Reason::INTERNAL_ERROR), Verdict::Failed),
        (Answer::Close, Verdict::Failed),
    ];
    for (answer, expected) in cases {
        let server = H2::start([answer]).await;
        let error = h2_client().post(server.url()).body("order").send().await.expect_err("no answer");
        let said = format!("{answer:?}: {error:?}");
        assert_eq!((verdict::of(error), server.requests()), (expected, 1), "{said}");
    }
}

#[tokio::test]
async fn what_goes_wrong_after_the_head_may_have_been_processed() {
    for reason in [Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR] {
        let server = H2::start([Answer::HeadThenReset(reason)]).await;
        let response = h2_client().post(server.url()).body("order").send().await.expect("a head");
        verdict::check(response.bytes().await, Verdict::Failed);
    }
    let server = saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nsome").await;
    let response = client().post(format!("http://{server}/")).send().await.expect("a head");
    verdict::check(response.text().await, Verdict::Failed);
    let server = saying("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
    let response = client().post(format!("http://{server}/")).send().await.expect("a head");
    let error = response.error_for_status().expect_err("404");
    assert_eq!(verdict::by(&fusebox::classify::errors(), &Err::<(), _>(error)), Verdict::Failed);
}

/// The error that `error_for_status` makes of such an answer.
async fn status_error(line: &'static str) -> reqwest::Error {
    let server = saying(line).await;
    let response = client().post(format!("http://{server}/")).send().await.expect("a head");
    response.error_for_status().expect_err("no success")
}

#[tokio::test]
async fn an_answer_that_was_made_an_error_is_judged_by_its_status() {
    use fusebox::{
        Classify, Outcome,
        classify::{self, Retry},
    };
    let missing =
        Err::<http::Response<()>, _>(status_error("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await);
    assert_eq!(
        (classify::http().classify(&missing), classify::http().retry(&missing)),
        (Outcome::Success, Retry::Never)
    );
    let busy = Err::<http::Response<()>, _>(status_error("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await);
    assert_eq!(verdict::by(&classify::http(), &busy), Verdict::Failed);
}

/// A gateway sends on what another client reads, and stops where that one's server says no.
#[tokio::test]
async fn the_status_of_another_dependency_in_an_own_body_is_none_of_this_one() {
    for line in ["HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 404 Gone\r\ncontent-length: 0\r\n\r\n"] {
        let (other, address) = (status_error(line).await, silent().await);
        let body = crate::bodies::broken(other);
        let result =
            crate::connecting::plain(false).request(crate::connecting::post(&format!("http://{address}/"), body));
        verdict::check(result.await, Verdict::Ignored);
        let other = status_error(line).await;
        verdict::check(client().post(format!("http://{address}/")).body(broken(other)).send().await, Verdict::Ignored);
    }
}

#[cfg(feature = "tower")]
#[tokio::test]
async fn connections_that_were_shed_are_the_callers_own() {
    let layers = tower::ServiceBuilder::new().load_shed().concurrency_limit(0).into_inner();
    let client = builder().connector_layer(layers).build().expect("a client");
    let (_kept, address) = refusing();
    verdict::check(client.post(format!("http://{address}/")).send().await, Verdict::Ignored);
}
