//! The way of notices from a store to its watchers: bounded, and told when something was missed.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

use super::contract::{Notice, Notices};

/// After so many tries in a row what does not work is told of.
#[cfg(any(feature = "postgres", feature = "redis"))]
const TRIES_BEFORE_TOLD: u32 = 4;
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

/// What a store does beside what it is asked: where that fails, watchers hear of it once, until it succeeds again.
#[cfg(any(feature = "postgres", feature = "redis"))]
#[derive(Debug, Default)]
pub(super) struct SideStep {
    watchers: Watchers,
    has_failed: AtomicBool,
}

#[cfg(any(feature = "postgres", feature = "redis"))]
impl SideStep {
    /// A new watcher of these troubles and those notices.
    pub(super) fn watch_with(&self, notices: Notices) -> Notices {
        // Only one of the two may end: what is left goes on.
        Box::pin(Both { troubles: self.watchers.watch(), notices: Some(notices) })
    }

    pub(super) fn succeeded(&self) {
        self.has_failed.store(false, Ordering::Relaxed);
    }

    /// `why` says what was tried, and what came of it.
    pub(super) fn failed(&self, why: impl FnOnce() -> String) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            self.watchers.tell(&Notice::impaired(why()));
        }
    }

    /// So many times in a row it has failed. Told at once where the server refuses; else it may be away with all the rest, so
    /// it is told later, and again.
    pub(super) fn failed_again(&self, failures: u32, is_refusal: bool, why: impl FnOnce() -> String) {
        if is_refusal && failures == 1 || failures.is_multiple_of(TRIES_BEFORE_TOLD) {
            self.watchers.tell(&Notice::impaired(why()));
        }
    }
}

#[cfg(any(feature = "postgres", feature = "redis"))]
struct Both {
    troubles: Notices,
    notices: Option<Notices>,
}

#[cfg(any(feature = "postgres", feature = "redis"))]
impl Stream for Both {
    type Item = Notice;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        if let Some(notices) = &mut self.notices {
            match notices.as_mut().poll_next(cx) {
                Poll::Ready(None) => self.notices = None,
                Poll::Ready(notice) => return Poll::Ready(notice),
                Poll::Pending => {}
            }
        }
        self.troubles.as_mut().poll_next(cx)
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
