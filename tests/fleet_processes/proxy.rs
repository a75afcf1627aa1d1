//! A bad network between instances and their store.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// What it does with what passes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rules {
    /// New connections are refused.
    pub(crate) refuses: bool,
    /// What instances send is kept, and arrives when this ends.
    pub(crate) holds_requests: bool,
    /// What the server answers is kept, and arrives when this ends.
    pub(crate) holds_answers: bool,
    /// The same for commits alone, and whatever comes after one over the same connection.
    pub(crate) holds_commits: bool,
    /// The same for the answers to commits alone.
    pub(crate) holds_answers_to_commits: bool,
    /// Every piece of an answer comes so much later.
    pub(crate) delay: Duration,
    /// Connections over which the server tells of changes: none, until this ends.
    pub(crate) cuts_push: bool,
    /// So many commits reach the server, and their answers nobody: the connection ends instead.
    pub(crate) loses_answers: u32,
    /// With the last of these, new connections are refused, and others end as soon as an instance sends something.
    pub(crate) refuses_after_loss: bool,
}

/// A proxy on the loopback.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    server: u16,
    rules: Mutex<Rules>,
    changed: Condvar,
    commits: AtomicU64,
    connections: Mutex<Vec<Connection>>,
}

#[derive(Clone, Debug)]
struct Connection {
    ends: Arc<[TcpStream; 2]>,
    listens: Arc<AtomicBool>,
    /// It has sent a commit since answers to commits are held.
    has_committed: Arc<AtomicBool>,
    /// The answer that comes next is lost.
    is_doomed: Arc<AtomicBool>,
    is_over: Arc<AtomicBool>,
}

/// What instances send to write, in either store's language.
const COMMITS: [&[u8]; 2] = [b"}:w0:", b"_commit_v2\"("];
/// What they send to be told of changes.
const LISTENS: [&[u8]; 2] = [b"SUBSCRIBE", b"LISTEN"];
/// Words may come in two pieces.
const OVERLAP: usize = 16;

impl Proxy {
    pub(crate) fn before(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared {
            server,
            rules: Mutex::default(),
            changed: Condvar::new(),
            commits: AtomicU64::new(0),
            connections: Mutex::default(),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || listener.incoming().flatten().for_each(|client| serving.accept(client)));
        Self { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Rules)) {
        change(&mut self.shared.rules());
        self.shared.changed.notify_all();
    }

    /// Ends the connections there are.
    pub(crate) fn cut(&self) {
        let mut connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.drain(..).for_each(|connection| connection.end());
    }

    /// From now on, or not any more, nobody is told of changes.
    pub(crate) fn cut_push(&self, cuts: bool) {
        self.set(|rules| rules.cuts_push = cuts);
        if cuts {
            let connections = self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner);
            let listening = connections.iter().filter(|connection| connection.listens.load(Ordering::SeqCst));
            listening.for_each(Connection::end);
        }
    }

    /// How many commits have come by.
    pub(crate) fn commits(&self) -> u64 {
        self.shared.commits.load(Ordering::SeqCst)
    }

    /// How many more answers are to be lost.
    pub(crate) fn to_lose(&self) -> u32 {
        self.shared.rules().loses_answers
    }
}

impl Shared {
    fn rules(&self) -> MutexGuard<'_, Rules> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, client: TcpStream) {
        if self.rules().refuses {
            return;
        }
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.server)) else {
            return;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let connection = Connection {
            ends: Arc::new([client, server]),
            listens: Arc::default(),
            has_committed: Arc::default(),
            is_doomed: Arc::default(),
            is_over: Arc::default(),
        };
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|connection| !connection.is_over.load(Ordering::SeqCst));
        connections.push(connection.clone());
        drop(connections);
        for upward in [true, false] {
            let (shared, connection) = (Arc::clone(self), connection.clone());
            thread::spawn(move || {
                shared.pass(&connection, upward);
                connection.end();
            });
        }
    }

    fn pass(&self, connection: &Connection, upward: bool) -> Option<()> {
        let [client, server] = &*connection.ends;
        let (mut from, mut to) = if upward { (client, server) } else { (server, client) };
        let mut piece = vec![0; 64 * 1024];
        let mut before = Vec::new();
        loop {
            let length = from.read(&mut piece).ok().filter(|length| *length > 0)?;
            let piece = &piece[..length];
            let commits = if upward { self.read(connection, &mut before, piece)? } else { 0 };
            let holds = |rules: &Rules| match upward {
                true => rules.holds_requests || rules.holds_commits && commits > 0,
                false => {
                    let is_held = rules.holds_answers_to_commits && connection.has_committed.load(Ordering::SeqCst);
                    rules.holds_answers || is_held
                }
            };
            let delay = self.wait_until_it_may_pass(connection, holds)?;
            if !upward {
                if connection.is_doomed.load(Ordering::SeqCst) {
                    return None;
                }
                thread::sleep(delay);
            }
            to.write_all(piece).ok()?;
        }
    }

    /// Understands as much as it must of what an instance sends; returns the commits in it.
    fn read(&self, connection: &Connection, before: &mut Vec<u8>, piece: &[u8]) -> Option<usize> {
        let known = before.len();
        before.extend_from_slice(piece);
        let new = |word: &[u8]| {
            before.windows(word.len()).enumerate().filter(|(at, w)| at + w.len() > known && *w == word).count()
        };
        let commits: usize = COMMITS.iter().map(|word| new(word)).sum();
        if LISTENS.iter().any(|word| new(word) > 0) {
            connection.listens.store(true, Ordering::SeqCst);
        }
        before.drain(..before.len().saturating_sub(OVERLAP));
        let mut rules = self.rules();
        let is_cut = rules.refuses && rules.refuses_after_loss && !connection.is_doomed.load(Ordering::SeqCst);
        if is_cut || connection.listens.load(Ordering::SeqCst) && rules.cuts_push {
            return None;
        }
        if commits > 0 {
            self.commits.fetch_add(commits as u64, Ordering::SeqCst);
            connection.has_committed.store(rules.holds_answers_to_commits, Ordering::SeqCst);
            if rules.loses_answers > 0 {
                rules.loses_answers -= 1;
                connection.is_doomed.store(true, Ordering::SeqCst);
                rules.refuses |= rules.refuses_after_loss && rules.loses_answers == 0;
            }
        }
        Some(commits)
    }

    /// Returns how much later it passes then; `None`: never.
    fn wait_until_it_may_pass(&self, connection: &Connection, holds: impl Fn(&Rules) -> bool) -> Option<Duration> {
        let mut rules = self.rules();
        loop {
            if connection.is_over.load(Ordering::SeqCst) {
                return None;
            }
            if !holds(&rules) {
                return Some(rules.delay);
            }
            let waited = self.changed.wait_timeout(rules, Duration::from_millis(20));
            rules = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Connection {
    fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        for end in &*self.ends {
            end.shutdown(Shutdown::Both).ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(|rules| rules.refuses = true);
        self.cut();
    }
}
