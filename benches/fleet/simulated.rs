//! Whole runs of the simulation, whose short ones are tests:
//! `cargo bench --bench fleet --features redis,postgres -- falsehood`.
//!
//! They see what is inside of the crate, so they are tests as well; this finds them and runs them optimized.

use std::process::Command;

/// What can be asked for, the tests that it is, and how many seeds of each.
const ROWS: [(&str, &str, u32); 5] = [
    ("falsehood", "fleet::simulation::loads::rows::falsehood", 1),
    ("outage", "fleet::simulation::loads::rows::outage", 3),
    ("background", "fleet::simulation::loads::rows::background", 1),
    ("recovery", "fleet::simulation::laws::recovery::", 20),
    ("storms", "fleet::simulation::laws::storms::", 1),
];

/// Runs one of them. Returns whether it keeps within its limits.
pub(crate) fn run(name: &str) -> bool {
    let Some((_, test, seeds)) = ROWS.into_iter().find(|(known, ..)| *known == name) else {
        let known = ROWS.map(|(known, ..)| known).join("`, `");
        println!("there is no row `{name}`: give `{known}`, or nothing, for what is measured on real servers");
        return false;
    };
    let seeds = std::env::var("FUSEBOX_SIM_SEEDS").unwrap_or_else(|_| seeds.to_string());
    let mut cargo = Command::new(env!("CARGO"));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).env("FUSEBOX_SIM_SEEDS", seeds);
    cargo.args(["test", "--release", "--features", "redis,postgres", "--lib", test]);
    cargo.args(["--", "--include-ignored", "--nocapture"]);
    cargo.status().expect("cargo runs").success()
}
