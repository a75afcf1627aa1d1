//! A PostgreSQL server of a test's own.
#![expect(clippy::panic, reason = "helpers of tests")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};

pub(crate) const PASSWORD: &str = "s3cret-of-the-owner";

/// A server in a folder of its own, on a port of its own. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    process: Mutex<Child>,
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    databases: AtomicU32,
}

/// A database of a test's own.
#[derive(Debug)]
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
}

/// The server that tests share who leave it as it is: it ends with the last of them.
static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());

impl Server {
    pub(crate) fn start() -> Arc<Self> {
        Self::start_with(&[])
    }

    /// Starts with settings beyond its usual ones, as in `["max_connections=500"]`.
    pub(crate) fn start_with(settings: &[&str]) -> Arc<Self> {
        Self::started(settings, &[])
    }

    /// With these files in its folder, by name, in place of what was there.
    pub(crate) fn start_with_files(files: &[(&str, &[u8])]) -> Arc<Self> {
        Self::started(&[], files)
    }

    fn started(settings: &[&str], files: &[(&str, &[u8])]) -> Arc<Self> {
        let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
        let binaries = binaries();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let folder = std::env::temp_dir().join(format!("fusebox-postgres-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("password"), PASSWORD).expect("a file");
        let owner = owner();
        if let Some((user, group)) = owner {
            for path in [folder.clone(), folder.join("password")] {
                std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may give files away");
            }
        }
        let data = folder.join("data");
        let init = run_as(owner, &binaries.join("initdb"))
            .arg("--pgdata")
            .arg(&data)
            .arg("--pwfile")
            .arg(folder.join("password"))
            .args(["--username=owner", "--auth=scram-sha-256", "--no-sync", "--encoding=UTF8", "--locale=C"])
            .output()
            .expect("initdb can be run");
        assert!(init.status.success(), "initdb: {}", String::from_utf8_lossy(&init.stderr));
        for (name, content) in files {
            place(&data.join(name), content);
        }
        let process = Mutex::new(spawn(&folder, port, &settings));
        let server = Arc::new(Self { process, folder, port, settings, databases: AtomicU32::new(0) });
        server.wait_until_up();
        server
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// It ends at once, without a checkpoint.
    pub(crate) fn stop(&self) {
        self.end_by("QUIT");
    }

    /// It ends its sessions, writes all that it has, and is gone.
    pub(crate) fn shut_down(&self) {
        self.end_by("INT");
    }

    fn end_by(&self, name: &str) {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        signal(name, &process.id().to_string());
        process.wait().expect("reaped");
    }

    /// The same server again, with what it had.
    pub(crate) fn start_again(&self) {
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = spawn(&self.folder, self.port, &self.settings);
        self.wait_until_up();
    }

    fn id(&self) -> String {
        self.process.lock().unwrap_or_else(PoisonError::into_inner).id().to_string()
    }

    #[expect(clippy::disallowed_methods, reason = "a real server, in real time")]
    fn wait_until_up(&self) {
        for _ in 0..200 {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            if log.contains("ready to accept connections") {
                return;
            }
            // Those who come too early are turned away, which is nothing to die of.
            let is_fatal = |line: &str| line.contains("FATAL") && !line.contains("the database system is");
            assert!(!log.lines().any(is_fatal), "postgres did not start: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("postgres does not come up: see {}", self.folder.display());
    }

    pub(crate) async fn database(self: &Arc<Self>) -> Database {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::SeqCst));
        self.run("postgres", &format!("create database {name}")).await;
        Database { server: self.clone(), name }
    }

    pub(crate) fn options(&self, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(self.port)
            .username("owner")
            .password(PASSWORD)
            .database(database)
            .disable_statement_logging()
    }

    /// Runs statements as the owner and returns their rows' columns as text.
    pub(crate) async fn run(&self, database: &str, sql: &str) -> Vec<Vec<String>> {
        let mut connection: PgConnection = self.options(database).connect().await.expect("connects");
        let rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await;
        let rows = rows.unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close().await.ok();
        let text = |row: &sqlx::postgres::PgRow, at| row.try_get_unchecked::<Option<String>, _>(at).expect("text");
        rows.iter().map(|row| (0..row.len()).map(|at| text(row, at).unwrap_or_default()).collect()).collect()
    }

    /// Stops all its processes, those too that are only about to let somebody in. Returns which.
    pub(crate) fn freeze(&self) -> String {
        let parent = self.id();
        // From now on there are no new ones.
        signal("STOP", &parent);
        let is_child = |process: &str| {
            let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // The name may have spaces; it ends with the last bracket. Then come the state and the parent.
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            rest.split_whitespace().nth(1) == Some(&parent)
        };
        let names = fs::read_dir("/proc").expect("processes").flatten().map(|entry| entry.file_name());
        let children = names.filter_map(|name| name.into_string().ok()).filter(|name| is_child(name));
        let processes = children.fold(parent.clone(), |all, child| format!("{all} {child}"));
        signal("STOP", &processes);
        processes
    }

    /// The processes of the server.
    pub(crate) async fn processes(&self) -> String {
        let backends = self.run("postgres", "select pid::text from pg_stat_activity").await;
        let pids: Vec<_> = backends.into_iter().flatten().collect();
        format!("{} {}", self.id(), pids.join(" "))
    }
}

/// Writes a file that is the server's alone.
fn place(path: &Path, content: &[u8]) {
    use std::os::unix::fs::{PermissionsExt, chown};
    fs::write(path, content).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("ours");
    if let Some((user, group)) = owner() {
        chown(path, Some(user), Some(group)).expect("root may give files away");
    }
}

fn spawn(folder: &Path, port: u16, settings: &[String]) -> Child {
    let log = fs::File::create(folder.join("log")).expect("a file");
    run_as(owner(), &binaries().join("postgres"))
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-h", "127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("postgres can be run")
}

/// Sends a signal to processes. Some may have ended.
pub(crate) fn signal(signal: &str, processes: &str) {
    let command = format!("kill -{signal} {processes} 2>/dev/null || true");
    assert!(Command::new("sh").args(["-c", &command]).status().expect("a shell").success());
}

impl Drop for Server {
    fn drop(&mut self) {
        let parent = self.id();
        // Whoever is stopped cannot end.
        signal("CONT", &parent);
        signal("QUIT", &parent);
        self.process.lock().unwrap_or_else(PoisonError::into_inner).wait().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

impl Database {
    /// On the server that tests share.
    pub(crate) async fn fresh() -> Self {
        let server = {
            let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
            shared.upgrade().unwrap_or_else(|| {
                let server = Server::start();
                *shared = Arc::downgrade(&server);
                server
            })
        };
        server.database().await
    }

    pub(crate) fn url(&self) -> String {
        self.url_as("owner", PASSWORD)
    }

    pub(crate) fn url_as(&self, user: &str, password: &str) -> String {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{}", self.server.port, self.name)
    }

    /// The same through another port, behind which there is a proxy.
    pub(crate) fn url_at(&self, port: u16) -> String {
        format!("postgres://owner:{PASSWORD}@127.0.0.1:{port}/{}", self.name)
    }

    pub(crate) fn options(&self) -> PgConnectOptions {
        self.server.options(&self.name)
    }

    /// Runs a script by hand, as the owner, until something fails. Returns whether it ended well, and what was said.
    pub(crate) fn psql(&self, script: &str) -> (bool, String) {
        let file = self.server.folder.join("script.sql");
        fs::write(&file, script).expect("a file");
        let beside = binaries().join("psql");
        let program = if beside.exists() { beside } else { PathBuf::from("psql") };
        let mut psql = Command::new(program);
        psql.args(["--no-psqlrc", "--set=ON_ERROR_STOP=1", "--file"]).arg(&file).arg(self.url()).stdin(Stdio::null());
        let run = psql.output().expect("psql can be run");
        (run.status.success(), String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned())
    }

    pub(crate) async fn run(&self, sql: &str) -> Vec<Vec<String>> {
        self.server.run(&self.name, sql).await
    }
}

/// PgBouncer in transaction mode, with fewer connections to the server than clients.
#[derive(Debug)]
pub(crate) struct Pooler {
    process: Child,
    folder: PathBuf,
    port: u16,
}

impl Pooler {
    #[expect(clippy::disallowed_methods, reason = "a real server, in real time")]
    pub(crate) fn before(server: &Server) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let folder = std::env::temp_dir().join(format!("fusebox-pooler-{}-{port}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let settings = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=owner password={PASSWORD}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 4\n",
            server.port
        );
        fs::write(&settings, text).expect("a file");
        // Debian keeps it where only root looks.
        let debian = Path::new("/usr/sbin/pgbouncer");
        let program = if debian.exists() { debian } else { Path::new("pgbouncer") };
        let log = fs::File::create(folder.join("log")).expect("a file");
        let process = run_as(owner(), program).arg(&settings).stdout(Stdio::null()).stderr(log).spawn();
        let process = process.expect(
            "PgBouncer is needed: `apt-get install pgbouncer`, `dnf install pgbouncer` or `brew install pgbouncer`, or \
             put `pgbouncer` on the PATH",
        );
        let pooler = Self { process, folder, port };
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return pooler;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PgBouncer does not come up: {}", fs::read_to_string(pooler.folder.join("log")).unwrap_or_default());
    }

    pub(crate) fn url(&self, database: &Database) -> String {
        format!("postgres://owner@127.0.0.1:{}/{}", self.port, database.name)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
        fs::remove_dir_all(&self.folder).ok();
    }
}

/// Where the server's programs are: on the path, or where Debian keeps them.
fn binaries() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.extend(std::env::split_paths(&path));
    let found = folders.into_iter().find(|folder| folder.join("initdb").exists() && folder.join("postgres").exists());
    found.expect(
        "a PostgreSQL server is needed: `apt-get install postgresql`, `dnf install postgresql-server` or \
         `brew install postgresql`, or put the folder with `initdb` and `postgres` on the PATH",
    )
}

/// PostgreSQL refuses to be run by root: the user and group to run it as, where that is us.
fn owner() -> Option<(u32, u32)> {
    static OWNER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *OWNER.get_or_init(find_owner)
}

fn find_owner() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let probe = std::env::temp_dir().join(format!("fusebox-who-{}", std::process::id()));
    fs::write(&probe, "").expect("a file");
    let is_root = fs::metadata(&probe).expect("its owner").uid() == 0;
    fs::remove_file(&probe).ok();
    if !is_root {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("users");
    let user = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(user("postgres").or_else(|| user("nobody")).expect("a user `postgres` or `nobody`"))
}

fn run_as(owner: Option<(u32, u32)>, program: &Path) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(program);
    command.current_dir("/").env_remove("PGDATA").stdin(Stdio::null());
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    command
}
