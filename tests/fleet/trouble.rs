//! What is wrong with one breaker's record, and stays with it.

use std::time::Duration;

use fusebox::store::{Answers, Version};

use super::*;

/// What happens to operations on one key of a [`Picky`] store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Unreachable,
    NoAnswer,
    Busy,
    Refused,
    Foreign,
    TooLarge,
    Panics,
    /// No answer at all.
    Hangs,
}

const KINDS: [Kind; 8] = [
    Kind::Unreachable,
    Kind::NoAnswer,
    Kind::Busy,
    Kind::Refused,
    Kind::Foreign,
    Kind::TooLarge,
    Kind::Panics,
    Kind::Hangs,
];

/// A store over a memory in which one key is in trouble. It knows no answers for each key: a load of several fails where one
/// does.
#[derive(Debug)]
struct Picky {
    inner: MemoryStore,
    bad: &'static str,
    commits: Mutex<Option<Kind>>,
    loads: Mutex<Option<Kind>>,
    asked: AtomicUsize,
    /// How long a commit on another key takes, and how many did.
    delay: Mutex<Duration>,
    delayed: AtomicUsize,
}

impl Picky {
    fn new(commits: Option<Kind>, loads: Option<Kind>) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            bad: "a",
            commits: Mutex::new(commits),
            loads: Mutex::new(loads),
            asked: AtomicUsize::new(0),
            delay: Mutex::new(Duration::ZERO),
            delayed: AtomicUsize::new(0),
        })
    }

    async fn fail(&self, kind: Kind) -> StoreError {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match kind {
            Kind::Unreachable => StoreError::unreachable("not now"),
            Kind::NoAnswer => StoreError::no_answer("not now"),
            Kind::Busy => StoreError::busy("not now"),
            Kind::Refused => StoreError::refused("not now"),
            Kind::Foreign => StoreError::foreign("not now"),
            Kind::TooLarge => StoreError::too_large(70_000, 65_536),
            Kind::Panics => panic!("not now"),
            Kind::Hangs => std::future::pending().await,
        }
    }
}

fn of(kind: &Mutex<Option<Kind>>) -> Option<Kind> {
    *kind.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Store for Picky {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            if let Some(kind) = of(&self.loads).filter(|_| keys.contains(&self.bad)) {
                return Err(self.fail(kind).await);
            }
            self.inner.load(keys).await
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        Box::pin(async move {
            if let Some(kind) = of(&self.commits).filter(|_| key == self.bad) {
                return Err(self.fail(kind).await);
            }
            let delay = *self.delay.lock().unwrap_or_else(PoisonError::into_inner);
            if !delay.is_zero() {
                self.delayed.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(delay).await;
            }
            self.inner.commit(key, commit).await
        })
    }

    fn watch(&self) -> Notices {
        self.inner.watch()
    }
}

/// The breakers `a`, which is in trouble, and `b`, which is none of it.
struct Pair {
    a: CircuitBreaker,
    b: CircuitBreaker,
    events: Record<Event>,
}

impl Pair {
    fn over(store: &Arc<Picky>) -> Self {
        let events = Record::default();
        Self { a: Self::one("a", store, &events), b: Self::one("b", store, &events), events }
    }

    fn one(name: &str, store: &Arc<Picky>, events: &Record<Event>) -> CircuitBreaker {
        let (handle, list): (Arc<dyn Store>, Record<Event>) = (store.clone(), events.clone());
        let config = CircuitBreakerConfig::builder(name)
            .detector(detect::failures(3).within(secs(60)))
            .store(handle)
            .on_event(move |event| list.add(event.clone()));
        CircuitBreaker::new(config.build().expect("builds"))
    }

    fn degraded(&self) -> usize {
        kinds(&self.events.take(), |kind| kind == EventKind::StoreDegraded)
    }
}

fn fleet(breaker: &CircuitBreaker) -> fusebox::fleet::FleetStatus {
    breaker.snapshot().fleet.expect("shares its state")
}

