//! Breakers in a table that people can query: `cargo run --example shared_postgres --features postgres`.
//!
//! `DATABASE_URL` names a PostgreSQL in which the user may make tables; they are made under a name of their own, and taken
//! away again. Two breakers of one name stand for two instances of an application.
#![expect(clippy::print_stdout, reason = "an example talks to its reader")]

use std::sync::Arc;
use std::time::Duration;

use fusebox::store::{PostgresStore, Store};
use fusebox::{BoxError, CircuitBreaker, CircuitBreakerConfig, Override, detect};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row};

const TABLE: &str = "fusebox_example";

/// What an operator asks, in the words of the table.
const QUERIES: [(&str, &str); 3] = [
    ("what is not closed", "select resource_key, state, failure_count from {table} where state <> 'CLOSED' order by 1"),
    ("how many in each state", "select state, count(*)::text, '' from {table} group by state order by 1"),
    ("what happened", "select resource_key, state, '' from {table}_events order by version"),
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let Ok(url) = std::env::var("DATABASE_URL") else {
        println!("set DATABASE_URL to a PostgreSQL, as in DATABASE_URL=postgres://postgres:secret@127.0.0.1/postgres");
        return Ok(());
    };
    // Once, by whoever deploys. An application only connects.
    PostgresStore::builder().url(&url).table(TABLE).migrate().await?;
    let shown = show(&url).await;
    let mut connection = PgConnection::connect(&url).await?;
    for table in ["_events", "_outbox", "_writers", ""] {
        connection.execute(AssertSqlSafe(format!("drop table if exists {TABLE}{table} cascade"))).await?;
    }
    shown
}

async fn show(url: &str) -> Result<(), BoxError> {
    let store: Arc<dyn Store> = Arc::new(PostgresStore::builder().url(url).table(TABLE).connect().await?);
    let instance = |name: &str| -> Result<CircuitBreaker, BoxError> {
        let config = CircuitBreakerConfig::builder(name)
            .detector(detect::failures(3).within(Duration::from_secs(60)))
            .store(Arc::clone(&store));
        Ok(CircuitBreaker::new(config.build()?))
    };
    let (one, another, search) = (instance("payments")?, instance("payments")?, instance("search")?);
    for breaker in [&one, &another, &search] {
        breaker.flush().await;
    }

    println!("Two failures here, one there: three of the fleet's");
    for breaker in [&one, &one, &another] {
        breaker.acquire()?.failure();
    }
    search.set_override(Override::disable("new index").by("ana"));
    for breaker in [&one, &another, &one, &search] {
        breaker.flush().await;
    }
    println!("  one:     {}", one.snapshot());
    println!("  another: {}", another.snapshot());

    let mut connection = PgConnection::connect(url).await?;
    for (what, query) in QUERIES {
        println!("\n{what}: {query}");
        for row in connection.fetch_all(AssertSqlSafe(query.replace("{table}", TABLE))).await? {
            let cells: Vec<String> = (0..row.len())
                .map(|at| row.try_get(at).or_else(|_| row.try_get::<i32, _>(at).map(|n| n.to_string())))
                .collect::<Result<_, _>>()?;
            println!("  {}", cells.join("  ").trim_end());
        }
    }
    Ok(())
}
