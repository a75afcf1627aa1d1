//! Between the instances and their store: what is sent may be late, lost, or there twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::world::{Asked, At, Event, MS, ORIGIN, S, Who, World, engine_time};
use crate::clock::ManualClock;
use crate::fleet::core::Ask;
use crate::store::{
    BatchId, Commit, Committed, MemoryStore, Notices, Store, StoreError, StoreFuture, Stored, Summary, Version,
};
use crate::time::{Timestamp, nanos};

#[derive(Clone, Debug)]
pub(super) enum Request {
    Load(Vec<String>),
    Commit(String, Box<Commit>),
}

#[derive(Debug)]
pub(super) enum Answer {
    Loaded(Vec<Stored>),
    Committed(Committed),
    Refused(&'static str),
    None,
}

/// The store and the way to it.
pub(super) struct Network {
    clock: ManualClock,
    pub(super) memory: MemoryStore,
    store: Arc<dyn Store>,
    notices: Notices,
    /// The store is away; `true`: and says so at once.
    pub(super) outage: Option<bool>,
    next: u64,
    /// What the store has had lately, oldest first.
    had: BTreeMap<String, VecDeque<Bytes>>,
}

/// An operation that takes longer is given up.
const TIMEOUT: At = S;

impl Network {
    pub(super) fn new(forgetful: bool) -> Self {
        let clock = ManualClock::new();
        let memory = MemoryStore::with_clock(clock.clone());
        let store: Arc<dyn Store> =
            if forgetful { Arc::new(Forgetful::of(memory.clone())) } else { Arc::new(memory.clone()) };
        let network =
            Self { clock, notices: store.watch(), store, memory, outage: None, next: 0, had: BTreeMap::new() };
        network.set_clock(0);
        network
    }

    pub(super) fn set_clock(&self, at: At) {
        self.clock.set(Timestamp::from_nanos(at + ORIGIN));
    }

    /// The store's time, in the unit of the rules.
    pub(super) fn store_time(at: At) -> Timestamp {
        Timestamp::from_nanos((at + ORIGIN) / 1_000 * 1_000) + Duration::from_secs(1)
    }

    fn ask(&self, request: &Request) -> Answer {
        match request {
            Request::Load(keys) => {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                at_once(self.store.load(&keys)).map_or(Answer::None, Answer::Loaded)
            }
            Request::Commit(key, commit) => {
                at_once(self.store.commit(key, (**commit).clone())).map_or(Answer::None, Answer::Committed)
            }
        }
    }

    fn remember(&mut self, key: &str) {
        let record = self.peek(key).record;
        let had = self.had.entry(key.to_owned()).or_default();
        if had.back() != Some(&record) {
            had.push_back(record);
        }
        if had.len() > 20 {
            had.pop_front();
        }
    }

    /// The store loses its newest writes, as where a server without them takes over.
    pub(super) fn roll_back(&mut self, writes: usize) {
        self.memory.clear();
        for (key, had) in &self.had {
            let old = had.iter().rev().nth(writes).or(had.front()).filter(|record| !record.is_empty());
            if let Some(record) = old {
                let commit =
                    Commit::new(Version::NONE, record.clone(), Summary::closed(0), Duration::from_secs(86_400));
                at_once(self.memory.commit(key, commit)).ok();
            }
        }
    }

    /// What the store holds, for whoever checks it.
    pub(super) fn peek(&self, key: &str) -> Stored {
        at_once(self.memory.load(&[key])).ok().and_then(|mut stored| stored.pop()).unwrap_or_default()
    }
}

/// A store in memory never waits.
fn at_once<T>(mut future: StoreFuture<'_, T>) -> Result<T, StoreError> {
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(StoreError::no_answer("a store in memory waits")),
    }
}

/// A store that forgets which batches it has taken in.
#[derive(Debug)]
struct Forgetful {
    inner: MemoryStore,
    count: std::sync::atomic::AtomicU64,
}

impl Forgetful {
    const fn of(inner: MemoryStore) -> Self {
        Self { inner, count: std::sync::atomic::AtomicU64::new(1) }
    }
}

impl Store for Forgetful {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.inner.load(keys)
    }

    fn commit<'a>(&'a self, key: &'a str, mut commit: Commit) -> StoreFuture<'a, Committed> {
        let writer = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        commit.batch = commit.batch.map(|(_, bytes)| (BatchId { writer, seq: 1 }, bytes));
        self.inner.commit(key, commit)
    }

    fn watch(&self) -> Notices {
        self.inner.watch()
    }
}

impl World {
    fn delay(&mut self) -> At {
        let wire = self.setup.wire;
        if self.chance.permille(wire.very_slow) {
            S + self.chance.below(5 * S / 2)
        } else if self.chance.permille(wire.slow) {
            20 * MS + self.chance.below(900 * MS)
        } else {
            MS / 2 + self.chance.below(5 * MS / 2)
        }
    }

