//! What an instance has the store tell all others in the step that writes a record.

use super::pooled::Suspicion;
use super::record::Record;
use crate::circuit::{LoadError, Reader, Writer};

/// What is pushed. Nothing but a transition's headline is acted on without a load, and a suspicion, by telling early.
#[derive(Clone, Debug)]
pub(crate) enum Announcement {
    /// Something has changed: load it.
    Load,
    /// A new state, without evidence and votes.
    Headline(Box<Record>),
    /// All instances of a rule are asked.
    Suspected { rule: u64, suspicion: Suspicion },
    /// They need not answer any more, and no other instance need see to the verdict.
    Cleared { rule: u64, number: u64 },
}

const SUSPECTED: &[u8; 3] = b"FS2";
const CLEARED: &[u8; 3] = b"FC2";

impl Announcement {
    pub(super) fn save_suspicion(rule: u64, suspicion: &Suspicion) -> Vec<u8> {
        let mut out = Writer::with_head(SUSPECTED);
        out.u64(rule);
        suspicion.save(&mut out);
        out.finish()
    }

    pub(super) fn save_cleared(rule: u64, number: u64) -> Vec<u8> {
        let mut out = Writer::with_head(CLEARED);
        out.u64(rule);
        out.u64(number);
        out.finish()
    }

    /// Whatever is not understood is a reason to load.
    pub(crate) fn load(bytes: &[u8]) -> Self {
        Self::parse(bytes).unwrap_or(Self::Load)
    }

    fn parse(bytes: &[u8]) -> Result<Self, LoadError> {
        if let Some(rest) = bytes.strip_prefix(SUSPECTED) {
            let mut from = Reader::without_head(rest);
            let (rule, suspicion) = (from.u64()?, Suspicion::load(&mut from)?);
            return from.end().map(|()| Self::Suspected { rule, suspicion });
        }
        if let Some(rest) = bytes.strip_prefix(CLEARED) {
            let mut from = Reader::without_head(rest);
            let (rule, number) = (from.u64()?, from.u64()?);
            return from.end().map(|()| Self::Cleared { rule, number });
        }
        Ok(Record::load(bytes).map_or(Self::Load, |record| Self::Headline(Box::new(record))))
    }
}
