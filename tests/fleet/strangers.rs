//! Notices of a stranger, who may send them and nothing else.

use fusebox::store::{Notice, Version};
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::select;

use super::*;

/// A store on whose channel strangers send what they like.
#[derive(Clone, Debug, Default)]
struct Open {
    inner: MemoryStore,
    loads: Arc<AtomicUsize>,
    listeners: Arc<Mutex<Vec<UnboundedSender<Notice>>>>,
}

impl Open {
    fn send(&self, version: u64, notice: &[u8]) {
        self.tell(&Notice::changed("test".to_owned(), Version(version), Bytes::copy_from_slice(notice)));
    }

    fn tell(&self, notice: &Notice) {
        for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            listener.unbounded_send(notice.clone()).expect("the engine listens");
        }
    }

    async fn stored(&self) -> Stored {
        self.inner.load(&["test"]).await.expect("memory").pop().expect("one key")
    }

    fn breaker(&self) -> CircuitBreaker {
        let store: Arc<dyn Store> = Arc::new(self.clone());
        CircuitBreaker::new(support::config(|builder| usual(builder).store(store)))
    }
}

impl Store for Open {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.inner.load(keys)
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.inner.commit(key, commit)
    }

    fn watch(&self) -> Notices {
        let (listener, said) = unbounded();
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
        Box::pin(select(self.inner.watch(), said))
    }
}

/// Records of a circuit that is open, and of overrides, as another fleet has them.
async fn records() -> Vec<Bytes> {
    let mut records = Vec::new();
    for command in 0..3 {
        let store = Open::default();
        let breaker = store.breaker();
        breaker.flush().await;
        match command {
            0 => breaker.trip().expect("no override"),
            1 => breaker.set_override(Override::force_open("a stranger").expires_after(secs(365 * 86_400))),
            _ => breaker.set_override(Override::disable("a stranger")),
        }
        breaker.flush().await;
        records.push(store.stored().await.record);
    }
    records
}

/// One that claims a generation open for a year was followed, and then written into the store by those that followed it.
#[tokio::test]
async fn a_notice_that_claims_a_state_changes_nothing() {
    let store = Open::default();
    let fleet = [store.breaker(), store.breaker()];
    for breaker in &fleet {
        breaker.flush().await;
    }
    fail(&fleet[0], 1);
    fleet[0].flush().await;
    let before = store.stored().await;
    for record in records().await {
        for version in [before.version.0 + 1, 1 << 62, u64::MAX] {
            store.send(version, &record);
            tokio::time::sleep(ms(20)).await;
            for breaker in &fleet {
                assert_eq!(breaker.state(), State::Closed);
                assert!(breaker.acquire().map(fusebox::Permit::success).is_ok(), "calls go through");
                let snapshot = breaker.snapshot();
                assert!(snapshot.overridden.is_none() && snapshot.generation == fleet[0].snapshot().generation);
            }
        }
    }
    for breaker in &fleet {
        breaker.flush().await;
    }
    let after = store.stored().await;
    assert_eq!((after.record, after.version), (before.record, before.version), "nothing was written");
    // What the store says counts, all the same.
    fail(&fleet[1], 2);
    until("it opens", || fleet.iter().all(CircuitBreaker::is_open)).await;
}

#[tokio::test]
async fn a_flood_of_notices_costs_some_loads_and_delays_nothing() {
    let store = Open::default();
    let fleet = [store.breaker(), store.breaker()];
    for breaker in &fleet {
        breaker.flush().await;
    }
    let records = records().await;
    let before = store.loads.load(Ordering::SeqCst);
    let begun = support::timer_now();
    let mut sent = 0_u64;
    while support::timer_now() < begun + secs(2) {
        for record in &records {
            sent += 1;
            store.send((1 << 62) + sent, record);
            // As a store says it of a notice that it does not understand.
            store.tell(&Notice::Lagged);
        }
        tokio::time::sleep(ms(1)).await;
    }
    let loads = store.loads.load(Ordering::SeqCst) - before;
    assert!(sent > 500 && loads <= 60, "{loads} loads for {sent} notices to two instances");
    fail(&fleet[0], 3);
    while !fleet.iter().all(CircuitBreaker::is_open) {
        assert!(support::timer_now() < begun + secs(4), "it opens late");
        store.send(u64::MAX, &records[2]);
        tokio::time::sleep(ms(1)).await;
    }
}
