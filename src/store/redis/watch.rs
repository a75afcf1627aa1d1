//! Notices, over a connection of their own.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use redis::Msg;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::connection::Reach;
use super::failure::Failure;
use super::script::number;
use crate::store::contract::{Notice, Notices, Version};
use crate::store::redial;
use crate::store::watchers::{SideSteps, Watchers};

/// After so long without a notice the server is asked whether it is still there: a connection that was cut off
/// somewhere on the way says nothing about it.
const QUIET: Duration = Duration::from_secs(15);

/// Tells of what is said on the channels, until it is dropped.
pub(super) fn watch(reach: Reach, channels: Vec<String>, side_steps: Arc<SideSteps>) -> Notices {
    let watchers = Arc::new(Watchers::default());
    let notices = watchers.watch();
    let mut watch = Watch { notices, listener: Some(Listener { reach, channels, watchers, side_steps }), task: None };
    // Without a runtime here, there may be one when the stream is polled.
    watch.start();
    Box::pin(watch)
}

struct Watch {
    notices: Notices,
    listener: Option<Listener>,
    task: Option<JoinHandle<()>>,
}

impl Watch {
    fn start(&mut self) {
        if self.listener.is_some()
            && let Ok(runtime) = Handle::try_current()
        {
            self.task = self.listener.take().map(|listener| runtime.spawn(listener.run()));
        }
    }
}

impl Stream for Watch {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        self.start();
        self.notices.as_mut().poll_next(cx)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

struct Listener {
    reach: Reach,
    channels: Vec<String>,
    watchers: Arc<Watchers>,
    side_steps: Arc<SideSteps>,
}

impl Listener {
    async fn run(self) {
        let (mut waits, mut failures) = (redial::delays(), 0_u32);
        loop {
            match self.subscribe().await {
                Ok((sink, messages)) => {
                    // Also the first time: what was said before is unknown.
                    self.watchers.tell(&Notice::Lagged);
                    self.side_steps.heard();
                    self.listen(sink, messages).await;
                    (waits, failures) = (redial::delays(), 0);
                }
                Err(failure) => {
                    failures = failures.saturating_add(1);
                    self.side_steps.not_heard(failures, failure.is_refusal(), &failure);
                }
            }
            sleep(waits.next().unwrap_or_default()).await;
        }
    }

    async fn subscribe(&self) -> Result<(PubSubSink, PubSubStream), Failure> {
        let subscribe = |client: redis::Client| async move {
            let (mut sink, messages) = client.get_async_pubsub().await?.split();
            sink.subscribe(&self.channels).await?;
            Ok((sink, messages))
        };
        self.reach.connected(subscribe).await
    }

    /// Passes messages on until the connection is gone.
    async fn listen(&self, mut sink: PubSubSink, messages: PubSubStream) {
        let mut messages = pin!(messages);
        loop {
            match timeout(QUIET, poll_fn(|cx| messages.as_mut().poll_next(cx))).await {
                Ok(Some(message)) => {
                    if let Some(notice) = notice(&message) {
                        self.watchers.tell(&notice);
                    }
                }
                Ok(None) => return,
                Err(_) => {
                    let asked = self.reach.within(self.reach.connect_timeout, sink.ping::<redis::Value>()).await;
                    if asked.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

/// Reads `version length name notice`, where a space is after each of the first two.
fn notice(message: &Msg) -> Option<Notice> {
    let payload = message.get_payload_bytes();
    let mut parts = payload.splitn(3, |byte| *byte == b' ');
    let version = Version(number(parts.next()?)?);
    let length = usize::try_from(number(parts.next()?)?).ok()?;
    let (name, notice) = parts.next()?.split_at_checked(length)?;
    let name = std::str::from_utf8(name).ok()?;
    Some(Notice::changed(name.to_owned(), version, Bytes::copy_from_slice(notice)))
}
