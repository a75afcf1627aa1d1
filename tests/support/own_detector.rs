//! A detector that is no one of this crate's.

use fusebox::ConfigError;
use fusebox::clock::Timestamp;
use fusebox::detect::{Call, Detector, LoadError, Tally};

/// A detector of a user's own that never trips; its setting is checked like any other.
#[derive(Clone, Debug)]
pub(crate) struct Mine {
    pub(crate) most: u32,
}

impl Detector for Mine {
    fn record(&mut self, _call: &Call) {}

    fn verdict(&self, _now: Timestamp) -> bool {
        false
    }

    fn reset(&mut self) {}

    fn tally(&self, _now: Timestamp) -> Tally {
        Tally::failures(self.most.into())
    }

    fn save(&self) -> Vec<u8> {
        Vec::new()
    }

    fn load(&mut self, _bytes: &[u8]) -> Result<(), LoadError> {
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.most > 0 { Ok(()) } else { Err(ConfigError::new("most", &self.most, "at least 1")) }
    }
}
