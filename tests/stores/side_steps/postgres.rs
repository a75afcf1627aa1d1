//! The side steps of the store in PostgreSQL.

use fusebox::store::PostgresStore;

use super::*;
use crate::postgres_server::Database;

/// Two instances that log in as a role with the rights that are granted to it, and no more.
async fn two(database: &Database, role: &str) -> [Instance; 2] {
    let url = database.url_as(role, "app");
    let connect = || async { Instance::over(PostgresStore::connect(url.as_str()).await.expect("connects")) };
    [connect().await, connect().await]
}

async fn granted() -> (Database, String) {
    let database = Database::fresh().await;
    let role = format!("app_{}", database.name);
    database.run(&format!("create role {role} login password 'app'")).await;
    let migrated = PostgresStore::builder().url(database.url()).grant_to(role.as_str()).migrate().await;
    migrated.expect("migrates");
    (database, role)
}

#[tokio::test]
async fn all_the_rights_that_are_granted_are_enough() {
    let (database, role) = granted().await;
    let instances = two(&database, &role).await;
    let _breakers = opens_and_recovers(&instances).await;
    for instance in &instances {
        assert_eq!((instance.count(EventKind::StoreImpaired), instance.count(EventKind::StoreDegraded)), (0, 0));
    }
}

#[tokio::test]
async fn the_rights_that_are_granted_are_enough_under_contention() {
    let (database, role) = granted().await;
    let connect = || async { PostgresStore::connect(database.url_as(&role, "app")).await.expect("connects") };
    let mut instances = Vec::new();
    for _ in 0..10 {
        instances.push(Instance::over(connect().await));
    }
    fail_together(&instances).await;
    keeps_the_contract(connect().await).await;
}

#[tokio::test]
async fn c57_where_the_log_takes_no_rows_the_write_stands() {
    let (database, role) = granted().await;
    let instances = two(&database, &role).await;
    database
        .run(
            "create function full_up() returns trigger language plpgsql as \
             $$ begin raise exception using errcode = '53100', message = 'no space left on device'; end $$; \
             create trigger full_up before insert on hw_circuit_breakers_events execute function full_up()",
        )
        .await;
    let _breakers = opens_and_recovers(&instances).await;
    told_once(&instances, "no space left on device");
}

#[tokio::test]
async fn c55_a_row_that_strangers_have_spoilt_is_the_trouble_of_its_breaker_alone() {
    for spoil in [
        "update hw_circuit_breakers set version = 9223372036854775807 where resource_key = 'spoilt'",
        "update hw_circuit_breakers set record = convert_to(repeat('x', 100000000), 'UTF8') where resource_key = 'spoilt'",
    ] {
        let (database, role) = granted().await;
        let [one, other] = two(&database, &role).await;
        let spoilt = one.breaker("spoilt");
        fail(&spoilt, 1);
        spoilt.flush().await;
        database.run(spoil).await;
        the_neighbour_goes_on(&one, &other, &spoilt, true).await;
    }
}

#[tokio::test]
async fn c55_a_row_that_is_locked_is_the_trouble_of_its_breaker_alone() {
    let (database, role) = granted().await;
    let [one, other] = two(&database, &role).await;
    let spoilt = one.breaker("spoilt");
    fail(&spoilt, 1);
    spoilt.flush().await;
    let mut person = ::sqlx::ConnectOptions::connect(&database.options()).await.expect("connects");
    let lock = "begin; select * from hw_circuit_breakers where resource_key = 'spoilt' for update";
    ::sqlx::raw_sql(lock).fetch_all(&mut person).await.expect("locks");
    spoilt.trip().expect("no override");
    the_neighbour_goes_on(&one, &other, &one.breaker("another"), false).await;
    ::sqlx::raw_sql("rollback").execute(&mut person).await.expect("unlocks");
    until("the command reaches the fleet", || spoilt.snapshot().fleet.is_some_and(|fleet| fleet.trouble.is_none()))
        .await;
}

