//! What the classifiers make of errors of sqlx and redis-rs: real ones, of real servers.

use fusebox::classify::{self, Retry};
use fusebox::{BoxError, Classify, Outcome, SafetyNet, State};

/// What an error means, bare, boxed, and as the source of an error of the caller's own.
#[track_caller]
pub(crate) fn is_judged<E: std::error::Error + Send + Sync + 'static>(
    what: &str,
    error: E,
    outcome: Outcome,
    retry: Retry,
) {
    let rule = classify::errors();
    let bare = Err::<(), _>(error);
    assert_eq!((rule.classify(&bare), rule.retry(&bare)), (outcome, retry), "{what}: {bare:?}");
    let boxed = bare.map_err(BoxError::from);
    assert_eq!((rule.classify(&boxed), rule.retry(&boxed)), (outcome, retry), "{what}, boxed: {boxed:?}");
    let own = boxed.map_err(|source| BoxError::from(OrderError { source }));
    assert_eq!((rule.classify(&own), rule.retry(&own)), (outcome, retry), "{what}, as a source: {own:?}");
}

#[derive(Debug)]
struct OrderError {
    source: BoxError,
}

impl std::fmt::Display for OrderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the order was not taken")
    }
}

impl std::error::Error for OrderError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
    }
}

/// Makes calls that fail so through the preset; returns how many reached the function, and the state of the circuit.
async fn through_the_preset<E: Into<BoxError> + 'static>(calls: usize, make: impl Fn() -> E) -> (usize, State) {
    let net = SafetyNet::database("orders").expect("a name");
    let asked = std::cell::Cell::new(0);
    for _ in 0..calls {
        let query = || {
            asked.set(asked.get() + 1);
            std::future::ready(Err::<(), _>(make()))
        };
        assert!(net.call(query).await.is_err());
    }
    (asked.get(), net.breaker().expect("it has one").state())
}

const ANSWER: (Outcome, Retry) = (Outcome::Success, Retry::Never);
const CONFLICT: (Outcome, Retry) = (Outcome::Ignored, Retry::IfIdempotent);
const TROUBLE: (Outcome, Retry) = (Outcome::Failure, Retry::IfIdempotent);
pub(crate) const FINAL: (Outcome, Retry) = (Outcome::Failure, Retry::Never);
const OWN: (Outcome, Retry) = (Outcome::Ignored, Retry::Never);

#[cfg(feature = "postgres")]
mod postgres {
    use std::time::Duration;

    use sqlx::postgres::{PgConnection, PgDatabaseError, PgPoolOptions};
    use sqlx::{AssertSqlSafe, Connection, Error, Row};

    use super::super::postgres_server::Database;
    use super::*;

    async fn run(connection: &mut PgConnection, sql: &str) -> Result<(), Error> {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.map(drop)
    }

    async fn connect(database: &Database) -> PgConnection {
        PgConnection::connect_with(&database.options()).await.expect("connects")
    }

    fn code(error: &Error) -> String {
        let code = error.as_database_error().and_then(|error| error.code());
        code.map(|code| code.into_owned()).unwrap_or_default()
    }

    const TABLES: &str =
        "create table sku (id int primary key, cents int not null check (cents > 0), during int4range, \
        exclude using gist (during with &&));
        create table line (sku int references sku);
        insert into sku values (7, 100, '[1,3)');
        create function refuse() returns void language plpgsql as $$ begin raise exception 'sold out'; end $$;
        create role clerk; create role crowd login password 'x' connection limit 0";

