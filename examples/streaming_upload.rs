//! A streaming upload over a bad line, sent again: `cargo run --example streaming_upload --features http`.
//!
//! The body of an upload comes from somewhere and can be read once. `RetryLayer::http` lets it stream, and records it
//! meanwhile; when the connection breaks halfway, the next attempt sends the record and then goes on with the rest. What
//! is longer than the record may be is sent once. The client is hyper's; no request is read into memory beforehand.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::{Router, routing::put};
use bytes::Bytes;
use fusebox::classify::Http;
use fusebox::retry::{ReplayBody, ReplayHttp, RetryConfig, RetryLayer, RetryService};
use fusebox::{BoxError, ConfigError, backoff};
use futures::{StreamExt, stream};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, copy, copy_bidirectional, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceExt};

/// Something that can be read once.
type File = BoxBody<Bytes, Infallible>;

/// A client whose uploads survive a broken connection.
type Uploader = RetryService<Client<HttpConnector, ReplayBody<File>>, Http, ReplayHttp>;

fn client() -> Result<Uploader, ConfigError> {
    let config = RetryConfig::builder()
        .max_retries(2)
        .backoff(backoff::fixed(Duration::from_millis(20)))
        .on_event(|event| println!("    {event}"))
        .build()?;
    let http = Client::builder(TokioExecutor::new()).build_http();
    Ok(RetryLayer::http(config).replay_up_to(64 * 1024).layer(http))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let server = server().await?;
    let mut client = client()?;

    println!("An upload of 40 KiB, over a line that breaks after 20:");
    upload(&mut client, line(server, 20).await?, 10).await?;

    println!("\nOne of 160 KiB, which is more than the record holds, over a line that breaks after 100:");
    upload(&mut client, line(server, 100).await?, 40).await?;

    println!("\nThe same over a good line:");
    upload(&mut client, server, 40).await
}

/// Sends a file of so many chunks and prints what came of it.
async fn upload(client: &mut Uploader, to: SocketAddr, chunks: u8) -> Result<(), BoxError> {
    let read = Arc::new(AtomicUsize::new(0));
    let request = Request::put(format!("http://{to}/file")).body(file(chunks, read.clone()))?;
    match client.ready().await?.call(request).await {
        Ok(response) => {
            let answer = response.into_body().collect().await?.to_bytes();
            println!("  the server has {}", String::from_utf8_lossy(&answer));
        }
        Err(error) => println!("  failed: {error}"),
    }
    println!("  the file was read once, {} of {chunks} chunks", read.load(Ordering::Relaxed));
    Ok(())
}

const CHUNK: usize = 4 * 1024;

/// Comes chunk by chunk, each full of its own number.
fn file(chunks: u8, read: Arc<AtomicUsize>) -> File {
    let chunks = stream::iter(0..chunks).then(move |n| {
        read.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(Duration::from_millis(2)).await;
            Ok(Frame::data(Bytes::from(vec![n; CHUNK])))
        }
    });
    BodyExt::boxed(StreamBody::new(chunks))
}

async fn server() -> Result<SocketAddr, BoxError> {
    let receive = |file: Bytes| async move {
        let in_order =
            file.chunks(CHUNK).enumerate().all(|(n, chunk)| chunk.iter().all(|&byte| usize::from(byte) == n));
        format!("{} bytes, {}", file.len(), if in_order { "all in order" } else { "jumbled" })
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/file", put(receive));
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(address)
}

/// A line to the server, whose first connection breaks after so many KiB. Returns the address of its near end.
async fn line(server: SocketAddr, breaks_after: u64) -> Result<SocketAddr, BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(carry(listener, server, breaks_after * 1024));
    Ok(address)
}

async fn carry(listener: TcpListener, server: SocketAddr, breaks_after: u64) -> io::Result<()> {
    let (first, _) = listener.accept().await?;
    copy(&mut first.take(breaks_after), &mut sink()).await?;
    loop {
        let (mut near, _) = listener.accept().await?;
        let mut far = TcpStream::connect(server).await?;
        tokio::spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    }
}