#[tokio::test]
async fn what_is_wrong_with_the_writes_of_one_key_is_told_to_no_other() {
    for kind in KINDS {
        let store = Picky::new(Some(kind), None);
        let pair = Pair::over(&store);
        pair.b.flush().await;
        fail(&pair.a, 1);
        until("the write fails", || store.asked.load(Ordering::SeqCst) > 0).await;
        until(&format!("{kind:?} shows"), || fleet(&pair.a).trouble.is_some()).await;
        for _ in 0..3 {
            fail(&pair.b, 1);
            pair.b.flush().await;
            let status = fleet(&pair.b);
            assert!(status.away.is_none() && status.trouble.is_none(), "{kind:?}: {status:?}");
        }
        assert_eq!(pair.b.state(), State::Open, "{kind:?}: the fleet of b goes on");
        assert_eq!(pair.degraded(), 0, "{kind:?}");
        let trouble = fleet(&pair.a).trouble.expect("goes on");
        let words = if kind == Kind::TooLarge { "70000 bytes" } else { "" };
        assert!(trouble.contains(words), "{kind:?}: {trouble}");
        *store.commits.lock().expect("locks") = None;
        fail(&pair.a, 1);
        until(&format!("{kind:?} is over"), || {
            let status = fleet(&pair.a);
            status.trouble.is_none() && (status.away.is_none() || kind == Kind::Foreign)
        })
        .await;
    }
}

/// A soak of twenty minutes over real stores showed instances of fleets that had been well for minutes with a lock or a lost
/// answer of old as their trouble.
#[tokio::test]
async fn a_write_that_has_become_needless_is_no_trouble_any_more() {
    for kind in [Kind::Unreachable, Kind::NoAnswer, Kind::Busy, Kind::Refused, Kind::Hangs] {
        let store = Picky::new(Some(kind), None);
        let pair = Pair::over(&store);
        fail(&pair.a, 1);
        until(&format!("{kind:?} shows"), || fleet(&pair.a).trouble.is_some()).await;
        // Another instance opens the circuit, so what this one has to tell of the time before matters no more.
        let other: Arc<dyn Store> = Arc::new(store.inner.clone());
        let config = CircuitBreakerConfig::builder("a").store(other).build().expect("builds");
        let other = CircuitBreaker::new(config);
        assert!(other.trip().is_ok());
        other.flush().await;
        until("it is heard of", || pair.a.state() == State::Open).await;
        until(&format!("{kind:?} is over"), || fleet(&pair.a).trouble.is_none()).await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_loads_of_one_key_is_told_to_no_other() {
    for kind in KINDS {
        let store = Picky::new(None, Some(kind));
        let pair = Pair::over(&store);
        until("the load fails", || store.asked.load(Ordering::SeqCst) > 0).await;
        if matches!(kind, Kind::Panics | Kind::Hangs) {
            // The answers for all wait for that one, the first time.
            tokio::time::sleep(secs(2)).await;
        }
        let started = support::timer_now();
        for _ in 0..3 {
            fail(&pair.b, 1);
            pair.b.flush().await;
        }
        assert_eq!(pair.b.state(), State::Open, "{kind:?}: the fleet of b goes on");
        assert!(support::timer_now() - started < secs(8), "{kind:?}");
        let status = fleet(&pair.b);
        assert!(status.away.is_none() && status.trouble.is_none(), "{kind:?}: {status:?}");
        assert_eq!(pair.degraded(), 0, "{kind:?}");
        assert!(pair.a.acquire().is_ok(), "a goes on by itself");
    }
}

/// Its answer is on its way, and tells as well as that to a ping would.
#[tokio::test]
async fn a_key_in_trouble_is_no_witness_while_another_one_waits_for_its_answer() {
    for kind in [Kind::Unreachable, Kind::Refused] {
        let store = Picky::new(None, Some(kind));
        let Pair { a, b, events } = Pair::over(&store);
        drop(a);
        b.flush().await;
        *store.delay.lock().expect("locks") = ms(400);
        fail(&b, 1);
        until("b's write is on its way", || store.delayed.load(Ordering::SeqCst) > 0).await;
        let a = Pair::one("a", &store, &events);
        until("the load fails", || store.asked.load(Ordering::SeqCst) > 0).await;
        b.flush().await;
        let status = fleet(&b);
        assert!(status.away.is_none() && status.trouble.is_none() && status.waiting == 0, "{kind:?}: {status:?}");
        assert_eq!(kinds(&events.take(), |kind| kind == EventKind::StoreDegraded), 0, "{kind:?}");
        drop(a);
    }
}

/// The answer shows that the store is there, also where there is no other breaker by which that could be seen.
#[tokio::test]
async fn what_a_store_says_of_the_only_key_is_no_outage() {
    let mut alone = Vec::new();
    for kind in [Kind::Busy, Kind::Foreign, Kind::TooLarge] {
        for (commits, loads) in [(Some(kind), None), (None, Some(kind)), (Some(kind), Some(kind))] {
            let Pair { a, b, events } = Pair::over(&Picky::new(commits, loads));
            drop(b);
            fail(&a, 1);
            alone.push((kind, a, events));
        }
    }
    for (kind, breaker, _) in &alone {
        until(&format!("{kind:?} shows"), || {
            let status = fleet(breaker);
            status.trouble.is_some() || status.away.is_some()
        })
        .await;
    }
    // Whether the store is there would be asked three times, a tenth of a second apart.
    tokio::time::sleep(secs(2)).await;
    for (kind, _, events) in alone {
        assert_eq!(kinds(&events.take(), |kind| kind == EventKind::StoreDegraded), 0, "{kind:?}");
    }
}

#[tokio::test]
async fn a_key_in_trouble_is_asked_for_ever_more_rarely() {
    let store = Picky::new(None, Some(Kind::Busy));
    let pair = Pair::over(&store);
    pair.b.flush().await;
    tokio::time::sleep(secs(6)).await;
    let asked = store.asked.load(Ordering::SeqCst);
    assert!((3..=40).contains(&asked), "{asked} times in six seconds");
}

/// Answers each load of several keys with one record less.
#[derive(Debug)]
struct Short(MemoryStore);

impl Store for Short {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        Box::pin(async move {
            let mut records = self.0.load(keys).await?;
            records.pop();
            Ok(records)
        })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.0.commit(key, commit)
    }
}

/// The same for answers to each key.
#[derive(Debug)]
struct ShortEach(MemoryStore);

impl Store for ShortEach {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.0.load(keys)
    }

    fn load_each<'a>(&'a self, keys: &'a [&'a str]) -> Answers<'a> {
        let answers = self.0.load_each(keys);
        Box::pin(async move { answers.await.into_iter().skip(1).collect() })
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.0.commit(key, commit)
    }
}

