//! The markdown document.

use crate::budgets;
use crate::growth::SIZES;
use crate::measure::{REPEATED, median};
use crate::results::Results;
use crate::rows::floor::PASSTHROUGH;
use crate::rows::retry::FLOOR;
use crate::rows::{self, Column, Titled};
use std::sync::atomic::Ordering::Relaxed;

fn number(x: f64) -> String {
    match x {
        x if x.is_nan() => "–".into(),
        x if x >= 99.95 => format!("{x:.0}"),
        x => format!("{x:.1}"),
    }
}

fn or_dash(x: Option<f64>, show: impl Fn(f64) -> String) -> String {
    x.map_or("–".into(), show)
}

fn header(first: &str, columns: &[String]) {
    println!("| {first} | {} |", columns.join(" | "));
    println!("|---|{}", "---:|".repeat(columns.len()));
}

fn corner(ratios_only: bool) -> &'static str {
    if ratios_only { "× the floor" } else { "ns per call (× the floor)" }
}

/// One cell for each column: its time beside the floor's.
fn times(results: &Results, id: &str, floor: &str, columns: &[Titled], ratios_only: bool) -> Vec<String> {
    let time = |column| {
        let ratio = or_dash(results.ratio(id, floor, column), number);
        match results.ns(id, column) {
            Some(ns) if !ratios_only => format!("{} ({ratio})", number(ns)),
            _ => ratio,
        }
    };
    columns.iter().map(|(column, ..)| time(*column)).collect()
}

fn titles(columns: &[Titled]) -> Vec<String> {
    columns.iter().map(|(.., title)| title.to_string()).collect()
}

fn hundredths(x: f64) -> String {
    format!("{}", (x * 100.0).round() / 100.0)
}

pub fn comparison(results: &Results, ratios_only: bool) {
    let mut columns = titles(&Column::BREAKERS);
    columns.extend(["throughput of 2 threads / 1".into(), "heap allocations per closed call".into()]);
    header(corner(ratios_only), &columns);
    for row in results.with(Column::Closed) {
        let mut cells = times(results, row.id, PASSTHROUGH, &Column::BREAKERS, ratios_only);
        cells.push(or_dash(results.scaling(row.id), |x| format!("{x:.2}")));
        cells.push(or_dash(results.allocations(row.id, Column::Closed), hundredths));
        println!("| {} | {} |", row.name, cells.join(" | "));
    }
    println!();
}

/// Retries alone, then with a breaker inside.
pub fn retries(results: &Results, ratios_only: bool) {
    use Column::{FirstTry, Stacked, TwoRetries, TwoWaits};
    retry_table(
        results,
        ratios_only,
        &Column::RETRIES,
        &[("heap allocations, first try", FirstTry), ("two retries", TwoWaits)],
        &[("bytes of the future", FirstTry), ("one that can wait", TwoWaits)],
        &[("instructions, first try", FirstTry), ("two retries", TwoRetries)],
    );
    retry_table(
        results,
        ratios_only,
        &Column::STACKS,
        &[("heap allocations", Stacked)],
        &[("bytes of the future", Stacked)],
        &[("instructions", Stacked)],
    );
}

type Counts<'a> = &'a [(&'a str, Column)];

fn retry_table(
    results: &Results,
    ratios_only: bool,
    columns: &[Titled],
    allocations: Counts<'_>,
    bytes: Counts<'_>,
    instructions: Counts<'_>,
) {
    let instructions = if results.instructions.is_some() { instructions } else { &[] };
    let mut head = titles(columns);
    head.extend([allocations, bytes, instructions].concat().iter().map(|(title, _)| title.to_string()));
    header(corner(ratios_only), &head);
    for row in results.with(columns[0].0) {
        let mut cells = times(results, row.id, FLOOR, columns, ratios_only);
        cells.extend(allocations.iter().map(|(_, column)| or_dash(results.allocations(row.id, *column), hundredths)));
        cells.extend(bytes.iter().map(|(_, column)| {
            let weight = row.cell(*column).and_then(|cell| cell.weigh.as_ref()).map(|weigh| weigh());
            or_dash(weight, |x| format!("{x}"))
        }));
        cells.extend(
            instructions
                .iter()
                .map(|(_, column)| or_dash(results.instructions(row.id, *column), |x| format!("{x:.0}"))),
        );
        println!("| {} | {} |", row.name, cells.join(" | "));
    }
    println!();
}

fn growth(results: &Results) {
    println!("## Calls in a 60 s window\n\nns per closed call, by how many calls the window holds.\n");
    header("", &SIZES.map(|size| size.to_string()));
    for growth in &results.growth {
        let cells = growth.samples.each_ref().map(|samples| number(median(samples.iter().copied())));
        println!("| {} | {} |", growth.name, cells.join(" | "));
    }
    println!();
}

fn memory(results: &Results) {
    println!("## Memory\n\nBytes per breaker kept by name: its entry, its name, its window.\n");
    let columns = ["idle", "after 200 calls each", "beyond the names in a map", "ns to make one"];
    header("", &columns.map(String::from));
    for case in rows::memory() {
        let idle = results.bytes(case.id, 0);
        let beyond = budgets::beyond_the_name(results, case.id);
        let ns = results.memory.iter().find(|(id, calls, _)| *id == case.id && *calls == 0);
        println!(
            "| {} | {} | {} | {} | {} |",
            case.name,
            or_dash(idle, |x| format!("{x:.0}")),
            or_dash(results.bytes(case.id, 200), |x| format!("{x:.0}")),
            or_dash(beyond, |x| format!("{x:.0}")),
            or_dash(ns.map(|(.., cost)| cost.ns), |x| format!("{x:.0}")),
        );
    }
    println!();
}

fn instructions(results: &Results) {
    let Some(counted) = &results.instructions else { return };
    println!("## Instructions per call\n");
    match counted {
        Err(why) => println!("{why}\n"),
        Ok(counted) => {
            println!("User space, the service and the loop around it included.\n");
            header("", &["instructions".into(), "of which lock a cache line".into()]);
            for c in counted {
                let instructions = or_dash(c.instructions, |x| format!("{x:.0}"));
                println!("| {} | {instructions} | {} |", c.id, or_dash(c.locked, |x| format!("{x:.2}")));
            }
            println!();
        }
    }
}

pub fn document(results: &Results, rounds: usize) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("# fusebox beside its peers\n");
    println!(
        "{rounds} rounds, {cores} cores, {} disturbed batches repeated. The ratios hold within this run only.\n",
        REPEATED.load(Relaxed)
    );
    comparison(results, false);
    println!("## Retries\n");
    retries(results, false);
    growth(results);
    memory(results);
    instructions(results);
    if cfg!(feature = "ours") {
        budgets::print(results);
    }
}
