//! The way of notices from a store to its watchers: bounded, and told when something was missed.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

use super::contract::{Notice, Notices};

/// Notices that wait for one watcher, at most.
const MOST: usize = 1024;

/// The watchers of a store.
#[derive(Debug, Default)]
pub(super) struct Watchers(Mutex<Vec<(mpsc::Sender<Notice>, Arc<AtomicBool>)>>);

impl Watchers {
    /// A new watcher.
    pub(super) fn watch(&self) -> Notices {
        let (sender, notices) = mpsc::channel(MOST);
        let lagged = Arc::new(AtomicBool::new(false));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((sender, lagged.clone()));
        Box::pin(Watcher { notices, lagged })
    }

    /// Tells all of them.
    pub(super) fn tell(&self, notice: &Notice) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(watcher, lagged)| {
            match watcher.try_send(notice.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    lagged.store(true, Ordering::Release);
                    true
                }
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
    }
}

#[derive(Debug)]
struct Watcher {
    notices: mpsc::Receiver<Notice>,
    lagged: Arc<AtomicBool>,
}

impl Stream for Watcher {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        if self.lagged.swap(false, Ordering::AcqRel) {
            return Poll::Ready(Some(Notice::Lagged));
        }
        self.notices.poll_recv(cx)
    }
}
