//! What an operator does to shared breakers, over any store: `cargo run --example fleet_admin --features env,redis -- list`.
//!
//! `FUSEBOX_STORE_URL` (or `HW_DB_*`) says which store. It needs none of the application's code: a breaker of the same name
//! over the same store is the same breaker.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its reader")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use fusebox::store::{Key, Store};
use fusebox::{BoxError, CircuitBreaker, CircuitBreakerConfig, Override, StateScope};

const USAGE: &str = "usage: fleet_admin <command>

  list                          every breaker in the store
  show    <name>                one breaker
  trip    <name>                open it; it recovers by itself
  reset   <name>                close it and forget its failures
  force   <name> <reason>       keep it open until somebody resumes it
  disable <name> <reason>       let every call through, and judge none
  dry-run <name> <reason>       let every call through, and tell when it would have opened
  resume  <name>                end an override
  check                         ask the store whether it can be used
  migrate                       make or complete the table (Postgres only)

  --actor <who>                 who gives an override
  --for <seconds>               when it ends by itself
  --cooldown <seconds>          how long a trip lasts (default 30)";

#[derive(Default)]
struct Args {
    words: Vec<String>,
    actor: Option<String>,
    expires_in: Option<Duration>,
    cooldown: Option<Duration>,
}

impl Args {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let mut parsed = Self::default();
        let seconds = |text: Option<String>| -> Result<Duration, BoxError> {
            Ok(Duration::from_secs(text.ok_or("how many seconds?")?.parse()?))
        };
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--actor" => parsed.actor = Some(args.next().ok_or("--actor who?")?),
                "--for" => parsed.expires_in = Some(seconds(args.next())?),
                "--cooldown" => parsed.cooldown = Some(seconds(args.next())?),
                _ => parsed.words.push(arg),
            }
        }
        Ok(parsed)
    }

    fn signed(&self, order: Override) -> Override {
        let order = self.actor.iter().fold(order, Override::actor);
        self.expires_in.into_iter().fold(order, Override::expires_in)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let args = Args::parse(std::env::args().skip(1))?;
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    match words[..] {
        [] => {
            println!("{USAGE}");
            return Ok(());
        }
        ["migrate"] => return migrate().await,
        _ => {}
    }
    let store = fusebox::env::store().dotenv().required().await?;
    match words[..] {
        ["list"] => list(&store).await,
        ["check"] => {
            store.keys().await?;
            println!("the store answers");
            Ok(())
        }
        [command, name, ref reason @ ..] => {
            let breaker = breaker(&store, name, args.cooldown)?;
            breaker.flush().await;
            obey(&breaker, command, &reason.join(" "), &args)?;
            breaker.flush().await;
            println!("{}", told(&breaker)?);
            Ok(())
        }
        _ => Err(USAGE.into()),
    }
}

/// The breaker of that name. Its detector judges nothing here, so any will do.
fn breaker(store: &Arc<dyn Store>, name: &str, cooldown: Option<Duration>) -> Result<CircuitBreaker, BoxError> {
    let config = CircuitBreakerConfig::builder(name).store(Arc::clone(store));
    let config = cooldown.into_iter().fold(config, fusebox::CircuitBreakerConfigBuilder::cooldown);
    Ok(CircuitBreaker::new(config.build()?))
}

fn obey(breaker: &CircuitBreaker, command: &str, reason: &str, args: &Args) -> Result<(), BoxError> {
    let order = |make: fn(&str) -> Override| -> Result<(), BoxError> {
        if reason.is_empty() {
            return Err("say why: the reason is shown to everybody who is rejected".into());
        }
        breaker.set_override(args.signed(make(reason)));
        Ok(())
    };
    match command {
        "show" => {}
        "trip" => breaker.trip()?,
        "reset" => breaker.reset()?,
        "force" => order(|reason| Override::force_open(reason))?,
        "disable" => order(|reason| Override::disable(reason))?,
        "dry-run" => order(|reason| Override::dry_run(reason))?,
        "resume" => breaker.resume(),
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// The breaker as its fleet sees it; an error where the store did not say.
fn told(breaker: &CircuitBreaker) -> Result<String, BoxError> {
    let snapshot = breaker.snapshot();
    let away = snapshot.fleet.as_ref().and_then(|fleet| fleet.away.clone());
    match (away, snapshot.scope) {
        (Some(away), _) => Err(format!("the store did not take it: {away}").into()),
        (None, StateScope::Fleet) => Ok(snapshot.to_string()),
        (None, _) => Err(format!("the fleet has not confirmed it yet: {snapshot}").into()),
    }
}

async fn list(store: &Arc<dyn Store>) -> Result<(), BoxError> {
    let mut keys = store.keys().await?;
    keys.sort_unstable();
    for key in keys {
        // Only the beginning of a very long name is in its key.
        let Some(name) = Key::parse(&key).and_then(|key| key.name()) else {
            println!("{key} (a name that was too long to be kept)");
            continue;
        };
        let breaker = breaker(store, &name, None)?;
        breaker.flush().await;
        println!("{}", told(&breaker)?);
    }
    Ok(())
}

/// Makes what a Postgres store needs, in the database that the environment names.
async fn migrate() -> Result<(), BoxError> {
    #[cfg(feature = "postgres")]
    {
        let url = std::env::var("FUSEBOX_STORE_URL")?;
        fusebox::store::PostgresStore::migrate(url).await?;
        println!("the table is there");
        Ok(())
    }
    #[cfg(not(feature = "postgres"))]
    Err("only Postgres has something to migrate: build with --features postgres".into())
}
