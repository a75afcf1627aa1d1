//! The time between two attempts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

use crate::classify::Leftover;

/// A failed result that takes longer to end is not worth what it came over.
const READ_FOR: Duration = Duration::from_millis(10);

pin_project! {
    /// Waits, and meanwhile reads what is left of the result that failed; never longer for that.
    pub(super) struct Wait {
        #[pin]
        sleep: Sleep,
        left: Option<Leftover>,
        #[pin]
        reading: Option<Sleep>,
    }
}

impl Wait {
    /// In a box of its own, so that calls that never wait do not carry it.
    #[inline(never)]
    pub(super) fn boxed(wait: Duration, left: Option<Leftover>) -> Pin<Box<Self>> {
        let reading = left.as_ref().map(|_| sleep(READ_FOR));
        Box::pin(Self { sleep: sleep(wait), left, reading })
    }
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if let Some(reading) = this.reading.as_pin_mut() {
            read(this.left, cx);
            if reading.poll(cx).is_ready() {
                *this.left = None;
            }
        }
        this.sleep.poll(cx)
    }
}

/// Reads what is at hand.
pub(super) fn read(left: &mut Option<Leftover>, cx: &mut Context<'_>) {
    if let Some(rest) = left
        && rest.as_mut().poll(cx).is_ready()
    {
        *left = None;
    }
}
