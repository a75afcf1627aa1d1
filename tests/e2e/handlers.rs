//! Handlers whose own calls are rejected or have no answer in time: what their callers get, over HTTP and over gRPC.

use std::error::Error;
use std::fmt;
use std::future::pending;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use fusebox::retry::TimedOut;
use fusebox::{
    BoxError, CallError, CircuitBreaker, CircuitBreakerLayer, Rejected, RetryConfig, RetryLayer, classify, grpc,
    rejection, web,
};
use http::{Request, StatusCode};
use tonic::{Code, Status};
use tower::ServiceExt;

use crate::grpc::prices::{PriceStream, Prices, PricesClient, PricesServer};
use crate::grpc::{channel, guarded, incoming, pushback, shop};
use crate::support::{failures, ms, tripping_at};

/// What a gateway's handlers return, with the statuses of its gRPC clients as `#[from]` puts them in.
#[derive(Debug)]
enum ApiError {
    Prices(Status),
    NoSku,
}

impl From<Status> for ApiError {
    fn from(status: Status) -> Self {
        Self::Prices(status)
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no price")
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Prices(status) => Some(status),
            Self::NoSku => None,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        web::response_of(&self).unwrap_or_else(|| match self {
            Self::Prices(status) if status.code() == Code::NotFound => StatusCode::NOT_FOUND.into_response(),
            Self::Prices(_) => StatusCode::BAD_GATEWAY.into_response(),
            Self::NoSku => StatusCode::BAD_REQUEST.into_response(),
        })
    }
}

async fn ask(app: &Router, path: &str) -> (u16, Option<String>) {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let response = app.clone().oneshot(request).await.expect("an answer");
    let wait = response.headers().get("retry-after").map(|wait| wait.to_str().expect("text").to_owned());
    (response.status().as_u16(), wait)
}

/// It was a 502 like all that went wrong behind the gateway, and to the layer around it an outage of its own.
#[tokio::test]
async fn a_rejection_within_a_status_is_a_503_of_the_gateway() {
    let (shop, channel) = shop();
    let (breaker, _) = tripping_at(2);
    let client = guarded(&breaker, channel);
    let (outer, _) = tripping_at(5);
    let price = |State(client): State<PricesClient<_>>, axum::extract::Path(sku): axum::extract::Path<String>| async move {
        let mut client = PricesClient::clone(&client);
        if sku == "none" {
            return Err(ApiError::NoSku);
        }
        Ok::<_, ApiError>(client.get(sku).await?.into_inner())
    };
    let layer = CircuitBreakerLayer::from(outer.clone()).classify(classify::http());
    let app = Router::new()
        .route("/prices/{sku}", get(price))
        .route_layer(layer.respond_with(web::unavailable))
        .with_state(client);
    assert_eq!(ask(&app, "/prices/7").await, (200, None));
    assert_eq!(ask(&app, "/prices/none").await, (400, None));
    let bug = || Status::internal("a bug");
    shop.fails([Status::not_found("no such price"), bug(), bug()]);
    for code in [404, 502, 502] {
        assert_eq!(ask(&app, "/prices/7").await, (code, None), "what the server says is no rejection");
    }
    assert_eq!((breaker.is_open(), shop.calls(), failures(&outer)), (true, 4, 2));
    for _ in 0..5 {
        assert_eq!(ask(&app, "/prices/7").await, (503, Some("30".to_owned())));
    }
    assert_eq!((shop.calls(), failures(&outer)), (0, 2), "nothing was asked, and nothing has failed");
    assert!(!outer.is_open());
}

#[tokio::test]
async fn errors_of_this_crate_are_answers_of_axums_handlers() {
    let (breaker, _) = tripping_at(1);
    let acquire = |State(breaker): State<CircuitBreaker>| async move {
        breaker.acquire()?.success();
        Ok::<_, Rejected>("12.50")
    };
    let call = |State(breaker): State<CircuitBreaker>| async move {
        breaker.call(|| async { Err::<&str, _>(StatusCode::IM_A_TEAPOT) }).await
    };
    let hang = || async {
        let config = RetryConfig::builder().max_retries(0).attempt_timeout(ms(5));
        let retry = RetryLayer::new(config.build().expect("it works")).map_timeout(|timed_out| timed_out);
        retry.call(pending::<Result<&str, TimedOut>>).await
    };
    let app = Router::new().route("/acquire", get(acquire)).route("/call", get(call)).route("/hang", get(hang));
    let app = app.with_state(breaker.clone());
    assert_eq!(ask(&app, "/acquire").await, (200, None));
    assert_eq!(ask(&app, "/call").await, (418, None), "its own error has its own answer");
    assert!(breaker.is_open());
    for path in ["/acquire", "/call"] {
        assert_eq!(ask(&app, path).await, (503, Some("30".to_owned())), "{path}");
    }
    assert_eq!(ask(&app, "/hang").await, (504, None));
}

