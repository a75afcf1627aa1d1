//! This test program once more, with an environment of its own.

use std::future::Future;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::is_ours;

/// What it is asked for, in words; not there in a process that runs tests.
const ASKED: &str = "FUSEBOX_TEST_ASKED";
/// The test that is the process.
const NAME: &str = "a_process_without_variables_has_a_store_in_memory_and_says_so";

/// Whether this process was asked for that.
pub(crate) fn asked(word: &str) -> bool {
    std::env::var(ASKED).unwrap_or_default().split(' ').any(|asked| asked == word)
}

pub(crate) fn run(answer: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(answer);
}

/// What the test harness itself says.
pub(crate) fn is_of_the_harness(line: &str) -> bool {
    line.is_empty() || line.starts_with("running 1 test") || line.starts_with("test ")
}

/// A process that asks its environment for a store and tells what comes.
pub(crate) struct Process {
    command: Command,
    asked: String,
}

impl Process {
    /// With none of the variables that matter.
    pub(crate) fn new() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", NAME, "--nocapture"]).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if is_ours(&name) || name.starts_with("PG") {
                command.env_remove(&*name);
            }
        }
        Self { command, asked: "process".to_owned() }
    }

    /// Whether this is one.
    pub(crate) fn is_this() -> bool {
        asked("process")
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    #[cfg(all(feature = "postgres", unix))]
    pub(crate) fn unset(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    pub(crate) fn dotenv(self) -> Self {
        self.ask("dotenv")
    }

    pub(crate) fn required(self) -> Self {
        self.ask("required")
    }

    pub(crate) fn write(self) -> Self {
        self.ask("write")
    }

    fn ask(mut self, word: &str) -> Self {
        self.asked = format!("{} {word}", self.asked);
        self
    }

    pub(crate) fn end(self) -> Seen {
        self.start().end()
    }

    pub(crate) fn start(mut self) -> Running {
        self.command.env(ASKED, &self.asked).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = self.command.spawn().expect("this program again");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        Running { process, output, seen: String::new() }
    }
}

/// A process that has not ended.
pub(crate) struct Running {
    process: Child,
    output: BufReader<ChildStdout>,
    seen: String,
}

impl Running {
    /// Waits until it says that.
    #[cfg(all(any(feature = "postgres", feature = "redis"), unix))]
    pub(crate) fn until(&mut self, word: &str) {
        use std::io::BufRead;
        let mut line = String::new();
        while !line.starts_with(&format!("> {word}")) {
            line.clear();
            assert!(self.output.read_line(&mut line).expect("text") > 0, "no `{word}` in {}", self.seen);
            self.seen.push_str(&line);
        }
    }

    pub(crate) fn end(mut self) -> Seen {
        self.output.read_to_string(&mut self.seen).expect("text");
        let rest = self.process.wait_with_output().expect("its end");
        let errors = String::from_utf8(rest.stderr).expect("text");
        assert!(rest.status.success(), "{}\n{errors}", self.seen);
        Seen { output: self.seen, errors }
    }
}

/// What it said.
pub(crate) struct Seen {
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl Seen {
    pub(crate) fn line(&self, word: &str) -> &str {
        let line = self.output.lines().find_map(|line| line.strip_prefix(&format!("> {word} ")));
        line.unwrap_or_else(|| if self.output.contains(&format!("\n> {word} \n")) { "" } else { self.missing(word) })
    }

    #[track_caller]
    #[expect(clippy::panic, reason = "a helper of tests")]
    fn missing(&self, word: &str) -> ! {
        panic!("no `{word}` in:\n{}", self.output)
    }

    #[track_caller]
    pub(crate) fn has_no(&self, secret: &str) {
        assert!(!format!("{}{}", self.output, self.errors).contains(secret), "{}{}", self.output, self.errors);
    }
}
