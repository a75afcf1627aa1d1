//! Instructions per call, which do not depend on the machine's mood: run a cell for n1 and for n2 calls; the difference
//! belongs to n2 - n1 calls. Instructions by callgrind, those that lock a cache line by `tools/lockcount.c`.

use crate::measure::cores;
use crate::rows::{Column, Row, cell_id};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

pub struct Counted {
    pub id: String,
    pub instructions: Option<f64>,
    pub locked: Option<f64>,
}

/// A cell by its name, and between which numbers of calls it is counted.
pub struct Counts {
    pub id: String,
    pub calls: (u64, u64),
    /// For the stepper, which is slow: a large copy is a step for each byte.
    pub stepped: Option<(u64, u64)>,
    /// How often it is counted, for the least: where a piece of a window's time ends meanwhile, each of a thousand breakers
    /// moves on.
    pub times: u32,
}

impl Counts {
    pub fn of(row: &Row, column: Column) -> Counts {
        // The differences are whole rounds of ten calls and of eleven, but for bodies, whose calls are all the same.
        let (calls, stepped) = match column {
            Column::LargeBody | Column::LargeBodies => ((50, 270), None),
            Column::SmallBody | Column::SmallBodies => ((500, 4_900), Some((2, 12))),
            _ => ((500, 4_900), Some((10, 120))),
        };
        let times = if column == Column::Keyed { 5 } else { 1 };
        Counts { id: cell_id(row.id, column), calls, stepped, times }
    }
}

fn per_call((n1, n2): (u64, u64), run: impl Fn(u64) -> Option<f64>) -> Option<f64> {
    Some((run(n2)? - run(n1)?) / (n2 - n1) as f64)
}

/// `None` where one of the counts is missing.
fn least(times: u32, count: impl Fn() -> Option<f64>) -> Option<f64> {
    (1..times).try_fold(count()?, |least, _| Some(count()?.min(least)))
}

/// `None` for a run that did not end well: what a crash leaves out would look like a saving.
fn outcome(tool: &mut Command, how: &str, id: &str, n: u64) -> Option<Output> {
    let output = tool.arg(std::env::current_exe().ok()?).args([how, id, &n.to_string()]).output().ok()?;
    output.status.success().then_some(output)
}

/// It counts within `cli::counted`.
const CALLGRIND: [&str; 3] =
    ["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=fusebox_peers::cli::counted*"];

fn callgrind(id: &str, n: u64) -> Option<f64> {
    let mut tool = Command::new("valgrind");
    let output = outcome(tool.args(CALLGRIND), "--exec", id, n)?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.lines().find_map(|line| line.split("Collected :").nth(1))?.trim().parse().ok()
}

/// Steps through a program. It is built for each run, and removed with it.
pub struct Stepper(PathBuf);

impl Stepper {
    /// What it knows is Linux on x86-64.
    pub const IS_KNOWN: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

    pub fn build() -> Result<Stepper, String> {
        if !Stepper::IS_KNOWN {
            return Err("locked instructions are counted on Linux on x86-64 only".into());
        }
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tools/lockcount.c");
        let stepper = Stepper(std::env::temp_dir().join(format!("fusebox-lockcount-{}", std::process::id())));
        let built = Command::new("cc").args(["-O2", "-o"]).arg(&stepper.0).arg(source).status();
        match built {
            Ok(status) if status.success() => Ok(stepper),
            other => Err(format!("cc could not build {source}: {other:?}")),
        }
    }

    fn locked(&self, id: &str, n: u64) -> Option<f64> {
        let output = outcome(&mut Command::new(&self.0), "--marked", id, n)?;
        String::from_utf8(output.stdout).ok()?.split_whitespace().nth(1)?.parse().ok()
    }
}

impl Drop for Stepper {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `Err` says why nothing was counted.
pub fn count(cells: &[Counts], locks: Option<&Stepper>) -> Result<Vec<Counted>, String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        return Err("valgrind is not installed, so no instructions were counted".into());
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut counted = Vec::new();
        while let Some((at, cell)) = Some(next.fetch_add(1, Relaxed)).and_then(|at| Some((at, cells.get(at)?))) {
            let id = &cell.id;
            let instructions = per_call(cell.calls, |n| least(cell.times, || callgrind(id, n)));
            let locked = locks.zip(cell.stepped);
            let locked = locked.and_then(|(stepper, calls)| per_call(calls, |n| stepper.locked(id, n)));
            counted.push((at, Counted { id: id.clone(), instructions, locked }));
        }
        counted
    };
    // Another process on another core changes no count.
    let mut counted: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..cores()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    counted.sort_by_key(|(at, _)| *at);
    Ok(counted.into_iter().map(|(_, counted)| counted).collect())
}

/// Tells the stepper where counting begins and ends; under nothing else, as the signal ends a process that no one watches.
pub fn mark() {
    #[cfg(unix)]
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::USR1).unwrap();
}
