//! The markdown document.

use crate::goals;
use crate::growth::SIZES;
use crate::laws;
use crate::machine;
use crate::measure::{REPEATED, median};
use crate::memory::Memory;
#[cfg(feature = "parts")]
use crate::other_build::Build;
use crate::results::Results;
use crate::rows::floor::PASSTHROUGH;
use crate::rows::keys::{self, Load};
use crate::rows::retry::FLOOR;
use crate::rows::{self, Column, Row, Titled};
use crate::table::{Table, hundredths, number, or_dash, whole};
use std::fmt::Write;
use std::sync::atomic::Ordering::Relaxed;

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

fn cells(results: &Results, row: &Row, ratios_only: bool) -> Vec<String> {
    let mut cells = times(results, row.id, PASSTHROUGH, &Column::BREAKERS, ratios_only);
    cells.push(or_dash(results.scaling(row.id), |x| format!("{x:.2}")));
    cells.push(or_dash(results.allocations(row.id, Column::Closed), hundredths));
    let weight = || or_dash(row.cell(Column::Closed).and_then(|cell| (cell.weigh)()), whole);
    cells.extend((!ratios_only).then(weight));
    cells
}

/// Cells of a row that another build shows in its comparison: with times, and without.
pub fn row_for_another(results: &Results) -> String {
    let lines = [false, true].map(|ratios_only| {
        let row = results.with(Column::Closed).find(|row| row.id == rows::OURS).expect("it is measured");
        cells(results, row, ratios_only).join(" | ")
    });
    lines.join("\n")
}

pub fn comparison(results: &Results, ratios_only: bool) -> String {
    let mut columns = titles(&Column::BREAKERS);
    columns.extend(["throughput of 2 threads / 1".into(), "heap allocations per closed call".into()]);
    // The README's table is wide enough.
    columns.extend((!ratios_only).then(|| "bytes of the future".into()));
    let mut table = Table::new(corner(ratios_only), columns);
    for row in results.with(Column::Closed) {
        table.row(row.name, cells(results, row, ratios_only));
        let operated = results.operated.as_ref().filter(|_| row.id == rows::OURS);
        if let Some(line) = operated.and_then(|lines| lines.lines().nth(usize::from(ratios_only))) {
            table.row("**fusebox**, last 100, with counts and tracing", line.split(" | ").map(String::from));
        }
    }
    table.to_string()
}

/// Retries alone, then with a breaker inside.
pub fn retries(results: &Results, ratios_only: bool) -> String {
    use Column::{FirstTry, Stacked, TwoRetries, TwoWaits};
    let alone = retry_table(
        results,
        ratios_only,
        &Column::RETRIES,
        &[("heap allocations, first try", FirstTry), ("two retries", TwoWaits)],
        &[("bytes of the future", FirstTry), ("one that can wait", TwoWaits)],
        &[("instructions, first try", FirstTry), ("two retries", TwoRetries)],
    );
    let stacks = retry_table(
        results,
        ratios_only,
        &Column::STACKS,
        &[("heap allocations", Stacked)],
        &[("bytes of the future", Stacked)],
        &[("instructions", Stacked)],
    );
    format!("{alone}\n{stacks}")
}

