//! Code of users on the engine's thread: whatever it does, the engine goes on.

use std::panic::panic_any;
use std::pin::Pin;
use std::process::Command;
use std::task::{Context, Poll, Wake, Waker};

use fusebox::store::Notice;
use fusebox::{
    Clock, Permit,
    clock::Timestamp,
    detect::{Call, Detector, LoadError, Tally},
};
use futures::Stream;

use super::*;

/// Panics on the thread of an engine, and nowhere else.
fn panic_on_the_engine(what: &str) {
    if std::thread::current().name() == Some("fusebox-fleet") {
        panic!("{what} panics");
    }
}

/// The method of a detector that panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Record,
    RecordSuccesses,
    Verdict,
    Reset,
    Tally,
    Save,
    Load,
    AbsorbsSuccess,
    Drop,
}

/// Three failures, in whatever order calls come; one method panics on the engine's thread.
#[derive(Clone)]
struct Panics {
    method: Method,
    failures: u64,
}

/// Instances judge by the same rule, whatever they have seen.
impl std::fmt::Debug for Panics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("three failures")
    }
}

impl Panics {
    const fn new(method: Method) -> Self {
        Self { method, failures: 0 }
    }

    fn in_method(&self, method: Method) {
        if self.method == method {
            panic_on_the_engine(&format!("{method:?}"));
        }
    }
}

impl Detector for Panics {
    fn record(&mut self, call: &Call) {
        self.in_method(Method::Record);
        self.failures += u64::from(call.failed());
    }

    fn record_successes(&mut self, _count: u64, _at: Timestamp) {
        self.in_method(Method::RecordSuccesses);
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        self.in_method(Method::Verdict);
        self.failures >= 3
    }

    fn reset(&mut self) {
        self.in_method(Method::Reset);
        self.failures = 0;
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        self.in_method(Method::Tally);
        Tally::failures(self.failures)
    }

    fn save(&self) -> Vec<u8> {
        self.in_method(Method::Save);
        self.failures.to_le_bytes().into()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.in_method(Method::Load);
        let bytes = bytes.try_into().map_err(|_| LoadError::new("expected eight bytes"))?;
        self.failures = u64::from_le_bytes(bytes);
        Ok(())
    }

    fn absorbs_success(&self) -> bool {
        self.in_method(Method::AbsorbsSuccess);
        false
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        self.in_method(Method::Drop);
    }
}

/// A flush that must return.
async fn flushed(breaker: &CircuitBreaker) {
    tokio::time::timeout(secs(10), breaker.flush()).await.expect("flush returns");
}

/// Two more breakers of a store's engine. It lives while they do: one that ended is not replaced without being found out.
struct Bystanders {
    one: CircuitBreaker,
    other: CircuitBreaker,
}

impl Bystanders {
    fn of(store: &Arc<dyn Store>) -> Self {
        let breaker = || {
            let config = CircuitBreakerConfig::builder("bystander").detector(detect::failures(2).within(secs(60)));
            CircuitBreaker::new(config.store(store.clone()).build().expect("valid"))
        };
        Self { one: breaker(), other: breaker() }
    }

    /// The engine still works: a breaker of it opens with its fleet.
    async fn assert_engine_works(&self) {
        let Self { one, other } = self;
        flushed(one).await;
        flushed(other).await;
        fail(one, 2);
        flushed(one).await;
        until("the other one follows", || other.state() == State::Open).await;
        assert_eq!(other.snapshot().scope, StateScope::Fleet);
        one.reset().expect("no override");
        flushed(one).await;
        until("the other one follows", || other.state() == State::Closed).await;
    }
}

