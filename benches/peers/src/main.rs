//! Measures fusebox beside the other circuit breakers. The README says how a number is made.

#![deny(unsafe_code)]
// The crate's own rule, found by clippy because this folder is inside: here real time is the point.
#![allow(clippy::disallowed_methods)]

mod alloc;
mod budgets;
mod caller;
mod growth;
mod instr;
mod measure;
mod memory;
mod report;
mod results;
mod rows;

use measure::Runner;
use results::Results;
use rows::{Column, Row};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

const USAGE: &str = "\
fusebox-peers [--quick] [--ratios] [--instr [--locks LOCKCOUNT]]
    --quick     3 rounds instead of 11
    --ratios    only the comparison, only as ratios
    --instr     also instructions per call (needs valgrind)
    --locks P   with --instr: also locked instructions, by the program built from tools/lockcount.c
fusebox-peers --exec ROW/COLUMN N
    makes N calls and ends, for a profiler";

fn cell_ids(keep: impl Fn(&Row, Column) -> bool) -> Vec<String> {
    let mut ids = Vec::new();
    for row in rows::all() {
        for (column, name, _) in Column::ALL {
            if row.cell(column).is_some() && keep(&row, column) {
                ids.push(format!("{}/{name}", row.id));
            }
        }
    }
    ids
}

fn exec(id: &str, n: u64) -> Result<(), String> {
    let find = || -> Option<Runner> {
        let (row, column) = id.split_once('/')?;
        let row = rows::all().into_iter().find(|r| r.id == row)?;
        let (column, ..) = Column::ALL.into_iter().find(|(_, name, _)| *name == column)?;
        Some((row.cell(column)?.make)(1).remove(0))
    };
    let mut runner =
        find().ok_or_else(|| format!("no cell named {id}; there are:\n{}", cell_ids(|_, _| true).join("\n")))?;
    runner(n);
    Ok(())
}

fn print_memory(id: &str, calls: u64) -> Result<(), String> {
    let case = rows::memory().into_iter().find(|case| case.id == id);
    case.ok_or("no such memory case")?.print(calls);
    Ok(())
}

fn run(quick: bool, ratios: bool, count_instructions: bool, locks: Option<&str>) {
    let rounds = if quick { 3 } else { 11 };
    if ratios {
        return report::comparison(&Results::measure(rounds, Vec::new()), true);
    }
    let mut results = Results::measure(rounds, rows::growth());
    for case in rows::memory() {
        eprintln!("memory: {}", case.id);
        for calls in case.calls {
            let cost = case.in_own_process(*calls);
            results.memory.extend(cost.map(|cost| (case.id, *calls, cost)));
        }
    }
    if count_instructions {
        let ids = cell_ids(|row, column| {
            let counts = row.id.starts_with("fusebox") || row.id == rows::floor::PASSTHROUGH;
            counts && matches!(column, Column::Closed | Column::Open)
        });
        results.instructions = Some(instr::count(&ids, locks));
    }
    report::document(&results, rounds);
}

fn start() -> Result<(), String> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().map_err(|e| format!("{text}: {e}"));
    match args[..] {
        ["--exec", id, n] => return exec(id, number(n)?),
        ["--memory", id, calls] => return print_memory(id, number(calls)?),
        _ => {}
    }
    let (mut quick, mut ratios, mut instr, mut locks) = (false, false, false, None);
    let mut rest = args.into_iter();
    while let Some(arg) = rest.next() {
        match arg {
            "--quick" => quick = true,
            "--ratios" => ratios = true,
            "--instr" => instr = true,
            "--locks" => locks = Some(rest.next().ok_or(USAGE)?),
            _ => {
                println!("{USAGE}");
                return Ok(());
            }
        }
    }
    run(quick, ratios, instr, locks);
    Ok(())
}

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
