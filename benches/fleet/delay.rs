//! A server that is farther away than it is: a proxy before it that passes everything on a while later.
//!
//! It is cheap, because two hundred instances go through it. Each piece is stamped when it comes, and passed on when
//! its time has come; as all are delayed alike, that is the order in which they came, and one thread sees to it for all
//! connections. A piece does not wait for the one before it, so throughput is that of the connection.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A piece on its way.
struct Piece {
    due: Instant,
    bytes: Bytes,
    to: UnboundedSender<Bytes>,
}

/// Starts a proxy on that runtime before a server on that port, and returns the proxy's port. A round trip takes so
/// much longer.
pub(crate) fn before(runtime: &Runtime, server: u16, round_trip: Duration) -> u16 {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (line, pieces) = channel();
    thread::spawn(move || pass_on_when_due(&pieces));
    runtime.spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let line = line.clone();
            tokio::spawn(async move {
                let server = TcpStream::connect(("127.0.0.1", server)).await?;
                client.set_nodelay(true)?;
                server.set_nodelay(true)?;
                let (from_client, to_client) = client.into_split();
                let (from_server, to_server) = server.into_split();
                for (from, to) in [(from_client, to_server), (from_server, to_client)] {
                    let (delayed, due) = unbounded_channel();
                    tokio::spawn(read(from, line.clone(), delayed, round_trip / 2));
                    tokio::spawn(write(to, due));
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    port
}

/// Nothing but the system's timer is exact enough: an async runtime's goes by milliseconds.
fn pass_on_when_due(pieces: &Receiver<Piece>) {
    for Piece { due, bytes, to } in pieces {
        let left = due.saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::sleep(left);
        }
        to.send(bytes).ok();
    }
}

async fn read(mut from: OwnedReadHalf, line: Sender<Piece>, to: UnboundedSender<Bytes>, delay: Duration) {
    let mut buffer = BytesMut::with_capacity(16 * 1024);
    while let Ok(length @ 1..) = from.read_buf(&mut buffer).await {
        let piece = Piece { due: Instant::now() + delay, bytes: buffer.split_to(length).freeze(), to: to.clone() };
        if line.send(piece).is_err() {
            return;
        }
        buffer.reserve(4 * 1024);
    }
}

/// Ends when the way in has ended, and the last piece of it has come.
async fn write(mut to: OwnedWriteHalf, mut due: UnboundedReceiver<Bytes>) {
    while let Some(bytes) = due.recv().await {
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    to.shutdown().await.ok();
}
