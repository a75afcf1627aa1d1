//! The thread on which a store is talked to.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::identity::{self, Jumps};
use super::loads::Lane;
use super::member::{Member, MemberId};
#[cfg(feature = "counts")]
use super::operation_counts::{self, Operation, OperationCounter};
use super::pulse::Pulse;
use super::scheduler::{Ask, Scheduler};
use super::watchdog::{self, Ward};
use crate::clock::{fresh_seed, sleep_blocking, system_now, timer_now, wall_time};
use crate::guard::guarded;
use crate::replica::{Replica, RestingStates, WakeUp};
use crate::store::{Changes, Committed, Notice, Notices, Store, StoreError, StoreTrouble, Stored, never_notices};
use crate::sync::unpoisoned;
use crate::time::Timestamp;

/// The engine of one store: shared by all breakers of the process that use the store, gone with the last of them.
pub(crate) struct Engine {
    store: Arc<dyn Store>,
    line: Mutex<Line>,
    pulse: Arc<Pulse>,
    next: AtomicU64,
    /// Which line members have joined on, and the number that this instance is known by on it: see [`epoch`](Self::epoch).
    epoch: AtomicU64,
    /// Callers that wait for a flush.
    flushes: Mutex<Vec<Weak<Flush>>>,
    /// What replicas have in common before the thread has looked at them.
    resting: Mutex<RestingStates>,
    #[cfg(feature = "counts")]
    operations: Arc<OperationCounter>,
}

/// The way to the engine's thread.
struct Line {
    messages: UnboundedSender<Message>,
    /// What no thread reads yet.
    unread: Unread,
    /// Why nothing is heard of the thread.
    trouble: Option<Arc<StoreTrouble>>,
}

type Unread = Arc<Mutex<Option<UnboundedReceiver<Message>>>>;

/// A caller that waits for a flush.
#[derive(Debug)]
pub(crate) struct Flush(Mutex<Option<oneshot::Sender<()>>>);

impl Flush {
    /// It need not wait any more. A waker is a user's code.
    fn end(&self) {
        let waits = unpoisoned(self.0.lock()).take();
        guarded(|| waits.map(|waits| waits.send(())));
    }
}

/// What an engine's thread is told.
pub(crate) enum Message {
    Join(Arc<dyn Member>),
    /// A breaker is dropped; what it has left to say is sent, if the store takes it soon.
    Depart(Arc<dyn Member>),
    /// A step of a breaker wants its replica looked at.
    Wake(MemberId, WakeUp),
    /// Of one breaker, or of all.
    Flush(Option<MemberId>, Arc<Flush>),
    Loaded(Lane, Vec<(MemberId, Result<Stored, StoreError>)>),
    /// Boxed, as the next: many breakers that join together are as many messages, each as large as the largest.
    Committed(MemberId, Box<Result<Committed, StoreError>>),
    Changed(Box<Result<Changes, StoreError>>),
    Stop,
}

/// What a breaker finds when it looks whether its engine runs.
pub(crate) enum Found {
    /// Nothing is heard of it: what is the matter.
    Silent(Arc<StoreTrouble>),
    /// It runs on a line that the breaker has not joined: its epoch.
    Anew(u64),
}

/// An operation that takes longer is given up.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(1);
/// How long what is on its way may take when the engine stops.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);
/// How long an engine rests after a panic.
const PAUSE: Duration = Duration::from_millis(100);
/// Messages that an engine takes in before it looks what is to be done.
const MESSAGES_AT_ONCE: usize = 256;
/// An engine with nothing to do goes round this often all the same, so that it is known to live.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

static ENGINES: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

impl Engine {
    /// The engine of that store, started if it is not running.
    pub(crate) fn of(store: &Arc<dyn Store>) -> Arc<Self> {
        let mut engines = unpoisoned(ENGINES.lock());
        engines.retain(|engine| engine.strong_count() > 0);
        let known = engines.iter().filter_map(Weak::upgrade).find(|engine| Arc::ptr_eq(&engine.store, store));
        let engine = known.unwrap_or_else(|| {
            let (messages, unread) = unbounded_channel();
            let unread = Arc::new(Mutex::new(Some(unread)));
            let engine = Arc::new(Self {
                store: Arc::clone(store),
                line: Mutex::new(Line { messages, unread, trouble: None }),
                pulse: Arc::default(),
                next: AtomicU64::new(0),
                epoch: AtomicU64::new(identity::random()),
                flushes: Mutex::default(),
                resting: Mutex::default(),
                #[cfg(feature = "counts")]
                operations: Arc::new(OperationCounter::new()),
            });
            engines.push(Arc::downgrade(&engine));
            engine
        });
        drop(engines);
        let ward: Arc<dyn Ward> = engine.clone();
        watchdog::look_after(Arc::downgrade(&ward));
        engine.start();
        engine
    }

