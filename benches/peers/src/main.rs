//! Measures fusebox beside other circuit breakers and retries. The README says how a number is made.

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
use rows::{Column, Row, cell_id};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

const USAGE: &str = "\
fusebox-peers [--quick] [--ratios] [--instr [--locks LOCKCOUNT]]
    --quick     3 rounds instead of 11
    --ratios    only the comparison, only as ratios
    --instr     also instructions per call (needs valgrind); with --ratios those of retries
    --locks P   with --instr: also locked instructions, by the program built from tools/lockcount.c
fusebox-peers --exec ROW/COLUMN N
    makes N calls and ends, for a profiler";

fn cell_ids(keep: impl Fn(&Row, Column) -> bool) -> Vec<String> {
    let rows = rows::all();
    let cells = rows.iter().flat_map(|row| row.cells.iter().map(move |cell| (row, cell.column)));
    cells.filter(|(row, column)| keep(row, *column)).map(|(row, column)| cell_id(row.id, column)).collect()
}

fn exec(id: &str, n: u64) -> Result<(), String> {
    let find = || -> Option<Runner> {
        let (row, column) = id.split_once('/')?;
        let row = rows::all().into_iter().find(|r| r.id == row)?;
        let (column, ..) = Column::all().find(|(_, name, _)| *name == column)?;
        Some((row.cell(column)?.make)(1).remove(0))
    };
    let mut runner =
        find().ok_or_else(|| format!("no cell named {id}; there are:\n{}", cell_ids(|_, _| true).join("\n")))?;
    runner(n);
    Ok(())
}

/// The paused clock's column is not counted: most of it is the runtime.
fn counts_instructions(row: &Row, column: Column) -> bool {
    match column {
        Column::Closed | Column::Open => row.id.starts_with("fusebox") || row.id == rows::floor::PASSTHROUGH,
        Column::FirstTry | Column::TwoRetries | Column::Stacked => true,
        _ => false,
    }
}

fn print_memory(id: &str, calls: u64) -> Result<(), String> {
    let case = rows::memory().into_iter().find(|case| case.id == id);
    case.ok_or("no such memory case")?.print(calls);
    Ok(())
}

fn run(quick: bool, ratios: bool, count_instructions: bool, locks: Option<&str>) {
    let rounds = if quick { 3 } else { 11 };
    if ratios {
        let mut results = Results::measure(rounds, Vec::new());
        if count_instructions {
            let of_retries = |row: &Row, column| counts_instructions(row, column) && row.cell(Column::Closed).is_none();
            results.instructions = Some(instr::count(&cell_ids(of_retries), None));
        }
        report::comparison(&results, true);
        return report::retries(&results, true);
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
        results.instructions = Some(instr::count(&cell_ids(counts_instructions), locks));
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
