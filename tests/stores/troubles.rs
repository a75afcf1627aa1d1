//! What each trouble of a real server looks like to those who run it: the table "What a trouble looks like" of the
//! document for operators, row by row.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fusebox::fleet::FleetStatus;
use fusebox::store::Store;
use fusebox::{CircuitBreaker, CircuitBreakerConfig, EventKind, State, circuit_breaker::StateScope, detect};
use tokio::time::{Instant, sleep};

/// Two breakers of one instance, and what their listener is told.
struct Instance {
    breaker: CircuitBreaker,
    neighbour: CircuitBreaker,
    told: Arc<Mutex<Vec<(EventKind, String)>>>,
}

impl Instance {
    /// Both have a record.
    async fn over(store: impl Store) -> Self {
        let (store, told): (Arc<dyn Store>, _) = (Arc::new(store), Arc::<Mutex<Vec<_>>>::default());
        let breaker = |name| {
            let told = told.clone();
            let config = CircuitBreakerConfig::builder(name)
                .detector(detect::failures(1_000).within(Duration::from_secs(60)))
                .store(store.clone())
                .on_event(move |event| {
                    told.lock().unwrap_or_else(PoisonError::into_inner).push((event.kind(), event.to_string()));
                });
            CircuitBreaker::new(config.build().expect("a configuration"))
        };
        let (breaker, neighbour) = (breaker("a"), breaker("b"));
        for breaker in [&breaker, &neighbour] {
            breaker.acquire().expect("closed").failure();
            breaker.flush().await;
            assert_eq!(status(breaker).generation.map(|generation| generation.get()), Some(1), "it has a record");
        }
        Self { breaker, neighbour, told }
    }

