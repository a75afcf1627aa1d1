//! Looks at the breakers of a fleet and commands them, over the fleet's store alone.
//!
//! Exit codes: 0 done; 1 no, which is refused, not found, or `--fail-if-open`; 2 wrong words; 3 the store did not answer; 4
//! it answers, and something is missing: tables, rights, records that can be read.
#![expect(clippy::print_stderr, reason = "a program talks to its reader")]

mod args;
mod change;
mod check;
mod failure;
mod follow;
mod json;
mod list;
mod names;
// The library's: what is shown of others' texts is one rule.
#[path = "../../one_line.rs"]
mod one_line;
mod opened;
mod postgres;
mod settings;
mod show;
mod terminal;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use args::{Args, Command, ConfigCommand};
use failure::{Failure, redacted};

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            // A URL that stands in the wrong place is among the words that are told again.
            eprint!("{}", redacted(&error.render().to_string()));
            return ExitCode::from(2);
        }
        Err(help) => return ended(terminal::print(help.render()), false),
    };
    let is_json = args.options.json;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(run(args)),
        Err(error) => Err(Failure::away(format!("no runtime can be had: {error}"))),
    };
    ended(done, is_json)
}

fn ended(done: Result<(), Failure>, is_json: bool) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell(is_json);
            ExitCode::from(failure.code())
        }
    }
}

async fn run(args: Args) -> Result<(), Failure> {
    let Args { options, command } = args;
    match command {
        Command::List(list) => list::run(&options, &list).await,
        Command::Show(one) => show::run(&options, &one.name).await,
        Command::Watch(watch) => follow::watch(&options, watch.pattern.as_deref()).await,
        Command::Wait(wait) => follow::wait(&options, &wait).await,
        Command::Trip(trip) => change::trip(&options, &trip).await,
        Command::Reset(one) => change::reset(&options, &one).await,
        Command::Resume(one) => change::resume(&options, &one).await,
        Command::Forget(forget) => change::forget(&options, &forget).await,
        Command::ForceOpen(hold) => change::hold(&options, &hold, fusebox::Override::force_open).await,
        Command::Disable(hold) => change::hold(&options, &hold, fusebox::Override::disable).await,
        Command::DryRun(hold) => change::hold(&options, &hold, fusebox::Override::dry_run).await,
        Command::Check(check) => check::run(&options, &check).await,
        Command::Migrate(migrate) => postgres::migrate(&options, &migrate).await,
        Command::Prune(prune) => postgres::prune(&options, prune.older_than).await,
        Command::Config(ConfigCommand::Check { file }) => settings::check(&options, &file),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "fusebox", &mut script);
            terminal::print(String::from_utf8_lossy(&script))
        }
        Command::Man => man(),
    }
}

fn man() -> Result<(), Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(Args::command()).render(&mut page).map_err(|error| Failure::unwritten(&error))?;
    terminal::print(String::from_utf8_lossy(&page))
}
