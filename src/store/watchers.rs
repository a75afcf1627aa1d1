//! The way of notices from a store to its watchers: bounded, and told when something was missed.

#[cfg(any(feature = "postgres", feature = "redis"))]
use std::fmt;
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
/// Different words for what does not work that are remembered until it does.
#[cfg(any(feature = "postgres", feature = "redis"))]
const MOST_TROUBLES: usize = 16;
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

/// What a store does beside what it is asked: it tells of the writes that stand, and hears what others tell. Watchers
/// hear where that fails.
#[cfg(any(feature = "postgres", feature = "redis"))]
#[derive(Debug, Default)]
pub(super) struct SideSteps {
    watchers: Watchers,
    /// The last write that stands was not told of, and watchers know.
    is_untold: AtomicBool,
    /// Why that is so, and why nothing can be heard: all that watchers were told and that is not over.
    untold: Mutex<Vec<String>>,
    unheard: Mutex<Vec<String>>,
}

#[cfg(any(feature = "postgres", feature = "redis"))]
impl SideSteps {
    /// A new watcher of these troubles and those notices.
    pub(super) fn watch_with(&self, notices: Notices) -> Notices {
        // Only one of the two may end: what is left goes on.
        Box::pin(Both { troubles: self.watchers.watch(), notices: Some(notices) })
    }

    /// A write stands, and was told of, or what is the matter.
    pub(super) fn told(&self, trouble: Option<&str>) {
        let was_untold = self.is_untold.swap(trouble.is_some(), Ordering::Relaxed);
        match trouble {
            Some(trouble) if !was_untold => {
                self.begin(&self.untold, format!("a change was written and not told of: {trouble}"));
            }
            None if was_untold => self.end(&self.untold),
            _ => {}
        }
    }

    /// So many times in a row nothing could be listened to. Told at once where the server refuses; else it may be away with
    /// all the rest, so it is told later, and again.
    pub(super) fn not_heard(&self, failures: u32, is_refusal: bool, why: &dyn fmt::Display) {
        if is_refusal && failures == 1 || failures.is_multiple_of(TRIES_BEFORE_TOLD) {
            self.begin(&self.unheard, format!("no notices can be heard: {why}"));
        }
    }

    /// From now on notices can be heard.
    pub(super) fn heard(&self) {
        self.end(&self.unheard);
    }

    fn begin(&self, troubles: &Mutex<Vec<String>>, why: String) {
        self.watchers.tell(&Notice::impaired(why.clone()));
        let mut troubles = troubles.lock().unwrap_or_else(PoisonError::into_inner);
        if !troubles.contains(&why) && troubles.len() < MOST_TROUBLES {
            troubles.push(why);
        }
    }

    fn end(&self, troubles: &Mutex<Vec<String>>) {
        let troubles = std::mem::take(&mut *troubles.lock().unwrap_or_else(PoisonError::into_inner));
        troubles.into_iter().for_each(|why| self.watchers.tell(&Notice::mended(why)));
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