    fn lines(&self, kind: EventKind) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().filter(|(known, _)| *known == kind).map(|(_, line)| line.clone()).collect()
    }

    /// Calls of the first go on and fail, and its snapshot comes to say this.
    async fn comes_to_say(&self, what: &str, says: impl Fn(&FleetStatus) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut calls = 0;
        while !says(&status(&self.breaker)) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.breaker.snapshot());
            if calls == 0 {
                self.breaker.acquire().expect("closed").failure();
            }
            calls = (calls + 1) % 50;
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// The trouble is the first one's alone, whose calls go through; listeners hear of none.
    async fn is_in_trouble(&self, words: &str) {
        let says = |status: &FleetStatus| status.trouble.as_ref().is_some_and(|why| why.contains(words));
        self.comes_to_say(words, says).await;
        assert_eq!(status(&self.neighbour).away, None);
        assert_eq!(self.lines(EventKind::StoreDegraded), [""; 0]);
    }

    /// The store is away for both, and it is told once, with the server's words.
    async fn is_away(&self, words: &str) {
        let says = |status: &FleetStatus| status.away.as_ref().is_some_and(|why| why.contains(words));
        self.comes_to_say(words, says).await;
        self.until("it is told", || !self.lines(EventKind::StoreDegraded).is_empty()).await;
        assert!(status(&self.neighbour).away.is_some());
        let told = self.lines(EventKind::StoreDegraded);
        assert!(told.len() == 1 && told[0].contains(words), "{told:?}");
    }

    async fn until(&self, what: &str, f: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !f() {
            assert!(Instant::now() < deadline, "in vain: {what}: {:?}", self.breaker.snapshot());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn status(breaker: &CircuitBreaker) -> FleetStatus {
    breaker.snapshot().fleet.expect("shared")
}

#[cfg(all(feature = "redis", unix))]
mod redis {
    use fusebox::store::RedisStore;

    use super::*;
    use crate::servers::Redis;

    async fn instance(server: &Redis) -> Instance {
        server.command("ACL SETUSER app on >first ~* &* +@all").await;
        let url = server.url().replace("redis://", "redis://app:first@");
        Instance::over(RedisStore::connect(url).await.expect("connects")).await
    }

    #[tokio::test]
    async fn no_memory_left_is_the_trouble_of_those_that_write() {
        let server = Redis::start().await;
        let instance = instance(&server).await;
        server.command("CONFIG SET maxmemory 1").await;
        instance.is_in_trouble("OOM").await;
        assert_eq!(status(&instance.breaker).away, None, "it follows the fleet");
        server.command("CONFIG SET maxmemory 0").await;
        instance.until("it is over", || status(&instance.breaker).trouble.is_none()).await;
    }

    #[tokio::test]
    async fn a_server_that_only_reads_is_the_trouble_of_those_that_write() {
        let server = Redis::start().await;
        let instance = instance(&server).await;
        server.command("REPLICAOF 127.0.0.1 1").await;
        instance.is_in_trouble("You can't write against a read only replica").await;
    }

    #[tokio::test]
    async fn a_server_that_stands_still_is_away() {
        let server = Redis::start().await;
        let instance = instance(&server).await;
        server.freeze();
        instance.is_away("the server stopped answering").await;
        server.thaw();
        instance.until("it is back", || !instance.lines(EventKind::StoreRecovered).is_empty()).await;
        instance.until("nothing is left", || status(&instance.breaker).away.is_none()).await;
    }

    #[tokio::test]
    async fn a_login_that_is_refused_is_an_outage() {
        let server = Redis::start().await;
        let instance = instance(&server).await;
        server.command("ACL SETUSER app >second <first").await;
        server.command("CLIENT KILL USER app").await;
        instance.is_away("Password authentication failed").await;
    }

    #[tokio::test]
    async fn a_record_that_is_damaged_is_written_again_by_those_who_know_it() {
        let server = Redis::start().await;
        let instance = instance(&server).await;
        let mut key = String::new();
        for shard in 0..16 {
            let found = format!("fb:{{fb:{shard}}}:r:a");
            if server.command(&format!("EXISTS {found}")).await == ::redis::Value::Int(1) {
                key = found;
            }
        }
        server.command(&format!("HSET {key} r garbage v 9000000000000000")).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.command(&format!("HGET {key} r")).await == ::redis::Value::BulkString(b"garbage".to_vec()) {
            assert!(Instant::now() < deadline, "it stays damaged: {:?}", instance.breaker.snapshot());
            sleep(Duration::from_millis(10)).await;
        }
        instance.until("nothing is left", || status(&instance.breaker).away.is_none()).await;
        assert_eq!(instance.lines(EventKind::StoreDegraded), [""; 0]);
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use fusebox::store::PostgresStore;
    use sqlx::ConnectOptions;

    use super::*;
    use crate::postgres_server::{Database, Pooler};

    async fn instance() -> (Database, String, Instance) {
        let database = Database::fresh().await;
        let role = format!("app_{}", database.name);
        database.run(&format!("create role {role} login password 'first'")).await;
        PostgresStore::builder().url(database.url()).grant_to(&role).migrate().await.expect("migrates");
        let store = PostgresStore::connect(database.url_as(&role, "first")).await.expect("connects");
        (database, role, Instance::over(store).await)
    }

    #[tokio::test]
    async fn a_row_that_is_locked_is_its_breakers_trouble() {
        let (database, _, instance) = instance().await;
        let mut person = database.options().connect().await.expect("connects");
        let lock = "begin; select * from hw_circuit_breakers where resource_key = 'a' for update";
        sqlx::raw_sql(lock).fetch_all(&mut person).await.expect("locks");
        instance.is_in_trouble("canceling statement due to lock timeout (SQLSTATE 55P03)").await;
        instance.breaker.trip().expect("no override");
        assert_eq!(
            (instance.breaker.state(), instance.neighbour.state()),
            (State::Open, State::Closed),
            "here, at once"
        );
        assert_eq!(instance.breaker.snapshot().scope, StateScope::Instance, "and not yet in the fleet");
        sqlx::raw_sql("rollback").execute(&mut person).await.expect("unlocks");
        instance.until("the fleet has it", || instance.breaker.snapshot().scope == StateScope::Fleet).await;
        instance.until("it is over", || status(&instance.breaker).trouble.is_none()).await;
    }

    #[tokio::test]
    async fn a_table_that_is_locked_is_the_trouble_of_each_breaker_and_no_outage() {
        let (database, _, instance) = instance().await;
        let mut person = database.options().connect().await.expect("connects");
        let lock = "begin; lock table hw_circuit_breakers in access exclusive mode";
        sqlx::raw_sql(lock).execute(&mut person).await.expect("locks");
        instance.is_in_trouble("canceling statement due to lock timeout (SQLSTATE 55P03)").await;
        sqlx::raw_sql("rollback").execute(&mut person).await.expect("unlocks");
    }

    #[tokio::test]
    async fn a_server_that_only_reads_is_the_trouble_of_those_that_write() {
        let (database, role, instance) = instance().await;
        database.run(&format!("alter database {} set default_transaction_read_only = on", database.name)).await;
        let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'");
        database.run(&end).await;
        instance.is_in_trouble("read-only transaction (SQLSTATE 25006)").await;
    }

    #[tokio::test]
    async fn a_login_that_is_refused_is_an_outage() {
        let (database, role, instance) = instance().await;
        database.run(&format!("alter role {role} password 'second'")).await;
        let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'");
        database.run(&end).await;
        instance.is_away("password authentication failed").await;
    }

    /// A pooler takes `LISTEN` and passes on nothing: no error, and no news but by polls. That it is so is found out,
    /// and told, when enough notices have not come back: see `deaf`.
    #[tokio::test]
    async fn news_comes_by_polls_through_a_pooler_and_one_notice_lost_is_not_told() {
        let database = Database::fresh().await;
        PostgresStore::migrate(database.url()).await.expect("migrates");
        let pooler = Pooler::before(&database.server);
        let connect = || async { PostgresStore::connect(pooler.url(&database)).await.expect("connects") };
        let (one, other) = (Instance::over(connect().await).await, Instance::over(connect().await).await);
        one.breaker.trip().expect("no override");
        other.until("it hears of it", || other.breaker.is_open()).await;
        for instance in [&one, &other] {
            let kinds = [EventKind::StoreImpaired, EventKind::StoreDegraded].map(|kind| instance.lines(kind));
            assert!(kinds.iter().all(Vec::is_empty), "{kinds:?}");
        }
    }
}