    #[tokio::test]
    async fn what_postgresql_says_of_a_query_is_its_answer() {
        let database = Database::fresh().await;
        let mut connection = connect(&database).await;
        run(&mut connection, TABLES).await.expect("tables");
        let answers = [
            ("23505", "insert into sku values (7, 100)"),
            ("23503", "insert into line values (8)"),
            ("23502", "insert into sku values (8, null)"),
            ("23514", "insert into sku values (8, 0)"),
            ("23P01", "insert into sku values (8, 1, '[2,4)')"),
            ("42601", "selec 1"),
            ("42P01", "select * from orders"),
            ("42703", "select price from sku"),
            ("42883", "select refuse(1)"),
            ("42501", "set role clerk; select * from sku"),
            ("22P02", "select 'seven'::int"),
            ("22003", "select 3000000000::bigint::int"),
            ("22012", "select 1 / 0"),
            ("P0001", "select refuse()"),
        ];
        for (expected, sql) in answers {
            let error = run(&mut connection, sql).await.expect_err(sql);
            run(&mut connection, "reset role").await.expect("the owner again");
            assert_eq!(code(&error), expected, "{sql}: {error}");
            is_judged(sql, error, ANSWER.0, ANSWER.1);
        }
        // What is left of it where an error of the caller's own stands in for sqlx's.
        let error = run(&mut connection, "insert into sku values (7, 100)").await.expect_err("it is there");
        let error = error.into_database_error().expect("the database's own").downcast::<PgDatabaseError>();
        is_judged("without sqlx's own around it", *error, ANSWER.0, ANSWER.1);
        let none = sqlx::query("select id from sku where id = 9").fetch_one(&mut connection).await;
        is_judged("no row", none.expect_err("there is none"), ANSWER.0, ANSWER.1);
        let row = sqlx::query("select id, 'x' as word from sku").fetch_one(&mut connection).await.expect("a row");
        is_judged("a type", row.try_get::<i32, _>("word").expect_err("a text"), ANSWER.0, ANSWER.1);
        is_judged("a column", row.try_get::<i32, _>("price").expect_err("no such"), ANSWER.0, ANSWER.1);
        is_judged("a place", row.try_get::<i32, _>(2).expect_err("two only"), ANSWER.0, ANSWER.1);
    }

    #[tokio::test]
    async fn a_transaction_that_lost_to_another_is_tried_again_and_opens_nothing() {
        let database = Database::fresh().await;
        let (mut one, mut other) = (connect(&database).await, connect(&database).await);
        run(&mut one, TABLES.split("create function").next().unwrap_or_default()).await.expect("tables");
        run(&mut one, "insert into sku values (8, 100)").await.expect("another");

        let begin = "begin isolation level repeatable read; select * from sku";
        run(&mut one, begin).await.expect("begins");
        run(&mut other, "update sku set cents = 101 where id = 7").await.expect("comes first");
        let lost = run(&mut one, "update sku set cents = 102 where id = 7").await.expect_err("too late");
        assert_eq!(code(&lost), "40001");
        is_judged("serialization", lost, CONFLICT.0, CONFLICT.1);
        run(&mut one, "rollback").await.expect("begins anew");

        run(&mut one, "begin; update sku set cents = 1 where id = 7").await.expect("the first row");
        run(&mut other, "begin; update sku set cents = 1 where id = 8").await.expect("the second row");
        let waits = run(&mut other, "select * from sku where id = 7 for update nowait").await.expect_err("it is taken");
        assert_eq!(code(&waits), "55P03");
        is_judged("a lock", waits, CONFLICT.0, CONFLICT.1);
        run(&mut other, "rollback; begin; update sku set cents = 1 where id = 8").await.expect("the second row");
        let (first, second) = tokio::join!(
            run(&mut one, "update sku set cents = 2 where id = 8"),
            run(&mut other, "update sku set cents = 2 where id = 7"),
        );
        let dead = first.and(second).expect_err("one has to give way");
        assert_eq!(code(&dead), "40P01");
        is_judged("a deadlock", dead, CONFLICT.0, CONFLICT.1);
    }

