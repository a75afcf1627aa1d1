//! Streams of HTTP/2 that end early: refused, left out by a GOAWAY, reset.

use bytes::Bytes;
use h2::Reason;
use http::Request;
use http_body_util::BodyExt;
use tokio::net::TcpStream;

use crate::bodies::whole;
use crate::connecting::{plain, post};
use crate::servers::{Answer, H2};
use crate::verdict::{self, Verdict};

/// All of them belong to streams below it: the client's first is 1.
const EVERY: u32 = i32::MAX as u32;

fn request(uri: &str) -> Request<()> {
    Request::post(uri).body(()).expect("a request")
}

/// A connection as h2 makes it, driven beside the test.
async fn connection(server: &H2) -> h2::client::SendRequest<Bytes> {
    let stream = TcpStream::connect(server.address).await.expect("it listens");
    let (sender, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    sender.ready().await.expect("it may send")
}

#[tokio::test]
async fn what_certainly_was_not_processed_is_told_from_what_may_have_been() {
    let cases = [
        (Answer::Reset(Reason::REFUSED_STREAM), Verdict::Unprocessed),
        (Answer::GoAway { last: 0 }, Verdict::Unprocessed),
        (Answer::Reset(Reason::INTERNAL_ERROR), Verdict::Failed),
        (Answer::Reset(Reason::CANCEL), Verdict::Failed),
        (Answer::Reset(Reason::NO_ERROR), Verdict::Failed),
        (Answer::Reset(Reason::ENHANCE_YOUR_CALM), Verdict::Failed),
        (Answer::GoAway { last: 1 }, Verdict::Failed),
        (Answer::GoAway { last: EVERY }, Verdict::Failed),
        (Answer::Close, Verdict::Failed),
    ];
    for (answer, expected) in cases {
        let server = H2::start([answer]).await;
        let error = plain(true).request(post(&server.url(), whole("order"))).await.expect_err("no answer");
        let said = format!("{answer:?}: {error:?}");
        assert_eq!((verdict::of(error), server.requests()), (expected, 1), "{said}");

        let server = H2::start([answer]).await;
        let (response, _) = connection(&server).await.send_request(request(&server.url()), true).expect("it is sent");
        let error = response.await.expect_err("no answer");
        let said = format!("{answer:?}: {error:?}");
        assert_eq!((verdict::of(error), server.requests()), (expected, 1), "{said}");
    }
}

#[tokio::test]
async fn a_stream_that_the_client_resets_is_its_own() {
    let server = H2::start([Answer::Hang]).await;
    for reason in [Reason::CANCEL, Reason::REFUSED_STREAM, Reason::INTERNAL_ERROR] {
        let (response, mut body) =
            connection(&server).await.send_request(request(&server.url()), false).expect("it is sent");
        body.send_reset(reason);
        verdict::check(response.await, Verdict::Ignored);
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_sent_is_the_callers_mistake() {
    let server = H2::start([]).await;
    let mut illegal = request(&server.url());
    illegal.headers_mut().insert("connection", "close".parse().expect("a value"));
    let mut relative = request("/orders");
    *relative.version_mut() = http::Version::HTTP_2;
    for wrong in [illegal, relative] {
        verdict::check(connection(&server).await.send_request(wrong, true), Verdict::Ignored);
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_body_that_ends_early_is_a_failure() {
    let server = H2::start([Answer::HeadThenReset(Reason::INTERNAL_ERROR)]).await;
    let response = plain(true).request(post(&server.url(), whole("order"))).await.expect("a head");
    verdict::check(response.into_body().collect().await, Verdict::Failed);
}
