//! Lists: which breakers, in which order, at which price.

use std::sync::atomic::{AtomicU64, Ordering};

use fusebox::fleet::FleetFilter;
use fusebox::store::{Answers, Commit, Committed, Key, Store, StoreFuture, Stored};
use fusebox::{Override, State};

use super::both::{MANY, Raw, fill, on_all};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn breakers_are_listed_by_name_as_far_as_they_fit() {
    on_all(async |raw| {
        let operator = operator(raw.store().await);
        let long = "x".repeat(400);
        for name in ["search", "pay/ments", "payouts", "mail", &long] {
            operator.reset(name).await.expect("makes it");
        }
        operator.trip("payouts").await.expect("trips");
        operator.set_override("mail", Override::dry_run("x")).await.expect("holds");
        let names = async |filter: FleetFilter| {
            let rows = operator.list(&filter).await.expect("lists");
            rows.into_iter().map(|row| row.name).collect::<Vec<_>>()
        };
        let cut = Key::new(&long).to_string();
        assert_eq!(names(FleetFilter::all()).await, ["mail", "pay/ments", "payouts", "search", &cut], "{raw:?}");
        assert_eq!(names(FleetFilter::named("pay*")).await, ["pay/ments", "payouts"]);
        assert_eq!(names(FleetFilter::named("ear")).await, ["search"]);
        assert_eq!(names(FleetFilter::all().state(State::Open).overridden()).await, ["mail", "payouts"]);
        assert_eq!(names(FleetFilter::named("pay*").state(State::Open)).await, ["payouts"]);
        assert!(names(FleetFilter::named("pay*").state(State::HalfOpen)).await.is_empty());
        assert!(operator.get(&long).await.expect("answers").is_some(), "by its whole name");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_breakers_are_listed_within_45_round_trips() {
    on_all(async |raw| {
        let (store, counted) = (raw.store().await, Counted { inner: raw.store().await, asked: AtomicU64::new(0) });
        let counted = Arc::new(counted);
        let operator = operator(counted.clone());
        fill(&store).await;
        let (before, asked_before) = (commands(&raw).await, counted.asked.load(Ordering::SeqCst));
        let began = now();
        let rows = operator.list(&FleetFilter::all()).await.expect("lists");
        let took = began.elapsed();
        let of_store = counted.asked.load(Ordering::SeqCst) - asked_before;
        let asked = (commands(&raw).await - before).max(of_store);
        assert_eq!(rows.len(), MANY, "{raw:?}");
        assert!(rows.iter().all(|row| row.state() == Some(State::Open)));
        println!("{MANY} breakers in {took:?}, {asked} commands");
        assert!(asked <= 45, "{asked} commands");
        let least = if matches!(raw, Raw::Redis(_)) { of_store + 1 } else { 11 };
        assert!(asked >= least, "they were counted: {asked}, {of_store}");
    })
    .await;
}

/// How many commands a server has had of clients: those within scripts are not among them.
async fn commands(raw: &Raw) -> u64 {
    match raw {
        Raw::Redis(server) => {
            let info = server.command("INFO commandstats").await;
            let text = match info {
                redis::Value::BulkString(bytes) => String::from_utf8(bytes).expect("text"),
                redis::Value::VerbatimString { text, .. } => text,
                other => panic!("{other:?}"),
            };
            let within = ["hstrlen", "hmget", "exists", "time", "info"];
            let lines = text.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
            let counted = lines.filter(|(name, _)| !within.contains(name));
            counted.filter_map(|(_, rest)| rest.split(',').next()?.parse::<u64>().ok()).sum()
        }
        Raw::Memory(_) | Raw::Postgres(_) => 0,
    }
}

/// A store that counts what is asked of it, of which each is one statement to PostgreSQL.
#[derive(Debug)]
struct Counted {
    inner: Arc<dyn Store>,
    asked: AtomicU64,
}

impl Store for Counted {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inner.load(keys)
    }

    fn load_each<'a>(&'a self, keys: &'a [&'a str]) -> Answers<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inner.load_each(keys)
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(key, commit)
    }

    fn keys(&self) -> StoreFuture<'_, Vec<String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.inner.keys()
    }
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn rows_are_written_as_data() {
    let store = Arc::new(fusebox::store::MemoryStore::new());
    let operator = operator(store.clone());
    let order = Override::force_open("incident 7").by("ana").expires_after(Duration::from_secs(60));
    let change = operator.set_override("pay\u{1b}ments", order).await.expect("holds");
    let json = serde_json::to_value(&change).expect("written");
    assert_eq!(json["before"], serde_json::Value::Null);
    let row = &json["after"];
    assert_eq!((&row["name"], &row["key"]), (&"pay\u{1b}ments".into(), &"pay_x1Bments".into()));
    assert_eq!((&row["state"], &row["reason"]), (&"open".into(), &"overridden".into()));
    assert_eq!(row["overridden"]["kind"], "forced_open");
    assert!(row["override_ends_in"].as_f64().is_some_and(|left| left > 59.0), "{row}");
    assert!(row["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{row}");
    let raw = Raw::Memory((*store).clone());
    raw.write("pay_x1Bments", b"garbage").await;
    let row = serde_json::to_value(operator.get("pay\u{1b}ments").await.expect("memory")).expect("written");
    assert_eq!((&row["trouble"], &row["state"]), (&"damaged".into(), &serde_json::Value::Null));
}
