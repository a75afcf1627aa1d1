//! The thread that talks to a store: blocked, dead, never started, or of another process.

use std::process::Command;
use std::sync::Condvar;
use std::time::Duration;

use fusebox::Permit;
use fusebox::store::Notice;

use super::*;

/// A door that a test opens.
#[derive(Clone, Debug, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().expect("locks") = true;
        self.0.1.notify_all();
    }

    /// Blocks the thread, as a user's code should not.
    fn wait(&self) {
        let guard = self.0.0.lock().expect("locks");
        drop(self.0.1.wait_timeout_while(guard, Duration::from_secs(60), |is_open| !*is_open).expect("waits"));
    }
}

/// What blocks the engine's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Load,
    Commit,
    Changes,
    Watch,
    Listener,
}

#[derive(Debug)]
struct Blocking {
    inner: MemoryStore,
    at: Where,
    is_closed: std::sync::atomic::AtomicBool,
    door: Door,
}

impl Blocking {
    fn pass(&self, at: Where) {
        if self.at == at && self.is_closed.load(Ordering::SeqCst) {
            self.door.wait();
        }
    }
}

impl Store for Blocking {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            self.pass(Where::Load);
            self.inner.load(keys).await
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            self.pass(Where::Commit);
            self.inner.commit(key, commit).await
        })
    }

    fn changes<'a>(&'a self, since: Option<&'a Bytes>) -> StoreFuture<'a, fusebox::store::Changes> {
        Box::pin(async move {
            self.pass(Where::Changes);
            self.inner.changes(since).await
        })
    }

    fn watch(&self) -> Notices {
        self.pass(Where::Watch);
        self.inner.watch()
    }
}

fn config(name: &str, store: &Arc<dyn Store>, cooldown: u64) -> CircuitBreakerConfigBuilder {
    let detector = detect::failures(3).within(secs(60));
    CircuitBreakerConfig::builder(name).detector(detector).cooldown(ms(cooldown)).store(store.clone())
}

#[tokio::test]
async fn where_the_engine_stands_still_breakers_go_on_by_themselves_and_say_so() {
    for at in [Where::Load, Where::Commit, Where::Changes, Where::Watch, Where::Listener] {
        let door = Door::default();
        let is_closed = (at == Where::Watch).into();
        let blocking = Arc::new(Blocking { inner: MemoryStore::new(), at, is_closed, door: door.clone() });
        let store: Arc<dyn Store> = blocking.clone();
        let events: Record<Event> = Record::default();
        let list = events.clone();
        let b = config("b", &store, 200).on_event(move |event| list.add(event.clone()));
        let b = CircuitBreaker::new(b.build().expect("builds"));
        let is_at_listener = at == Where::Listener;
        let blocked = door.clone();
        let a = config("a", &store, 200).on_state_change(move |_, _, _| {
            if is_at_listener && std::thread::current().name() == Some("fusebox-fleet") {
                blocked.wait();
            }
        });
        let a = CircuitBreaker::new(a.build().expect("builds"));
        if at != Where::Watch {
            a.flush().await;
            b.flush().await;
        }
        blocking.is_closed.store(true, Ordering::SeqCst);
        if is_at_listener {
            // Another instance opens it, so that it is opened here by the engine.
            let other =
                CircuitBreakerConfig::builder("a").store(Arc::new(blocking.inner.clone())).build().expect("builds");
            let other = CircuitBreaker::new(other);
            other.trip().expect("no override");
            other.flush().await;
        } else {
            fail(&a, 1);
        }
        tokio::time::sleep(secs(1)).await;
        // It is known within a few polls, and then b opens and recovers as a breaker without a store does.
        let started = support::timer_now();
        until(&format!("{at:?}: it is known"), || {
            b.acquire().map(Permit::failure).ok();
            b.snapshot().fleet.is_some_and(|fleet| fleet.away.is_some())
        })
        .await;
        assert!(support::timer_now() - started < secs(8), "{at:?}");
        let told: Vec<_> = events.take().into_iter().filter(|event| event.kind() == EventKind::StoreDegraded).collect();
        assert_eq!(told.len(), 1, "{at:?}: {told:?}");
        assert!(told[0].to_string().contains("stands still"), "{}", told[0]);
        until("it opens by itself", || {
            b.acquire().map(Permit::failure).ok();
            b.is_open()
        })
        .await;
        until("it recovers by itself", || {
            b.acquire().map(Permit::success).ok();
            b.state() == State::Closed
        })
        .await;
        tokio::time::timeout(secs(10), b.flush()).await.expect("a flush returns");
        tokio::time::timeout(secs(10), fusebox::fleet::flush(&store)).await.expect("a flush of all returns");
        // And when the thread goes on, it is one of the fleet again.
        blocking.is_closed.store(false, Ordering::SeqCst);
        door.open();
        until("it is back", || b.snapshot().fleet.is_some_and(|fleet| fleet.away.is_none())).await;
        until("it is told", || kinds(&events.take(), |kind| kind == EventKind::StoreRecovered) == 1).await;
    }
}

