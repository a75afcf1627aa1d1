//! One run: rounds over all cells, and the questions the report asks of it.

use crate::alloc;
use crate::growth::{Growth, SIZES};
use crate::instr::Counted;
use crate::laws;
use crate::measure::{median, ratio, sample};
use crate::memory::Cost;
use crate::rows::floor::PASSTHROUGH;
use crate::rows::keys::Keys;
use crate::rows::{self, Cell, Column, Row};

pub struct Results {
    rows: Vec<Row>,
    pub growth: Vec<Growth>,
    /// id, calls through each breaker, cost
    pub memory: Vec<(&'static str, u64, Cost)>,
    pub instructions: Option<Result<Vec<Counted>, String>>,
    pub keys: Vec<Keys>,
    pub laws: Option<Vec<laws::Counted>>,
    /// Parts of the document that no other part asks about.
    pub more: Vec<String>,
    /// Cells of a row of the comparison, of another build: with times, and in the line below without.
    pub operated: Option<String>,
}

impl Results {
    pub fn measure(mut rows: Vec<Row>, rounds: usize, growth: Vec<Growth>) -> Results {
        for cell in rows.iter_mut().flat_map(|row| &mut row.cells) {
            cell.allocations = counts_allocations(cell.column).then(|| allocations_per_call(cell));
        }
        let mut results = Results {
            rows,
            growth,
            memory: Vec::new(),
            instructions: None,
            keys: Vec::new(),
            laws: None,
            more: Vec::new(),
            operated: None,
        };
        for round in 1..=rounds {
            eprintln!("round {round} of {rounds}");
            for cell in results.rows.iter_mut().flat_map(|row| &mut row.cells) {
                cell.samples.push(sample(&cell.make, cell.column.threads(), &mut cell.n));
            }
            for growth in &mut results.growth {
                growth.round();
            }
        }
        results
    }

    /// The rows of the table that has this column in every row.
    pub fn with(&self, column: Column) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.cell(column).is_some())
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

    /// The row with the least time.
    pub fn fastest<'a>(&self, ids: &[&'a str], column: Column) -> Option<&'a str> {
        let timed = ids.iter().filter_map(|id| Some((self.ns(id, column)?, *id)));
        timed.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, id)| id)
    }

    /// Nanoseconds more than another row, by rounds.
    pub fn beyond(&self, id: &str, other: &str, column: Column) -> Option<f64> {
        let (ours, theirs) = (self.by_round(id, column)?, self.by_round(other, column)?);
        Some(median(ours.iter().zip(theirs).map(|(ours, theirs)| ours - theirs)))
    }

    pub fn scaling(&self, id: &str) -> Option<f64> {
        Some(median(self.cell(id, Column::Two)?.samples.iter().map(|s| s.scaling)))
    }

    pub fn allocations(&self, id: &str, column: Column) -> Option<f64> {
        self.cell(id, column)?.allocations
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

    pub fn instructions(&self, id: &str, column: Column) -> Option<f64> {
        self.counted(&rows::cell_id(id, column))?.instructions
    }

    pub fn counted(&self, id: &str) -> Option<&Counted> {
        self.instructions.as_ref()?.as_ref().ok()?.iter().find(|counted| counted.id == id)
    }
}

fn counts_allocations(column: Column) -> bool {
    matches!(column, Column::Closed | Column::FirstTry | Column::TwoRetries | Column::TwoWaits | Column::Stacked)
}

/// Counted over 4,096 calls.
pub fn allocations_per_call(cell: &Cell) -> f64 {
    const CALLS: u64 = 4_096;
    let mut runner = (cell.make)(1).remove(0);
    runner(CALLS);
    let (times, ..) = alloc::count(|| runner(CALLS));
    times as f64 / CALLS as f64
}
