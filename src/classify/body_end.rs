//! How a body ends, found in its frames.

use std::borrow::Cow;

use ::http::HeaderMap;
use bytes::Buf;
use http_body::Frame;

use super::ClassifyEnd;
use super::retry::Retry;
use super::web_trailers::WebTrailers;
use crate::circuit::Outcome;

/// Looks for the end of a body in what comes of asking for its frames.
#[derive(Debug)]
pub(crate) struct EndFinder {
    /// Where trailers are in the data.
    web: Option<WebTrailers>,
}

/// How a body ended.
#[derive(Debug)]
#[doc(hidden)]
pub enum BodyEnd<'a, E> {
    /// With these trailers, or with none.
    Whole(Option<Cow<'a, HeaderMap>>),
    /// With trailers that cannot be read: what is all that can be known is the head, which was good.
    Unreadable,
    Broken(&'a E),
}

impl EndFinder {
    /// For a body whose trailers do not matter.
    pub(crate) const NONE: Self = Self { web: None };

    /// For the body of a response with these headers.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self { web: WebTrailers::of(headers) }
    }

    /// Sees the next frame, or that there is none. Tells how the body ended, if it did; `is_last`: no frame comes after it.
    pub(crate) fn see<'a, D: Buf, E>(
        &mut self,
        frame: Option<&'a Result<Frame<D>, E>>,
        is_last: impl FnOnce() -> bool,
    ) -> Option<BodyEnd<'a, E>> {
        let trailers = match frame {
            None => None,
            Some(Err(error)) => return Some(BodyEnd::Broken(error)),
            Some(Ok(frame)) => {
                let trailers = frame.trailers_ref().map(Cow::Borrowed).or_else(|| self.read(frame));
                // A reader need not ask again after the last frame.
                if trailers.is_none() && !is_last() {
                    return None;
                }
                trailers
            }
        };
        let is_unknown = trailers.is_none() && self.web.as_ref().is_some_and(WebTrailers::are_unreadable);
        Some(if is_unknown { BodyEnd::Unreadable } else { BodyEnd::Whole(trailers) })
    }

    fn read<D: Buf>(&mut self, frame: &Frame<D>) -> Option<Cow<'static, HeaderMap>> {
        self.web.as_mut()?.read(frame.data_ref()?).map(Cow::Owned)
    }
}

impl<E: 'static> BodyEnd<'_, E> {
    /// What the end says of the dependency.
    pub(crate) fn outcome(&self, classify: &impl ClassifyEnd) -> Outcome {
        match self {
            Self::Whole(trailers) => classify.at_end(trailers.as_deref()),
            Self::Unreadable => Outcome::Success,
            Self::Broken(error) => classify.at_error(*error),
        }
    }

    /// Whether another attempt could have mended it.
    pub(crate) fn retry(&self, classify: &impl ClassifyEnd) -> Retry {
        match self {
            Self::Whole(trailers) => classify.retry_at_end(trailers.as_deref()),
            Self::Unreadable => Retry::Never,
            Self::Broken(error) => Retry::of(classify.at_error(*error)),
        }
    }

    /// Whether it gives back what failures take from a budget.
    pub(crate) fn earns(&self, classify: &impl ClassifyEnd) -> bool {
        match self {
            Self::Whole(trailers) => classify.earns_at_end(trailers.as_deref()),
            Self::Unreadable => true,
            Self::Broken(_) => false,
        }
    }
}
