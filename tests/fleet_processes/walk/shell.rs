//! A shell as an operator has one.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A command that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(90);
/// Ends what a command prints; its exit code follows.
const END: u8 = 1;

/// One shell, which keeps what is exported.
#[derive(Debug)]
pub(super) struct Shell {
    process: Child,
    commands: ChildStdin,
    ended: Receiver<(String, i32)>,
}

/// A shell that runs the program under test, in that folder, as `ana`, with nothing of the tests' own environment.
fn shell(folder: &Path) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_fusebox")).parent().expect("a folder").display();
    let mut shell = Command::new("sh");
    let path = std::env::var("PATH").unwrap_or_default();
    shell.env_clear().env("PATH", format!("{program}:{path}")).env("USER", "ana").current_dir(folder);
    shell
}

impl Shell {
    pub(super) fn start(folder: &Path) -> Self {
        let mut process =
            shell(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell can be run");
        let commands = process.stdin.take().expect("a pipe");
        let out = process.stdout.take().expect("a pipe");
        let (end, ended) = channel();
        thread::spawn(move || read(out, |text, code| end.send((text, code)).is_ok()));
        Self { process, commands, ended }
    }

    /// Runs a command; returns all that it printed, and how it ended.
    pub(super) fn run(&mut self, command: &str) -> (String, i32) {
        // The code is put back, for a command that asks for that of the one before.
        let script =
            format!("{{ {command}\n}} </dev/null 2>&1; code=$?; printf '\\001%s\\n' \"$code\"; (exit \"$code\")\n");
        self.commands.write_all(script.as_bytes()).expect("the shell lives");
        self.ended.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it does not end: {command}"))
    }
}

fn read(out: ChildStdout, mut tell: impl FnMut(String, i32) -> bool) {
    let mut out = BufReader::new(out);
    loop {
        let (mut printed, mut code) = (Vec::new(), String::new());
        let is_over = out.read_until(END, &mut printed).is_err() || printed.pop() != Some(END);
        if is_over || out.read_line(&mut code).is_err() {
            return;
        }
        let text = String::from_utf8(printed).expect("UTF-8");
        if !tell(text, code.trim().parse().expect("an exit code")) {
            return;
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// A command that goes on in a window of its own.
#[derive(Debug)]
pub(super) struct Window {
    process: Child,
    lines: Receiver<String>,
}

impl Window {
    pub(super) fn open(folder: &Path, store: &str, command: &str) -> Self {
        let mut shell = shell(folder);
        shell.args(["-c", &format!("exec {command} 2>&1")]).env("FUSEBOX_STORE_URL", store).stdin(Stdio::null());
        let mut process = shell.stdout(Stdio::piped()).spawn().expect("a shell can be run");
        let out: Box<dyn Read + Send> = Box::new(process.stdout.take().expect("a pipe"));
        let (line, lines) = channel();
        thread::spawn(move || BufReader::new(out).lines().map_while(Result::ok).try_for_each(|text| line.send(text)));
        Self { process, lines }
    }

    /// What it has printed, once that is so many lines; what comes within a moment after these is told as well.
    pub(super) fn close(self, count: usize) -> Vec<String> {
        let until = Instant::now() + PATIENCE;
        let mut told = Vec::new();
        while told.len() < count {
            let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) else { break };
            told.push(line);
        }
        told.extend(std::iter::from_fn(|| self.lines.recv_timeout(Duration::from_millis(300)).ok()));
        told
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
