//! The processes, as the one that started them sees them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use fusebox::BoxError;

pub(crate) struct Instances {
    children: Vec<Option<Child>>,
    lines: Receiver<(usize, String)>,
    seen: Seen,
}

/// What they have told.
#[derive(Default)]
pub(crate) struct Seen {
    states: Vec<Option<String>>,
    calls: u64,
    /// Who decided the last generation of the fleet, and which it was.
    deciders: BTreeSet<usize>,
    generation: u64,
}

impl Seen {
    pub(crate) fn all(&self, state: &str) -> bool {
        self.states.iter().flatten().all(|known| known == state)
    }

    pub(crate) const fn calls(&self) -> u64 {
        self.calls
    }

    fn take(&mut self, instance: usize, line: &str) {
        let mut words = line.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("call"), ..) => self.calls += 1,
            (Some("state"), Some(state), Some(generation), Some(origin)) => {
                if let Some(known) = &mut self.states[instance] {
                    state.clone_into(known);
                }
                let generation = generation.parse().unwrap_or(0);
                if generation > self.generation {
                    self.generation = generation;
                    self.deciders.clear();
                }
                if generation == self.generation && origin == "decided" {
                    self.deciders.insert(instance);
                }
            }
            _ => {}
        }
    }
}

impl Instances {
    pub(crate) fn start(count: usize, store: &str, dependency: SocketAddr) -> Result<Self, BoxError> {
        let (sender, lines) = channel();
        let mut children = Vec::new();
        for number in 0..count {
            let mut child = Command::new(std::env::current_exe()?)
                .args(["instance", store, &dependency.to_string(), &number.to_string()])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()?;
            let (output, sender) = (child.stdout.take(), sender.clone());
            children.push(Some(child));
            std::thread::spawn(move || {
                let lines = output.map(BufReader::new).into_iter().flat_map(BufRead::lines);
                lines.map_while(Result::ok).for_each(|line| {
                    sender.send((number, line)).ok();
                });
            });
        }
        let seen = Seen { states: vec![Some("closed".to_owned()); count], ..Seen::default() };
        Ok(Self { children, lines, seen })
    }

    /// Waits until that is so.
    pub(crate) fn until(&mut self, so: impl Fn(&Seen) -> bool) -> Result<(), BoxError> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !so(&self.seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            let (instance, line) = self.lines.recv_timeout(left).map_err(|_| "nothing more happened within 30 s")?;
            self.seen.take(instance, &line);
        }
        Ok(())
    }

    pub(crate) fn kill(&mut self, instance: usize) -> Result<(), BoxError> {
        self.seen.states[instance] = None;
        if let Some(mut child) = self.children[instance].take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    pub(crate) const fn calls(&self) -> u64 {
        self.seen.calls
    }

    pub(crate) fn alive(&self) -> usize {
        self.children.iter().flatten().count()
    }

    pub(crate) fn deciders(&self) -> usize {
        self.seen.deciders.len()
    }
}

impl Drop for Instances {
    fn drop(&mut self) {
        for child in self.children.iter_mut().flatten() {
            child.kill().ok();
            child.wait().ok();
        }
    }
}