/// Tells of changes without end.
#[derive(Debug)]
struct Chatty(MemoryStore);

impl Store for Chatty {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.0.load(keys)
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.0.commit(key, commit)
    }

    fn watch(&self) -> Notices {
        Box::pin(futures::stream::repeat(Notice::Lagged))
    }
}

#[tokio::test]
async fn a_store_whose_notices_never_end_holds_up_no_flush() {
    let store: Arc<dyn Store> = Arc::new(Chatty(MemoryStore::new()));
    let breaker = CircuitBreaker::new(config("a", &store, 30_000).build().expect("builds"));
    for _ in 0..10 {
        fail(&breaker, 1);
        tokio::time::timeout(secs(5), breaker.flush()).await.expect("a flush returns");
        if breaker.is_open() {
            return;
        }
    }
    panic!("it does not open");
}

#[tokio::test]
async fn three_breakers_of_one_name_with_engines_of_their_own_are_three_voices() {
    let inner = MemoryStore::new();
    let breakers = [0; 3].map(|_| {
        let store: Arc<dyn Store> = Arc::new(inner.clone());
        CircuitBreaker::new(config("payments", &store, 30_000).fleet(Fleet::votes(2)).build().expect("builds"))
    });
    for breaker in &breakers {
        breaker.flush().await;
    }
    for breaker in &breakers[..2] {
        fail(breaker, 3);
        breaker.flush().await;
    }
    breakers[2].flush().await;
    assert_eq!(breakers.each_ref().map(CircuitBreaker::state), [State::Open; 3]);
}

/// In a process that has no descriptors left, and later has.
#[cfg(unix)]
#[test]
#[expect(clippy::disallowed_methods, reason = "no runtime can be had either")]
fn an_engine_that_could_not_be_started_is_started_when_it_can() {
    const CHILD: &str = "FUSEBOX_TEST_NO_THREADS";
    if std::env::var_os(CHILD).is_none() {
        let name = "engine::an_engine_that_could_not_be_started_is_started_when_it_can";
        let program = std::env::current_exe().expect("this program");
        let child = Command::new("sh")
            .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""])
            .arg(program)
            .args(["--exact", name, "--nocapture", "--test-threads=1"])
            .env(CHILD, "1")
            .output()
            .expect("runs");
        let said = String::from_utf8_lossy(&child.stderr);
        assert!(child.status.success(), "{said}");
        return;
    }
    // The engine's runtime needs descriptors, and there is none left.
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
    let breaker = CircuitBreaker::new(config("a", &store, 30_000).build().expect("builds"));
    let deadline = std::time::Instant::now() + Duration::from_secs(20);
    while breaker.snapshot().fleet.is_none_or(|fleet| fleet.away.is_none()) {
        assert!(std::time::Instant::now() < deadline, "it is not known that no engine runs");
        breaker.acquire().map(Permit::success).ok();
        std::thread::sleep(Duration::from_millis(50));
    }
    futures::executor::block_on(breaker.flush());
    drop(files);
    while breaker.snapshot().fleet.is_none_or(|fleet| fleet.away.is_some()) {
        assert!(std::time::Instant::now() < deadline, "it is not started again");
        std::thread::sleep(Duration::from_millis(50));
    }
    futures::executor::block_on(breaker.flush());
    let other = config("b", &store, 30_000).build().expect("builds");
    futures::executor::block_on(CircuitBreaker::new(other).flush());
}
