//! The command line.

use crate::gate;
use crate::instr::{self, Stepper};
use crate::measure::Runner;
use crate::rows;
use crate::run;
use std::process::ExitCode;

const USAGE: &str = "\
fusebox-peers [--quick] [PART...]
    the comparison, retries, calls in a window, memory; and with
    --keys      many names and a flood of them
    --more      bodies, calls over the loopback, a fleet's breakers, counts and logs (makes two other builds)
    --programs  what it takes to build a program
    --instr     instructions per call, and what they grow with (needs valgrind)
    --locks     with --instr: also locked instructions (needs cc; Linux on x86-64)
    --publish   puts its tables into the crate's README, and a plot into docs/peers.svg
    --all       all of that
    --quick     3 rounds instead of 11
fusebox-peers --ratios [--quick] [--instr]
    only the comparison and retries, only as ratios, as in the README
fusebox-peers --gate [--write]
    compares what does not depend on the machine with budgets.toml, or writes that file
fusebox-peers --exec ROW/COLUMN N
    makes N calls and ends, for a profiler";

#[derive(Default)]
pub struct Wanted {
    pub quick: bool,
    pub keys: bool,
    pub more: bool,
    pub programs: bool,
    pub instr: bool,
    pub locks: bool,
    pub publish: bool,
    ratios: bool,
    parts: bool,
    operated: bool,
}

impl Wanted {
    pub fn rounds(&self) -> usize {
        if self.quick { 3 } else { 11 }
    }

    fn of(args: &[&str]) -> Option<Wanted> {
        let mut wanted = Wanted::default();
        for arg in args {
            match *arg {
                "--quick" => wanted.quick = true,
                "--ratios" => wanted.ratios = true,
                "--parts" => wanted.parts = true,
                "--operated" => wanted.operated = true,
                "--keys" => wanted.keys = true,
                "--more" => wanted.more = true,
                "--programs" => wanted.programs = true,
                "--instr" => wanted.instr = true,
                "--locks" => wanted.locks = true,
                "--publish" => wanted.publish = true,
                "--all" => {
                    let locks = Stepper::IS_KNOWN;
                    wanted =
                        Wanted { keys: true, more: true, programs: true, instr: true, locks, publish: true, ..wanted };
                }
                _ => return None,
            }
        }
        Some(wanted)
    }

    fn run(&self) -> Result<(), String> {
        match self {
            Wanted { parts: true, .. } => run::parts(self),
            Wanted { operated: true, .. } => run::operated(self),
            Wanted { ratios: true, .. } => {
                run::ratios(self);
                Ok(())
            }
            _ => run::document(self),
        }
    }
}

/// What callgrind counts: not what is built before, a thousand breakers in some cells, whose maps differ with each seed.
#[inline(never)]
fn counted(runner: &mut Runner, n: u64) {
    runner(n);
}

/// `marked`: what counts the locked instructions is told when the calls begin and end.
fn exec(id: &str, n: u64, marked: bool) -> Result<(), String> {
    let mut runner = rows::runner(id).ok_or_else(|| {
        let all: Vec<_> = run::cells(|_, _| true).into_iter().map(|cell| cell.id).collect();
        format!("no cell named {id}; there are:\n{}", all.join("\n"))
    })?;
    if marked {
        instr::mark();
    }
    counted(&mut runner, n);
    if marked {
        instr::mark();
    }
    Ok(())
}

fn print_memory(id: &str, calls: u64) -> Result<(), String> {
    let case = rows::memory().into_iter().find(|case| case.id == id);
    case.ok_or("no such memory case")?.print(calls);
    Ok(())
}

fn start() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
    match args[..] {
        ["--exec", id, n] => exec(id, number(n)?, false),
        ["--marked", id, n] => exec(id, number(n)?, true),
        ["--memory", id, calls] => print_memory(id, number(calls)?),
        ["--gate"] => gate::run(false),
        ["--gate", "--write"] => gate::run(true),
        ["--help"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Wanted::of(&args).ok_or(USAGE)?.run(),
    }
}

pub fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