    /// That of a store which breakers use already.
    fn find(store: &Arc<dyn Store>) -> Option<Arc<Self>> {
        let engines = unpoisoned(ENGINES.lock());
        engines.iter().filter_map(Weak::upgrade).find(|engine| Arc::ptr_eq(&engine.store, store))
    }

    /// An id for a new member.
    pub(crate) fn next_id(&self) -> MemberId {
        MemberId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The same replica, as small as it can be.
    pub(crate) fn at_rest(&self, mut replica: Replica) -> Replica {
        let mut resting = unpoisoned(self.resting.lock());
        replica.rest(&mut resting, system_now());
        drop(resting);
        replica
    }

    /// A random number of this line, new in a process that was forked from another: by it members know whether they have
    /// joined, and instances of a fleet are told apart.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// The name by which this instance votes where the user has given none.
    pub(crate) fn name(&self) -> Arc<str> {
        identity::name(self.epoch())
    }

    /// Starts the thread, where there is none. After a fork there is none in the child, whatever the memory says.
    fn start(&self) {
        if !self.pulse.may_begin() {
            return;
        }
        let mut line = unpoisoned(self.line.lock());
        if !self.pulse.may_begin() {
            return;
        }
        if unpoisoned(line.unread.lock()).is_none() {
            // A thread had it that is no more.
            let (messages, unread) = unbounded_channel();
            (line.messages, line.unread) = (messages, Arc::new(Mutex::new(Some(unread))));
            self.epoch.store(identity::random(), Ordering::Relaxed);
        }
        let run = Start {
            store: Arc::clone(&self.store),
            messages: line.messages.clone(),
            unread: Arc::clone(&line.unread),
            pulse: Arc::clone(&self.pulse),
            #[cfg(feature = "counts")]
            operations: Arc::clone(&self.operations),
        };
        self.pulse.begin();
        let spawned = std::thread::Builder::new().name("fusebox-fleet".to_owned()).spawn(move || run.run());
        if let Err(error) = spawned {
            self.pulse.fail(format!("no thread can be started to talk to the store: {error}"));
        }
    }

    fn trouble(&self, why: &str) -> Arc<StoreTrouble> {
        let name = guarded(|| self.store.describe()).unwrap_or_else(|| "a store".to_owned());
        Arc::new(StoreTrouble::new(name.into(), why.into()))
    }

    fn state(&self) -> StoreState {
        let away = if self.pulse.is_silent() { Some(self.trouble(&self.pulse.why())) } else { self.pulse.outage() };
        let store = away.as_ref().map_or_else(|| self.trouble("").store().into(), |trouble| trouble.store().into());
        StoreState { store, away: away.map(|trouble| Arc::clone(trouble.shared_why())) }
    }

    /// Looks whether the engine runs, for a breaker that has joined in `epoch`.
    #[inline]
    pub(crate) fn look(&self, epoch: u64) -> Option<Found> {
        if !self.pulse.is_silent() {
            return (self.epoch() != epoch).then(|| Found::Anew(self.epoch()));
        }
        self.find_out(epoch)
    }

    #[cold]
    fn find_out(&self, epoch: u64) -> Option<Found> {
        self.start();
        if !self.pulse.is_silent() {
            return (self.epoch() != epoch).then(|| Found::Anew(self.epoch()));
        }
        let why = self.pulse.why();
        let mut line = unpoisoned(self.line.lock());
        let known = line.trouble.take().filter(|known| known.why() == why);
        let trouble = known.unwrap_or_else(|| self.trouble(&why));
        line.trouble = Some(trouble.clone());
        Some(Found::Silent(trouble))
    }

    /// Returns when everything of the member's, or of all, is sent and the newest is fetched, when the store is found to be
    /// away, or when no engine runs.
    pub(crate) fn flush(&self, id: Option<MemberId>) -> impl Future<Output = ()> + Send + use<> {
        self.start();
        let (done, wait) = oneshot::channel();
        if !self.pulse.is_silent() {
            let flush = Arc::new(Flush(Mutex::new(Some(done))));
            unpoisoned(self.flushes.lock()).push(Arc::downgrade(&flush));
            self.send(Message::Flush(id, flush));
        }
        async move {
            wait.await.ok();
        }
    }

    pub(crate) fn send(&self, message: Message) {
        unpoisoned(self.line.lock()).messages.send(message).ok();
    }
}

impl Ward for Engine {
    fn look_after(&self) {
        let is_silent = self.pulse.is_silent();
        self.start();
        if !is_silent {
            // The next time is another.
            unpoisoned(self.line.lock()).trouble = None;
        }
        let mut flushes = unpoisoned(self.flushes.lock());
        flushes.retain(|flush| flush.strong_count() > 0);
        if is_silent {
            flushes.drain(..).filter_map(|flush| flush.upgrade()).for_each(|flush| flush.end());
        }
    }
}

/// A store that breakers of this process share their state in.
#[derive(Debug)]
pub(crate) struct StoreState {
    /// Which one, in its own words.
    pub(crate) store: Arc<str>,
    /// Why breakers are on their own, while they are.
    pub(crate) away: Option<Arc<str>>,
}

/// The stores of this process.
pub(crate) fn stores() -> Vec<StoreState> {
    let engines: Vec<_> = unpoisoned(ENGINES.lock()).iter().filter_map(Weak::upgrade).collect();
    engines.iter().map(|engine| engine.state()).collect()
}

/// Returns when all breakers over that store have told what they have to tell. Those are the breakers of this process
/// that share their state over it, and they know the newest then. It also returns when the store is found to be away,
/// or when no thread could be had to talk to it: for shutdown.
///
/// # Cancel safety
///
/// Dropping the future only ends the waiting.
///
/// ```
/// use std::sync::Arc;
/// use fusebox::{fleet, CircuitBreaker, CircuitBreakerConfig, store::{MemoryStore, Store}};
///
/// # tokio_test::block_on(async {
/// let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
/// let breaker = |name: &str| CircuitBreakerConfig::builder(name).store(store.clone()).build().map(CircuitBreaker::new);
/// let (payments, invoices) = (breaker("payments")?, breaker("invoices")?);
/// payments.acquire()?.failure();
/// invoices.acquire()?.failure();
/// fleet::flush(&store).await;
/// assert!([payments, invoices].iter().all(|breaker| breaker.snapshot().fleet.unwrap().waiting == 0));
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub async fn flush(store: &Arc<dyn Store>) {
    if let Some(engine) = Engine::find(store) {
        engine.flush(None).await;
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.send(Message::Stop);
    }
}

/// What an engine's thread begins with.
struct Start {
    store: Arc<dyn Store>,
    messages: UnboundedSender<Message>,
    unread: Unread,
    pulse: Arc<Pulse>,
    #[cfg(feature = "counts")]
    operations: Arc<OperationCounter>,
}

/// Says that the thread has ended, however it did.
struct Ending(Arc<Pulse>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Start {
    fn run(self) {
        let Self { store, messages: thread, unread, .. } = self;
        let ending = Ending(self.pulse);
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                // Out of descriptors, mostly. What is unread stays for the next thread.
                ending.0.fail(format!("no runtime can be had to talk to the store: {error}"));
                return;
            }
        };
        let Some(messages) = unpoisoned(unread.lock()).take() else {
            return;
        };
        let inside = runtime.enter();
        let name: Arc<str> = guarded(|| store.describe()).unwrap_or_else(|| "a store".to_owned()).into();
        #[cfg(feature = "counts")]
        self.operations.name(&name);
        let mut scheduler = Scheduler::new(name, fresh_seed(), system_now());
        // Within the runtime, where stores begin to listen. A store is a user's code: without its notices, polls find
        // what has changed.
        let notices = guarded(|| {
            let notices = store.watch();
            (notices.size_hint().1 == Some(0), notices)
        });
        drop(inside);
        let (is_mute, notices) = notices.unwrap_or_else(|| (false, never_notices()));
        if is_mute {
            scheduler.expect_no_notices();
        }
        let pulse = Arc::clone(&ending.0);
        let now = system_now();
        let waiters = HashMap::new();
        let mut running = Running {
            store,
            scheduler,
            thread,
            messages,
            notices,
            waiters,
            next_waiter: 0,
            stops: false,
            pulse,
            jumps: Jumps::new(now, wall_time()),
            hears: (MOST_NOTICES, now),
            #[cfg(feature = "counts")]
            operations: self.operations,
        };
        // What panics here is a fault of this crate: it costs what was on its way, and not the engine.
        while guarded(|| runtime.block_on(running.run())).is_none() {
            let now = system_now();
            guarded(|| running.scheduler.begin_again(now));
            // Where it panics again at once, that must not be all that the process does.
            sleep_blocking(PAUSE);
        }
        drop(running);
        runtime.shutdown_timeout(SHUTDOWN_TIME);
    }
}