#[tokio::test]
async fn c59_a_detector_that_panics_is_told_of_and_ends_no_engine() {
    use Method::{AbsorbsSuccess, Load, Record as InRecord, RecordSuccesses, Reset, Save, Tally, Verdict};
    for method in [InRecord, RecordSuccesses, Verdict, Reset, Tally, Save, Load, AbsorbsSuccess, Method::Drop] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let bystanders = Bystanders::of(&store);
        let events = Record::default();
        let list = events.clone();
        let instance = |list: Record<Event>| {
            let config = CircuitBreakerConfig::builder("test").detector(Panics::new(method));
            let config = config.store(store.clone()).on_event(move |event: &Event| list.add(event.clone()));
            CircuitBreaker::new(config.build().expect("valid"))
        };
        let (one, other) = (instance(list.clone()), instance(list));
        flushed(&one).await;
        flushed(&other).await;
        // It may open on the way, or never: what its detector says while it panics is not known.
        for breaker in [&one, &one, &other, &one, &other] {
            breaker.acquire().into_iter().for_each(Permit::success);
            breaker.acquire().into_iter().for_each(Permit::failure);
            flushed(breaker).await;
        }
        // Those two are asked outside the guard's reach of a fact: the breaker goes on as if they had said nothing.
        if !matches!(method, AbsorbsSuccess | Method::Drop) {
            until("it is told", || events.all().iter().any(|event| event.kind() == EventKind::DetectorPanicked)).await;
        }
        drop((one, other));
        bystanders.assert_engine_works().await;
    }
}

/// A clock that panics on the engine's thread.
#[derive(Clone, Debug)]
struct PanickingClock(ManualClock);

impl Clock for PanickingClock {
    fn now(&self) -> Timestamp {
        panic_on_the_engine("the clock");
        self.0.now()
    }
}

#[tokio::test]
async fn a_clock_that_panics_ends_no_engine_and_its_breaker_still_follows_the_fleet() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bystanders = Bystanders::of(&store);
    let instance = || {
        let config = CircuitBreakerConfig::builder("test").detector(detect::failures(2).within(secs(60)));
        let config = config.store(store.clone()).clock(PanickingClock(ManualClock::new()));
        CircuitBreaker::new(config.build().expect("valid"))
    };
    let (one, other) = (instance(), instance());
    flushed(&one).await;
    flushed(&other).await;
    fail(&one, 2);
    flushed(&one).await;
    until("the other one follows", || other.state() == State::Open).await;
    drop((one, other));
    bystanders.assert_engine_works().await;
}

/// What a panic carries, and what panics again when it is dropped.
struct Bomb;

impl Bomb {
    /// As a listener that owns one.
    fn listen(&self) {
        let Self = self;
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        panic_on_the_engine("the payload");
    }
}

/// A reader whose waker panics.
struct PanickingWaker;

impl Wake for PanickingWaker {
    fn wake(self: Arc<Self>) {
        panic_on_the_engine("the waker");
    }
}

#[tokio::test]
async fn listeners_and_wakers_that_panic_end_no_engine_and_later_events_are_told() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let bystanders = Bystanders::of(&store);
    let events = Record::default();
    let list = events.clone();
    let config = CircuitBreakerConfig::builder("test")
        .store(store.clone())
        .on_event(|_| {
            if std::thread::current().name() == Some("fusebox-fleet") {
                panic_any(Bomb);
            }
        })
        .on_event(move |event: &Event| list.add(event.clone()));
    let one = CircuitBreaker::new(config.build().expect("valid"));
    let other = CircuitBreaker::new(CircuitBreakerConfig::builder("test").store(store.clone()).build().expect("valid"));
    let (mut reader, waker) = (Box::pin(one.events()), Waker::from(Arc::new(PanickingWaker)));
    assert!(reader.as_mut().poll_next(&mut Context::from_waker(&waker)).is_pending());
    flushed(&one).await;
    flushed(&other).await;
    for _ in 0..2 {
        other.trip().expect("no override");
        flushed(&other).await;
        until("it follows", || one.state() == State::Open).await;
        other.reset().expect("no override");
        flushed(&other).await;
        until("it follows", || one.state() == State::Closed).await;
    }
    let changes = || kinds(&events.all(), |kind| matches!(kind, EventKind::StateChanged { .. }));
    until("all four changes are told", || changes() == 4).await;
    let mut flush = Box::pin(one.flush());
    // One that is over before it is polled wakes no caller.
    while flush.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
        flush = Box::pin(one.flush());
    }
    bystanders.assert_engine_works().await;
    flush.await;
}