#[tokio::test]
async fn a_store_that_answers_with_too_few_records_is_told_of_and_breakers_go_on_without() {
    let stores: [Arc<dyn Store>; 2] = [Arc::new(Short(MemoryStore::new())), Arc::new(ShortEach(MemoryStore::new()))];
    for store in stores {
        let events: Record<Event> = Record::default();
        let list = events.clone();
        let config =
            support::config(|builder| usual(builder).store(store).on_event(move |event| list.add(event.clone())));
        let breaker = CircuitBreaker::new(config);
        tokio::time::timeout(secs(20), breaker.flush()).await.expect("it returns");
        fail(&breaker, 3);
        assert!(breaker.is_open(), "by itself");
        until("it is told", || fleet(&breaker).away.is_some_and(|why| why.contains("records and gave"))).await;
    }
}

#[tokio::test]
async fn one_listener_of_many_breakers_hears_of_an_outage_once_and_why() {
    let bed = Bed::new();
    let wire = Wire::over(&bed.store);
    let (handle, events): (Arc<dyn Store>, Record<Event>) = (Arc::new(wire.clone()), Record::default());
    let list = events.clone();
    let registry = Registry::new(move |name| {
        let list = list.clone();
        CircuitBreakerConfig::builder(name).store(handle.clone()).on_event(move |event| list.add(event.clone())).build()
    });
    let breakers: Vec<_> = (0..20).map(|at| registry.breaker(&format!("host-{at}")).expect("builds")).collect();
    let mut stream = registry.events();
    let mut read =
        |kind| std::iter::from_fn(|| stream.next().now_or_never().flatten()).filter(|e| e.kind() == kind).count();
    for breaker in &breakers {
        breaker.flush().await;
    }
    for _ in 0..2 {
        wire.set(Fault::Refused);
        breakers[0].flush().await;
        until("all are on their own", || breakers.iter().all(|breaker| fleet(breaker).away.is_some())).await;
        let degraded: Vec<_> =
            events.take().into_iter().filter(|event| event.kind() == EventKind::StoreDegraded).collect();
        assert_eq!(degraded.len(), 1, "{degraded:?}");
        let outage = degraded[0].store_trouble().expect("is known");
        assert_eq!(outage.store(), "Wire");
        assert!(outage.why().contains("the password is wrong"), "{outage}");
        assert!(
            degraded[0].to_string().contains("(Wire: the store refused: the password is wrong)"),
            "{}",
            degraded[0]
        );
        wire.set(Fault::None);
        breakers[0].flush().await;
        until("all are back", || breakers.iter().all(|breaker| fleet(breaker).away.is_none())).await;
        assert_eq!(kinds(&events.take(), |kind| kind == EventKind::StoreRecovered), 1);
        assert_eq!(read(EventKind::StoreDegraded), 1, "the registry's stream says it once, too");
    }
}