struct Running {
    store: Arc<dyn Store>,
    scheduler: Scheduler,
    /// Answers of the store come back this way.
    thread: UnboundedSender<Message>,
    messages: UnboundedReceiver<Message>,
    notices: Notices,
    waiters: HashMap<u64, Arc<Flush>>,
    next_waiter: u64,
    stops: bool,
    pulse: Arc<Pulse>,
    jumps: Jumps,
    /// How many more notices are heard until then.
    hears: (u32, Timestamp),
    #[cfg(feature = "counts")]
    operations: Arc<OperationCounter>,
}

/// A store that tells of more than that in a second is a user's, and tells nothing: polls find what has changed.
const MOST_NOTICES: u32 = 20_000;

/// What has happened.
enum Happened {
    Message(Message),
    Noticed(Notice),
    Time,
}

impl Running {
    async fn run(&mut self) {
        loop {
            self.pulse.beat();
            self.tell_of_outages();
            let now = system_now();
            if self.jumps.notice(now, wall_time()) {
                self.scheduler.renew_writers(identity::random, now);
            }
            if now >= self.hears.1 {
                self.hears = (MOST_NOTICES, now + LONGEST_SLEEP);
            }
            while let Some(ask) = self.scheduler.next(now) {
                self.ask(ask);
            }
            for waiter in self.scheduler.flushed() {
                if let Some(flush) = self.waiters.remove(&waiter) {
                    flush.end();
                }
            }
            if self.stops && self.scheduler.is_done() {
                return;
            }
            match self.happening().await {
                Happened::Message(message) => {
                    self.take_in(message);
                    // Not all, however many there are: what they ask for goes out meanwhile.
                    for _ in 1..MESSAGES_AT_ONCE {
                        let Ok(message) = self.messages.try_recv() else {
                            break;
                        };
                        self.take_in(message);
                    }
                }
                Happened::Noticed(notice) => {
                    let now = system_now();
                    self.hears.0 = self.hears.0.saturating_sub(1);
                    let is_flood = self.hears.0 == 0;
                    self.scheduler.noticed(if is_flood { &Notice::Lagged } else { &notice }, now);
                }
                Happened::Time => {}
            }
        }
    }

