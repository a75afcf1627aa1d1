//! One run: rounds over all cells, and the questions the report asks of it.

use crate::alloc;
use crate::growth::{Growth, SIZES};
use crate::instr::Counted;
use crate::measure::{median, ratio, sample};
use crate::memory::Cost;
use crate::rows::floor::PASSTHROUGH;
use crate::rows::{self, Cell, Column, Row};

pub struct Results {
    pub rows: Vec<Row>,
    allocations: Vec<f64>,
    pub growth: Vec<Growth>,
    /// id, calls through each breaker, cost
    pub memory: Vec<(&'static str, u64, Cost)>,
    pub instructions: Option<Result<Vec<Counted>, String>>,
}

impl Results {
    pub fn measure(rounds: usize, growth: Vec<Growth>) -> Results {
        let rows = rows::all();
        let allocations = rows.iter().map(allocations_per_call).collect();
        let mut results = Results { rows, allocations, growth, memory: Vec::new(), instructions: None };
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            for cell in results.rows.iter_mut().flat_map(|row| &mut row.cells) {
                let threads = if cell.column == Column::Two { 2 } else { 1 };
                cell.samples.push(sample(&cell.make, threads, &mut cell.n));
            }
            for growth in &mut results.growth {
                growth.round();
            }
        }
        results
    }

    fn cell(&self, id: &str, column: Column) -> Option<&Cell> {
        self.rows.iter().find(|row| row.id == id)?.cell(column)
    }

    fn by_round(&self, id: &str, column: Column) -> Option<Vec<f64>> {
        Some(self.cell(id, column)?.samples.iter().map(|s| s.ns).collect())
    }

    pub fn ns(&self, id: &str, column: Column) -> Option<f64> {
        Some(median(self.by_round(id, column)?.into_iter()))
    }

    /// `None` where either row lacks the column. The passthrough layer never opens: there its
    /// closed call stands in.
    pub fn ratio(&self, id: &str, to: &str, column: Column) -> Option<f64> {
        let other = self.by_round(to, column);
        let closed = || (to == PASSTHROUGH).then(|| self.by_round(to, Column::Closed))?;
        Some(ratio(&self.by_round(id, column)?, &other.or_else(closed)?))
    }

    pub fn scaling(&self, id: &str) -> Option<f64> {
        Some(median(self.cell(id, Column::Two)?.samples.iter().map(|s| s.scaling)))
    }

    pub fn allocations(&self, id: &str) -> Option<f64> {
        Some(self.allocations[self.rows.iter().position(|row| row.id == id)?])
    }

    /// Cost with the larger window over cost with the smaller.
    pub fn grown(&self, id: &str, larger: u64, smaller: u64) -> Option<f64> {
        let growth = self.growth.iter().find(|growth| growth.id == id)?;
        let samples = |size| Some(&growth.samples[SIZES.iter().position(|s| *s == size)?]);
        Some(ratio(samples(larger)?, samples(smaller)?))
    }

    pub fn bytes(&self, id: &str, calls: u64) -> Option<f64> {
        self.memory.iter().find(|(i, c, _)| *i == id && *c == calls).map(|(.., cost)| cost.bytes)
    }

    pub fn counted(&self, id: &str) -> Option<&Counted> {
        self.instructions.as_ref()?.as_ref().ok()?.iter().find(|counted| counted.id == id)
    }
}

fn allocations_per_call(row: &Row) -> f64 {
    const CALLS: u64 = 4_096;
    let mut runner = (row.cell(Column::Closed).expect("every row closes").make)(1).remove(0);
    runner(CALLS);
    let (times, ..) = alloc::count(|| runner(CALLS));
    times as f64 / CALLS as f64
}
