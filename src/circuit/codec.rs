//! The byte format: a head, then little-endian fields. One codec for detectors, evidence and what a fleet shares.

use std::error::Error;
use std::fmt;
#[cfg(feature = "fleet")]
use std::time::Duration;

use crate::one_line::OneLine;
#[cfg(feature = "fleet")]
use crate::time::{Timestamp, nanos};

/// Bytes that a detector cannot load.
///
/// ```
/// use fusebox::detect::{self, Detector};
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
    /// let error = fusebox::detect::LoadError::new("expected four bytes");
    /// assert_eq!(error.to_string(), "detector state cannot be loaded: expected four bytes");
    /// ```
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "detector state cannot be loaded: {}", OneLine(&self.what))
    }
}

impl Error for LoadError {}

/// The first byte of everything that is saved; a change of format gets a new one.
const VERSION: u8 = 1;

/// Which detector, or other record, wrote the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    FailureTimes = 1,
    OfLast = 2,
    Within = 3,
    Consecutive = 4,
    Combined = 5,
    Evidence = 6,
}

#[derive(Debug)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn new(kind: Kind) -> Self {
        Self::with_head(&[VERSION, kind as u8])
    }

    /// Begins with a head that the caller chose.
    pub(crate) fn with_head(head: &[u8]) -> Self {
        Self(head.to_vec())
    }

    pub(crate) fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    pub(crate) fn u32(&mut self, n: u32) {
        self.0.extend(n.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, n: u64) {
        self.0.extend(n.to_le_bytes());
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.0.extend(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// What only the records and batches of a fleet hold.
#[cfg(feature = "fleet")]
impl Writer {
    pub(crate) fn flag(&mut self, flag: bool) {
        self.u8(u8::from(flag));
    }

    pub(crate) fn time(&mut self, time: Timestamp) {
        self.u64(time.as_nanos());
    }

    /// The largest number stands for none.
    pub(crate) fn duration(&mut self, duration: Option<Duration>) {
        self.u64(duration.map_or(u64::MAX, nanos));
    }

    /// A number that takes the fewer bytes the smaller it is: seven bits a byte, the lowest first (LEB128).
    pub(crate) fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.u8(n.to_le_bytes()[0] | 0x80);
            n >>= 7;
        }
        self.u8(n.to_le_bytes()[0]);
    }

    /// A flag, and behind it what is there.
    pub(crate) fn option<T>(&mut self, value: Option<&T>, save: impl FnOnce(&T, &mut Self)) {
        self.flag(value.is_some());
        if let Some(value) = value {
            save(value, self);
        }
    }

    pub(crate) fn list<'a, T: 'a>(
        &mut self,
        values: impl ExactSizeIterator<Item = &'a T>,
        save: impl Fn(&T, &mut Self),
    ) {
        self.u32(u32::try_from(values.len()).unwrap_or(0));
        values.for_each(|value| save(value, self));
    }
}

#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(kind: Kind, bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut reader = Self::without_head(bytes);
        let (version, other) = (reader.u8()?, reader.u8()?);
        if version != VERSION {
            return Err(LoadError::new(format!("format {version}, this release knows {VERSION}")));
        }
        if other != kind as u8 {
            return Err(LoadError::new(format!("written by another kind ({other}, expected {kind:?})")));
        }
        Ok(reader)
    }

    /// Reads from the first byte on: the caller has read the head, where there is one.
    pub(crate) const fn without_head(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(|| LoadError::new("cut short"))?;
        self.0 = rest;
        Ok(*head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, LoadError> {
        self.take::<1>().map(|[n]| n)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, LoadError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, LoadError> {
        self.take().map(u64::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], LoadError> {
        let len = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(|| LoadError::new("cut short"))?;
        self.0 = rest;
        Ok(bytes)
    }

    /// A length that the rest of the bytes can hold, so that foreign bytes cannot ask for memory.
    pub(crate) fn count(&mut self, each: usize) -> Result<usize, LoadError> {
        let n = self.u32()? as usize;
        if n.saturating_mul(each) > self.0.len() {
            return Err(LoadError::new("cut short"));
        }
        Ok(n)
    }

    pub(crate) fn end(self) -> Result<(), LoadError> {
        if self.0.is_empty() { Ok(()) } else { Err(LoadError::new(format!("{} bytes too many", self.0.len()))) }
    }
}

#[cfg(feature = "fleet")]
impl Reader<'_> {
    pub(crate) fn flag(&mut self) -> Result<bool, LoadError> {
        self.u8().map(|flag| flag != 0)
    }

    /// Reads what [`Writer::varint`] wrote.
    pub(crate) fn varint(&mut self) -> Result<u64, LoadError> {
        let mut n = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                break;
            }
            n |= bits << shift;
            if byte < 0x80 {
                return Ok(n);
            }
        }
        Err(LoadError::new("a number that is too large"))
    }

    /// A length, as [`count`](Self::count) reads it, of fewer bytes.
    pub(crate) fn varint_count(&mut self, each: usize) -> Result<usize, LoadError> {
        let n = self.varint()?;
        self.fits(n, each)
    }

    /// Tells whether the rest of the bytes can hold so many values that take `each` bytes at the least.
    pub(crate) fn fits(&self, n: u64, each: usize) -> Result<usize, LoadError> {
        let n = usize::try_from(n).unwrap_or(usize::MAX);
        if n.saturating_mul(each) > self.0.len() {
            return Err(LoadError::new("cut short"));
        }
        Ok(n)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, LoadError> {
        self.u64().map(Timestamp::from_nanos)
    }

    pub(crate) fn duration(&mut self) -> Result<Option<Duration>, LoadError> {
        Ok(Some(self.u64()?).filter(|n| *n < u64::MAX).map(Duration::from_nanos))
    }

    pub(crate) fn option<T>(
        &mut self,
        load: impl FnOnce(&mut Self) -> Result<T, LoadError>,
    ) -> Result<Option<T>, LoadError> {
        if self.flag()? { load(self).map(Some) } else { Ok(None) }
    }

    /// Reads a list of values that take `each` bytes at the least.
    pub(crate) fn list<T, L: FromIterator<T>>(
        &mut self,
        each: usize,
        load: impl Fn(&mut Self) -> Result<T, LoadError>,
    ) -> Result<L, LoadError> {
        (0..self.count(each)?).map(|_| load(self)).collect()
    }
}