/// A service that asks another one.
struct Gateway {
    breaker: CircuitBreaker,
}

impl Prices for Gateway {
    async fn get(&self, sku: tonic::Request<String>) -> Result<tonic::Response<String>, Status> {
        match sku.get_ref().as_str() {
            "acquire" => self.breaker.acquire()?.success(),
            "call" => self.breaker.call(|| async { Err(Status::failed_precondition("closed on Sundays")) }).await?,
            "boxed" => {
                let permit = self.breaker.acquire().map_err(|rejected| BoxError::from(std::io::Error::other(rejected)));
                permit.map_err(|error| grpc::status_of(&*error).unwrap_or_else(|| Status::internal("?")))?.success();
            }
            "late" => {
                let config = RetryConfig::builder().max_retries(0).attempt_timeout(ms(5));
                let retry = RetryLayer::new(config.build().expect("it works"));
                let hangs = retry.call(pending::<Result<(), std::io::Error>>).await;
                hangs.map_err(|error| grpc::status_of(&*error).unwrap_or_else(|| Status::internal("?")))?;
            }
            _ => {
                let error = BoxError::from("on fire");
                return Err(grpc::status_of(&*error).unwrap_or_else(|| Status::internal("the warehouse failed")));
            }
        }
        Ok(tonic::Response::new("12.50".to_owned()))
    }

    async fn watch(&self, _sku: tonic::Request<String>) -> Result<tonic::Response<PriceStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

#[tokio::test]
async fn a_handlers_rejection_is_unavailable_with_pushback_for_its_caller() {
    let (breaker, _) = tripping_at(1);
    let (to, address) = incoming();
    let server =
        tonic::transport::Server::builder().add_service(PricesServer::new(Gateway { breaker: breaker.clone() }));
    tokio::spawn(server.serve_with_incoming(to));
    let mut client = PricesClient::new(channel(address));
    for closed in ["acquire", "boxed"] {
        assert_eq!(client.get(closed).await.expect("closed").into_inner(), "12.50");
    }
    let own = client.get("call").await.expect_err("its own");
    assert_eq!((own.code(), own.message()), (Code::FailedPrecondition, "closed on Sundays"));
    assert!(breaker.is_open(), "to a rule of errors that is one");
    for open in ["acquire", "call", "boxed"] {
        let status = client.get(open).await.expect_err("open");
        assert_eq!((status.code(), pushback(&status)), (Code::Unavailable, Some("30000")), "{open}");
        assert!(status.message().starts_with("circuit breaker `test` is open"), "{open}: {status:?}");
    }
    let late = client.get("late").await.expect_err("no answer");
    assert_eq!((late.code(), late.message()), (Code::DeadlineExceeded, "attempt 1 had no answer within 5ms"));
    assert_eq!(client.get("fire").await.expect_err("on fire").message(), "the warehouse failed");
}

#[test]
fn a_status_of_a_rejection_is_still_recognised() {
    let (breaker, _) = tripping_at(1);
    breaker.trip().expect("no override stands");
    let rejected = breaker.acquire().expect_err("open");
    let within = CallError::<Status>::Rejected(rejected.clone());
    for status in [rejected.into(), Status::from(within)] {
        assert_eq!(rejection(&status).map(Rejected::name).as_deref(), Some("test"));
        let again = web::response_of::<String>(&status).expect("a rejection");
        assert_eq!(again.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(again.headers()["retry-after"], "30");
        let result = Err::<tonic::Response<()>, _>(status);
        let rule = classify::grpc();
        assert!(fusebox::Classify::rejection(&rule, &result).is_some(), "a breaker and a retry further out see it");
    }
    let remote = Status::unavailable("somewhere else a circuit is open");
    assert!(web::response_of::<String>(&remote).is_none() && grpc::status_of(&remote).is_none());
}
