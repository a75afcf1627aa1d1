//! The time between two attempts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::classify::Classify;
#[cfg(feature = "http")]
use crate::classify::Leftover;

/// What is left to read of a failed response, so that its connection can be used again.
pub(super) struct Rest {
    #[cfg(feature = "http")]
    left: Option<Leftover>,
}

/// A response that takes longer to end is not worth its connection.
#[cfg(feature = "http")]
const READ_FOR: Duration = Duration::from_millis(10);

impl Rest {
    pub(super) const NONE: Self = Self {
        #[cfg(feature = "http")]
        left: None,
    };

    #[cfg(feature = "http")]
    pub(super) fn of<C: Classify<T, E>, T, E>(classify: &C, result: Result<T, E>) -> Self {
        Self { left: classify.leftover(result) }
    }

    #[cfg(not(feature = "http"))]
    pub(super) fn of<C: Classify<T, E>, T, E>(_classify: &C, result: Result<T, E>) -> Self {
        drop(result);
        Self::NONE
    }

    /// Reads what is at hand.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) {
        #[cfg(feature = "http")]
        if let Some(left) = &mut self.left
            && Pin::new(left).poll(cx).is_ready()
        {
            self.left = None;
        }
        #[cfg(not(feature = "http"))]
        let _ = cx;
    }
}

pin_project! {
    /// Waits, and meanwhile reads what is left of the response that failed; never longer for that.
    pub(super) struct Wait {
        #[pin]
        sleep: Sleep,
        rest: Rest,
        #[pin]
        reading: Option<Sleep>,
    }
}

impl Wait {
    pub(super) fn new(wait: Duration, rest: Rest) -> Self {
        #[cfg(feature = "http")]
        let reading = rest.left.as_ref().map(|_| sleep(READ_FOR));
        #[cfg(not(feature = "http"))]
        let reading = None;
        Self { sleep: sleep(wait), rest, reading }
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(reading) = this.reading.as_pin_mut() {
            this.rest.read(cx);
            if reading.poll(cx).is_ready() {
                *this.rest = Rest::NONE;
            }
        }
        this.sleep.poll(cx)
    }
}
