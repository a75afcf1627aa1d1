//! gRPC messages that are plain text, and the method that they are for.

use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Messages are text; an empty one cannot be encoded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Text;

impl Codec for Text {
    type Encode = &'static str;
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
    type Item = &'static str;
    type Error = Status;

    fn encode(&mut self, item: &'static str, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        if item.is_empty() {
            return Err(Status::unavailable("an order of nothing"));
        }
        to.put_slice(item.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes: Bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.to_vec()).map(Some).map_err(|_| Status::internal("not text"))
    }
}

pub(crate) const PLACE: PathAndQuery = PathAndQuery::from_static("/shop.Orders/Place");
