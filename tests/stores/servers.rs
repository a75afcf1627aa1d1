//! Real servers, private to one test each.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

const MISSING: &str = "these tests need a real `redis-server`, which was not found. Debian, Ubuntu: apt-get install \
    redis-server; Fedora: dnf install redis; Alpine: apk add redis; macOS: brew install redis";

/// A Redis server of one test, gone with it.
#[derive(Debug)]
pub(crate) struct Redis {
    process: Child,
    port: u16,
    folder: PathBuf,
    options: Vec<String>,
}

impl Redis {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts with more options, as in `["--requirepass", "x"]`; `{tls-port}` is a port.
    pub(crate) async fn start_with(options: &[&str]) -> Self {
        Self::start_as(None, options).await
    }

    async fn start_as(watched: Option<u16>, options: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("fusebox-redis-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let mut options: Vec<_> = options.iter().map(ToString::to_string).collect();
        if let Some(port) = watched {
            std::fs::write(folder.join("sentinel.conf"), format!("sentinel monitor main 127.0.0.1 {port} 1\n"))
                .expect("a file");
            let file = folder.join("sentinel.conf").to_string_lossy().into_owned();
            options = vec![file, "--sentinel".to_owned()];
        }
        // Somebody else may take the port between our look and the server's start.
        for _ in 0..5 {
            let port = free_port();
            let mut process = spawn(port, &folder, &options);
            if is_ready(&mut process, port).await {
                return Self { process, port, folder, options };
            }
            process.kill().ok();
            process.wait().ok();
        }
        panic!("redis-server does not start: {}", log(&folder));
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts a Sentinel that watches over this server under the name `main`, alone.
    pub(crate) async fn sentinel(&self) -> Self {
        let sentinel = Self::start_as(Some(self.port), &[]).await;
        sentinel.command("SENTINEL SET main down-after-milliseconds 200").await;
        sentinel
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url_with(&self, password: &str) -> String {
        format!("redis://:{password}@127.0.0.1:{}", self.port)
    }

    /// `kill -9`: no goodbye, nothing saved.
    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("killed");
        self.process.wait().expect("reaped");
    }

    /// The same server again, empty.
    pub(crate) async fn start_again(&mut self) {
        self.process = spawn(self.port, &self.folder, &self.options);
        assert!(is_ready(&mut self.process, self.port).await, "redis-server is back: {}", log(&self.folder));
    }

    /// It takes connections and says nothing more.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().expect("a shell").success(), "{kill}");
    }

    /// Sends a command, in words, past the store.
    pub(crate) async fn command(&self, command: &str) -> redis::Value {
        self.try_command(command).await.expect(command)
    }

    pub(crate) async fn try_command(&self, command: &str) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let mut words = command.split(' ');
        let mut cmd = redis::cmd(words.next().unwrap_or_default());
        words.for_each(|word| {
            cmd.arg(word);
        });
        cmd.query_async(&mut connection).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        std::fs::remove_dir_all(&self.folder).ok();
    }
}

/// How much higher the port is on which nodes of a cluster talk to each other.
pub(crate) const FURTHER: u16 = 10_000;

fn free_port() -> u16 {
    loop {
        let free = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("an address").port();
        let is_other_free =
            port.checked_add(2 * FURTHER).is_some_and(|_| TcpListener::bind(("127.0.0.1", port + FURTHER)).is_ok());
        if is_other_free {
            return port;
        }
    }
}

fn spawn(port: u16, folder: &Path, options: &[String]) -> Child {
    // A configuration comes first.
    let (file, options) = options.split_at(usize::from(options.first().is_some_and(|first| first.ends_with(".conf"))));
    let saving: &[&str] = if file.is_empty() { &["--save", "", "--appendonly", "no"] } else { &[] };
    Command::new("redis-server")
        .args(file)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(saving)
        .args(["--logfile", "log", "--dir"])
        .arg(folder)
        .args(options.iter().map(|option| option.replace("{tls-port}", &(port + FURTHER).to_string())))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect(MISSING)
}

/// Whether it takes connections soon.
#[expect(clippy::disallowed_methods, reason = "a real server, in real time")]
async fn is_ready(process: &mut Child, port: u16) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if process.try_wait().ok().flatten().is_some() {
            return false;
        }
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return true;
        }
        sleep(Duration::from_millis(10)).await;
    }
    false
}

fn log(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("log")).unwrap_or_else(|error| format!("no log: {error}"))
}