    fn tell_of_outages(&self) {
        let outage = self.scheduler.health.down().map(|down| &down.outage);
        #[cfg_attr(not(feature = "counts"), expect(unused_variables, reason = "outages are counted with a feature"))]
        let is_news = self.pulse.tell(outage);
        #[cfg(feature = "counts")]
        if is_news && outage.is_some() {
            self.operations.went_away();
        }
    }

    fn take_in(&mut self, message: Message) {
        let now = system_now();
        match message {
            Message::Join(member) => self.scheduler.join(member, now),
            Message::Depart(departed) => self.scheduler.depart(departed, now),
            Message::Wake(id, wake) => self.scheduler.wake(id, wake, now),
            Message::Flush(id, flush) => {
                self.next_waiter += 1;
                self.waiters.insert(self.next_waiter, flush);
                match id {
                    Some(id) => self.scheduler.flush(id, self.next_waiter, now),
                    None => self.scheduler.flush_all(self.next_waiter, now),
                }
            }
            Message::Loaded(lane, answers) => self.scheduler.loaded(lane, &answers, now),
            Message::Committed(id, answer) => self.scheduler.committed(id, &answer, now),
            Message::Changed(answer) => self.scheduler.changed(&answer, now),
            Message::Stop => self.stops = true,
        }
    }

