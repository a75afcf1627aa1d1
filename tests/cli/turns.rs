//! A proxy that counts round trips: how often a client has sent something after it was answered, whatever it was.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

#[derive(Debug)]
pub(super) struct Turns {
    pub(super) port: u16,
    counted: Arc<AtomicU64>,
}

impl Turns {
    /// A port beside that of a server.
    pub(super) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let counted = Arc::<AtomicU64>::default();
        let turns = Arc::clone(&counted);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", server)).expect("the server lives");
                let asks = Arc::<AtomicBool>::default();
                let (turns, is_asking) = (Arc::clone(&turns), Arc::clone(&asks));
                pass(&client, &server, move || {
                    if !is_asking.swap(true, Ordering::SeqCst) {
                        turns.fetch_add(1, Ordering::SeqCst);
                    }
                });
                pass(&server, &client, move || asks.store(false, Ordering::SeqCst));
            }
        });
        Self { port, counted }
    }

    /// How many there were.
    pub(super) fn count(&self) -> u64 {
        self.counted.load(Ordering::SeqCst)
    }
}

/// Passes on all that comes, in a thread of its own.
fn pass(from: &TcpStream, to: &TcpStream, note: impl Fn() + Send + 'static) {
    let (mut from, mut to) = (from.try_clone().expect("a stream"), to.try_clone().expect("a stream"));
    to.set_nodelay(true).expect("a stream");
    thread::spawn(move || {
        let mut piece = vec![0; 64 * 1024];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            note();
            if to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        to.shutdown(std::net::Shutdown::Both).ok();
    });
}
