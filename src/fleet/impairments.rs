//! What listeners have heard of a store's side steps.

use std::sync::Arc;
use std::time::Duration;

use crate::store::StoreTrouble;
use crate::time::Timestamp;

/// The troubles that were told lately, and when.
#[derive(Debug, Default)]
pub(super) struct Impairments(Vec<(Timestamp, Arc<StoreTrouble>)>);

/// Listeners hear at most so often within this time, and of the same trouble once.
const MAX_TOLD: usize = 16;
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

impl Impairments {
    /// What is to be told of a trouble, unless listeners know.
    pub(super) fn news(&mut self, store: &Arc<str>, why: &str, now: Timestamp) -> Option<Arc<StoreTrouble>> {
        self.0.retain(|(told, _)| now.since(*told) < KNOWN_FOR);
        if self.0.len() >= MAX_TOLD || self.0.iter().any(|(_, trouble)| trouble.why() == why) {
            return None;
        }
        let trouble = Arc::new(StoreTrouble::new(store.clone(), why.into()));
        self.0.push((now, trouble.clone()));
        Some(trouble)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_news_once_an_hour_and_not_too_many_are() {
        let (mut told, store) = (Impairments::default(), Arc::from("the attic"));
        let now = Timestamp::from_nanos(1_000_000_000);
        assert!(told.news(&store, "no right", now).is_some_and(|trouble| trouble.store() == "the attic"));
        assert!(told.news(&store, "no right", now + Duration::from_secs(3_599)).is_none());
        assert!(told.news(&store, "no right", now + KNOWN_FOR).is_some());
        let news = (0..100).filter(|nth| told.news(&store, &nth.to_string(), now + KNOWN_FOR).is_some()).count();
        assert_eq!(news, MAX_TOLD - 1);
    }
}