type Counts<'a> = &'a [(&'a str, Column)];

fn retry_table(
    results: &Results,
    ratios_only: bool,
    columns: &[Titled],
    allocations: Counts<'_>,
    bytes: Counts<'_>,
    instructions: Counts<'_>,
) -> Table {
    let instructions = if results.instructions.is_some() { instructions } else { &[] };
    let mut head = titles(columns);
    head.extend([allocations, bytes, instructions].concat().iter().map(|(title, _)| title.to_string()));
    let mut table = Table::new(corner(ratios_only), head);
    for row in results.with(columns[0].0) {
        let mut cells = times(results, row.id, FLOOR, columns, ratios_only);
        cells.extend(allocations.iter().map(|(_, column)| or_dash(results.allocations(row.id, *column), hundredths)));
        cells.extend(bytes.iter().map(|(_, column)| {
            let weight = row.cell(*column).and_then(|cell| (cell.weigh)());
            or_dash(weight, whole)
        }));
        cells.extend(instructions.iter().map(|(_, column)| or_dash(results.instructions(row.id, *column), whole)));
        table.row(row.name, cells);
    }
    table
}

#[cfg(feature = "parts")]
pub fn replay(results: &Results) -> String {
    let mut table = Table::new(corner(false), titles(&Column::BODIES));
    for row in results.with(Column::SmallBody) {
        table.row(row.name, times(results, row.id, rows::bodies::FLOOR, &Column::BODIES, false));
    }
    format!("## Bodies that are sent again\n\n{table}")
}

fn keyed(keys: &[keys::Keys]) -> String {
    let titles = Load::ALL.map(|load| [load.title().to_string(), "MiB held after a million calls".into()]);
    let mut table = Table::new(corner(false), titles.concat());
    for row in keys {
        let cells = row.samples.iter().zip(row.held).zip(&keys[0].samples).map(|((samples, held), floor)| {
            let (ns, ratio) = (median(samples.iter().copied()), crate::measure::ratio(samples, floor));
            [format!("{} ({})", number(ns), number(ratio)), number(held as f64 / f64::from(1 << 20))]
        });
        table.row(row.name, cells.flatten());
    }
    format!("## Many names\n\n{table}")
}

fn growth(results: &Results) -> String {
    let mut table = Table::new("", SIZES.map(|size| size.to_string()));
    for growth in &results.growth {
        table.row(growth.name, growth.samples.iter().map(|samples| number(median(samples.iter().copied()))));
    }
    format!("## Calls in a 60 s window\n\nns per closed call, by how many calls the window holds.\n\n{table}")
}

/// What grows with what, in instructions.
pub fn laws(counted: &[laws::Counted]) -> String {
    let columns = ["n", "instructions at n", "at 100 n", "ratio", "grows with"];
    let mut table = Table::new("what is a hundred times as large", columns);
    for of_pair in counted {
        let pair = &of_pair.pair;
        let size = |at: usize| or_dash(of_pair.instructions.map(|both| both[at]), whole);
        let ratio = or_dash(of_pair.ratio(), hundredths);
        let cells = [pair.small.to_string(), size(0), size(1), ratio, of_pair.law().to_string()];
        table.row(&format!("{}: {}", pair.grows, pair.call), cells);
    }
    format!("## What grows\n\n{table}")
}

#[cfg(all(unix, feature = "wire"))]
pub fn wire(rows: &[(&'static str, crate::wire::Ends)]) -> String {
    let columns = ["requests per second", "p50, µs", "p99, µs", "µs of a processor per request", "the same / without"];
    let mut table = Table::new("", columns);
    for (name, ends) in rows {
        let ratio = or_dash(ends.cpu_ratio, |x| format!("{x:.2}"));
        let [p50, p99, cpu] = [ends.p50_us, ends.p99_us, ends.cpu_us].map(number);
        table.row(name, [whole(ends.per_second), p50, p99, cpu, ratio]);
    }
    format!(
        "## Over the loopback\n\nSixteen callers, as fast as they are answered; client, server and system share the \
         cores.\n\n{table}"
    )
}

fn bytes(results: &Results, keep: impl Fn(&Memory) -> bool) -> Table {
    let columns = ["idle", "after 200 calls each", "beyond the names in a map", "ns to make one"];
    let mut table = Table::new("", columns);
    for case in rows::memory().iter().filter(|case| keep(case)) {
        let beyond = goals::beyond_the_name(results, case.id).filter(|_| case.keyed);
        let ns = results.memory.iter().find(|(id, calls, _)| *id == case.id && *calls == 0);
        let cells = [
            or_dash(results.bytes(case.id, 0), whole),
            or_dash(results.bytes(case.id, 200), whole),
            or_dash(beyond, whole),
            or_dash(ns.map(|(.., cost)| cost.ns), whole),
        ];
        table.row(case.name, cells);
    }
    table
}

fn memory(results: &Results) -> String {
    let table = bytes(results, |_| true);
    format!(
        "## Memory\n\nBytes per breaker: kept by name with its entry and its name, or alone with its handle; and its \
         window.\n\n{table}"
    )
}

/// What the features of fusebox cost that this build has.
#[cfg(feature = "parts")]
pub fn with_features(results: &Results) -> String {
    let table = comparison(results, false);
    format!("## With the features {}\n\n{table}", Build::THIS.features())
}

#[cfg(feature = "parts")]
pub fn shared(results: &Results) -> String {
    let table = bytes(results, |case| rows::is_ours(case.id));
    format!("## Memory with these features\n\n{table}")
}

fn instructions(results: &Results) -> Option<String> {
    let counted = match results.instructions.as_ref()? {
        Err(why) => return Some(format!("## Instructions per call\n\n{why}.\n")),
        Ok(counted) => counted,
    };
    let mut table = Table::new("", ["instructions", "of which lock a cache line"]);
    for c in counted {
        table.row(&c.id, [or_dash(c.instructions, whole), or_dash(c.locked, |x| format!("{x:.2}"))]);
    }
    Some(format!("## Instructions per call\n\nUser space, the service and the loop around it included.\n\n{table}"))
}

pub fn document(results: &Results, rounds: usize) -> String {
    let mut text = format!(
        "# fusebox beside its peers\n\n{}. {rounds} rounds, {} disturbed batches repeated. The ratios hold within this \
         run only.\n\n",
        machine::line(),
        REPEATED.load(Relaxed)
    );
    let mut parts = vec![
        comparison(results, false),
        format!("## Retries\n\n{}", retries(results, false)),
        growth(results),
        memory(results),
    ];
    parts.extend((!results.keys.is_empty()).then(|| keyed(&results.keys)));
    parts.extend(instructions(results));
    parts.extend(results.laws.as_deref().map(laws));
    parts.extend(results.more.iter().cloned());
    parts.extend(cfg!(feature = "ours").then(|| goals::table(results)));
    parts.iter().for_each(|part| writeln!(text, "{part}").expect("a string takes it"));
    text
}