#[tokio::test]
async fn a_commit_that_fails_once_is_sent_again_and_told_to_no_listener() {
    let store = Picky::new(Some(Kind::Unreachable), None);
    let pair = Pair::over(&store);
    fail(&pair.a, 1);
    until("the write fails", || store.asked.load(Ordering::SeqCst) > 0).await;
    *store.commits.lock().expect("locks") = None;
    until("it is sent", || fleet(&pair.a).waiting == 0).await;
    assert_ne!(store.inner.load(&["a"]).await.expect("memory")[0].version, Version::NONE);
    assert_eq!(pair.degraded(), 0);
}

/// Says that it tells of changes, and does not; or does.
#[derive(Debug)]
struct Listening {
    inner: MemoryStore,
    hears: bool,
}

impl Store for Listening {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.inner.load(keys)
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.inner.commit(key, commit)
    }

    fn watch(&self) -> Notices {
        if self.hears { self.inner.watch() } else { Box::pin(futures::stream::poll_fn(|_| std::task::Poll::Pending)) }
    }
}

/// Never tells of anything, and says so.
#[derive(Debug)]
struct Mute(MemoryStore);

impl Store for Mute {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.0.load(keys)
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.0.commit(key, commit)
    }
}

#[tokio::test]
async fn a_store_whose_notices_never_come_is_told_of_once_and_one_that_promises_none_is_not() {
    let inner = MemoryStore::new();
    let over = |name: &str, store: Arc<dyn Store>| {
        let told = Record::<Event>::default();
        let list = told.clone();
        let config = CircuitBreakerConfig::builder(name).store(store).on_event(move |event| list.add(event.clone()));
        (CircuitBreaker::new(config.build().expect("builds")), told)
    };
    let listening = |hears| Arc::new(Listening { inner: inner.clone(), hears });
    let (deaf, deaf_told) = over("deaf", listening(false));
    let others = [
        over("deaf", listening(true)),
        over("hears", listening(true)),
        over("mute", Arc::new(Mute(inner.clone()))),
        over("idle", listening(false)),
    ];
    let impaired = |told: &Record<Event>| {
        let lines = told.take().into_iter().filter(|event| event.kind() == EventKind::StoreImpaired);
        lines.map(|event| event.to_string()).collect::<Vec<_>>()
    };
    let started = support::timer_now();
    let mut lines = Vec::new();
    for at in 0.. {
        for breaker in [&deaf, &others[1].0, &others[2].0] {
            if at % 2 == 0 { breaker.trip().expect("no override") } else { breaker.reset().expect("no override") }
        }
        deaf.flush().await;
        until("another instance follows", || deaf.state() == others[0].0.state()).await;
        tokio::time::sleep(secs(1)).await;
        lines.extend(impaired(&deaf_told));
        if lines.is_empty() {
            assert!(support::timer_now() - started < secs(90), "it does not find out that it is deaf");
        } else if at >= 30 {
            break;
        }
    }
    assert!(lines.len() == 1 && lines[0].contains("`listen_url`"), "{lines:?}");
    for (breaker, told) in &others {
        assert_eq!(impaired(told), [""; 0], "{}", breaker.name());
    }
}