    #[tokio::test]
    async fn trouble_of_the_server_is_a_failure_and_tried_again() {
        let database = Database::fresh().await;
        let mut connection = connect(&database).await;
        run(&mut connection, TABLES).await.expect("tables");
        for (expected, sql) in [
            ("57014", "set statement_timeout = 10; select pg_sleep(60)"),
            ("25006", "set statement_timeout = 0; set transaction_read_only = on; delete from sku"),
        ] {
            let error = run(&mut connection, sql).await.expect_err(sql);
            assert_eq!(code(&error), expected, "{sql}: {error}");
            is_judged(sql, error, TROUBLE.0, TROUBLE.1);
        }
        let mut victim = connect(&database).await;
        let pid = sqlx::query("select pg_backend_pid()").fetch_one(&mut victim).await.expect("a row").get::<i32, _>(0);
        let end = format!("select pg_terminate_backend({pid}, 10000)");
        database.run(&format!("{end}::text")).await;
        let ended = run(&mut victim, "select 1").await.expect_err("it was ended");
        assert_eq!(code(&ended), "57P01", "{ended}");
        is_judged("an administrator", ended, TROUBLE.0, TROUBLE.1);

        let crowd = database.options().username("crowd").password("x");
        let full = PgConnection::connect_with(&crowd).await.expect_err("no place");
        assert_eq!(code(&full), "53300");
        is_judged("no connection is left", full, TROUBLE.0, TROUBLE.1);
        let closed = database.options().port(1);
        let refused = PgConnection::connect_with(&closed).await.expect_err("nothing listens");
        assert!(matches!(refused, Error::Io(_)), "{refused:?}");
        is_judged("nothing listens", refused, TROUBLE.0, TROUBLE.1);

        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(5));
        let pool = pool.connect_with(database.options()).await.expect("connects");
        let _held = pool.acquire().await.expect("the one");
        let timed_out = pool.acquire().await.expect_err("it is held");
        assert!(matches!(timed_out, Error::PoolTimedOut));
        is_judged("the pool is empty", timed_out, TROUBLE.0, TROUBLE.1);
    }

    #[tokio::test]
    async fn what_no_attempt_mends_is_not_tried_again() {
        let database = Database::fresh().await;
        for (expected, options) in [
            ("28P01", database.options().password("wrong")),
            ("28000", database.options().username("nobody_of_that_name").password("x")),
            ("3D000", database.options().database("no_such_database")),
        ] {
            let error = PgConnection::connect_with(&options).await.expect_err("refused");
            // An unknown user is asked for a password all the same.
            assert!(code(&error) == expected || (expected == "28000" && code(&error) == "28P01"), "{error}");
            is_judged(expected, error, FINAL.0, FINAL.1);
        }
        let pool = PgPoolOptions::new().connect_lazy_with(database.options());
        pool.close().await;
        is_judged("a pool that was closed", pool.acquire().await.expect_err("closed"), OWN.0, OWN.1);
    }

    #[tokio::test]
    async fn constraints_open_no_circuit_and_are_tried_once() {
        let database = Database::fresh().await;
        let mut connection = connect(&database).await;
        run(&mut connection, TABLES).await.expect("tables");
        let twice = "insert into sku values (7, 100)";
        let mut errors = Vec::new();
        for _ in 0..40 {
            errors.push(run(&mut connection, twice).await.expect_err("it is there"));
        }
        let errors = std::cell::RefCell::new(errors);
        let next = || errors.borrow_mut().pop().expect("one for each call");
        assert_eq!(through_the_preset(20, next).await, (20, State::Closed));
        let own = || OrderError { source: errors.borrow_mut().pop().expect("one for each call").into() };
        assert_eq!(through_the_preset(20, own).await, (20, State::Closed), "within an error of the caller's own");
        let lost = || OrderError { source: Error::PoolTimedOut.into() };
        let (asked, state) = through_the_preset(20, lost).await;
        assert_eq!(state, State::Open);
        assert!((10..20).contains(&asked), "with retries, until the circuit opened: {asked}");
    }
}

#[cfg(all(feature = "redis", unix))]
mod redis {
    use ::redis::{Client, Cmd, ErrorKind, RedisError, cmd, pipe};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::servers::Redis;
    use super::*;

    async fn refused(server: &Redis, command: &str) -> RedisError {
        server.try_command(command).await.expect_err(command)
    }

