//! What can happen in a run, and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;

use crate::circuit::Override;
use crate::store::{Changes, Commit, Committed, Notice, Stored};

/// Nanoseconds of the virtual time.
pub(super) type At = u64;

pub(super) const MS: At = 1_000_000;
pub(super) const S: At = 1_000 * MS;
/// What clocks show when the virtual time begins: far from where their numbers end.
pub(super) const ORIGIN: At = 100 * 3_600 * S;

/// How the dependency does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// One call of a hundred fails.
    Background,
    Recovering,
    Sick,
}

impl Health {
    pub(super) const fn failing_permille(self) -> u64 {
        match self {
            Self::Well => 0,
            Self::Background => 10,
            Self::Recovering => 300,
            Self::Sick => 980,
        }
    }
}

/// What is due at some time.
#[derive(Debug)]
pub(super) enum Event {
    /// The engine of an instance looks again.
    Wake,
    /// A request is at the store.
    Arrive {
        op: u64,
        request: Request,
        wanted: bool,
    },
    Answer {
        op: u64,
        answer: Answer,
    },
    /// An answer has not come in time.
    Timeout {
        op: u64,
    },
    Noticed(Notice),
    /// A call asks.
    Call {
        key: usize,
    },
    /// A call ends.
    End {
        call: u64,
    },
    Command {
        key: usize,
        command: Command,
    },
    Turn(Health),
    Trouble(Trouble),
    /// Everything is mended.
    Mend,
}

#[derive(Clone, Debug)]
pub(super) enum Command {
    Trip,
    Reset,
    Override(Override),
    Resume,
    Flush,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// One instance does not reach the store; `true`: and is told so at once.
    Cut(usize, bool),
    Join(usize),
    Outage(bool),
    Back,
    Wipe,
    /// What was written last is lost.
    Rollback,
    Crash(usize),
    Start(usize),
    Freeze(usize, At),
    /// Notices do not reach the instance.
    Deaf(usize),
    Hears(usize),
    /// A stranger tells all instances something: what it is depends on this number.
    Stranger(u64),
}

/// Whom it concerns: an instance in one of its lives, or the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) instance: usize,
    pub(super) life: u32,
}

impl Who {
    pub(super) const WORLD: Self = Self { instance: usize::MAX, life: 0 };
}

#[derive(Clone, Debug)]
pub(super) enum Request {
    Load(Vec<String>),
    Changes(Option<Bytes>),
    Commit(String, Box<Commit>),
}

#[derive(Debug)]
pub(super) enum Answer {
    Loaded(Vec<Stored>),
    Changes(Changes),
    Committed(Committed),
    Refused(&'static str),
    None,
}

/// The newest lines of a run's log.
pub(super) type Tail = Arc<Mutex<VecDeque<String>>>;

/// Lines of the log that are shown.
pub(super) fn longest_tail() -> usize {
    std::env::var("FUSEBOX_SIM_TAIL").ok().and_then(|lines| lines.parse().ok()).unwrap_or(100)
}

/// The engine's clock is another one than the breaker's.
pub(super) const ENGINE_AHEAD: Duration = Duration::from_secs(77_777);

/// The key of a breaker in the store.
pub(super) fn name(key: usize) -> String {
    format!("dependency-{key}")
}
