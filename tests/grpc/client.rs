//! A tonic client for messages that are plain text.

use tonic::body::Body;
use tonic::client::{Grpc, GrpcService};
use tonic::codec::Streaming;
use tonic::{Request, Response, Status};

use crate::text_codec::{PLACE, Text};

/// Makes a call with one message and one answer.
pub(crate) async fn unary<S>(service: S) -> Result<Response<String>, Status>
where
    S: GrpcService<Body, ResponseBody: Send + 'static>,
    <S::ResponseBody as http_body::Body>::Error: Into<fusebox::BoxError>,
{
    let mut client = Grpc::new(service);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.unary(Request::new("order"), PLACE, Text).await
}

/// Makes a call with several messages and several answers.
pub(crate) async fn streaming<S>(service: S, messages: Vec<&'static str>) -> Result<Response<Streaming<String>>, Status>
where
    S: GrpcService<Body, ResponseBody: Send + 'static>,
    <S::ResponseBody as http_body::Body>::Error: Into<fusebox::BoxError>,
{
    let mut client = Grpc::new(service);
    client.ready().await.map_err(|error| Status::from_error(error.into()))?;
    client.streaming(Request::new(futures::stream::iter(messages)), PLACE, Text).await
}
