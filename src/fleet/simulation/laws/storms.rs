//! Fleets in every kind of trouble, until ten million steps are done in each mode. After every step all is checked that can
//! be said of one: whose verdicts are true, what records and clocks may do, who may probe; and in the end how many calls it
//! takes to recover.
#![expect(clippy::print_stdout, reason = "the whole runs report")]

use super::super::runner::{run, storm_and_calm};
use super::super::setup::Setup;

/// In each mode.
const STEPS: u64 = 10_000_000;
/// One run of so many is that of a thousand instances.
const ONE_OF: u64 = 50;

/// What came of runs.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    runs: u64,
    steps: u64,
    calls: u64,
    operations: u64,
    /// Those that write, or try to.
    commits: u64,
    /// Verdicts of which it was found that they are true.
    verdicts: u64,
    /// Those of which it cannot be said.
    unknown: u64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.calls += other.calls;
        self.operations += other.operations;
        self.commits += other.commits;
        self.verdicts += other.verdicts;
        self.unknown += other.unknown;
    }

    #[expect(clippy::cast_precision_loss, reason = "to print")]
    fn tell(&self, what: &str) {
        let Self { runs, steps, calls, operations, commits, verdicts, unknown } = *self;
        let of_a_thousand = |count: u64| count as f64 * 1_000.0 / calls.max(1) as f64;
        println!(
            "{what}: {runs} runs, {steps} steps, {calls} calls; in 1,000 calls {:.0} store operations, {:.0} of them commits; \
             {verdicts} verdicts true, {unknown} unknown",
            of_a_thousand(operations),
            of_a_thousand(commits),
        );
    }
}

fn setup(seed: u64, votes: bool) -> Setup {
    let is_of_many = seed.is_multiple_of(ONE_OF);
    let setup = if is_of_many { Setup::random_of(seed, 1_000) } else { Setup::random(seed) };
    let quorum = if is_of_many { 10 } else { 1 + u32::try_from(seed % 2).unwrap_or(0) };
    Setup { votes: votes.then_some(quorum), ..setup }
}

#[test]
#[ignore = "takes a minute: cargo bench --bench fleet --features redis,postgres -- storms"]
fn fleets_in_trouble_keep_all_laws() {
    for votes in [false, true] {
        let mut few_and_many = [Sums::default(); 2];
        let mut seeds = 0..;
        while few_and_many.iter().map(|sums| sums.steps).sum::<u64>() < STEPS {
            let setup = setup(seeds.next().unwrap_or(0), votes);
            let done = run(&setup, |world| {
                storm_and_calm(world);
                let (verdicts, unknown) = world.checks.verdicts;
                Sums {
                    runs: 1,
                    steps: world.steps,
                    calls: world.checks.calls,
                    commits: world.checks.commits,
                    operations: world.instances.iter().map(|instance| instance.ops).sum(),
                    verdicts,
                    unknown,
                }
            });
            few_and_many[usize::from(setup.instances > 100)].add(done);
        }
        let mode = if votes { "votes" } else { "pooled" };
        few_and_many[0].tell(&format!("{mode}, 2 to 8 instances"));
        few_and_many[1].tell(&format!("{mode}, 1,000 instances"));
    }
}
