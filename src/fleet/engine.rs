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

use super::scheduler::{Ask, Lane, Member, MemberId, Scheduler};
use crate::clock::{fresh_seed, system_now, timer_now};
use crate::guard::guarded;
use crate::replica::WakeUp;
use crate::store::{Changes, Committed, Notice, Notices, Store, StoreError, Stored, never_notices};
use crate::sync::unpoisoned;

/// The engine of one store: shared by all breakers of the process that use the store, gone with the last of them.
pub(crate) struct Engine {
    store: Arc<dyn Store>,
    /// To the engine's thread. Where there is none (any more), a message is dropped, and a flush in it returns.
    thread: UnboundedSender<Message>,
    next: AtomicU64,
}

/// What an engine's thread is told.
pub(crate) enum Message {
    Join {
        id: MemberId,
        member: Arc<dyn Member>,
        key: String,
    },
    /// A breaker is dropped; what it has left to say is sent, if the store takes it soon.
    Depart(MemberId, Arc<dyn Member>),
    /// A step of a breaker wants its replica looked at.
    Wake(MemberId, WakeUp),
    Flush(MemberId, oneshot::Sender<()>),
    Loaded(Lane, Vec<(MemberId, Result<Stored, StoreError>)>),
    Committed(MemberId, Result<Committed, StoreError>),
    Changed(Result<Changes, StoreError>),
    Stop,
}

/// An operation that takes longer is given up.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(1);
/// How long what is on its way may take when the engine stops.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

static ENGINES: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

impl Engine {
    /// The engine of that store, started if it is not running.
    pub(crate) fn of(store: &Arc<dyn Store>) -> Arc<Self> {
        let mut engines = unpoisoned(ENGINES.lock());
        engines.retain(|engine| engine.strong_count() > 0);
        let known = engines.iter().filter_map(Weak::upgrade).find(|engine| Arc::ptr_eq(&engine.store, store));
        if let Some(engine) = known {
            return engine;
        }
        let (thread, messages) = unbounded_channel();
        let engine = Arc::new(Self { store: Arc::clone(store), thread: thread.clone(), next: AtomicU64::new(0) });
        engines.push(Arc::downgrade(&engine));
        drop(engines);
        let store = Arc::clone(store);
        // If the thread cannot be spawned, breakers keep working locally.
        let spawned = std::thread::Builder::new().name("fusebox-fleet".to_owned());
        spawned.spawn(move || run(store, thread, messages)).ok();
        engine
    }

    /// An id for a new member.
    pub(crate) fn next_id(&self) -> MemberId {
        MemberId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns when everything of the member's is sent and the newest is fetched, when the store is found to be away, or when
    /// no engine runs.
    pub(crate) fn flush(&self, id: MemberId) -> impl Future<Output = ()> + Send + use<> {
        let (done, wait) = oneshot::channel();
        self.send(Message::Flush(id, done));
        async move {
            wait.await.ok();
        }
    }

    pub(crate) fn send(&self, message: Message) {
        self.thread.send(message).ok();
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

fn run(store: Arc<dyn Store>, thread: UnboundedSender<Message>, messages: UnboundedReceiver<Message>) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    runtime.block_on(async {
        let name = guarded(|| store.describe()).unwrap_or_else(|| "a store".to_owned());
        let scheduler = Scheduler::new(name.into(), fresh_seed(), system_now());
        // Within the runtime, where stores begin to listen. A store is a user's code: without its notices, polls find what has
        // changed.
        let notices = guarded(|| store.watch()).unwrap_or_else(never_notices);
        let waiters = HashMap::new();
        Running { store, scheduler, thread, messages, notices, waiters, next_waiter: 0, stops: false }.run().await;
    });
    runtime.shutdown_timeout(SHUTDOWN_TIME);
}

struct Running {
    store: Arc<dyn Store>,
    scheduler: Scheduler,
    /// Answers of the store come back this way.
    thread: UnboundedSender<Message>,
    messages: UnboundedReceiver<Message>,
    notices: Notices,
    waiters: HashMap<u64, oneshot::Sender<()>>,
    next_waiter: u64,
    stops: bool,
}

/// What has happened.
enum Happened {
    Message(Message),
    Noticed(Notice),
    Time,
}

impl Running {
    async fn run(mut self) {
        loop {
            let now = system_now();
            while let Some(ask) = self.scheduler.next(now) {
                self.ask(ask);
            }
            for waiter in self.scheduler.flushed() {
                // A waker is a user's code.
                self.waiters.remove(&waiter).and_then(|done| guarded(|| done.send(())));
            }
            if self.stops && self.scheduler.is_done() {
                return;
            }
            match self.happening().await {
                Happened::Message(message) => {
                    self.take_in(message);
                    while let Ok(message) = self.messages.try_recv() {
                        self.take_in(message);
                    }
                }
                Happened::Noticed(notice) => self.scheduler.noticed(&notice, system_now()),
                Happened::Time => {}
            }
        }
    }

    fn take_in(&mut self, message: Message) {
        let now = system_now();
        match message {
            Message::Join { id, member, key } => self.scheduler.join(id, member, key, now),
            Message::Depart(id, departed) => self.scheduler.depart(id, departed, now),
            Message::Wake(id, wake) => self.scheduler.wake(id, wake, now),
            Message::Flush(id, done) => {
                self.next_waiter += 1;
                self.waiters.insert(self.next_waiter, done);
                self.scheduler.flush(id, self.next_waiter, now);
            }
            Message::Loaded(lane, answers) => self.scheduler.loaded(lane, &answers, now),
            Message::Committed(id, answer) => self.scheduler.committed(id, &answer, now),
            Message::Changed(answer) => self.scheduler.changed(&answer, now),
            Message::Stop => self.stops = true,
        }
    }

    fn ask(&self, ask: Ask) {
        let (store, thread) = (Arc::clone(&self.store), self.thread.clone());
        tokio::spawn(async move {
            let message = match ask {
                Ask::Load(lane, ids, keys) => {
                    let load =
                        async move { Ok(store.load_each(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await) };
                    Message::Loaded(lane, for_each(&ids, in_time(load).await))
                }
                Ask::Changes(since) => {
                    let changes = async move { store.changes(since.as_ref()).await };
                    Message::Changed(in_time(changes).await.map_err(StoreError::into_own))
                }
                Ask::Commit(id, key, commit) => {
                    let commit = async move { store.commit(&key, *commit).await };
                    Message::Committed(id, in_time(commit).await.map_err(StoreError::into_own))
                }
            };
            thread.send(message).ok();
        });
    }

    async fn happening(&mut self) -> Happened {
        let wait = self.scheduler.wake_at().map_or(Duration::from_secs(3_600), |at| at.since(system_now()));
        let mut timer = pin!(tokio::time::sleep_until(timer_now() + wait));
        poll_fn(|cx| {
            if let Poll::Ready(Some(message)) = self.messages.poll_recv(cx) {
                return Poll::Ready(Happened::Message(message));
            }
            if let Poll::Ready(Some(notice)) = self.poll_notices(cx) {
                return Poll::Ready(Happened::Noticed(notice));
            }
            timer.as_mut().poll(cx).map(|()| Happened::Time)
        })
        .await
    }

    fn poll_notices(&mut self, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        let notices = &mut self.notices;
        guarded(|| notices.as_mut().poll_next(cx)).unwrap_or_else(|| {
            let broken = std::mem::replace(&mut self.notices, never_notices());
            guarded(|| drop(broken));
            Poll::Pending
        })
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
