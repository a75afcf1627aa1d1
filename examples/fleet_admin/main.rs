//! What an operator does to shared breakers, over any store: `cargo run --example fleet_admin --features env,redis -- list`.
//!
//! `FUSEBOX_STORE_URL` (or `HW_DB_*`) says which store. It needs none of the application's code: a breaker of the same name
//! over the same store is the same breaker.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its reader")]

mod args;
mod names;

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fusebox::store::{Key, Store};
use fusebox::{BoxError, CircuitBreaker, CircuitBreakerConfig, Override, circuit_breaker::StateScope};

use args::{Args, USAGE};

/// So many breakers are looked at together.
const PAGE: usize = 256;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", with_sources(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error with what is behind it, in the words of others.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string().escape_debug().to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text
}

async fn run() -> Result<(), BoxError> {
    let args = Args::parse(std::env::args().skip(1))?;
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    match words[..] {
        [] => println!("{USAGE}"),
        ["migrate"] => migrate(&args).await?,
        ["list"] => list(&store(&args).await?).await?,
        ["check"] => {
            store(&args).await?.keys().await?;
            println!("the store answers");
        }
        [command, name, ref reason @ ..] => {
            let store = store(&args).await?;
            if !args.create {
                names::expect_known(&store, name).await?;
            }
            let breaker = breaker(&store, name, args.cooldown)?;
            breaker.flush().await;
            obey(&breaker, command, &reason.join(" "), &args)?;
            breaker.flush().await;
            println!("{}", told(&breaker)?);
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// The store that the environment names, at the place that the command line says.
async fn store(args: &Args) -> Result<Arc<dyn Store>, BoxError> {
    let store = args.at_place(fusebox::env::store().dotenv().required()).await?;
    Ok(store.into())
}

/// The breaker of that name. Its detector judges nothing here, so any will do.
fn breaker(store: &Arc<dyn Store>, name: &str, cooldown: Option<Duration>) -> Result<CircuitBreaker, BoxError> {
    let config = CircuitBreakerConfig::builder(name).store(Arc::clone(store));
    let config = cooldown.into_iter().fold(config, fusebox::CircuitBreakerConfigBuilder::cooldown);
    Ok(CircuitBreaker::new(config.build()?))
}

fn obey(breaker: &CircuitBreaker, command: &str, reason: &str, args: &Args) -> Result<(), BoxError> {
    match command {
        "trip" => breaker.trip()?,
        "reset" => breaker.reset()?,
        "force" => breaker.set_override(args.signed(Override::force_open(reason))),
        "disable" => breaker.set_override(args.signed(Override::disable(reason))),
        "dry-run" => breaker.set_override(args.signed(Override::dry_run(reason))),
        "resume" => breaker.resume(),
        _ => {} // show
    }
    Ok(())
}

/// The breaker as its fleet sees it; an error where the store did not say.
fn told(breaker: &CircuitBreaker) -> Result<String, BoxError> {
    let snapshot = breaker.snapshot();
    let why = snapshot.fleet.as_ref().and_then(|fleet| fleet.away.clone().or_else(|| fleet.trouble.clone()));
    match (why, snapshot.scope) {
        (Some(why), _) => Err(format!("{:?}: {why}", breaker.name()).into()),
        (None, StateScope::Fleet) => Ok(snapshot.to_string()),
        (None, _) => Err(format!("the fleet has not confirmed it yet: {snapshot}").into()),
    }
}

/// Every breaker, a line each, also those that cannot be read.
async fn list(store: &Arc<dyn Store>) -> Result<(), BoxError> {
    let mut keys = store.keys().await?;
    keys.sort_unstable();
    let mut unread = 0;
    for page in keys.chunks(PAGE) {
        // Only the beginning of a very long name is in its key.
        let names = page.iter().map(|key| Key::parse(key).and_then(|key| key.name()));
        let breakers: Vec<_> = names.map(|name| name.map(|name| breaker(store, &name, None)).transpose()).collect();
        fusebox::fleet::flush(store).await;
        for (key, found) in page.iter().zip(breakers) {
            match found? {
                Some(breaker) => println!(
                    "{}",
                    told(&breaker).unwrap_or_else(|why| {
                        unread += 1;
                        why.to_string()
                    })
                ),
                None => println!("{key:?}: a name that was too long to be kept, or none"),
            }
        }
    }
    if unread > 0 { Err(format!("{unread} of {} breakers could not be read", keys.len()).into()) } else { Ok(()) }
}

/// Makes what a store in PostgreSQL needs, in the database that the environment names, or prints how that is done.
#[cfg(feature = "postgres")]
async fn migrate(args: &Args) -> Result<(), BoxError> {
    let store = args.at_place(fusebox::env::store().dotenv());
    let store = if args.print { store } else { store.required() };
    let builder = args.roles.iter().fold(store.postgres()?, fusebox::store::PostgresStoreBuilder::grant_to);
    if args.print {
        print!("{}", builder.migration()?);
    } else {
        builder.migrate().await?;
        println!("the table is there");
    }
    Ok(())
}

#[cfg(not(feature = "postgres"))]
async fn migrate(_: &Args) -> Result<(), BoxError> {
    Err("only PostgreSQL has something to migrate: build with --features postgres".into())
}
