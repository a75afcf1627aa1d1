//! A store that counts what it is asked.

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use bytes::Bytes;
use fusebox::store::{Answers, Changes, Commit, Committed, Notices, Store, StoreFuture, Stored};
use futures::StreamExt;

/// How often which thing happened, over all the instances that share it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) loads: AtomicU64,
    pub(crate) commits: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    /// Batches that were accepted: applied, queued, or with a round to combine.
    pub(crate) batches: AtomicU64,
    /// Notices do not come just now.
    pub(crate) is_deaf: AtomicBool,
    /// Operations that were begun on a thread that is no engine's.
    pub(crate) elsewhere: AtomicU64,
}

impl Counts {
    fn begin(&self) {
        if thread::current().name() != Some("fusebox-fleet") {
            self.elsewhere.fetch_add(1, Relaxed);
        }
    }
}

pub(crate) struct Counted {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) counts: Arc<Counts>,
    /// Changes are told as they happen.
    pub(crate) pushes: bool,
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl Store for Counted {
    fn load<'a>(&'a self, keys: &'a [&'a str]) -> StoreFuture<'a, Vec<Stored>> {
        self.counts.begin();
        self.counts.loads.fetch_add(1, Relaxed);
        self.store.load(keys)
    }

    fn load_each<'a>(&'a self, keys: &'a [&'a str]) -> Answers<'a> {
        self.counts.begin();
        self.counts.loads.fetch_add(1, Relaxed);
        self.store.load_each(keys)
    }

    fn changes<'a>(&'a self, since: Option<&'a Bytes>) -> StoreFuture<'a, Changes> {
        self.counts.begin();
        self.counts.changes.fetch_add(1, Relaxed);
        self.store.changes(since)
    }

    fn commit<'a>(&'a self, key: &'a str, commit: Commit) -> StoreFuture<'a, Committed> {
        self.counts.begin();
        self.counts.commits.fetch_add(1, Relaxed);
        let has_batch = commit.batch.is_some();
        Box::pin(async move {
            let committed = self.store.commit(key, commit).await?;
            match committed {
                Committed::Conflict(_) => {
                    self.counts.conflicts.fetch_add(1, Relaxed);
                }
                Committed::Applied { .. } | Committed::Queued(_) | Committed::Combine(..) if has_batch => {
                    self.counts.batches.fetch_add(1, Relaxed);
                }
                _ => {}
            }
            Ok(committed)
        })
    }

    fn watch(&self) -> Notices {
        if !self.pushes {
            return Box::pin(futures::stream::pending());
        }
        let counts = Arc::clone(&self.counts);
        Box::pin(self.store.watch().filter(move |_| ready(!counts.is_deaf.load(Relaxed))))
    }
}
