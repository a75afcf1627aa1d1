//! Notices from PostgreSQL's `NOTIFY`.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::dialler::Dialler;
use super::failure::store_error;
use crate::store::contract::{Notice, Notices, Version, never_notices};
use crate::store::error::StoreError;
use crate::store::redial;
use crate::store::watchers::{SideSteps, Watchers};
use crate::text::{hex, unhex};

/// The most of a payload that is ours; PostgreSQL takes less than 8000 bytes, and the version comes in front.
const LARGEST: usize = 7_900;
/// How long a connection may say nothing before it is asked whether it lives.
const SILENT: Duration = Duration::from_secs(15);
/// How long an answer to that question may take, or all that must be said to listen.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long dialling may take.
const DIAL: Duration = Duration::from_secs(2);

/// Where notices of one namespace go, and how they are written: version, namespace, key and notice, the last three in
/// hexadecimal digits.
#[derive(Clone, Debug)]
pub(super) struct Channel {
    name: String,
    namespace: String,
}

impl Channel {
    pub(super) fn new(name: String, namespace: &str) -> Self {
        let mut digits = String::new();
        hex(namespace.as_bytes(), &mut digits);
        Self { name, namespace: digits }
    }

    /// All but the version, which the server adds.
    pub(super) fn write(&self, key: &str, notice: &[u8]) -> String {
        let mut head = format!("{} ", self.namespace);
        hex(key.as_bytes(), &mut head);
        if head.len() > LARGEST {
            // Without the key every listener reloads all that it uses.
            return self.namespace.clone();
        }
        head.push(' ');
        if head.len() + notice.len() * 2 <= LARGEST {
            hex(notice, &mut head);
        }
        head
    }

    /// `None`: for others.
    fn read(&self, payload: &str) -> Option<Notice> {
        let mut parts = payload.split(' ');
        let version = parts.next().and_then(|version| version.parse().ok());
        if parts.next() != Some(&self.namespace) {
            return None;
        }
        let key = parts.next().and_then(unhex).and_then(|key| String::from_utf8(key).ok());
        let notice = parts.next().and_then(unhex);
        Some(match (version, key, notice) {
            (Some(version), Some(key), Some(notice)) => Notice::changed(key, Version(version), notice.into()),
            _ => Notice::Lagged,
        })
    }
}

/// Listens in a task, until what is returned is dropped.
pub(super) fn watch(dialler: Dialler, channel: Channel, side_steps: Arc<SideSteps>) -> Notices {
    let Ok(runtime) = Handle::try_current() else {
        return never_notices();
    };
    let watchers = Watchers::default();
    let notices = watchers.watch();
    let task = runtime.spawn(async move { listen(&dialler, &channel, &watchers, &side_steps).await });
    Box::pin(Listening { notices, task })
}

struct Listening {
    notices: Notices,
    task: JoinHandle<()>,
}

impl Stream for Listening {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.notices.as_mut().poll_next(cx)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(dialler: &Dialler, channel: &Channel, watchers: &Watchers, side_steps: &SideSteps) {
    let (mut waits, mut failures) = (redial::delays(), 0_u32);
    loop {
        let dialled = timeout(PATIENCE, dial(dialler, channel)).await;
        let dialled = dialled.unwrap_or_else(|_| Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()));
        match dialled.map_err(|error| store_error(&error, false)) {
            Ok(mut listener) => {
                (waits, failures) = (redial::delays(), 0);
                // Whatever came before this was not heard.
                watchers.tell(&Notice::Lagged);
                side_steps.heard();
                hear(&mut listener, channel, watchers).await;
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let is_refusal = matches!(error, StoreError::Refused(_));
                side_steps.not_heard(failures, is_refusal, &error.explain());
            }
        }
        sleep(waits.next().unwrap_or(PATIENCE)).await;
    }
}

async fn dial(dialler: &Dialler, channel: &Channel) -> Result<PgListener, sqlx::Error> {
    let pool = PgPoolOptions::new()
        .max_connections(1)
        // The pool would dial a server that refuses again and again for all of that time.
        .acquire_timeout(DIAL)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_lazy_with(dialler.ready().await?);
    let mut listener = PgListener::connect_with(&pool).await.map_err(|error| dialler.told(error))?;
    // It would redial without a pause.
    listener.eager_reconnect(false);
    listener.listen(&channel.name).await?;
    Ok(listener)
}

/// Passes on what comes, until the connection ends.
async fn hear(listener: &mut PgListener, channel: &Channel, watchers: &Watchers) {
    loop {
        match timeout(SILENT, listener.try_recv()).await {
            Ok(Ok(Some(notification))) => {
                if let Some(notice) = channel.read(notification.payload()) {
                    watchers.tell(&notice);
                }
            }
            Ok(Ok(None) | Err(_)) => return,
            // Where packets vanish, nothing else would ever tell.
            Err(_) => match timeout(PATIENCE, sqlx::raw_sql("select 1").execute(&mut *listener)).await {
                Ok(Ok(_)) => {}
                _ => return,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_come_back_from_their_payload() {
        let channel = Channel::new("t".to_owned(), "shop");
        let read = |payload: String| channel.read(&format!("7 {payload}"));
        let changed = |key: &str, notice: &'static [u8]| Notice::changed(key.to_owned(), Version(7), notice.into());
        assert_eq!(read(channel.write("a b", b"\0'")), Some(changed("a b", b"\0'")));
        assert_eq!(read(channel.write("a", &[7; 5_000])), Some(changed("a", b"")), "too large: the header alone");
        assert!(channel.write("a", &[7; 5_000]).len() < 8_000);
        assert_eq!(read(channel.write(&"k".repeat(5_000), b"")), Some(Notice::Lagged));
        assert_eq!(
            Channel::new("t".to_owned(), "").read(&format!("7 {}", channel.write("a", b"n"))),
            None,
            "for others"
        );
    }
}
