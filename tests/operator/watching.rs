//! Transitions as they happen.

use std::sync::Mutex;

use fusebox::fleet::{FleetFilter, FleetTransition, FleetWatch};
use fusebox::store::{Changes, Commit, Committed, MemoryStore, Notices, Store, StoreError, StoreFuture, Stored};
use fusebox::{Override, State};
use futures::StreamExt;

use super::both::on_all;
use super::*;

async fn next(watch: &mut FleetWatch) -> Result<FleetTransition, StoreError> {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("in time").expect("it never ends")
}

/// Polls once, so that it knows what there is; nothing is told meanwhile.
async fn begin(watch: &mut FleetWatch) {
    let told = tokio::time::timeout(Duration::from_millis(500), watch.next()).await;
    assert!(told.is_err(), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn transitions_are_told_whoever_decided_them() {
    use State::{Closed, Open};
    on_all(async |raw| {
        let bed = Bed::new(&raw).await;
        let mut watch = bed.operator.watch(FleetFilter::all());
        begin(&mut watch).await;
        for _ in 0..2 {
            bed.fleet[0].acquire().expect("closed").failure();
        }
        let told = next(&mut watch).await.expect("answers");
        assert_eq!((told.from, told.breaker.state(), told.missed), (Some(Closed), Some(Open), 0), "{raw:?}");
        assert!(told.to_string().starts_with("pay/ments: open (3 failures"), "{told}");
        assert!(told.to_string().ends_with(", was closed"), "{told}");

        bed.operator.reset(NAME).await.expect("resets");
        let told = next(&mut watch).await.expect("answers");
        assert_eq!((told.from, told.breaker.state()), (Some(Open), Some(Closed)));

        let maker = operator(raw.store().await);
        maker.reset("quiet").await.expect("makes it");
        maker.set_override("loud", Override::force_open("x")).await.expect("makes it");
        let told = next(&mut watch).await.expect("answers");
        assert_eq!((told.breaker.name.as_str(), told.from), ("loud", None), "one that comes closed is no news");
    })
    .await;
}

#[tokio::test]
async fn what_was_too_quick_to_be_seen_is_counted_and_what_does_not_fit_is_left_out() {
    let store = Arc::new(MemoryStore::new());
    let operator = operator(store);
    operator.reset("a").await.expect("makes it");
    operator.reset("b").await.expect("makes it");
    let mut watch = operator.watch(FleetFilter::named("a"));
    begin(&mut watch).await;
    operator.trip("b").await.expect("trips");
    for _ in 0..3 {
        operator.trip("a").await.expect("trips");
        operator.reset("a").await.expect("resets");
    }
    let told = next(&mut watch).await.expect("memory");
    assert_eq!((told.breaker.name.as_str(), told.missed), ("a", 5), "{told}");
    assert!(told.to_string().ends_with(", was closed, 5 transitions between"), "{told}");
}

/// A store that may be away, and that tells neither of changes nor by notices.
#[derive(Debug)]
struct Poor {
    inner: MemoryStore,
    is_away: Mutex<bool>,
}

impl Poor {
    fn answer(&self) -> Result<(), StoreError> {
        if *self.is_away.lock().expect("no panic") { Err(StoreError::unreachable("the wire is cut")) } else { Ok(()) }
    }
}

impl Store for Poor {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            self.answer()?;
            self.inner.load(keys).await
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.inner.commit(key, commit)
    }

    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        Box::pin(async move {
            self.answer()?;
            self.inner.keys().await
        })
    }
}

#[tokio::test]
async fn an_outage_is_told_once_and_what_happened_meanwhile_when_it_is_over() {
    let inner = MemoryStore::new();
    let operator = operator(Arc::new(inner.clone()));
    operator.reset("a").await.expect("makes it");
    let store = Arc::new(Poor { inner, is_away: Mutex::new(false) });
    let mut watch = Operator::new(store.clone()).watch(FleetFilter::all());
    begin(&mut watch).await;
    *store.is_away.lock().expect("no panic") = true;
    let error = next(&mut watch).await.expect_err("it is away");
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    operator.trip("a").await.expect("trips");
    let more = tokio::time::timeout(Duration::from_millis(2_500), watch.next()).await;
    assert!(more.is_err(), "told once: {more:?}");
    *store.is_away.lock().expect("no panic") = false;
    let told = next(&mut watch).await.expect("it is back");
    assert_eq!(told.breaker.state(), Some(State::Open));
    assert!(matches!(store.changes(None).await, Ok(Changes::Unsupported)));
    let notices: Notices = store.watch();
    assert_eq!(notices.size_hint(), (0, Some(0)));
}