    #[tokio::test]
    async fn what_redis_says_of_a_command_is_its_answer() {
        let server = Redis::start().await;
        server.command("SET word seven").await;
        for command in [
            "LPUSH word 1",
            "INCR word",
            "SET word",
            "NO-SUCH-COMMAND",
            "EVALSHA 0000000000000000000000000000000000000000 0",
            "XREADGROUP GROUP no one STREAMS none >",
        ] {
            is_judged(command, refused(&server, command).await, ANSWER.0, ANSWER.1);
        }
        server.command("ACL SETUSER default -incr").await;
        is_judged("NOPERM", refused(&server, "INCR count").await, ANSWER.0, ANSWER.1);

        let client = Client::open(server.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let number = cmd("GET").arg("word").query_async::<u32>(&mut connection).await.expect_err("a word");
        is_judged("a type", number, ANSWER.0, ANSWER.1);
        for atomic in [false, true] {
            let mut pipe = pipe();
            if atomic {
                pipe.atomic();
            }
            pipe.cmd("SET").arg("other").arg("1").cmd("LPUSH").arg("word").arg("1");
            let error = pipe.query_async::<()>(&mut connection).await.expect_err("the second");
            is_judged("a pipeline", error, ANSWER.0, ANSWER.1);
        }
        is_judged("no command", Cmd::new().query_async::<()>(&mut connection).await.expect_err("empty"), OWN.0, OWN.1);
    }

    #[tokio::test]
    async fn trouble_of_redis_is_a_failure_and_tried_again() {
        let mut server = Redis::start().await;
        server.command("SET word seven").await;
        server.command("CONFIG SET maxmemory 1").await;
        let full = refused(&server, "SET other 1").await;
        assert_eq!(full.code(), Some("OOM"), "{full}");
        is_judged("OOM", full, TROUBLE.0, TROUBLE.1);
        let client = Client::open(server.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let mut both = pipe();
        // One that takes no memory, else the server says OOM to it as well.
        both.cmd("LLEN").arg("word").cmd("SET").arg("other").arg("1");
        let error = both.query_async::<()>(&mut connection).await.expect_err("both");
        let said = error.clone().into_server_errors().expect("two");
        assert_eq!(said.iter().map(|(_, error)| error.code()).collect::<Vec<_>>(), ["WRONGTYPE", "OOM"]);
        is_judged("a command's mistake, and trouble", error, TROUBLE.0, TROUBLE.1);
        server.command("CONFIG SET maxmemory 0").await;

        server.command("CONFIG SET min-replicas-to-write 1").await;
        is_judged("NOREPLICAS", refused(&server, "SET other 1").await, TROUBLE.0, TROUBLE.1);
        server.command("CONFIG SET min-replicas-to-write 0").await;
        server.command("REPLICAOF 127.0.0.1 1").await;
        let replica = refused(&server, "SET other 1").await;
        assert_eq!(replica.code(), Some("READONLY"), "{replica}");
        is_judged("READONLY", replica, TROUBLE.0, TROUBLE.1);
        server.command("CONFIG SET replica-serve-stale-data no").await;
        let stale = refused(&server, "GET word").await;
        assert_eq!(stale.code(), Some("MASTERDOWN"), "{stale}");
        is_judged("MASTERDOWN", stale, TROUBLE.0, TROUBLE.1);

        server.kill();
        let lost = cmd("PING").query_async::<()>(&mut connection).await.expect_err("it was killed");
        assert_eq!(lost.kind(), ErrorKind::Io, "{lost}");
        is_judged("the connection broke", lost, TROUBLE.0, TROUBLE.1);
        let refused = client.get_multiplexed_async_connection().await.expect_err("nothing listens");
        is_judged("nothing listens", refused, TROUBLE.0, TROUBLE.1);
    }

    #[tokio::test]
    async fn a_server_of_another_kind_is_trouble() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("redis://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.ok();
                // Until the client has gone.
                stream.read_to_end(&mut Vec::new()).await.ok();
            }
        });
        let connect = Client::open(url).expect("a URL");
        let error = match connect.get_multiplexed_async_connection().await {
            Err(error) => error,
            Ok(mut connection) => cmd("PING").query_async::<()>(&mut connection).await.expect_err("no Redis"),
        };
        assert_eq!(error.kind(), ErrorKind::Parse, "{error}");
        is_judged("no Redis", error, TROUBLE.0, TROUBLE.1);
    }

    #[tokio::test]
    async fn a_password_that_is_not_taken_is_a_failure_that_no_attempt_mends() {
        let server = Redis::start_with(&["--requirepass", "right"]).await;
        for url in [server.url_with("wrong"), server.url()] {
            let client = Client::open(url).expect("a URL");
            let error = match client.get_multiplexed_async_connection().await {
                Err(error) => error,
                Ok(mut connection) => cmd("PING").query_async::<()>(&mut connection).await.expect_err("no password"),
            };
            is_judged("a password", error, FINAL.0, FINAL.1);
        }
    }

    #[tokio::test]
    async fn wrong_types_open_no_circuit_and_are_tried_once() {
        let server = Redis::start().await;
        server.command("SET word seven").await;
        let wrong = refused(&server, "LPUSH word 1").await;
        assert_eq!(wrong.code(), Some("WRONGTYPE"), "{wrong}");
        assert_eq!(through_the_preset(20, || wrong.clone()).await, (20, State::Closed));
        let own = || OrderError { source: wrong.clone().into() };
        assert_eq!(through_the_preset(20, own).await, (20, State::Closed), "within an error of the caller's own");
    }
}
