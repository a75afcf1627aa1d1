//! Instructions per call, which do not depend on the machine's mood: run a cell for n1 and for n2
//! calls; the difference belongs to n2 - n1 calls.

use std::process::{Command, Output};

pub struct Counted {
    pub id: String,
    pub instructions: Option<f64>,
    pub locked: Option<f64>,
}

fn per_call(n1: u64, n2: u64, run: impl Fn(u64) -> Option<f64>) -> Option<f64> {
    Some((run(n2)? - run(n1)?) / (n2 - n1) as f64)
}

/// `None` for a run that did not end well: what a crash leaves out would look like a saving.
fn outcome(tool: &mut Command, id: &str, n: u64) -> Option<Output> {
    let output = tool.arg(std::env::current_exe().ok()?).args(["--exec", id, &n.to_string()]).output().ok()?;
    output.status.success().then_some(output)
}

fn callgrind(id: &str, n: u64) -> Option<f64> {
    let mut tool = Command::new("valgrind");
    let output = outcome(tool.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]), id, n)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().find_map(|line| line.split("Collected :").nth(1))?.trim().parse().ok()
}

fn lockcount(tool: &str, id: &str, n: u64) -> Option<f64> {
    let output = outcome(&mut Command::new(tool), id, n)?;
    String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
}

/// `Err` says why nothing was counted.
pub fn count(ids: &[String], locks: Option<&str>) -> Result<Vec<Counted>, String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("valgrind is not installed, so no instructions were counted.".into());
    }
    let counted = ids.iter().map(|id| Counted {
        id: id.clone(),
        instructions: per_call(500, 4_500, |n| callgrind(id, n)),
        locked: locks.and_then(|tool| per_call(100, 300, |n| lockcount(tool, id, n))),
    });
    Ok(counted.collect())
}
