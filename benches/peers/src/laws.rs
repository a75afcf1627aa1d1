//! What a call costs when something is a hundred times as large, in instructions, so that the answer does not depend on
//! the machine: nothing may grow by another law than the one it is listed with.

use crate::instr::{self, Counts};
use crate::measure::Runner;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Law {
    Flat,
    /// With the number itself.
    #[cfg_attr(not(feature = "ours"), expect(dead_code, reason = "the peers have no pairs"))]
    Linear,
}

impl Law {
    /// How many times the cost may be, when the size is a hundred times as large.
    pub fn most(self) -> f64 {
        match self {
            Law::Flat => 1.1,
            Law::Linear => 110.0,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Law::Flat => "flat",
            Law::Linear => "n",
        }
    }
}

pub struct Pair {
    pub id: &'static str,
    pub grows: &'static str,
    pub call: &'static str,
    pub law: Law,
    /// `n`
    pub small: u64,
    make: Box<dyn Fn(u64) -> Runner>,
    /// Instructions are counted between so many calls and so many.
    calls: (u64, u64),
}

pub const TIMES: u64 = 100;
const PREFIX: &str = "growth";

/// A call that fails in all attempts counts as that many, so these are multiples of the attempts of both sizes.
const CALLS: (u64, u64) = (1_204, 6_020);

impl Pair {
    #[cfg_attr(not(feature = "ours"), expect(dead_code, reason = "the peers have no pairs"))]
    pub fn new(
        id: &'static str,
        (grows, small): (&'static str, u64),
        call: &'static str,
        law: Law,
        make: impl Fn(u64) -> Runner + 'static,
    ) -> Pair {
        Pair { id, grows, call, law, small, make: Box::new(make), calls: CALLS }
    }

    #[cfg_attr(not(feature = "ours"), expect(dead_code, reason = "the peers have no pairs"))]
    pub fn over(self, calls: (u64, u64)) -> Pair {
        Pair { calls, ..self }
    }

    pub fn large(&self) -> u64 {
        self.small * TIMES
    }

    /// The names of both sizes for `--exec`.
    pub fn cells(&self) -> [String; 2] {
        [self.small, self.large()].map(|size| format!("{PREFIX}/{}/{size}", self.id))
    }
}

/// The runner of one size by its name.
pub fn runner(pairs: &[Pair], cell: &str) -> Option<Runner> {
    let pair = pairs.iter().find(|pair| pair.cells().iter().any(|name| name == cell))?;
    let size = cell.rsplit('/').next()?.parse().ok()?;
    Some((pair.make)(size))
}

/// A pair and its instructions per call at both sizes.
pub struct Counted {
    pub pair: Pair,
    pub instructions: Option<[f64; 2]>,
}

impl Counted {
    pub fn ratio(&self) -> Option<f64> {
        self.instructions.map(|[small, large]| large / small)
    }

    pub fn holds(&self) -> bool {
        self.ratio().is_some_and(|ratio| ratio <= self.pair.law.most())
    }

    /// What the ratio says; a cost that grows more than it may is named so.
    pub fn law(&self) -> &'static str {
        let Some(ratio) = self.ratio() else { return "–" };
        [Law::Flat, self.pair.law].into_iter().find(|law| ratio <= law.most()).map_or("**more**", Law::name)
    }
}

pub fn count(pairs: Vec<Pair>) -> Result<Vec<Counted>, String> {
    let of_pair = |pair: &Pair| pair.cells().map(|id| Counts { id, calls: pair.calls, stepped: None, times: 1 });
    let cells: Vec<_> = pairs.iter().flat_map(of_pair).collect();
    let counted = instr::count(&cells, None)?;
    let both = |of: &[instr::Counted]| Some([of[0].instructions?, of[1].instructions?]);
    let instructions = counted.chunks(2).map(both);
    Ok(pairs.into_iter().zip(instructions).map(|(pair, instructions)| Counted { pair, instructions }).collect())
}
