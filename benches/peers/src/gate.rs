//! Figures that do not depend on the machine, and fail where they rise: instructions, those that lock a cache line, heap
//! allocations, bytes, and by which law a cost grows.

use crate::budgets::{self, ALLOCATIONS, BYTES, Figures, INSTRUCTIONS, LOCKED, TIMES};
use crate::instr::{self, Counts, Stepper};
use crate::laws::{self, Counted};
use crate::other_build::Build;
use crate::report;
use crate::results::allocations_per_call;
use crate::rows::{self, Cell, Column, Row, cell_id, is_ours};

/// Where the instructions of a call are its own: not another thread's, not the runtime's.
fn has_own_instructions(column: Column) -> bool {
    column.threads() == 1 && column != Column::TwoWaits
}

/// A build with more features has what these features are for, and one row to tell what they cost beside that.
fn is_gated(row: &Row) -> bool {
    match Build::THIS {
        Build::Plain => is_ours(row.id),
        Build::Parts => row.id == rows::OURS || is_ours(row.id) && row.cell(Column::SmallBody).is_some(),
        Build::Operated => row.id == rows::OURS,
    }
}

fn cells(rows: &[Row]) -> impl Iterator<Item = (&Row, &Cell)> {
    rows.iter().filter(|row| is_gated(row)).flat_map(|row| row.cells.iter().map(move |cell| (row, cell)))
}

fn measure() -> Result<(Figures, Vec<Counted>), String> {
    let mut figures = Figures::new();
    let mut note = |what: String, figure, value: f64| {
        figures.entry(what).or_default().insert(figure, value);
    };
    let rows = rows::all();
    let mut counts: Vec<Counts> = Vec::new();
    for (row, cell) in cells(&rows) {
        let id = cell_id(row.id, cell.column);
        if cell.column.threads() == 1 {
            note(id.clone(), ALLOCATIONS, (allocations_per_call(cell) * 1_000.0).round() / 1_000.0);
        }
        if let Some(bytes) = (cell.weigh)() {
            note(id.clone(), BYTES, bytes);
        }
        if has_own_instructions(cell.column) {
            counts.push(Counts::of(row, cell.column));
        }
    }
    for case in rows::memory().iter().filter(|case| is_ours(case.id)) {
        for calls in case.calls {
            let cost = case.in_own_process(*calls).ok_or_else(|| format!("memory/{} was not measured", case.id))?;
            note(format!("memory/{}/{calls}", case.id), BYTES, cost.bytes.round());
        }
    }
    let stepper = if Stepper::IS_KNOWN { Some(Stepper::build()?) } else { None };
    let counted = instr::count(&counts, stepper.as_ref())?;
    for (cell, counted) in counts.iter().zip(&counted) {
        let missing = || format!("{} was not counted", cell.id);
        note(cell.id.clone(), INSTRUCTIONS, counted.instructions.ok_or_else(missing)?.round());
        if stepper.is_some() && cell.stepped.is_some() {
            let locked = counted.locked.ok_or_else(missing)?;
            note(cell.id.clone(), LOCKED, (locked * 100.0).round() / 100.0);
        }
    }
    // The laws are the same in all builds.
    let laws = if Build::THIS == Build::Plain { laws::count(rows::pairs())? } else { Vec::new() };
    for counted in &laws {
        let ratio = counted.ratio().ok_or_else(|| format!("growth/{} was not counted", counted.pair.id))?;
        note(format!("growth/{}", counted.pair.id), TIMES, (ratio * 100.0).round() / 100.0);
    }
    Ok((figures, laws))
}

/// Says what differs from the budgets.
fn compare(figures: &Figures) -> Result<(), String> {
    let budgets = budgets::read()?;
    let changes = budgets.changes(figures, |figure| figure != LOCKED || Stepper::IS_KNOWN);
    let over = changes.iter().filter(|change| change.is_over()).count();
    let count: usize = figures.values().map(|figures| figures.len()).sum();
    println!("{count} figures of {} things: {over} over their budgets.", figures.len());
    budgets.caution().iter().for_each(|caution| println!("{caution}"));
    if !changes.is_empty() {
        println!("\n{}", budgets::table(&changes));
    }
    if changes.iter().any(|change| !change.is_over()) {
        println!("What costs less may get a smaller budget: `cargo run --release -- --gate --write`.");
    }
    if over > 0 { Err(format!("{over} figures are over their budgets")) } else { Ok(()) }
}

/// Compares with the budgets, or makes them what the figures are; a law holds whatever the budgets say. Then the other
/// builds do the same.
pub fn run(writes: bool) -> Result<(), String> {
    let (figures, laws) = measure()?;
    if !laws.is_empty() {
        println!("{}", report::laws(&laws));
    }
    if let Some(counted) = laws.iter().find(|counted| !counted.holds()) {
        let pair = &counted.pair;
        return Err(format!("{}, {}: grows more than `{}`", pair.grows, pair.call, pair.law.name()));
    }
    let mine = if writes { budgets::write(figures) } else { compare(&figures) };
    if Build::THIS != Build::Plain || !cfg!(feature = "ours") {
        return mine;
    }
    let arguments: &[&str] = if writes { &["--gate", "--write"] } else { &["--gate"] };
    Build::OTHERS.into_iter().fold(mine, |sum, build| {
        let other = build.output(build.name(), arguments);
        println!("\nWith the features {}:\n\n{}", build.features(), other.as_ref().unwrap_or_else(|why| why));
        let over = |_| format!("a figure of the build with {} is over its budget", build.features());
        sum.and(other.map(drop).map_err(over))
    })
}
