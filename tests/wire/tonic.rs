//! tonic: statuses that were made on this side and on the other, and its channel.

use std::net::SocketAddr;
use std::time::Duration;

use fusebox::BoxError;
use h2::Reason;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};
use tower::ServiceExt;

use crate::authority::Authority;
use crate::connecting::showing;
use crate::servers::{Answer, H2, refusing, saying};
use crate::text_codec::{PLACE, Text};
use crate::verdict::{self, Verdict};

pub(crate) fn endpoint(to: SocketAddr) -> Endpoint {
    Endpoint::new(format!("http://{to}")).expect("a URI")
}

pub(crate) async fn call<S>(service: S, order: &'static str) -> Result<Response<String>, Status>
where
    S: GrpcService<Body, ResponseBody: Send + 'static>,
    <S::ResponseBody as http_body::Body>::Error: Into<BoxError>,
{
    let mut client = tonic::client::Grpc::new(service).max_encoding_message_size(100);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(Request::new(order), PLACE, Text).await
}

/// What gRPC's classifier says of a status.
fn of(status: Status) -> Verdict {
    verdict::by(&fusebox::classify::grpc(), &Err::<Response<()>, _>(status))
}

#[track_caller]
fn check(result: Result<Response<String>, Status>, expected: Verdict) {
    let status = result.expect_err("no answer");
    let said = format!("{status:?}");
    assert_eq!(of(status), expected, "{said}");
}

/// What the channel says, before tonic makes a status of it.
async fn raw(channel: Channel) -> Result<http::Response<Body>, tonic::transport::Error> {
    let request = http::Request::post("/shop.Orders/Place").body(Body::empty()).expect("a request");
    channel.oneshot(request).await
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_processed() {
    let (_kept, address) = refusing();
    let channel = endpoint(address).connect_lazy();
    check(call(channel.clone(), "order").await, Verdict::Unprocessed);
    verdict::check(raw(channel.clone()).await, Verdict::Unprocessed);
    verdict::check(raw(channel).await.map_err(BoxError::from), Verdict::Unprocessed);
    verdict::check(endpoint(address).connect().await, Verdict::Unprocessed);
}

#[tokio::test]
async fn a_call_without_an_answer_in_time_is_a_failure_though_tonic_says_cancelled() {
    let server = H2::start([Answer::Hang, Answer::Hang]).await;
    let channel = endpoint(server.address).timeout(Duration::from_millis(50)).connect_lazy();
    let result = call(channel.clone(), "order").await;
    assert_eq!(result.as_ref().map_err(Status::code).err(), Some(Code::Cancelled), "{result:?}");
    check(result, Verdict::Failed);
    verdict::check(raw(channel).await, Verdict::Failed);
}

#[tokio::test]
async fn a_call_that_the_other_side_cancelled_tells_nothing() {
    for answer in [Answer::Status(Code::Cancelled), Answer::Reset(Reason::CANCEL)] {
        let server = H2::start([answer]).await;
        let result = call(endpoint(server.address).connect_lazy(), "order").await;
        assert_eq!(result.as_ref().map_err(Status::code).err(), Some(Code::Cancelled), "{result:?}");
        check(result, Verdict::Ignored);
    }
}

#[tokio::test]
async fn what_the_other_side_says_is_judged_by_its_code() {
    let cases = [
        (Code::Unavailable, Verdict::Failed),
        (Code::Internal, Verdict::Final),
        (Code::DeadlineExceeded, Verdict::Final),
        (Code::ResourceExhausted, Verdict::Ignored),
    ];
    for (code, expected) in cases {
        let server = H2::start([Answer::Status(code)]).await;
        check(call(endpoint(server.address).connect_lazy(), "order").await, expected);
    }
}

#[tokio::test]
async fn an_order_that_cannot_be_encoded_is_the_callers_mistake() {
    const LONG: &str = match std::str::from_utf8(&[b'x'; 200]) {
        Ok(text) => text,
        Err(_) => "",
    };
    let server = H2::start([Answer::Hang, Answer::Hang]).await;
    let channel = endpoint(server.address).connect_lazy();
    for order in ["", LONG] {
        check(call(channel.clone(), order).await, Verdict::Ignored);
    }
}

#[tokio::test]
async fn streams_that_http_2_leaves_out_were_not_processed() {
    // Of the channel's error nothing but its kind is known, of a status the code.
    let cases = [
        (Answer::Reset(Reason::REFUSED_STREAM), Verdict::Unprocessed, Verdict::Unprocessed),
        (Answer::GoAway { last: 0 }, Verdict::Unprocessed, Verdict::Unprocessed),
        (Answer::GoAway { last: 1 }, Verdict::Failed, Verdict::Final),
        (Answer::Reset(Reason::INTERNAL_ERROR), Verdict::Failed, Verdict::Final),
        (Answer::Close, Verdict::Failed, Verdict::Final),
    ];
    for (answer, of_error, of_status) in cases {
        let server = H2::start([answer]).await;
        let status = call(endpoint(server.address).connect_lazy(), "order").await.expect_err("no answer");
        let said = format!("{answer:?}: {status:?}");
        assert_eq!((of(status), server.requests()), (of_status, 1), "{said}");
        let server = H2::start([answer]).await;
        let error = raw(endpoint(server.address).connect_lazy()).await.expect_err("no answer");
        let said = format!("{answer:?}: {error:?}");
        assert_eq!((verdict::of(error), server.requests()), (of_error, 1), "{said}");
    }
}

#[tokio::test]
async fn what_is_not_http_2_at_all_is_a_failure() {
    let server = saying("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
    // tonic says INTERNAL, which gRPC's clients don't retry.
    check(call(endpoint(server).connect_lazy(), "order").await, Verdict::Final);
    verdict::check(raw(endpoint(server).connect_lazy()).await, Verdict::Failed);
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_a_failure_that_no_attempt_mends() {
    let (ours, others) = (Authority::new("tonic-ours"), Authority::new("tonic-others"));
    let server = showing(&ours, "server").await;
    let trusting = |authority: &Authority| {
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority.read("ca.pem")));
        Endpoint::new(format!("https://{server}")).expect("a URI").tls_config(tls).expect("it works").connect_lazy()
    };
    check(call(trusting(&others), "order").await, Verdict::Final);
    verdict::check(raw(trusting(&others)).await, Verdict::Final);
    // The one that is trusted does not speak HTTP/2.
    verdict::check(raw(trusting(&ours)).await, Verdict::Unprocessed);
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_is_the_callers_mistake() {
    verdict::check(Endpoint::new("http://not a host/"), Verdict::Ignored);
    verdict::check(Endpoint::from_static("http://localhost").user_agent("two\nlines"), Verdict::Ignored);
}
