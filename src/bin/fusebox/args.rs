//! What the command line says.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use fusebox::State;

/// Looks at the circuit breakers of a fleet and commands them, over the fleet's store alone
///
/// The store is that of `--store`, else of FUSEBOX_STORE_URL or HW_DB_HOST and HW_DB_PASSWORD, of the environment or a file
/// `.env`. A password on the command line can be seen by others on this machine: the environment is the better place.
///
/// Exit codes: 0 done; 1 no (refused, not found, --fail-if-open, wait timed out); 2 wrong words; 3 the store did not answer;
/// 4 it answers, and something is missing (tables, rights, records that can be read).
#[derive(Debug, Parser)]
#[command(name = "fusebox", version, max_term_width = 120)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Group)]
pub(crate) struct Options {
    /// The store: redis://, rediss://, redis+sentinel:// or postgres://
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// The namespace of the breakers; else FUSEBOX_STORE_NAMESPACE
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) namespace: Option<String>,
    /// The schema of the tables (PostgreSQL); else FUSEBOX_STORE_SCHEMA
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) schema: Option<String>,
    /// The first of the tables (PostgreSQL); else FUSEBOX_STORE_TABLE
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) table: Option<String>,
    /// Write JSON, with `"schema": 1`
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// How long the store has to answer
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every breaker in the store, a line each
    List(List),
    /// Everything that the record of one breaker says
    Show(One),
    /// A line for each transition, until Ctrl-C
    Watch(Watch),
    /// Waits until a breaker is in a state, for deploy scripts
    Wait(Wait),
    /// Opens the circuit; it recovers by itself
    Trip(Trip),
    /// Closes the circuit, and forgets its failures
    Reset(Changed),
    /// Ends an override
    Resume(Changed),
    /// Takes the record of a breaker that is not used any more out of the store
    Forget(Forget),
    /// Keeps the circuit open until an operator resumes it
    ForceOpen(Hold),
    /// Lets every call through, and judges none
    Disable(Hold),
    /// Lets every call through, and tells when the circuit would have opened
    DryRun(Hold),
    /// Finds out whether the store answers, and what it lets one do
    Check(Check),
    /// Makes or completes the tables (PostgreSQL)
    Migrate(Migrate),
    /// Takes away what is long over (PostgreSQL; instances do it once an hour as well)
    Prune(Prune),
    /// About a file of settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints what makes a shell complete these commands
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints the page of the manual
    Man,
}

#[derive(Debug, Group)]
pub(crate) struct List {
    /// Names: `*` is any text, `?` any one character; without either, every name in which it stands
    pub(crate) pattern: Option<String>,
    /// Only those in one of these conditions
    #[arg(long, value_delimiter = ',', value_name = "STATE")]
    pub(crate) state: Vec<Condition>,
    /// In which order
    #[arg(long, default_value = "trouble")]
    pub(crate) sort: Sort,
    /// Again each second, until Ctrl-C
    #[arg(long)]
    pub(crate) watch: bool,
    /// Exit with 1 if one of the listed circuits is open
    #[arg(long, conflicts_with = "watch")]
    pub(crate) fail_if_open: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Condition {
    Closed,
    Open,
    #[value(alias = "half_open")]
    HalfOpen,
    /// An override stands
    Overridden,
    /// The record cannot be used
    Unreadable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sort {
    /// Overridden, open, half-open and unreadable ones first
    Trouble,
    Name,
    /// The newest transition first
    Since,
}

#[derive(Debug, Group)]
pub(crate) struct One {
    /// The name of the breaker
    pub(crate) name: String,
}

#[derive(Debug, Group)]
pub(crate) struct Watch {
    /// Names: `*` is any text, `?` any one character; without either, every name in which it stands
    pub(crate) pattern: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Wait {
    /// The name of the breaker
    pub(crate) name: String,
    /// The state to wait for
    #[arg(long)]
    pub(crate) state: WaitState,
    /// For how long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time)]
    pub(crate) r#for: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WaitState {
    Closed,
    Open,
    #[value(alias = "half_open")]
    HalfOpen,
}

impl WaitState {
    pub(crate) const fn state(self) -> State {
        match self {
            Self::Closed => State::Closed,
            Self::Open => State::Open,
            Self::HalfOpen => State::HalfOpen,
        }
    }
}

#[derive(Debug, Group)]
pub(crate) struct Changed {
    /// The name of the breaker
    pub(crate) name: String,
    /// Make the breaker where the store has none of that name
    #[arg(long)]
    pub(crate) create: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Trip {
    #[command(flatten)]
    pub(crate) breaker: Changed,
    /// For how long; else for as long as the fleet's own rule says
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) cooldown: Option<Duration>,
}

#[derive(Debug, Group)]
pub(crate) struct Forget {
    /// The name of the breaker
    pub(crate) name: String,
    /// Yes, do it
    #[arg(long)]
    pub(crate) yes: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Hold {
    #[command(flatten)]
    pub(crate) breaker: Changed,
    /// Why: it is shown to each caller that is rejected
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Ends by itself after this time; else when it is resumed
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) r#for: Option<Duration>,
    /// Who does it; else USER of the environment
    #[arg(long, value_name = "WHO")]
    pub(crate) actor: Option<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Check {
    /// Find out as well what this role lacks to use the tables (PostgreSQL)
    #[arg(long)]
    pub(crate) role: Option<String>,
    /// Write a record of its own as well, which is gone at once
    #[arg(long)]
    pub(crate) write: bool,
}

#[derive(Debug, Group)]
pub(crate) struct Migrate {
    /// Print the SQL instead; asks no server
    #[arg(long)]
    pub(crate) print: bool,
    /// Let this role use the tables; may be said again
    #[arg(long, value_name = "ROLE")]
    pub(crate) grant_to: Vec<String>,
}

#[derive(Debug, Group)]
pub(crate) struct Prune {
    /// How long closed breakers that are not used are kept
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = time)]
    pub(crate) older_than: Duration,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Says in words what a file of settings configures, or what is wrong with it
    Check {
        /// TOML, or JSON where the name ends so
        file: PathBuf,
    },
}

fn time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "a time has a unit, as in 30s, 5m, 1h 30m".to_owned())
}
