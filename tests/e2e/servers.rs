//! Servers and lines for the tests, each on a port of its own for as long as the test's runtime runs.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::support::Record;

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

/// An address where connections are refused, for as long as the socket is kept: nobody else gets the port.
pub(crate) fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// A server that gives the answers it was told, then 200 with the body of the request; and remembers requests.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    answers: Arc<Mutex<VecDeque<Response<()>>>>,
    requests: Record<Request<Bytes>>,
}

pub(crate) fn status(status: u16) -> Response<()> {
    Response::builder().status(status).body(()).expect("a response")
}

pub(crate) fn retry_after(code: u16, wait: &str) -> Response<()> {
    let mut response = status(code);
    response.headers_mut().insert("retry-after", wait.parse().expect("a header"));
    response
}

async fn answer(State(server): State<Server>, request: Request<axum::body::Body>) -> Response<axum::body::Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else {
        // The client has gone.
        return status(StatusCode::BAD_REQUEST.as_u16()).map(|()| axum::body::Body::empty());
    };
    server.requests.add(Request::from_parts(parts, body.clone()));
    let answer = server.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    answer.unwrap_or_default().map(|()| body.into())
}

impl Server {
    pub(crate) async fn start() -> Self {
        let (listener, address) = listen().await;
        let server = Self { address, answers: Arc::default(), requests: Record::default() };
        let app = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async { axum::serve(listener, app).await });
        server
    }

    /// Sets the next answers, instead of any that are left.
    pub(crate) fn answers(&self, answers: impl IntoIterator<Item = Response<()>>) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers.into_iter().collect();
    }

    /// The requests since it was last asked.
    pub(crate) fn requests(&self) -> Vec<Request<Bytes>> {
        self.requests.take()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

/// A line to a server, whose first connection breaks after so many bytes.
pub(crate) struct Line {
    pub(crate) near: SocketAddr,
    /// How many connections there have been.
    pub(crate) connections: watch::Receiver<u32>,
    /// Whether the first one is broken.
    pub(crate) broken: watch::Receiver<bool>,
}

impl Line {
    pub(crate) async fn to(far: SocketAddr, breaks_after: usize) -> Self {
        let (listener, near) = listen().await;
        let (count, connections) = watch::channel(0);
        let (breaks, broken) = watch::channel(false);
        tokio::spawn(async move {
            let (mut first, _) = listener.accept().await.expect("a connection");
            count.send_modify(|n| *n += 1);
            first.read_exact(&mut vec![0; breaks_after]).await.expect("so many bytes");
            // What the client has sent beyond that is unread, so it is told by a reset.
            drop(first);
            breaks.send_replace(true);
            while let Ok((mut near, _)) = listener.accept().await {
                count.send_modify(|n| *n += 1);
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(far).await.expect("the server is there");
                    copy_bidirectional(&mut near, &mut far).await.ok();
                    near.shutdown().await.ok();
                });
            }
        });
        Self { near, connections, broken }
    }
}
