//! What tonic's generator makes of a `.proto` file, by hand and for messages that are plain text, so that this example
//! needs no `protoc`. Nothing in here knows about fusebox.
//!
//! ```proto
//! service Prices {
//!   rpc Get(Sku) returns (Price);
//!   rpc Watch(Sku) returns (stream Price);
//! }
//! ```

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BufMut, Bytes};
use futures::Stream;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tower::{BoxError, Service, service_fn};

const GET: &str = "/shop.Prices/Get";
const WATCH: &str = "/shop.Prices/Watch";

/// The client, over any service that takes gRPC calls: a `Channel`, or one with layers around it.
#[derive(Clone, Debug)]
pub(crate) struct PricesClient<T> {
    grpc: tonic::client::Grpc<T>,
}

impl<T> PricesClient<T>
where
    T: GrpcService<Body>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<BoxError> + Send,
{
    pub(crate) fn new(channel: T) -> Self {
        Self { grpc: tonic::client::Grpc::new(channel) }
    }

    pub(crate) async fn get(&mut self, sku: impl Into<String>) -> Result<Response<String>, Status> {
        self.ready().await?;
        self.grpc.unary(Request::new(sku.into()), PathAndQuery::from_static(GET), Text).await
    }

    pub(crate) async fn watch(&mut self, sku: impl Into<String>) -> Result<Response<Streaming<String>>, Status> {
        self.ready().await?;
        self.grpc.server_streaming(Request::new(sku.into()), PathAndQuery::from_static(WATCH), Text).await
    }

    async fn ready(&mut self) -> Result<(), Status> {
        self.grpc.ready().await.map_err(|error| Status::unknown(format!("not ready: {}", error.into())))
    }
}

pub(crate) type PriceStream = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

/// What a server implements.
pub(crate) trait Prices: Send + Sync + 'static {
    fn get(&self, sku: Request<String>) -> impl Future<Output = Result<Response<String>, Status>> + Send;

    fn watch(&self, sku: Request<String>) -> impl Future<Output = Result<Response<PriceStream>, Status>> + Send;
}

/// The server, a service for tonic's router.
#[derive(Debug)]
pub(crate) struct PricesServer<P> {
    prices: Arc<P>,
}

impl<P> PricesServer<P> {
    pub(crate) fn new(prices: P) -> Self {
        Self { prices: Arc::new(prices) }
    }
}

impl<P> Clone for PricesServer<P> {
    fn clone(&self) -> Self {
        Self { prices: self.prices.clone() }
    }
}

impl<P> NamedService for PricesServer<P> {
    const NAME: &'static str = "shop.Prices";
}

impl<P: Prices> Service<http::Request<Body>> for PricesServer<P> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let prices = self.prices.clone();
        let mut grpc = tonic::server::Grpc::new(Text);
        Box::pin(async move {
            Ok(match request.uri().path() {
                GET => {
                    let method = service_fn(move |sku| {
                        let prices = prices.clone();
                        async move { prices.get(sku).await }
                    });
                    grpc.unary(method, request).await
                }
                WATCH => {
                    let method = service_fn(move |sku| {
                        let prices = prices.clone();
                        async move { prices.watch(sku).await }
                    });
                    grpc.server_streaming(method, request).await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

/// Messages are text; in a real service this is `tonic_prost::ProstCodec`.
#[derive(Clone, Copy, Debug)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        String::from_utf8(bytes.into()).map(Some).map_err(|_| Status::internal("not UTF-8"))
    }
}
