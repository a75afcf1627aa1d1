//! Records that are not there, not ours, or damaged.

use fusebox::fleet::{FleetFilter, FleetRecord, OperatorError, RecordTroubleKind, Right};
use fusebox::{Override, State};

use super::both::{Raw, breakers, newer, on_all};
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_breaker_of_which_there_is_no_record_is_an_error_unless_it_is_to_be_made() {
    on_all(async |raw| {
        let careful = Operator::new(raw.store().await);
        assert!(careful.get(NAME).await.expect("answers").is_none());
        let order = || Override::disable("x");
        for refused in [
            careful.trip(NAME).await,
            careful.reset(NAME).await,
            careful.resume(NAME).await,
            careful.forget(NAME).await,
            careful.set_override(NAME, order()).await,
        ] {
            let error = refused.expect_err("no record");
            assert!(matches!(&error, OperatorError::Unknown { name, .. } if name == NAME), "{error:?}");
        }
        assert_eq!(careful.names().await.expect("lists"), Vec::<String>::new(), "nothing was made");
        let change = operator(raw.store().await).trip(NAME).await.expect("makes it");
        assert!(change.before.is_none() && change.changed);
        assert_eq!(careful.names().await.expect("lists"), [NAME]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_have_written_is_shown_and_never_changed() {
    on_all(async |raw| {
        let (store, operator) = (raw.store().await, operator(raw.store().await));
        drop(breakers(&store, &["a", "b", "c"]).await);
        raw.write("b", &newer()).await;
        raw.usurp("c").await;
        let rows = operator.list(&FleetFilter::all()).await.expect("lists");
        let kinds: Vec<_> = rows
            .iter()
            .map(|row| match &row.record {
                FleetRecord::Unreadable(trouble) => Some(trouble.kind),
                _ => None,
            })
            .collect();
        let is_memory = matches!(raw, Raw::Memory(_));
        let foreign = (!is_memory).then_some(RecordTroubleKind::Foreign);
        assert_eq!(kinds, [None, Some(RecordTroubleKind::Newer), foreign], "{rows:?}");
        assert_eq!(rows[1].to_string(), "b: the record is of format 3, this release knows 2");
        let odd = operator.list(&FleetFilter::all().unreadable()).await.expect("lists");
        assert_eq!(odd.len(), if is_memory { 1 } else { 2 });
        let check = operator.check().await.expect("answers");
        assert_eq!((check.breakers, check.unreadable.len()), (3, odd.len()));

        let names: &[&str] = if is_memory { &["b"] } else { &["b", "c"] };
        for name in names {
            for refused in [
                operator.trip(name).await,
                operator.reset(name).await,
                operator.resume(name).await,
                operator.forget(name).await,
                operator.set_override(name, Override::force_open("x")).await,
            ] {
                let error = refused.expect_err("not ours");
                assert!(matches!(error, OperatorError::Unreadable { .. }), "{error:?}");
            }
        }
        let stored = store.load(&["b"]).await.expect("loads").remove(0);
        assert_eq!(stored.record, newer());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_is_shown_and_a_command_takes_its_place() {
    on_all(async |raw| {
        let (store, operator) = (raw.store().await, operator(raw.store().await));
        drop(breakers(&store, &["a"]).await);
        raw.write("a", b"garbage").await;
        let row = operator.get("a").await.expect("answers").expect("is there");
        assert_eq!(row.to_string(), "a: the record is damaged: no record at all");
        assert!(!operator.resume("a").await.expect("nothing to end").changed);
        let stored = store.load(&["a"]).await.expect("loads").remove(0);
        assert_eq!(stored.record, "garbage");
        let change = operator.set_override("a", Override::force_open("why")).await.expect("replaces it");
        assert_eq!(change.after.and_then(|row| row.state()), Some(State::Open));
    })
    .await;
}

/// An instance that knows what a damaged record said would write that again: a command comes after all that it knows.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_commanded_over_a_damaged_record_counts_for_instances_that_knew_another() {
    on_all(async |raw| {
        let bed = Bed::new(&raw).await;
        bed.operator.set_override(NAME, Override::force_open("x")).await.expect("holds");
        bed.agree("held").await;
        raw.write(&fusebox::store::Key::new(NAME).to_string(), b"garbage").await;
        bed.operator.set_override(NAME, Override::disable("y")).await.expect("holds");
        let seen = bed.agree("disabled").await;
        assert_eq!(seen.state, State::Closed, "{raw:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_forgotten_unless_it_holds_calls_back() {
    on_all(async |raw| {
        let bed = Bed::new(&raw).await;
        let Bed { operator, fleet } = &bed;
        let held = async |what: &str| {
            let error = operator.forget(NAME).await.expect_err(what);
            assert!(matches!(error, OperatorError::Held { .. }), "{what}: {error:?}");
        };
        operator.trip_for(NAME, SECONDS_77).await.expect("trips");
        held("open").await;
        operator.reset(NAME).await.expect("resets");
        operator.set_override(NAME, Override::disable("x")).await.expect("holds");
        held("disabled").await;
        operator.resume(NAME).await.expect("resumes");
        bed.agree("resumed").await;

        let change = operator.forget(NAME).await.expect("closed");
        assert!(change.before.is_some() && change.after.is_none() && change.changed, "{change:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert!(operator.get(NAME).await.expect("answers").is_none(), "{raw:?}");
        assert_eq!(operator.names().await.expect("lists"), Vec::<String>::new());
        assert!(matches!(operator.forget(NAME).await, Err(OperatorError::Unknown { .. })));
        fleet[0].acquire().expect("closed").failure();
        fleet[0].flush().await;
        let seen = bed.agree("back with a failure").await;
        assert_eq!((seen.state, seen.failures), (State::Closed, 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_lets_one_do_is_found_out() {
    on_all(async |raw| {
        let operator = operator(raw.store().await);
        let check = operator.check().await.expect("answers");
        let [reads, lists, tells] = [&check.reads, &check.lists, &check.tells_changes];
        assert_eq!([reads, lists, tells], [&Right::Granted; 3], "{check:?}");
        assert_eq!([&check.writes, &check.notifies], [&Right::Untested; 2], "nothing was written");
        assert!(check.latency < Duration::from_secs(1) && check.clock_difference < Duration::from_secs(5));
        assert!(check.is_complete() && check.breakers == 0);
        let check = operator.check_writes().await.expect("answers");
        assert_eq!([&check.writes, &check.notifies], [&Right::Granted; 2], "{raw:?}: {check:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        assert_eq!(operator.names().await.expect("lists"), Vec::<String>::new(), "and nothing is left");
    })
    .await;
    let Raw::Redis(server) = Raw::redis().await else { panic!("it is Redis") };
    server.command("ACL SETUSER looker on >pw ~fb:* -@all +hmget +scan +ping +hstrlen +exists +time").await;
    let url = server.url().replace("redis://", "redis://looker:pw@");
    let store = fusebox::store::RedisStore::builder(url).build().expect("a URL");
    let check = Operator::new(Arc::new(store)).check_writes().await.expect("answers");
    assert_eq!((&check.reads, &check.lists), (&Right::Granted, &Right::Granted), "{check:?}");
    assert!(matches!(&check.writes, Right::Missing { why, .. } if why.contains("evalsha")), "{check:?}");
    assert!(!check.is_complete() && !format!("{check:?}").contains("pw"));
}