/// What a store does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrong {
    Load,
    LoadLater,
    Commit,
    Watch,
    Notices,
    Error,
    DroppedError,
    CommitError,
    DroppedCommitError,
}

/// A store that panics, the first few times.
#[derive(Debug)]
struct PanickingStore {
    inner: MemoryStore,
    wrong: Wrong,
    left: AtomicUsize,
}

/// An error that panics when it is shown.
#[derive(Debug)]
struct PanickingError;

impl std::fmt::Display for PanickingError {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic_on_the_engine("the error");
        Ok(())
    }
}

impl std::error::Error for PanickingError {}

/// An error that panics when it is dropped.
#[derive(Debug)]
struct PanickingDrop;

impl std::fmt::Display for PanickingDrop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no luck")
    }
}

impl std::error::Error for PanickingDrop {}

impl Drop for PanickingDrop {
    fn drop(&mut self) {
        panic_on_the_engine("dropping the error");
    }
}

/// A stream of notices that panics, also when it is dropped.
struct PanickingNotices;

impl Drop for PanickingNotices {
    fn drop(&mut self) {
        panic_on_the_engine("dropping the notices");
    }
}

impl Stream for PanickingNotices {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        panic!("the notices panic");
    }
}

impl PanickingStore {
    fn goes_wrong(&self, wrong: Wrong) -> bool {
        let one_less = |left: usize| left.checked_sub(1);
        self.wrong == wrong && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

impl Store for PanickingStore {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        assert!(!self.goes_wrong(Wrong::Load), "the load panics");
        if self.goes_wrong(Wrong::Error) {
            return Box::pin(ready(Err(StoreError::unreachable(PanickingError))));
        }
        if self.goes_wrong(Wrong::DroppedError) {
            return Box::pin(ready(Err(StoreError::unreachable(PanickingDrop))));
        }
        Box::pin(async move {
            assert!(!self.goes_wrong(Wrong::LoadLater), "the load panics later");
            self.inner.load(keys).await
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        assert!(!self.goes_wrong(Wrong::Commit), "the commit panics");
        if self.goes_wrong(Wrong::CommitError) {
            return Box::pin(ready(Err(StoreError::no_answer(PanickingError))));
        }
        if self.goes_wrong(Wrong::DroppedCommitError) {
            return Box::pin(ready(Err(StoreError::no_answer(PanickingDrop))));
        }
        self.inner.commit(key, commit)
    }

    fn watch(&self) -> Notices {
        match self.wrong {
            Wrong::Watch => panic!("watching panics"),
            Wrong::Notices => Box::pin(PanickingNotices),
            _ => self.inner.watch(),
        }
    }
}

#[tokio::test]
async fn a_store_that_panics_is_one_that_does_not_answer() {
    use Wrong::{Commit, CommitError, DroppedCommitError, DroppedError, Error, Load, LoadLater, Notices, Watch};
    for wrong in [Load, LoadLater, Commit, Watch, Notices, Error, DroppedError, CommitError, DroppedCommitError] {
        let store = PanickingStore { inner: MemoryStore::new(), wrong, left: AtomicUsize::new(4) };
        let store: Arc<dyn Store> = Arc::new(store);
        let bystanders = Bystanders::of(&store);
        let breaker =
            CircuitBreaker::new(CircuitBreakerConfig::builder("test").store(store.clone()).build().expect("valid"));
        fail(&breaker, 1);
        until("the store is found", || {
            let fleet = breaker.snapshot().fleet.expect("a fleet");
            fleet.away.is_none() && fleet.generation.is_some() && fleet.waiting == 0
        })
        .await;
        flushed(&breaker).await;
        bystanders.assert_engine_works().await;
    }
}

#[tokio::test]
async fn what_a_dropped_breaker_leaves_may_panic_when_it_goes() {
    let store = PanickingStore { inner: MemoryStore::new(), wrong: Wrong::Load, left: AtomicUsize::new(0) };
    let panicking = Arc::new(store);
    let store: Arc<dyn Store> = panicking.clone();
    let bystanders = Bystanders::of(&store);
    // It goes when its last words are sent, or at once where there is no store to send them to.
    for is_away in [false, true] {
        let (bomb, config) = (Bomb, CircuitBreakerConfig::builder("test").detector(Panics::new(Method::Drop)));
        let config = config.store(store.clone()).on_event(move |_| bomb.listen());
        let breaker = CircuitBreaker::new(config.build().expect("valid"));
        flushed(&breaker).await;
        panicking.left.store(if is_away { usize::MAX } else { 0 }, Ordering::SeqCst);
        let fleet = || breaker.snapshot().fleet.expect("a fleet");
        until("the store is found, or found to be away", || fleet().away.is_some() == is_away).await;
        fail(&breaker, 1);
        drop(breaker);
        // A flush, so that the engine has seen it go.
        flushed(&bystanders.one).await;
        panicking.left.store(0, Ordering::SeqCst);
        bystanders.assert_engine_works().await;
    }
}

/// A commit that panics is the truth to compare with: the error of it is the engine's own.
#[tokio::test]
async fn an_instance_that_opens_by_itself_tells_so_whatever_the_stores_error_does() {
    for wrong in [Wrong::Commit, Wrong::CommitError, Wrong::DroppedCommitError] {
        let store = PanickingStore { inner: MemoryStore::new(), wrong, left: AtomicUsize::new(0) };
        let store = Arc::new(store);
        let events = Record::default();
        let list = events.clone();
        let config = CircuitBreakerConfig::builder("test").detector(detect::failures(1).within(secs(60)));
        let config = config.store(store.clone()).on_event(move |event: &Event| list.add(event.clone()));
        let breaker = CircuitBreaker::new(config.build().expect("valid"));
        flushed(&breaker).await;
        store.left.store(1, Ordering::SeqCst);
        fail(&breaker, 1);
        until("it is open", || breaker.state() == State::Open).await;
        flushed(&breaker).await;
        assert_eq!(store.left.load(Ordering::SeqCst), 0, "the store went wrong");
        let opened = |kind| matches!(kind, EventKind::StateChanged { from: State::Closed, to: State::Open, .. });
        let opened = kinds(&events.all(), opened);
        assert_eq!(opened, 1, "{wrong:?}");
    }
}

/// With a stack that no machine has, no thread can be spawned: the same test, in a process that has one.
#[test]
fn a_flush_returns_where_the_engines_thread_cannot_be_spawned() {
    const CHILD: &str = "FUSEBOX_TEST_WITHOUT_THREADS";
    if std::env::var_os(CHILD).is_some() {
        assert!(std::thread::Builder::new().spawn(|| {}).is_err(), "a thread could be spawned");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
            let config = || CircuitBreakerConfig::builder("test").detector(detect::failures(2).within(secs(60)));
            let (one, other) = (config().store(store.clone()), config().store(store));
            let (one, other) = (one.build().expect("valid"), other.build().expect("valid"));
            let (one, other) = (CircuitBreaker::new(one), CircuitBreaker::new(other));
            flushed(&one).await;
            fail(&one, 2);
            flushed(&one).await;
            assert_eq!(one.state(), State::Open, "it keeps working locally");
            assert_eq!(other.state(), State::Closed);
            drop(one);
            flushed(&other).await;
        });
        return;
    }
    let this = std::env::current_exe().expect("this test");
    let name = "users_code::a_flush_returns_where_the_engines_thread_cannot_be_spawned";
    let mut child = Command::new(this);
    child.args(["--exact", name, "--nocapture"]).env(CHILD, "1").env("RUST_MIN_STACK", (1_u64 << 47).to_string());
    let output = child.output().expect("the process runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}
