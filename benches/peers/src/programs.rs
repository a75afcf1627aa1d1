//! What a program pays for a library before it runs: how long it takes to build, how many crates that needs, how large it
//! is. Each program makes one call; all are built from nothing, with the versions of this package's lock file.

use crate::table::{Table, number, or_dash};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

struct Program {
    name: &'static str,
    dependencies: &'static str,
    source: &'static str,
}

const FUSEBOX: &str = concat!("fusebox = { path = \"", env!("CARGO_MANIFEST_DIR"), "/../..\" }\n");
const RECLOSER: &str = "recloser = \"=1.4.0\"\n";
/// What each of them has.
const ALL: &str = "\
tokio = { version = \"1\", default-features = false, features = [\"macros\", \"rt\", \"time\"] }
tower = { version = \"0.5\", default-features = false, features = [\"util\"] }
";

const PROGRAMS: [Program; 8] = [
    Program { name: "Tokio and Tower alone", dependencies: "", source: include_str!("../programs/tower_alone.rs") },
    Program {
        name: "**fusebox**, a breaker",
        dependencies: FUSEBOX,
        source: include_str!("../programs/fusebox_breaker.rs"),
    },
    Program { name: "recloser", dependencies: RECLOSER, source: include_str!("../programs/recloser.rs") },
    Program {
        name: "failsafe",
        dependencies: "failsafe = \"=1.3.0\"\n",
        source: include_str!("../programs/failsafe.rs"),
    },
    Program {
        name: "tower-resilience, a breaker",
        dependencies: "tower-resilience-circuitbreaker = \"=0.14.0\"\n",
        source: include_str!("../programs/tower_resilience.rs"),
    },
    Program {
        name: "**fusebox**, a breaker inside a retry",
        dependencies: FUSEBOX,
        source: include_str!("../programs/fusebox_both.rs"),
    },
    Program {
        name: "backon over recloser",
        dependencies: concat!(
            "backon = { version = \"=1.6.0\", default-features = false, features = [\"std\"] }\n",
            "recloser = \"=1.4.0\"\n"
        ),
        source: include_str!("../programs/backon_recloser.rs"),
    },
    Program {
        name: "tower-resilience, a breaker inside a retry",
        dependencies: "tower-resilience-circuitbreaker = \"=0.14.0\"\ntower-resilience-retry = \"=0.14.0\"\n",
        source: include_str!("../programs/tower_resilience_both.rs"),
    },
];

struct Built {
    seconds: f64,
    crates: usize,
    bytes: u64,
}

/// A folder that goes with its value.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn cargo(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(std::env::var("CARGO").as_deref().unwrap_or("cargo"));
    // What this program was built with is not what that one is to be built with.
    for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(name);
    }
    let output = command.current_dir(folder).args(arguments).output().map_err(|e| format!("cargo: {e}"))?;
    if !output.status.success() {
        return Err(format!("cargo {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

impl Program {
    fn build(&self, folder: &Path) -> Result<Built, String> {
        let io = |e: std::io::Error| format!("{}: {e}", folder.display());
        std::fs::create_dir_all(folder.join("src")).map_err(io)?;
        let package = "[package]\nname = \"program\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n";
        let manifest =
            format!("{package}\n[dependencies]\n{ALL}{}\n[profile.release]\nstrip = true\n", self.dependencies);
        std::fs::write(folder.join("Cargo.toml"), manifest).map_err(io)?;
        std::fs::write(folder.join("src/main.rs"), self.source).map_err(io)?;
        let lock = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock");
        std::fs::copy(lock, folder.join("Cargo.lock")).map_err(io)?;
        // Nothing is fetched while time is taken; `tree` also cuts the lock file down to what is needed.
        let tree = cargo(folder, &["tree", "--prefix=none", "--edges=normal,build", "--format={p}"])?;
        let crates: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
        cargo(folder, &["fetch", "--quiet"])?;
        let start = Instant::now();
        cargo(folder, &["build", "--release", "--quiet", "--offline"])?;
        let seconds = start.elapsed().as_secs_f64();
        let name = format!("target/release/program{}", std::env::consts::EXE_SUFFIX);
        let bytes = std::fs::metadata(folder.join(name)).map_err(io)?.len();
        // Without the program itself.
        Ok(Built { seconds, crates: crates.len() - 1, bytes })
    }
}

/// One build after the other, each of them with all cores.
pub fn report() -> String {
    let columns = ["seconds to build", "crates", "KiB, stripped"];
    let mut table = Table::new("", columns);
    let mut failed = String::new();
    for (at, program) in PROGRAMS.iter().enumerate() {
        eprintln!("program: {}", program.name);
        let folder = Folder(std::env::temp_dir().join(format!("fusebox-program-{}-{at}", std::process::id())));
        let built = program.build(&folder.0).inspect_err(|why| failed += &format!("\n{}: {why}\n", program.name)).ok();
        let built = built.as_ref();
        table.row(
            program.name,
            [
                or_dash(built.map(|built| built.seconds), number),
                built.map_or("–".into(), |built| built.crates.to_string()),
                built.map_or("–".into(), |built| (built.bytes / 1024).to_string()),
            ],
        );
    }
    format!("## Programs\n\nWith `--release` from nothing, each with Tokio and Tower.\n\n{table}{failed}")
}
