//! What is measured for which document.

use crate::cli::Wanted;
use crate::instr::{self, Counts, Stepper};
use crate::laws;
use crate::other_build::Build;
use crate::plot;
use crate::programs;
use crate::publish;
use crate::report;
use crate::results::Results;
use crate::rows::{self, Column, Row};

/// What to count of the cells of all rows.
pub fn cells(keep: impl Fn(&Row, Column) -> bool) -> Vec<Counts> {
    let mut counts = Vec::new();
    for row in &rows::all() {
        let kept = row.cells.iter().filter(|cell| keep(row, cell.column));
        counts.extend(kept.map(|cell| Counts::of(row, cell.column)));
    }
    counts
}

/// The paused clock's column is not counted: most of it is the runtime.
fn counts_instructions(row: &Row, column: Column) -> bool {
    match column {
        Column::Closed | Column::Open | Column::Tenth | Column::Cycle => {
            row.id.starts_with("fusebox") || row.id == rows::floor::PASSTHROUGH
        }
        Column::FirstTry | Column::TwoRetries | Column::NoBudget | Column::Stacked => true,
        _ => false,
    }
}

fn weigh(results: &mut Results) {
    for case in rows::memory() {
        eprintln!("memory: {}", case.id);
        for calls in case.calls {
            let cost = case.in_own_process(*calls);
            results.memory.extend(cost.map(|cost| (case.id, *calls, cost)));
        }
    }
}

fn measure_keys(rounds: usize) -> Vec<rows::keys::Keys> {
    let mut keys = rows::keys::rows();
    for round in 1..=rounds.min(rows::keys::ROUNDS) {
        eprintln!("names: round {round}");
        keys.iter_mut().for_each(|row| row.round());
    }
    keys.iter_mut().for_each(|row| row.weigh());
    keys
}

/// Only the comparison, as the README has it.
pub fn ratios(wanted: &Wanted) {
    let mut results = Results::measure(rows::all(), wanted.rounds(), Vec::new());
    if wanted.instr {
        let of_retries = |row: &Row, column| counts_instructions(row, column) && row.cell(Column::Closed).is_none();
        results.instructions = Some(instr::count(&cells(of_retries), None));
    }
    println!("{}\n{}", report::comparison(&results, true), report::retries(&results, true));
}

pub fn document(wanted: &Wanted) -> Result<(), String> {
    let rounds = wanted.rounds();
    let mut results = Results::measure(rows::all(), rounds, rows::growth());
    weigh(&mut results);
    if wanted.keys {
        results.keys = measure_keys(rounds);
    }
    if wanted.instr {
        let stepper = if wanted.locks { Some(Stepper::build()?) } else { None };
        results.instructions = Some(instr::count(&cells(counts_instructions), stepper.as_ref()));
        results.laws = laws::count(rows::pairs()).ok();
    }
    if wanted.more {
        let arguments: &[&str] = if wanted.quick { &["--parts", "--quick"] } else { &["--parts"] };
        results.more.push(Build::Parts.output("wire", arguments)?);
        let arguments: &[&str] = if wanted.quick { &["--operated", "--quick"] } else { &["--operated"] };
        results.operated = Some(Build::Operated.output("operated", arguments)?);
    }
    if wanted.programs {
        results.more.push(programs::report());
    }
    println!("{}", report::document(&results, rounds));
    if wanted.publish { publish_all(&results) } else { Ok(()) }
}

/// The comparison in the crate's README and docs.
fn publish_all(results: &Results) -> Result<(), String> {
    let breakers = format!("{}.\n\n{}", crate::machine::line(), report::comparison(results, true));
    publish::readme(&[("peers", breakers), ("retry peers", report::retries(results, true))])?;
    publish::write("docs/peers.svg", &plot::svg(results))
}

/// What the build with more features has to say.
#[cfg(feature = "parts")]
pub fn parts(wanted: &Wanted) -> Result<(), String> {
    let rows = rows::all().into_iter().filter(|row| {
        [rows::floor::PASSTHROUGH, rows::OURS].contains(&row.id) || row.cell(Column::SmallBody).is_some()
    });
    let mut results = Results::measure(rows.collect(), wanted.rounds(), Vec::new());
    weigh(&mut results);
    println!("{}\n{}\n{}", report::with_features(&results), report::replay(&results), report::shared(&results));
    #[cfg(all(unix, feature = "wire"))]
    println!("{}", report::wire(&crate::wire::measure(wanted.rounds())));
    Ok(())
}

/// The row of the comparison where an operator looks on: beside the floor in this run.
pub fn operated(wanted: &Wanted) -> Result<(), String> {
    if Build::THIS != Build::Operated {
        return Err("this needs `--features operated`".into());
    }
    let rows = rows::all().into_iter().filter(|row| [rows::floor::PASSTHROUGH, rows::OURS].contains(&row.id));
    let results = Results::measure(rows.collect(), wanted.rounds(), Vec::new());
    println!("{}", report::row_for_another(&results));
    Ok(())
}

#[cfg(not(feature = "parts"))]
pub fn parts(_: &Wanted) -> Result<(), String> {
    Err("this needs `--features parts`".into())
}
