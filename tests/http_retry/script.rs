//! A body that does what it is told, and tells what is done to it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt;
use std::marker::{PhantomData, PhantomPinned};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

/// What a [`Script`] does next.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(Bytes),
    Trailers(HeaderMap),
    Error,
    Panic,
    /// Pending once, and woken at once.
    Pause,
    /// Pending until the gate is opened.
    Wait(Gate),
}

/// What a [`Script`] says of itself before it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Knows {
    /// Its length, and when it is at its end.
    All,
    /// Neither; both are allowed.
    Nothing,
}

/// What happened to a [`Script`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    bytes: AtomicUsize,
    polls: AtomicUsize,
    dropped: AtomicBool,
}

impl Seen {
    /// How many bytes were read from it.
    pub(crate) fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::SeqCst)
    }

    pub(crate) fn polls(&self) -> usize {
        self.0.polls.load(Ordering::SeqCst)
    }

    pub(crate) fn dropped(&self) -> bool {
        self.0.dropped.load(Ordering::SeqCst)
    }
}

/// Opened by a test.
#[derive(Clone, Debug, Default)]
pub(crate) struct Gate(Arc<GateState>);

#[derive(Debug, Default)]
struct GateState {
    open: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Gate {
    pub(crate) fn open(&self) {
        self.0.open.store(true, Ordering::SeqCst);
        if let Some(waker) = self.waker().take() {
            waker.wake();
        }
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Like most bodies, it remembers only the last one who asked.
    fn is_open(&self, cx: &Context<'_>) -> bool {
        *self.waker() = Some(cx.waker().clone());
        self.0.open.load(Ordering::SeqCst)
    }
}

pin_project! {
    /// As awkward as a body may be: neither `Unpin` nor `Sync` nor `Clone`.
    pub(crate) struct Script {
        steps: VecDeque<Step>,
        knows: Knows,
        seen: Seen,
        #[pin]
        not_unpin: PhantomPinned,
        not_sync: PhantomData<Cell<()>>,
    }

    impl PinnedDrop for Script {
        fn drop(this: Pin<&mut Self>) {
            this.seen.0.dropped.store(true, Ordering::SeqCst);
        }
    }
}

impl Script {
    pub(crate) fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self {
            steps: steps.into_iter().collect(),
            knows: Knows::All,
            seen: Seen::default(),
            not_unpin: PhantomPinned,
            not_sync: PhantomData,
        }
    }

    /// Data in these pieces.
    pub(crate) fn of(pieces: &[&str]) -> Self {
        Self::new(pieces.iter().map(|piece| data(piece)))
    }

    pub(crate) fn knows(mut self, knows: Knows) -> Self {
        self.knows = knows;
        self
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.clone()
    }
}

pub(crate) fn data(text: &str) -> Step {
    Step::Data(Bytes::copy_from_slice(text.as_bytes()))
}

pub(crate) fn trailers(pairs: &[(&'static str, &str)]) -> Step {
    Step::Trailers(headers(pairs))
}

pub(crate) fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let pair = |(name, value): &(&'static str, &str)| {
        (HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header value"))
    };
    pairs.iter().map(pair).collect()
}

/// The error of a [`Script`].
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body broke off")
    }
}

impl std::error::Error for Broken {}

impl Body for Script {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.project();
        this.seen.0.polls.fetch_add(1, Ordering::SeqCst);
        if let Some(Step::Wait(gate)) = this.steps.front()
            && !gate.is_open(cx)
        {
            return Poll::Pending;
        }
        let frame = loop {
            match this.steps.pop_front() {
                Some(Step::Wait(_)) => {}
                Some(Step::Data(data)) => {
                    this.seen.0.bytes.fetch_add(data.len(), Ordering::SeqCst);
                    break Some(Ok(Frame::data(data)));
                }
                Some(Step::Trailers(trailers)) => break Some(Ok(Frame::trailers(trailers))),
                Some(Step::Error) => break Some(Err(Broken)),
                Some(Step::Panic) => panic!("the body was told to panic"),
                Some(Step::Pause) => {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                None => break None,
            }
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.knows == Knows::All && self.steps.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        if self.knows == Knows::Nothing {
            return SizeHint::new();
        }
        let left = |step: &Step| match step {
            Step::Data(data) => data.len() as u64,
            _ => 0,
        };
        SizeHint::with_exact(self.steps.iter().map(left).sum())
    }
}
