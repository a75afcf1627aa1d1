//! What an instance has the store tell all others in the step that writes a record.

use super::pooled::Suspicion;
use crate::circuit::{LoadError, Reader, Writer};
use crate::time::Timestamp;

/// What is pushed. Nothing in it is believed: it is a reason to load, or to tell early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// Something has changed: load it.
    Load,
    /// All instances of a rule are asked what they have seen up to a moment of the store's clock.
    Suspected { rule: u64, number: u64, cut: Timestamp },
    /// Failures or votes are told where there were none, or others: it is loaded in each poll from now on.
    Trouble,
    /// They need not answer any more, and no other instance need see to the verdict.
    Cleared { rule: u64, number: u64 },
}

const SUSPECTED: &[u8; 3] = b"FS3";
const CLEARED: &[u8; 3] = b"FC2";
const TROUBLE: &[u8; 3] = b"FT1";

impl Announcement {
    pub(super) fn suspected(rule: u64, suspicion: &Suspicion) -> Self {
        Self::Suspected { rule, number: suspicion.number, cut: suspicion.cut }
    }

    pub(crate) fn save(self) -> Vec<u8> {
        let with_head = |head: &[u8], rule: u64, number: u64| {
            let mut out = Writer::with_head(head);
            out.u64(rule);
            out.u64(number);
            out
        };
        match self {
            Self::Load => Vec::new(),
            Self::Trouble => TROUBLE.to_vec(),
            Self::Suspected { rule, number, cut } => {
                let mut out = with_head(SUSPECTED, rule, number);
                out.time(cut);
                out.finish()
            }
            Self::Cleared { rule, number } => with_head(CLEARED, rule, number).finish(),
        }
    }

    /// Whatever is not understood is a reason to load.
    pub(crate) fn load(bytes: &[u8]) -> Self {
        Self::parse(bytes).unwrap_or(Self::Load)
    }

    fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        if bytes == TROUBLE {
            return Ok(Self::Trouble);
        }
        if let Some(rest) = bytes.strip_prefix(SUSPECTED) {
            let mut from = Reader::without_head(rest);
            let (rule, number, cut) = (from.u64()?, from.u64()?, from.time()?);
            return from.end().map(|()| Self::Suspected { rule, number, cut });
        }
        if let Some(rest) = bytes.strip_prefix(CLEARED) {
            let mut from = Reader::without_head(rest);
            let (rule, number) = (from.u64()?, from.u64()?);
            return from.end().map(|()| Self::Cleared { rule, number });
        }
        Ok(Self::Load)
    }
}
