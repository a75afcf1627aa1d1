//! The store: the one that is given, or a Redis of our own.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fusebox::BoxError;
use fusebox::store::{RedisStore, Store};

pub(crate) struct Server {
    url: String,
    /// One of our own, which goes with the program.
    own: Option<Child>,
}

impl Server {
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn what(&self) -> &str {
        match (&self.own, self.url.split("://").next()) {
            (Some(_), _) => "a private redis-server",
            (None, Some(scheme @ ("redis" | "rediss" | "postgres" | "postgresql"))) => scheme,
            (None, _) => "the given store",
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(own) = &mut self.own {
            own.kill().ok();
            own.wait().ok();
        }
    }
}

pub(crate) fn find_or_start() -> Result<Server, BoxError> {
    if let Ok(url) = std::env::var("FUSEBOX_STORE_URL") {
        return Ok(Server { url, own: None });
    }
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let own = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| {
            format!(
                "redis-server cannot be started ({error}): install it, or set FUSEBOX_STORE_URL to a Redis or Postgres"
            )
        })?;
    let server = Server { url: format!("redis://127.0.0.1:{port}"), own: Some(own) };
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if Instant::now() > deadline {
            return Err("the private redis-server did not come up within 10 s".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(server)
}

/// Redis, or Postgres with the feature `postgres`; the table is made where it is missing.
pub(crate) async fn connect(url: &str) -> Result<Arc<dyn Store>, BoxError> {
    #[cfg(feature = "postgres")]
    if url.starts_with("postgres") {
        use fusebox::store::PostgresStore;
        PostgresStore::migrate(url).await?;
        return Ok(Arc::new(PostgresStore::connect(url).await?));
    }
    Ok(Arc::new(RedisStore::connect(url).await?))
}
