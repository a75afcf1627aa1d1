//! What the command line says.

use std::time::Duration;

use fusebox::env::StoreFromEnv;
use fusebox::{BoxError, Override};

pub(crate) const USAGE: &str = "usage: fleet_admin <command>

  list                          every breaker in the store
  show    <name>                one breaker
  trip    <name>                open it; it recovers by itself
  reset   <name>                close it and forget its failures
  force   <name> <reason>       keep it open until an operator resumes it
  disable <name> <reason>       let every call through, and judge none
  dry-run <name> <reason>       let every call through, and tell when it would have opened
  resume  <name>                end an override
  check                         ask the store whether it can be used
  migrate                       make or complete the table (PostgreSQL only)

  --actor <who>                 who gives an override
  --for <seconds>               when it ends by itself
  --cooldown <seconds>          how long a trip lasts (default 30)
  --create                      make the breaker where the store has none of that name
  --namespace <name>            of the breakers; else FUSEBOX_STORE_NAMESPACE
  --schema <name>               of the tables; else FUSEBOX_STORE_SCHEMA
  --table <name>                the first of them; else FUSEBOX_STORE_TABLE
  --print                       migrate: print the SQL instead; asks no server
  --grant-to <role>             migrate: let this role use the store; may be said again
  --                            what follows is no option";

/// The commands that are about one breaker.
const COMMANDS: [&str; 7] = ["show", "trip", "reset", "force", "disable", "dry-run", "resume"];

#[derive(Debug, Default)]
pub(crate) struct Args {
    pub(crate) words: Vec<String>,
    actor: Option<String>,
    expires_in: Option<Duration>,
    pub(crate) cooldown: Option<Duration>,
    pub(crate) create: bool,
    namespace: Option<String>,
    schema: Option<String>,
    table: Option<String>,
    pub(crate) print: bool,
    pub(crate) roles: Vec<String>,
}

impl Args {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, BoxError> {
        let mut parsed = Self::default();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
            match arg.as_str() {
                "--actor" => parsed.actor = Some(value()?),
                "--for" => parsed.expires_in = Some(seconds(&arg, &value()?)?),
                "--cooldown" => parsed.cooldown = Some(seconds(&arg, &value()?)?),
                "--create" => parsed.create = true,
                "--namespace" => parsed.namespace = Some(value()?),
                "--schema" => parsed.schema = Some(value()?),
                "--table" => parsed.table = Some(value()?),
                "--print" => parsed.print = true,
                "--grant-to" => parsed.roles.push(value()?),
                "--" => parsed.words.extend(args.by_ref()),
                _ if arg.starts_with("--") => return Err(format!("{arg:?} is no option\n\n{USAGE}").into()),
                _ => parsed.words.push(arg),
            }
        }
        parsed.check()?;
        Ok(parsed)
    }

    fn check(&self) -> Result<(), BoxError> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        if words[..] != ["migrate"] && (self.print || !self.roles.is_empty()) {
            return Err("--print and --grant-to are for `migrate` alone".into());
        }
        match words[..] {
            [] | ["list" | "check" | "migrate"] => Ok(()),
            [command] if COMMANDS.contains(&command) => Err(format!("{command} needs a name").into()),
            ["force" | "disable" | "dry-run", _] => {
                Err("say why: the reason is shown to each caller that is rejected".into())
            }
            ["force" | "disable" | "dry-run", ..] => Ok(()),
            [command, _] if COMMANDS.contains(&command) => Ok(()),
            [command, _, more, ..] if COMMANDS.contains(&command) => {
                Err(format!("{command} takes a name, and not {more:?} as well").into())
            }
            [command, ..] => Err(format!("{command:?} is no command, or not with that many words\n\n{USAGE}").into()),
        }
    }

    pub(crate) fn signed(&self, order: Override) -> Override {
        let order = self.actor.iter().fold(order, Override::by);
        self.expires_in.into_iter().fold(order, Override::expires_after)
    }

    /// The place in the store, where it is said.
    pub(crate) fn at_place(&self, store: StoreFromEnv) -> StoreFromEnv {
        let store = self.namespace.iter().fold(store, StoreFromEnv::namespace);
        let store = self.schema.iter().fold(store, StoreFromEnv::schema);
        self.table.iter().fold(store, StoreFromEnv::table)
    }
}

fn seconds(option: &str, text: &str) -> Result<Duration, BoxError> {
    let seconds = text.parse().map_err(|_| format!("{option} is {text:?}, allowed is a whole number of seconds"))?;
    Ok(Duration::from_secs(seconds))
}
