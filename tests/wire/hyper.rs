//! Requests that were on their way: what hyper says of them.

use std::io;

use fusebox::BoxError;
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use crate::bodies::{Body, broken, short, whole};
use crate::connecting::{plain, post};
use crate::servers::{Answer, H2, refusing, resetting, saying, silent};
use crate::verdict::{self, Verdict};

#[tokio::test]
async fn a_body_that_breaks_is_the_callers_own() {
    let (one, two) = (silent().await, H2::start([Answer::Hang]).await);
    for (h2, uri) in [(false, format!("http://{one}/")), (true, two.url())] {
        let result = plain(h2).request(post(&uri, broken(io::Error::other("the file is gone")))).await;
        verdict::check(result, Verdict::Ignored);
    }
}

#[tokio::test]
async fn what_broke_a_body_is_no_news_of_the_dependency() {
    // A gateway sends on what another client reads: that one's error is inside.
    let (_kept, nothing) = refusing();
    for h2 in [false, true] {
        let inner = plain(false).request(post(&format!("http://{nothing}/"), whole(""))).await.expect_err("refused");
        let (one, two) = (silent().await, H2::start([Answer::Hang]).await);
        let uri = if h2 { two.url() } else { format!("http://{one}/") };
        verdict::check(plain(h2).request(post(&uri, broken(inner))).await, Verdict::Ignored);
    }
    let refused = h2::Error::from(h2::Reason::REFUSED_STREAM);
    let server = H2::start([Answer::Hang]).await;
    verdict::check(plain(true).request(post(&server.url(), broken(refused))).await, Verdict::Ignored);
}

/// The breaker that rejected is the one of where the body comes from, and this dependency was asked.
#[tokio::test]
async fn a_rejection_that_broke_a_body_is_none_of_this_call() {
    use fusebox::{CircuitBreaker, CircuitBreakerConfig, Classify, classify, rejection};
    let breaker = CircuitBreaker::new(CircuitBreakerConfig::new("upstream"));
    breaker.trip().expect("no override stands");
    for h2 in [false, true] {
        let (one, two) = (silent().await, H2::start([Answer::Hang]).await);
        let uri = if h2 { two.url() } else { format!("http://{one}/") };
        let rejected = breaker.acquire().expect_err("open");
        let result = plain(h2).request(post(&uri, broken(rejected))).await;
        assert!(classify::errors().rejection(&result).is_none(), "h2: {h2}");
        let error = result.expect_err("the body broke");
        assert!(rejection(&error).is_none(), "h2: {h2}");
        assert_eq!(verdict::of(error), Verdict::Ignored);
    }
}

#[tokio::test]
async fn a_body_that_is_shorter_than_it_said_is_the_callers_own() {
    let server = silent().await;
    verdict::check(plain(false).request(post(&format!("http://{server}/"), short())).await, Verdict::Ignored);
}

#[tokio::test]
async fn a_reset_after_the_request_was_sent_is_a_failure_that_may_have_been_processed() {
    let server = resetting().await;
    verdict::check(plain(false).request(post(&format!("http://{server}/"), whole("order"))).await, Verdict::Failed);
    let server = H2::start([Answer::Close]).await;
    verdict::check(plain(true).request(post(&server.url(), whole("order"))).await, Verdict::Failed);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_a_failure() {
    for words in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\n", "220 mail.example ESMTP\r\n\r\n"]
    {
        let server = saying(words).await;
        let result = plain(false).request(post(&format!("http://{server}/"), whole("order"))).await;
        verdict::check(result, Verdict::Failed);
    }
}

#[tokio::test]
async fn an_answer_that_ends_too_soon_is_a_failure() {
    let server = saying("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nsome").await;
    let response = plain(false).request(post(&format!("http://{server}/"), whole("order"))).await.expect("a head");
    verdict::check(response.into_body().collect().await, Verdict::Failed);
}

#[tokio::test]
async fn a_request_that_was_never_begun_was_not_processed() {
    let (server, h2) = (silent().await, H2::start([]).await);
    let stream = TokioIo::new(TcpStream::connect(server).await.expect("it listens"));
    let (mut sender, connection) = http1::handshake::<_, Body>(stream).await.expect("nothing to agree on");
    drop(connection);
    verdict::check(sender.ready().await, Verdict::Unprocessed);
    verdict::check(sender.send_request(post("/", whole("order"))).await, Verdict::Unprocessed);

    let stream = TokioIo::new(TcpStream::connect(h2.address).await.expect("it listens"));
    let (mut sender, connection) = http2::handshake::<_, _, Body>(TokioExecutor::new(), stream).await.expect("HTTP/2");
    drop(connection);
    // Its dispatcher sees that only once it runs.
    while !sender.is_closed() {
        tokio::task::yield_now().await;
    }
    verdict::check(sender.ready().await, Verdict::Unprocessed);
    verdict::check(sender.send_request(post(&h2.url(), whole("order"))).await, Verdict::Unprocessed);
    assert_eq!(h2.requests(), 0);
}

#[tokio::test]
async fn a_request_that_waits_behind_another_was_not_processed_when_the_connection_breaks() {
    let server = resetting().await;
    let stream = TokioIo::new(TcpStream::connect(server).await.expect("it listens"));
    let (mut sender, connection) = http1::handshake::<_, Body>(stream).await.expect("nothing to agree on");
    let first = sender.send_request(post("/", whole("order")));
    let second = sender.send_request(post("/", whole("another")));
    let (first, second, _) = tokio::join!(first, second, connection);
    verdict::check(first, Verdict::Failed);
    verdict::check(second, Verdict::Unprocessed);
}

#[tokio::test]
async fn hypers_errors_mean_the_same_when_they_are_boxed() {
    let server = silent().await;
    let stream = TokioIo::new(TcpStream::connect(server).await.expect("it listens"));
    let (mut sender, connection) = http1::handshake::<_, Body>(stream).await.expect("nothing to agree on");
    tokio::spawn(connection);
    let result = sender.send_request(post("/", broken("the file is gone"))).await;
    verdict::check(result.map_err(BoxError::from), Verdict::Ignored);
}
