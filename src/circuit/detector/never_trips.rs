//! A detector for tests that want to know what it is shown.

/// What such a detector must have beside `record` and `save`: it holds nothing against the calls.
macro_rules! never_trips {
    () => {
        fn verdict(&self, _now: $crate::time::Timestamp) -> bool {
            false
        }

        fn reset(&mut self) {}

        fn tally(&self, _now: $crate::time::Timestamp) -> $crate::circuit::Tally {
            $crate::circuit::Tally::failures(0)
        }

        fn load(&mut self, _bytes: &[u8]) -> Result<(), $crate::circuit::LoadError> {
            Ok(())
        }
    };
}

pub(crate) use never_trips;
