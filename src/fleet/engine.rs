//! The thread on which a store is talked to.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::task::{Id, JoinSet};

use super::core::{Ask, Core};
use super::member::{Member, MemberId};
use crate::clock::{fresh_seed, system_now, timer_now};
use crate::store::{Committed, Notices, Store, StoreError, Stored};

/// The engine of one store: shared by all breakers of the process that use the store, gone with the last of them.
pub(crate) struct Engine {
    store: Arc<dyn Store>,
    mail: Arc<Mailbox>,
    next: AtomicU64,
}

#[derive(Default)]
struct Mailbox {
    letters: Mutex<Vec<Letter>>,
    arrived: Notify,
}

enum Letter {
    Join { id: MemberId, member: Arc<dyn Member>, key: String, flush_interval: Duration },
    Depart(MemberId, Arc<dyn Member>),
    Ring(MemberId),
    Flush(MemberId, oneshot::Sender<()>),
    Stop,
}

/// An operation that takes longer is given up.
const TIMEOUT: Duration = Duration::from_secs(1);
/// How long what is on its way may take when the engine stops.
const PARTING: Duration = Duration::from_secs(1);

static ENGINES: Mutex<Vec<Weak<Engine>>> = Mutex::new(Vec::new());

impl Mailbox {
    fn send(&self, letter: Letter) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
        self.arrived.notify_one();
    }

    fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine {
    /// The engine of that store, started if it is not running.
    pub(crate) fn of(store: &Arc<dyn Store>) -> Arc<Self> {
        let mut engines = ENGINES.lock().unwrap_or_else(PoisonError::into_inner);
        engines.retain(|engine| engine.strong_count() > 0);
        let known = engines.iter().filter_map(Weak::upgrade).find(|engine| Arc::ptr_eq(&engine.store, store));
        if let Some(engine) = known {
            return engine;
        }
        let mail = Arc::<Mailbox>::default();
        let engine = Arc::new(Self { store: Arc::clone(store), mail: Arc::clone(&mail), next: AtomicU64::new(0) });
        engines.push(Arc::downgrade(&engine));
        drop(engines);
        let store = Arc::clone(store);
        // Where no thread is to be had the breakers stay on their own, as they are while a store is away.
        let thread = std::thread::Builder::new().name("fusebox-fleet".to_owned());
        thread.spawn(move || run(&store, &mail)).ok();
        engine
    }

    /// An id for a new member.
    pub(crate) fn next_id(&self) -> MemberId {
        MemberId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn join(&self, id: MemberId, member: Arc<dyn Member>, key: String, flush_interval: Duration) {
        self.mail.send(Letter::Join { id, member, key, flush_interval });
    }

    /// A member leaves; what it has left to say is sent, if the store takes it soon.
    pub(crate) fn depart(&self, id: MemberId, departed: Arc<dyn Member>) {
        self.mail.send(Letter::Depart(id, departed));
    }

    pub(crate) fn ring(&self, id: MemberId) {
        self.mail.send(Letter::Ring(id));
    }

    /// Returns when everything of the member's is sent and the newest is fetched, or the store is found to be away.
    pub(crate) fn flush(&self, id: MemberId) -> impl Future<Output = ()> + Send + use<> {
        let (done, wait) = oneshot::channel();
        self.mail.send(Letter::Flush(id, done));
        async move {
            // Dropped unanswered: the engine is gone, and with it all that could be sent.
            wait.await.ok();
        }
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.mail.send(Letter::Stop);
    }
}

/// What has happened.
enum Happened {
    Mail,
    Answered(Answer),
    Noticed(crate::store::Notice),
    Time,
}

enum Asked {
    Load(Vec<MemberId>),
    Commit(MemberId),
}

enum Answer {
    Loaded(Vec<MemberId>, Result<Vec<Stored>, StoreError>),
    Committed(MemberId, Result<Committed, StoreError>),
}

fn run(store: &Arc<dyn Store>, mail: &Mailbox) {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return;
    };
    // Within the runtime, where stores begin to listen.
    runtime.block_on(async { Running::new(store).run(mail).await });
    runtime.shutdown_timeout(PARTING);
}

struct Running {
    store: Arc<dyn Store>,
    core: Core,
    answers: JoinSet<Answer>,
    /// What each operation on its way was asked for, should it panic.
    asked: HashMap<Id, Asked>,
    notices: Notices,
    waiters: HashMap<u64, oneshot::Sender<()>>,
    next_waiter: u64,
    stops: bool,
}

