//! The program `fusebox`, as processes over real Redis and real PostgreSQL, beside running instances of a fleet.
#![cfg(feature = "cli")]
#![expect(clippy::expect_used, clippy::panic, reason = "helpers of tests")]

mod budget;
mod codes;
mod commands;
mod damage;
mod json;
mod migration;
mod names;
mod roles;
mod secrets;
mod shells;
mod turns;
mod watching;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fusebox::{CircuitBreaker, State};

#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../operator/both.rs"]
mod both;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../stores/postgres_server.rs"]
mod postgres_server;
#[expect(clippy::allow_attributes, reason = "what is unused differs from file to file")]
#[allow(dead_code, reason = "not every file needs every helper")]
#[path = "../stores/servers.rs"]
mod servers;

/// How the program ended, and what it said where.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Run {
    /// It did what it was to do; returns what it printed.
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        self.out
    }

    /// It ended so, with one line about why; returns that.
    #[track_caller]
    fn fails(self, code: i32) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
        self.err.strip_prefix("fusebox: ").expect("who says it").trim_end().to_owned()
    }
}

/// The program, without what the environment of the tests may name.
fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_fusebox"));
    for name in ["STORE_URL", "STORE_NAMESPACE", "STORE_SCHEMA", "STORE_TABLE"] {
        program.env_remove(format!("FUSEBOX_{name}"));
    }
    program.env_remove("HW_DB_HOST").env_remove("NO_COLOR").env("USER", "tester").stdin(Stdio::null());
    // No file `.env` of a folder above.
    program.current_dir("/");
    program
}

fn run(program: &mut Command) -> Run {
    let run = program.output().expect("to start it");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Run { code: run.status.code().expect("an exit code"), out: text(run.stdout), err: text(run.stderr) }
}

/// Runs it with the store in the environment, where a password belongs.
fn fusebox(url: &str, words: &[&str]) -> Run {
    run(program().args(words).env("FUSEBOX_STORE_URL", url))
}

/// One that runs until the test ends it.
struct Running(Child);

impl Running {
    fn start(url: &str, words: &[&str]) -> Self {
        let mut program = program();
        program.args(words).env("FUSEBOX_STORE_URL", url).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(program.spawn().expect("to start it"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Waits until all instances are in that state: they hear of it by themselves.
#[expect(clippy::disallowed_methods, reason = "real servers, in real time")]
async fn all_are(breakers: &[CircuitBreaker], state: State) {
    let until = std::time::Instant::now() + Duration::from_secs(20);
    while breakers.iter().any(|breaker| breaker.state() != state) {
        assert!(std::time::Instant::now() < until, "not {state}: {:?}", breakers.iter().map(CircuitBreaker::state));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two instances of a fleet that share one breaker, each with an engine of its own.
async fn fleet(raw: &both::Raw, name: &str) -> [CircuitBreaker; 2] {
    let fleet = [both::breaker(&raw.store().await, name), both::breaker(&raw.store().await, name)];
    fleet[0].acquire().expect("closed").failure();
    for breaker in &fleet {
        breaker.flush().await;
    }
    fleet
}
