//! Asking a store for breakers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::row::{FleetBreaker, FleetRecord, RecordTrouble};
use crate::store::{Key, Store, StoreError};

/// A store, and how long it may take.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) store: Arc<dyn Store>,
    pub(super) patience: Duration,
}

/// So many records are loaded together: 10,000 breakers are listed within 45 round trips.
const PAGE: usize = 1_000;

impl Reader {
    pub(super) const fn new(store: Arc<dyn Store>) -> Self {
        Self { store, patience: Duration::from_secs(5) }
    }

    /// Asks the store, which may be one that hangs.
    pub(super) async fn ask<T>(&self, asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match timeout(self.patience, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(StoreError::no_answer(format!("no answer within {:?}", self.patience))),
        }
    }

    pub(super) async fn keys(&self) -> Result<Vec<Key>, StoreError> {
        let keys = self.ask(self.store.keys()).await?;
        // What has no such key is no breaker's.
        Ok(keys.iter().filter_map(|key| Key::parse(key)).collect())
    }

    /// Loads breakers; those that the store has nothing of are left out.
    pub(super) async fn load(&self, keys: &[Key]) -> Result<Vec<FleetBreaker>, StoreError> {
        let mut rows = Vec::with_capacity(keys.len());
        for page in keys.chunks(PAGE) {
            let asked: Vec<_> = page.iter().map(Key::as_str).collect();
            let answers = self.ask(async { Ok(self.store.load_each(&asked).await) }).await?;
            for (key, answer) in page.iter().zip(answers) {
                match answer {
                    Ok(stored) => rows.extend(FleetBreaker::read(key, &stored)),
                    Err(error) => {
                        let trouble = RecordTrouble::of_answer(error)?;
                        rows.push(FleetBreaker::of(key, FleetRecord::Unreadable(trouble)));
                    }
                }
            }
        }
        Ok(rows)
    }
}
