//! A value that many may have in common, until one of them changes it.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

/// A value of its own, or one that it has in common with others: changing that makes it its own.
///
/// [`Arc::make_mut`] does as much, for an atomic operation at each change.
#[derive(Debug)]
pub(super) enum CopyOnWrite<T> {
    Own(Box<T>),
    Shared(Arc<T>),
}

impl<T> CopyOnWrite<T> {
    pub(super) fn new(value: T) -> Self {
        Self::Own(Box::new(value))
    }
}

impl<T> Deref for CopyOnWrite<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Own(own) => own,
            Self::Shared(shared) => shared,
        }
    }
}

impl<T: Clone> DerefMut for CopyOnWrite<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        loop {
            match self {
                Self::Own(own) => return own,
                Self::Shared(shared) => *self = Self::new(T::clone(shared)),
            }
        }
    }
}