#[tokio::test]
async fn c55_one_foreign_row_among_ten_is_the_trouble_of_its_breaker_alone() {
    let (database, role) = granted().await;
    let [one, other] = two(&database, &role).await;
    let _told = ten_that_failed(&one).await;
    database.run("update hw_circuit_breakers set version = 9223372036854775807 where resource_key = 'spoilt'").await;
    ten_are_loaded_together(&other).await;
}

/// What the server says where transactions get in one another's way, where it is told to stop, and where its disk is full.
#[tokio::test]
async fn c55_what_fails_for_one_row_is_the_trouble_of_its_breaker_alone() {
    for code in ["40001", "40P01", "57014", "53100"] {
        let (database, role) = granted().await;
        let [one, other] = two(&database, &role).await;
        let spoilt = one.breaker("spoilt");
        fail(&spoilt, 1);
        spoilt.flush().await;
        database
            .run(&format!(
                "create function fails() returns trigger language plpgsql as \
                 $$ begin raise exception using errcode = '{code}', message = 'not now'; end $$; \
                 create trigger fails before update on hw_circuit_breakers for each row \
                 when (old.resource_key = 'spoilt') execute function fails()"
            ))
            .await;
        fail(&spoilt, 1);
        the_neighbour_goes_on(&one, &other, &spoilt, true).await;
        assert!(spoilt.snapshot().fleet.is_some_and(|fleet| fleet.trouble.is_some_and(|why| why.contains("not now"))));
    }
}

#[tokio::test]
async fn c55_a_right_that_is_missing_for_one_row_is_the_trouble_of_its_breaker_alone() {
    let (database, role) = granted().await;
    database
        .run(&format!(
            "alter table hw_circuit_breakers enable row level security; \
             create policy reads on hw_circuit_breakers for select to {role} using (true); \
             create policy writes on hw_circuit_breakers to {role} using (resource_key <> 'spoilt')"
        ))
        .await;
    let [one, other] = two(&database, &role).await;
    let spoilt = one.breaker("spoilt");
    fail(&spoilt, 1);
    the_neighbour_goes_on(&one, &other, &spoilt, true).await;
}

/// The least that showed it: an outage was told of 155 times.
#[tokio::test]
async fn c55_a_database_that_is_serializable_by_default_is_no_outage() {
    let (database, role) = granted().await;
    let name = database.options().get_database().expect("a name").to_owned();
    database.run(&format!("alter database {name} set default_transaction_isolation = 'serializable'")).await;
    let mut instances = Vec::new();
    for _ in 0..5 {
        instances.extend(two(&database, &role).await);
    }
    let breakers: Vec<_> = instances.iter().map(|instance| instance.breaker_of("hot", 501)).collect();
    for _ in 0..50 {
        breakers.iter().for_each(|breaker| fail(breaker, 1));
        futures::future::join_all(breakers.iter().map(CircuitBreaker::flush)).await;
    }
    for (instance, breaker) in instances.iter().zip(&breakers) {
        assert_eq!((instance.count(EventKind::StoreDegraded), instance.count(EventKind::StoreImpaired)), (0, 0));
        assert!(!breaker.is_open(), "500 failures");
    }
    fail(&breakers[0], 1);
    until("501 open it: each of the others was counted once", || breakers.iter().all(CircuitBreaker::is_open)).await;
}

#[tokio::test]
async fn c57_one_whose_notices_go_elsewhere_polls_and_says_so_once() {
    let (database, role) = granted().await;
    let connect = || async {
        let builder = PostgresStore::builder().url(database.url_as(&role, "app"));
        Instance::over(builder.listen_url("postgres://app@127.0.0.1:1/nowhere").connect().await.expect("connects"))
    };
    let instances = [connect().await, connect().await];
    let _breakers = opens_and_recovers(&instances).await;
    until("it is told", || instances.iter().any(|instance| instance.count(EventKind::StoreImpaired) > 0)).await;
    told_once(&instances, "no notices can be heard");
}
