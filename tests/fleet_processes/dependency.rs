//! What the fleet calls: a server that answers as the test says.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Ok,
    Fail,
    /// It says nothing until it is told to answer otherwise.
    Hang,
}

/// A dependency of one test.
#[derive(Clone, Debug)]
pub(crate) struct Dependency {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    script: Mutex<Script>,
    changed: Condvar,
}

#[derive(Debug)]
struct Script {
    answer: Answer,
    /// One of so many calls fails.
    fails_one_of: Option<u64>,
    /// From these instances nothing succeeds.
    bad: HashSet<usize>,
    calls: u64,
    /// Who has sent a probe that is not answered yet.
    probing: Vec<usize>,
    most_probing: usize,
    probes: u64,
}

impl Dependency {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let script = Script {
            answer: Answer::Ok,
            fails_one_of: None,
            bad: HashSet::new(),
            calls: 0,
            probing: Vec::new(),
            most_probing: 0,
            probes: 0,
        };
        let shared = Arc::new(Shared { script: Mutex::new(script), changed: Condvar::new() });
        let dependency = Self { address, shared };
        let server = dependency.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || server.serve(stream).ok());
            }
        });
        dependency
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn answers(&self, answer: Answer) {
        self.script().answer = answer;
        self.shared.changed.notify_all();
    }

    pub(crate) fn fails_one_of(&self, calls: u64) {
        self.script().fails_one_of = Some(calls);
    }

    pub(crate) fn is_bad_for(&self, instance: usize) {
        self.script().bad.insert(instance);
    }

    #[cfg(feature = "http")]
    pub(crate) fn is_well_for(&self, instance: usize) {
        self.script().bad.remove(&instance);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.script().calls
    }

    pub(crate) fn probes(&self) -> u64 {
        self.script().probes
    }

    /// The most probes that were on their way at once.
    pub(crate) fn most_probing(&self) -> usize {
        self.script().most_probing
    }

    /// Who waits for the answer to a probe.
    pub(crate) fn probing(&self) -> Vec<usize> {
        self.script().probing.clone()
    }

    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut request = String::new();
        BufReader::new(stream.try_clone()?).read_line(&mut request)?;
        let (number, kind) = request.trim().split_once(' ').unwrap_or_default();
        let number = number.parse().unwrap_or(usize::MAX);
        let is_probe = kind == "probe";
        let mut script = self.script();
        script.calls += 1;
        let unlucky = script.fails_one_of.is_some_and(|of| script.calls.is_multiple_of(of));
        if is_probe {
            script.probes += 1;
            script.probing.push(number);
            script.most_probing = script.most_probing.max(script.probing.len());
        }
        while script.answer == Answer::Hang && !is_gone(&stream) {
            let waited = self.shared.changed.wait_timeout(script, Duration::from_millis(20));
            script = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let well = script.answer == Answer::Ok && !unlucky && !script.bad.contains(&number);
        if is_probe && let Some(at) = script.probing.iter().position(|other| *other == number) {
            script.probing.remove(at);
        }
        drop(script);
        stream.write_all(if well { b"ok\n" } else { b"fail\n" })
    }
}

/// Whether whoever asked has gone away.
fn is_gone(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).ok();
    let gone = matches!(stream.peek(&mut [0]), Ok(0));
    stream.set_nonblocking(false).ok();
    gone
}
