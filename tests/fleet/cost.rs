//! What very many breakers cost to which nothing happens.

use fusebox::store::{Answers, Changes, Notice};
use fusebox::{
    clock::Timestamp,
    detect::{Call, Detector, LoadError, Tally},
};
use futures::channel::mpsc::{UnboundedSender, unbounded};

use super::*;

/// A store that tells what changed, and counts what it is asked.
#[derive(Debug)]
struct Watched {
    inner: MemoryStore,
    is_away: AtomicUsize,
    operations: AtomicUsize,
    keys: AtomicUsize,
    say: Mutex<Vec<UnboundedSender<Notice>>>,
}

impl Watched {
    fn new() -> Arc<Self> {
        Self::over(MemoryStore::new())
    }

    fn over(inner: MemoryStore) -> Arc<Self> {
        let [is_away, operations, keys] = [0; 3].map(AtomicUsize::new);
        Arc::new(Self { inner, is_away, operations, keys, say: Mutex::default() })
    }

    /// Counts an operation, and fails it while the store is away.
    fn ask(&self, keys: usize) -> Result<(), StoreError> {
        self.operations.fetch_add(1, Ordering::SeqCst);
        self.keys.fetch_add(keys, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) > 0 { Err(StoreError::unreachable("it is away")) } else { Ok(()) }
    }

    fn tell(&self, notice: &Notice) {
        let say = self.say.lock().unwrap_or_else(PoisonError::into_inner);
        say.iter().for_each(|watcher| watcher.unbounded_send(notice.clone()).unwrap_or_default());
    }

    /// Operations since this was last asked, and how many keys were loaded.
    fn count(&self) -> (usize, usize) {
        (self.operations.swap(0, Ordering::SeqCst), self.keys.swap(0, Ordering::SeqCst))
    }
}

impl Store for Watched {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            self.ask(keys.len())?;
            self.inner.load(keys).await
        })
    }

    fn load_each<'a>(&'a self, keys: &'a [&'a str]) -> Answers<'a> {
        Box::pin(async move {
            match self.ask(keys.len()) {
                Ok(()) => self.inner.load_each(keys).await,
                Err(_) => keys.iter().map(|_| Err(StoreError::unreachable("it is away"))).collect(),
            }
        })
    }

    fn changes<'a>(&'a self, since: Option<&'a Bytes>) -> StoreFuture<'a, Changes> {
        Box::pin(async move {
            self.ask(0)?;
            self.inner.changes(since).await
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            self.ask(0)?;
            self.inner.commit(key, commit).await
        })
    }

    /// Says what the test says, and nothing else.
    fn watch(&self) -> Notices {
        let (say, heard) = unbounded();
        self.say.lock().unwrap_or_else(PoisonError::into_inner).push(say);
        Box::pin(heard)
    }
}

const BREAKERS: usize = 50_000;
/// Loads that all keys take.
const LOADS: usize = BREAKERS.div_ceil(256);

fn breaker(store: &Arc<Watched>, name: &str) -> CircuitBreaker {
    let store: Arc<dyn Store> = store.clone();
    CircuitBreaker::new(CircuitBreakerConfig::builder(name).store(store).build().expect("builds"))
}

fn away(breaker: &CircuitBreaker) -> bool {
    breaker.snapshot().fleet.is_some_and(|fleet| fleet.away.is_some() || fleet.heard.is_none())
}

#[tokio::test]
async fn c56_cost_follows_change_and_not_number() {
    let store = Watched::new();
    let breakers: Vec<_> = (0..BREAKERS).map(|at| breaker(&store, &format!("host-{at}"))).collect();
    until("all know the store", || !breakers.iter().any(away)).await;
    let (operations, keys) = store.count();
    assert!(operations <= LOADS + 40, "{operations} operations to join");
    assert_eq!(keys, BREAKERS, "each is loaded once");

    tokio::time::sleep(secs(1)).await;
    store.count();
    tokio::time::sleep(secs(4)).await;
    let (operations, keys) = store.count();
    assert!((3..=10).contains(&operations), "{operations} operations in four idle seconds");
    assert!(keys <= 2 * 256, "{keys} keys loaded in four idle seconds");

    // Notices were missed, as after a reconnect.
    store.tell(&Notice::Lagged);
    tokio::time::sleep(secs(1)).await;
    let (operations, keys) = store.count();
    assert!(operations <= 5 && keys <= 256, "{operations} operations, {keys} keys after a reconnect");

    // Another instance opens one of them, and no notice tells of it.
    let other = MemoryStore::clone(&store.inner);
    let config = CircuitBreakerConfig::builder("host-4321").store(Arc::new(other)).build().expect("builds");
    let abroad = CircuitBreaker::new(config);
    abroad.trip().expect("no override");
    let started = support::timer_now();
    until("it is open here", || breakers[4321].is_open()).await;
    assert!(support::timer_now() - started < secs(3));
    assert!(store.count().0 <= 8, "what changed was loaded, and nothing else");

    store.is_away.store(1, Ordering::SeqCst);
    breakers[0].flush().await;
    until("the outage is known", || breakers.iter().all(away)).await;
    store.is_away.store(0, Ordering::SeqCst);
    store.count();
    breakers[0].flush().await;
    until("all are back", || !breakers.iter().any(away)).await;
    let (operations, keys) = store.count();
    assert!(operations <= LOADS + 40, "{operations} operations after an outage");
    assert!(keys <= BREAKERS + 2 * 256, "{keys} keys after an outage");
}