impl Running {
    fn new(store: &Arc<dyn Store>) -> Self {
        Self {
            store: Arc::clone(store),
            core: Core::new(fresh_seed(), system_now()),
            answers: JoinSet::new(),
            asked: HashMap::new(),
            notices: store.watch(),
            waiters: HashMap::new(),
            next_waiter: 0,
            stops: false,
        }
    }

    async fn run(mut self, mail: &Mailbox) {
        loop {
            let now = system_now();
            while let Some(ask) = self.core.next(now) {
                self.ask(ask);
            }
            for waiter in self.core.flushed() {
                self.waiters.remove(&waiter).map(|done| done.send(()).ok());
            }
            if self.stops && self.core.is_empty() && self.answers.is_empty() {
                return;
            }
            match self.happening(mail).await {
                Happened::Mail => mail.take().into_iter().for_each(|letter| self.open(letter)),
                Happened::Answered(Answer::Loaded(ids, answer)) => self.core.loaded(&ids, answer, system_now()),
                Happened::Answered(Answer::Committed(id, answer)) => self.core.committed(id, answer, system_now()),
                Happened::Noticed(notice) => self.core.noticed(&notice, system_now()),
                Happened::Time => {}
            }
        }
    }

    fn open(&mut self, letter: Letter) {
        let now = system_now();
        match letter {
            Letter::Join { id, member, key, flush_interval } => {
                self.core.join(id, (member, key), (fresh_seed(), flush_interval), now);
            }
            Letter::Depart(id, departed) => self.core.depart(id, departed, now),
            Letter::Ring(id) => self.core.ring(id, now),
            Letter::Flush(id, done) => {
                self.next_waiter += 1;
                self.waiters.insert(self.next_waiter, done);
                self.core.flush(id, self.next_waiter, now);
            }
            Letter::Stop => self.stops = true,
        }
    }

    fn ask(&mut self, ask: Ask) {
        let store = Arc::clone(&self.store);
        let (task, asked) = match ask {
            Ask::Load(ids, keys) => {
                let asked = Asked::Load(ids.clone());
                let task = self.answers.spawn(async move {
                    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                    let answer = in_time(store.load(&keys)).await;
                    Answer::Loaded(ids, answer)
                });
                (task, asked)
            }
            Ask::Commit(id, key, commit) => {
                let task = self.answers.spawn(async move {
                    let answer = in_time(store.commit(&key, *commit)).await;
                    Answer::Committed(id, answer)
                });
                (task, Asked::Commit(id))
            }
        };
        self.asked.insert(task.id(), asked);
    }

    /// The next answer; a store that panics has not answered.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        match self.answers.poll_join_next_with_id(cx) {
            Poll::Ready(Some(Ok((id, answer)))) => {
                self.asked.remove(&id);
                Poll::Ready(answer)
            }
            Poll::Ready(Some(Err(error))) => match self.asked.remove(&error.id()) {
                Some(Asked::Load(ids)) => Poll::Ready(Answer::Loaded(ids, Err(StoreError::no_answer(error)))),
                Some(Asked::Commit(id)) => Poll::Ready(Answer::Committed(id, Err(StoreError::no_answer(error)))),
                None => Poll::Pending,
            },
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    async fn happening(&mut self, mail: &Mailbox) -> Happened {
        let wait = self.core.wake_at().map_or(Duration::from_secs(3_600), |at| at.since(system_now()));
        let mut timer = pin!(tokio::time::sleep_until(timer_now() + wait));
        let mut arrived = pin!(mail.arrived.notified());
        poll_fn(|cx| {
            if arrived.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Happened::Mail);
            }
            if let Poll::Ready(answer) = self.poll_answer(cx) {
                return Poll::Ready(Happened::Answered(answer));
            }
            if let Poll::Ready(Some(notice)) = self.notices.as_mut().poll_next(cx) {
                return Poll::Ready(Happened::Noticed(notice));
            }
            timer.as_mut().poll(cx).map(|()| Happened::Time)
        })
        .await
    }
}

async fn in_time<T>(operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match tokio::time::timeout(TIMEOUT, operation).await {
        Ok(answer) => answer,
        Err(late) => Err(StoreError::no_answer(late)),
    }
}
