//! 32: which requests are sent again.

use fusebox::{Budget, RetryLayer};
use http::Method;
use tower::{Layer, ServiceExt};

use super::*;

/// Sends a request to a server that is down once; returns how many attempts there were.
async fn attempts(
    layer: RetryLayer<fusebox::classify::Http, fusebox::retry::ReplayHttp>,
    request: http::request::Builder,
) -> usize {
    let (log, service) = answers::<Replayed>(&[503]);
    let request = request.body(Script::of(&["order"])).expect("a request");
    let answer = layer.layer(service).oneshot(request).await.expect("an answer");
    let seen = log.take();
    assert_eq!(answer.status(), if seen.len() == 1 { 503 } else { 200 });
    assert!(seen.iter().all(|request| request.body() == "order"));
    seen.len()
}

const IDEMPOTENT: [Method; 6] =
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE];

/// The rows of IANA's registry (`http-methods`) that say "idempotent: yes", beside those of RFC 9110 and `PRI`, which is no
/// request.
const REGISTERED: &str = "ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT COPY LABEL LINK MERGE MKACTIVITY MKCALENDAR MKCOL
    MKREDIRECTREF MKWORKSPACE MOVE ORDERPATCH PROPFIND PROPPATCH QUERY REBIND REPORT SEARCH UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE
    UPDATEREDIRECTREF VERSION-CONTROL";

fn others() -> impl Iterator<Item = Method> {
    let others = ["POST", "PATCH", "CONNECT", "LOCK", "get", "propfind", "PUTT"];
    others.into_iter().map(|name| Method::from_bytes(name.as_bytes()).expect("a method"))
}

#[tokio::test(start_paused = true)]
async fn c32_idempotent_methods_are_sent_again_and_no_others() {
    let registered = REGISTERED.split_whitespace().map(|name| Method::from_bytes(name.as_bytes()).expect("a method"));
    for method in IDEMPOTENT.into_iter().chain(registered) {
        assert_eq!(attempts(RetryLayer::http(at_once()), Request::builder().method(&method)).await, 2, "{method}");
    }
    for method in others() {
        let (config, events) = told();
        assert_eq!(attempts(RetryLayer::http(config), Request::builder().method(&method)).await, 1, "{method}");
        assert_eq!(stopped(&events), Some(StopReason::NotReplayable));
    }
}

#[tokio::test(start_paused = true)]
async fn c32_a_post_that_failed_with_an_error_is_not_sent_again_either() {
    let (service, mut server) = server::<Replayed>();
    let post = Request::post("/").body(Script::of(&["order"])).expect("a request");
    let call = start(RetryLayer::http(at_once()).layer(service), post);
    server.next().await.fail();
    assert_eq!(ended(call).await.map(drop), Err(Down));
    server.got_no_more().await;
}

#[tokio::test(start_paused = true)]
async fn c32_a_post_is_not_sent_again_though_the_server_says_when_to_come_back() {
    let (service, mut server) = server::<Replayed>();
    let post = Request::post("/").body(Script::of(&["order"])).expect("a request");
    let call = start(RetryLayer::http(at_once()).layer(service), post);
    let mut busy = response(429);
    busy.headers_mut().insert("retry-after", 1.into());
    server.next().await.answer.send(Ok(busy)).expect("the client waits");
    assert_eq!(ended(call).await.expect("an answer").headers()["retry-after"], "1");
    server.got_no_more().await;
}

#[tokio::test(start_paused = true)]
async fn c32_a_request_with_an_idempotency_key_is_sent_again() {
    for name in ["idempotency-key", "Idempotency-Key", "IDEMPOTENCY-KEY"] {
        for method in others() {
            let (log, service) = answers::<Replayed>(&[503, 500]);
            let request = Request::builder().method(&method).header(name, "8e03978e-40d5").body(Script::of(&["order"]));
            let client = RetryLayer::http(at_once()).layer(service);
            assert_eq!(client.oneshot(request.expect("a request")).await.expect("an answer").status(), 200, "{method}");
            let keys: Vec<_> = log.take().iter().map(|request| request.headers()["idempotency-key"].clone()).collect();
            assert_eq!(keys, ["8e03978e-40d5"; 3], "the key is what makes it safe");
        }
    }
    let similar = Request::post("/").header("x-idempotency-key", "8e03978e-40d5").header("idempotency", "1");
    assert_eq!(attempts(RetryLayer::http(at_once()), similar).await, 1);
}

#[tokio::test(start_paused = true)]
async fn c32_idempotent_when_decides_alone() {
    let layer = || {
        RetryLayer::http(at_once())
            .idempotent_when(|parts| parts.uri.path() == "/search" || parts.headers.contains_key("again"))
    };
    for method in IDEMPOTENT.into_iter().chain(others()) {
        let to = |path| Request::builder().method(&method).uri(path);
        assert_eq!(attempts(layer(), to("/search")).await, 2, "{method}");
        assert_eq!(attempts(layer(), to("/orders")).await, 1, "{method}");
        assert_eq!(attempts(layer(), to("/orders").header("again", "1")).await, 2, "{method}");
        assert_eq!(attempts(layer(), to("/orders").header("idempotency-key", "1")).await, 1, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn c32_a_request_that_is_not_sent_again_spends_no_budget() {
    let budget = Budget::ratio(0.0).reserve_per_second(1);
    let layer = || RetryLayer::http(config(|builder| builder.budget(budget.clone())));
    let before = budget.available();
    assert_eq!(attempts(layer(), Request::post("/")).await, 1);
    assert_eq!(budget.available(), before);
    assert_eq!(attempts(layer(), Request::put("/")).await, 2);
    assert_eq!(budget.available(), before - 1);
}
