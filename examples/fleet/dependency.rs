//! What all instances depend on: a server that does as it is told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fusebox::BoxError;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    Failing,
    Hanging,
}

pub(crate) struct Dependency {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    /// Which instance called while it hung.
    calls: Receiver<usize>,
}

struct Shared {
    health: Health,
    failed: u64,
    first_failed: Option<Instant>,
    hanging: u64,
    calls: Sender<usize>,
}

/// When the first call failed.
pub(crate) struct Failing(Arc<Mutex<Shared>>);

impl Failing {
    /// How long ago that was.
    pub(crate) fn first(&self) -> Duration {
        lock(&self.0).first_failed.map(|at| at.elapsed()).unwrap_or_default()
    }
}

fn lock(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Dependency {
    pub(crate) fn start() -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (sender, calls) = channel();
        let shared = Shared { health: Health::Well, failed: 0, first_failed: None, hanging: 0, calls: sender };
        let shared = Arc::new(Mutex::new(shared));
        let seen = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&seen);
                std::thread::spawn(move || answer(&stream, &seen));
            }
        });
        Ok(Self { address, shared, calls })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn set(&self, health: Health) -> Failing {
        lock(&self.shared).health = health;
        Failing(Arc::clone(&self.shared))
    }

    pub(crate) fn failed(&self) -> u64 {
        lock(&self.shared).failed
    }

    pub(crate) fn hanging(&self) -> u64 {
        lock(&self.shared).hanging
    }

    /// Waits for a call that it lets hang; returns whose it is.
    pub(crate) fn next_call(&self) -> Result<usize, BoxError> {
        Ok(self.calls.recv_timeout(Duration::from_secs(20))?)
    }
}

/// One line is one call: the number of the instance. The answer is `ok` or `failed`, or none.
fn answer(stream: &TcpStream, shared: &Mutex<Shared>) {
    let mut writer = stream;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let answer = {
            let mut shared = lock(shared);
            match shared.health {
                Health::Well => "ok\n",
                Health::Failing => {
                    shared.failed += 1;
                    shared.first_failed.get_or_insert_with(Instant::now);
                    "failed\n"
                }
                Health::Hanging => {
                    shared.hanging += 1;
                    shared.calls.send(line.parse().unwrap_or_default()).ok();
                    continue;
                }
            }
        };
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