    /// The engine of an instance asks the store.
    pub(super) fn send(&mut self, at: usize, ask: Ask) {
        self.network.next += 1;
        let op = self.network.next;
        let (asked, request) = match ask {
            Ask::Load(ids, keys) => (Asked::Load(ids), Request::Load(keys)),
            Ask::Commit(id, key, commit) => {
                if let Some((batch, _)) = &commit.batch {
                    let place = usize::try_from(id.0).unwrap_or(0);
                    let taken = self.instances[at].seats[place].books().taken;
                    self.batches.entry(*batch).or_insert(taken);
                }
                (Asked::Commit(id), Request::Commit(key, commit))
            }
        };
        self.note(|| format!("{at} asks {op}: {}", brief(&request)));
        let instance = &mut self.instances[at];
        instance.ops += 1;
        instance.asked.insert(op, asked);
        let refused = instance.cut.or(self.network.outage);
        let who = self.who(at);
        self.later(TIMEOUT, who, Event::Timeout { op });
        let wire = self.setup.wire;
        let (lost, wanted) = (self.chance.permille(wire.request_lost), !self.chance.permille(wire.answer_lost));
        let (delay, again) = (self.delay(), self.delay());
        match refused {
            Some(true) => self.later(MS, who, Event::Answer { op, answer: Answer::Refused("no route") }),
            Some(false) => {}
            None => {
                if self.chance.permille(wire.duplicated) {
                    let request = request.clone();
                    self.later(delay + again, who, Event::Arrive { op, request, wanted: false });
                }
                if !lost {
                    self.later(delay, who, Event::Arrive { op, request, wanted });
                }
            }
        }
    }

    /// A request is at the store.
    pub(super) fn arrive(&mut self, who: Who, op: u64, request: &Request, wanted: bool) {
        if self.network.outage.is_some() {
            return;
        }
        let answer = self.network.ask(request);
        self.note(|| format!("the store has {} of {}: {}", op, who.instance, told(&answer)));
        if let Request::Commit(key, commit) = request {
            let accepted = matches!(
                &answer,
                Answer::Committed(Committed::Applied { .. } | Committed::Queued(_) | Committed::Combine(..))
            );
            if let Some((batch, _)) = &commit.batch
                && accepted
            {
                self.taken_in.insert(*batch);
            }
            self.check_store(key);
            self.network.remember(key);
        }
        if wanted {
            let delay = self.delay();
            self.later(delay, who, Event::Answer { op, answer });
        }
        self.spread_notices();
    }

    fn spread_notices(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(notice)) = self.network.notices.as_mut().poll_next(&mut context) {
            for at in 0..self.instances.len() {
                let copies = [true, self.chance.permille(self.setup.wire.duplicated)];
                for _ in copies.into_iter().filter(|copy| *copy) {
                    let delay = self.delay();
                    if !self.chance.permille(self.setup.wire.notice_lost) && self.instances[at].alive {
                        let who = self.who(at);
                        self.later(delay, who, Event::Noticed(notice.clone()));
                    }
                }
            }
        }
    }

    /// An instance has its answer, or has waited long enough.
    pub(super) fn answered(&mut self, at: usize, op: u64, answer: Answer) {
        let is_none = matches!(answer, Answer::None);
        let instance = &mut self.instances[at];
        if instance.cut.is_some() && !is_none && !matches!(answer, Answer::Refused(_)) {
            return;
        }
        let Some(asked) = instance.asked.remove(&op) else {
            return;
        };
        let now = engine_time(&instance.clock());
        let error = |answer| match answer {
            Answer::Refused(why) => StoreError::unreachable(why),
            _ => StoreError::no_answer("in time"),
        };
        match (asked, answer) {
            (Asked::Load(ids), Answer::Loaded(stored)) => instance.core.loaded(&ids, Ok(stored), now),
            (Asked::Load(ids), answer) => instance.core.loaded(&ids, Err(error(answer)), now),
            (Asked::Commit(id), Answer::Committed(committed)) => instance.core.committed(id, Ok(committed), now),
            (Asked::Commit(id), answer) => instance.core.committed(id, Err(error(answer)), now),
        }
        self.note(|| format!("{at} has its answer to {op}{}", if is_none { ": none" } else { "" }));
    }

    /// Where a store has the same time as this, the wait until then.
    pub(super) fn until_store_time(&self, until: Timestamp) -> At {
        nanos(until.since(Network::store_time(self.now)))
    }
}

fn brief(request: &Request) -> String {
    match request {
        Request::Load(keys) => format!("load {}", keys.len()),
        Request::Commit(_, commit) => format!(
            "commit on {} {:?} g{} batch {:?}{}{}",
            commit.expected.0,
            commit.summary.state,
            commit.summary.generation,
            commit.batch.as_ref().map(|(id, _)| id.seq),
            if commit.may_queue { " may queue" } else { "" },
            commit.round.as_ref().map_or_else(String::new, |round| format!(" round of {}", round.batches.len())),
        ),
    }
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Loaded(stored) => format!("loaded {:?}", stored.iter().map(|s| s.version.0).collect::<Vec<_>>()),
        Answer::Committed(committed) => match committed {
            Committed::Applied { version, .. } => format!("applied as {}", version.0),
            Committed::Conflict(stored) => format!("conflict with {}", stored.version.0),
            Committed::Duplicate(_) => "duplicate".to_owned(),
            Committed::Queued(_) => "queued".to_owned(),
            Committed::Combine(stored, round) => format!("combine {} on {}", round.batches.len(), stored.version.0),
            Committed::Fenced(_) => "fenced".to_owned(),
        },
        Answer::Refused(_) | Answer::None => "nothing".to_owned(),
    }
}