#[tokio::test]
async fn a_failure_of_long_ago_costs_no_more_than_none() {
    let clock = ManualClock::new();
    clock.advance(secs(100_000));
    let store = Watched::over(MemoryStore::with_clock(clock.clone()));
    let handle: Arc<dyn Store> = store.clone();
    let other = breaker(&store, "other");
    let config = CircuitBreakerConfig::builder("failed").clock(clock.clone()).store(handle).build().expect("builds");
    let failed = CircuitBreaker::new(config);
    fail(&failed, 1);
    failed.flush().await;
    other.flush().await;
    store.count();
    tokio::time::sleep(secs(3)).await;
    assert!(store.count().1 >= 2, "while it counts, what others have seen is of interest");
    clock.advance(secs(600));
    tokio::time::sleep(secs(2)).await;
    store.count();
    tokio::time::sleep(secs(3)).await;
    assert_eq!(store.count().1, 0, "keys loaded in three seconds");
}

#[tokio::test]
async fn a_store_that_lost_everything_is_noticed_though_no_key_is_polled() {
    let store = Watched::new();
    let breakers: Vec<_> = (0..1_000).map(|at| breaker(&store, &format!("host-{at}"))).collect();
    until("all know the store", || !breakers.iter().any(away)).await;
    breakers[500].trip().expect("no override");
    breakers[500].flush().await;
    store.inner.clear();
    until("the record is written anew", || {
        let load = store.inner.load(&["host-500"]);
        futures::executor::block_on(load).is_ok_and(|stored| !stored[0].record.is_empty())
    })
    .await;
    assert!(breakers[500].is_open());
}

/// Sees all calls and never trips; what it decides by is known to no store.
#[derive(Clone, Debug, Default)]
struct Never(u64);

impl Detector for Never {
    fn record(&mut self, _call: &Call) {
        self.0 += 1;
    }

    fn verdict(&self, _now: Timestamp) -> bool {
        false
    }

    fn reset(&mut self) {
        self.0 = 0;
    }

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(0).of(self.0)
    }

    fn save(&self) -> Vec<u8> {
        self.0.to_le_bytes().into()
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let bytes = bytes.try_into().map_err(|_| LoadError::new("expected eight bytes"))?;
        self.0 = u64::from_le_bytes(bytes);
        Ok(())
    }
}

#[tokio::test]
async fn calls_of_a_rule_that_only_a_detector_can_judge_are_told_though_nothing_polls() {
    let store = Watched::new();
    let handle: Arc<dyn Store> = store.clone();
    let config = CircuitBreakerConfig::builder("own").detector(Never::default()).store(handle);
    let breaker = CircuitBreaker::new(config.build().expect("builds"));
    breaker.flush().await;
    succeed(&breaker, 3);
    until("they are told", || breaker.snapshot().fleet.is_some_and(|fleet| fleet.waiting == 0)).await;
    assert!(store.count().0 > 0);
}

/// No record is loaded to which nothing happened; so where something begins, all must hear of it.
#[tokio::test]
async fn what_others_have_told_is_known_to_an_instance_that_has_seen_nothing() {
    let inner = MemoryStore::new();
    let over = |fleet: Fleet| {
        let store: Arc<dyn Store> = Arc::new(inner.clone());
        let name = if fleet == Fleet::pooled() { "pooled" } else { "voting" };
        let config = CircuitBreakerConfig::builder(name).detector(detect::failures(3).within(secs(60)));
        CircuitBreaker::new(config.fleet(fleet).store(store).build().expect("builds"))
    };
    let pooled = [0; 2].map(|_| over(Fleet::pooled()));
    let voting = [0; 3].map(|_| over(Fleet::votes(3)));
    for breaker in pooled.iter().chain(&voting) {
        breaker.flush().await;
    }
    for told in 1..=2 {
        fail(&pooled[0], 1);
        let known = || pooled[1].snapshot().detectors.iter().map(|part| part.tally.count()).sum::<u64>();
        until(&format!("{told} failures are known"), || known() == told).await;
        let voter = &voting[usize::try_from(told).expect("small")];
        fail(voter, 3);
        let votes = || voting[0].snapshot().fleet.and_then(|fleet| fleet.votes);
        until(&format!("{told} votes are known"), || votes() == u32::try_from(told).ok()).await;
    }
}
