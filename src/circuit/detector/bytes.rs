//! The byte format of detectors: a version, a kind, then little-endian fields.

use std::error::Error;
use std::fmt;

/// Bytes that a detector cannot load.
///
/// ```
/// use fusebox::{detect, Detector};
///
/// let saved = detect::consecutive_failures(3).save();
/// let error = detect::failures(3).of_last(10).load(&saved).unwrap_err();
/// assert!(error.to_string().contains("written by another kind"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadError {
    what: String,
}

impl LoadError {
    /// Says what is wrong with the bytes.
    ///
    /// ```
    /// let error = fusebox::LoadError::new("expected four bytes");
    /// assert_eq!(error.to_string(), "detector state cannot be loaded: expected four bytes");
    /// ```
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "detector state cannot be loaded: {}", self.what)
    }
}

impl Error for LoadError {}

/// The first byte of everything that is saved; a change of format gets a new one.
const VERSION: u8 = 1;

/// Which detector, or other record, wrote the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::circuit) enum Kind {
    FailureTimes = 1,
    OfLast = 2,
    Within = 3,
    Consecutive = 4,
    Combined = 5,
    Evidence = 6,
}

#[derive(Debug)]
pub(in crate::circuit) struct Writer(Vec<u8>);

impl Writer {
    pub(in crate::circuit) fn new(kind: Kind) -> Self {
        Self(vec![VERSION, kind as u8])
    }

    /// Without a head: for what has one of its own.
    #[cfg(feature = "fleet")]
    pub(in crate::circuit) fn bare(head: &[u8]) -> Self {
        Self(head.to_vec())
    }

    pub(in crate::circuit) fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    pub(in crate::circuit) fn u32(&mut self, n: u32) {
        self.0.extend(n.to_le_bytes());
    }

    pub(in crate::circuit) fn u64(&mut self, n: u64) {
        self.0.extend(n.to_le_bytes());
    }

    pub(in crate::circuit) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend(bytes);
    }

    pub(in crate::circuit) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[derive(Debug)]
pub(in crate::circuit) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(in crate::circuit) fn new(kind: Kind, bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut reader = Self(bytes);
        let (version, other) = (reader.u8()?, reader.u8()?);
        if version != VERSION {
            return Err(LoadError::new(format!("format {version}, this release knows {VERSION}")));
        }
        if other != kind as u8 {
            return Err(LoadError::new(format!("written by another kind ({other}, expected {kind:?})")));
        }
        Ok(reader)
    }

    /// Without a head: for what has one of its own.
    #[cfg(feature = "fleet")]
    pub(in crate::circuit) const fn bare(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| LoadError::new("cut short"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(in crate::circuit) fn u8(&mut self) -> Result<u8, LoadError> {
        self.take::<1>().map(|[n]| n)
    }

    pub(in crate::circuit) fn u32(&mut self) -> Result<u32, LoadError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(in crate::circuit) fn u64(&mut self) -> Result<u64, LoadError> {
        self.take().map(u64::from_le_bytes)
    }

    pub(in crate::circuit) fn bytes(&mut self) -> Result<&'a [u8], LoadError> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(|| LoadError::new("cut short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A length that the rest of the bytes can hold, so that foreign bytes cannot ask for memory.
    pub(in crate::circuit) fn count(&mut self, each: usize) -> Result<usize, LoadError> {
        let n = self.u32()? as usize;
        if n.saturating_mul(each) > self.0.len() {
            return Err(LoadError::new("cut short"));
        }
        Ok(n)
    }

    pub(in crate::circuit) fn end(self) -> Result<(), LoadError> {
        if self.0.is_empty() { Ok(()) } else { Err(LoadError::new(format!("{} bytes too many", self.0.len()))) }
    }
}