    fn ask(&self, ask: Ask) {
        let (store, thread) = (Arc::clone(&self.store), self.thread.clone());
        #[cfg(feature = "counts")]
        let (operations, began) = (Arc::clone(&self.operations), system_now());
        tokio::spawn(async move {
            let message = match ask {
                Ask::Load(lane, ids, keys) => {
                    let load =
                        async move { Ok(store.load_each(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await) };
                    Message::Loaded(lane, for_each(&ids, in_time(load).await))
                }
                Ask::Changes(since) => {
                    let changes = async move { store.changes(since.as_ref()).await };
                    Message::Changed(Box::new(in_time(changes).await.map_err(StoreError::into_own)))
                }
                Ask::Commit(id, key, commit) => {
                    let commit = async move { store.commit(&key, *commit).await };
                    Message::Committed(id, Box::new(in_time(commit).await.map_err(StoreError::into_own)))
                }
            };
            #[cfg(feature = "counts")]
            if let Some((operation, result)) = came_of(&message) {
                operations.answered(operation, result, system_now().since(began));
            }
            thread.send(message).ok();
        });
    }

    async fn happening(&mut self) -> Happened {
        let wait = self.scheduler.wake_at().map_or(LONGEST_SLEEP, |at| at.since(system_now())).min(LONGEST_SLEEP);
        let mut timer = pin!(tokio::time::sleep_until(timer_now() + wait));
        poll_fn(|cx| {
            if let Poll::Ready(Some(message)) = self.messages.poll_recv(cx) {
                return Poll::Ready(Happened::Message(message));
            }
            if self.hears.0 > 0 {
                match self.poll_notices(cx) {
                    Poll::Ready(Some(notice)) => return Poll::Ready(Happened::Noticed(notice)),
                    Poll::Ready(None) => self.hear_no_more(),
                    Poll::Pending => {}
                }
            }
            timer.as_mut().poll(cx).map(|()| Happened::Time)
        })
        .await
    }

    fn poll_notices(&mut self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        let notices = &mut self.notices;
        guarded(|| notices.as_mut().poll_next(cx)).unwrap_or_else(|| {
            self.hear_no_more();
            Poll::Pending
        })
    }

    /// The stream has ended, or is broken. Dropping it is a user's code as well.
    fn hear_no_more(&mut self) {
        let ended = std::mem::replace(&mut self.notices, never_notices());
        guarded(|| drop(ended));
    }
}

/// What was asked of the store, and what came of it.
#[cfg(feature = "counts")]
fn came_of(message: &Message) -> Option<(Operation, &'static str)> {
    match message {
        Message::Loaded(_, answers) => Some((Operation::Load, operation_counts::of_load(answers))),
        Message::Changed(answer) => Some((Operation::Changes, operation_counts::of_changes(answer))),
        Message::Committed(_, answer) => Some((Operation::Commit, operation_counts::of_commit(answer))),
        _ => None,
    }
}

/// The answers to a load, whatever it was that came: a store may be a user's.
fn for_each(
    ids: &[MemberId],
    came: Result<Vec<Result<Stored, StoreError>>, StoreError>,
) -> Vec<(MemberId, Result<Stored, StoreError>)> {
    let answers =
        match came.map(|answers| answers.into_iter().map(|answer| answer.map_err(StoreError::into_own)).collect()) {
            Ok(answers) if Vec::len(&answers) == ids.len() => answers,
            Ok(answers) => {
                let (asked, came) = (ids.len(), answers.len());
                let wrong = || StoreError::refused(format!("the store was asked for {asked} records and gave {came}"));
                ids.iter().map(|_| Err(wrong())).collect()
            }
            Err(error) => {
                let error = error.into_own();
                ids.iter().map(|_| Err(error.again())).collect()
            }
        };
    ids.iter().copied().zip(answers).collect()
}

/// An operation of a store, which may be a user's: in a task of its own, since one that panics has not answered.
async fn in_time<T: Send + 'static>(
    operation: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let mut task = tokio::spawn(operation);
    match tokio::time::timeout(OPERATION_TIMEOUT, &mut task).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(panicked)) => Err(StoreError::no_answer(panicked)),
        Err(late) => {
            task.abort();
            Err(StoreError::no_answer(late))
        }
    }
}
