//! A stream that never says anything.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::contract::Notice;

/// The default of [`Store::watch`](super::Store::watch).
#[derive(Debug)]
pub(super) struct Silence;

impl Stream for Silence {
    type Item = Notice;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Notice>> {
        Poll::Pending
    }
}
