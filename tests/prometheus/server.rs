//! A Prometheus of a test's own.

use std::fmt::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Client, Url};

use crate::support::timer_now;

const MISSING: &str = "these tests need a real `prometheus` and its `promtool`, which were not found. Debian, Ubuntu: apt-get \
    install prometheus; macOS: brew install prometheus; else https://prometheus.io/download";

/// A server in a folder of its own, on a port of its own. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Prometheus {
    process: Child,
    folder: PathBuf,
    base: Url,
    client: Client,
}

/// What to scrape: a job, of one instance, at a path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job<'a> {
    pub(crate) name: &'a str,
    pub(crate) at: SocketAddr,
    pub(crate) path: &'a str,
}

impl Prometheus {
    /// Starts with rules, in the text of their file; without any where that is empty.
    pub(crate) async fn start(jobs: &[Job<'_>], rules: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fusebox-prometheus-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("prometheus.yml"), configuration(jobs)).expect("a file");
        let rules = if rules.is_empty() { "groups: []" } else { rules };
        std::fs::write(folder.join("rules.yml"), rules).expect("a file");
        // The port may be taken between our look and the server's start.
        for _ in 0..5 {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
            let base = Url::parse(&format!("http://{free}/")).expect("a URL");
            let client = Client::builder().no_proxy().build().expect("a client");
            let mut server = Self { process: spawn(&folder, free), folder: folder.clone(), base, client };
            if server.is_ready().await {
                return server;
            }
            // It is ended, and its folder is kept for the next try.
            server.folder = PathBuf::new();
        }
        panic!("prometheus does not start: {}", log(&folder));
    }

    /// Asks for `path` of its API, and returns what is in the answer.
    pub(crate) async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> serde_json::Value {
        let mut url = self.base.join("api/v1/").and_then(|api| api.join(path)).expect("a URL");
        url.query_pairs_mut().extend_pairs(parameters);
        let response = self.client.get(url).send().await;
        let response = response.unwrap_or_else(|error| panic!("{parameters:?}: {error}; {}", log(&self.folder)));
        let body = response.bytes().await.expect("a body");
        let mut answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(answer["status"], "success", "{parameters:?}: {answer}");
        answer["data"].take()
    }

    async fn is_ready(&mut self) -> bool {
        let until = timer_now() + Duration::from_secs(20);
        let ready = self.base.join("-/ready").expect("a URL");
        while timer_now() < until {
            if self.process.try_wait().ok().flatten().is_some() {
                return false;
            }
            let answer = self.client.get(ready.clone()).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        false
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        if self.folder != Path::new("") {
            std::fs::remove_dir_all(&self.folder).ok();
        }
    }
}

fn configuration(jobs: &[Job<'_>]) -> String {
    let mut text = "global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}\n\
        rule_files: [rules.yml]\nscrape_configs:\n"
        .to_owned();
    for Job { name, at, path } in jobs {
        writeln!(text, "- {{job_name: {name}, metrics_path: {path}, static_configs: [{{targets: ['{at}']}}]}}")
            .expect("a string takes everything");
    }
    text
}

fn spawn(folder: &Path, at: SocketAddr) -> Child {
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    Command::new("prometheus")
        .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
        .arg(format!("--web.listen-address={at}"))
        .args(["--log.level=warn"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect(MISSING)
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_else(|error| format!("no log: {error}"))
}

/// Runs `promtool` in the root of the repository, with a text on its input, and returns all that it says; fails where it does.
pub(crate) fn promtool(arguments: &[&str], input: &[u8]) -> String {
    use std::io::Write;

    let mut tool = Command::new("promtool")
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect(MISSING);
    // It says nothing before it has read all.
    tool.stdin.take().expect("a pipe").write_all(input).expect("promtool reads");
    let output = tool.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).expect("text")).concat();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    said
}
