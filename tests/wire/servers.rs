//! Servers that fail in one way each, on ports of their own for as long as the test's runtime runs.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

pub(crate) async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// An address where connections are refused, for as long as the socket is kept: it is bound and does not listen.
pub(crate) fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
    let address = socket.local_addr().expect("bound");
    (socket, address)
}

/// Does the same with every connection.
pub(crate) async fn each<F, Fut>(handle: F) -> SocketAddr
where
    F: Fn(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(handle(stream));
        }
    });
    address
}

/// Takes connections and never says a word.
pub(crate) async fn silent() -> SocketAddr {
    each(|stream| async move {
        pending::<()>().await;
        drop(stream);
    })
    .await
}

/// Resets every connection as soon as a request has come: what is unread makes a reset of the close.
pub(crate) async fn resetting() -> SocketAddr {
    each(|stream| async move {
        stream.peek(&mut [0]).await.expect("a request");
    })
    .await
}

/// Answers every request of HTTP/1 with these words, and closes.
pub(crate) async fn saying(words: &'static str) -> SocketAddr {
    each(move |mut stream| async move {
        read_head(&mut stream).await;
        stream.write_all(words.as_bytes()).await.expect("the client listens");
        stream.shutdown().await.ok();
        // A reset because of what is unread would overtake the answer.
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
    })
    .await
}

async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a request"));
    }
}

/// What a server of HTTP/2 does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// Ends its stream with this reason.
    Reset(Reason),
    /// The same, after the head of a response.
    HeadThenReset(Reason),
    /// Says that it will process no stream above this one, and closes the connection.
    GoAway { last: u32 },
    /// Closes the connection.
    Close,
    /// Never answers.
    Hang,
    /// Answers with a gRPC status, in the head.
    #[cfg(feature = "grpc")]
    Status(tonic::Code),
}

/// A server of HTTP/2 that gives the answers it was told, one after the other, and then 200, which is gRPC's "ok" too.
#[derive(Clone)]
pub(crate) struct H2 {
    pub(crate) address: SocketAddr,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: Arc<AtomicUsize>,
}

impl H2 {
    pub(crate) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let (listener, address) = listen().await;
        let server = Self::at(address, answers);
        server.run(listener);
        server
    }

    /// One that will listen there.
    pub(crate) fn at(address: SocketAddr, answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Arc::new(Mutex::new(answers.into_iter().collect()));
        Self { address, answers, requests: Arc::default() }
    }

    pub(crate) fn run(&self, listener: TcpListener) {
        let server = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(server.clone().connection(stream));
            }
        });
    }

    /// The requests that came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/shop.Prices/Get", self.address)
    }

    fn next(&self, is_it: impl Fn(&Answer) -> bool) -> Option<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).pop_front_if(|answer| is_it(answer))
    }

    async fn connection(self, stream: TcpStream) {
        let by_hand =
            |answer: &Answer| matches!(answer, Answer::HeadThenReset(_) | Answer::GoAway { .. } | Answer::Close);
        if let Some(answer) = self.next(by_hand) {
            return raw(stream, answer, &self.requests).await;
        }
        self.serve(stream).await;
    }

    /// Serves a connection as h2 does it.
    pub(crate) async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let Ok(mut connection) = h2::server::handshake(stream).await else { return };
        while let Some(Ok((request, respond))) = connection.accept().await {
            self.requests.fetch_add(1, Ordering::SeqCst);
            let answer = self.next(|_| true);
            tokio::spawn(reply(request, respond, answer));
        }
    }
}

async fn reply(mut request: Request<RecvStream>, mut respond: SendResponse<Bytes>, answer: Option<Answer>) {
    match answer {
        Some(Answer::Reset(reason)) => respond.send_reset(reason),
        Some(Answer::Hang) => pending().await,
        #[cfg(feature = "grpc")]
        Some(Answer::Status(code)) => {
            let head =
                Response::builder().header("content-type", "application/grpc").header("grpc-status", code as u16);
            respond.send_response(head.body(()).expect("a response"), true).expect("the client waits");
        }
        Some(answer @ (Answer::HeadThenReset(_) | Answer::GoAway { .. } | Answer::Close)) => {
            panic!("{answer:?} is for the first on a connection")
        }
        None => {
            while request.body_mut().data().await.is_some() {}
            let response = Response::builder().header("content-type", "application/grpc").body(()).expect("a response");
            // The client may have gone.
            let Ok(mut body) = respond.send_response(response, false) else { return };
            let message = Bytes::from_static(b"\0\0\0\0\x02ok");
            let ok =
                HeaderMap::from_iter([("grpc-status".parse().expect("a name"), http::HeaderValue::from_static("0"))]);
            if body.send_data(message, false).is_ok() {
                body.send_trailers(ok).ok();
            }
        }
    }
}

/// Says by hand what h2's server has no words for, to the first request on a connection.
async fn raw(mut stream: TcpStream, answer: Answer, requests: &AtomicUsize) {
    stream.read_exact(&mut [0; 24]).await.expect("the preface of HTTP/2");
    stream.write_all(&frame(Kind::Settings, 0, &[])).await.expect("the client listens");
    let mut head = [0; 9];
    while stream.read_exact(&mut head).await.is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        stream.read_exact(&mut vec![0; length as usize]).await.expect("the rest of the frame");
        if head[3] == Kind::Headers as u8 {
            requests.fetch_add(1, Ordering::SeqCst);
            break;
        }
    }
    let words = match answer {
        Answer::GoAway { last } => frame(Kind::GoAway, 0, &[last.to_be_bytes(), [0; 4]].concat()),
        Answer::HeadThenReset(reason) => {
            // ":status: 200" is the eighth of the headers that have a number.
            let head = frame(Kind::Headers, 1, &[0x88]);
            [head, frame(Kind::Reset, 1, &u32::from(reason).to_be_bytes())].concat()
        }
        _ => Vec::new(),
    };
    stream.write_all(&words).await.expect("the client listens");
    stream.shutdown().await.ok();
    // A reset because of what is unread would overtake it.
    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
}

/// Some frames of HTTP/2 (RFC 9113, 6).
#[derive(Clone, Copy)]
enum Kind {
    Headers = 1,
    Reset = 3,
    Settings = 4,
    GoAway = 7,
}

fn frame(kind: Kind, on_stream: u32, payload: &[u8]) -> Vec<u8> {
    const END_HEADERS: u8 = 4;
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    let flags = if matches!(kind, Kind::Headers) { END_HEADERS } else { 0 };
    [&length[1..], &[kind as u8, flags], &on_stream.to_be_bytes(), payload].concat()
}
